"""Operators without PyTorch: derivatives against finite differences, values against NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import danlu
from danlu.autograd import gradcheck, gradgradcheck
from danlu.ops import lazy
from danlu.ops.registry import REGISTRY
from tests.parity.samples import ENTRIES

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
# finite differences know nothing of these: jumps nearby, a choice of signs, or conventions where
# ties are
NOT_SMOOTH = {
    "remainder", "fmod", "scatter_reduce", "index_reduce", "frexp", "sgn", "sign", "cholesky_solve",
    "cholesky_inverse", "maximum", "minimum", "fmax", "fmin", "amax", "amin", "max", "min",
    "aminmax",
    "cdist", "linalg.eigvalsh", "linalg.lstsq", "mode", "cummax", "cummin", "cholesky",
    "linalg.cholesky",
}  # fmt: skip


def find(name):
    found = danlu
    for part in name.split("."):
        found = getattr(found, part)
    return found


def with_tensors(value, leaves):
    """The sample with tensors for arrays; those of floating point are collected as leaves."""
    if isinstance(value, np.ndarray):
        made = danlu.tensor(value)
        if made.is_floating_point():
            made.requires_grad_()
            leaves.append(made)
        return made
    if isinstance(value, (list, tuple)):
        return type(value)(with_tensors(each, leaves) for each in value)
    return value


def differentiable_outputs(result):
    if isinstance(result, (list, tuple)):
        return [each for part in result for each in differentiable_outputs(part)]
    return [result] if result.requires_grad else []


def as_function_of_leaves(entry, sample):
    """The call as a function of its floating-point tensors alone."""
    leaves: list = []
    args, kwargs = with_tensors(sample[0], leaves), sample[1]
    kwargs = {key: with_tensors(each, leaves) for key, each in kwargs.items()}
    function = find(entry.name)

    def call(*_):
        return tuple(differentiable_outputs(function(*args, **kwargs)))

    return call, leaves


SMOOTH = [e for e in ENTRIES if e.differentiable and e.name not in NOT_SMOOTH]


def named(entries):
    return [pytest.param(e, id=f"{e.name}-{i}") for i, e in enumerate(entries)]


@pytest.mark.parametrize("entry", named(SMOOTH))
def test_first_derivative(entry):
    for sample in entry.samples():
        call, leaves = as_function_of_leaves(entry, sample)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not 0 < sum(x.numel() for x in leaves) <= 40 or not all(x.numel() for x in leaves):
                continue
            if not all(x.isfinite().all() for x in (*leaves, *call())):
                continue
            assert gradcheck(call, tuple(leaves))


@pytest.mark.parametrize("entry", named([e for e in SMOOTH if e.second]))
def test_second_derivative(entry):
    sample = entry.samples()[0]
    call, leaves = as_function_of_leaves(entry, sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if sum(x.numel() for x in leaves) > 20 or not call():
            return
        assert gradgradcheck(call, tuple(leaves))


ELSEWHERE = {"bernoulli", "poisson", "multinomial", "constant_pad_nd"}  # tested with their families


def test_every_public_operator_has_samples():
    """A new operator needs an entry in tests/parity/samples.py; layers' have their own tests."""
    for name in ("linalg", "fft", "special", *lazy.names()):
        find(name)  # loads its module
    sampled = {e.name.removeprefix("Tensor.") for e in ENTRIES} | ELSEWHERE
    missing = []
    for name in list(REGISTRY):
        if name.startswith(("_", "nn.", "indexing.")) or "internal" in name or name in sampled:
            continue
        try:
            find(name)
        except AttributeError:
            continue  # a step of another operator
        if hasattr(danlu.nn.functional, name):
            continue  # a layer's, published here too
        missing.append(name)
    assert not missing


# ---------------------------------------------------------------- NumPy as oracle
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def arrays(draw, shape=None, low=-100, high=100):
    shape = draw(SHAPES) if shape is None else shape
    count = int(np.prod(shape))
    values = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    return np.array(values, dtype=np.float64).reshape(shape) / 4


@EXAMPLES
@given(arrays(), st.booleans(), st.data())
def test_reductions(x, keepdim, data):
    dims = data.draw(st.one_of(st.none(), st.sets(st.integers(0, max(x.ndim - 1, 0)), min_size=1)))
    dims = None if dims is None or not x.ndim else tuple(sorted(dims))
    t = danlu.tensor(x)
    for name in ("sum", "mean", "amax", "amin"):
        reduced = x.shape if dims is None else [x.shape[i] for i in dims]
        if name != "sum" and 0 in reduced:
            continue
        given_dims = () if dims is None and name.startswith("am") else dims
        got = getattr(t, name)(given_dims, keepdim) if x.ndim else getattr(t, name)()
        oracle = getattr(np, name)(x, axis=dims, keepdims=keepdim if x.ndim else False)
        np.testing.assert_allclose(got.numpy(), oracle, rtol=1e-12)


