"""Generated attention against the formula in double precision."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu as torch
import danlu.nn.functional as F
from danlu.kernels import attention as kernels
from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.types import DOUBLE, FLOAT
from danlu.kernels.generated import attention as writer
from danlu.kernels.generated import attention_backward as backward_writer
from danlu.kernels.runtime import machine, pool, road
from tests.unit.guarded import guarded

TOLERANCE = {"float32": 3e-5, "float64": 1e-11}
OTHER_MACHINES = [
    ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    ("aarch64-unknown-linux-gnu", "neoverse-n1"),
]


@pytest.fixture(autouse=True)
def _native():
    with road.forced("native"):
        yield


def reference(grad, q, k, v, mask, scale, causal):
    """Values, logarithms of sums, and the three gradients, in double precision."""
    grad, q, k, v = (x.astype(np.float64) for x in (grad, q, k, v))
    scores = q @ k.swapaxes(-1, -2) * scale
    if mask is not None:
        scores = scores + mask
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isinf(largest), 0, largest))
    sums = powers.sum(-1, keepdims=True)
    weights = powers / np.where(sums == 0, 1, sums)
    logs = np.where(sums == 0, np.inf, largest + np.log(np.where(sums == 0, 1, sums)))[..., 0]
    by_weight = grad @ v.swapaxes(-1, -2)
    by_score = weights * (by_weight - (by_weight * weights).sum(-1, keepdims=True)) * scale
    gradients = by_score @ k, by_score.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ grad
    return (weights @ v, logs, *gradients)


def both_directions(grad, q, k, v, mask, scale, causal):
    out, logs = kernels.attention(q, k, v, mask, scale, causal)
    found = kernels.attention_backward(grad, q, k, v, mask, out, logs, scale, causal)
    return out, logs, *found


def inputs(generator, leading, rows, keys, features, value_features, dtype):
    shapes = (rows, value_features), (rows, features), (keys, features), (keys, value_features)
    return [generator.standard_normal((*leading, *shape)).astype(dtype) for shape in shapes]


def check(made, expected):
    for one, other in zip(made, expected, strict=True):
        other = other.reshape(one.shape)
        finite = np.isfinite(other)
        assert np.array_equal(np.isfinite(one), finite)
        error = np.abs(one[finite] - other[finite]).max(initial=0)
        error /= 1 + np.abs(other[finite]).max(initial=0)
        assert error < TOLERANCE[one.dtype.name]


@pytest.mark.parametrize("seed", range(48))
def test_attention_and_its_gradients(seed):
    generator = np.random.default_rng(seed)
    rows, keys = (int(size) for size in np.exp(generator.uniform(0, 5.7, 2)))
    features, value_features = (int(size) for size in np.exp(generator.uniform(0, 4.3, 2)))
    leading = [(2, 3), (1,), (), (4, 5), (2, 1, 3)][seed % 5]
    causal = bool(seed % 2)
    mask = None
    if seed % 3 == 0:
        mask = generator.standard_normal((rows, keys))
        mask[generator.random((rows, keys)) < 0.3] = -np.inf
        mask[0] = -np.inf  # a position that sees nothing
    dtype = "float64" if seed % 4 == 3 else "float32"
    arrays = inputs(generator, leading, rows, keys, features, value_features, dtype)
    mask = None if mask is None else mask.astype(dtype)
    check(both_directions(*arrays, mask, 0.3, causal), reference(*arrays, mask, 0.3, causal))


@pytest.mark.parametrize("causal", [False, True])
def test_long_sequences_of_few_heads(causal):
    arrays = inputs(np.random.default_rng(0), (1, 2), 450, 400, 24, 40, "float32")
    check(both_directions(*arrays, None, 0.2, causal), reference(*arrays, None, 0.2, causal))


def test_heads_that_lie_between_features():
    """(N, H, L, E) as a view of (N, L, H, E), as layers have it."""
    generator = np.random.default_rng(0)
    arrays = inputs(generator, (2, 37), 3, 3, 20, 20, "float32")  # (N, L, H, E)
    views = [x.swapaxes(1, 2) for x in arrays]
    made = both_directions(*views, None, 0.2, True)
    check(made, reference(*views, None, 0.2, True))
    assert made[0].swapaxes(1, 2).flags.c_contiguous
    reversed_features = [x[..., ::-1] for x in views]
    check(both_directions(*reversed_features, None, 0.2, False),
          reference(*reversed_features, None, 0.2, False))  # fmt: skip


@pytest.mark.parametrize("mask_shape", [(2, 3, 30, 33), (2, 1, 30, 33), (30, 33), (33,), (30, 1)])
def test_masks_that_broadcast(mask_shape):
    generator = np.random.default_rng(0)
    arrays = inputs(generator, (2, 3), 30, 33, 8, 9, "float32")
    mask = generator.standard_normal(mask_shape).astype(np.float32)
    check(both_directions(*arrays, mask, 0.2, False), reference(*arrays, mask, 0.2, False))


def test_large_scores_and_special_values():
    generator = np.random.default_rng(0)
    grad, q, k, v = inputs(generator, (2,), 20, 300, 16, 16, "float32")
    check(kernels.attention(q * 30, k * 30, v, None, 1.0, False),
          reference(grad, q * 30, k * 30, v, None, 1.0, False)[:2])  # fmt: skip
    q[0, 3, 2], v[1, 250, 5] = np.nan, np.inf
    out = kernels.attention(q, k, v, None, 1.0, False)[0]
    assert np.isnan(out[0, 3]).all()
    assert np.isfinite(out[0, :3]).all()
    assert np.isposinf(out[1, :, 5]).all()
    assert np.isfinite(np.delete(out[1], 5, -1)).all()


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_memory_beside_the_arrays_is_not_touched(end, causal):
    generator = np.random.default_rng(0)
    arrays = inputs(generator, (1, 1), 27, 133, 11, 19, "float32")
    mask = generator.standard_normal((27, 133)).astype(np.float32)
    placed = [guarded(x, end) for x in arrays]
    made = both_directions(*placed, guarded(mask, end), 0.3, causal)
    check(made, reference(*arrays, mask, 0.3, causal))


def test_outputs_end_where_they_should(monkeypatch):
    monkeypatch.setattr(
        kernels, "_empty_like_heads",
        lambda samples, heads, rows, features, dtype: guarded(
            np.zeros((samples, heads, rows, features), dtype)
        ),
    )  # fmt: skip
    arrays = inputs(np.random.default_rng(0), (2, 3), 29, 131, 13, 5, "float32")
    check(both_directions(*arrays, None, 0.3, True), reference(*arrays, None, 0.3, True))


@pytest.mark.parametrize("leading", [(5, 4), (1, 2)])
def test_thread_counts_give_the_same_bits(leading):
    arrays = inputs(np.random.default_rng(0), leading, 200, 150, 16, 16, "float32")
    made = []
    for count in (1, 2):
        pool.ensure().resize(count)
        made.append([x.tobytes() for x in both_directions(*arrays, None, 0.3, True)])
    assert made[0] == made[1]


@pytest.mark.parametrize("machine_name", OTHER_MACHINES)
@pytest.mark.parametrize("type", [FLOAT, DOUBLE])
def test_code_for_other_machines(machine_name, type):
    target = targets.named(*machine_name)
    for module in (writer, backward_writer):
        assert len(machine.emit_object(module.write(type, target), target)) > 1000


def both_roads(function):
    results = []
    for name in ("numpy", "native"):
        with road.forced(name):
            results.append(function())
    return zip(*results, strict=True)


@pytest.mark.parametrize(
    "settings",
    [{}, {"is_causal": True}, {"scale": 0.3}, {"boolean": True}, {"enable_gqa": True}],
)
def test_scaled_dot_product_attention(settings):
    torch.manual_seed(0)
    settings = dict(settings)
    if settings.pop("boolean", False):
        settings["attn_mask"] = torch.rand(21, 30) > 0.4
    heads = 2 if "enable_gqa" in settings else 4
    q = torch.randn(2, 4, 21, 16, requires_grad=True)
    k, v = (torch.randn(2, heads, 30, 16, requires_grad=True) for _ in range(2))
    weight = torch.randn(2, 4, 21, 16)

    def run():
        out = F.scaled_dot_product_attention(q, k, v, **settings)
        return (out, *torch.autograd.grad((out * weight).sum(), (q, k, v)))

    for one, other in both_roads(run):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_gradients_of_gradients():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 3, dtype=torch.float64, requires_grad=True)

    def attend(x, causal):
        return F.scaled_dot_product_attention(x, x * 2, x + 1, is_causal=causal)

    assert attend(x, True).grad_fn.name() == "ScaledDotProductFlashAttentionForCpuBackward0"
    for causal in (False, True):
        assert torch.autograd.gradcheck(lambda x: attend(x, causal), (x,))
        assert torch.autograd.gradgradcheck(lambda x: attend(x, causal), (x,))


def test_what_the_kernels_do_not_take_goes_another_way():
    x = torch.randn(1, 2, 40, 8)
    mask = torch.zeros(40, 40, requires_grad=True)
    F.scaled_dot_product_attention(x, x, x, attn_mask=mask).sum().backward()
    assert mask.grad.shape == (40, 40)
    assert F.scaled_dot_product_attention(x, x, x, dropout_p=0.5).shape == x.shape
    half = x.half()
    assert F.scaled_dot_product_attention(half, half, half).dtype == torch.float16
    empty = torch.randn(1, 2, 0, 8)
    assert F.scaled_dot_product_attention(empty, x, x).shape == (1, 2, 0, 8)
