"""Whatever changes between two calls is seen by compiled code, as by the function itself."""

from __future__ import annotations

import dataclasses
import os
import types

import numpy as np
import pytest

import danlu as torch
from danlu import nn
from tests.unit.compiling import copied, differences, inputs, recorded

pytest.importorskip("llvmlite")

CASES = []
factor = 2.0
tensor_factor = torch.tensor(2.0)


def helper(x):
    return x * 2


def case(factory):
    """Registers a factory of (step, what changes, what there is to see besides the results)."""
    CASES.append(pytest.param(factory, id=factory.__name__))
    return factory


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.BatchNorm1d(4))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01, eps=1e-3)


def trained(net, optimizer):
    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean() + net[0].weight.sin().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def training(change, make=sgd):
    """A case that changes a network or its optimizer between steps of training."""
    net = network()
    optimizer = make(net.parameters())

    def look():
        grads = [p.grad for p in net.parameters()]
        return copied([net.state_dict(), optimizer.state_dict(), grads])

    return trained(net, optimizer), lambda: change(net, optimizer), look


# ---------------------------------------------------------------------- Python's values
@case
def closure_number():
    scale = 2.0

    def step(x):
        return x * scale

    def change():
        nonlocal scale
        scale = 3.0

    return step, change


@case
def closure_number_of_another_type():
    scale = 2

    def step(x):
        return x.long() * scale

    def change():
        nonlocal scale
        scale = 2.0

    return step, change


@case
def true_and_one():
    scale = 1

    def step(x):
        return (x > 0) * scale

    def change():
        nonlocal scale
        scale = True

    return step, change


@case
def negative_zero():
    zero = 0.0

    def step(x):
        return torch.atan2(torch.full_like(x, zero), -x.abs() - 1)

    def change():
        nonlocal zero
        zero = -0.0

    return step, change


@case
def a_global():
    globals()["factor"] = 2.0
    return lambda x: x * factor, lambda: globals().update(factor=3.0)


@case
def global_of_a_helper():
    globals()["factor"] = 2.0

    def scaled(x):
        return x * factor

    return lambda x: scaled(x) + 1, lambda: globals().update(factor=3.0)


@case
def helper_replaced():
    original = helper

    def change():
        globals()["helper"] = lambda x: x * 5

    def look():
        globals()["helper"] = original

    return lambda x: helper(x), change, look


@case
def default_argument():
    def step(x, by=2.0):
        return x * by

    def change():
        step.__defaults__ = (4.0,)

    return step, change


@case
def keyword_default():
    def step(x, *, by=2.0):
        return x * by

    return step, lambda: step.__kwdefaults__.update(by=4.0)


@case
def mutable_default():
    def step(x, by=[2.0]):  # noqa: B006
        return x * by[0]

    return step, lambda: step.__defaults__[0].__setitem__(0, 4.0)


@case
def code_replaced():
    def scaled(x):
        return x * 2

    def other(x):
        return x * 3

    def change():
        scaled.__code__ = other.__code__

    return lambda x: scaled(x), change


@case
def list_element():
    scales = [1.0, 2.0]
    return lambda x: x * scales[1], lambda: scales.__setitem__(1, 5.0)


@case
def list_grows():
    scales = [1.0, 2.0]

    def step(x):
        for scale in scales:
            x = x * scale
        return x

    return step, lambda: scales.append(3.0)


@case
def nested_dict():
    config = {"model": {"scale": [2.0]}}
    inner = config["model"]["scale"]
    return lambda x: x * config["model"]["scale"][0], lambda: inner.__setitem__(0, 3.0)


@case
def dict_key_appears():
    config = {}
    return lambda x: x * config.get("scale", 2.0), lambda: config.update(scale=3.0)


@case
def object_attribute():
    config = types.SimpleNamespace(scale=2.0)
    return lambda x: x * config.scale, lambda: setattr(config, "scale", 3.0)


@case
def attribute_appears():
    config = types.SimpleNamespace()
    return lambda x: x * getattr(config, "scale", 2.0), lambda: setattr(config, "scale", 3.0)


@case
def attribute_exists():
    config = types.SimpleNamespace()
    return lambda x: x * 3 if hasattr(config, "fast") else x, lambda: setattr(config, "fast", 1)


@case
def dataclass_field():
    @dataclasses.dataclass
    class Config:
        scale: float = 2.0

    config = Config()
    return lambda x: x * config.scale, lambda: setattr(config, "scale", 3.0)


@case
def class_attribute():
    class Config:
        scale = 2.0

    config = Config()
    return lambda x: x * config.scale, lambda: setattr(Config, "scale", 3.0)


@case
def attribute_behind_a_property():
    class Config:
        _scale = 2.0

        @property
        def scale(self):
            return self._scale + 1

    config = Config()
    return lambda x: x * config.scale, lambda: setattr(config, "_scale", 3.0)


@case
def slots():
    class Config:
        __slots__ = ("scale",)

    config = Config()
    config.scale = 2.0
    return lambda x: x * config.scale, lambda: setattr(config, "scale", 3.0)


