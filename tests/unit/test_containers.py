"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest

import danlu
from danlu import nn


class Add(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, x):
        return x + self.amount

    def extra_repr(self):
        return str(self.amount)


def amounts(modules):
    return [module.amount for module in modules]


def test_sequential_three_ways():
    named = nn.Sequential()
    named.add_module("one", Add(1))
    named.add_module("two", Add(2))
    for net in (
        nn.Sequential(Add(1), Add(2)),
        nn.Sequential(OrderedDict(one=Add(1), two=Add(2))),
        named,
    ):
        assert net(0) == 3
        assert amounts(net) == [1, 2]
    assert list(named._modules) == ["one", "two"]
    assert named.one.amount == 1


def test_sequential_indexing():
    net = nn.Sequential(Add(1), Add(2), Add(3))
    assert net[-1].amount == 3
    assert amounts(net[1:]) == [2, 3]
    assert list(net[1:]._modules) == ["1", "2"]
    assert type(net[:1]) is nn.Sequential
    net[1] = Add(20)
    assert amounts(net) == [1, 20, 3]
    del net[0]
    assert list(net._modules) == ["0", "1"]
    assert amounts(net) == [20, 3]
    assert getattr(net, "0").amount == 20
    assert net(0) == 23
    with pytest.raises(IndexError, match="index 2 is out of range"):
        net[2]
    with pytest.raises(TypeError):
        net["0"]


def test_sequential_editing():
    net = nn.Sequential(Add(1))
    net.append(Add(2)).extend([Add(3)]).insert(0, Add(0)).insert(-1, Add(9))
    assert amounts(net) == [0, 1, 2, 9, 3]
    assert net.pop(3).amount == 9
    assert amounts(net + nn.Sequential(Add(5))) == [0, 1, 2, 3, 5]
    net += nn.Sequential(Add(4))
    assert amounts(net * 2) == [0, 1, 2, 3, 4] * 2
    assert amounts(2 * net[:2]) == [0, 1, 0, 1]
    short = net[:2]
    short *= 3
    assert amounts(short) == [0, 1] * 3
    del net[1:3]
    assert amounts(net) == [0, 3, 4]
    with pytest.raises(ValueError, match="only objects of Sequential class"):
        net.__add__([Add(1)])
    with pytest.raises(TypeError, match="unsupported operand"):
        net * "2"
    with pytest.raises(ValueError, match="Non-positive multiplication factor 0"):
        net * 0
    with pytest.raises(IndexError, match="Index out of range: 9"):
        net.insert(9, Add(1))
    with pytest.raises(TypeError, match="is not a Module subclass"):
        net.append(3)


def test_removed_entries_are_no_attributes():
    net = nn.Sequential(Add(1), Add(2))
    del net[1]
    assert not hasattr(net, "1")


def test_module_list():
    layers = nn.ModuleList([Add(1), Add(2)])
    layers.append(Add(3))
    layers.extend(Add(n) for n in (4, 5))
    layers.insert(0, Add(0))
    assert amounts(layers) == [0, 1, 2, 3, 4, 5]
    assert amounts(layers[1:3]) == [1, 2]
    assert type(layers[1:3]) is nn.ModuleList
    assert amounts(layers.__add__([Add(6)]))[-1] == 6
    layers += [Add(7)]
    assert layers.pop(-1).amount == 7
    layers[0] = Add(100)
    del layers[1:]
    assert amounts(layers) == [100]
    assert 100 in amounts(layers)
    with pytest.raises(IndexError):
        layers[1]
    with pytest.raises(TypeError, match="should be called with an iterable, but got int"):
        layers.extend(3)
    with pytest.raises(NotImplementedError):
        layers(1)


def test_extending_a_list_by_itself():
    layers = nn.ModuleList([Add(1), Add(2)])
    layers.extend(layers)
    assert amounts(layers) == [1, 2, 1, 2]


