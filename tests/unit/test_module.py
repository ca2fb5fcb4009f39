"""Module: attributes, registration, traversal, modes, printing, speed."""

from __future__ import annotations

import re
import sys
from collections import OrderedDict

import pytest

import danlu
from danlu import nn
from tests.unit.small_modules import Affine, Net

# Attributes


def test_members_are_found_where_they_are_registered():
    layer = Affine()
    assert list(layer._parameters) == ["weight", "bias"]
    assert list(layer._buffers) == ["steps", "scratch"]
    assert layer.bias is None
    assert layer.weight is layer._parameters["weight"]
    assert isinstance(layer.weight, nn.Parameter)


def test_member_attributes_need_no_getattr():
    # The fast road: an ordinary lookup finds them (see MemberTable).
    layer = Affine()
    assert object.__getattribute__(layer, "weight") is layer._parameters["weight"]
    assert object.__getattribute__(Net(), "first") is not None


def test_direct_writes_into_the_tables_are_seen_as_attributes():
    layer = Affine()
    other = nn.Parameter(danlu.zeros(1))
    layer._parameters["weight"] = other
    assert layer.weight is other
    layer._parameters.update(bias=other)
    assert layer.bias is other
    assert layer._parameters.setdefault("late", other) is layer.late
    assert layer._parameters.pop("late") is other
    assert not hasattr(layer, "late")
    del layer._parameters["bias"]
    with pytest.raises(AttributeError, match="'Affine' object has no attribute 'bias'"):
        layer.bias  # noqa: B018
    assert layer._buffers.popitem()[0] == "scratch"
    assert not hasattr(layer, "scratch")
    layer._buffers.clear()
    assert not hasattr(layer, "steps")


def test_replacing_a_whole_table():
    net = Net()
    kept = net.first
    net._modules = OrderedDict(renamed=kept)
    assert net.renamed is kept
    assert not hasattr(net, "first")
    assert not hasattr(net, "blocks")
    net._modules["again"] = kept
    assert net.again is kept


def test_replica_made_by_copying_the_dictionary_does_not_write_into_the_original():
    net = Affine()
    replica = Affine.__new__(Affine)
    replica.__dict__ = net.__dict__.copy()
    replica.weight = nn.Parameter(danlu.zeros(1))
    assert net.weight.shape == (3, 2)
    assert replica.weight.shape == (1,)


def test_member_named_like_a_class_attribute_keeps_the_class_attribute():
    class Shadowed(nn.Module):
        child = "class attribute"

    module = Shadowed()
    module.child = Affine()
    assert module.child == "class attribute"
    assert isinstance(module._modules["child"], Affine)


def test_plain_attribute_gives_way_to_a_member():
    module = nn.Module()
    module.layer = None
    module.layer = Affine()
    assert isinstance(module.layer, Affine)
    module.layer = None
    assert module.layer is None
    assert list(module._modules) == ["layer"]
    module.size = 3
    module.size = nn.Parameter(danlu.zeros(2))
    assert module.size.shape == (2,)


def test_member_changes_kind_when_another_kind_is_assigned():
    module = Affine()
    module.steps = nn.Parameter(danlu.ones(1))
    assert "steps" not in module._buffers
    module.steps2 = nn.Buffer(danlu.ones(1), persistent=False)
    assert "steps2" in module._non_persistent_buffers_set
    module.scratch = Affine()
    assert "scratch" in module._modules
    assert "scratch" not in module._buffers
    assert "scratch" not in module._non_persistent_buffers_set


def test_order_of_parameters_survives_reassignment():
    net = Net()
    net.first = Affine(2, 3)
    assert [name for name, _ in net.named_children()] == ["first", "blocks"]


def test_any_attribute_can_be_set():
    model = Affine()
    model.loss_func = nn.Module()
    model.optimizer = object()
    model.history = {"loss": []}
    model.metric = lambda a, b: 0.0
    assert set(model._modules) == {"loss_func"}
    assert model.history == {"loss": []}


def test_deletion():
    layer = Affine()
    del layer.weight
    assert "weight" not in layer._parameters
    assert not hasattr(layer, "weight")
    del layer.scratch
    assert "scratch" not in layer._non_persistent_buffers_set
    layer.note = 1
    del layer.note
    with pytest.raises(AttributeError):
        del layer.note


def test_dir_lists_members_once():
    names = dir(Net())
    assert names.count("first") == 1
    assert "forward" in names
    assert "0" not in dir(nn.Sequential(nn.Module()))


def test_getattr_can_be_extended_by_subclasses():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Affine(5, 1)

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    assert Wrapper().inputs == 5


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda: nn.Parameter(danlu.zeros(1)), "parameters"),
        (Affine, "module"),
        (lambda: nn.Buffer(danlu.zeros(1)), "buffer"),
    ],
)
def test_assignment_before_init(value, what):
    class Early(nn.Module):
        def __init__(self):
            self.member = value()

    message = rf"cannot assign {what} before Module.__init__\(\) call.*super\(\).__init__\(\)"
    with pytest.raises(AttributeError, match=message):
        Early()


