"""The memory that tensors view: what a file holds once, however many tensors share it."""

from __future__ import annotations

import math
from weakref import WeakValueDictionary

import numpy as np

from danlu.backend.device import CPU, check_available

MAX_DIMS = 64  # NumPy's limit


class UntypedStorage:
    """One block of memory, in bytes.

    Args:
        memory: a one-dimensional uint8 array over the block.
    """

    __slots__ = ("__weakref__", "memory", "version")

    def __init__(self, memory):
        self.memory = memory
        self.version = None  # the counter that all tensors on this memory share

    @property
    def device(self):
        """Where the memory is."""
        return CPU

    def nbytes(self):
        """The size of the block in bytes."""
        return self.memory.nbytes

    def cpu(self):
        """The storage itself: it is in the CPU's memory."""
        return self

    def cuda(self, device=None):
        """The storage on a GPU; raises what `tensor.cuda()` raises where there is none."""
        return check_available("cuda" if device is None else device)

    def __len__(self):
        return self.memory.nbytes

    def __reduce__(self):
        return (_restored, (self.memory,))

    def __repr__(self):
        return f"UntypedStorage({self.memory.nbytes} bytes)"

    def array(self, dtype, offset, size, stride):
        """The elements at `offset` with `size` and `stride`, all counted in elements of `dtype`.

        Raises:
            ValueError: such a view would reach outside of the storage.
        """
        for name, numbers in (("size", size), ("stride", stride)):
            if not isinstance(numbers, tuple) or not all(map(is_count, numbers)):
                raise ValueError(f"{name} must be a tuple of ints from 0 to 2**63 - 1")
        if len(size) != len(stride) or len(size) > MAX_DIMS:
            raise ValueError(
                f"size and stride must have one length of at most {MAX_DIMS}, "
                f"got {len(size)} and {len(stride)}"
            )
        if not is_count(offset):
            raise ValueError("storage offset must be an int from 0 to 2**63 - 1")
        itemsize = dtype.itemsize
        numel = self.memory.nbytes // itemsize
        if 0 in size:
            # Such a view reads nothing, and its offset and strides may be anything in PyTorch.
            return np.empty(size, dtype.numpy)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if last >= numel:
            raise ValueError(
                f"a tensor of size {size}, stride {stride} and offset {offset} reaches outside of "
                f"its storage of {numel} elements"
            )
        if math.prod(size) > 2**62 // itemsize:
            raise ValueError(f"a tensor of size {size} has more elements than can be addressed")
        strides = tuple(step * itemsize for step in stride)
        return np.ndarray(size, dtype.numpy, self.memory, offset * itemsize, strides)


def is_count(value):
    """Whether this is an int that PyTorch could have written as a size, a stride or an offset."""
    return type(value) is int and 0 <= value < 1 << 63


def _restored(memory):
    # Some pickle protocols bring memory back read-only.
    return UntypedStorage(memory if memory.flags.writeable else memory.copy())


class TypedStorage:
    """A storage, and the dtype that a file says its elements have (None where it does not say)."""

    __slots__ = ("dtype", "storage")

    def __init__(self, storage, dtype):
        self.storage = storage
        self.dtype = dtype


_living: WeakValueDictionary = WeakValueDictionary()


def locate(array):
    """The storage that holds an array's memory, and the array's offset and strides in elements.

    Arrays on the same memory get the same storage for as long as it lives. An array that PyTorch's
    files cannot describe (negative strides, elements off the grid) is copied to one of its own.
    """
    itemsize = array.itemsize
    start = array.__array_interface__["data"][0]
    owner = _owner(array)
    # The owner's elements in the order in which they lie in memory.
    order = sorted(range(owner.ndim), key=owner.strides.__getitem__, reverse=True)
    ordered = owner.transpose(order)
    low = owner.__array_interface__["data"][0]
    high = low + owner.nbytes
    first, end = np.lib.array_utils.byte_bounds(array) if array.size else (start, start)
    in_place = (
        ordered.flags.c_contiguous
        and low <= first
        and end <= high
        and (start - low) % itemsize == 0
        and all(step >= 0 and step % itemsize == 0 for step in array.strides)
    )
    if not in_place:
        return locate(np.array(array, order="C"))
    storage = _living.get((low, high))
    if storage is None:
        storage = _living[low, high] = UntypedStorage(ordered.reshape(-1).view(np.uint8))
    if array.size:
        stride = tuple(step // itemsize for step in array.strides)
    else:
        stride = _contiguous_stride(array.shape)
    return storage, (start - low) // itemsize, stride


def _owner(array):
    """The outermost array whose memory `array` views."""
    while True:
        base = array.base
        if not isinstance(base, np.ndarray):
            # as_strided and its kin put a small object between a view and its array.
            base = getattr(base, "base", None)
        if not isinstance(base, np.ndarray):
            return array
        array = base


def _contiguous_stride(shape):
    stride, step = [], 1
    for length in reversed(shape):
        stride.append(step)
        step *= max(length, 1)
    return tuple(reversed(stride))
