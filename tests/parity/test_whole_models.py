"""Whole models in files: written by PyTorch and read by danlu, and the other way round."""

from __future__ import annotations

import io

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")

# layer -> its arguments and the shape of an input
LAYERS = {
    "Linear": ((3, 2), (4, 3)),
    "Conv1d": ((2, 4, 3), (1, 2, 6)),
    "Conv2d same": ((2, 4, 3, 1, "same", 1, 1, True, "reflect"), (1, 2, 6, 6)),
    "Conv3d circular": ((1, 2, 2, 1, 1, 1, 1, True, "circular"), (1, 1, 3, 3, 3)),
    "ConvTranspose2d": ((2, 3, 2, 2), (1, 2, 3, 3)),
    "BatchNorm1d": ((3,), (4, 3)),
    "InstanceNorm2d": ((3, 1e-5, 0.1, True), (2, 3, 4, 4)),
    "GroupNorm": ((1, 3), (4, 3)),
    "LayerNorm": ((3,), (4, 3)),
    "LocalResponseNorm": ((2,), (1, 3, 4)),
    "Dropout": ((0.5,), (4, 3)),
    "ReLU": ((), (4, 3)),
    "PReLU": ((), (4, 3)),
    "GELU": ((), (4, 3)),
    "Softmax": ((1,), (4, 3)),
    "MaxPool2d": ((2,), (1, 1, 4, 4)),
    "AvgPool1d": ((2,), (1, 1, 4)),
    "AdaptiveAvgPool2d": ((2,), (1, 1, 5, 5)),
    "ZeroPad2d": ((1,), (1, 1, 2, 2)),
    "Upsample": ((None, 2), (1, 1, 2, 2)),
    "PixelShuffle": ((2,), (1, 4, 2, 2)),
    "Flatten": ((), (2, 3, 4)),
    "Unflatten": ((1, (2, 3)), (2, 6)),
    "RNN": ((3, 4), (5, 2, 3)),
    "LSTM": ((3, 4, 2, True, True, 0.0, True, 2), (5, 2, 3)),
    "GRU": ((3, 4, 1, False), (5, 2, 3)),
    "LSTMCell": ((3, 4), (2, 3)),
    "TransformerEncoderLayer": ((4, 2, 8), (5, 2, 4)),
}


def passed(lib, model, shape):
    """The first output of the model in evaluation mode for one input."""
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    out = model.eval()(lib.from_numpy(values))
    while isinstance(out, tuple):
        out = out[0]
    return out.detach().numpy()


def carried(source, target, model):
    file = io.BytesIO()
    source.save(model, file)
    file.seek(0)
    return target.load(file, weights_only=False)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("to_danlu", [True, False])
def test_a_layer_in_a_file(name, to_danlu):
    source, target = (torch, danlu) if to_danlu else (danlu, torch)
    arguments, shape = LAYERS[name]
    model = source.nn.Sequential(getattr(source.nn, name.split()[0])(*arguments))
    again = carried(source, target, model)
    assert type(again) is target.nn.Sequential
    assert repr(again) == repr(model)
    assert list(again.state_dict()) == list(model.state_dict())
    np.testing.assert_allclose(
        passed(target, again, shape), passed(source, model, shape), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("to_danlu", [True, False])
def test_a_model_that_was_read_learns(to_danlu):
    source, target = (torch, danlu) if to_danlu else (danlu, torch)
    model = carried(source, target, source.nn.LSTM(3, 4))
    optimizer = target.optim.SGD(model.parameters(), lr=0.5)
    x = target.ones(2, 1, 3)
    before = model(x)[0].sum().item()
    for _ in range(3):
        optimizer.zero_grad()
        model(x)[0].sum().backward()
        optimizer.step()
    assert model(x)[0].sum().item() < before


def test_attention_in_a_file():
    x = np.random.default_rng(0).normal(size=(5, 2, 4)).astype("float32")
    for source, target in ((torch, danlu), (danlu, torch)):
        model = source.nn.MultiheadAttention(4, 2)
        again = carried(source, target, model)
        expected, _ = model(*[source.from_numpy(x)] * 3)
        given, _ = again(*[target.from_numpy(x)] * 3)
        np.testing.assert_allclose(given.detach().numpy(), expected.detach().numpy(), atol=1e-6)
