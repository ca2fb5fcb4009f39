"""Module: attributes, registration, traversal, state, hooks, conversions, messages."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import sys
import timeit
import weakref
from collections import OrderedDict

import pytest

import danlu
from danlu import nn


class Affine(nn.Module):
    """A small layer of the tests' own, with an expected shape to explain."""

    def __init__(self, inputs=2, outputs=3):
        super().__init__()
        self.inputs = inputs
        self.weight = nn.Parameter(danlu.ones(outputs, inputs))
        self.register_parameter("bias", None)
        self.register_buffer("steps", danlu.zeros(()))
        self.register_buffer("scratch", danlu.zeros(1), persistent=False)

    def forward(self, x):
        return x @ self.weight.T

    def extra_repr(self):
        return f"inputs={self.inputs}"

    def _expected(self):
        return f"(*, inputs={self.inputs})"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Affine(2, 3)
        self.blocks = nn.ModuleList([Affine(3, 3), Affine(3, 1)])

    def forward(self, x):
        return self.blocks[1](self.blocks[0](self.first(x)))


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


# Conversions


def test_conversions_keep_the_parameter_objects():
    layer = Affine()
    layer.register_buffer("count", danlu.tensor(3))
    weight = layer.weight
    layer(danlu.ones(1, 2)).sum().backward()
    assert layer.double() is layer
    assert layer.weight is weight
    assert weight.dtype == weight.grad.dtype == layer.steps.dtype == danlu.float64
    assert layer.count.dtype == danlu.int64
    assert layer.to(danlu.float16).weight.dtype == danlu.float16
    assert layer.to("cpu").to(danlu.zeros(1)).weight.dtype == danlu.float32
    assert layer.to(device="cpu", dtype=danlu.float64).weight.dtype == danlu.float64
    assert layer.half().weight.dtype == danlu.float16
    assert layer.float().cpu().weight.dtype == danlu.float32
    assert layer.type(danlu.float64).count.dtype == danlu.float64


