"""Every layer, loss and activation gives on the road of generated code what it gives on NumPy's:
values and gradients, for all floating dtypes, memory layouts, sizes down to zero, and numbers that
are no numbers."""

from __future__ import annotations

import contextlib
import warnings
import zlib

import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.kernels.runtime import objects, road
from danlu.ops import quick

pytest.importorskip("llvmlite")

FLOAT, DOUBLE, HALF, BRAIN = danlu.float32, danlu.float64, danlu.float16, danlu.bfloat16
# How far results may be apart, in units of the largest: sums are made in another order, and
# generated code rounds 16-bit numbers once where NumPy rounds after each operation.
NEAR = {FLOAT: 5e-5, DOUBLE: 1e-12, HALF: 6e-3, BRAIN: 5e-2}


class Case:
    """A layer, the shapes of its inputs, and what is called besides.

    Attributes:
        make: gives the layer.
        shapes: of the inputs; a function of a generator gives one that is no floating tensor.
        call: what to do with the layer and its inputs; a plain call by default.
        dtypes: those that the layer takes.
    """

    def __init__(self, name, make, *shapes, call=None, dtypes=(FLOAT, DOUBLE, HALF, BRAIN)):
        self.name, self.make, self.shapes, self.dtypes = name, make, shapes, dtypes
        self.call = call or (lambda layer, *inputs: layer(*inputs))


def classes(count, *shape):
    return lambda random: danlu.from_numpy(random.integers(0, count, shape))


def signs(*shape):
    return lambda random: danlu.from_numpy(random.integers(0, 2, shape) * 2.0 - 1.0)


def fractions(*shape):
    return lambda random: danlu.from_numpy(random.random(shape) * 0.9 + 0.05)


def layer(name, *arguments, **options):
    return lambda: getattr(nn, name)(*arguments, **options)


def case(name, arguments, *shapes, options=None, label="", **more):
    options = options or {}
    title = f"{name}{label}"
    return Case(title, layer(name, *arguments, **options), *shapes, **more)


REAL = {"dtypes": (FLOAT, DOUBLE)}


def _activations():
    plain = (
        "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU "
        "ReLU ReLU6 SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink"
    )
    yield from (case(name, (), (3, 37)) for name in plain.split())
    yield case("GELU", (), (5, 7, 11), options={"approximate": "tanh"}, label="-tanh")
    yield case("Threshold", (0.1, -2.0), (3, 37))
    yield case("GLU", (1,), (3, 10, 5))
    yield case("ReLU", (), (4, 19), options={"inplace": True}, label="-inplace",
               call=lambda layer, x: layer(x * 2))  # fmt: skip
    for name in ("Softmax", "LogSoftmax", "Softmin"):
        for dim in (0, 1, 2):
            yield case(name, (dim,), (5, 7, 9), label=f"-{dim}")
    yield case("Softmax2d", (), (2, 3, 4, 5))


def _convolutions():
    for n, sizes in ((1, (13,)), (2, (9, 11)), (3, (5, 6, 7))):
        for label, inputs, outputs, options in (
            ("", 3, 5, {}),
            ("-strided", 4, 6, {"stride": 2, "padding": 1, "groups": 2}),
            ("-dilated", 2, 3, {"dilation": 2, "padding": 2, "bias": False}),
            ("-depthwise", 6, 6, {"groups": 6, "padding": 1}),
            ("-multiplied", 3, 6, {"groups": 3}),
        ):
            shape = (2, inputs, *sizes)
            real = (FLOAT, DOUBLE) if n == 3 else (FLOAT, DOUBLE, HALF, BRAIN)
            yield case(f"Conv{n}d", (inputs, outputs, 3), shape, label=label, options=options,
                       dtypes=real)  # fmt: skip
            yield case(f"ConvTranspose{n}d", (inputs, outputs, 3), shape, label=label,
                       options=options, **REAL)  # fmt: skip
    for label, arguments, options in (
        ("-pointwise", (5, 7, 1), {}),
        ("-pointwise-strided", (5, 7, 1), {"stride": 2}),
        ("-same", (3, 4, (3, 5)), {"padding": "same"}),
        ("-reflect", (3, 4, 3), {"padding": 1, "padding_mode": "reflect"}),
        ("-large", (2, 3, 7), {"stride": 3, "padding": 3}),
        ("-uneven", (2, 3, (1, 4)), {"stride": (2, 1), "padding": (0, 2)}),
    ):
        shape = (2, arguments[0], 9, 11)
        yield case("Conv2d", arguments, shape, label=label, options=options, **REAL)
    yield case("Conv2d", (3, 4, 3), (3, 9, 8), label="-unbatched", **REAL)
    yield case("ConvTranspose2d", (3, 4, 3), (2, 3, 4, 5), label="-output_padding",
               options={"stride": 3, "output_padding": 2}, **REAL)  # fmt: skip