@EXAMPLES
@given(arrays(), st.data())
def test_scans_and_sorts(x, data):
    if not x.ndim:
        return
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    t = danlu.tensor(x)
    np.testing.assert_allclose(t.cumsum(dim).numpy(), np.cumsum(x, dim))
    values, order = t.sort(dim, descending=True)
    np.testing.assert_array_equal(values.numpy(), -np.sort(-x, dim))
    np.testing.assert_array_equal(np.take_along_axis(x, order.numpy(), dim), values.numpy())
    np.testing.assert_array_equal(t.flip(dim).numpy(), np.flip(x, dim))


@EXAMPLES
@given(arrays((3, 4)), arrays((4, 2)))
def test_products(a, b):
    left, right = danlu.tensor(a), danlu.tensor(b)
    np.testing.assert_allclose((left @ right).numpy(), a @ b)
    np.testing.assert_allclose(danlu.einsum("ij,jk->ki", left, right).numpy(), (a @ b).T)
    np.testing.assert_allclose(danlu.tensordot(left, right, 1).numpy(), a @ b)
    np.testing.assert_allclose(danlu.kron(left, right).numpy(), np.kron(a, b))


@EXAMPLES
@given(arrays(), st.integers(1, 4), st.data())
def test_splitting_and_joining_are_inverse(x, pieces, data):
    if not x.ndim:
        return
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    t = danlu.tensor(x)
    for parts in (t.chunk(pieces, dim), t.tensor_split(pieces, dim), t.split(pieces, dim)):
        np.testing.assert_array_equal(danlu.cat(parts, dim).numpy(), x)
        assert all(np.shares_memory(p.numpy(), t.numpy()) for p in parts if p.numel())


@EXAMPLES
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_scatter_undoes_gather(rows, columns, data):
    order = np.array([data.draw(st.permutations(range(columns))) for _ in range(rows)])
    x = danlu.arange(rows * columns).reshape(rows, columns).double()
    index = danlu.tensor(order)
    taken = x.gather(1, index)
    np.testing.assert_array_equal(taken.numpy(), np.take_along_axis(x.numpy(), order, 1))
    back = danlu.zeros(rows, columns, dtype=danlu.float64).scatter(1, index, taken)
    np.testing.assert_array_equal(back.numpy(), x.numpy())


@EXAMPLES
@given(arrays((4, 5)), st.sampled_from(["backward", "forward", "ortho"]))
def test_fourier_transforms_are_inverse(x, norm):
    t = danlu.tensor(x)
    np.testing.assert_allclose(
        danlu.fft.ifftn(danlu.fft.fftn(t, norm=norm), norm=norm).real.numpy(), x, atol=1e-9
    )
    np.testing.assert_allclose(
        danlu.fft.irfft(danlu.fft.rfft(t, norm=norm), 5, norm=norm).numpy(), x, atol=1e-9
    )
    np.testing.assert_allclose(danlu.fft.rfft(t).numpy(), np.fft.rfft(x), atol=1e-9)


# ---------------------------------------------------------------- single behaviours
def test_the_derivative_of_a_singular_determinant_is_its_cofactors():
    x = danlu.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=danlu.float64, requires_grad=True)
    danlu.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-12)


def test_half_precision_sums_do_not_stop_growing():
    for kind in (danlu.float16, danlu.bfloat16):
        ones = danlu.ones(4096, 2, dtype=kind)
        assert ones.sum().item() == 8192
        assert ones.mean().item() == 1
        assert ones.sum(0).tolist() == [4096, 4096]
        assert ones.cumsum(0)[-1].tolist() == [4096, 4096]
        assert ones.sum().dtype is kind


@pytest.mark.parametrize(
    "number", [np.float32(2), np.float64(2), np.int64(2), np.complex64(2j), np.bool_(True)]
)
def test_numpy_numbers_are_weak_on_both_sides(number):
    t = danlu.ones(2)
    plain = number.item()
    for got, expected in (
        (t * number, t * plain),
        (number * t, plain * t),
        (t + number, t + plain),
        (number / t, plain / t),
    ):
        assert type(got) is danlu.Tensor
        assert got.dtype is expected.dtype
        assert got.tolist() == expected.tolist()


def test_real_and_imag_are_views():
    z = danlu.tensor([1 + 2j, 3 - 1j])
    z.real[0] = 9
    z.imag = danlu.tensor([0.0, 5.0])
    assert z.tolist() == [9 + 0j, 3 + 5j]


def test_an_int_beside_an_array_is_taken_first():
    x = danlu.arange(24).reshape(2, 3, 4)
    rows = danlu.tensor([0, 2])
    assert x[0, :, rows].shape == (3, 2)
    assert x[0, None, 1, rows].shape == (1, 2)
    x[0, :, rows] = -1
    assert (x[0, :, [0, 2]] == -1).all()


def test_windows_are_views():
    x = danlu.arange(6)
    windows = x.unfold(0, 3, 1)
    windows[0, 2] = 99
    assert x[2].item() == 99
    assert windows[2, 0].item() == 99


def test_linear_algebra_is_loaded_when_it_is_used():
    import subprocess
    import sys

    code = (
        "import sys, danlu; assert 'danlu.linalg' not in sys.modules; "
        "assert danlu.eye(2).det().item() == 1; assert 'danlu.linalg' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