def test_to_refuses_what_it_cannot_do():
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes"):
        Affine().to(danlu.int64)
    with pytest.raises(TypeError, match="it takes a device, a dtype or a tensor"):
        Affine().to([1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Affine().to(colour=1)


# State


def test_state_dict_holds_persistent_members_detached():
    net = Net()
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state)[:2] == ["first.weight", "first.steps"]
    assert "first.scratch" not in state
    assert state._metadata["blocks.0"] == {"version": 1}
    weight = state["first.weight"]
    assert type(weight) is danlu.Tensor
    assert not weight.requires_grad
    weight[0, 0] = 7.0
    assert net.first.weight[0, 0].item() == 7.0
    assert net.state_dict(keep_vars=True)["first.weight"] is net.first.weight
    assert next(iter(net.first.state_dict(prefix="p."))) == "p.weight"


def test_load_state_dict_copies():
    net, other = Net(), Net()
    with danlu.no_grad():
        other.first.weight.fill_(5.0)
    weight = net.first.weight
    result = net.load_state_dict(other.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert net.first.weight is weight
    assert weight[0, 0].item() == 5.0
    other.first.weight.data.fill_(6.0)
    assert weight[0, 0].item() == 5.0


def test_load_state_dict_reports_every_mismatch_at_once():
    net = Net()
    state = net.state_dict()
    del state["first.weight"]
    state["first.colour"] = danlu.zeros(1)
    state["other.weight"] = danlu.zeros(1)
    state["blocks.0.weight"] = danlu.zeros(2, 2)
    state["blocks.1.weight"] = "no tensor"
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith("Error(s) in loading state_dict for Net:\n\t")
    assert 'Missing key(s) in state_dict: "first.weight". ' in message
    assert 'Unexpected key(s) in state_dict: "other.weight", "first.colour". ' in message
    assert (
        "size mismatch for blocks.0.weight: copying a param with shape torch.Size([2, 2]) from "
        "checkpoint, the shape in current model is torch.Size([3, 3])." in message
    )
    assert 'parameter named "blocks.1.weight"' in message


def test_load_state_dict_not_strict():
    net = Net()
    result = net.load_state_dict(
        {"first.weight": danlu.zeros(3, 2), "x": danlu.zeros(1)}, strict=False
    )
    assert result.unexpected_keys == ["x"]
    assert len(result.missing_keys) == 5
    assert net.first.weight.sum().item() == 0
    with pytest.raises(RuntimeError, match=r"size mismatch for first.weight"):
        net.load_state_dict({"first.weight": danlu.zeros(1, 2)}, strict=False)


def test_prefixed_checkpoint_gets_advice():
    net = Net()
    wrapped = {"module." + key: value for key, value in net.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"key.removeprefix\('module.'\)"):
        net.load_state_dict(wrapped)
    holder = nn.Module()
    holder.net = net
    with pytest.raises(RuntimeError, match=r"'net.' \+ key"):
        holder.load_state_dict(net.state_dict())


def test_load_state_dict_by_assignment():
    layer = Affine()
    state = {"weight": danlu.zeros(3, 2, dtype=danlu.float64), "steps": danlu.ones(())}
    layer.load_state_dict(state, assign=True)
    assert layer.weight.dtype == danlu.float64
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.requires_grad
    assert layer.steps is state["steps"]


def test_scalar_parameter_accepts_one_element():
    module = nn.Module()
    module.scale = nn.Parameter(danlu.tensor(1.0))
    module.load_state_dict({"scale": danlu.tensor([4.0])})
    assert module.scale.item() == 4.0


def test_state_dict_takes_only_mappings():
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        Affine().load_state_dict([1])


def test_extra_state():
    class Counter(nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = Counter(), Counter()
    a.count = 3
    state = a.state_dict()
    assert state == {"_extra_state": {"count": 3}}
    b.load_state_dict(state)
    assert b.count == 3
    with pytest.raises(RuntimeError, match=r'Missing key.*"_extra_state"'):
        b.load_state_dict({})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"_extra_state"'):
        nn.Module().load_state_dict(state)


def test_versions_reach_the_loading_module():
    class Renamed(nn.Module):
        _version = 2

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(danlu.zeros(1))

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            if local_metadata.get("version", 1) < 2:
                state_dict[prefix + "scale"] = state_dict.pop(prefix + "gain")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    module = Renamed()
    assert module.state_dict()._metadata[""] == {"version": 2}
    module.load_state_dict({"gain": danlu.ones(1)})
    assert module.scale.item() == 1.0


def test_state_dict_hooks():
    net, seen = Net(), []
    net.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append((prefix, keep)))

    def post(module, state, prefix, metadata):
        state[prefix + "note"] = danlu.zeros(1)

    handle = net.register_state_dict_post_hook(post)
    assert "note" in net.state_dict()
    assert seen == [("", False)]
    handle.remove()
    assert "note" not in net.state_dict()
    net.register_state_dict_post_hook(lambda *args: {})
    with pytest.raises(RuntimeError, match="state_dict post-hook must return None"):
        net.state_dict()
    layer = Affine()
    layer._register_state_dict_hook(lambda *args: {"replaced": 1})
    assert layer.state_dict() == {"replaced": 1}


def test_load_hooks():
    net = Net()

    def rename(module, state, prefix, *rest):
        assert module is net
        for key in list(state):
            state[key.replace("old", "first")] = state.pop(key)

    def forgive(module, incompatible):
        incompatible.missing_keys.clear()

    net.register_load_state_dict_pre_hook(rename)
    net.register_load_state_dict_post_hook(forgive)
    assert net.load_state_dict({"old.weight": danlu.zeros(3, 2)}).missing_keys == []
    assert net.first.weight.sum().item() == 0


# Copies


def test_pickle_and_deepcopy():
    net = Net()
    net.note = {"a": [1]}
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [n for n, _ in copied.named_parameters()] == [n for n, _ in net.named_parameters()]
        assert copied.first.weight is not net.first.weight
        assert copied.first.weight is copied._modules["first"]._parameters["weight"]
        copied.first.weight = nn.Parameter(danlu.zeros(9))
        assert net.first.weight.shape == (3, 2)
        assert copied.note == {"a": [1]}
        assert list(copied.state_dict()) == list(net.state_dict())


def test_state_for_pickling_has_plain_tables_and_no_member_beside_them():
    state = Affine().__getstate__()
    assert type(state["_parameters"]) is dict
    assert "weight" not in state
    assert "steps" not in state


def test_shared_parameters_stay_shared_in_a_deepcopy():
    net = Net()
    net.second = nn.Module()
    net.second.weight = net.first.weight
    copied = copy.deepcopy(net)
    assert copied.second.weight is copied.first.weight


def test_hooks_survive_deepcopy():
    layer = Affine()
    layer.register_forward_hook(_doubled)
    assert copy.deepcopy(layer)(danlu.ones(1, 2))[0, 0].item() == 4.0


def _doubled(module, args, output):
    return output * 2


def test_dropped_module_is_freed_without_the_collector():
    gc.disable()
    try:
        net = Net()
        reference = weakref.ref(net)
        del net
        assert reference() is None
    finally:
        gc.enable()


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


# Errors that name their place


def notes_of(error):
    if sys.version_info < (3, 11):
        return [str(error).rpartition("\nin ")[2]]
    return error.__notes__


def test_shape_error_names_the_path_of_the_module():
    net = Net()
    net.first.weight = nn.Parameter(danlu.ones(4, 2))
    with pytest.raises(RuntimeError) as caught:
        net(danlu.ones(5, 2))
    (note,) = notes_of(caught.value)
    assert note.endswith(
        "Net.blocks.0: Affine(inputs=3), called with Tensor(5, 4) float32; expected (*, inputs=3), "
        "but dimension 1 of the input is 4: build the layer with inputs=4, or give it an input "
        "with 3 there"
    )


def test_error_in_the_outermost_module_names_it():
    with pytest.raises(RuntimeError) as caught:
        Affine()(danlu.ones(1, 5))
    (note,) = notes_of(caught.value)
    assert "Affine(inputs=2), called with Tensor(1, 5) float32" in note


def test_every_kind_of_argument_is_described():
    class Any(nn.Module):
        def forward(self, *args, **kwargs):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        Any()(danlu.zeros(2), None, [danlu.zeros(1)], (3,), "mean", {}, mask=True)
    (note,) = notes_of(caught.value)
    assert note.endswith(
        "Any(), called with Tensor(2) float32, None, [Tensor(1) float32], (3,), 'mean', dict, "
        "mask=True"
    )


def test_expected_shapes_with_alternatives_and_several_dimensions():
    from danlu.nn.modules._diagnosis import _mismatch

    template = "(N, in_channels=3, H, W) or (in_channels=3, H, W)"
    assert _mismatch(template, (2, 3, 8, 8)) == ""
    assert "dimension 1 of the input is 4: build the layer with in_channels=4" in _mismatch(
        template, (2, 4, 8, 8)
    )
    assert "dimension 0 of the input is 2" in _mismatch(template, (2, 8, 8))
    assert _mismatch(template, (2, 3)) == ", but the input has 2 dimensions"
    assert _mismatch("(*, 4)", (4,)) == ""
    assert _mismatch("(*, 4)", (5,)) == ", but dimension 0 of the input is 5"


def test_errors_of_other_kinds_get_no_note():
    class Interrupted(nn.Module):
        def forward(self):
            raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        Interrupted()()
    assert getattr(caught.value, "__notes__", []) == []


def test_error_with_a_note_can_be_pickled():
    with pytest.raises(RuntimeError) as caught:
        Affine()(danlu.ones(1, 5))
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), RuntimeError)