def _pools():
    for n, sizes in ((1, (13,)), (2, (9, 11)), (3, (5, 6, 7))):
        for label, options in (
            ("", {}),
            ("-overlapping", {"stride": 1, "padding": 1}),
            ("-ceil", {"stride": 2, "ceil_mode": True}),
        ):
            for kernel in (2, 3):
                shape, name = (2, 3, *sizes), f"{label}-{kernel}"
                yield case(f"MaxPool{n}d", (kernel,), shape, label=name, options=options)
                yield case(f"AvgPool{n}d", (kernel,), shape, label=name, options=options)
        yield case(f"MaxPool{n}d", (2,), (2, 3, *sizes), label="-dilated-indices", **REAL,
                   options={"dilation": 2, "return_indices": True})  # fmt: skip
        yield case(f"AdaptiveAvgPool{n}d", (3,), (2, 3, *sizes))
        yield case(f"AdaptiveMaxPool{n}d", (3,), (2, 3, *sizes))
        yield case(f"LPPool{n}d", (2, 2), (2, 3, *sizes), **REAL)
        unpool = getattr(nn, f"MaxUnpool{n}d")(2)
        yield case(f"MaxPool{n}d", (2,), (2, 3, *sizes), label="-unpooled", **REAL,
                   options={"return_indices": True},
                   call=lambda layer, x, unpool=unpool: unpool(*layer(x)))  # fmt: skip
    for shape in ((3, 8, 8), (70, 5, 40)):
        yield case("MaxPool2d", (2,), shape, label=f"-unbatched-{shape[0]}", **REAL)


def _norms():
    for n, sizes in ((1, (13,)), (2, (4, 5)), (3, (2, 3, 4))):
        shape = (3, 6, *sizes)
        yield case(f"BatchNorm{n}d", (6,), shape)
        yield case(f"BatchNorm{n}d", (6,), shape, label="-eval",
                   call=lambda layer, x: layer.eval()(x.abs() + 0.5))  # fmt: skip
        yield case(f"InstanceNorm{n}d", (6,), shape, options={"affine": True})
        yield case(f"InstanceNorm{n}d", (6,), shape, label="-tracking",
                   options={"track_running_stats": True})  # fmt: skip
    yield case("BatchNorm1d", (6,), (17, 6), label="-table")
    yield case("BatchNorm2d", (6,), (3, 6, 4, 5), options={"affine": False}, label="-plain")
    yield case("BatchNorm2d", (6,), (3, 6, 4, 5), options={"momentum": None}, label="-cumulative")
    yield case("SyncBatchNorm", (6,), (3, 6, 4, 5))
    for groups in (1, 2, 6):
        yield case("GroupNorm", (groups, 6), (3, 6, 4, 5), label=f"-{groups}")
    for shape in ((7,), (4, 5)):
        yield case("LayerNorm", (shape,), (3, 2, *shape), label=f"-{len(shape)}")
        yield case("RMSNorm", (shape,), (3, 2, *shape), label=f"-{len(shape)}")
    yield case("LayerNorm", (9,), (3, 9), label="-no-bias", options={"bias": False})
    yield case("LocalResponseNorm", (3,), (2, 6, 4, 5), **REAL)
    yield case("CrossMapLRN2d", (3,), (2, 6, 4, 5), **REAL)


