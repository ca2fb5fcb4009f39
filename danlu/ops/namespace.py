"""The array-API names over Tensors: what derivative rules see as `xp` when they are recorded."""

from __future__ import annotations

from danlu.ops import (
    binary,
    creation,
    extremes,
    joining,
    masking,
    parts,
    pointwise,
    reduction,
    scatter,
    shape,
)
from danlu.ops import matmul as products
from danlu.ops.binary import atan2, floor_divide, hypot, logaddexp, maximum, minimum  # noqa: F401
from danlu.ops.creation import empty_like, ones_like, zeros_like  # noqa: F401
from danlu.ops.pointwise import *  # noqa: F403
from danlu.ops.reduction import mean, prod, std, sum, var  # noqa: F401
from danlu.ops.scans import cumprod, cumsum  # noqa: F401

arctan2 = binary.atan2
arccos, arcsin, arctan = pointwise.acos, pointwise.asin, pointwise.atan
power = binary.pow
where = masking.where
matmul = products.matmul


def reshape(x, shape, *, copy=None):
    """The same elements in another shape."""
    return x.reshape(tuple(shape))


def permute_dims(x, axes):
    """The dimensions in another order."""
    return shape.permute(x, tuple(axes))


def expand_dims(x, *, axis=0):
    """A new dimension of size 1."""
    return shape.unsqueeze(x, axis)


def squeeze(x, axis):
    """Without these dimensions of size 1."""
    return shape.squeeze(x, axis)


def broadcast_to(x, sizes):
    """Stretched to a larger shape."""
    return shape.expand(x, tuple(sizes))


def flip(x, *, axis=None):
    """The order of elements reversed along some dimensions."""
    dims = tuple(range(x.ndim)) if axis is None else axis
    return parts.flip(x, dims if isinstance(dims, tuple) else (dims,))


def concat(arrays, *, axis=0):
    """Joined along an existing dimension."""
    return joining.cat(arrays, axis)


def stack(arrays, *, axis=0):
    """Joined along a new dimension."""
    return joining.stack(arrays, axis)


def moveaxis(x, source, destination):
    """One dimension moved to another place."""
    return shape.movedim(x, source, destination)


def take_along_axis(x, indices, *, axis=-1):
    """The elements at `indices` along one dimension."""
    return scatter.gather(x, axis, indices)


def max(x, *, axis=None, keepdims=False):
    """The largest elements along some dimensions."""
    return extremes.amax(x, () if axis is None else axis, keepdims)


def min(x, *, axis=None, keepdims=False):
    """The smallest elements along some dimensions."""
    return extremes.amin(x, () if axis is None else axis, keepdims)


def any(x, *, axis=None, keepdims=False):
    """Whether any element is nonzero."""
    return reduction.any(x, axis, keepdims)


def all(x, *, axis=None, keepdims=False):
    """Whether all elements are nonzero."""
    return reduction.all(x, axis, keepdims)


def zeros(sizes, dtype=None):
    """Zeros of this size."""
    return creation.zeros(tuple(sizes), dtype=creation.dtypes.FROM_NUMPY.get(dtype, dtype))


def ones(sizes, dtype=None):
    """Ones of this size."""
    return creation.ones(tuple(sizes), dtype=creation.dtypes.FROM_NUMPY.get(dtype, dtype))


def tril(x, k=0):
    """The lower triangle."""
    return x.tril(k)


def triu(x, k=0):
    """The upper triangle."""
    return x.triu(k)
