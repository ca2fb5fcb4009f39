"""The kernels of danlu.kernels.fused against their NumPy text, on arrays between forbidden pages,
and through the public functions with their gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
import danlu.nn.functional as F
from danlu.kernels.fused import (
    activation,
    cross_entropy,
    elementwise,
    error_function,
    normalization,
    softmax,
)
from danlu.kernels.runtime import pool, road
from danlu.ops import quick
from tests.unit.guarded import guarded

RANDOM = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def kernels_in_their_places():
    """A backward pass has put functions for small arrays there."""
    quick.restore()


def normal(*shape, dtype=np.float32):
    return RANDOM.standard_normal(shape).astype(dtype)


def agree(function, *arguments, rtol=1e-5, atol=2e-6):
    with road.forced("numpy"):
        wanted = function(*arguments)
    for end in (True, False):
        fenced = [
            guarded(each, end=end) if isinstance(each, np.ndarray) and each.ndim else each
            for each in arguments
        ]
        with road.forced("native"):
            found = function(*fenced)
        pairs = zip(found, wanted) if isinstance(wanted, tuple) else [(found, wanted)]
        for mine, its in pairs:
            if its is None:
                assert mine is None
                continue
            assert mine.dtype == its.dtype
            assert mine.shape == its.shape
            np.testing.assert_allclose(mine, its, rtol, atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (1001,), (7, 33)])
def test_activations(shape, dtype):
    x, g = 3 * normal(*shape, dtype=dtype), normal(*shape, dtype=dtype)
    for function in (activation.gelu, activation.gelu_tanh, activation.silu, activation.relu):
        agree(function, x)
    for function in (activation.gelu_backward, activation.gelu_tanh_backward,
                     activation.silu_backward, activation.relu_backward,
                     activation.sigmoid_backward, activation.tanh_backward):  # fmt: skip
        agree(function, g, x, atol=1e-5)


def test_activations_of_special_values():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 5.7, -5.7], dtype=np.float32)
    with np.errstate(all="ignore"):
        for function in (activation.gelu, activation.gelu_tanh, activation.silu, activation.relu):
            agree(function, x)
        agree(activation.gelu_backward, np.ones_like(x), x)
        agree(activation.relu_backward, x, np.ones_like(x))
        agree(activation.relu_backward, np.full_like(x, np.inf), x)


def test_the_normal_distribution_is_exact_to_a_few_units():
    from math import erfc, sqrt

    from danlu.kernels.graph.plan import plan

    for dtype, limit in ((np.float32, 2e-7), (np.float64, 4e-16)):
        x = np.linspace(-9, 9, 2001).astype(dtype)
        exact = np.array([0.5 * erfc(-each / sqrt(2)) for each in x.astype(np.float64)])
        found = plan(error_function.normal_cdf, (x,)).launch(x)
        assert abs(found - exact).max() < limit
        assert abs(error_function.normal_cdf(x) - exact).max() < limit
        exact += x * np.exp(-(x.astype(np.float64) ** 2) / 2) / np.sqrt(2 * np.pi)
        found = plan(error_function.gelu_slope, (x,)).launch(x)
        assert abs(found - exact).max() < 2 * limit


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("shape", [(5, 33), (40, 1), (3, 17, 20)])
def test_softmax_both_ways(shape, axis):
    x, g = 5 * normal(*shape), normal(*shape)
    agree(softmax.softmax, x, axis)
    agree(softmax.log_softmax, x, axis)
    out = softmax.softmax.__wrapped__(x, axis)
    agree(softmax.softmax_backward, g, out, axis)
    agree(softmax.log_softmax_backward, g, np.log(out), axis, atol=1e-5)


def test_softmax_of_masked_scores():
    x = normal(9, 40)
    x[:, 5:] = -np.inf
    with road.forced("native"):
        found = softmax.softmax(x, 1)
    assert (found[:, 5:] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, 1e-6)
    x[0] = -np.inf
    with road.forced("native"), np.errstate(all="ignore"):
        assert np.isnan(softmax.softmax(x, 1)[0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "count"), [((5, 33), 1), ((4, 6, 7), 2), ((3, 4, 50), 1)])
def test_layer_norm_both_ways(shape, count, dtype):
    x, g = normal(*shape, dtype=dtype) + 3, normal(*shape, dtype=dtype)
    weight, bias = normal(*shape[-count:], dtype=dtype), normal(*shape[-count:], dtype=dtype)
    for pair in ((weight, bias), (weight, None), (None, None)):
        agree(normalization.layer_norm, x, *pair, count, 1e-5, atol=1e-5)
    _, mean, scale = normalization.layer_norm.__wrapped__(x, weight, bias, count, 1e-5)
    for needs in ((True, True, True), (True, False, False), (False, True, True)):
        agree(normalization.layer_norm_backward, g, x, weight, mean, scale, count, needs,
              rtol=1e-4, atol=1e-4)  # fmt: skip
    agree(normalization.rms_norm, x, weight, count, 1e-5, atol=1e-5)
    agree(normalization.rms_norm_backward, g, x, weight, count, 1e-5, (True, True),
          rtol=1e-4, atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("shape", [(70, 10), (33, 129), (5, 1), (1, 1000)])
def test_cross_entropy_both_ways(shape):
    rows, target = 4 * normal(*shape), RANDOM.integers(0, shape[1], shape[0])
    agree(cross_entropy.cross_entropy, rows, target)
    _, largest, log_total = cross_entropy.cross_entropy.__wrapped__(rows, target)
    for share in (normal(shape[0]), np.array(0.25, dtype=np.float32)):
        agree(cross_entropy.cross_entropy_backward, rows, target, largest, log_total, share)


def test_small_losses_of_large_scores_keep_their_digits():
    rows = np.zeros((20, 30), dtype=np.float32) + 8000
    rows[:, 3] += 9
    with road.forced("native"):
        losses = cross_entropy.cross_entropy(rows, np.full(20, 3))[0]
    np.testing.assert_allclose(losses, np.log1p(29 * np.exp(-9.0)), 1e-4)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.divide, np.maximum, np.less, np.power,
                                   np.exp, np.tanh, np.negative, np.sqrt])  # fmt: skip
def test_single_functions(ufunc):
    x = abs(normal(50, 30)) + 0.5
    if ufunc.nin == 1:
        agree(elementwise.call, ufunc, x)
        agree(elementwise.call, ufunc, x.astype(np.float64))
        return
    for other in (normal(50, 30), normal(30), normal(50, 1), 2, 0.5, -1, 3):
        agree(elementwise.call, ufunc, x, abs(other), rtol=1e-6)
    agree(elementwise.call, ufunc, 2, x)
    agree(elementwise.call, ufunc, x, x.astype(np.float64))


# ------------------------------------------------------------------------------ through the tape
def outcomes(function, *shapes):
    """The result and gradients of a public function, on both roads and one and two threads."""
    generator = np.random.default_rng(3)
    arrays = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]

    def run(mode):
        with road.forced(mode):
            tensors = [danlu.tensor(each, requires_grad=True) for each in arrays]
            result = function(*tensors)
            (result * result).sum().backward()
            return [result.detach().numpy(), *(each.grad.numpy() for each in tensors)]

    wanted, before = run("numpy"), pool.ensure().threads
    try:
        runs = []
        for threads in (1, 2):
            pool.ensure().resize(threads)
            runs.append(run("native"))
    finally:
        pool.ensure().resize(before)
    for one, two, its in zip(*runs, wanted):
        assert np.array_equal(one, two)
        np.testing.assert_allclose(one, its, 2e-4, 2e-4)


@pytest.mark.parametrize("function", [
    F.gelu, lambda x: F.gelu(x, approximate="tanh"), F.silu, F.relu, lambda x: F.softmax(x, dim=1),
    lambda x: F.softmax(x, dim=0), lambda x: F.log_softmax(x, dim=-1),
])  # fmt: skip
def test_public_functions_of_one_tensor(function):
    outcomes(function, (61, 43))


def test_public_normalization():
    outcomes(lambda x, w, b: F.layer_norm(x, (43,), w, b), (61, 43), (43,), (43,))
    outcomes(lambda x, w: F.rms_norm(x, (43,), w), (61, 43), (43,))


@pytest.mark.parametrize("options", [
    {}, {"reduction": "sum"}, {"reduction": "none"}, {"ignore_index": 2},
    {"weight": danlu.arange(1.0, 44.0)}, {"weight": danlu.arange(1.0, 44.0), "ignore_index": 5},
])  # fmt: skip
def test_public_cross_entropy(options):
    target = danlu.tensor(np.arange(61) % 43)
    outcomes(lambda x: F.cross_entropy(x, target, **options), (61, 43))


def test_second_derivatives_of_cross_entropy():
    target = danlu.tensor([1, 0, 3])
    x = danlu.randn(3, 5, dtype=danlu.float64, requires_grad=True)
    assert danlu.autograd.gradgradcheck(lambda x: F.cross_entropy(x, target), (x,))
