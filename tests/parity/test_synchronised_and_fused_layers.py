"""`SyncBatchNorm` in one process and `LinearCrossEntropyLoss` against PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import danlu

torch = pytest.importorskip("torch")

rng = np.random.default_rng(3)
FEATURES = rng.normal(size=(6, 5)).astype("float32")


def outcome(lib, call):
    """What `call` gives, as arrays, or the type and text of its exception."""
    lib.manual_seed(0)
    try:
        return [each.detach().numpy() for each in call(lib)]
    except (RuntimeError, ValueError, IndexError) as error:
        return [type(error), str(error)]


def same(call):
    expected, given = outcome(torch, call), outcome(danlu, call)
    assert len(given) == len(expected)
    for mine, theirs in zip(given, expected):
        if isinstance(theirs, np.ndarray):
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
        else:
            assert mine == theirs


# ---------------------------------------------------------------- LinearCrossEntropyLoss
CLASSES = np.array([0, 3, 1, 1, 2, 3])


def probabilities(*shape):
    weights = np.random.default_rng(5).uniform(size=shape).astype("float32")
    return weights / weights.sum(1, keepdims=True)


LOSSES = {
    "classes": ({}, FEATURES, CLASSES),
    "one sample": ({}, FEATURES[0], np.array(2)),
    "bias": ({"bias": True}, FEATURES, CLASSES),
    "sum": ({"reduction": "sum"}, FEATURES, CLASSES),
    "none": ({"reduction": "none", "bias": True}, FEATURES, CLASSES),
    "ignored": ({"ignore_index": 1}, FEATURES, CLASSES),
    "smooth": ({"label_smoothing": 0.2}, FEATURES, CLASSES),
    "positions": ({"out_features": (2, 3), "bias": True}, FEATURES, rng.integers(0, 4, (6, 2, 3))),
    "probabilities": ({}, FEATURES, probabilities(6, 4)),
    "probabilities of positions": ({"out_features": (2,)}, FEATURES, probabilities(6, 4, 2)),
    "ignored probabilities": ({"ignore_index": 1}, FEATURES, probabilities(6, 4)),
    "too many axes": ({}, FEATURES[None], CLASSES),
    "too few features": ({}, FEATURES[:, :3], CLASSES),
    "one sample, positions": ({"out_features": (2,)}, FEATURES[0], CLASSES),
}


@pytest.mark.parametrize("name", LOSSES)
def test_linear_cross_entropy(name):
    options, features, target = LOSSES[name]

    def call(lib):
        loss = lib.nn.LinearCrossEntropyLoss(5, 4, **options)
        x = lib.from_numpy(features.copy()).requires_grad_(True)
        value = loss(x, lib.from_numpy(target.copy()) if target.ndim else lib.tensor(2))
        value.sum().backward()
        return [value, x.grad, *(each.grad for each in loss.parameters())]

    same(call)


def test_class_weights_of_linear_cross_entropy():
    def call(lib):
        weight = lib.arange(1.0, 5.0)
        loss = lib.nn.LinearCrossEntropyLoss(5, 4, weight=weight)
        assert list(loss.state_dict()) == ["weight", "linear.weight"]
        return [loss(lib.from_numpy(FEATURES), lib.from_numpy(CLASSES))]

    same(call)
    same(lambda lib: [lib.nn.LinearCrossEntropyLoss(5, 4, weight=lib.ones(3))])
    same(lambda lib: [lib.nn.LinearCrossEntropyLoss(5, 4, label_smoothing=1.5)])


def test_mistakes_in_linear_cross_entropy():
    def call(weight, bias=None):
        return lambda lib: [
            lib.nn.functional.linear_cross_entropy(
                lib.from_numpy(FEATURES),
                lib.zeros(weight),
                lib.from_numpy(CLASSES),
                linear_bias=None if bias is None else lib.zeros(bias),
            )
        ]

    same(call(5))
    same(call((4, 5), 3))
    loss, features = danlu.nn.LinearCrossEntropyLoss(5, 4), danlu.from_numpy(FEATURES)
    with pytest.raises(IndexError, match="Target 4 is out of bounds"):
        loss(features, danlu.from_numpy(CLASSES + 1))
    loss = danlu.nn.LinearCrossEntropyLoss(5, 4, options=object())
    with pytest.raises(ValueError, match="options=None"):
        loss(danlu.from_numpy(FEATURES), danlu.from_numpy(CLASSES))


@pytest.mark.parametrize("options", [{}, {"bias": True, "out_features": (2, 3)}])
def test_linear_cross_entropy_prints_as_torchs(options):
    mine, theirs = (lib.nn.LinearCrossEntropyLoss(5, 4, **options) for lib in (danlu, torch))
    assert repr(mine) == repr(theirs)


# ---------------------------------------------------------------- SyncBatchNorm
@pytest.mark.parametrize(
    "shape", [(4, 3), (4, 3, 5), (2, 3, 4, 4), (2, 3, 2, 2, 2), (2, 3, 1, 2, 1, 2)]
)
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"bias": False}],
)
def test_synchronised_batch_norm_of_one_process(shape, options):
    values = np.random.default_rng(1).normal(2, 3, shape).astype("float32")

    def call(lib):
        layer = lib.nn.SyncBatchNorm(3, **options)
        x = lib.from_numpy(values.copy()).requires_grad_(True)
        out = layer(x)
        (out * out * out).sum().backward()
        gradients = [x.grad, *(each.grad for each in layer.parameters())]
        layer.eval()
        return [out, *gradients, layer(x), *layer.state_dict().values()]

    same(call)


@pytest.mark.parametrize("shape", [(3,), (4, 0, 2)])
def test_what_synchronised_batch_norm_refuses(shape):
    same(lambda lib: [lib.nn.SyncBatchNorm(3)(lib.zeros(shape))])


def test_converting_a_network():
    def converted(lib):
        nn = lib.nn
        net = nn.Sequential(
            nn.BatchNorm1d(3),
            nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.BatchNorm3d(4, momentum=None)),
            nn.LayerNorm(3),
            nn.BatchNorm1d(3, track_running_stats=False, bias=False).eval(),
        )
        return net, nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))

    (before, mine), (_, theirs) = converted(danlu), converted(torch)
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert [each.training for each in mine.modules()] == [
        each.training for each in theirs.modules()
    ]
    assert isinstance(mine, danlu.nn.Sequential)
    shared = danlu.nn.SyncBatchNorm.convert_sync_batchnorm(before)
    assert shared is before and isinstance(shared[0], danlu.nn.SyncBatchNorm)


def test_a_converted_layer_keeps_its_parameters_and_statistics():
    layer = danlu.nn.BatchNorm1d(3)
    layer(danlu.randn(5, 3))
    converted = danlu.nn.SyncBatchNorm.convert_sync_batchnorm(layer)
    assert converted.weight is layer.weight and converted.running_var is layer.running_var
    assert danlu.equal(converted.num_batches_tracked, danlu.tensor(1))
