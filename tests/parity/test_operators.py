"""Every operator of tests/parity/samples.py against PyTorch: values, dtypes, shapes, memory,
derivatives.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import danlu
from tests.parity.samples import ENTRIES

torch = pytest.importorskip("torch")

BY_KIND = {"i": ["int64"], "b": ["bool"], "h": ["float16", "bfloat16"], "c": ["complex64"]}
TOLERANCE = {"float16": 2e-2, "bfloat16": 8e-2, "float64": 1e-7}


def named(entries):
    return [pytest.param(e, id=f"{e.name}-{i}") for i, e in enumerate(entries)]


# ---------------------------------------------------------------- carrying values across
def find(module, name):
    for part in name.split("."):
        module = getattr(module, part)
    return module


def tensor(module, array, dtype, requires_grad=False):
    """A tensor of the sample's array; its floating-point numbers become `dtype`."""
    made = module.tensor(array.tolist(), dtype=getattr(module, array.dtype.name)).reshape(
        array.shape
    )
    if array.dtype.kind == "f":
        if dtype in ("int64", "bool"):
            made = made.round()
        made = made.to(getattr(module, dtype))
        if dtype.startswith("complex"):
            made = made * (1 + 0.5j)
        made = made.requires_grad_(requires_grad)
    return made


def carried(module, value, dtype, requires_grad, leaves):
    if isinstance(value, np.ndarray):
        made = tensor(module, value, dtype, requires_grad)
        if made.requires_grad:
            leaves.append(made)
        return made
    if isinstance(value, (list, tuple)):
        return type(value)(carried(module, x, dtype, requires_grad, leaves) for x in value)
    return value


def arguments(module, sample, dtype, requires_grad=False):
    leaves: list = []
    args, kwargs = sample
    args = carried(module, args, dtype, requires_grad, leaves)
    kwargs = {key: carried(module, x, dtype, requires_grad, leaves) for key, x in kwargs.items()}
    return args, kwargs, leaves


def outputs(result):
    """The tensors of a result, in order."""
    if isinstance(result, (list, tuple)):
        return [x for each in result for x in outputs(each)]
    return [result]


def array(t):
    """The values of a tensor of either side, in double precision where they are 16 bits wide."""
    t = t.detach()
    if str(t.dtype) in ("torch.bfloat16", "torch.float16"):
        t = t.double()
    return np.asarray(t.resolve_conj().numpy(force=True))


def assert_same(expected, got, tolerance, values=True):
    assert type(got).__name__ == type(expected).__name__
    assert str(got.dtype) == str(expected.dtype)
    assert tuple(got.shape) == tuple(expected.shape)
    if values:
        np.testing.assert_allclose(
            array(got), array(expected), rtol=tolerance, atol=tolerance, equal_nan=True
        )


def both(entry, sample, dtype, requires_grad=False):
    """The results of both sides, or the exceptions they raise."""
    results = []
    for module in (torch, danlu):
        args, kwargs, leaves = arguments(module, sample, dtype, requires_grad)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = outputs(find(module, entry.name)(*args, **kwargs))
            except Exception as error:
                found = error
        results.append((found, args, leaves))
    return results


def compare_forward(entry, dtype):
    tolerance = TOLERANCE.get(dtype, entry.tolerance)
    for sample in entry.samples():
        (expected, _, _), (got, _, _) = both(entry, sample, dtype)
        if isinstance(expected, Exception):
            # where PyTorch refuses a dtype, danlu may compute
            if isinstance(got, Exception):
                assert isinstance(got, type(expected)) or isinstance(expected, type(got)), got
            continue
        if isinstance(got, Exception):
            raise got
        assert len(got) == len(expected)
        for a, b in zip(expected, got):
            assert_same(a, b, tolerance, entry.compare == "values")


# ---------------------------------------------------------------- the tests
@pytest.mark.parametrize("entry", named(ENTRIES))
def test_values(entry):
    compare_forward(entry, "float32")


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if e.dtypes]))
def test_other_dtypes(entry):
    for kind in entry.dtypes:
        for dtype in BY_KIND[kind]:
            compare_forward(entry, dtype)


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if e.view]))
def test_views_share_memory_and_have_the_same_strides(entry):
    for sample in entry.samples():
        (expected, args, _), (got, own, _) = both(entry, sample, "float32")
        for a, b in zip(expected, got):
            assert b.stride() == a.stride()
            assert b.storage_offset() == a.storage_offset()
            if a.numel() and a.untyped_storage().data_ptr() == args[0].untyped_storage().data_ptr():
                assert np.may_share_memory(b.numpy(), own[0].numpy())


