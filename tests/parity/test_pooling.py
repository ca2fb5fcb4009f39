"""Pooling against PyTorch: values, places, gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
import danlu.nn.functional

torch = pytest.importorskip("torch")


def both(run, *arrays, order=2):
    """Compare values, dtypes, gradients and (order 2) gradients of gradients of `run(lib,
    *tensors)`."""
    seen = []
    for lib in (torch, danlu):
        tensors = [lib.tensor(a) for a in arrays]
        leaves = [t.requires_grad_() for t in tensors if t.is_floating_point()]
        out = run(lib, *tensors)
        found = list(out) if isinstance(out, (tuple, list)) else [out]
        first = found[0]
        if first.requires_grad:
            weights = np.cos(np.arange(first.numel())).reshape(tuple(first.shape))
            weights = lib.tensor(weights.astype(arrays[0].dtype)).requires_grad_()
            grads = lib.autograd.grad(first, leaves, weights, create_graph=order == 2)
            found += grads
            if order == 2:
                total = sum((g * g.detach().sin()).sum() for g in grads)
                found += lib.autograd.grad(total, [weights])
        seen.append([(str(t.dtype)[6:], t.detach().numpy()) for t in found])
    for (dtype, expected), (got_dtype, got) in zip(*seen, strict=True):
        assert got_dtype == dtype
        assert got.shape == expected.shape
        close = 1e-9 if expected.dtype.itemsize == 8 else 1e-5
        np.testing.assert_allclose(got, expected, rtol=close, atol=close)


def draw(*shape, dtype="float64", ties=False):
    values = np.random.default_rng(0).standard_normal(shape)
    return (np.round(values) if ties else values).astype(dtype)


WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True, "padding": 1},
]
SIZES = (7, 8, 5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("settings", [*WINDOWS, {"kernel_size": 2, "dilation": 2}], ids=str)
def test_max_pool(settings, rank, ties):
    x = draw(2, 3, *SIZES[:rank], ties=ties)
    pool = f"max_pool{rank}d"
    both(lambda lib, x: getattr(lib.nn.functional, pool)(x, **settings), x)
    both(lambda lib, x: getattr(lib.nn.functional, pool)(x, **settings, return_indices=True), x)
    both(lambda lib, x: getattr(lib.nn.functional, pool)(x, **settings), x[0].astype("float32"))


@pytest.mark.parametrize("special", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("settings", WINDOWS, ids=str)
def test_max_pool_of_special_values(settings, special):
    x = draw(1, 2, 7, 8)
    x[0, 0, 1:4, 2:5] = special
    x[0, 1] = special
    both(
        lambda lib, x: lib.nn.functional.max_pool2d(x, **settings, return_indices=True), x, order=1
    )
    both(lambda lib, x: lib.nn.functional.max_pool2d(x, **settings), x, order=1)


def test_an_infinite_gradient_reaches_the_maximum_alone():
    grads = []
    for lib in (torch, danlu):
        x = lib.tensor(draw(1, 4, 4)).requires_grad_()
        lib.nn.functional.max_pool2d(x, 2).backward(lib.full((1, 2, 2), float("inf")).double())
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(*grads)


def test_max_pool_of_integers():
    x = np.arange(-8, 8).reshape(1, 4, 4)
    both(lambda lib, x: lib.nn.functional.max_pool2d(x, 3, 1, 1, return_indices=True), x)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        *WINDOWS,
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True, "count_include_pad": False},
    ],
    ids=str,
)
def test_avg_pool(settings, rank):
    x = draw(2, 3, *SIZES[:rank])
    both(lambda lib, x: getattr(lib.nn.functional, f"avg_pool{rank}d")(x, **settings), x)
    if rank > 1:
        both(
            lambda lib, x: getattr(lib.nn.functional, f"avg_pool{rank}d")(
                x, **settings, divisor_override=3
            ),
            x[0].astype("float32"),
        )


def test_avg_pool_of_integers_rounds_as_pytorch_does():
    both(lambda lib, x: lib.nn.functional.avg_pool2d(x, 2), np.arange(-8, 8).reshape(1, 4, 4))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lp_pool(rank):
    x = np.abs(draw(2, 3, *SIZES[:rank])) + 0.1
    both(lambda lib, x: getattr(lib.nn.functional, f"lp_pool{rank}d")(x, 3.0, 2), x)
    both(lambda lib, x: getattr(lib.nn.functional, f"lp_pool{rank}d")(x, 2, 3, stride=2), x)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 7, (3, None, 1)], ids=str)
def test_adaptive_pools(size, rank):
    wanted = size[:rank] if isinstance(size, tuple) else size
    if rank == 1 and isinstance(wanted, tuple):
        wanted = list(wanted)
    x = draw(2, 3, *SIZES[:rank])
    for kind in ("avg", "max"):
        pool = f"adaptive_{kind}_pool{rank}d"
        both(lambda lib, x, pool=pool: getattr(lib.nn.functional, pool)(x, wanted), x)
    both(lambda lib, x: getattr(lib.nn.functional, pool)(x, wanted, return_indices=True), x[0])


def test_adaptive_average_keeps_infinities_where_they_are():
    x = draw(1, 1, 7)
    x[0, 0, 2] = np.inf
    both(lambda lib, x: lib.nn.functional.adaptive_avg_pool1d(x, 4), x, order=1)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool(rank):
    x = torch.tensor(draw(2, 3, *(4, 6, 4)[:rank]))
    values, places = getattr(torch.nn.functional, f"max_pool{rank}d")(x, 2, return_indices=True)
    both(
        lambda lib, v, i: getattr(lib.nn.functional, f"max_unpool{rank}d")(v, i, 2),
        values.numpy(), places.numpy(),
    )  # fmt: skip


def test_max_unpool_to_a_wanted_size():
    x = torch.tensor(draw(1, 1, 5, 5))
    values, places = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    both(
        lambda lib, v, i: lib.nn.functional.max_unpool2d(v, i, 2, output_size=(1, 1, 5, 5)),
        values.numpy(), places.numpy(),
    )  # fmt: skip


@pytest.mark.parametrize("rank", [2, 3])
def test_fractional_pools_with_given_samples(rank):
    x = draw(2, 3, *(7, 9, 8)[:rank])
    samples = np.random.default_rng(1).random((2, 3, rank))
    results = []
    for lib in (torch, danlu):
        t = lib.tensor(x).requires_grad_()
        values, places = getattr(lib.nn.functional, f"fractional_max_pool{rank}d")(
            t, 2, output_size=3, return_indices=True, _random_samples=lib.tensor(samples)
        )
        values.sin().sum().backward()
        results.append((values.detach().numpy(), places.numpy(), t.grad.numpy()))
    for expected, got in zip(*results):
        np.testing.assert_allclose(got, expected)


def test_fractional_pools_draw_pytorchs_numbers():
    results = []
    for lib in (torch, danlu):
        lib.manual_seed(3)
        x = lib.tensor(draw(2, 3, 7, 9, dtype="float32"))
        results.append(
            lib.nn.functional.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.4)).numpy()
        )
    np.testing.assert_array_equal(*results)


ERRORS = {
    "max padding": lambda F, z: F.max_pool2d(z(1, 3, 8, 8), 2, padding=2),
    "max rank": lambda F, z: F.max_pool2d(z(8, 8), 2),
    "max rank 1d": lambda F, z: F.max_pool1d(z(8), 2),
    "max too small": lambda F, z: F.max_pool2d(z(1, 3, 2, 2), 3),
    "max bool": lambda F, z: F.max_pool2d(z(1, 3, 2, 2).bool(), 2),
    "max long": lambda F, z: F.max_pool1d(z(1, 2, 2).long(), 2),
    "max kernel": lambda F, z: F.max_pool2d(z(1, 3, 8, 8), 0),
    "max stride": lambda F, z: F.max_pool2d(z(1, 3, 8, 8), 2, stride=0),
    "max dilation": lambda F, z: F.max_pool2d(z(1, 3, 8, 8), 2, dilation=0),
    "max channels": lambda F, z: F.max_pool2d(z(1, 0, 8, 8), 2),
    "max numbers": lambda F, z: F.max_pool2d(z(1, 3, 8, 8), (2, 2, 2)),
    "avg padding": lambda F, z: F.avg_pool2d(z(1, 3, 8, 8), 2, padding=2),
    "avg divisor": lambda F, z: F.avg_pool2d(z(1, 3, 8, 8), 2, divisor_override=0),
    "avg too small": lambda F, z: F.avg_pool2d(z(1, 3, 2, 2), 3),
    "avg rank": lambda F, z: F.avg_pool1d(z(1, 3, 2, 2), 3),
    "adaptive rank": lambda F, z: F.adaptive_avg_pool2d(z(8, 8), 2),
    "adaptive negative": lambda F, z: F.adaptive_avg_pool2d(z(1, 8, 8), -2),
    "adaptive long": lambda F, z: F.adaptive_avg_pool2d(z(1, 8, 8).long(), 2),
    "adaptive numbers": lambda F, z: F.adaptive_avg_pool2d(z(1, 8, 8), (2, 2, 2)),
    "adaptive max numbers": lambda F, z: F.adaptive_max_pool2d(z(1, 8, 8), (2, 2, 2)),
    "adaptive max rank": lambda F, z: F.adaptive_max_pool2d(z(8, 8), (2, 2)),
    "unpool place": lambda F, z: F.max_unpool2d(z(1, 1, 2, 2), z(1, 1, 2, 2).long() + 99, 2),
    "unpool shape": lambda F, z: F.max_unpool2d(z(1, 1, 2, 2), z(1, 1, 2, 3).long(), 2),
    "unpool size": lambda F, z: F.max_unpool2d(
        z(1, 1, 2, 2), z(1, 1, 2, 2).long(), 2, output_size=(9, 9)
    ),
    "fractional": lambda F, z: F.fractional_max_pool2d(z(1, 1, 5, 5), 2),
    "fractional size": lambda F, z: F.fractional_max_pool2d(z(1, 1, 5, 5), 2, output_size=5),
}


@pytest.mark.parametrize("name", ERRORS)
def test_same_errors(name):
    with pytest.raises(Exception) as expected:
        ERRORS[name](torch.nn.functional, torch.zeros)
    with pytest.raises(expected.type) as got:
        ERRORS[name](danlu.nn.functional, danlu.zeros)
    assert type(got.value) is expected.type


LAYERS = {
    "max": ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 6, 6)),
    "max 1d": ("MaxPool1d", (2,), {"ceil_mode": True, "dilation": 2}, (2, 3, 9)),
    "avg": ("AvgPool2d", ((2, 3),), {"count_include_pad": False, "padding": 1}, (2, 3, 6, 6)),
    "avg 1d": ("AvgPool1d", (2,), {}, (2, 3, 9)),
    "avg 3d": ("AvgPool3d", (2,), {"divisor_override": 3}, (2, 3, 4, 4, 4)),
    "lp": ("LPPool2d", (2, 3), {"stride": 2}, (2, 3, 6, 6)),
    "adaptive avg": ("AdaptiveAvgPool2d", ((2, None),), {}, (2, 3, 6, 6)),
    "adaptive max": ("AdaptiveMaxPool1d", (2,), {}, (2, 3, 6)),
    "fractional": ("FractionalMaxPool2d", (2,), {"output_size": 3}, (2, 3, 6, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    title, arguments, options, shape = LAYERS[name]
    outs, reprs = [], []
    for lib in (torch, danlu):
        lib.manual_seed(0)
        layer = getattr(lib.nn, title)(*arguments, **options)
        outs.append(layer(lib.tensor(draw(*shape, dtype="float32"))).numpy())
        reprs.append(repr(layer))
    assert reprs[0] == reprs[1]
    np.testing.assert_allclose(outs[1], outs[0], rtol=1e-5, atol=1e-6)


def test_unpooling_layer():
    outs, reprs = [], []
    for lib in (torch, danlu):
        pool, unpool = lib.nn.MaxPool2d(2, return_indices=True), lib.nn.MaxUnpool2d(2)
        outs.append(unpool(*pool(lib.tensor(draw(2, 3, 4, 4)))).numpy())
        reprs.append(repr(unpool))
    assert reprs[0] == reprs[1]
    np.testing.assert_array_equal(*outs)
