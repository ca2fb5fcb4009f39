"""Parts of tensors, and their elements in another order along a dimension."""

from __future__ import annotations

import numpy as np

from danlu.ops.indexing import getitem_zeros
from danlu.ops.reduction import axes, axis
from danlu.ops.registry import Array, composite, ns, operator
from danlu.ops.shape import sizes_of
from danlu.tensor import publish_method

__all__ = [
    "diag_embed", "diagonal", "flip", "fliplr", "flipud", "narrow", "roll", "rot90", "select",
]  # fmt: skip


# ---------------------------------------------------------------- reversal and rotation
@operator(method=False)
def _flip(input: Array, dims):
    return np.flip(input, axes(dims, input.ndim) or ()).copy()


@_flip.vjp
def _(g, dims):
    return ns(g).flip(g, axis=dims)


def flip(input, *sizes, dims=None, axis=None):
    """The order of elements reversed along these dimensions, given as ints or one sequence
    (`dims`).
    """
    given = dims if axis is None else axis
    return _flip(
        input, sizes_of(sizes if given is None else (given,) if isinstance(given, int) else given)
    )


publish_method("flip", flip)


@composite(method=True)
def fliplr(input):
    """Columns in reverse order."""
    if input._array.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _flip(input, (1,))


@composite(method=True)
def flipud(input):
    """Rows in reverse order."""
    if input._array.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _flip(input, (0,))


@operator()
def roll(input: Array, shifts, dims=None):
    """Elements shifted along dimensions, those that leave at one end entering at the other."""
    if dims is not None and dims != ():
        shifts_ = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
        dims_ = dims if isinstance(dims, (tuple, list)) else (dims,)
        if len(shifts_) != len(dims_):
            raise RuntimeError(
                f"shifts and dimensions must align. shifts: {len(shifts_)}, dims:{len(dims_)}"
            )
    else:
        dims = None
    return np.roll(input, shifts, dims)


@roll.vjp
def _(g, shifts, dims):
    back = tuple([-each for each in shifts]) if isinstance(shifts, (tuple, list)) else -shifts
    return roll.on(g, back, dims)


@operator()
def rot90(input: Array, k=1, dims=(0, 1)):
    """Turned by 90 degrees k times in the plane of two dimensions."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    return np.rot90(input, k, dims).copy()


@rot90.vjp
def _(g, k, dims):
    return rot90.on(g, -k, dims)


# ---------------------------------------------------------------- parts
@operator(view=True)
def select(input: Array, dim, index):
    """One position along `dim`, without that dimension.

    Raises:
        IndexError: there is no such position.
    """
    where = axis(dim, input.ndim)
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    index = index.__index__()
    size = input.shape[where]
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at "
            f"dimension {where}"
        )
    return input[(slice(None),) * where + (index, ...)]


@select.vjp
def _(g, input_shape, dim, index):
    where = axis(dim, len(input_shape))
    return getitem_zeros.on(g, input_shape, (slice(None),) * where + (index,))


@operator(view=True, name="Slice")
def narrow(input: Array, dim, start, length):
    """`length` positions along `dim` from `start` on.

    Raises:
        RuntimeError, IndexError: they reach beyond the tensor.
    """
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    where = axis(dim, input.ndim)
    start, length = int(start), int(length)
    size = input.shape[where]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-size}, {size}], but got "
            f"{start})"
        )
    start = start + size if start < 0 else start
    if start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return input[(slice(None),) * where + (slice(start, start + length),)]


@narrow.vjp
def _(g, input_shape, dim, start, length):
    where = axis(dim, len(input_shape))
    start = int(start) % max(input_shape[where], 1) if start != input_shape[where] else int(start)
    part = (slice(None),) * where + (slice(start, start + int(length)),)
    return getitem_zeros.on(g, input_shape, part)


@operator(view=True)
def diagonal(input: Array, offset=0, dim1=0, dim2=1):
    """The diagonal of two dimensions, as the last dimension of the result."""
    a, b = axis(dim1, input.ndim), axis(dim2, input.ndim)
    if a == b or input.ndim < 2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    found = np.diagonal(input, offset, a, b)
    found.flags.writeable = input.flags.writeable
    return found


@diagonal.vjp
def _(g, input_shape, offset, dim1, dim2):
    return diagonal_zeros.on(g, input_shape, offset, dim1, dim2)


@operator(method=False)
def diagonal_zeros(input: Array, shape, offset, dim1, dim2):
    """Zeros of `shape` with `input` on the diagonal."""
    result = np.zeros(shape, input.dtype)
    diagonal.op.fn(result, offset, dim1, dim2)[...] = input
    return result


@diagonal_zeros.vjp
def _(g, offset, dim1, dim2):
    return diagonal.on(g, offset, dim1, dim2)


@composite(method=True)
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """A tensor whose diagonals of two new dimensions hold the last dimension of `input`."""
    shape = input._array.shape
    ndim = len(shape) + 1
    a, b = axis(dim1, ndim), axis(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = shape[-1] + abs(offset)
    rest = iter(shape[:-1])
    target = tuple([size if i in (a, b) else next(rest) for i in range(ndim)])
    return diagonal_zeros(input, target, offset, a, b)