def weighted(result):
    """A scalar that depends on every element of every floating-point result differently."""
    total = 0
    for number, each in enumerate(outputs(result)):
        if each.requires_grad:
            module = torch if isinstance(each, torch.Tensor) else danlu
            weights = module.arange(each.numel(), dtype=module.float64).add(number + 1.3).sin()
            part = each * weights.reshape(each.shape)
            total = total + (part.real.sum() + part.imag.sum() if each.is_complex() else part.sum())
    return total


def derivatives(module, entry, sample, order):
    args, kwargs, leaves = arguments(module, sample, "float64", requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total = weighted(find(module, entry.name)(*args, **kwargs))
    if not isinstance(total, (torch.Tensor, danlu.Tensor)):
        return None
    first = module.autograd.grad(total, leaves, create_graph=order == 2, allow_unused=True)
    if order == 1:
        return first
    total = weighted([each for each in first if each is not None])
    if not isinstance(total, (torch.Tensor, danlu.Tensor)):
        return None
    return module.autograd.grad(total, leaves, allow_unused=True)


def compare_derivatives(entry, order):
    for sample in entry.samples():
        try:
            expected = derivatives(torch, entry, sample, order)
        except (RuntimeError, NotImplementedError):
            continue  # PyTorch has no derivative there
        got = derivatives(danlu, entry, sample, order)
        if expected is None:
            continue
        for position, a in enumerate(expected):
            b = None if got is None else got[position]
            if a is None or b is None:  # no gradient is a gradient of zeros
                given = b if a is None else a
                assert given is None or not array(given).any()
            else:
                assert_same(a, b, 1e-6)


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if e.differentiable]))
def test_gradients(entry):
    compare_derivatives(entry, 1)


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if e.second]))
def test_second_derivatives(entry):
    compare_derivatives(entry, 2)


def has_in_place(entry):
    name = entry.name.rsplit(".", 1)[-1]
    return "special." not in entry.name and hasattr(torch.Tensor, name + "_") and not entry.view


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if has_in_place(e)]))
def test_in_place(entry):
    method = entry.name.rsplit(".", 1)[-1] + "_"
    for sample in entry.samples():
        results = []
        for module in (torch, danlu):
            args, kwargs, leaves = arguments(module, sample, "float64", requires_grad=True)
            if not isinstance(args[0], (torch.Tensor, danlu.Tensor)):
                break
            start = args[0] * 1 if args[0].requires_grad else args[0].clone()
            grads = None
            try:
                made = getattr(start, method)(*args[1:], **kwargs)
                if entry.differentiable and made.requires_grad:
                    grads = module.autograd.grad(weighted(made), leaves, allow_unused=True)
            except Exception as error:
                results.append(error)
                continue
            assert made is start
            results.append((made, grads))
        if not results:
            continue
        expected, got = results
        if isinstance(expected, NotImplementedError):
            continue
        if isinstance(expected, Exception):
            assert isinstance(got, type(expected)), f"PyTorch raised {expected!r}"
            continue
        if isinstance(got, Exception):
            raise got
        assert_same(expected[0], got[0], 1e-7)
        for a, b in zip(expected[1] or (), got[1] or ()):
            if a is not None and b is not None:
                assert_same(a, b, 1e-6)


NO_OUT = ("softmax", "log_softmax")  # PyTorch takes out= there; no program is known to


@pytest.mark.parametrize(
    "entry", named([e for e in ENTRIES if not e.view and e.name not in NO_OUT])
)
def test_out(entry):
    for sample in entry.samples()[:2]:
        args, kwargs, _ = arguments(torch, sample, "float32")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plain = find(torch, entry.name)(*args, **kwargs)
                slots = [torch.empty(0, dtype=each.dtype) for each in outputs(plain)]
                find(torch, entry.name)(*args, **kwargs, out=slots[0] if len(slots) == 1 else slots)
        except (TypeError, RuntimeError, NotImplementedError):
            return  # no out= there
        args, kwargs, _ = arguments(danlu, sample, "float32")
        given = [danlu.empty(0, dtype=getattr(danlu, str(x.dtype)[6:])) for x in slots]
        find(danlu, entry.name)(*args, **kwargs, out=given[0] if len(given) == 1 else tuple(given))
        for a, b in zip(slots, given):
            assert_same(a, b, entry.tolerance, entry.compare == "values")
