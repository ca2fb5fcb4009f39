"""Generated batch, group and instance normalisation against float64 and the NumPy operators."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu as torch
from danlu.kernels import normalization
from danlu.kernels.codegen.target import named
from danlu.kernels.generated import normalization as generated
from danlu.kernels.generated import normalization_columns as columns
from danlu.kernels.runtime import machine, pool, road
from tests.unit.guarded import guarded

F = torch.nn.functional
OTHER_TARGETS = [
    named("x86_64-unknown-linux-gnu", "skylake-avx512"),
    named("aarch64-unknown-linux-gnu", "neoverse-n1"),
]
SHAPES = [(3, 6, 7), (2, 4, 33), (4, 8, 9, 9), (6, 40, 4), (2, 3, 9001), (2, 2, 3, 4, 5)]
TABLES = [(17, 4), (64, 33), (5, 16), (3000, 20)]


def drawn(shape, offset=0.0, seed=0):
    """Input, weight, bias and gradient, float32."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) + offset
    weight, bias = random.standard_normal((2, shape[1]))
    return [each.astype(np.float32) for each in (x, weight, bias, random.standard_normal(shape))]


def reference(x, weight, bias, grad, axes, group_shape=None, eps=1e-5):
    """Result, gradients of x, weight and bias, mean and scale, all in float64."""
    x, weight, bias, grad = (each.astype(np.float64) for each in (x, weight, bias, grad))
    along = (1, -1) + (1,) * (x.ndim - 2)
    shape = group_shape or x.shape
    grouped = x.reshape(shape)
    mean = grouped.mean(axis=axes, keepdims=True)
    scale = 1 / np.sqrt(grouped.var(axis=axes, keepdims=True) + eps)
    standard = (grouped - mean) * scale
    inner = (grad * weight.reshape(along)).reshape(shape)
    dx = scale * (
        inner
        - inner.mean(axis=axes, keepdims=True)
        - standard * (inner * standard).mean(axis=axes, keepdims=True)
    )
    standard = standard.reshape(x.shape)
    others = (0, *range(2, x.ndim))
    out = standard * weight.reshape(along) + bias.reshape(along)
    dweight, dbias = (grad * standard).sum(axis=others), grad.sum(axis=others)
    return out, dx.reshape(x.shape), dweight, dbias, mean, scale


def close(found, expected, tolerance=2e-6):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        error = abs(one.astype(np.float64).reshape(other.shape) - other).max()
        assert error <= tolerance * (abs(other).max() + 1), (error, abs(other).max())


def batch_axes(shape):
    return (0, *range(2, len(shape)))


# ------------------------------------------------------------------------------ batch norm
@pytest.mark.parametrize("shape", SHAPES + TABLES, ids=str)
@pytest.mark.parametrize("end", [True, False])
def test_batch_norm_equals_float64_on_guarded_memory(shape, end, monkeypatch):
    x, weight, bias, grad = (guarded(each, end) for each in drawn(shape))
    expected = reference(x, weight, bias, grad, batch_axes(shape))
    empty = np.empty

    def guarded_empty(shape, dtype):
        return guarded(empty(shape, dtype), end)

    monkeypatch.setattr(np, "empty", guarded_empty)
    with road.forced("native"):
        out, mean, scale = normalization.batch_norm(x, weight, bias, 1e-5)
        found = normalization.batch_gradients(grad, x, weight, mean, scale, True)
        dx, *others = normalization.batch_gradients(grad, x, weight, mean, scale, False)
    close((out, *found, mean, scale), expected)
    assert dx is None
    close(others, expected[2:4])


@pytest.mark.parametrize("shape", [(64, 33), (4, 3, 40, 40), (2, 3, 9001)], ids=str)
def test_a_large_mean_costs_no_more_digits_than_the_input_has(shape):
    x, weight, bias, grad = drawn(shape, offset=1000.0)
    with road.forced("native"):
        out, mean, scale = normalization.batch_norm(x, weight, bias, 1e-5)
    expected = reference(x, weight, bias, grad, batch_axes(shape))
    # one ulp of the mean is 6e-5 / 2
    np.testing.assert_allclose(out, expected[0], atol=2e-4)
    np.testing.assert_allclose(mean.reshape(-1), expected[4].reshape(-1), rtol=6e-8)
    np.testing.assert_allclose(scale.reshape(-1), expected[5].reshape(-1), rtol=2e-6)


def test_a_constant_channel_has_no_variance():
    x = np.full((4, 2, 50), 123.456, dtype=np.float32)
    with road.forced("native"):
        out, mean, scale = normalization.batch_norm(x, None, None, 1e-5)
    assert abs(out).max() < 1e-2
    np.testing.assert_allclose(scale, 1 / np.sqrt(1e-5), rtol=1e-5)
    assert mean.tolist() == [np.float32(123.456)] * 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(3, 4, 9), (9, 20)], ids=str)
def test_nan_and_infinity_stay_in_their_channel(value, shape):
    x, weight, bias, _ = drawn(shape)
    x[1, 2] = value
    with road.forced("native"):
        out, mean, _ = normalization.batch_norm(x, weight, bias, 1e-5)
    spoiled = np.isnan(out).any(axis=batch_axes(shape))
    assert np.flatnonzero(spoiled).tolist() == [2]
    assert np.flatnonzero(~np.isfinite(mean)).tolist() == [2]