def test_module_list_repr_counts_equal_neighbours():
    assert repr(nn.ModuleList()) == "ModuleList()"
    layers = nn.ModuleList([Add(1), Add(1), Add(2), nn.Sequential(Add(1)), nn.Sequential(Add(1))])
    assert repr(layers) == (
        "ModuleList(\n"
        "  (0-1): 2 x Add(1)\n"
        "  (2): Add(2)\n"
        "  (3-4): 2 x Sequential(\n"
        "    (0): Add(1)\n"
        "  )\n"
        ")"
    )


def test_module_dict():
    layers = nn.ModuleDict({"b": Add(1), "a": Add(2)})
    assert list(layers) == ["b", "a"]
    layers.update([["c", Add(3)]])
    layers.update(nn.ModuleDict({"d": Add(4)}))
    assert amounts(layers.values()) == [1, 2, 3, 4]
    assert layers.pop("c").amount == 3
    assert "c" not in layers
    assert not hasattr(layers, "c")
    assert len(layers) == 3
    del layers["d"]
    assert [key for key, _ in layers.items()] == list(layers.keys()) == ["b", "a"]
    layers.clear()
    assert len(layers) == 0
    with pytest.raises(KeyError):
        layers["a"]
    with pytest.raises(TypeError, match=r"ModuleDict.update should be called with an iterable"):
        layers.update(3)
    with pytest.raises(ValueError, match="#0 has length 1; 2 is required"):
        layers.update([["a"]])
    with pytest.raises(TypeError, match="#0 should be Iterable; is int"):
        layers.update([1])
    with pytest.raises(KeyError, match="attribute 'keys' already exists"):
        layers["keys"] = Add(1)


def test_parameter_list():
    values = nn.ParameterList([danlu.zeros(2), nn.Parameter(danlu.zeros(3))])
    assert all(isinstance(value, nn.Parameter) for value in values)
    assert [name for name, _ in values.named_parameters()] == ["0", "1"]
    values.append(danlu.ones(1)).extend(["text"])
    assert len(values) == 4
    assert values[-1] == "text"
    assert len(values[1:3]) == 2
    values[0] = danlu.ones(5)
    assert values[0].shape == (5,)
    values += [danlu.zeros(1)]
    assert len(list(values.parameters())) == 4
    with pytest.raises(TypeError, match="should be called with an iterable, but got Tensor"):
        values.extend(danlu.zeros(1))
    with pytest.raises(RuntimeError, match="should not be called"):
        values(1)
    with pytest.raises(IndexError):
        values[10]


def test_parameter_dict():
    values = nn.ParameterDict({"b": danlu.zeros(2), "a": danlu.zeros(3)})
    assert list(values) == ["a", "b"]
    assert list(nn.ParameterDict(OrderedDict(b=danlu.zeros(1), a=danlu.zeros(1)))) == ["b", "a"]
    values["note"] = "text"
    assert [name for name, _ in values.named_parameters()] == ["a", "b"]
    assert values.pop("note") == "text"
    assert values.get("note", 3) == 3
    assert isinstance(values.setdefault("c", danlu.zeros(1)), nn.Parameter)
    assert values.popitem()[0] == "c"
    merged = values | nn.ParameterDict({"z": danlu.zeros(1)})
    assert list(merged) == ["a", "b", "z"]
    values |= nn.ParameterDict({"y": danlu.zeros(1)})
    assert list(reversed(values)) == ["y", "b", "a"]
    assert merged.copy()["a"] is values["a"]
    assert list(values.fromkeys(["k"], 1.0).items()) == [("k", 1.0)]
    values.clear()
    assert len(values) == 0
    with pytest.raises(TypeError, match="not a string"):
        values[3] = danlu.zeros(1)
    assert len(values) == 0
    with pytest.raises(RuntimeError, match="should not be called"):
        values(1)


def test_containers_can_be_copied():
    net = nn.Sequential(Add(1), nn.ModuleDict({"a": nn.ModuleList([Add(2)])}))
    copied = copy.deepcopy(net)
    assert copied[1]["a"][0] is not net[1]["a"][0]
    copied[1]["a"].append(Add(3))
    assert len(net[1]["a"]) == 1
    assert list(copied.state_dict()) == []
