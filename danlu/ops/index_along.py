"""Reading and writing whole slices along one dimension, and copies with a part replaced."""

from __future__ import annotations

import numpy as np

from danlu.ops.checks import by_value
from danlu.ops.indexing import assigned, check_positions, parsed, picked, picked_zeros
from danlu.ops.inplace import publish_inplace
from danlu.ops.parts import diagonal
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, composite, operator, scalar_name, write_out
from danlu.ops.scatter import need_index, scatter_reduce
from danlu.tensor import Tensor, wrap

__all__ = [
    "diagonal_scatter", "index_add", "index_copy", "index_fill", "index_put", "index_reduce",
    "index_select",
    "put", "select_scatter", "slice_scatter", "take", "unravel_index",
]  # fmt: skip


@operator(method=False, name="IndexSelect")
def _index_select(input: Array, index, dim):
    return np.take(input, index, axis=dim)


@_index_select.vjp
def _(g, input_shape, index, dim):
    return picked_zeros.on(g, input_shape, (slice(None),) * dim + (index,))


@by_value()
def _check_range(positions, dim, size):
    low, high = positions.min(), positions.max()
    if low < 0 or high >= size:
        raise IndexError(
            f"index {int(low if low < 0 else high)} is out of bounds for dimension {dim} "
            f"with size {size}"
        )


@composite(method=True)
def index_select(input, dim, index, *, out=None):
    """The slices at `index` (a vector of positions) along `dim`.

    Raises:
        IndexError: a position lies outside, or `index` is no vector of integers.
    """
    positions = need_index("index_select", index)
    where = axis(dim, input._array.ndim)
    if positions.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if positions.size:
        _check_range(positions, where, input._array.shape[where] if input._array.ndim else 1)
    if input._array.ndim == 0:
        made = _index_select(input.reshape(1), positions.reshape(-1), 0).reshape(())
        return made if out is None else write_out(out, made)
    return _index_select(input, positions.reshape(-1), where, out=out)


def _along(dim, positions, ndim):
    where = axis(dim, ndim)
    return (slice(None),) * where + (positions.reshape(-1),)


@composite(method=True)
def index_add(input, dim, index, source, *, alpha=1, out=None):
    """A copy of input with alpha * source added to the slices at `index` along `dim`."""
    positions = need_index("index_add", index)
    value = source if alpha == 1 else source * alpha
    if input._array.ndim == 0:
        return input + value.reshape(()) if positions.size else input.clone()
    return assigned(input, value, _along(dim, positions, input._array.ndim), True, out=out)


@composite(method=True)
def index_reduce(input, dim, index, source, reduce, *, include_self=True, out=None):
    """A copy of input with the slices of source combined with those at `index` along `dim`.

    Args:
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether input's own elements take part.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    positions = need_index("index_reduce", index).reshape(-1)
    where = axis(dim, input._array.ndim)
    shape = source._array.shape or (1,)
    along = positions.reshape((-1,) + (1,) * (len(shape) - 1 - where))
    index = wrap(np.broadcast_to(along, shape))
    return scatter_reduce(
        input, dim, index, source.reshape(shape), reduce, include_self=include_self, out=out
    )


@composite(method=True)
def index_copy(input, dim, index, source, *, out=None):
    """A copy of input with the slices at `index` along `dim` replaced by those of source."""
    positions = need_index("index_copy", index)
    if input._array.ndim == 0:
        return source.reshape(()).clone()
    return assigned(input, source, _along(dim, positions, input._array.ndim), False, out=out)


@composite(method=True)
def index_fill(input, dim, index, value):
    """A copy of input with the slices at `index` along `dim` filled with a number."""
    positions = need_index("index_fill", index)
    if not isinstance(value, Tensor):
        value = wrap(np.asarray(value, dtype=input._array.dtype))
    elif value._array.ndim:
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._array.ndim} dimension(s)."
        )
    value = value.to(input.dtype)
    if value.requires_grad:  # whose gradient counts each position once
        positions = np.unique(positions)
    if input._array.ndim == 0:
        return assigned(input.reshape(1), value, (positions,), False).reshape(())
    return assigned(input, value, _along(dim, positions, input._array.ndim), False)


@composite(method=True)
def index_put(input, indices, values, accumulate=False):
    """A copy of input with `values` put (or added) where the tuple of index tensors points."""
    items, _ = parsed(tuple(indices), input._array.shape)
    if values._array.dtype != input._array.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{scalar_name(input.dtype)} for the destination and {scalar_name(values.dtype)} for "
            "the source."
        )
    return assigned(input, values, items, bool(accumulate))


@composite(method=True)
def take(input, index, *, out=None):
    """The elements of the flattened tensor at `index`."""
    positions = need_index("take", index)
    flat = input.reshape(-1)
    if positions.size:
        check_positions(positions, flat._array.size, 0)
    return picked(flat, (positions,), out=out)


@composite(method=True)
def put(input, index, source, accumulate=False):
    """A copy of input whose flattened elements at `index` are those of source."""
    positions = need_index("put", index)
    flat = assigned(
        input.reshape(-1), source.reshape(-1), (positions.reshape(-1),), bool(accumulate)
    )
    return flat.reshape(input._array.shape)


# ---------------------------------------------------------------- copies with a part replaced
@composite(method=True)
def select_scatter(input, src, dim, index):
    """A copy of input with the slice at `index` along `dim` replaced."""
    return assigned(
        input, src, (slice(None),) * axis(dim, input._array.ndim) + (int(index),), False
    )


@composite(method=True)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1, *, out=None):
    """A copy of input with a slice along `dim` replaced."""
    part = slice(start, end, step)
    where = axis(dim, input._array.ndim)
    return assigned(input, src, (slice(None),) * where + (part,), False, out=out)


@composite(method=True)
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of input with a diagonal replaced."""
    places = wrap(np.arange(input._array.size).reshape(input._array.shape))
    where = diagonal(places, offset, dim1, dim2)._array
    flat = assigned(input.reshape(-1), src.reshape(-1), (where.reshape(-1).copy(),), False)
    return flat.reshape(input._array.shape)


def unravel_index(indices, shape):
    """The coordinates, one tensor per dimension, of positions in the flattened tensor of this
    shape.

    Raises:
        ValueError: a position lies outside.
    """
    from danlu.ops.shape import sizes_of

    if indices._array.dtype.kind not in "iu":
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype!r}")
    try:
        found = np.unravel_index(indices._array, sizes_of((shape,)))
    except ValueError as error:
        raise ValueError(f"unravel_index(): {error}") from None
    return tuple(wrap(np.asarray(each, dtype=np.int64)) for each in found)


for _function in (index_add, index_copy, index_fill, index_put, index_reduce, put):
    publish_inplace(_function)
