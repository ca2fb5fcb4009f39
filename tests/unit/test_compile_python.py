"""Ordinary Python compiles: one trace, no warning, and the same values."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import namedtuple

import numpy as np
import pytest

import danlu as torch
from danlu import nn
from tests.unit.compiling import differences, inputs, recorded

pytest.importorskip("llvmlite")

COMPILED = []


def compiled_case(factory):
    COMPILED.append(pytest.param(factory, id=factory.__name__))
    return factory


@dataclasses.dataclass
class Batch:
    features: torch.Tensor
    scale: float = 2.0
    names: tuple = ("a",)


Pair = namedtuple("Pair", "left right")


@compiled_case
def attribute_reads():
    class Config:
        scale, power = 1.5, 2

    config = Config()
    return lambda x: (x * config.scale) ** config.power


@compiled_case
def pure_hooks():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    net.register_forward_hook(lambda module, arguments, out: out * 2)
    net.weight.register_hook(lambda g: g * 0.5)

    def step(x):
        net(x).square().sum().backward()
        grads = net.weight.grad, net.bias.grad
        net.zero_grad()
        return grads

    return step


@compiled_case
def local_containers():
    def step(x):
        parts, names = [], {}
        for i, row in enumerate(x):
            parts.append(row * i)
            names[f"row {i}"] = row.sum()
        names.update(total=sum(parts))
        kept = [part for part in parts if part.ndim == 1]
        return torch.stack(kept), names

    return step


@compiled_case
def strings_and_types():
    def step(x):
        name = f"{x.shape[0]}-{x.dtype}-{len(x)}"
        if isinstance(x, torch.Tensor) and x.dim() == 2 and "float32" in name:
            return x.to(torch.float64)
        return x

    return step


@compiled_case
def loops_over_layers():
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def step(x):
        for i, layer in enumerate(layers):
            x = torch.relu(layer(x)) if i % 2 else torch.tanh(layer(x))
        return x

    return step


@compiled_case
def defaults_and_keywords():
    def scaled(x, by=2.0, *, plus=1.0, **others):
        return x * by + plus + others.get("minus", 0)

    return lambda x: scaled(x, plus=3.0) - scaled(x, 4.0, minus=2)


@compiled_case
def nested_outputs():
    return lambda x: {"a": [x + 1, (x * 2, None)], "b": {"c": 3, "d": "text"}, 5: x.shape}


@compiled_case
def none_output():
    memory = torch.zeros(4, 3)

    def step(x):
        memory.mul_(0.5).add_(x)

    return step


@compiled_case
def dataclass_made_inside():
    def scaled(batch):
        return batch.features * batch.scale

    return lambda x: scaled(Batch(x, 3.0))


@compiled_case
def namedtuple_made_inside():
    def step(x):
        pair = Pair(x + 1, right=x * 2)
        return pair._replace(left=pair.left * 2)

    return step


@compiled_case
def context_managers():
    @contextlib.contextmanager
    def doubled(values):
        yield [value * 2 for value in values]

    def step(x):
        with torch.no_grad(), contextlib.nullcontext(), doubled([x]) as (y,):
            return y + 1

    return step


@compiled_case
def exceptions_caught():
    def step(x):
        scales = {"small": 0.5}
        try:
            return x * scales["large"]
        except KeyError as error:
            return x * len(str(error))
        finally:
            x = x + 1

    return step


@compiled_case
def recursion():
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    return lambda x: power(x, 4)


@compiled_case
def local_generators():
    def halves(x, n):
        for _ in range(n):
            x = x / 2
            yield x

    return lambda x: sum(halves(x, 3)) + sum(row.sum() for row in x)


@compiled_case
def partial_and_lambda():
    return functools.partial(lambda factor, x: x * factor, 3.0)


@compiled_case
def callable_object():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return x * self.factor

    return Scaled(3.0)


@compiled_case
def bound_method():
    class Trainer:
        def __init__(self):
            torch.manual_seed(0)
            self.net, self.scale = nn.Linear(3, 2), 2.0

        def step(self, x):
            return self.net(x) * self.scale

    return Trainer().step


@compiled_case
def objects_made_inside():
    class Meter:
        def __init__(self):
            self.total, self.count = 0, 0

        def add(self, value):
            self.total = self.total + value
            self.count += 1

    def step(x):
        meter = Meter()
        for row in x:
            meter.add(row.sum())
        return meter.total / meter.count

    return step


@compiled_case
def modes_set_to_what_they_are():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))

    def step(x):
        net.train()
        return net(x)

    return step


@compiled_case
def mathematics_of_numbers():
    import math

    def step(x):
        width = math.prod(x.shape) / math.sqrt(x.size(1))
        return x * round(width, 2) + max(1, min(x.shape)) + abs(-3) + int("7") + np.pi

    return step


@compiled_case
def masks_that_keep_the_shape():
    def step(x):
        y = x.clone()
        y[y > 0] = 0.5
        return torch.where(x > 1, y, x).masked_fill(x < -1, 2.0), (x > 0).sum()

    return step


@compiled_case
def tensors_made_inside():
    def step(x):
        table = torch.arange(12, dtype=torch.float32).reshape(4, 3)
        return x + table + torch.tensor([1.0, 2.0, 3.0]) + torch.eye(4)[:, :3] + torch.zeros(3)

    return step


@compiled_case
def integers_and_bools():
    def step(x):
        ranks = x.argsort(1)
        return ranks, ranks + 1, ranks // 2, x > 0, (x > 0) & (x < 1), ranks.to(torch.uint8)

    return step


@compiled_case
def randomness():
    def step(x):
        return (
            x + torch.randn(3),
            torch.rand_like(x),
            torch.randperm(5),
            torch.dropout(x, 0.5, True),
        )

    return step


@pytest.mark.parametrize("factory", COMPILED)
def test_ordinary_python_is_compiled(factory):
    step = factory()
    expected, _ = recorded(step, *inputs())
    stream = torch.get_rng_state()
    compiled = torch.compile(factory())
    found, told = recorded(compiled, *inputs())
    assert not told
    assert not differences(found, expected, "float32")
    assert torch.equal(torch.get_rng_state(), stream)
    stats = torch.compiler.stats(compiled)
    assert (stats.traces, stats.compiled_calls, stats.eager_calls) == (1, 3, 1)
    assert stats.refusals == []


@pytest.mark.parametrize("data", [
    lambda x: (Batch(x),),
    lambda x: (Pair(x, x + 1),),
    lambda x: ({"a": x, "b": [x + 1, {"c": (x * 2, None)}]},),
    lambda x: ([x, (x,)], "text", 3, None, 2.5, True),
    lambda x: (x, slice(0, 2), torch.float64, torch.device("cpu")),
], ids=["dataclass", "namedtuple", "nested", "plain values", "other values"])  # fmt: skip
def test_inputs_of_every_structure(data):
    def total(value):
        if isinstance(value, torch.Tensor):
            return value.sum()
        if isinstance(value, dict):
            return sum(total(part) for part in value.values())
        if isinstance(value, (list, tuple)):
            return sum(total(part) for part in value)
        if isinstance(value, Batch):
            return value.features.sum() * value.scale
        return value if isinstance(value, (int, float)) else 1

    def step(*args):
        return total(args)

    calls = [data(*call) for call in inputs()]
    compiled = torch.compile(step)
    found, told = recorded(compiled, *calls)
    expected, _ = recorded(step, *calls)
    assert not told
    assert not differences(found, expected, "float32")
    assert torch.compiler.stats(compiled).compiled_calls == 3


def test_disable_does_nothing():
    def step(x):
        return x * 2

    assert torch.compile(step, disable=True) is step


@pytest.mark.parametrize("options", [
    {}, {"fullgraph": True}, {"dynamic": True}, {"dynamic": False}, {"backend": "inductor"},
    {"mode": "default"}, {"mode": "reduce-overhead"}, {"mode": "max-autotune"},
    {"options": {}},
])  # fmt: skip
def test_pytorchs_arguments_as_decorator_and_function(options):
    def step(x):
        return x * 2 + 1

    for compiled in (torch.compile(step, **options), torch.compile(**options)(step)):
        found, told = recorded(compiled, *inputs())
        assert not told
        assert not differences(found, recorded(step, *inputs())[0], "float32")
        assert torch.compiler.stats(compiled).compiled_calls == 3