@case
def method_replaced():
    class Scaler:
        def scaled(self, x):
            return x * 2

    scaler = Scaler()
    return lambda x: scaler.scaled(x), lambda: setattr(Scaler, "scaled", lambda self, x: x * 3)


@case
def environment():
    os.environ["DANLU_TEST_SCALE"] = "2"

    def change():
        os.environ["DANLU_TEST_SCALE"] = "3"

    return lambda x: x * float(os.environ["DANLU_TEST_SCALE"]), change


# ---------------------------------------------------------------------- tensors
@case
def global_tensor_in_place():
    globals()["tensor_factor"] = torch.tensor(2.0)
    return lambda x: x * tensor_factor, lambda: tensor_factor.fill_(3.0)


@case
def global_tensor_replaced():
    globals()["tensor_factor"] = torch.tensor(2.0)
    return lambda x: x * tensor_factor, lambda: globals().update(tensor_factor=torch.tensor(3.0))


@case
def tensor_data_replaced():
    w = torch.ones(3)
    return lambda x: x * w, lambda: setattr(w, "data", torch.full((3,), 2.0))


@case
def tensor_of_another_shape():
    w = torch.ones(3)
    return lambda x: x * w, lambda: setattr(w, "data", torch.full((4, 1), 2.0))


@case
def tensor_resized_in_place():
    w = torch.ones(3)
    return lambda x: (x * w.sum(), w + 1), lambda: w.resize_(2).fill_(3.0)


@case
def tensor_requires_grad():
    w = torch.ones(3)

    def step(x):
        y = (x * w).sum()
        if y.requires_grad:
            y.backward()
        return y.detach()

    return step, lambda: w.requires_grad_(), lambda: copied([w.grad])


@case
def memory_of_numpy():
    memory = np.ones(3, np.float32)
    w = torch.from_numpy(memory)
    return lambda x: x * w, lambda: memory.__setitem__(0, 5.0)


@case
def memory_of_a_view():
    base = torch.ones(2, 3)
    w = base[0]
    return lambda x: x * w, lambda: base.mul_(4)


@case
def gradient_set_from_outside():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        (x * w).sum().backward()
        return w.grad * 1

    return step, lambda: setattr(w, "grad", None), lambda: copied([w.grad])


@case
def gradient_edited():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        (x * w).sum().backward()

    return step, lambda: w.grad.zero_(), lambda: copied([w.grad])


@case
def tensor_list_element():
    weights = [torch.ones(3), torch.full((3,), 2.0)]
    return lambda x: sum(x * w for w in weights), lambda: weights.__setitem__(0, torch.zeros(3))


# ---------------------------------------------------------------------- modules
MODULES = {
    "evaluation mode": lambda net, _: net.eval(),
    "mode of one layer": lambda net, _: net[2].eval(),
    "dropout probability": lambda net, _: setattr(net[2], "p", 0.1),
    "momentum of statistics": lambda net, _: setattr(net[3], "momentum", 0.9),
    "layer replaced": lambda net, _: net.__setitem__(1, nn.ReLU()),
    "layer appended": lambda net, _: net.append(nn.Softplus()),
    "layer deleted": lambda net, _: net.__delitem__(1),
    "parameter replaced": lambda net, _: setattr(
        net[0], "weight", nn.Parameter(torch.full((4, 3), 0.3))
    ),
    "parameter replaced in the table": lambda net, _: net[0]._parameters.update(
        weight=nn.Parameter(torch.full((4, 3), 0.3))
    ),
    "parameter frozen": lambda net, _: net[0].weight.requires_grad_(False),
    "all frozen but one": lambda net, _: (
        net.requires_grad_(False), net[0].weight.requires_grad_(True),
    ),
    "buffer replaced": lambda net, _: setattr(net[3], "running_mean", torch.ones(4)),
    "buffer edited": lambda net, _: net[3].running_var.mul_(3),
    "weights loaded": lambda net, _: net.load_state_dict(network().state_dict()),
    "weights edited": lambda net, _: net[0].weight.data.mul_(0.5),
    "weights assigned": lambda net, _: setattr(net[0].weight, "data", torch.ones(4, 3) / 2),
    "forward hook": lambda net, _: net[0].register_forward_hook(lambda m, a, out: out * 2),
    "pre hook": lambda net, _: net[0].register_forward_pre_hook(lambda m, a: (a[0] * 2,)),
    "gradient hook": lambda net, _: net[0].weight.register_hook(lambda g: g * 3),
    "forward replaced": lambda net, _: setattr(net[1], "forward", torch.relu),
    "class replaced": lambda net, _: setattr(net[1], "__class__", nn.Sigmoid),
    "everything by apply": lambda net, _: net.apply(
        lambda module: module.weight.data.fill_(0.2) if isinstance(module, nn.Linear) else None
    ),
}  # fmt: skip


@case
def bias_removed():
    net = network()
    return lambda x: net[0](x).tanh(), lambda: setattr(net[0], "bias", None)


@case
def weights_in_double():
    net = network().eval()
    return (
        lambda x: net(x.to(net[0].weight.dtype)).sum(0),
        lambda: net.double(),
        lambda: copied(net.state_dict()),
    )


