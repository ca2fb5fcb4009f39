"""Separable linear resampling: interpolation and averaging, one dimension after the other.

What a mode does to a dimension is a `Table`: for every output element, which input elements it
reads and with
which weights. The adjoint of a table is a table, so that gradients are resampling too.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from danlu.kernels.graph.library import node
from danlu.kernels.pooling import adaptive_table

CUBIC = -0.75  # Keys 1981, with the slope at 1 that OpenCV and PyTorch chose


class Table:
    """Output element o of a dimension is the sum over t of ``weights[o, t] * input[sources[o,
    t]]``.

    `weights` of None are ones; `lengths[o]` of the columns t count; `size` is the number of input
    elements.
    """

    __slots__ = ("_adjoint", "lengths", "size", "sources", "weights")

    def __init__(self, sources, weights, size, lengths=None):
        self.sources = sources
        self.weights = weights
        self.size = size
        self.lengths = np.full(len(sources), sources.shape[1]) if lengths is None else lengths
        self._adjoint = None

    @property
    def adjoint(self) -> Table:
        """The table of the transposed map."""
        if self._adjoint is None:
            counted = np.arange(self.sources.shape[1]) < self.lengths[:, None]
            rows = np.broadcast_to(np.arange(len(self.sources))[:, None], self.sources.shape)[
                counted
            ]
            columns = self.sources[counted]
            order = np.argsort(columns, kind="stable")
            columns = columns[order]
            lengths = np.bincount(columns, minlength=self.size)
            number = np.arange(len(columns)) - (np.cumsum(lengths) - lengths)[columns]
            shape = (self.size, max(int(lengths.max(initial=0)), 1))
            sources = np.zeros(shape, dtype=np.int64)
            sources[columns, number] = rows[order]
            weights = None
            if self.weights is not None:
                weights = np.zeros(shape)
                weights[columns, number] = self.weights[counted][order]
            self._adjoint = Table(sources, weights, len(self.sources), lengths)
            self._adjoint._adjoint = self
        return self._adjoint


def _resampled(x, tables):
    if all(table is None for table in tables):
        return None
    before = len(x.shape) - len(tables)
    found = [size if table is None else len(table.sources)
             for size, table in zip(x.shape[before:], tables)]  # fmt: skip
    return (*x.shape[:before], *found), x.dtype


@node(like=_resampled)
def resample(x, tables):
    """`x` with the last dimensions resampled, one table a dimension; None leaves it as it is."""
    xp = x.__array_namespace__()
    kind = x.dtype
    if kind.itemsize == 2 and kind.kind not in "iu":
        x = x.astype("float32")
    for axis, table in zip(range(x.ndim - len(tables), x.ndim), tables):
        if table is not None:
            x = _along(xp, x, table, axis)
    return x.astype(kind, copy=False)


def _along(xp, x, table, axis):
    after = (1,) * (x.ndim - axis - 1)
    total = None
    for column in range(table.sources.shape[1]):
        term = xp.take(x, table.sources[:, column], axis=axis)
        if table.weights is not None:
            term *= table.weights[:, column].astype(x.real.dtype).reshape(-1, *after)
        absent = table.lengths <= column
        if absent.any():  # not times zero, which keeps infinities
            term[(slice(None),) * axis + (absent,)] = 0
        if total is None:
            total = term
        else:
            total += term
    return total


@lru_cache(maxsize=256)
def averages(size: int, count: int) -> Table:
    """Adaptive average pooling of `size` elements to `count` windows."""
    sources, lengths = adaptive_table(np, size, count)
    weights = np.broadcast_to(1 / lengths[:, None], sources.shape)
    return Table(sources, weights, size, lengths)


@lru_cache(maxsize=256)
def surroundings(size: int, before: int, after: int, mode: str) -> Table:
    """Padding by what is there: "reflect", "replicate" or "circular"; negative numbers cut."""
    places = np.arange(-before, size + after)
    if mode == "replicate":
        places = np.clip(places, 0, size - 1)
    elif mode == "circular":
        kept = np.arange(max(-before, 0), size - max(-after, 0))
        places = kept[np.arange(-max(before, 0), len(kept) + max(after, 0)) % len(kept)]
    else:
        places = np.abs(places)
        places = np.where(places >= size, 2 * (size - 1) - places, places)
    return Table(places[:, None], None, size)


@lru_cache(maxsize=256)
def nearest(size: int, count: int, scale: float | None, exact: bool) -> Table:
    """Every output element copies one input element, found by rounding down or (`exact`) from the
    centre."""
    step = _step(size, count, scale, np.float32)
    places = np.arange(count, dtype=np.float32) + np.float32(0.5 if exact else 0)
    sources = np.minimum(np.floor(places * step).astype(np.int64), size - 1)
    return Table(sources[:, None], None, size)


@lru_cache(maxsize=256)
def linear(size: int, count: int, scale: float | None, align_corners: bool, dtype: str) -> Table:
    """Every output element lies on the line between two input elements."""
    places = np.maximum(_places(size, count, scale, align_corners, dtype), 0)
    left = np.minimum(places.astype(np.int64), size - 1)
    right = np.minimum(left + 1, size - 1)
    share = np.clip(places - left, 0, 1)
    return Table(np.stack((left, right), axis=1), np.stack((1 - share, share), axis=1), size)


@lru_cache(maxsize=256)
def cubic(size: int, count: int, scale: float | None, align_corners: bool, dtype: str) -> Table:
    """Every output element lies on a cubic through four input elements (Keys 1981)."""
    places = _places(size, count, scale, align_corners, dtype)
    left = np.floor(places)
    t = places - left
    sources = np.clip(left.astype(np.int64)[:, None] + np.arange(-1, 3), 0, size - 1)
    near = [((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1 for d in (t, 1 - t)]
    far = [((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC for d in (1 + t, 2 - t)]
    return Table(sources, np.stack((far[0], near[0], near[1], far[1]), axis=1), size)


def _step(size, count, scale, dtype):
    """Input elements per output element."""
    return dtype(1 / scale) if scale is not None and scale > 0 else dtype(size) / dtype(count)


def _places(size, count, scale, align_corners, dtype):
    """Where output elements lie among the input elements."""
    kind = np.dtype(dtype).type
    numbers = np.arange(count, dtype=kind)
    if align_corners:
        return numbers * (kind(size - 1) / kind(count - 1) if count > 1 else kind(0))
    return (numbers + kind(0.5)) * _step(size, count, scale, kind) - kind(0.5)
