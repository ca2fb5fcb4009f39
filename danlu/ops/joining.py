"""Joining tensors and taking them apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from danlu.backend import dtypes
from danlu.backend.conversions import is_array
from danlu.ops.parts import narrow
from danlu.ops.promotion import result_numpy_dtype
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, Arrays, composite, ns, operator, write_out
from danlu.ops.shape import atleast_1d, atleast_2d, atleast_3d
from danlu.tensor import Tensor, publish_method

__all__ = [
    "block_diag", "cartesian_prod", "cat", "chunk", "column_stack", "combinations", "concat",
    "concatenate", "dsplit", "dstack", "hsplit", "hstack", "meshgrid", "row_stack", "split",
    "split_with_sizes", "stack", "tensor_split", "unbind", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes", "vsplit", "vstack",
]  # fmt: skip


@operator(method=False, name="Cat")
def _cat(tensors: Arrays, dim=0):
    kinds = {each.dtype for each in tensors}
    target = None if len(kinds) == 1 else result_numpy_dtype(tensors)
    return np.concatenate(tensors, axis=dim, dtype=target)


@_cat.vjp
def _(g, tensors_shape, tensors_dtype, dim):
    parts, start = [], 0
    where = axis(dim, g.ndim)
    for shape, kind in zip(tensors_shape, tensors_dtype):
        stop = start + (shape[where] if len(shape) == g.ndim else 0)
        part = g[(slice(None),) * where + (slice(start, stop),)]
        if len(shape) != g.ndim:
            part = part.reshape(shape)
        parts.append(part if part.dtype is kind else _cast(part, kind))
        start = stop
    return parts


def _cast(gradient, kind):
    from danlu.ops.rules import cast_gradient

    return cast_gradient(gradient, np.dtype(kind)) if is_array(gradient) else gradient


def cat(tensors, dim=0, *, out=None, axis=None):
    """Tensors joined along an existing dimension; the others must have equal sizes.

    Raises:
        RuntimeError: there are no tensors, or their sizes differ elsewhere than along `dim`.

    Example:
        >>> import danlu as torch
        >>> torch.cat([torch.zeros(2), torch.ones(1)])
        tensor([0., 0., 1.])
    """
    dim = dim if axis is None else axis
    if isinstance(tensors, Tensor):
        raise TypeError(
            "cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"
        )
    tensors = tuple(tensors)
    if not tensors:
        raise RuntimeError("torch.cat(): expected a non-empty list of Tensors")
    _check_tensors("cat", tensors)
    # an empty 1-d tensor joins with anything, as in PyTorch
    full = [t for t in tensors if t._array.shape != (0,)] or tensors
    ndim = full[0]._array.ndim
    if ndim == 0:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    where = _axis(dim, ndim)
    first = full[0]._array.shape
    for position, t in enumerate(full):
        shape = t._array.shape
        if len(shape) != ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {ndim} and {len(shape)}"
            )
        for i, (a, b) in enumerate(zip(first, shape)):
            if a != b and i != where:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {where}. Expected size {a} "
                    "but got size "
                    f"{b} for tensor number {position} in the list."
                )
    made = _cat(full, where)
    if len(full) != len(tensors):
        kind = result_numpy_dtype([t._array for t in tensors])
        made = made if made._array.dtype == kind else made.to(dtypes.FROM_NUMPY[kind])
    return made if out is None else write_out(out, made)


_axis = axis
concat = concatenate = cat


def _check_tensors(name, tensors):
    for position, each in enumerate(tensors):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"expected Tensor as element {position} in argument 0, but got "
                f"{type(each).__name__}"
            )


@operator(method=False, name="Stack")
def _stack(tensors: Arrays, dim=0):
    return np.stack(tensors, axis=dim)


@_stack.vjp
def _(g, tensors_shape, dim):
    where = axis(dim, g.ndim)
    before = (slice(None),) * where
    return [g[before + (i,)] for i in range(len(tensors_shape))]


def stack(tensors, dim=0, *, out=None, axis=None):
    """Tensors of one shape joined along a new dimension.

    Raises:
        RuntimeError: there are no tensors, or their shapes differ.
    """
    dim = dim if axis is None else axis
    tensors = tuple(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    _check_tensors("stack", tensors)
    shape, kind = tensors[0]._array.shape, tensors[0]._array.dtype
    for position, t in enumerate(tensors):
        if t._array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(t._array.shape)} at entry {position}"
            )
    if any(t._array.dtype != kind for t in tensors):
        target = dtypes.FROM_NUMPY[result_numpy_dtype([t._array for t in tensors])]
        tensors = tuple(t.to(target) for t in tensors)
    made = _stack(tensors, _axis(dim, len(shape) + 1))
    return made if out is None else write_out(out, made)


def hstack(tensors, *, out=None):
    """Joined along columns (along the only dimension of 1-d tensors)."""
    tensors = atleast_1d(tuple(tensors))
    return cat(tensors, 0 if tensors[0]._array.ndim == 1 else 1, out=out)


def vstack(tensors, *, out=None):
    """Joined along rows."""
    return cat(atleast_2d(tuple(tensors)), 0, out=out)


row_stack = vstack


def dstack(tensors, *, out=None):
    """Joined along the third dimension."""
    return cat(atleast_3d(tuple(tensors)), 2, out=out)


def column_stack(tensors, *, out=None):
    """1-d tensors as columns, matrices side by side."""
    columns = [t.reshape(t.numel(), 1) if t._array.ndim <= 1 else t for t in tensors]
    return cat(columns, 1, out=out)


# ---------------------------------------------------------------- taking apart
@operator(method=False, view=True, name="Unbind")
def _unbind(input: Array, dim=0):
    where = axis(dim, input.ndim)
    rows = np.moveaxis(input, where, 0) if where else input
    return tuple([rows[i, ...] for i in range(input.shape[where])])


@_unbind.vjp
def _(g, input_shape, input_dtype, dim):
    g = (g,) if input_shape[axis(dim, len(input_shape))] == 1 else g
    some = next(each for each in g if each is not None)
    xp = ns(some)
    parts = [xp.zeros_like(some) if each is None else each for each in g]
    return xp.stack(parts, axis=axis(dim, len(input_shape)))


@composite(method=True)
def unbind(input, dim=0, *, axis=None):
    """The slices along one dimension, as a tuple of views."""
    dim = dim if axis is None else axis
    if input._array.ndim == 0:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    if not input._array.shape[_axis(dim, input._array.ndim)]:
        return ()
    return _unbind(input, dim)


@composite(method=True)
def split(tensor, split_size_or_sections=None, dim=0, *, split_size=None, axis=None):
    """Views of consecutive parts along `dim`: of a size each (the last may be smaller), or of these
    sizes.
    """
    sizes = split_size if split_size_or_sections is None else split_size_or_sections
    dim = dim if axis is None else axis
    where = _axis(dim, tensor._array.ndim)
    total = tensor._array.shape[where] if tensor._array.ndim else 1
    if isinstance(sizes, int):
        if sizes < 0 or (sizes == 0 and total):
            raise RuntimeError(
                "split_size can only be 0 if dimension size is 0, but got dimension size of "
                f"{total}"
                if sizes == 0
                else f"split expects split_size be non-negative, but got split_size={sizes}"
            )
        step = max(sizes, 1)
        sizes = [min(step, total - start) for start in range(0, total, step)] or [0]
    return split_with_sizes(tensor, sizes, dim)


@composite(method=True)
def split_with_sizes(input, split_sizes, dim=0):
    """Views of consecutive parts of these sizes along `dim`."""
    where = _axis(dim, input._array.ndim)
    total = input._array.shape[where]
    sizes = [int(each) for each in split_sizes]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {total} (input tensor's size "
            "at dimension "
            f"{where}), but got split_sizes={sizes}"
        )
    parts, start = [], 0
    for size in sizes:
        parts.append(narrow(input, where, start, size))
        start += size
    return tuple(parts)


@composite(method=True)
def chunk(input, chunks, dim=0, *, axis=None):
    """At most `chunks` views of equal size along `dim`; the last may be smaller."""
    dim = dim if axis is None else axis
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    total = input._array.shape[_axis(dim, input._array.ndim)]
    if total == 0:
        return split_with_sizes(input, [0] * chunks, dim)
    return split(input, -(-total // chunks), dim)


unsafe_split, unsafe_split_with_sizes, unsafe_chunk = split, split_with_sizes, chunk
for _function in (split, split_with_sizes, chunk):
    publish_method("unsafe_" + _function.__name__, _function)


@composite(method=True)
def tensor_split(input, indices_or_sections=None, dim=0, *, indices=None, sections=None):
    """Views of parts along `dim`: so many of nearly equal size, or cut at these positions."""
    where = _axis(dim, input._array.ndim)
    if input._array.ndim == 0:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    given = next(x for x in (indices_or_sections, indices, sections) if x is not None)
    total = input._array.shape[where]
    if isinstance(given, Tensor):
        given = given.item() if given.ndim == 0 else given.tolist()
    if isinstance(given, int):
        if given <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {given}")
        small, more = divmod(total, given)
        sizes = [small + (i < more) for i in range(given)]
        return split_with_sizes(input, sizes, where)
    cuts = [0, *[slice(None, each).indices(total)[1] for each in given], total]
    return tuple(
        narrow(input, where, start, max(stop - start, 0)) for start, stop in pairwise(cuts)
    )


def _along(name, dim, least):
    def part(input, indices_or_sections):
        if input._array.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension"
                f"{'s' if least > 1 else ''}, but got a tensor with {input._array.ndim} dimensions!"
            )
        where = 0 if name == "hsplit" and input._array.ndim == 1 else dim
        total = input._array.shape[where]
        if isinstance(indices_or_sections, int) and total % indices_or_sections:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {where}, but the size of the "
                f"dimension {total} "
                f"is not divisible by the split_size {indices_or_sections}!"
            )
        return tensor_split(input, indices_or_sections, where)

    part.__name__ = name
    part.__doc__ = f"`tensor_split` along dimension {dim}, into equal parts."
    return composite(method=True)(part)


hsplit, vsplit, dsplit = _along("hsplit", 1, 1), _along("vsplit", 0, 2), _along("dsplit", 2, 3)


# ---------------------------------------------------------------- grids and combinations
def meshgrid(*tensors, indexing=None):
    """Coordinate matrices from coordinate vectors.

    Args:
        indexing: "ij" (the default, matrix order) or "xy" (the first two dimensions exchanged).
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    vectors = [each.reshape(-1) for each in tensors]
    swap = indexing == "xy" and len(vectors) > 1
    if swap:
        vectors[:2] = vectors[1::-1]
    shape = tuple(each.numel() for each in vectors)
    grids = []
    for i, each in enumerate(vectors):
        placed = each.reshape((1,) * i + (-1,) + (1,) * (len(vectors) - i - 1))
        grids.append(placed.expand(shape))
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def cartesian_prod(*tensors):
    """All combinations of one element from each 1-d tensor, a row each."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([each.reshape(-1) for each in meshgrid(*tensors, indexing="ij")], -1)


def combinations(input, r=2, with_replacement=False):
    """All combinations of r elements of a 1-d tensor, a row each."""
    import itertools

    from danlu.tensor import wrap

    if input._array.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._array.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.numel()), r))
    if r == 0:
        return input.new_empty(0)
    return input[wrap(np.array(rows, dtype=np.int64).reshape(len(rows), r))]


def block_diag(*tensors):
    """A matrix with these matrices along its diagonal and zeros elsewhere."""
    from danlu.ops.creation import zeros

    matrices = [t.reshape(1, -1) if t._array.ndim < 2 else t for t in tensors]
    width = sum(m._array.shape[1] for m in matrices)
    rows, left = [], 0
    for m in matrices:
        height, own = m._array.shape
        kind = m.dtype
        rows.append(
            cat(
                [zeros(height, left, dtype=kind), m, zeros(height, width - left - own, dtype=kind)],
                1,
            )
        )
        left += own
    return cat(rows, 0)
