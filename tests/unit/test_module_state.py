"""Module: conversions, state dictionaries, copies, calling with other tensors, lazy modules."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import pytest

import danlu
from danlu import nn
from danlu.nn.modules.lazy import LazyModuleMixin
from tests.unit.small_modules import Affine, Net

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


class LazyAffine(LazyModuleMixin, Affine):
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
