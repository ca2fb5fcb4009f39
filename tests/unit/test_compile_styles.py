"""Ordinary ways of writing a training step are not refused."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import functools
import itertools
import math
import types

import numpy as np
import pytest

import danlu as torch
import danlu.nn.functional as F
from danlu import nn
from tests.unit.watching import checker, observe

scale = 2.0
settings = types.SimpleNamespace(lr=0.1, sizes=[1, 2])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x)


class Meter:
    def __init__(self):
        self.count = 0


meter = Meter()


class Config:
    pass


@dataclasses.dataclass
class TrainConfig:
    lr: float = 0.1
    sizes: tuple = (2, 3)
    weights: dict = dataclasses.field(default_factory=lambda: {"a": 1.0, "b": 0.5})


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


Pair = collections.namedtuple("Pair", "first second")
config = TrainConfig()
mode = Mode.FAST
network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.1))
layers = [nn.Linear(2, 2), nn.Tanh()]
named = {"first": nn.Linear(2, 2), "second": nn.Sigmoid()}


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Trainer:
    clip = 1.0

    def __init__(self):
        self.model = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loss = nn.MSELoss()
        self.config = config

    @property
    def rate(self):
        return self.config.lr

    @staticmethod
    def weigh(loss):
        return loss * 2

    @classmethod
    def limit(cls):
        return cls.clip

    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.weigh(self.loss(self.model(x), x.sum(1, keepdim=True))) * self.rate
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.limit())
        self.optimizer.step()
        return loss

    def __call__(self, x):
        return self.step(x)


def style_local_lists(x):
    outputs = [x * i for i in range(3)]
    outputs.append(x)
    outputs[0] = x
    outputs += [x]
    outputs.sort(key=lambda t: t.ndim)
    return torch.stack(outputs).sum()


def style_layers(x):
    for layer in layers:
        x = layer(x)
    for name, layer in named.items():
        x = layer(x) if name != "third" else x
    return x


def style_dicts(x):
    losses = {"a": x.sum()}
    losses["b"] = x.mean()
    losses.update(c=x.max())
    losses.setdefault("d", x.min())
    sums = collections.defaultdict(list)
    sums["x"].append(x)
    return sum(losses[k] * config.weights.get(k, 1.0) for k in losses), dict(sums)


def style_texts(x):
    name = f"{x.shape[0]:>3}-{mode.name}".strip().upper()
    return x if name.endswith("FAST") else -x


def style_zip(x):
    total = x.sum()
    for i, (a, b) in enumerate(zip(x, reversed([*x]))):
        total = total + i * (a * b).sum()
    for a, b in itertools.product(range(2), repeat=2):
        total = total + a * b
    return total


def style_checks(x):
    assert isinstance(x, torch.Tensor) and x.ndim == 2, "two dimensions"
    if not callable(network) or not hasattr(x, "shape"):
        raise ValueError(x)
    return x


def style_contexts(x):
    with torch.no_grad():
        y = network(x)
    with torch.autocast("cpu", enabled=False), contextlib.nullcontext(), shifted(1) as shift:
        return y * shift


@contextlib.contextmanager
def shifted(by):
    try:
        yield by + 1
    finally:
        by = 0


def style_try(x):
    try:
        return x @ torch.ones(7)
    except RuntimeError as error:
        return x * len(str(error).split("\n")[:1])


def style_recursion(x, depth=3):
    return x if depth == 0 else style_recursion(torch.tanh(x), depth - 1)


def style_generators(x):
    def parts():
        for i in range(3):
            yield x * i

    return sum(p.sum() for p in parts()) + next(iter(parts())).sum()


def style_helpers(x):
    shift = 1

    def helper(y):
        nonlocal shift
        shift += 1
        return y + shift

    return helper(helper(x))


def style_objects(x):
    made = Config()
    made.x = x
    made.parts = []
    made.parts.append(Point(1.0))
    point = dataclasses.replace(made.parts[0], y=2.0)
    pair = Pair(x, point.y)._replace(first=x + 1)
    return pair.first * pair.second


def style_classes(x):
    class Local(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 2.0
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            self.seen = x.shape
            return self.linear(x) * self.scale

    return Local()(x)


def style_numbers(x):
    width = int(np.prod(x.shape)) * math.sqrt(x.shape[-1]) + np.pi
    return x.reshape(-1) * width * round(max(1.0, min(2, abs(-3))), 2)


def style_import(x):
    import statistics

    from danlu.nn.functional import relu

    return relu(x) * statistics.mean([1, 2])


def style_sorted(x):
    order = sorted({"b": 1, "a": 2}.items(), key=lambda kv: kv[1], reverse=True)
    return functools.reduce(lambda a, kv: a + kv[1], order, x)


@decorated
@torch.no_grad()
def style_decorated(x):
    return network(x) * scale


def style_train_mode(x):
    network.train()
    out = network(x).sum()
    out.backward()
    return out


def style_settings(x):
    match_rate = getattr(settings, "lr", 1.0)
    widths = vars(config)["sizes"]
    return x * match_rate * widths[0]


def style_toggle(x):
    before = meter.count
    meter.count = 7
    y = x * meter.count
    meter.count = before
    return y


def style_amp(x):
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return scaler.scale(network(x).sum())


def style_distributions(x):
    noise = torch.randn(2, 2) * 0.1
    return F.dropout(x, 0.5, training=True) + noise.sum()


STYLES = {name: f for name, f in list(globals().items()) if name.startswith("style_")}
STYLES |= {
    "method": Trainer().step,
    "object": Trainer(),
    "partial": functools.partial(style_recursion, depth=2),
    "lambda": lambda x: network(x) * scale,
    "module": Net(),
    "danlu module": network,
    "forward": network.forward,
}


@pytest.mark.parametrize("name", STYLES)
def test_ordinary_styles(name):
    _, guards = observe(STYLES[name], torch.ones(3, 2))
    check = checker(guards)
    assert check(), guards.broken()
    assert guards.broken() == []
    nn.Linear(2, 2).eval()  # an unrelated change of modules
    assert check()
