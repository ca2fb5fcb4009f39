"""Elements by index: arrays as indices, writes into parts of computed arrays, sums by index."""

from __future__ import annotations

import operator
from typing import cast

import numpy as np

from danlu.kernels.embedding import sum_rows
from danlu.kernels.graph.calls import call_out
from danlu.kernels.graph.nodes import ShapeByValue, Unsupported
from danlu.kernels.graph.traced import Traced, apply, convert, lift, reshape

__all__ = ["accumulated", "gather", "largest_at", "picked", "put_along_axis", "updated"]

_BOOL = np.dtype(np.bool_)


def picked(x: Traced, index) -> Traced:
    """`x[index]` with arrays in the index: one element of each row inside the loops, else a call."""
    columns = _columns_of_rows(x, index)
    if columns is not None:
        return reshape(gather(x, columns, 1), x.shape[:1])
    parts = index if isinstance(index, tuple) else (index,)
    if any(getattr(each, "dtype", None) == _BOOL for each in parts):
        raise ShapeByValue("a boolean index, whose result has a shape by value")
    return call_out(x.graph, operator.getitem, (x, index), {}, "getitem")


def updated(x: Traced, index, value: Traced) -> Traced:
    """What `x` is after `x[index] = value`."""
    columns = _columns_of_rows(x, index)
    if columns is not None and value.shape in ((), x.shape[:1]):
        return _put(x, columns, reshape(value, columns.shape) if value.shape else value)
    if isinstance(index, Traced) and index.dtype == _BOOL and index.shape == x.shape:
        if value.shape == ():
            return cast(Traced, np.where(index, value, x))  # type: ignore[call-overload]
    return call_out(x.graph, _with_items, (x, index, value), {}, "with_items", is_fresh=True)


def _with_items(x, index, value):
    made = np.array(x)
    made[index] = value
    return made


def _columns_of_rows(x: Traced, index) -> Traced | None:
    """The (rows, 1) column numbers of the index `[np.arange(rows), columns]`, None of others."""
    if not isinstance(index, tuple) or len(index) != 2 or x.ndim != 2:
        return None
    if not all(isinstance(each, (Traced, np.ndarray)) for each in index):
        return None
    rows, columns = (lift(x.graph, each) for each in index)
    if rows.node.op != "iota" or rows.shape != x.shape[:1] or columns.shape != rows.shape:
        return None
    return reshape(columns, (*columns.shape, 1)) if columns.dtype.kind in "iu" else None


def _put(x: Traced, columns: Traced, value: Traced) -> Traced:
    """Rows of which one element each is another."""
    graph, node = x.graph, convert(x.graph, value.node, x.dtype)
    if x.shape[1] == 1:
        return Traced(graph, graph.make("copy", (node,), x.dtype, x.shape))
    return Traced(graph, graph.make("put", (x.node, columns.node, node), x.dtype, x.shape, 1))


def put_along_axis(x: Traced, indices: Traced, values: Traced, axis) -> Traced:
    """What `x` is after `np.put_along_axis`."""
    if x.ndim == 2 and axis in (1, -1) and indices.shape == (len(x), 1):
        if values.shape in ((), (1, 1), indices.shape):
            return _put(x, indices, values)
    return call_out(x.graph, _with_put, (x, indices, values, axis), {}, "with_put", is_fresh=True)


def _with_put(x, indices, values, axis):
    made = np.array(x)
    np.put_along_axis(made, indices, values, axis)
    return made


def gather(x: Traced, indices: Traced, axis: int) -> Traced:
    """`np.take_along_axis` with one index along the axis; indices outside the axis are moved to
    its ends (NumPy raises), negative ones count from its end."""
    axis %= x.ndim
    expected = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
    if indices.shape != expected or indices.dtype.kind not in "iu":
        raise Unsupported("indices of another shape")
    node = x.graph.make("gather", (x.node, indices.node), x.dtype, expected, axis)
    return Traced(x.graph, node)


def accumulated(ufunc, x: np.ndarray, indices, *values) -> np.ndarray:
    """`x` after `ufunc.at(x, indices, *values)`; sums of rows by index in machine code."""
    if (
        ufunc is np.add
        and isinstance(indices, np.ndarray)
        and indices.dtype.kind == "i"
        and x.dtype == values[0].dtype
        and values[0].shape == indices.shape + x.shape[1:]
        and indices.size
        and indices.min() >= 0
        and indices.max() < len(x)
    ):
        return x + sum_rows(values[0], indices, len(x))
    made = np.array(x)
    ufunc.at(made, indices, *values)
    return made


def largest_at(x: Traced, axis, keepdims: bool, name: str) -> Traced:
    """`argmax` and `argmin`: the first of the elements that are equal to the extreme one.

    While a row is in the cache for its maximum, its numbers of equal elements (or of NaN, where
    there is one) are reduced as well.
    """
    graph, rank = x.graph, x.ndim
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis %= x.ndim
    length = x.shape[axis]
    if length >= 1 << 31:
        raise Unsupported(f"{name} over {length} elements")
    extreme = getattr(x, "max" if name == "argmax" else "min")(axis=axis, keepdims=True)
    found = apply(graph, np.equal, (x, extreme))
    if x.dtype.kind not in "biu":
        found = apply(graph, np.logical_or, (found, apply(graph, np.isnan, (x,))))
    shape = tuple(length if i == axis else 1 for i in range(x.ndim))
    numbers = Traced(graph, graph.make("iota", (), np.dtype(np.int32), shape, axis))
    first = np.where(found, numbers, np.int32(length)).min(axis=axis, keepdims=True)
    first = first.astype(np.int64)
    if keepdims:
        return reshape(first, (1,) * rank if x.ndim != rank else first.shape)
    return reshape(first, tuple(n for i, n in enumerate(x.shape) if i != axis))
