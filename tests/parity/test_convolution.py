"""Convolution, sliding blocks, padding and resampling against PyTorch: values, gradients,
errors."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
import danlu.nn.functional

torch = pytest.importorskip("torch")


def both(run, *arrays, order=2):
    """Compare values, dtypes, shapes, gradients and (order 2) gradients of gradients of `run(lib,
    *tensors)`."""
    seen = []
    for lib in (torch, danlu):
        tensors = [lib.tensor(a) for a in arrays]
        leaves = [t.requires_grad_() for t in tensors if t.is_floating_point() or t.is_complex()]
        out = run(lib, *tensors)
        outs = out if isinstance(out, (tuple, list)) else [out]
        found = list(outs)
        first = outs[0]
        if first.requires_grad:
            weights = np.cos(np.arange(first.numel())).reshape(tuple(first.shape))
            weights = lib.tensor(weights.astype(first.detach().numpy().dtype)).requires_grad_()
            grads = lib.autograd.grad(
                first, leaves, weights, create_graph=order == 2, allow_unused=True
            )
            found += [g for g in grads if g is not None]
            smooth = [g for g in grads if g is not None and g.requires_grad]
            if smooth:
                total = sum((g * g.detach().sin().conj()).sum() for g in smooth)
                total = lib.real(total) if total.is_complex() else total
                seconds = lib.autograd.grad(total, [weights, *leaves], allow_unused=True)
                found += [g if g is not None else lib.zeros(()) for g in seconds]
        seen.append([(str(t.dtype)[6:], t.detach().numpy()) for t in found])
    for (dtype, expected), (got_dtype, got) in zip(*seen, strict=True):
        if expected.shape == () or got.shape == ():  # a gradient that is None on one side is zero
            assert np.allclose(got, expected, atol=1e-9)
            continue
        assert got_dtype == dtype
        assert got.shape == expected.shape
        close = 1e-9 if expected.dtype.itemsize >= 8 else 1e-5
        np.testing.assert_allclose(got, expected, rtol=close, atol=close)


def draw(*shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


SETTINGS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": 2, "dilation": 2},
    {"groups": 2, "padding": 1},
    {"groups": 4, "stride": 2},
    {"padding": "same"},
    {"padding": "same", "dilation": 2},
    {"padding": "valid"},
    {"stride": 3, "padding": 3, "dilation": 2},
]


@pytest.mark.parametrize("channels", [4, 24])  # few channels and many take different ways
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_convolution(settings, rank, channels):
    sizes, kernel = (8, 7, 6)[:rank], (3, 2, 2)[:rank]
    weight = draw(4, channels // settings.get("groups", 1), *kernel, seed=1)
    both(
        lambda lib, x, w, b: getattr(lib.nn.functional, f"conv{rank}d")(x, w, b, **settings),
        draw(2, channels, *sizes), weight, draw(4, seed=2),
    )  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"groups": 2, "dilation": 2},
        {"stride": 2, "dilation": 3, "output_padding": 2, "padding": 1},
        {"padding": 2},
    ],
    ids=str,
)
def test_transposed_convolution(settings, rank):
    sizes, kernel = (4, 3, 3)[:rank], (3, 3, 3)[:rank]
    both(
        lambda lib, x, w, b: getattr(lib.nn.functional, f"conv_transpose{rank}d")(
            x, w, b, **settings
        ),
        draw(2, 4, *sizes), draw(4, 3, *kernel, seed=1),
        draw(3 * settings.get("groups", 1), seed=2),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_convolution_of_other_types_and_single_images(dtype):
    arrays = draw(3, 6, 5, dtype=dtype), draw(2, 3, 3, 3, dtype=dtype, seed=1)
    both(lambda lib, x, w: lib.nn.functional.conv2d(x, w, padding=1), *arrays)
    both(lambda lib, x, w: lib.nn.functional.conv_transpose2d(x, w.transpose(0, 1)), *arrays)


def test_convolution_of_integers_and_of_nothing():
    x, w = np.arange(50).reshape(1, 2, 5, 5), np.arange(-8, 8).reshape(2, 2, 2, 2)
    both(lambda lib, x, w: lib.nn.functional.conv2d(x, w), x, w)
    both(
        lambda lib, x, w: lib.nn.functional.conv2d(x, w),
        draw(0, 2, 4, 4),
        draw(3, 2, 2, 2),
        order=1,
    )


def test_half_precision_sums_in_float32():
    x, w = draw(1, 64, 6, 6, dtype="float32"), draw(2, 64, 3, 3, dtype="float32", seed=1)
    for kind in ("float16", "bfloat16"):
        made = []
        for lib in (torch, danlu):
            dtype = getattr(lib, kind)
            made.append(lib.nn.functional.conv2d(lib.tensor(x).to(dtype), lib.tensor(w).to(dtype)))
        assert str(made[1].dtype) == str(made[0].dtype)
        expected, got = (each.float().numpy() for each in made)
        np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-1)


BLOCKS = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "dilation": (2, 1)},
]


@pytest.mark.parametrize("settings", BLOCKS, ids=str)
def test_unfold_and_fold(settings):
    x = draw(2, 3, 6, 5)
    both(lambda lib, x: lib.nn.functional.unfold(x, **settings), x)
    columns = torch.nn.functional.unfold(torch.tensor(x), **settings).numpy()
    both(lambda lib, c: lib.nn.functional.fold(c, (6, 5), **settings), columns)
    both(lambda lib, c: lib.nn.functional.fold(c, (6, 5), **settings), columns[0])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "amounts", [(1, 2), (2, 0, 1, 1), (-1, 2, 0, -1), (1, 2, 0, 1, 2, 2)], ids=str
)
def test_pad(mode, amounts):
    both(
        lambda lib, x: lib.nn.functional.pad(x, amounts, mode),
        draw(*(2, 3, 4, 5, 4)[-len(amounts) // 2 - 2 :]),
    )


def test_pad_with_values_of_other_types():
    both(lambda lib, x: lib.nn.functional.pad(x, (1, 1), value=7), np.arange(6).reshape(2, 3))
    both(lambda lib, x: lib.nn.functional.pad(x, (1, 0), value=True), np.array([[True, False]]))
    both(lambda lib, x: lib.constant_pad_nd(x, (0, 1, 2, 0), 1.5), draw(2, 2, dtype="complex64"))


RESIZES = [
    ("nearest", 1, {"size": 7}),
    ("nearest", 2, {"scale_factor": (1.7, 0.6)}),
    ("nearest", 3, {"size": (3, 7, 2)}),
    ("nearest-exact", 1, {"scale_factor": 2.5}),
    ("nearest-exact", 2, {"size": (3, 8)}),
    ("linear", 1, {"scale_factor": 1.3}),
    ("linear", 1, {"size": 9, "align_corners": True}),
    ("bilinear", 2, {"scale_factor": 2}),
    ("bilinear", 2, {"scale_factor": 1.6, "recompute_scale_factor": True}),
    ("bilinear", 2, {"size": (3, 2), "align_corners": True}),
    ("bicubic", 2, {"scale_factor": 1.5}),
    ("bicubic", 2, {"size": (7, 3), "align_corners": True}),
    ("trilinear", 3, {"size": (6, 3, 5)}),
    ("trilinear", 3, {"scale_factor": 2, "align_corners": True}),
    ("area", 1, {"size": 3}),
    ("area", 2, {"size": (3, 7)}),
    ("area", 3, {"scale_factor": 0.5}),
]


@pytest.mark.parametrize(("mode", "rank", "settings"), RESIZES, ids=str)
def test_interpolate(mode, rank, settings):
    x = draw(2, 3, *(5, 4, 6)[:rank])
    both(lambda lib, x: lib.nn.functional.interpolate(x, mode=mode, **settings), x)
    both(
        lambda lib, x: lib.nn.functional.interpolate(x, mode=mode, **settings),
        x.astype("float32"),
        order=1,
    )


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, corners, padding_mode):
    settings = {"mode": mode, "align_corners": corners, "padding_mode": padding_mode}
    grid = np.random.default_rng(3).uniform(-1.6, 1.6, (2, 3, 4, 2))
    both(lambda lib, x, g: lib.nn.functional.grid_sample(x, g, **settings), draw(2, 3, 5, 4), grid)
    if mode != "bicubic":
        grid = np.random.default_rng(3).uniform(-1.6, 1.6, (2, 2, 3, 2, 3))
        both(
            lambda lib, x, g: lib.nn.functional.grid_sample(x, g, **settings),
            draw(2, 2, 3, 4, 2),
            grid,
            order=1,
        )


@pytest.mark.parametrize("corners", [False, True])
def test_affine_grid(corners):
    for size in ((2, 1, 3, 4), (2, 1, 3, 1, 2)):
        rank = len(size) - 2
        both(
            lambda lib, theta, size=size: lib.nn.functional.affine_grid(theta, size, corners),
            draw(2, rank, rank + 1),
            order=1,
        )


def test_shuffles():
    x = draw(2, 8, 4, 6)
    both(lambda lib, x: lib.pixel_shuffle(x, 2), x)
    both(lambda lib, x: lib.pixel_unshuffle(x, 2), x)
    both(lambda lib, x: lib.nn.functional.channel_shuffle(x, 4), x)


ERRORS = {
    "channels": lambda F, z: F.conv2d(z(1, 4, 8, 8), z(16, 3, 3, 3)),
    "rank": lambda F, z: F.conv2d(z(8, 8), z(16, 3, 3, 3)),
    "kernel too large": lambda F, z: F.conv2d(z(1, 3, 2, 2), z(16, 3, 3, 3)),
    "bias": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), z(15)),
    "dtype": lambda F, z: F.conv2d(z(1, 3, 8, 8).double(), z(16, 3, 3, 3), z(16)),
    "stride": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), stride=0),
    "strides": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), stride=(1, 2, 3)),
    "padding": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), padding=-1),
    "dilation": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), dilation=0),
    "groups": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), groups=0),
    "same": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), padding="same", stride=2),
    "padding word": lambda F, z: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), padding="foo"),
    "transposed channels": lambda F, z: F.conv_transpose2d(z(1, 2, 8, 8), z(3, 4, 3, 3)),
    "transposed bias": lambda F, z: F.conv_transpose2d(z(1, 3, 8, 8), z(3, 4, 3, 3), z(3)),
    "output padding": lambda F, z: F.conv_transpose2d(
        z(1, 3, 8, 8), z(3, 4, 3, 3), output_padding=1
    ),
    "no block": lambda F, z: F.unfold(z(1, 3, 2, 2), 3),
    "columns": lambda F, z: F.fold(z(1, 12, 11), (4, 5), 2),
    "column rows": lambda F, z: F.fold(z(1, 11, 12), (4, 5), 2),
    "pad length": lambda F, z: F.pad(z(2, 3), (1, 1, 1)),
    "pad rank": lambda F, z: F.pad(z(2, 3), (1, 1, 1, 1, 1, 1)),
    "pad mode": lambda F, z: F.pad(z(2, 3), (1, 1), "foo"),
    "reflect": lambda F, z: F.pad(z(2, 3), (3, 1), "reflect"),
    "reflect rank": lambda F, z: F.pad(z(3), (1, 1), "reflect"),
    "circular": lambda F, z: F.pad(z(2, 3), (4, 1), "circular"),
    "cut": lambda F, z: F.pad(z(2, 3), (-4, 0)),
    "resize": lambda F, z: F.interpolate(z(2, 3, 4)),
    "resize twice": lambda F, z: F.interpolate(z(2, 3, 4), size=3, scale_factor=2),
    "resize sizes": lambda F, z: F.interpolate(z(2, 3, 4), size=(2, 2)),
    "resize mode": lambda F, z: F.interpolate(z(2, 3, 4), size=3, mode="foo"),
    "resize rank": lambda F, z: F.interpolate(z(2, 3, 4), size=3, mode="bilinear"),
    "resize corners": lambda F, z: F.interpolate(z(2, 3, 4), size=3, align_corners=True),
    "shuffle": lambda F, z: F.pixel_shuffle(z(1, 3, 2, 2), 2),
    "unshuffle": lambda F, z: F.pixel_unshuffle(z(1, 3, 3, 2), 2),
    "channel shuffle": lambda F, z: F.channel_shuffle(z(1, 3, 3, 2), 2),
}


@pytest.mark.parametrize("name", ERRORS)
def test_same_errors(name):
    with pytest.raises(Exception) as expected:
        ERRORS[name](torch.nn.functional, torch.zeros)
    with pytest.raises(expected.type) as got:
        ERRORS[name](danlu.nn.functional, danlu.zeros)
    assert type(got.value) is expected.type


LAYERS = {
    "conv": ("Conv2d", (3, 8, 3), {"padding": 1}, (2, 3, 6, 6)),
    "conv same": ("Conv1d", (3, 8, 4), {"padding": "same", "dilation": 2}, (2, 3, 9)),
    "conv reflect": (
        "Conv2d",
        (4, 8, 3),
        {"padding": (2, 1), "padding_mode": "reflect", "groups": 2},
        (4, 6, 6),
    ),
    "conv circular": (
        "Conv1d",
        (3, 2, 4),
        {"padding": "same", "padding_mode": "circular", "bias": False},
        (3, 9),
    ),
    "conv 3d": ("Conv3d", (2, 4, (3, 2, 2)), {"stride": (2, 1, 1)}, (1, 2, 5, 4, 4)),
    "transposed": (
        "ConvTranspose2d",
        (4, 6, 3),
        {"stride": 2, "output_padding": 1, "groups": 2},
        (2, 4, 3, 3),
    ),
    "transposed 1d": ("ConvTranspose1d", (4, 6, 3), {"dilation": 2, "padding": 1}, (2, 4, 5)),
    "lazy": ("LazyConv2d", (6, 3), {"groups": 2}, (2, 4, 6, 6)),
    "lazy transposed": ("LazyConvTranspose1d", (5, 3), {"stride": 2}, (2, 4, 6)),
    "upsample": ("Upsample", (), {"scale_factor": (1.5, 2), "mode": "bilinear"}, (1, 2, 4, 5)),
    "zero pad": ("ZeroPad2d", (1,), {}, (1, 2, 4, 5)),
    "constant pad": ("ConstantPad1d", ((1, 2), 3.5), {}, (1, 2, 4)),
    "circular pad": ("CircularPad3d", (1,), {}, (1, 2, 4, 5, 3)),
    "fold": ("Fold", ((4, 5), 2), {}, (1, 12, 12)),
    "unfold": ("Unfold", ((3, 2),), {"padding": 1}, (1, 2, 4, 4)),
    "shuffle": ("PixelShuffle", (2,), {}, (1, 8, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    title, arguments, options, shape = LAYERS[name]
    layers, outs = [], []
    for lib in (torch, danlu):
        lib.manual_seed(5)
        layer = getattr(lib.nn, title)(*arguments, **options)
        outs.append(layer(lib.tensor(draw(*shape, dtype="float32"))))
        layers.append(layer)
    expected, got = layers
    assert repr(got) == repr(expected)
    assert list(got.state_dict()) == list(expected.state_dict())
    for ours, theirs in zip(got.parameters(), expected.parameters()):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        outs[1].detach().numpy(), outs[0].detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_the_size_of_a_transposed_convolution_can_be_chosen():
    for size in ((10, 9), (2, 5, 10, 9)):
        shapes = []
        for lib in (torch, danlu):
            layer = lib.nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1)
            shapes.append(tuple(layer(lib.zeros(2, 3, 5, 5), output_size=size).shape))
        assert shapes[0] == shapes[1]
    with pytest.raises(ValueError, match="valid sizes range from"):
        danlu.nn.ConvTranspose2d(3, 5, 3)(danlu.zeros(2, 3, 5, 5), output_size=(20, 20))


BAD_LAYERS = {
    "in groups": lambda nn: nn.Conv2d(3, 10, 3, groups=2),
    "out groups": lambda nn: nn.Conv2d(4, 9, 3, groups=2),
    "no groups": lambda nn: nn.Conv2d(4, 9, 3, groups=0),
    "padding": lambda nn: nn.Conv2d(4, 8, 3, padding="foo"),
    "same": lambda nn: nn.Conv2d(4, 8, 3, padding="same", stride=2),
    "mode": lambda nn: nn.Conv2d(4, 8, 3, padding_mode="foo"),
    "transposed mode": lambda nn: nn.ConvTranspose2d(4, 8, 3, padding_mode="reflect"),
}


@pytest.mark.parametrize("name", BAD_LAYERS)
def test_layers_refuse_what_pytorch_refuses(name):
    with pytest.raises(ValueError) as expected:
        BAD_LAYERS[name](torch.nn)
    with pytest.raises(ValueError) as got:
        BAD_LAYERS[name](danlu.nn)
    if name != "mode":
        assert str(got.value).startswith(str(expected.value).partition(", should")[0])
