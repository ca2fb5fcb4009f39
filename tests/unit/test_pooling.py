"""Pooling by its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

import danlu
import danlu.nn.functional as F
from danlu.kernels import pooling as kernels


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


SETTINGS = [
    # kernel, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 2), (1, 2), (1, 1), (1, 1), False),
    ((3, 3), (2, 3), (1, 0), (1, 2), True),
]


def windows_of(place, kernel, stride, padding, dilation, sizes):
    """The coordinates inside the input that one window reads."""
    ranges = [
        [c for c in range(p * s - q, p * s - q + d * k, d) if 0 <= c < size]
        for p, k, s, q, d, size in zip(place, kernel, stride, padding, dilation, sizes)
    ]
    return np.ix_(*ranges)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_maxima_and_their_places_are_the_definition(settings):
    *shape, ceil_mode = settings
    x = np.round(draw(4, 7, 8))  # with ties
    positions = kernels.pooled_sizes((7, 8), *shape, ceil_mode)
    values = kernels.max_pool(x, positions, *shape)
    places = kernels.max_pool_indices(x, values, *shape)
    for plane in range(4):
        for place in np.ndindex(*positions):
            rows, columns = windows_of(place, *shape, (7, 8))
            window = x[plane][rows, columns]
            first = np.unravel_index(window.argmax(), window.shape)
            expected = rows[first[0], 0] * 8 + columns[0, first[1]]
            assert values[(plane, *place)] == window.max()
            assert places[(plane, *place)] == expected
    g = draw(*values.shape, seed=1)
    np.testing.assert_allclose(
        kernels.max_pool_input(g, x, values, *shape), kernels.scatter_plane(g, places, (7, 8))
    )


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=str)
def test_sums_of_windows_and_their_adjoint(settings):
    kernel, stride, padding, dilation, _ = settings
    x = draw(4, 7, 8)
    positions = kernels.pooled_sizes((7, 8), *settings)
    sums = kernels.window_sums(x, positions, kernel, stride, padding)
    place = (1, 2)
    rows, columns = windows_of(place, kernel, stride, padding, dilation, (7, 8))
    assert np.allclose(sums[(slice(None), *place)], x[:, rows, columns].sum(axis=(1, 2)))
    g = draw(*sums.shape, seed=1)
    spread = kernels.spread_windows(g, (7, 8), kernel, stride, padding)
    assert math.isclose((g * sums).sum(), (spread * x).sum())


def test_equal_maxima_send_their_gradient_to_the_first():
    x = danlu.zeros(1, 2, 2, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]


def test_overlapping_windows_add_their_gradients():
    x = danlu.tensor([[1.0, 5.0, 2.0]], requires_grad=True)
    F.max_pool1d(x, 2, stride=1).sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0, 0.0]]


def test_padding_never_wins_a_maximum_and_may_count_in_a_mean():
    x = danlu.full((1, 1, 2), -3.0)
    assert F.max_pool1d(x, 2, stride=1, padding=1).tolist() == [[[-3.0, -3.0, -3.0]]]
    assert F.avg_pool1d(x, 2, stride=1, padding=1).tolist() == [[[-1.5, -3.0, -1.5]]]
    alone = F.avg_pool1d(x, 2, stride=1, padding=1, count_include_pad=False)
    assert alone.tolist() == [[[-3.0, -3.0, -3.0]]]


def test_adaptive_windows_cover_everything():
    for size in range(1, 9):
        for count in range(1, 9):
            table, lengths = kernels.adaptive_table(np, size, count)
            seen = {int(c) for row, n in zip(table, lengths) for c in row[:n]}
            assert seen == set(range(size))


def test_any_image_becomes_one_number_a_channel():
    pool = danlu.nn.AdaptiveAvgPool2d(1)
    assert pool(danlu.ones(2, 5, 7, 3)).tolist() == [[[[1.0]]] * 5] * 2


def test_unpooling_puts_maxima_back():
    x = danlu.arange(16.0).reshape(1, 4, 4)
    values, places = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(values, places, 2)
    np.testing.assert_array_equal(back.numpy() != 0, np.isin(x.numpy(), [5, 7, 13, 15]))


def test_a_pool_over_an_empty_batch():
    assert F.max_pool2d(danlu.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    assert F.avg_pool2d(danlu.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)


def test_windows_larger_than_the_image_are_refused():
    with pytest.raises(RuntimeError, match=r"Given input size: \(3x2x2\)"):
        danlu.nn.MaxPool2d(3)(danlu.zeros(1, 3, 2, 2))
