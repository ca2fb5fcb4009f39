"""nn.init: ranges, moments and refusals; exact values are in tests/parity."""

from __future__ import annotations

import math

import pytest

import danlu
from danlu import nn
from danlu.nn import init


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [
        ("linear", None, 1),
        ("conv_transpose2d", None, 1),
        ("sigmoid", None, 1),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / (1 + 0.01**2))),
        ("leaky_relu", 1, 1.0),
        ("selu", None, 0.75),
    ],
)
def test_gain(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain)


def test_gain_refuses():
    with pytest.raises(ValueError, match="Unsupported nonlinearity swish: there are linear"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        init.calculate_gain("leaky_relu", True)


def test_fans():
    fans = init._calculate_fan_in_and_fan_out
    assert fans(danlu.empty(3, 2)) == (2, 3)
    assert fans(danlu.empty(6, 4, 3, 5)) == (60, 90)
    assert init._calculate_correct_fan(danlu.empty(3, 2), "FAN_OUT") == 3
    with pytest.raises(ValueError, match="fewer than 2 dimensions: this one has shape"):
        fans(danlu.empty(3))
    with pytest.raises(ValueError, match="Mode fan_max not supported"):
        init._calculate_correct_fan(danlu.empty(3, 2), "fan_max")


def test_functions_return_their_tensor_and_record_nothing():
    weight = nn.Parameter(danlu.empty(4, 4))
    for function, arguments in (
        (init.uniform_, (-1.0, 1.0)),
        (init.normal_, ()),
        (init.trunc_normal_, ()),
        (init.constant_, (3.0,)),
        (init.ones_, ()),
        (init.zeros_, ()),
        (init.eye_, ()),
        (init.xavier_uniform_, ()),
        (init.xavier_normal_, ()),
        (init.kaiming_uniform_, ()),
        (init.kaiming_normal_, ()),
        (init.orthogonal_, ()),
        (init.sparse_, (0.5,)),
    ):
        assert function(weight, *arguments) is weight
        assert weight.is_leaf
        assert weight.requires_grad


def test_ranges():
    danlu.manual_seed(0)
    weight = danlu.empty(50, 40)
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    assert weight.abs().max().item() <= 1 / math.sqrt(40)
    init.xavier_uniform_(weight)
    assert weight.abs().max().item() <= math.sqrt(6 / 90)
    init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 50), rel=0.1)
    for limits in ((-2.0, 2.0), (1.5, 3.0)):
        init.trunc_normal_(weight, a=limits[0], b=limits[1])
        assert limits[0] <= weight.min().item() <= weight.max().item() <= limits[1]


def test_trunc_normal_warns_far_from_the_mean():
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(danlu.empty(4), mean=9.0)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 3)])
def test_orthogonal(shape):
    weight = init.orthogonal_(danlu.empty(*shape), gain=2.0).reshape(shape[0], -1)
    small = weight if weight.shape[0] <= weight.shape[1] else weight.T
    assert danlu.allclose(small @ small.T, 4 * danlu.eye(small.shape[0]), atol=1e-5)


def test_dirac_passes_channels_through():
    weight = init.dirac_(danlu.empty(4, 2, 3, 3), groups=2)
    assert weight.sum().item() == 4.0
    assert weight[0, 0, 1, 1].item() == weight[3, 1, 1, 1].item() == 1.0
    with pytest.raises(ValueError, match="Only tensors with 3, 4, or 5"):
        init.dirac_(danlu.empty(2, 2))
    with pytest.raises(ValueError, match="must be divisible by groups"):
        init.dirac_(danlu.empty(3, 2, 3), groups=2)


def test_sparse_sets_a_part_of_each_column_to_zero():
    weight = init.sparse_(danlu.empty(10, 6), sparsity=0.25)
    assert ((weight == 0).sum(0) == 3).all()


@pytest.mark.parametrize("function", [init.eye_, lambda t: init.sparse_(t, 0.1)])
def test_matrices_only(function):
    with pytest.raises(ValueError, match="Only tensors with 2 dimensions"):
        function(danlu.empty(3))


def test_empty_tensors_are_left_alone():
    with pytest.warns(UserWarning, match="zero-element"):
        init.kaiming_uniform_(danlu.empty(0, 3))


def test_deprecated_names():
    with pytest.warns(FutureWarning, match="`nn.init.constant` is now deprecated"):
        assert init.constant(danlu.empty(1), 2.0).item() == 2.0
    assert init.xavier_uniform.__name__ == "xavier_uniform"


def test_generator():
    one, two = (
        init.normal_(danlu.empty(20), generator=danlu.Generator().manual_seed(3)) for _ in range(2)
    )
    assert (one == two).all()
