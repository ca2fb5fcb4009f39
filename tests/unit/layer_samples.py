"""Every layer and loss of `danlu.nn` with arguments and inputs that it takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["SAMPLES", "Sample"]


class Sample(NamedTuple):
    """A layer, and what it is called with: a shape stands for normal numbers that need gradients
    (of [0.1, 0.9) where it begins with "share"), an array for itself.

    Attributes:
        label: names the sample among those of its layer.
    """

    name: str
    args: tuple
    options: dict
    inputs: tuple
    label: str

    def __str__(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name


SAMPLES: list[Sample] = []
_rng = np.random.default_rng(11)


def layer(name, *args, on=((4, 6),), label="", **options):
    SAMPLES.append(Sample(name, args, options, tuple(on), label))


def whole(below, *shape):
    return _rng.integers(0, below, shape)


def real(*shape):
    return _rng.standard_normal(shape).astype(np.float32)


def share(*shape):
    return _rng.uniform(0.1, 0.9, shape).astype(np.float32)


def sign(*shape):
    return (2 * whole(2, *shape) - 1).astype(np.float32)


# ------------------------------------------------------------------------------ activations
for _name in (
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity",
    "LeakyReLU", "LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid",
    "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
):  # fmt: skip
    layer(_name)
layer("GELU", approximate="tanh", label="tanh")
layer("PReLU", 3, on=[(2, 3, 4)], label="channels")
layer("RReLU", 0.1, 0.4, True, label="in place", on=[real(3, 8)])
layer("ReLU", inplace=True, label="in place", on=[real(3, 8)])
layer("Dropout", 0.4, inplace=True, label="in place", on=[real(3, 8)])
layer("Threshold", 0.1, 5.0)
for _name in ("LogSoftmax", "Softmax", "Softmin"):
    layer(_name, 1)
layer("Softmax2d", on=[(2, 3, 4, 4)])

# ------------------------------------------------------------------------------ dropout
for _name in ("AlphaDropout", "Dropout"):
    layer(_name, 0.3, on=[(8, 16)])
    layer(_name, 1.0, on=[(3, 4)], label="all")
    layer(_name, 0.0, on=[(3, 4)], label="none")
layer("Dropout1d", 0.4, on=[(4, 6, 3)])
layer("Dropout2d", 0.4, on=[(4, 6, 3, 3)])
layer("Dropout3d", 0.4, on=[(4, 6, 2, 3, 3)])
layer("FeatureAlphaDropout", 0.4, on=[(4, 6, 3)])

# ------------------------------------------------------------------------------ linear maps, convolutions
layer("Linear", 6, 3)
layer("Linear", 6, 3, bias=False, on=[(2, 4, 6)], label="no bias")
layer("Bilinear", 3, 4, 2, on=[(5, 3), (5, 4)])
layer("Embedding", 7, 3, on=[whole(7, 2, 4)])
layer("Embedding", 7, 3, padding_idx=2, on=[whole(7, 2, 4)], label="padding")
layer("Embedding", 7, 3, scale_grad_by_freq=True, on=[whole(7, 2, 4)], label="frequencies")
layer("Embedding", 7, 3, max_norm=0.5, on=[whole(7, 2, 4)], label="norm")
for _mode in ("sum", "mean", "max"):
    layer("EmbeddingBag", 7, 3, mode=_mode, on=[whole(7, 3, 4)], label=_mode)
layer("EmbeddingBag", 7, 3, padding_idx=1, on=[whole(7, 3, 4)], label="padding")
layer("EmbeddingBag", 7, 3, mode="max", padding_idx=1, on=[whole(7, 3, 4)], label="largest")
layer("EmbeddingBag", 7, 3, on=[whole(7, 6), np.array([0, 2, 5])], label="offsets")
layer(
    "EmbeddingBag", 7, 3, include_last_offset=True, mode="sum",
    on=[whole(7, 6), np.array([0, 2, 2, 5])], label="last offset",
)  # fmt: skip
for _rank, _shape in ((1, (2, 2, 7)), (2, (2, 2, 6, 6)), (3, (2, 2, 4, 4, 4))):
    layer(f"Conv{_rank}d", 2, 4, 3, padding=1, on=[_shape])
    layer(f"Conv{_rank}d", 2, 4, 3, stride=2, groups=2, bias=False, on=[_shape], label="groups")
    layer(f"ConvTranspose{_rank}d", 2, 3, 3, stride=2, padding=1, on=[_shape])
    layer(f"LazyConv{_rank}d", 4, 3, on=[_shape])
    layer(f"LazyConvTranspose{_rank}d", 4, 3, on=[_shape])
layer("Conv2d", 2, 4, 3, padding=1, padding_mode="reflect", on=[(2, 2, 6, 6)], label="reflect")
layer("LazyLinear", 3)
layer("Fold", (4, 5), (2, 2), on=[(2, 12, 12)])
layer("Unfold", 2, on=[(2, 3, 4, 5)])

# ------------------------------------------------------------------------------ normalisation
for _rank, _shape in ((1, (4, 3, 5)), (2, (4, 3, 3, 3)), (3, (4, 3, 2, 3, 2))):
    for _name in ("BatchNorm", "InstanceNorm"):
        layer(f"{_name}{_rank}d", 3, on=[_shape])
        layer(f"Lazy{_name}{_rank}d", on=[_shape])
    layer(f"BatchNorm{_rank}d", 3, affine=False, on=[_shape], label="no weights")
layer("BatchNorm1d", 6, label="features")
layer("BatchNorm1d", 6, track_running_stats=False, label="no statistics")
layer("BatchNorm1d", 6, momentum=None, label="cumulative")
layer("InstanceNorm1d", 3, affine=True, track_running_stats=True, on=[(4, 3, 5)], label="tracks")
layer("SyncBatchNorm", 3, on=[(4, 3, 5)])
layer("CrossMapLRN2d", 3, on=[(2, 5, 3, 3)])
layer("GroupNorm", 2, 4, on=[(3, 4, 5)])
layer("LayerNorm", 6)
layer("LayerNorm", (4, 6), elementwise_affine=False, on=[(2, 4, 6)], label="two axes")
layer("LocalResponseNorm", 3, on=[(2, 5, 4)])
layer("RMSNorm", 6)

# ------------------------------------------------------------------------------ pooling, resampling, padding
for _rank, _shape in ((1, (2, 3, 8)), (2, (2, 3, 6, 6)), (3, (2, 3, 4, 4, 4))):
    layer(f"AdaptiveAvgPool{_rank}d", 2, on=[_shape])
    layer(f"AdaptiveAvgPool{_rank}d", 1, on=[_shape], label="global")
    layer(f"AdaptiveMaxPool{_rank}d", 2, on=[_shape])
    layer(f"AvgPool{_rank}d", 2, on=[_shape])
    layer(f"LPPool{_rank}d", 2, 2, on=[_shape])
    layer(f"MaxPool{_rank}d", 2, on=[_shape])
    layer(f"MaxPool{_rank}d", 2, return_indices=True, on=[_shape], label="places")
    for _name in ("Circular", "Reflection", "Replication", "Zero"):
        layer(f"{_name}Pad{_rank}d", 1, on=[_shape])
    layer(f"ConstantPad{_rank}d", 1, 2.5, on=[_shape])
    _halves = tuple(size // 2 for size in _shape[2:])
    _places = np.arange(np.prod(_halves)).reshape(_halves) * 2
    layer(
        f"MaxUnpool{_rank}d", 2,
        on=[(2, 3, *_halves), np.broadcast_to(_places, (2, 3, *_halves)).copy()],
    )  # fmt: skip
layer("FractionalMaxPool2d", 2, output_size=3, on=[(2, 3, 6, 6)])
layer("FractionalMaxPool3d", 2, output_size=2, on=[(2, 3, 5, 5, 5)])
for _mode in ("nearest", "bilinear", "bicubic", "area"):
    layer("Upsample", scale_factor=2, mode=_mode, on=[(2, 3, 3, 4)], label=_mode)
layer("Upsample", size=(5, 7), mode="nearest-exact", on=[(2, 3, 3, 4)], label="size")
layer("UpsamplingBilinear2d", scale_factor=2, on=[(2, 3, 3, 4)])
layer("UpsamplingNearest2d", scale_factor=2, on=[(2, 3, 3, 4)])

# ------------------------------------------------------------------------------ shapes, distances
layer("ChannelShuffle", 2, on=[(2, 4, 3, 3)])
layer("CosineSimilarity", on=[(4, 6), (4, 6)])
layer("Flatten", on=[(2, 3, 4)])
layer("PairwiseDistance", on=[(4, 6), (4, 6)])
layer("PixelShuffle", 2, on=[(2, 8, 3, 3)])
layer("PixelUnshuffle", 2, on=[(2, 2, 4, 4)])
layer("Unflatten", 1, (2, 3))

# ------------------------------------------------------------------------------ recurrent layers
for _name in ("RNN", "LSTM", "GRU"):
    layer(_name, 3, 4, on=[(5, 2, 3)])
    layer(
        _name, 3, 4, num_layers=2, dropout=0.3, bidirectional=True, batch_first=True,
        on=[(2, 5, 3)], label="deep",
    )  # fmt: skip
    layer(f"{_name}Cell", 3, 4, on=[(2, 3)])
layer("RNN", 3, 4, nonlinearity="relu", on=[(5, 2, 3), (1, 2, 4)], label="relu")
layer("LSTM", 3, 4, proj_size=2, on=[(5, 2, 3)], label="projected")

# ------------------------------------------------------------------------------ attention
layer("MultiheadAttention", 8, 2, on=[(3, 2, 8)] * 3)
layer(
    "MultiheadAttention", 8, 2, dropout=0.3, batch_first=True, on=[(2, 3, 8)] * 3, label="dropout"
)
layer(
    "MultiheadAttention", 8, 2, kdim=4, vdim=6, on=[(3, 2, 8), (5, 2, 4), (5, 2, 6)], label="sizes"
)
layer(
    "MultiheadAttention", 8, 2, add_bias_kv=True, add_zero_attn=True, on=[(3, 2, 8)] * 3,
    label="biases",
)  # fmt: skip
_seen = np.triu(np.ones((3, 3), bool), 1)
_padding = np.array([[False, False, True], [False, False, False]])
layer("MultiheadAttention", 8, 2, on=[*[(3, 2, 8)] * 3, _padding], label="padding")
layer("TransformerEncoderLayer", 8, 2, 16, on=[(3, 2, 8), _seen, _padding], label="masks")
layer("TransformerDecoderLayer", 8, 2, 16, on=[*[(3, 2, 8)] * 2, _seen], label="masks")
layer("Transformer", 8, 2, 1, 1, 16, on=[*[(3, 2, 8)] * 2, _seen, _seen], label="masks")
for _options in ({}, {"norm_first": True, "activation": "gelu"}, {"batch_first": True}):
    _label = "-".join(_options)
    layer("TransformerEncoderLayer", 8, 2, 16, on=[(3, 2, 8)], label=_label, **_options)
    layer("TransformerDecoderLayer", 8, 2, 16, on=[(3, 2, 8)] * 2, label=_label, **_options)
    layer("Transformer", 8, 2, 1, 1, 16, on=[(3, 2, 8)] * 2, label=_label, **_options)

# ------------------------------------------------------------------------------ losses
_two = [(4, 6), real(4, 6)]
for _name in ("HuberLoss", "L1Loss", "MSELoss", "PoissonNLLLoss", "SmoothL1Loss"):
    layer(_name, on=_two)
layer("MSELoss", reduction="none", on=_two, label="none")
layer("MSELoss", reduction="sum", on=_two, label="sum")
layer("BCELoss", on=[("share", 4, 6), share(4, 6)])
layer("BCELoss", weight=share(6), on=[("share", 4, 6), share(4, 6)], label="weights")
layer("BCEWithLogitsLoss", on=[(4, 6), share(4, 6)])
layer("GaussianNLLLoss", on=[(4, 6), real(4, 6), ("share", 4, 6)])
layer(
    "BCEWithLogitsLoss",
    pos_weight=share(6),
    weight=share(6),
    on=[(4, 6), share(4, 6)],
    label="weights",
)
layer("CrossEntropyLoss", on=[(4, 6), whole(6, 4)])
layer("CrossEntropyLoss", on=[(4, 6), share(4, 6)], label="probabilities")
layer("CrossEntropyLoss", weight=share(6), ignore_index=2, label_smoothing=0.1,
      on=[(4, 6), whole(6, 4)], label="options")  # fmt: skip
layer("CrossEntropyLoss", on=[(2, 6, 3, 3), whole(6, 2, 3, 3)], label="images")
layer("KLDivLoss", reduction="batchmean", on=[(4, 6), share(4, 6)])
layer("NLLLoss", on=[(4, 6), whole(6, 4)])
layer("NLLLoss", weight=share(6), on=[(4, 6), whole(6, 4)], label="weights")
layer("NLLLoss2d", on=[(2, 6, 3, 3), whole(6, 2, 3, 3)])
layer("LinearCrossEntropyLoss", 6, 5, on=[(4, 6), whole(5, 4)])
layer("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8], on=[(6, 8), whole(12, 6)])
layer("CTCLoss", on=[(8, 2, 5), whole(4, 2, 3) + 1, np.array([8, 7]), np.array([3, 2])])
layer("CosineEmbeddingLoss", on=[(4, 6), (4, 6), sign(4)])
layer("HingeEmbeddingLoss", on=[(4, 6), sign(4, 6)])
layer("MarginRankingLoss", on=[(4,), (4,), sign(4)])
layer("MultiLabelMarginLoss", on=[(2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 2]])])
layer("MultiLabelSoftMarginLoss", on=[(4, 6), share(4, 6)])
layer("MultiMarginLoss", on=[(4, 6), whole(6, 4)])
layer("SoftMarginLoss", on=[(4, 6), sign(4, 6)])
layer("TripletMarginLoss", on=[(4, 6)] * 3)
layer("TripletMarginWithDistanceLoss", on=[(4, 6)] * 3)