def _losses():
    for reduction in ("mean", "sum", "none"):
        options, label = {"reduction": reduction}, f"-{reduction}"
        for name in ("L1Loss", "MSELoss"):
            yield case(name, (), (5, 7), (5, 7), options=options, label=label)
        yield case("BCEWithLogitsLoss", (), (5, 7), fractions(5, 7), options=options, label=label)
        yield case("CrossEntropyLoss", (), (9, 5), classes(5, 9), options=options, label=label)
        yield case("CrossEntropyLoss", (), (3, 5, 4), classes(5, 3, 4), label=f"{label}-images",
                   options={**options, "ignore_index": 2, "label_smoothing": 0.1})  # fmt: skip
        yield case("NLLLoss", (), (9, 5), classes(5, 9), options=options, label=label,
                   call=lambda layer, x, y: layer(x.log_softmax(1), y))  # fmt: skip
    yield case("CrossEntropyLoss", (), (9, 5), label="-probabilities",
               call=lambda layer, x: layer(x, x.detach().softmax(1)))  # fmt: skip
    yield case("BCELoss", (), (5, 7), fractions(5, 7),
               call=lambda layer, x, y: layer(x.sigmoid(), y))  # fmt: skip
    yield case("GaussianNLLLoss", (), (5, 7), (5, 7), **REAL,
               call=lambda layer, x, y: layer(x, y, y.abs() + 0.5))  # fmt: skip
    for name in ("HuberLoss", "SmoothL1Loss"):
        yield case(name, (), (5, 7), (5, 7))
    for name in ("KLDivLoss", "PoissonNLLLoss"):
        yield case(name, (), (5, 7), fractions(5, 7))
    for name in ("SoftMarginLoss", "HingeEmbeddingLoss"):
        yield case(name, (), (5, 7), signs(5, 7))
    yield case("MarginRankingLoss", (), (7,), (7,), signs(7))
    yield case("CosineEmbeddingLoss", (), (7, 5), (7, 5), signs(7), **REAL)
    yield case("TripletMarginLoss", (), (7, 5), (7, 5), (7, 5), **REAL)
    yield case("MultiMarginLoss", (), (9, 5), classes(5, 9), **REAL)
    yield case("MultiLabelMarginLoss", (), (9, 5), classes(5, 9, 5), **REAL)
    yield case("MultiLabelSoftMarginLoss", (), (9, 5), fractions(9, 5), **REAL)
    yield case("CTCLoss", (), (12, 3, 5), call=_transcribed, **REAL)


def _transcribed(layer, x):
    target = danlu.tensor([[1, 2, 3], [4, 4, 1], [2, 1, 1]])
    return layer(x.log_softmax(2), target, (12, 12, 9), (3, 3, 2))


def _packed(layer, x):
    packed = nn.utils.rnn.pack_padded_sequence(x, [6, 4, 1])
    outputs, last = layer(packed)
    return outputs.data, last


def _sequences():
    for name in ("LSTM", "GRU", "RNN"):
        for label, options in (
            ("", {}),
            ("-deep", {"num_layers": 2, "bidirectional": True}),
            ("-batch_first", {"batch_first": True, "bias": False}),
        ):
            yield case(name, (5, 7), (6, 3, 5), options=options, label=label, **REAL)
        yield case(name, (5, 7), (6, 3, 5), label="-packed", call=_packed, **REAL)
        yield case(f"{name}Cell", (5, 7), (3, 5), **REAL)
    yield case("LSTM", (5, 7), (6, 3, 5), options={"proj_size": 3}, label="-projected", **REAL)
    yield case("RNN", (5, 7), (6, 3, 5), options={"nonlinearity": "relu"}, label="-relu", **REAL)
    yield case("MultiheadAttention", (12, 3), (5, 2, 12), (7, 2, 12), (7, 2, 12), **REAL)
    yield case("MultiheadAttention", (12, 3), (5, 2, 12), label="-causal", **REAL,
               call=lambda layer, x: layer(
                   x, x, x, need_weights=False, is_causal=True,
                   attn_mask=nn.Transformer.generate_square_subsequent_mask(5, dtype=x.dtype),
               ))  # fmt: skip
    for name in ("TransformerEncoderLayer", "TransformerDecoderLayer"):
        shapes = [(5, 2, 8)] * (1 + ("Decoder" in name))
        options = {"dim_feedforward": 16, "dropout": 0.0}
        yield case(name, (8, 2), *shapes, options=options, **REAL)
        yield case(name, (8, 2), *shapes, label="-gelu-first", **REAL,
                   options={**options, "activation": "gelu", "norm_first": True})  # fmt: skip


