"""State that a traced function has read is guarded; other state is not."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

import danlu as torch
from danlu import nn
from danlu.compiler.bytecode import Names
from danlu.compiler.places import same
from danlu.compiler.texts import Scope
from tests.unit.watching import checker, observe


@dataclasses.dataclass
class TrainConfig:
    lr: float = 0.1
    weights: dict = dataclasses.field(default_factory=lambda: {"a": 1.0, "b": 0.5})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.calls = 0

    def forward(self, x):
        return self.layer(x)


net = Net()
config = TrainConfig()
counter = 0


def test_few_guards_for_a_common_step():
    model, loss_fn = nn.Sequential(nn.Linear(2, 1)), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters())
    rate, shift = 0.5, 1.0

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_fn(model(x) + shift, y) * rate
        loss.backward()
        optimizer.step()
        return torch.as_tensor(loss)

    _, guards = observe(step, torch.ones(3, 2), torch.ones(3, 1))
    assert len(guards.expressions(Scope())) <= 12
    check = checker(guards)
    assert check()
    step(torch.ones(3, 2), torch.ones(3, 1))
    assert check()
    shift = 2.0
    assert not check()
    shift = 1.0
    assert check()
    rate = -0.5
    assert not check()


class Scaled(nn.Module):
    factor = 1.5

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.power = 1
        self.sizes = [1, 2]
        self.options = {"bias": 0.0}
        self.config = TrainConfig()

    def forward(self, x):
        y = self.layer(x) * self.factor * self.sizes[0] + self.options["bias"]
        return y**self.power * self.config.lr * helper_scale(x) * self.config.weights["a"]


HELPER = 1.0


def helper_scale(x, by=(1.0, 2.0)):
    return by[0] * HELPER


def other_scale(x):
    return 2.0


def _set(target, name, value):
    return lambda: setattr(target, name, value)


CHANGES = {
    "attribute": lambda m: _set(m, "power", 2),
    "attribute type": lambda m: _set(m, "power", 1.0),
    "shadowed class attribute": lambda m: _set(m, "factor", 2.0),
    "class attribute": lambda m: _set(Scaled, "factor", 2.5),
    "method": lambda m: _set(Scaled, "forward", Net.forward),
    "own method": lambda m: _set(m, "forward", m.layer.forward),
    "child": lambda m: _set(m, "layer", nn.Linear(2, 2)),
    "parameter": lambda m: _set(m.layer, "weight", nn.Parameter(torch.ones(2, 2))),
    "no parameter": lambda m: _set(m.layer, "bias", None),
    "table": lambda m: lambda: m.layer._parameters.__setitem__("bias", None),
    "mode": lambda m: m.layer.eval,
    "list": lambda m: lambda: m.sizes.append(3),
    "list item": lambda m: lambda: m.sizes.__setitem__(0, 4),
    "dict item": lambda m: lambda: m.options.__setitem__("bias", -0.0),
    "object": lambda m: _set(m.config, "lr", 0.2),
    "object's dict": lambda m: lambda: m.config.weights.update(a=2.0),
    "replaced object": lambda m: _set(m, "config", TrainConfig()),
    "hook": lambda m: lambda: m.layer.register_forward_hook(lambda *a: None),
    "hook above": lambda m: lambda: m.register_forward_pre_hook(lambda *a: None),
    "global": lambda m: lambda: globals().__setitem__("HELPER", 2.0),
    "global function": lambda m: lambda: globals().__setitem__("helper_scale", other_scale),
    "deleted global": lambda m: lambda: globals().pop("HELPER"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_seen(name, monkeypatch):
    for what in ("HELPER", "helper_scale"):
        monkeypatch.setitem(globals(), what, globals()[what])
    monkeypatch.setattr(Scaled, "forward", Scaled.forward)
    monkeypatch.setattr(Scaled, "factor", Scaled.factor)
    module = Scaled()
    change = CHANGES[name](module)
    _, guards = observe(module, torch.ones(3, 2))
    check = checker(guards)
    assert check()
    change()
    assert not check()
    assert guards.broken()


UNRELATED = {
    "same attribute": lambda m: _set(m, "power", 1),
    "same mode": lambda m: m.train,
    "mode and back": lambda m: lambda: m.eval().train(),
    "other attribute of an object": lambda m: _set(m.config, "fresh", 9),
    "other module": lambda m: _set(net, "calls", net.calls),
    "other global": lambda m: lambda: globals().__setitem__("counter", counter),
    "state": lambda m: lambda: m.load_state_dict(Scaled().state_dict()),
    "gradient": lambda m: lambda: m(torch.ones(3, 2)).sum().backward(),
    "hook and back": lambda m: lambda: m.register_forward_hook(len).remove(),
    "equal float": lambda m: lambda: m.options.__setitem__("bias", float("0.0")),
    "equal global": lambda m: lambda: globals().__setitem__("HELPER", float("1.0")),
}


@pytest.mark.parametrize("name", UNRELATED)
def test_other_changes_do_not_matter(name):
    module = Scaled()
    change = UNRELATED[name](module)
    _, guards = observe(module, torch.ones(3, 2))
    check = checker(guards)
    change()
    assert check(), guards.broken()
    assert check()


def test_hooks_put_in_by_hand():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *args: None)
    _, guards = observe(layer)
    check = checker(guards)
    assert check()
    layer._forward_hooks[-1] = lambda *args: None
    assert not check()


def test_hooks_on_all_modules():
    _, guards = observe(nn.Linear(2, 2))
    check = checker(guards)
    with nn.modules.module.register_module_forward_hook(lambda *args: None):
        assert not check()
        assert guards.broken()
    assert check()


def test_objects_of_danlu_whose_methods_are_compiled():
    class Runner:
        def step(self, x):
            return self.net(x) * self.factor

    Runner.__module__ = "danlu.something"
    runner = Runner()
    runner.net, runner.factor = nn.Linear(2, 2), 2.0
    for change in (lambda: setattr(runner, "factor", 3.0), lambda: runner.net.eval()):
        _, guards = observe(runner.step)
        check = checker(guards)
        assert check()
        change()
        assert not check()


def test_arguments_that_callers_take_apart():
    shared = [torch.ones(2)]

    def argument(parts):
        return parts[0] * 2

    def both(parts):
        return parts[0] * shared[0]

    for function, holds in ((argument, True), (both, False)):
        _, guards = observe(function, shared)
        check = checker(guards)
        assert check()
        shared[0] = torch.ones(2)
        assert check() is holds


def test_arguments_that_callers_know_by_identity():
    values, settings = np.ones(2), {("a", 1): 2.0}
    _, guards = observe(lambda a, s: torch.from_numpy(a) * s["a", 1], values, settings)
    check = checker(guards)
    assert check()
    values[0] = 2.0
    assert not check()
    values[0] = 1.0
    assert check()
    settings["a", 1] = 3.0
    assert not check()


def test_learning_rates_that_the_step_reads():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)

    def step(x):
        return x * optimizer.param_groups[0]["lr"]

    _, guards = observe(step)
    check = checker(guards)
    assert check()
    optimizer.param_groups[0]["lr"] = 0.2
    assert not check()


def test_attributes_reached_by_computed_names():
    def step(x):
        return x * sum(getattr(config, name) for name in ["lr"])

    _, guards = observe(step)
    check = checker(guards)
    config.lr = 0.3
    try:
        assert not check()
    finally:
        config.lr = 0.1
    assert check()


class Settings:
    pass


class Namespace:
    rate = 1.0


class Slots:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 1.0


@pytest.mark.parametrize("make", [lambda: Namespace, Slots, lambda: types.ModuleType("mine")])
def test_computed_names_of_all_kinds_of_objects(make):
    holder = make()
    holder.rate = 1.0

    def step(x, name):
        return x * getattr(holder, name)

    _, guards = observe(step, torch.ones(2), "rate")
    check = checker(guards)
    assert check()
    holder.rate = 2.0
    assert not check()


def test_attributes_asked_for_by_constant_names():
    settings = Settings()
    settings.rate, settings.past = 1.0, list(range(5000))  # the latter is nobody's business

    def step(x):
        for name in ("a", "b"):
            x = x + len(name)
        rate = getattr(settings, "rate", None)
        shift = getattr(settings, "shift", 0.0)
        return x * rate + shift if hasattr(settings, "scaled") else x

    _, guards = observe(step)
    for name, value in (("rate", 2.0), ("shift", 1.0), ("scaled", True)):
        check = checker(guards)
        assert check()
        before = getattr(settings, name, None)
        setattr(settings, name, value)
        assert not check()
        if before is None:
            delattr(settings, name)
        else:
            setattr(settings, name, before)


def _constant(config):
    getattr(config, "one")  # noqa: B009
    getattr(config.other[0], "two", "three")
    setattr(config, "four", {"x": [1, 2]})  # noqa: B010
    hasattr(config, "five") and delattr(config, "six")
    return getattr(getattr(config, "seven"), "eight")  # noqa: B009


def _computed_default(config, name):
    return getattr(config, name, "default")


def _computed_branch(config):
    return getattr(config, "one" if config else "two")


def _handed_on(config):
    return [*map(getattr, [config], ["one"])]


def test_names_given_to_getattr():
    names = Names(_constant.__code__)
    assert not names.computed
    assert names.asked == {"one", "two", "four", "five", "six", "seven", "eight"}
    assert {name for kind, name in names.stored} == {"four", "six"}
    for function in (_computed_default, _computed_branch, _handed_on):
        assert Names(function.__code__).computed


def test_closures_and_defaults_of_helpers():
    def make(by, seen):
        return lambda x, table=seen: x * by * table[0]

    factors = [1.0]
    helpers = [make(1.0, factors), make(2.0, [1.0])]

    def step(x):
        return sum(helper(x) for helper in helpers)

    _, guards = observe(step)
    check = checker(guards)
    assert check()
    factors[0] = 2.0
    assert not check()
    factors[0] = 1.0
    assert check()
    helpers[1].__closure__[0].cell_contents = 3.0
    assert not check()


def test_small_arrays_are_compared_by_content():
    weights = np.array([1.0, 2.0])

    def step(x):
        return x * torch.from_numpy(weights)

    _, guards = observe(step)
    check = checker(guards)
    assert check()
    weights[0] = 3.0
    assert not check()


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, True), (1, 1.0), (0.0, -0.0), (1.0, 2.0), ("a", "b"), ((1, 2), (1, 2.0)), (None, 0),
        (frozenset((1,)), frozenset((True,))), (0j, complex(0, -0.0)), (range(2), range(3)),
        (np.float32(1), np.float64(1)), ([1], [1]), (slice(1), slice(2)),
    ],
)  # fmt: skip
def test_different(value, other):
    assert not same(value, other)
    assert same(value, value)


@pytest.mark.parametrize(
    "text",
    ["1000", "float('nan')", "'ab' * 2", "(1.5, 'a', (2,))", "slice(1)", "1e3j", "bytes(3)"],
)
def test_same(text):
    assert same(eval(text), eval(text))
