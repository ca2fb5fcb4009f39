"""Convolution, sliding blocks, padding and resampling by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

import danlu
import danlu.nn.functional as F
from danlu.kernels import convolution as kernels
from danlu.kernels import resampling


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def by_definition(x, weight, stride, padding, dilation, groups):
    """One window after the other."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    positions = kernels.output_sizes(
        x.shape[2:], weight.shape[2:], stride, ((0, 0),) * len(stride), dilation
    )
    out = np.zeros((x.shape[0], weight.shape[0], *positions))
    per_group = weight.shape[0] // groups
    for o in range(weight.shape[0]):
        first = o // per_group * weight.shape[1]
        for place in np.ndindex(*positions):
            window = tuple(
                slice(p * s, p * s + d * (k - 1) + 1, d)
                for p, s, d, k in zip(place, stride, dilation, weight.shape[2:])
            )
            part = x[(slice(None), slice(first, first + weight.shape[1]), *window)]
            out[(slice(None), o, *place)] = (part * weight[o]).sum(axis=tuple(range(1, x.ndim)))
    return out


CASES = [
    # channels, out, sizes, kernel, stride, padding, dilation, groups
    (1, 3, (7,), (3,), (1,), ((0, 0),), (1,), 1),
    (20, 3, (7, 6), (3, 2), (1, 1), ((1, 0), (2, 1)), (1, 1), 1),
    (2, 4, (8, 9), (3, 3), (2, 3), ((1, 1), (1, 1)), (1, 2), 1),
    (4, 8, (5, 5), (3, 3), (1, 1), ((2, 2), (2, 2)), (2, 1), 4),
    (6, 4, (5, 6), (2, 3), (2, 1), ((0, 1), (1, 0)), (1, 1), 2),
    (16, 5, (4, 5, 4), (2, 3, 2), (1, 2, 1), ((1, 1), (0, 0), (1, 0)), (1, 1, 2), 1),
    (8, 5, (4, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
]


@pytest.mark.parametrize("chunk_bytes", [1 << 21, 1000])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_are_the_definition_and_its_adjoints(case, chunk_bytes, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK_BYTES", chunk_bytes)
    channels, outs, sizes, kernel, *settings = case
    x = draw(3, channels, *sizes)
    weight = draw(outs, channels // settings[-1], *kernel, seed=1)
    out = kernels.convolve(x, weight, *settings)
    np.testing.assert_allclose(out, by_definition(x, weight, *settings), atol=1e-12)
    g = draw(*out.shape, seed=2)
    g_x = kernels.convolve_input(g, weight, sizes, *settings)
    g_w = kernels.convolve_weight(g, x, kernel, *settings)
    # <g, conv(x, w)> = <conv_input(g, w), x> = <conv_weight(g, x), w>
    assert g_x.shape == x.shape
    assert math.isclose((g * out).sum(), (g_x * x).sum())
    assert math.isclose((g * out).sum(), (g_w * weight).sum())
    for array in (out, g_x, g_w):
        assert array.flags.c_contiguous


@pytest.mark.parametrize("gather_below", [0, math.inf])
def test_both_ways_to_the_gradient_of_the_input(gather_below, monkeypatch):
    g, weight = draw(2, 6, 5, 4), draw(6, 3, 3, 2, seed=1)
    settings = ((1, 1), ((1, 1), (0, 1)), (1, 1), 1)
    expected = kernels.convolve_input(g, weight, (5, 4), *settings)
    monkeypatch.setattr(kernels, "GATHER_BELOW", gather_below)
    np.testing.assert_allclose(kernels.convolve_input(g, weight, (5, 4), *settings), expected)


def test_unfold_and_fold_are_adjoint():
    settings = ((2, 3), (2, 1), ((1, 0), (1, 1)), (1, 2))
    x = draw(2, 3, 6, 7)
    columns = kernels.unfold(x, *settings)
    other = draw(*columns.shape, seed=1)
    assert math.isclose((columns * other).sum(), (kernels.fold(other, (6, 7), *settings) * x).sum())


@pytest.mark.parametrize(
    "table",
    [
        resampling.averages(7, 3),
        resampling.averages(3, 7),
        resampling.nearest(5, 8, None, False),
        resampling.linear(5, 9, 1.8, False, "float64"),
        resampling.cubic(6, 4, None, True, "float64"),
        resampling.surroundings(5, 2, 3, "reflect"),
        resampling.surroundings(5, -1, 2, "circular"),
        resampling.surroundings(5, 2, -3, "replicate"),
    ],
)
def test_resampling_tables_have_adjoints(table):
    x = draw(2, table.size, 3)
    out = resampling.resample(x, (table, None))
    g = draw(*out.shape, seed=1)
    back = resampling.resample(g, (table.adjoint, None))
    assert back.shape == x.shape
    assert math.isclose((g * out).sum(), (back * x).sum())


def test_a_difference_filter_finds_an_edge():
    image = danlu.zeros(1, 1, 3, 4)
    image[..., 2:] = 1.0
    edges = F.conv2d(image, danlu.tensor([[[[-1.0, 1.0]]]]))
    assert edges.tolist() == [[[[0.0, 1.0, 0.0]] * 3]]


def test_same_padding_keeps_sizes_and_puts_the_odd_zero_last():
    x, w = danlu.ones(1, 1, 4), danlu.ones(1, 1, 4)
    assert F.conv1d(x, w, padding="same").tolist() == [[[3.0, 4.0, 3.0, 2.0]]]


def test_transposed_convolution_draws_the_kernel():
    kernel = danlu.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    impulse = danlu.zeros(1, 1, 2, 2)
    impulse[0, 0, 1, 0] = 2.0
    out = F.conv_transpose2d(impulse, kernel, stride=2)
    expected = np.zeros((4, 4))
    expected[2:, :2] = [[2, 4], [6, 8]]
    np.testing.assert_array_equal(out[0, 0].numpy(), expected)


def test_results_are_contiguous_and_can_be_viewed():
    x = danlu.rand(3, 16, 4, 4)
    assert danlu.nn.Conv2d(16, 2, 3)(x).view(3, -1).shape == (3, 8)
    assert danlu.nn.MaxPool2d(2)(x).view(3, -1).shape == (3, 64)


def test_gradients_are_recorded_for_what_asks_for_them_alone():
    layer = danlu.nn.Conv2d(2, 3, 2)
    layer.weight.requires_grad_(False)
    x = danlu.rand(1, 2, 4, 4)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [9.0, 9.0, 9.0]
    assert x.grad is None


def test_an_error_names_the_layer_and_what_it_expects():
    net = danlu.nn.Sequential(danlu.nn.Conv2d(1, 4, 3), danlu.nn.Conv2d(8, 2, 3))
    with pytest.raises(RuntimeError, match="to have 8 channels, but got 4 channels") as caught:
        net(danlu.zeros(2, 1, 8, 8))
    notes = "\n".join(getattr(caught.value, "__notes__", [str(caught.value)]))
    assert "in_channels=8" in notes
    assert "(2, 4, 6, 6)" in notes


def test_images_without_channels_are_refused_with_both_ranks():
    with pytest.raises(RuntimeError, match=r"3D \(unbatched\) or 4D \(batched\) input to conv2d"):
        danlu.nn.Conv2d(1, 4, 3)(danlu.zeros(8, 8))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda nn: nn.Conv2d(3, 10, 3, groups=2), "in_channels must be divisible by groups"),
        (lambda nn: nn.Conv2d(4, 9, 3, groups=2), "out_channels must be divisible by groups"),
        (lambda nn: nn.Conv2d(4, 8, 3, padding="all"), "Invalid padding string 'all'"),
        (lambda nn: nn.ConvTranspose2d(4, 8, 3, padding_mode="reflect"), 'Only "zeros"'),
    ],
)
def test_layers_refuse_settings(build, message):
    with pytest.raises(ValueError, match=message):
        build(danlu.nn)


def test_antialiasing_is_refused_clearly():
    with pytest.raises(NotImplementedError, match="antialias"):
        F.interpolate(danlu.zeros(1, 1, 4, 4), size=2, mode="bilinear", antialias=True)