def _others():
    yield case("Linear", (7, 5), (9, 7))
    yield case("Linear", (7, 5), (3, 2, 7), options={"bias": False}, label="-sequence")
    yield case("Linear", (7, 1), (9, 7), label="-column")
    yield case("Linear", (1, 5), (9, 1), label="-from-column")
    yield case("Linear", (300, 40), (70, 300), label="-larger", **REAL)
    yield case("Bilinear", (4, 5, 3), (6, 4), (6, 5), **REAL)
    yield case("Embedding", (11, 6), classes(11, 4, 5))
    yield case("Embedding", (11, 6), classes(11, 4, 5), label="-padded",
               options={"padding_idx": 2, "scale_grad_by_freq": True})  # fmt: skip
    for mode in ("sum", "mean", "max"):
        yield case("EmbeddingBag", (11, 6), classes(11, 4, 5), options={"mode": mode},
                   label=f"-{mode}", **REAL)  # fmt: skip
    for name in ("Dropout", "AlphaDropout"):
        yield case(name, (0.4,), (5, 37), **REAL)
    for n in (1, 2, 3):
        yield case(f"Dropout{n}d", (0.4,), (3, 5, *(4,) * n), **REAL)
        shape = (2, 3, *(5, 6, 4)[:n])
        for kind in ("Reflection", "Replication", "Circular", "Zero"):
            yield case(f"{kind}Pad{n}d", (2,), shape)
        yield case(f"ConstantPad{n}d", (-1, 0.5), shape)
    for mode, n in (("nearest", 2), ("linear", 1), ("bilinear", 2), ("bicubic", 2),
                    ("trilinear", 3)):  # fmt: skip
        shape = (2, 3, *(5, 6, 4)[:n])
        yield case("Upsample", (), shape, label=f"-{mode}", **REAL,
                   options={"scale_factor": 2, "mode": mode})  # fmt: skip
    yield case("PixelShuffle", (2,), (2, 8, 3, 4))
    yield case("PixelUnshuffle", (2,), (2, 3, 4, 6))
    yield case("ChannelShuffle", (2,), (2, 6, 3, 4))
    yield case("Unfold", ((2, 3),), (2, 3, 5, 6), options={"padding": 1})
    yield case("Fold", ((5, 6), (2, 3)), (2, 12, 16))
    yield case("CosineSimilarity", (), (5, 7), (5, 7), **REAL)
    yield case("PairwiseDistance", (), (5, 7), (5, 7), **REAL)
    yield case("Flatten", (), (3, 4, 5))
    yield case("AdaptiveLogSoftmaxWithLoss", (8, 10, [4, 7]), (6, 8), classes(10, 6), **REAL)


CASES = [*_activations(), *_convolutions(), *_pools(), *_norms(), *_losses(), *_sequences(),
         *_others()]  # fmt: skip


# ---------------------------------------------------------------- inputs
def _as_it_is(x):
    return x


def _strided(x):
    wide = danlu.zeros(*x.shape[:-1], 2 * x.shape[-1] + 1, dtype=x.dtype)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def _shifted(x):
    """At an address that is a multiple of the element's size alone."""
    flat = danlu.zeros(x.numel() + 1, dtype=x.dtype)
    flat[1:] = x.reshape(-1)
    return flat[1:].reshape(x.shape)


def _channels_last(x):
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if x.ndim > 1 else x


LAYOUTS = {
    "strided": _strided,
    "shifted": _shifted,
    "transposed": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "channels_last": _channels_last,
    "expanded": lambda x: x[:1].expand(x.shape),
}


def _laid_out(x, layout):
    return LAYOUTS[layout](x) if layout else x


def _tensors(value):
    if isinstance(value, danlu.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)


def _array(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype is BRAIN else tensor).numpy().copy()


def _inputs(case, dtype, layout, change, resize):
    random = np.random.default_rng(zlib.crc32(case.name.encode()))
    for shape in case.shapes:
        if callable(shape):
            made = shape(random)
            yield made.to(dtype) if made.is_floating_point() else made
            continue
        made = danlu.from_numpy(change(random.standard_normal(resize(shape)))).to(dtype)
        yield _laid_out(made, layout).detach().requires_grad_()


def _slope(out, layout):
    """What comes down to an output from a loss."""
    random = np.random.default_rng(out.numel())
    slope = danlu.from_numpy(random.standard_normal((*out.shape, 1))[..., 0]).to(out.dtype)
    return _laid_out(slope, layout) if out.ndim else slope


def _run(case, dtype, layout, *changes):
    """Outputs, gradients and buffers of a layer, by name."""
    danlu.manual_seed(1)
    module = case.make().to(dtype)
    for parameter in module.parameters():
        parameter.data = _laid_out(parameter.data, layout)
    inputs = list(_inputs(case, dtype, layout, *changes))
    outputs = list(_tensors(case.call(module, *inputs)))
    found = {f"output {n}": out for n, out in enumerate(outputs)}
    roots = [out for out in outputs if out.requires_grad]
    danlu.autograd.backward(roots, [_slope(out, layout) for out in roots])
    for n, each in enumerate(inputs):
        found[f"gradient of input {n}"] = each.grad
    for name, parameter in module.named_parameters():
        found[f"gradient of {name}"] = parameter.grad
    found.update(module.named_buffers())
    return {
        name: (value.dtype, _array(value)) for name, value in found.items() if value is not None
    }


