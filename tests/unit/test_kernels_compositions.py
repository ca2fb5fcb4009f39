"""Ufuncs that are composed of others, and sums of parts that become one concatenation."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.kernels import kernel
from danlu.kernels.graph.compositions import COMPOSITIONS
from danlu.kernels.graph.simplify import live, simplify
from danlu.kernels.graph.traced import trace

pytest.importorskip("llvmlite")

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30, 88.0, -88.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ufunc", COMPOSITIONS, ids=lambda ufunc: ufunc.__name__)
def test_compositions_are_the_ufuncs(ufunc, dtype):
    noise = np.random.default_rng(0)
    x = np.concatenate([np.repeat(SPECIAL, len(SPECIAL)), noise.standard_normal(2000) * 10])
    y = np.concatenate([np.tile(SPECIAL, len(SPECIAL)), noise.standard_normal(2000) * 10])
    arguments = [each.astype(dtype) for each in (x, y)][: ufunc.nin]
    with np.errstate(all="ignore"):
        expected = ufunc(*arguments)
    found = kernel(lambda *given: ufunc(*given), least=1)(*arguments)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps, atol=0)


def apart(values, before, after):
    """Values with zeros around them."""
    parts = [np.zeros(before, np.float32), values, np.zeros(after, np.float32)]
    return np.concatenate([each for each in parts if len(each)])


def summed(*pieces):
    """The sum of pieces (length, zeros before, zeros after), as a graph and by its nodes."""
    arguments = [np.arange(1.0, n + 1, dtype=np.float32) for n, _, _ in pieces]

    def add(*given):
        first, *others = (apart(x, before, after) for x, (_, before, after) in zip(given, pieces))
        return sum(others, first)

    graph, result = trace(add, arguments)
    graph, results = simplify(graph, [result.node])
    found = kernel(add, least=1)(*arguments)
    np.testing.assert_array_equal(found, add(*arguments))
    return [node.op for node in live(graph, results)]


def test_parts_of_a_whole_are_joined_and_not_added():
    ops = summed((3, 0, 5), (3, 3, 2), (2, 6, 0))
    assert "add" not in ops and ops.count("concatenate") == 1 and ops.count("part") == 3
    assert "add" not in summed((3, 1, 4), (2, 5, 1))


def test_parts_that_overlap_are_added():
    assert "add" in summed((4, 0, 4), (4, 2, 2))
    assert "add" in summed((4, 0, 4), (4, 0, 4))
