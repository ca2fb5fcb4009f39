"""Where the values of a small graph lie: in arguments, in results, and in one block of scratch
memory that is planned with its text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.kernels.graph.nodes import dtype_name
from danlu.kernels.graph.operations import load_type

__all__ = ["Base", "Place", "Scratch"]

_ALIGNMENT = 64


class Base(NamedTuple):
    """What a place is counted from: a pointer of the `table`, or the `scratch` block."""

    kind: str
    number: int


class Place(NamedTuple):
    """How a value lies in memory, in elements from its base; the base of scratch is in bytes.

    Attributes:
        padded: the axis behind whose last element there is room up to a whole vector.
    """

    base: Base
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]
    padded: int | None = None

    @property
    def is_scratch(self) -> bool:
        """Whether elements beyond the last one may be read (they are any numbers)."""
        return self.base.kind == "scratch"

    @property
    def bytes(self) -> int:
        return load_type(dtype_name(self.dtype)).bytes

    @property
    def steps(self) -> dict[int, int]:
        """Axis -> stride, of the axes that are longer than 1."""
        return {
            axis: step
            for axis, (step, size) in enumerate(zip(self.strides, self.shape)) if size != 1
        }  # fmt: skip

    def part(self, axis: int, start: int, shape) -> Place:
        """The place of one part of a concatenation."""
        offset = self.offset + start * self.strides[axis]
        return self._replace(shape=shape, offset=offset, padded=None)

    def broadcast(self, shape) -> Place:
        """The place of a `copy` to a larger shape."""
        missing = len(shape) - len(self.shape)
        strides = [0 if size == 1 else step for size, step in zip(self.shape, self.strides)]
        return self._replace(shape=shape, strides=(0,) * missing + tuple(strides), padded=None)

    def seen(self, look) -> Place | None:
        """The place that `look(array)` makes of it, or None where NumPy would copy."""
        # NumPy itself finds the strides, on an array whose memory is never touched
        anchor = np.empty(1, np.int8)
        whole = np.lib.stride_tricks.as_strided(anchor, self.shape, self.strides)
        start = whole.__array_interface__["data"][0]
        try:
            part = look(whole)
        except ValueError:  # reshape(copy=False)
            return None
        if not np.may_share_memory(part, whole):
            return None
        moved = part.__array_interface__["data"][0] - start
        return self._replace(
            shape=part.shape, offset=self.offset + moved, strides=part.strides, padded=None
        )


class Scratch:
    """A block of memory whose parts are used again when what lay there was read for the last time.

    Attributes:
        size: bytes of the block, with room to read a vector behind the last part.
    """

    def __init__(self, slack: int):
        self._slack = slack
        self._end = 0
        self._free: list[tuple[int, int]] = []  # (start, length), by start

    @property
    def size(self) -> int:
        return self._end + self._slack

    def take(self, count: int) -> int:
        """The start of a free part of so many bytes, the tightest that there is."""
        count = -(-count // _ALIGNMENT) * _ALIGNMENT
        fitting = [entry for entry in self._free if entry[1] >= count]
        if not fitting:
            start = self._end
            self._end += count
            return start
        start, length = min(fitting, key=lambda entry: entry[1])
        self._free.remove((start, length))
        if length > count:
            self._free.append((start + count, length - count))
        return start

    def give(self, start: int, count: int) -> None:
        """A part is free again."""
        count = -(-count // _ALIGNMENT) * _ALIGNMENT
        for entry in list(self._free):
            if entry[0] + entry[1] == start:
                start, count = entry[0], count + entry[1]
                self._free.remove(entry)
            elif start + count == entry[0]:
                count += entry[1]
                self._free.remove(entry)
        self._free.append((start, count))
