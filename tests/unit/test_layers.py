"""Layers without PyTorch: numeric derivatives, in-place forms, state, and what error messages
say."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
import danlu.nn.functional as F
from danlu import nn


def numeric_gradient(function, array, step=1e-6):
    out = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        above, below = array.copy(), array.copy()
        above[index] += step
        below[index] -= step
        out[index] = (function(above) - function(below)) / (2 * step)
    return out


def check_derivatives(call, shape, tolerance=1e-6):
    """First derivatives against differences of values, second against differences of the first."""
    array = np.random.default_rng(3).uniform(-2, 2, shape)

    def value(each):
        return float(call(danlu.from_numpy(each)).sum())

    def gradient(each, order=1):
        x = danlu.from_numpy(each.copy()).requires_grad_(True)
        (first,) = danlu.autograd.grad(call(x).sum(), x, create_graph=True)
        if order == 1:
            return first.detach().numpy()
        if not first.requires_grad:
            return np.zeros_like(each)
        return danlu.autograd.grad((first * first).sum(), x)[0].numpy()

    np.testing.assert_allclose(
        gradient(array), numeric_gradient(value, array), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(
        gradient(array, 2),
        numeric_gradient(lambda each: float((gradient(each) ** 2).sum()), array),
        rtol=1e-4,
        atol=1e-4,
    )


SMOOTH = {
    "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "mish":
    F.mish,
    "elu": F.elu, "celu": F.celu, "selu": F.selu, "softplus": F.softplus, "logsigmoid":
    F.logsigmoid,
    "softsign": F.softsign, "tanhshrink": F.tanhshrink, "glu": F.glu, "hardswish": F.hardswish,
    "leaky_relu": F.leaky_relu, "relu": F.relu,
    "softmax": lambda x: F.softmax(x, 1) ** 2, "log_softmax": lambda x: F.log_softmax(x, 0) * x,
    "layer_norm": lambda x: F.layer_norm(x, (4,)) ** 3, "rms_norm": lambda x: F.rms_norm(x, (4,)) **
    3,
    "group_norm": lambda x: F.group_norm(x, 2) ** 3,
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True) ** 3,
    "linear": lambda x: F.linear(x, x, x[:, 0]) ** 2,
    "prelu": lambda x: F.prelu(x, x[0, :1]),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name):
    check_derivatives(SMOOTH[name], (3, 4))


def test_relu_of_infinity_and_nan():
    x = danlu.tensor([-np.inf, np.nan, np.inf], requires_grad=True)
    out = F.relu(x)
    assert out[0] == 0 and out[1].isnan() and out[2] == np.inf
    out.sum().backward()
    assert x.grad[0] == 0.0 and x.grad[2] == 1.0


def test_softmax_of_large_numbers():
    assert F.softmax(danlu.tensor([1000.0, 1000.0]), 0).tolist() == [0.5, 0.5]
    assert F.log_softmax(danlu.tensor([0.0, -np.inf]), 0).tolist() == [0.0, -np.inf]


def test_in_place_forms_write_and_return_the_input():
    for name in ("relu_", "leaky_relu_", "elu_", "selu_", "celu_", "hardtanh_"):
        x = danlu.tensor([-3.0, 2.0])
        assert getattr(F, name)(x) is x
        assert x[0] > -3
    x = danlu.tensor([-3.0, 2.0])
    assert F.threshold_(x, 0.0, 9.0).tolist() == [9.0, 2.0]


def test_in_place_activation_of_a_leaf_is_refused():
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        F.relu(danlu.ones(2, requires_grad=True), inplace=True)


def test_dropout_keeps_the_mean_and_the_identity():
    danlu.manual_seed(0)
    x = danlu.ones(10_000)
    out = F.dropout(x, 0.25)
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert abs(float(out.mean()) - 1) < 0.03
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).any()
    assert F.dropout(x, 0.5, inplace=True) is x and (x == 0).any()


def test_alpha_dropout_keeps_mean_and_variance():
    danlu.manual_seed(0)
    out = F.alpha_dropout(danlu.randn(40_000), 0.3, training=True)
    assert abs(float(out.mean())) < 0.03
    assert abs(float(out.std()) - 1) < 0.03


def test_channels_are_dropped_whole():
    danlu.manual_seed(0)
    out = F.dropout2d(danlu.ones(4, 5, 3, 3), 0.5)
    assert ((out == out[:, :, :1, :1]).all()) and set(out.unique().tolist()) == {0.0, 2.0}


def test_batch_norm_layer_learns_its_statistics():
    layer = nn.BatchNorm1d(2)
    data = danlu.tensor([[0.0, 2.0], [4.0, 2.0]])
    layer(data)
    np.testing.assert_allclose(layer.running_mean.tolist(), [0.2, 0.2], rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.tolist(), [0.9 + 0.8, 0.9], rtol=1e-6)
    assert layer.num_batches_tracked == 1
    before = layer.running_mean.clone()
    layer.eval()(data)
    assert (layer.running_mean == before).all()
    assert list(layer.state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked"
    ]  # fmt: skip


def test_old_states_of_batch_norm_load():
    state = nn.BatchNorm1d(2).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    assert nn.BatchNorm1d(2).load_state_dict(state).missing_keys == []


def test_embedding_gradient_sums_and_skips_padding():
    layer = nn.Embedding(4, 2, padding_idx=0)
    assert layer.weight[0].tolist() == [0.0, 0.0]
    layer(danlu.tensor([[0, 1], [1, 3]])).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


def test_embedding_from_pretrained_shares_and_freezes():
    table = danlu.ones(3, 2)
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    table[0] = 5.0
    assert layer(danlu.tensor([0])).tolist() == [[5.0, 5.0]]


def test_embedding_of_nothing():
    layer = nn.Embedding(3, 2)
    out = layer(danlu.tensor([], dtype=danlu.int64))
    assert out.shape == (0, 2)
    out.sum().backward()
    assert not layer.weight.grad.any()


def test_lazy_linear_becomes_linear():
    layer = nn.LazyLinear(3)
    assert layer(danlu.ones(2, 5)).shape == (2, 3)
    assert type(layer) is nn.Linear
    assert repr(layer) == "Linear(in_features=5, out_features=3, bias=True)"


def test_attention_is_causal_and_masked():
    x = danlu.randn(1, 4, 3)
    causal = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    assert danlu.allclose(causal[:, 0], x[:, 0])
    mask = danlu.zeros(4, 4, dtype=danlu.bool)
    assert not F.scaled_dot_product_attention(x, x, x, attn_mask=mask).any()


def test_transformer_encoder_warns_as_pytorch_does():
    with pytest.warns(UserWarning, match="batch_first was not True"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 1)


MESSAGES = [
    (lambda: F.linear(danlu.ones(2, 144), danlu.ones(2, 100)), RuntimeError,
     r"mat1 and mat2 shapes cannot be multiplied \(2x144 and 100x2\)"),
    (lambda: F.linear(danlu.ones(2, 3).double(), danlu.ones(2, 3)), RuntimeError, r"\.float\(\)"),
    (lambda: F.softmax(danlu.arange(3), 0), NotImplementedError, "'Long'.*float"),
    (lambda: F.embedding(danlu.tensor([[0, 1], [7, 0]]), danlu.ones(3, 2)), IndexError,
     r"index 7 at position \(1, 0\).*3 rows"),
    (lambda: F.embedding(danlu.ones(2), danlu.ones(3, 2)), RuntimeError,
    r"FloatTensor.*\.long\(\)"),
    (lambda: F.layer_norm(danlu.ones(2, 3), (4,)), RuntimeError, r"shape \[\*, 4\].*\[2, 3\]"),
    (lambda: nn.BatchNorm1d(3)(danlu.ones(1, 3)), ValueError,
     r"more than 1 value per channel.*\[1, 3\]"),
    (lambda: nn.BatchNorm1d(3)(danlu.ones(2, 4)), RuntimeError, "4 elements not 3"),
    (lambda: nn.BatchNorm2d(3)(danlu.ones(2, 3)), ValueError, "expected 4D input"),
    (lambda: F.glu(danlu.ones(3)), RuntimeError, "dimension 0 is size 3"),
    (lambda: F.softmax(danlu.ones(3), 2), IndexError, r"\[-1, 0\], but got 2"),
    (lambda: F.one_hot(danlu.tensor([3]), 2), RuntimeError, "3 is not below 2"),
    (lambda: nn.Dropout(2), ValueError, "between 0 and 1, but got 2"),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "error", "words"), MESSAGES)
def test_messages(mistake, error, words):
    with pytest.raises(error, match=words):
        mistake()


@pytest.mark.parametrize(
    ("layer", "given", "words"),
    [
        (nn.Linear(100, 2), (2, 144), "in_features=144"),
        (nn.BatchNorm1d(3), (2, 4), "num_features=4"),
        (nn.LayerNorm(3), (2, 4), "normalized_shape=4"),
    ],
)
def test_layers_say_what_they_expected(layer, given, words):
    with pytest.raises(RuntimeError) as caught:
        layer(danlu.ones(given))
    told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert any(words in each for each in told)