def test_plain_attributes_may_come_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.size = 3
            super().__init__()

    assert Early().size == 3


def test_wrong_values_for_members():
    net = Net()
    with pytest.raises(TypeError, match=r"as parameter 'weight'.*Parameter or None expected"):
        net.first.weight = danlu.zeros(1)
    with pytest.raises(TypeError, match="cannot assign 'int' as child module 'first'"):
        net.first = 3
    with pytest.raises(TypeError, match="cannot assign 'str' as buffer 'steps'"):
        net.first.steps = "x"


def test_registration_refuses_bad_names():
    layer = Affine()
    parameter = nn.Parameter(danlu.zeros(1))
    for register, what in (
        (layer.register_parameter, "parameter"),
        (layer.register_buffer, "buffer"),
        (layer.add_module, "module"),
    ):
        value = Affine() if what == "module" else parameter
        with pytest.raises(TypeError, match=f"{what} name should be a string. Got int"):
            register(3, value)
        with pytest.raises(KeyError, match=f"{what} name can.*contain"):
            register("a.b", value)
        with pytest.raises(KeyError, match=f"{what} name can.*be empty"):
            register("", value)
        with pytest.raises(KeyError, match="attribute 'forward' already exists"):
            register("forward", value)


def test_parameters_are_leaves():
    layer = Affine()
    with pytest.raises(TypeError, match=r"nn.Parameter or None required"):
        layer.register_parameter("new", danlu.zeros(1))
    with pytest.raises(TypeError, match="is not a Module subclass"):
        layer.add_module("new", 3)
    with pytest.raises(TypeError, match="Tensor or None required"):
        layer.register_buffer("new", 3)


def test_init_takes_no_arguments():
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        nn.Module(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        nn.Module(size=1)


# Traversal


def test_named_parameters_and_buffers():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "first.weight",
        "blocks.0.weight",
        "blocks.1.weight",
    ]
    assert [name for name, _ in net.named_buffers("net")][:2] == [
        "net.first.steps",
        "net.first.scratch",
    ]
    assert list(net.named_parameters(recurse=False)) == []
    assert len(list(net.buffers())) == 6


def test_shared_members_appear_once_unless_asked():
    net = nn.Module()
    net.a = Affine()
    net.b = net.a
    net.c = Affine()
    net.c.weight = net.a.weight
    assert [name for name, _ in net.named_parameters()] == ["a.weight"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 3
    assert [name for name, _ in net.named_children()] == ["a", "c"]
    assert len(list(net.modules(remove_duplicate=False))) == 4


def test_paths():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("blocks.1") is net.blocks[1]
    assert net.get_parameter("blocks.0.weight") is net.blocks[0].weight
    assert net.get_buffer("first.steps") is net.first.steps
    for call, message in (
        (lambda: net.get_submodule("blocks.7"), "ModuleList has no attribute `7`; it has 0, 1"),
        (lambda: net.get_submodule("first.weight"), "`weight` is not an nn.Module"),
        (lambda: net.get_parameter("first.steps"), "`steps` is not an nn.Parameter"),
        (lambda: net.get_buffer("first.weight"), "`weight` is not a buffer"),
    ):
        with pytest.raises(AttributeError, match=re.escape(message)):
            call()
    net.set_submodule("blocks.1", Affine(3, 7))
    assert net.blocks[1].weight.shape == (7, 3)
    with pytest.raises(ValueError, match="without a target name"):
        net.set_submodule("", Affine())
    with pytest.raises(AttributeError, match="has no attribute `2`"):
        net.set_submodule("blocks.2", Affine(), strict=True)


def test_apply_train_eval_and_freezing():
    net = Net()
    seen = []
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Affine", "Affine", "Affine", "ModuleList", "Net"]
    assert not net.eval().blocks[0].training
    assert net.train().first.training
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        net.train(1)
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())


def test_zero_grad():
    layer = Affine()
    layer(danlu.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.abs().sum().item() == 0
    layer.zero_grad()
    assert layer.weight.grad is None


# Printing


def test_repr():
    assert repr(Affine()) == "Affine(inputs=2)"
    assert repr(nn.Module()) == "Module()"
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Affine(inputs=2)\n"
        "  (blocks): ModuleList(\n"
        "    (0-1): 2 x Affine(inputs=3)\n"
        "  )\n"
        ")"
    )


# Speed


def test_calling_without_hooks_stays_cheap():
    """Counted in Python calls, which a loaded machine does not change."""

    class Identity(nn.Module):
        def forward(self, x):
            return x

    module, layer = Identity(), Affine()
    assert names_called(lambda: module(1)) == ["_call_impl", "forward"]
    assert names_called(lambda: layer.weight) == []
    module.register_forward_hook(lambda *args: None)
    assert len(names_called(lambda: module(1))) > 2  # the count sees the slow road


def names_called(function) -> list[str]:
    """The Python functions that a call enters, without the call itself."""
    entered = []

    def note(frame, event, argument):
        if event == "call":
            entered.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered[1:]
