"""Views that read memory in another way: overlapping windows, complex numbers as pairs, any
geometry.
"""

from __future__ import annotations

import numpy as np

from danlu.backend.memory import memory_owner
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, composite, ns, operator
from danlu.ops.rules import sum_to
from danlu.ops.shape import sizes_of
from danlu.tensor import publish_method

__all__ = ["as_strided", "as_strided_scatter", "view_as_complex", "view_as_real"]


def _windows(array, dim, size, step):
    view = np.lib.stride_tricks.sliding_window_view(array, size, dim, writeable=True)
    return view[(slice(None),) * dim + (slice(None, None, step),)]


@operator(view=True)
def unfold(input: Array, dimension, size, step):
    """Windows of `size` elements along a dimension, `step` apart, in a new last dimension.

    Raises:
        RuntimeError: a window is longer than the dimension, or the step is not positive.

    Example:
        >>> import danlu as torch
        >>> torch.arange(5).unfold(0, 3, 2)
        tensor([[0, 1, 2],
                [2, 3, 4]])
    """
    where = axis(dimension, input.ndim)
    most = input.shape[where] if input.ndim else 1
    if not 0 <= size <= most:
        raise RuntimeError(
            f"maximum size for tensor at dimension {where} is {most} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if input.ndim == 0:
        return input.reshape(1)[:size]
    if size == 0:
        shape = list(input.shape)
        shape[where] = most // step + 1 if step <= most else 1
        return np.empty((*shape, 0), input.dtype)
    return _windows(input, where, size, step)


@unfold.vjp
def _(g, input_shape, dimension, size, step):
    if not input_shape:
        return g.reshape(()) if size else g.sum()
    where = axis(dimension, len(input_shape))
    return windows_summed.on(g, input_shape, where, size, step)


@operator(method=False)
def windows_summed(input: Array, shape, dim, size, step):
    """The sum of overlapping windows: the adjoint of `unfold`."""
    result = np.zeros(shape, input.dtype)
    if size:
        places = _windows(result, dim, size, step)
        for i in range(size):  # the i-th elements of all windows are different elements
            places[..., i] += input[..., i]
    return result


@windows_summed.vjp
def _(g, dim, size, step):
    return unfold.on(g, dim, size, step)


# ---------------------------------------------------------------- complex numbers as pairs
@operator(view=True, method=False)
def view_as_real(input: Array):
    """Complex numbers as pairs of reals in a new last dimension."""
    if input.dtype.kind != "c":
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return input[..., None].view(input.real.dtype)


@view_as_real.vjp
def _(g):
    xp = ns(g)
    return view_as_complex.on(g if not isinstance(g, np.ndarray) else xp.ascontiguousarray(g))


@operator(view=True, method=False)
def view_as_complex(input: Array):
    """Pairs of reals in the last dimension as complex numbers."""
    if input.dtype.kind != "f" or not input.ndim or input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    return input.view(np.complex64 if input.dtype == np.float32 else np.complex128)[..., 0]


@view_as_complex.vjp
def _(g):
    return view_as_real.on(g)


# ---------------------------------------------------------------- any geometry
def _positions(shape, strides, offset):
    """Where in memory (in elements) each element of a geometry lies."""
    places = np.full(shape, offset)
    for i, (size, stride) in enumerate(zip(shape, strides)):
        places += (np.arange(size) * stride).reshape((-1,) + (1,) * (len(shape) - i - 1))
    return places


def _geometry(array):
    """The strides and the offset of an array in its memory, in elements."""
    owner = memory_owner(array)
    start = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return [each // array.itemsize for each in array.strides], start // array.itemsize


@operator(view=True, method=False, name="AsStrided")
def _as_strided(input: Array, size, stride, storage_offset, source):
    owner = memory_owner(input)
    last = storage_offset + sum((n - 1) * s for n, s in zip(size, stride))
    room = owner.nbytes // input.itemsize
    if 0 not in size and last >= room:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset "
            f"{storage_offset}, "
            f"and itemsize {input.itemsize} requiring a storage size of "
            f"{(last + 1) * input.itemsize} "
            f"are out of bounds for storage of size {owner.nbytes}"
        )
    memory = owner if owner.flags.c_contiguous else owner.T
    strides = [each * input.itemsize for each in stride]
    return np.ndarray(size, input.dtype, memory, storage_offset * input.itemsize, strides)


@_as_strided.vjp
def _(g, input_shape, size, stride, storage_offset, source):
    return _strided_sum.on(g, input_shape, size, stride, storage_offset, source)


@operator(method=False)
def _strided_sum(input: Array, shape, size, stride, storage_offset, source):
    """The gradient of `as_strided`: added up in memory, and read with the geometry of the source."""
    places = _positions(size, stride, storage_offset)
    own = _positions(shape, *source)
    memory = np.zeros(max(places.max(initial=0), own.max(initial=0)) + 1, input.dtype)
    np.add.at(memory, places, input)
    shared = np.zeros(memory.shape, np.int64)
    np.add.at(shared, own, 1)
    return memory[own] / shared[own] if shared.max(initial=0) > 1 else memory[own]


@_strided_sum.vjp
def _(g, shape, size, stride, storage_offset, source):
    return _strided_sum.on(g, size, shape, *source, (stride, storage_offset))


@composite(method=True)
def as_strided(input, size, stride, storage_offset=None):
    """A view of the tensor's memory with any size, strides and offset (in elements).

    Raises:
        RuntimeError: it reaches beyond the memory.
    """
    size, stride = sizes_of((size,)), sizes_of((stride,))
    if len(size) != len(stride):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(stride)} strides for {len(size)} sizes"
        )
    source = _geometry(input._array)
    offset = source[1] if storage_offset is None else storage_offset
    return _as_strided(input, size, stride, offset, source)


@composite(method=True)
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A contiguous copy of input with the elements that `as_strided` would show replaced by `src`."""
    made = input.contiguous().clone()
    as_strided(made, size, stride, storage_offset).copy_(src)
    return made


def _as_strided_in_place(self, size, stride, storage_offset=None):
    """Give this tensor another geometry over the same memory."""
    made = as_strided(self, size, stride, storage_offset)
    self._array = made._array
    self._writes[0] += 1
    return self


publish_method("as_strided_", _as_strided_in_place)


@composite(method=True)
def sum_to_size(input, *size):
    """Summed over the dimensions along which a tensor of this size would be broadcast to `input`.

    Raises:
        RuntimeError: a tensor of this size does not broadcast to input's.
    """
    size = sizes_of(size)
    own = input._array.shape
    extra = len(own) - len(size)
    if extra < 0 or any(n not in (1, m) for n, m in zip(size, own[max(extra, 0) :])):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(own)}}}.")
    if input._array.dtype.kind in "biu" and size != own:
        input = input.long()
    return sum_to(input, size)
