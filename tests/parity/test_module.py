"""nn.Module and containers against PyTorch: the same program on both must say the same."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict

import pytest

import danlu

torch = pytest.importorskip("torch")

BOTH = (torch, danlu)


def build(lib):
    """The same network of both libraries' own classes."""

    class Affine(lib.nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.inputs = inputs
            values = lib.arange(inputs * outputs, dtype=lib.float32).reshape(outputs, inputs)
            self.weight = lib.nn.Parameter(values / 7)
            self.bias = lib.nn.Parameter(lib.ones(outputs))
            self.register_buffer("mean", lib.zeros(outputs))
            self.register_buffer("scratch", lib.zeros(1), persistent=False)

        def forward(self, x):
            return x @ self.weight.T + self.bias

        def extra_repr(self):
            return f"inputs={self.inputs}"

    class Net(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Affine(2, 3)
            self.named = lib.nn.ModuleDict({"b": Affine(3, 3), "a": lib.nn.Sequential()})
            self.layers = lib.nn.ModuleList([Affine(3, 3), Affine(3, 3), Affine(3, 1)])
            self.scales = lib.nn.ParameterList([lib.zeros(2, 3), "text"])
            self.tied = self.first
            self.nothing = None

        def forward(self, x):
            x = self.named["b"](self.first(x))
            for layer in self.layers:
                x = layer(x)
            return x

    return Net()


def outcome(function, lib):
    """What a function gives on one library: its value, or the type and text of its error."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            return "value", function(lib)
        except Exception as error:
            return type(error).__name__, str(error)


def lists(value):
    if isinstance(value, (torch.Tensor, danlu.Tensor)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [lists(each) for each in value]
    return value


def with_net(function):
    return lambda lib: function(build(lib), lib)


SAME = {
    "repr": with_net(lambda net, lib: repr(net)),
    "parameter names": with_net(lambda net, lib: [n for n, _ in net.named_parameters()]),
    "all parameter names": with_net(
        lambda net, lib: [n for n, _ in net.named_parameters("p", remove_duplicate=False)]
    ),
    "own parameters": with_net(lambda net, lib: len(list(net.parameters(recurse=False)))),
    "buffer names": with_net(lambda net, lib: [n for n, _ in net.named_buffers()]),
    "module names": with_net(lambda net, lib: [n for n, _ in net.named_modules()]),
    "all module names": with_net(
        lambda net, lib: [n for n, _ in net.named_modules(remove_duplicate=False)]
    ),
    "child names": with_net(lambda net, lib: [n for n, _ in net.named_children()]),
    "state names": with_net(lambda net, lib: list(net.state_dict())),
    "state metadata": with_net(lambda net, lib: dict(net.state_dict()._metadata)),
    "prefixed state": with_net(lambda net, lib: list(net.state_dict(prefix="x."))),
    # the last digit of a float32 is anyone's
    "forward": with_net(lambda net, lib: net(lib.ones(2, 2)).mul(1e4).round().tolist()),
    "dtype after double": with_net(lambda net, lib: str(net.double().first.mean.dtype)),
    "dtype after to": with_net(lambda net, lib: str(net.to(lib.float16).first.weight.dtype)),
    "deepcopy": with_net(lambda net, lib: repr(copy.deepcopy(net))),
    "tied after deepcopy": with_net(
        lambda net, lib: (lambda c: c.tied is c.first)(copy.deepcopy(net))
    ),
    "slice": with_net(lambda net, lib: repr(net.layers[1:])),
    "incompatible": with_net(
        lambda net, lib: repr(net.load_state_dict({"a": lib.zeros(1)}, strict=False))
    ),
    "matched": with_net(lambda net, lib: repr(net.load_state_dict(net.state_dict()))),
    "parameter list": lambda lib: repr(lib.nn.ParameterList([lib.zeros(2), lib.zeros(())])),
    "one parameter": lambda lib: repr(lib.nn.ParameterList([lib.zeros(2)])),
    "parameter dict": lambda lib: repr(lib.nn.ParameterDict({"b": lib.zeros(2, 3), "a": 1})),
    "empty list": lambda lib: repr(lib.nn.ModuleList()),
    "empty sequential": lambda lib: repr(lib.nn.Sequential()),
    "nested lists": lambda lib: repr(
        lib.nn.ModuleList([lib.nn.ModuleList([lib.nn.Module()] * 2)] * 2)
    ),
    "parameter": lambda lib: repr(lib.nn.Parameter(lib.ones(2))),
    "frozen parameter": lambda lib: repr(lib.nn.Parameter(lib.ones(2), requires_grad=False)),
    "parameter's flags": lambda lib: (
        lib.nn.Parameter(lib.ones(2)).is_leaf,
        type(lib.nn.Parameter(lib.ones(2)) * 2).__name__,
        isinstance(lib.nn.Buffer(lib.ones(2)), lib.nn.Buffer),
        type(lib.nn.Buffer(lib.ones(2))).__name__,
        isinstance(lib.ones(2), lib.nn.Buffer),
    ),
    "parameter under no_grad": lambda lib: no_grad_parameter(lib),
    "train": with_net(lambda net, lib: [m.training for m in net.eval().train().modules()]),
    "hidden by a plain attribute": with_net(lambda net, lib: hide(net)),
}


def no_grad_parameter(lib):
    with lib.no_grad():
        return lib.nn.Parameter(lib.ones(2)).requires_grad


def hide(net):
    net.first.__dict__["weight"] = "hidden"
    hidden = net.first.weight
    del net.first.__dict__["weight"]
    return hidden, list(net.first._parameters), net.first.weight.shape


@pytest.mark.parametrize("name", SAME)
def test_same_value(name):
    expected = outcome(SAME[name], torch)
    assert expected[0] == "value", expected
    assert outcome(SAME[name], danlu) == expected


def _fill(net, lib, key, value):
    state = net.state_dict()
    state[key] = value
    net.load_state_dict(state)


ERRORS = {
    "size mismatch": with_net(lambda net, lib: _fill(net, lib, "first.weight", lib.zeros(9, 9))),
    "unexpected": with_net(lambda net, lib: _fill(net, lib, "colour", lib.zeros(9, 9))),
    "missing": with_net(lambda net, lib: net.load_state_dict({})),
    "not a mapping": with_net(lambda net, lib: net.load_state_dict([])),
    "no attribute": with_net(lambda net, lib: net.colour),
    "no attribute before init": lambda lib: lib.nn.Module.__new__(lib.nn.Module).colour,
    "no forward": lambda lib: lib.nn.Module()(1),
    "exists": with_net(lambda net, lib: net.register_buffer("forward", lib.zeros(1))),
    "empty name": with_net(lambda net, lib: net.register_parameter("", None)),
    "name type": with_net(lambda net, lib: net.register_buffer(3, None)),
    "train": with_net(lambda net, lib: net.train("yes")),
    "integer to": with_net(lambda net, lib: net.to(lib.int64)),
    "integer parameter": lambda lib: lib.nn.Parameter(lib.ones(2, dtype=lib.int64)),
    "index": lambda lib: lib.nn.Sequential()[0],
    "list index": lambda lib: lib.nn.ModuleList()[0],
    "key": lambda lib: lib.nn.ModuleDict()["a"],
    "parameter key": lambda lib: lib.nn.ParameterDict()["a"],
    "call list": lambda lib: lib.nn.ParameterList()(),
    "add": lambda lib: lib.nn.Sequential() + 1,
    "times": lambda lib: lib.nn.Sequential() * 0,
    "append": lambda lib: lib.nn.Sequential().append(1),
    "insert": lambda lib: lib.nn.Sequential().insert(0, 1),
    "extend": lambda lib: lib.nn.ModuleList().extend(1),
    "update": lambda lib: lib.nn.ModuleDict().update(1),
    "pairs": lambda lib: lib.nn.ModuleDict().update([[1, 2, 3]]),
    "parameter pairs": lambda lib: lib.nn.ParameterDict().update([1]),
    "submodule": with_net(lambda net, lib: net.get_submodule("first.colour")),
    "no module": with_net(lambda net, lib: net.get_submodule("first.weight")),
    "no parameter": with_net(lambda net, lib: net.get_parameter("first.mean")),
    "no buffer": with_net(lambda net, lib: net.get_buffer("first.weight")),
    "wrong parameter": with_net(lambda net, lib: setattr(net.first, "weight", lib.zeros(1))),
    "wrong module": with_net(lambda net, lib: setattr(net, "first", 1)),
    "wrong buffer": with_net(lambda net, lib: setattr(net.first, "mean", "x")),
    "non-leaf": with_net(lambda net, lib: net.register_parameter("p", net.first.weight * 2)),
    "init arguments": lambda lib: lib.nn.Module(1),
    "cuda": with_net(lambda net, lib: net.cuda()),
}


@pytest.mark.parametrize("name", ERRORS)
def test_same_error(name):
    expected, message = outcome(ERRORS[name], torch)
    assert expected != "value"
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("a GPU is there")
    found, ours = outcome(ERRORS[name], danlu)
    assert found == expected, ours
    # The sense of the message: it begins with the same words, up to what it names.
    assert ours[:12].lower() == message[:12].lower()


def test_load_errors_read_the_same():
    """Everything at once, in PyTorch's words and order."""

    def load(lib):
        net = build(lib)
        state = net.state_dict()
        del state["first.bias"], state["layers.0.weight"]
        state["first.extra"] = lib.zeros(1)
        state["colour"] = lib.zeros(1)
        state["layers.1.weight"] = lib.zeros(2, 2)
        net.load_state_dict(state)

    assert outcome(load, danlu) == outcome(load, torch)


def gradients(lib, register):
    """What hooks see, and the gradients that result."""
    net, seen = build(lib), []
    register(net.first, seen, lib)
    x = lib.ones(2, 2, requires_grad=True)
    (net(x) ** 2).sum().backward()
    return lists([x.grad, net.first.weight.grad, seen])


def _approximately(values):
    """Nested lists with every number to five digits."""
    if isinstance(values, list):
        return [_approximately(each) for each in values]
    return None if values is None else float(f"{values:.5g}")


HOOKS = {
    "none": lambda m, seen, lib: None,
    "forward": lambda m, seen, lib: m.register_forward_hook(lambda m, a, out: out * 2),
    "forward pre": lambda m, seen, lib: m.register_forward_pre_hook(lambda m, a: (a[0] + 1,)),
    "backward": lambda m, seen, lib: m.register_full_backward_hook(
        lambda m, gi, go: seen.append([gi, go])
    ),
    "backward changes": lambda m, seen, lib: m.register_full_backward_hook(
        lambda m, gi, go: (gi[0] * 3,)
    ),
    "two backward": lambda m, seen, lib: (
        m.register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,)),
        m.register_full_backward_hook(lambda m, gi, go: seen.append([gi, go]), prepend=True),
    ),
    "backward pre": lambda m, seen, lib: m.register_full_backward_pre_hook(
        lambda m, go: (go[0] + 1,)
    ),
    "backward pre and post": lambda m, seen, lib: (
        m.register_full_backward_pre_hook(lambda m, go: (go[0] + 1,)),
        m.register_full_backward_hook(lambda m, gi, go: seen.append([gi, go])),
    ),
    "old backward": lambda m, seen, lib: m.register_backward_hook(
        lambda m, gi, go: seen.append(go)
    ),
}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.filterwarnings("ignore")
def test_hooks(name):
    expected, found = (gradients(lib, HOOKS[name]) for lib in BOTH)
    assert _approximately(found) == _approximately(expected)


def test_functional_call():
    def call(lib):
        net = build(lib)
        del net.tied  # PyTorch leaves the replacement behind in a module known by two names
        weight = lib.full((3, 2), 0.5, requires_grad=True)
        out = lib.func.functional_call(net, {"first.weight": weight}, lib.ones(1, 2))
        out.sum().backward()
        return lists([out, weight.grad, net.first.weight, net.first.weight.grad])

    assert outcome(call, danlu) == outcome(call, torch)


@pytest.mark.parametrize("given", [{"x": 1}, {"first.weight": None}])
def test_functional_call_strict(given):
    def call(lib):
        values = {key: lib.zeros(1) for key in given}
        lib.func.functional_call(build(lib), values, lib.ones(1, 2), strict=True)

    assert outcome(call, danlu)[0] == outcome(call, torch)[0]


def test_ordered_dict_sequential():
    def make(lib):
        return repr(lib.nn.Sequential(OrderedDict(a=lib.nn.Module(), b=lib.nn.Module()))[1:])

    assert make(danlu) == make(torch)
