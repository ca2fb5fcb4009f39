"""Every operator of tests/parity/samples.py in the other ways of calling it.

As it stands and differentiated twice it is compared with PyTorch in test_operators.py. Here it is
mapped over a batch (`danlu.func.vmap`) and recorded as a graph, with its derivatives, in place and
into `out=`; the graph is computed by NumPy node by node and by generated code. All are compared with
the plain call.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import danlu
from danlu.kernels.graph.nodes import Unsupported
from tests.parity.samples import ENTRIES
from tests.unit.recorded import Recording

torch = pytest.importorskip("torch")
pytest.importorskip("llvmlite")

from tests.parity.test_operators import (  # noqa: E402
    NO_OUT,
    arguments,
    find,
    has_in_place,
    named,
    outputs,
)

BY_VALUE = "shape by value"
# Operators that leave no graph, with the reason that a program is told.
REFUSED = {
    "argwhere": BY_VALUE,
    "as_strided": "address of an array",
    "bincount": "decision by value",
    "linalg.lstsq": "decision by value",  # the residuals are there where the rank is full
    "masked_scatter": "decision by value",
    "masked_select": BY_VALUE,
    "nonzero": BY_VALUE,
    "repeat_interleave": "address of an array",
    "unique": BY_VALUE,
    "unique_consecutive": "address of an array",
}
# Samples of them that have one: repetitions by a number.
RECORDED = {("repeat_interleave", 0)}
# What the loops do not hold: a program with it is not compiled, though it has a graph.
NOT_PLANNED = ("no elements", "complex", "real", "imag")


def tensors_in(values) -> list:
    if isinstance(values, danlu.Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    return [x for each in values for x in tensors_in(each)] if type(values) in (list, tuple) else []


def with_tensors(values, tensors):
    """The same values with other tensors in their places."""
    if isinstance(values, danlu.Tensor):
        return next(tensors)
    if isinstance(values, dict):
        return {key: with_tensors(each, tensors) for key, each in values.items()}
    if type(values) in (list, tuple):
        return type(values)(with_tensors(each, tensors) for each in values)
    return values


def weighted(results):
    """A scalar that depends on every element of every result that has a derivative."""
    total = 0
    for number, each in enumerate(results):
        if each.requires_grad:
            weights = danlu.arange(each.numel(), dtype=danlu.float64).add(number + 1.3).sin()
            part = each * weights.reshape(each.shape)
            total = total + (part.real.sum() + part.imag.sum() if each.is_complex() else part.sum())
    return total


def with_gradients(call, args, kwargs):
    """A function of tensors alone: the results of the call, and the gradients of the tensors."""

    def function(*tensors):
        new = iter(tensors)
        results = outputs(call(*with_tensors(args, new), **with_tensors(kwargs, new)))
        total = weighted(results)
        leaves = [each for each in tensors if each.requires_grad]
        if isinstance(total, danlu.Tensor):
            results += danlu.autograd.grad(total, leaves, allow_unused=True)
        return results

    return function


def eager(function, tensors):
    """The plain results, or None where there is no such call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = function(*tensors)
        except (RuntimeError, TypeError, NotImplementedError, AttributeError, ValueError):
            return None
    return found if all(each is None or isinstance(each, danlu.Tensor) for each in found) else None


def assert_equal(expected, got):
    assert len(got) == len(expected)
    for one, other in zip(expected, got):
        if one is None or other is None:
            assert one is other
            continue
        one = one.detach()._array
        assert (other.shape, other.dtype) == (one.shape, one.dtype)
        wide = np.complex128 if one.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(
            other.astype(wide), one.astype(wide), rtol=1e-5, atol=1e-5, equal_nan=True
        )


def compare(function, tensors, refused=None, values=True, launched=False) -> bool:
    """Record a function and compare what the graph gives with the plain results, if `launched` also
    by generated code; whether there are plain results."""
    before = [each.detach().clone() for each in tensors]
    expected = eager(function, tensors)
    if expected is None:
        return False
    for each, kept in zip(tensors, before):
        each._array[...] = kept._array
    if refused is not None:
        with pytest.raises(Unsupported, match=refused):
            Recording(function, tensors)
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording = Recording(function, tensors)
        got = [recording.evaluated()]
        if launched:
            got += by_generated_code(recording)
    for each in got if values else ():
        assert_equal(expected, each)
    return True


def by_generated_code(recording) -> list:
    """What the graph gives, unless it has what no program has."""
    try:
        return [recording.planned()()]
    except Unsupported as error:
        if any(reason in str(error) for reason in NOT_PLANNED):
            return []
        raise


# ---------------------------------------------------------------- the tests
@pytest.mark.parametrize("entry", named(ENTRIES))
def test_compiled(entry):
    for number, sample in enumerate(entry.samples()):
        args, kwargs, _ = arguments(danlu, sample, "float32", entry.differentiable)
        function = with_gradients(find(danlu, entry.name), args, kwargs)
        refused = None if (entry.name, number) in RECORDED else REFUSED.get(entry.name)
        compare(
            function,
            tensors_in((args, kwargs)),
            refused,
            entry.compare == "values",
            launched=number == 0,
        )


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if has_in_place(e)]))
def test_compiled_in_place(entry):
    method = entry.name.rsplit(".", 1)[-1] + "_"
    for sample in entry.samples():
        args, kwargs, _ = arguments(danlu, sample, "float32", entry.differentiable)
        if not isinstance(args[0], danlu.Tensor):
            continue

        def call(first, *rest, **options):
            start = first * 1 if first.requires_grad else first.clone()
            part = start[...]  # a view that must see the write
            getattr(start, method)(*rest, **options)
            return start, part + 0

        function = with_gradients(call, args, kwargs)
        compare(function, tensors_in((args, kwargs)), REFUSED.get(entry.name))


@pytest.mark.parametrize(
    "entry", named([e for e in ENTRIES if not e.view and e.name not in NO_OUT])
)
def test_compiled_with_outputs(entry):
    for sample in entry.samples()[:2]:
        args, kwargs, _ = arguments(danlu, sample, "float32")
        plain = eager(lambda: outputs(find(danlu, entry.name)(*args, **kwargs)), ())
        if plain is None:
            return

        def call(*tensors, args=args, kwargs=kwargs, plain=plain):
            new = iter(tensors)
            given = [danlu.zeros(each.shape, dtype=each.dtype) for each in plain]
            out = given[0] if len(given) == 1 else tuple(given)
            find(danlu, entry.name)(*with_tensors(args, new), **with_tensors(kwargs, new), out=out)
            return given

        if not compare(call, tensors_in((args, kwargs)), REFUSED.get(entry.name),
                       entry.compare == "values"):  # fmt: skip
            return


@pytest.mark.parametrize("entry", named([e for e in ENTRIES if e.name != "as_strided"]))
def test_mapped(entry):
    # as_strided is left out: it looks beyond its sample, at the memory of the batch
    for sample in entry.samples()[:2]:
        args, kwargs, _ = arguments(danlu, sample, "float32")
        if not isinstance(args[0], danlu.Tensor) or not args[0].is_floating_point():
            continue

        def call(first, rest=args[1:], kwargs=kwargs):
            return tuple(outputs(find(danlu, entry.name)(first, *rest, **kwargs)))

        samples = [args[0], args[0] * 0.5]
        expected = [eager(call, [each]) for each in samples]
        if None in expected:
            continue
        got = danlu.func.vmap(call)(danlu.stack(samples))
        for number, each in enumerate(expected):
            assert_equal(each, [x[number]._array for x in got])
