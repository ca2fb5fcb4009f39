"""Infinities, NaN, signed zeros and the ends of the integers, in calls after the first."""

from __future__ import annotations

import pytest

import danlu as torch
from danlu import nn
from tests.unit.compiling import copied, differences, inputs

pytest.importorskip("llvmlite")

INF, NAN = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, 1.5, -1.5, 2.5, INF, -INF, NAN, 1e-42, -3e38, 0.5, -0.5]
FUNCTIONS = {
    "relu": lambda x: torch.relu(x),
    "maximum": lambda x: (torch.maximum(x, x.flip(0)), torch.minimum(x, x.flip(0))),
    "fmax": lambda x: (torch.fmax(x, x.flip(0)), torch.fmin(x, x.flip(0))),
    "clamp": lambda x: (x.clamp(-1, 1), x.clamp(min=0), x.clamp(max=0)),
    "reductions": lambda x: (x.max(), x.min(), x.sum(), x.prod(), x.mean()),
    "along": lambda x: (x.max(0), x.min(1), x.amax(1), x.argmax(1), x.argmin(0)),
    "sorting": lambda x: (x.sort(1), x.argsort(0), x.topk(2, 1), x.median(1)),
    "rounding": lambda x: (x.round(), x.floor(), x.ceil(), x.trunc(), x.frac()),
    "signs": lambda x: (x.sign(), x.signbit(), torch.copysign(torch.ones(4, 3), x), x.abs()),
    "division": lambda x: (x / x.flip(0), x // 2, x % 2, x.fmod(2), x.remainder(-1.5), 1 / x),
    "powers": lambda x: (x**2, x**0.5, x**-1, x**3, 2**x, x**x, x.sqrt(), x.rsqrt()),
    "exponentials": lambda x: (x.exp(), x.expm1(), x.log(), x.log1p(), x.log2(), x.exp2()),
    "trigonometry": lambda x: (x.sin(), x.cos(), x.tan(), x.atan(), torch.atan2(x, x.flip(0))),
    "hyperbolic": lambda x: (x.tanh(), x.sinh(), x.cosh(), x.sigmoid(), x.asinh()),
    "softmax": lambda x: (x.softmax(1), x.log_softmax(0), x.logsumexp(1), x.cumsum(0)),
    "activations": lambda x: (
        nn.functional.gelu(x), nn.functional.silu(x), nn.functional.softplus(x),
        nn.functional.elu(x), nn.functional.hardtanh(x), nn.functional.leaky_relu(x),
        nn.functional.mish(x), nn.functional.hardswish(x), nn.functional.logsigmoid(x),
    ),
    "comparisons": lambda x: (x > 0, x == x, x != x, x <= x.flip(0), x.isnan(), x.isinf()),
    "where": lambda x: (torch.where(x > 0, x, -x), x.masked_fill(x.isnan(), 0), x.nan_to_num()),
    "conversions": lambda x: (x.double(), x.bfloat16(), x.half(), x.bool(), x.nan_to_num().int()),
    "products": lambda x: (x @ x.T, x * 0, x.square(), torch.outer(x[0], x[1])),
    "gradients": lambda x: torch.autograd.grad(
        (w := x.clone().requires_grad_()).relu().sum() + w.clamp(-1, 1).sum() + w.abs().sum()
        + w.max() + w.sigmoid().log().sum(), w,
    )[0],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_in_later_calls(name):
    compiled = torch.compile(FUNCTIONS[name])
    for (x,) in inputs():
        compiled(x)
    for turn in range(3):
        x = torch.tensor(SPECIAL).roll(turn * 5).reshape(4, 3)
        assert not differences(copied(compiled(x)), copied(FUNCTIONS[name](x)), "float32")


INTEGERS = {
    "arithmetic": lambda x, y: (
        x + y, x - y, x * y, -x, x & y, x | y, x ^ y, x.abs(), x.sum(), x.prod(), x.max(),
        x.float() * 2, x == y, x.clamp(2, 90), x**2, x >> 1, x << 1, x * 2.5, x + True,
    ),
    "division": lambda x, y: (x // y, x % y, x / y, x // 3, x % 3),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
def test_integers_wrap_and_divide_alike(name, dtype):
    kind = getattr(torch, dtype)
    compiled = torch.compile(INTEGERS[name])
    low, high = torch.iinfo(kind).min, torch.iinfo(kind).max
    first = torch.tensor([7, 3, 1, 100]).to(kind), torch.tensor([2, 5, 3, 7]).to(kind)
    last = torch.tensor([low, high, 0, 5]).to(kind), torch.tensor([3, high, 1, low or 2]).to(kind)
    for x, y in (first, first, first, last, (last[0], last[0].flip(0).clamp(min=1))):
        assert not differences(copied(compiled(x, y)), copied(INTEGERS[name](x, y)), "float32")
    assert torch.compiler.stats(compiled).compiled_calls == 4
