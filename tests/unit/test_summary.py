"""`summary`: both layouts, true counts and sizes, and a pass that changes nothing."""

from __future__ import annotations

import pytest

import danlu
from danlu import nn
from danlu.keras import Model, summary

WIDE = """\
--------------------------------------------------------------------------
Layer (type)                            Output Shape              Param #
==========================================================================
Linear-1                                     [-1, 4]                   12
Linear-2                                     [-1, 8]                   40
Linear-3                                     [-1, 1]                    9
==========================================================================
Total params: 61
Trainable params: 61
Non-trainable params: 0
--------------------------------------------------------------------------
Input size (MB): 0.000763
Forward/backward pass size (MB): 0.000099
Params size (MB): 0.000233
Estimated Total Size (MB): 0.001095
--------------------------------------------------------------------------"""

NARROW = """\
----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Linear-1                    [-1, 1]               3
================================================================
Total params: 3
Trainable params: 3
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.000008
Forward/backward pass size (MB): 0.000008
Params size (MB): 0.000011
Estimated Total Size (MB): 0.000027
----------------------------------------------------------------
"""


def total_of(text):
    return int(text.split("Total params: ")[1].split("\n")[0].replace(",", ""))


def test_wide_table_is_printed_and_returned(capsys):
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 1))
    text = summary(net, input_data=danlu.zeros(100, 2))
    assert text == WIDE
    assert capsys.readouterr().out == WIDE + "\n"
    summary(net, input_data=danlu.zeros(100, 2), quiet=True)
    assert capsys.readouterr().out == ""


def test_narrow_table_of_the_older_model(capsys):
    assert Model(nn.Linear(2, 1)).summary(input_shape=(2,)) is None
    assert capsys.readouterr().out == NARROW


def test_thousands_and_images():
    text = summary(nn.Sequential(nn.Conv2d(3, 32, 3), nn.MaxPool2d(2)), input_shape=(3, 32, 32))
    assert "Conv2d-1                            [-1, 32, 30, 30]                  896" in text
    assert "MaxPool2d-2                         [-1, 32, 15, 15]                    0" in text
    assert "Total params: 896" in text and "Input size (MB): 0.011719" in text
    assert "Total params: 1,010,000" in summary(nn.Linear(100, 10000), input_shape=(100,))


@pytest.mark.parametrize("dtype", [danlu.int64, danlu.LongTensor])
def test_integer_inputs(dtype):
    net = nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(600, 1))
    text = summary(net, input_shape=(200,), input_dtype=dtype)
    assert "Embedding-1                             [-1, 200, 3]                   30" in text
    assert f"Input size (MB): {200 * 8 / 2**20:.6f}" in text


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(self.layer(x))


def test_shared_layer_counts_once():
    text = summary(Twice(), input_shape=(2,))
    assert total_of(text) == 6
    assert "(recursive)" in text and text.count("Linear-") == 2


class WithOwnParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = nn.Parameter(danlu.ones(4))

    def forward(self, x):
        return self.layer(x) * self.scale.sum()


def test_parameters_of_the_root_are_counted_and_shown():
    text = summary(WithOwnParameter(), input_shape=(2,))
    assert total_of(text) == 10
    assert "scale                                            [4]                    4" in text


def test_tied_weights_count_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert total_of(summary(net, input_shape=(3,))) == 9 + 3 + 3


def test_frozen_parameters():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    net[0].requires_grad_(False)
    assert "Trainable params: 4\nNon-trainable params: 9" in summary(net, input_shape=(2,))


def test_changes_neither_buffers_nor_modes_nor_random_state():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    danlu.manual_seed(3)
    expected = danlu.rand(4)
    danlu.manual_seed(3)
    summary(net, input_shape=(2,))
    assert danlu.equal(danlu.rand(4), expected)
    assert [m.training for m in net.modules()] == [True, True, True, False]
    for name, value in net.state_dict().items():
        assert danlu.equal(value, before[name]), name
    assert not net[0]._forward_hooks


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(2, 3), nn.Linear(4, 3)

    def forward(self, a, b):
        return {"sum": self.left(a) + self.right(b)}


@pytest.mark.parametrize(
    "given",
    [
        {"input_data": (danlu.zeros(5, 2), danlu.zeros(5, 4))},
        {"input_data": {"a": danlu.zeros(5, 2), "b": danlu.zeros(5, 4)}},
        {"input_data": danlu.zeros(5, 2), "input_data_args": (danlu.zeros(5, 4),)},
    ],
)
def test_two_inputs_and_a_dict_output(given):
    text = summary(TwoInputs(), **given)
    assert total_of(text) == 9 + 15
    assert f"Input size (MB): {5 * 6 * 4 / 2**20:.6f}" in text


def test_two_input_shapes_with_a_batch_size():
    text = summary(TwoInputs(), input_shape=[(2,), (4,)], batch_size=5)
    assert f"Input size (MB): {5 * 6 * 4 / 2**20:.6f}" in text
    assert "[5, 3]" in text


def test_needs_one_kind_of_input():
    for given in ({}, {"input_data": danlu.zeros(1, 2), "input_shape": (2,)}):
        with pytest.raises(ValueError, match="either input_data.* or input_shape"):
            summary(nn.Linear(2, 1), **given)