@contextlib.contextmanager
def _taken(way):
    """One of the roads; "small" is NumPy's with machine code for small arrays in its place."""
    with road.forced("auto" if way == "small" else way):
        if way == "small":
            assert quick.replace()
        try:
            yield
        finally:
            quick.restore()


def _outcome(case, way, *choices):
    with _taken(way), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return _run(case, *choices)
        except (RuntimeError, ValueError, IndexError) as error:
            return f"{type(error).__name__}: {error}"


def _assert_agree(
    case, ways, dtype=FLOAT, layout=None, change=_as_it_is, resize=_as_it_is, near=None
):
    choices = dtype, layout, change, resize
    expected = _outcome(case, "numpy", *choices)
    for way in ways:
        found = _outcome(case, way, *choices)
        where = f"{case.name}, {way}, {dtype}, {layout}"
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected, where
            continue
        assert found.keys() == expected.keys(), where
        for name, (kind, value) in expected.items():
            assert found[name][0] is kind, f"{where}: dtype of {name}"
            (near or _assert_near)(found[name][1], value, NEAR[dtype], f"{where}: {name}")


def _assert_near(found, expected, near, where):
    assert found.shape == expected.shape, where
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=1)
    np.testing.assert_allclose(found, expected, near, near * largest, err_msg=where)


def _assert_finite_near(found, expected, near, where):
    """Outputs agree; of gradients and statistics what is finite does, since the order of a sum says
    where infinities meet."""
    if "output" not in where:
        finite = np.isfinite(expected)
        found, expected = np.where(finite, found, 0), np.where(finite, expected, 0)
    _assert_near(found, expected, near, where)


def _some_of(case, choices, count):
    """Different ones for different cases, the same in every run."""
    names = sorted(choices, key=str)
    start = zlib.crc32(case.name.encode())
    return [names[(start + n) % len(names)] for n in range(count)]


def _named(cases):
    return [pytest.param(each, id=each.name) for each in cases]


# ---------------------------------------------------------------- the tests
@pytest.mark.parametrize("case", _named(CASES))
def test_layouts(case):
    _assert_agree(case, ("native", "small") if objects.agree() else ("native",))
    for layout in _some_of(case, LAYOUTS, 1):
        # a channel of equal numbers: their variance is rounding, and divides
        if (case.name, layout) != ("BatchNorm1d-table", "expanded"):
            _assert_agree(case, ("native",), layout=layout)


@pytest.mark.parametrize("case", _named(CASES))
def test_dtypes(case):
    for dtype in _some_of(case, case.dtypes[1:], 1):
        _assert_agree(case, ("native",), dtype)


def _is_resizable(case):
    return not any(callable(shape) for shape in case.shapes)


@pytest.mark.parametrize("case", _named(filter(_is_resizable, CASES)))
def test_batches_of_none_and_one(case):
    for size in (0, 1):
        _assert_agree(case, ("native",), resize=lambda shape: (size, *shape[1:]))


def _elementwise(case):
    return len(case.shapes) == 1 and not case.name.startswith(("Soft", "LogSoft", "GLU"))


@pytest.mark.parametrize("case", _named(filter(_elementwise, _activations())))
def test_tensors_of_no_axes(case):
    """Gradients of single numbers may come as NumPy's scalars."""
    layer = case.call
    case.call = lambda *arguments: layer(*arguments) * 3
    _assert_agree(case, ("native",), resize=lambda shape: ())


def _sprinkled(*numbers):
    def change(x):
        some = x.reshape(-1)[:: max(1, x.size // 7)]
        some[:] = np.resize(numbers, some.size)
        return x

    return change


ODD_NUMBERS = {
    "nan": _sprinkled(np.nan),
    "large": _sprinkled(1e15, -1e15, 1e10),
    "tiny": _sprinkled(1e-40, -1e-45, 0.0, -0.0),
}


@pytest.mark.parametrize("case", _named(CASES))
def test_odd_numbers(case):
    # NumPy's road multiplies NaN by the zeros of a padding that generated code leaves out
    near = _assert_finite_near if case.name.startswith("ConvTranspose") else None
    for kind in _some_of(case, ODD_NUMBERS, 1):
        # such scores leave one probability of 1, whose slope is a difference of equal numbers
        if not (kind == "large" and case.name.startswith(("Multihead", "Transformer"))):
            _assert_agree(case, ("native",), change=ODD_NUMBERS[kind], near=near)


@pytest.mark.parametrize("case", _named(CASES))
def test_infinite_numbers(case):
    change = _sprinkled(np.inf, -np.inf)
    _assert_agree(case, ("native",), change=change, near=_assert_finite_near)