@case
def module_attribute():
    class Net(nn.Module):
        flip = False

        def forward(self, x):
            return -x if self.flip else x * 2

    net = Net()
    return lambda x: net(x), lambda: setattr(net, "flip", True)


@case
def list_of_a_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = [2.0]

        def forward(self, x):
            return x * self.scales[0]

    net = Net()
    return lambda x: net(x), lambda: net.scales.__setitem__(0, 7.0)


# ---------------------------------------------------------------------- optimizers
def options(**values):
    return lambda net, optimizer: optimizer.param_groups[0].update(values)


def _momentum_cleared(net, optimizer):
    for state in optimizer.state.values():
        state["momentum_buffer"].zero_()


def _state_dropped(net, optimizer):
    state = optimizer.state_dict()
    optimizer.load_state_dict({**state, "state": {}})


def _stepped(net, optimizer):
    trained(net, optimizer)(torch.ones(4, 3))
    optimizer.step()


def _hook(optimizer, args, kwargs):
    for p in optimizer.param_groups[0]["params"]:
        p.grad.mul_(0.5)


OPTIMIZERS = {
    "learning rate": (options(lr=0.01), sgd),
    "learning rate of Adam": (options(lr=0.04), adam),
    "betas": (options(betas=(0.5, 0.6)), adam),
    "eps": (options(eps=0.1), adam),
    "weight decay": (options(weight_decay=0.3), sgd),
    "weight decay of Adam": (options(weight_decay=0.3), adam),
    "momentum": (options(momentum=0.2), sgd),
    "no momentum": (options(momentum=0.0), sgd),
    "nesterov": (options(nesterov=True), sgd),
    "dampening": (options(dampening=0.5), sgd),
    "maximize": (options(maximize=True), sgd),
    "maximize of Adam": (options(maximize=True), adam),
    "group added": (
        lambda net, optimizer: optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]}),
        sgd,
    ),
    "state cleared": (lambda net, optimizer: optimizer.state.clear(), sgd),
    "state cleared of Adam": (lambda net, optimizer: optimizer.state.clear(), adam),
    "state of one cleared": (lambda net, optimizer: optimizer.state.pop(net[0].weight), adam),
    "state edited": (_momentum_cleared, sgd),
    "state dropped": (_state_dropped, adam),
    "state loaded": (lambda net, opt: opt.load_state_dict(opt.state_dict()), adam),
    "steps between": (_stepped, adam),
    "hook": (lambda net, optimizer: optimizer.register_step_pre_hook(_hook), sgd),
    "step replaced": (lambda net, optimizer: setattr(optimizer, "step", lambda: None), sgd),
}


# ---------------------------------------------------------------------- modes of danlu
@case
def default_dtype():
    def look():
        torch.set_default_dtype(torch.float32)

    return (
        lambda x: torch.full((3,), 0.1) * x.mean() + torch.zeros(3),
        lambda: torch.set_default_dtype(torch.float64),
        look,
    )


@case
def seed():
    return lambda x: x + torch.rand(3), lambda: torch.manual_seed(9)


@case
def numbers_drawn_between():
    return lambda x: nn.functional.dropout(x, 0.5), lambda: torch.rand(5)


@case
def generator_seeded():
    stream = torch.Generator().manual_seed(1)
    return (
        lambda x: x + torch.rand(3, generator=stream),
        lambda: stream.manual_seed(5),
        lambda: copied(torch.rand(2, generator=stream)),
    )


@case
def generator_replaced():
    stream = torch.Generator().manual_seed(1)

    def change():
        nonlocal stream
        stream = torch.Generator().manual_seed(7)

    return lambda x: x + torch.rand(3, generator=stream), change


def both(make):
    """What a case gives with its step as it is, and compiled."""
    results = []
    for transform in (lambda step: step, torch.compile):
        step, change, *look = make()
        step = transform(step)
        calls = inputs(7)
        before, told = recorded(step, *calls[:4])
        stats = getattr(step, "compiled_calls", None)
        change()
        after, more = recorded(step, *calls[4:])
        seen = look[0]() if look else None
        results.append([before, after, seen, copied(torch.get_rng_state())])
    assert not differences(results[1], results[0], "float32")
    return told + more, stats


@pytest.mark.parametrize("factory", CASES)
def test_changes_from_outside_are_seen(factory):
    told, compiled_calls = both(factory)
    assert not told and compiled_calls >= 1, told


@pytest.mark.parametrize("name", MODULES)
def test_changes_of_a_network_are_seen(name):
    told, compiled_calls = both(lambda: training(MODULES[name]))
    assert not told and compiled_calls >= 1, told


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_changes_of_an_optimizer_are_seen(name):
    told, compiled_calls = both(lambda: training(*OPTIMIZERS[name]))
    assert not told and compiled_calls >= 1, told


def test_a_constant_that_is_not_a_number():
    value = float("nan")
    compiled = torch.compile(lambda x: x + value)
    for _ in range(3):
        assert compiled(torch.ones(2)).isnan().all()
    value = 1.0
    assert compiled(torch.ones(2)).tolist() == [2.0, 2.0]
