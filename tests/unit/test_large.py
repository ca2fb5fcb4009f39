"""Operators on large arrays go to generated code: the same results as NumPy's, the same rules."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu.kernels.fused import elementwise, updates
from danlu.kernels.runtime import road
from danlu.ops.calls import LARGE

SIZE = LARGE + 5


@pytest.fixture(params=["auto", "native", "numpy"])
def mode(request):
    with road.forced(request.param):
        yield request.param


def pair(dtype=np.float32, shape=(SIZE,)):
    rng = np.random.default_rng(0)
    return [danlu.from_numpy(rng.standard_normal(shape).astype(dtype)) for _ in range(2)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "true_divide", "lt", "ge", "eq", "ne"])
def test_binary(mode, name, dtype):
    a, b = pair()
    a, b = (danlu.from_numpy((x.numpy() * 8).astype(dtype)) for x in (a, b))
    ufunc = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "true_divide": np.divide,
        "lt": np.less, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    }[name]  # fmt: skip
    kind = np.float32 if dtype is np.int64 and name == "true_divide" else dtype
    with np.errstate(all="ignore"):
        expected = ufunc(a.numpy().astype(kind), b.numpy().astype(kind))
    np.testing.assert_array_equal(getattr(danlu, name)(a, b).numpy(), expected)


@pytest.mark.parametrize("other", [2.5, 3, True])
def test_numbers(mode, other):
    a, _ = pair()
    np.testing.assert_array_equal((a * other).numpy(), a.numpy() * np.float32(other))
    np.testing.assert_array_equal((a + other).numpy(), a.numpy() + np.float32(other))
    assert (a * other).dtype is danlu.float32


def test_special_values(mode):
    a = danlu.full((SIZE,), float("nan"))
    b = danlu.full((SIZE,), float("-inf"))
    assert danlu.isnan(a + b).all()
    assert (b * -1 == float("inf")).all()
    assert b.exp().max() == 0
    assert not (a < b).any()


@pytest.mark.parametrize("name", ["exp", "tanh", "sqrt", "neg", "abs", "floor", "sin", "log"])
def test_unary(mode, name):
    a, _ = pair()
    ufunc = {"neg": np.negative}.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        expected = ufunc(a.numpy().astype(np.float64)).astype(np.float32)
    np.testing.assert_array_max_ulp(getattr(a, name)().numpy(), expected, 4)


class TestInPlace:
    def test_values(self, mode):
        a, b = pair()
        expected = np.maximum((a.numpy() + b.numpy()) * np.float32(3) - b.numpy(), 0)
        address = a.data_ptr()
        a += b
        a.mul_(3).sub_(b).relu_()
        np.testing.assert_array_equal(a.numpy(), expected)
        assert a.data_ptr() == address
        assert a._version == 4

    @pytest.mark.parametrize("shape", [(200, 200)])
    def test_operands_that_share_memory(self, mode, shape):
        a, _ = pair(shape=shape)
        before = a.numpy().copy()
        a += a
        np.testing.assert_array_equal(a.numpy(), before * 2)
        a += a.t()
        np.testing.assert_array_equal(a.numpy(), before * 2 + before.T * 2)

    def test_broadcast_and_promotion(self, mode):
        a, _ = pair(shape=(200, 200))
        before = a.numpy().copy()
        a += danlu.ones(200)
        a *= danlu.tensor(2)
        np.testing.assert_array_equal(a.numpy(), (before + 1) * 2)
        with pytest.raises(RuntimeError, match="can't be cast"):
            danlu.ones(SIZE, dtype=danlu.int64).mul_(0.5)
        with pytest.raises(RuntimeError, match="broadcast shape"):
            danlu.ones(SIZE, 1).add_(danlu.ones(SIZE, 2))

    def test_parts(self, mode):
        a, b = pair(shape=(200, 400))
        before = a.numpy().copy()
        a[:, ::2].add_(b[:, ::2])
        before[:, ::2] += b.numpy()[:, ::2]
        np.testing.assert_array_equal(a.numpy(), before)
        with pytest.raises(RuntimeError, match="single memory location"):
            danlu.ones(1, 1).expand(200, 200).add_(1)

    def test_gradients(self, mode):
        a, b = pair()
        a.requires_grad_()
        b.requires_grad_()
        y = a * 1
        y += b
        y.relu_()
        (y * 3).sum().backward()
        active = 3.0 * (a.detach().numpy() + b.detach().numpy() > 0)
        np.testing.assert_array_equal(a.grad.numpy(), active)
        np.testing.assert_array_equal(b.grad.numpy(), active)

    def test_damage_is_noticed(self, mode):
        a, _ = pair()
        a.requires_grad_()
        y = a.exp()
        y.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
        with pytest.raises(RuntimeError, match="leaf Variable"):
            a.add_(1)


def test_threads_give_the_same_bits():
    from danlu.kernels.runtime import pool

    a, b = pair(shape=(1 << 19,))
    results = []
    for count in (1, 2):
        pool.ensure().resize(count)
        results.append(elementwise.call(np.add, a.numpy(), b.numpy()))
        copy = a.numpy().copy()
        updates.update(np.multiply, copy, b.numpy())
        results.append(copy)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


@pytest.mark.parametrize("shape", [(1 << 18,), (400, 700), (3, 300, 401)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reductions(mode, shape, dtype):
    a, _ = pair(dtype, shape)
    x = a.numpy().astype(np.float64)
    dims = [None, *range(len(shape)), tuple(range(1, len(shape))) or None]
    for dim in dims:
        for keepdim in (False, True):
            found = a.sum() if dim is None else a.sum(dim, keepdim)
            expected = x.sum() if dim is None else x.sum(axis=dim, keepdims=keepdim)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=2e-3)
            assert found.dtype is a.dtype
            assert found.shape == np.shape(expected)
    np.testing.assert_allclose(a.mean(-1).numpy(), x.mean(axis=-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(a.amax(0).numpy(), x.max(axis=0))
    np.testing.assert_array_equal(a.amin().numpy(), x.min())


def test_extremes_keep_nan(mode):
    a, _ = pair(shape=(400, 700))
    a[3, 5] = float("nan")
    assert danlu.isnan(a.amax(1)).tolist() == [row == 3 for row in range(400)]
    assert danlu.isnan(a.amin())
    assert danlu.isnan(a.sum())