def test_missing_forward():
    class Empty(nn.Module):
        pass

    with pytest.raises(
        NotImplementedError, match=r'Empty.*missing the required "forward" function'
    ):
        Empty()(1)


# Calling with other tensors


def test_functional_call_restores_a_module_known_by_two_names():
    net = nn.Module()
    net.one = net.two = Affine()
    net.forward = lambda x: net.one(x) + net.two(x)
    weight = danlu.zeros(3, 2)
    before = net.one.weight
    output = danlu.func.functional_call(net, {"one.weight": weight}, danlu.ones(1, 2))
    assert output.abs().sum().item() == 0
    assert net.one.weight is before
    assert net.one._parameters["weight"] is before


def test_functional_call_restores_after_an_error():
    layer = Affine()
    before = layer.weight
    with pytest.raises(RuntimeError):
        danlu.func.functional_call(layer, {"weight": danlu.zeros(3, 7)}, danlu.ones(1, 2))
    assert layer.weight is before


# Uninitialized parameters


class LazyAffine(nn.modules.lazy.LazyModuleMixin, Affine):
    cls_to_become = Affine

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.weight = nn.UninitializedParameter()

    def initialize_parameters(self, x):
        if self.has_uninitialized_params():
            self.inputs = x.shape[-1]
            self.weight.materialize((self.outputs, self.inputs))
            with danlu.no_grad():
                self.weight.fill_(1.0)


def test_lazy_module_learns_its_shape():
    layer = LazyAffine(4)
    assert layer.has_uninitialized_params()
    weight = layer.weight
    assert repr(weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized"):
        weight.shape  # noqa: B018
    with pytest.raises(ValueError, match="uninitialized parameter: a lazy layer learns"):
        weight + 1
    layer.double()
    output = layer(danlu.ones(2, 3, dtype=danlu.float64))
    assert output.shape == (2, 4)
    assert type(layer) is Affine
    assert layer.weight is weight
    assert type(weight) is nn.Parameter
    assert weight.requires_grad
    assert weight.dtype == danlu.float64


def test_lazy_module_loads_a_state():
    layer = LazyAffine(3)
    copied = copy.deepcopy(layer)
    copied.load_state_dict(Affine(5, 3).state_dict())
    assert copied.weight.shape == (3, 5)
    assert layer.has_uninitialized_params()
    assert "weight" in layer.state_dict()
    with pytest.raises(RuntimeError):
        Affine().load_state_dict(layer.state_dict())


# Speed


def test_calling_without_hooks_stays_cheap():
    """The bound is ten times what it takes, so that only a lost fast road fails."""

    class Identity(nn.Module):
        def forward(self, x):
            return x

    module = Identity()
    assert min(timeit.repeat(lambda: module(1), number=1000, repeat=20)) / 1000 < 4e-6
    layer = Affine()
    assert min(timeit.repeat(lambda: layer.weight, number=1000, repeat=20)) / 1000 < 1e-6