@pytest.mark.parametrize("shape", [(4, 6, 5, 5), (50, 40)], ids=str)
def test_the_operators_agree_on_both_roads(shape):
    arrays = drawn(shape)
    found = {}
    for name in ("numpy", "native"):
        with road.forced(name):
            x, weight, bias, grad = (torch.from_numpy(each.copy()) for each in arrays)
            for each in (x, weight, bias):
                each.requires_grad_()
            running = torch.zeros(shape[1]), torch.ones(shape[1])
            out = F.batch_norm(x, *running, weight, bias, training=True)
            out.backward(grad)
            still = F.batch_norm(x.detach(), *running, weight.detach(), bias.detach())
            results = (out.detach(), x.grad, weight.grad, bias.grad, *running, still)
            found[name] = [each.numpy() for each in results]
    close(found["native"], [each.astype(np.float64) for each in found["numpy"]])


def test_second_derivatives_take_the_recorded_road():
    x = torch.randn(4, 3, 5, requires_grad=True, dtype=torch.float64)
    with road.forced("native"):
        single = x.detach().float().requires_grad_()
        first = torch.autograd.grad(
            (F.batch_norm(single, None, None, training=True) ** 3).sum(), single, create_graph=True
        )[0]
        (second,) = torch.autograd.grad((first**2).sum(), single)
    first = torch.autograd.grad(
        (F.batch_norm(x, None, None, training=True) ** 3).sum(), x, create_graph=True
    )[0]
    (expected,) = torch.autograd.grad((first**2).sum(), x)
    np.testing.assert_allclose(second.numpy(), expected.numpy(), rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------ group norm
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("end", [True, False])
def test_group_norm_equals_float64_on_guarded_memory(shape, end, monkeypatch):
    x, weight, bias, grad = (guarded(each, end) for each in drawn(shape))
    empty = np.empty
    for groups in {1, shape[1], shape[1] // 2 if shape[1] % 2 == 0 else 1}:
        grouped = (shape[0], groups, -1)
        expected = reference(x, weight, bias, grad, (2,), grouped)
        with monkeypatch.context() as patch, road.forced("native"):
            patch.setattr(np, "empty", lambda shape, dtype: guarded(empty(shape, dtype), end))
            out, mean, scale = normalization.group_norm(x, weight, bias, groups, 1e-5)
            found = normalization.group_gradients(grad, x, weight, mean, scale[..., None], groups,
                                                  True)  # fmt: skip
        close((out, *found, mean, scale), expected)


def test_group_and_instance_norm_agree_on_both_roads():
    arrays = drawn((3, 8, 6, 6))
    found = {}
    for name in ("numpy", "native"):
        with road.forced(name):
            x, weight, bias, grad = (torch.from_numpy(each.copy()) for each in arrays)
            for each in (x, weight, bias):
                each.requires_grad_()
            out = F.group_norm(x, 4, weight, bias) + F.instance_norm(x, None, None, weight)
            out.backward(grad)
            results = (out.detach(), x.grad, weight.grad, bias.grad)
            found[name] = [each.numpy() for each in results]
    close(found["native"], [each.astype(np.float64) for each in found["numpy"]], 4e-6)


# ------------------------------------------------------------------------------ all
def test_one_and_two_threads_give_the_same_bits():
    before, results = pool.thread_count(), []
    for count in (1, 2):
        pool.ensure().resize(count)
        for shape in ((8, 33, 30, 11), (700, 200)):
            x, weight, bias, grad = drawn(shape)
            out, mean, scale = generated.batch_norm(x, weight, bias, 1e-5)
            results += [out, mean, scale]
            results += generated.batch_gradients(grad, x, weight, mean, scale, True)
        out, mean, scale = generated.group_norm(drawn((8, 32, 19, 11))[0], None, None, 8, 1e-5)
        results += [out, mean, scale]
    pool.ensure().resize(before)
    half = len(results) // 2
    for one, other in zip(results[:half], results[half:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_channels_than_a_task_holds():
    x, weight, bias, grad = drawn((2, 600, 5))
    with road.forced("native"):
        out, mean, scale = normalization.batch_norm(x, weight, bias, 1e-5)
        found = normalization.batch_gradients(grad, x, weight, mean, scale, True)
    close((out, *found), reference(x, weight, bias, grad, (0, 2))[:4])


def test_views_and_other_dtypes():
    x, weight, bias, _ = drawn((4, 10, 12))
    view = x[:, ::2, ::-1]
    with road.forced("native"):
        out, *_ = normalization.batch_norm(view, weight[::2], bias[1::2], 1e-5)
        same, *_ = normalization.batch_norm(view.copy(), weight[::2], bias[1::2], 1e-5)
        assert normalization.batch_norm(x.astype("float64"), None, None, 1e-5) is None
        assert normalization.batch_norm(x, weight.astype("float64"), None, 1e-5) is None
        assert normalization.group_norm(x[:, :, :2], None, None, 2, 1e-5) is None
    np.testing.assert_array_equal(out, same)


@pytest.mark.parametrize("target", OTHER_TARGETS, ids=lambda target: target.cpu)
def test_texts_compile_for_other_processors(target):
    for text in (
        generated.batch_text, generated.batch_backward_text, generated.group_text,
        generated.group_backward_text, generated.affine_text, columns.columns_text,
        columns.columns_backward_text,
    ):  # fmt: skip
        assert len(machine.emit_object(text(target), target)) > 1000
