"""Bodies of operators that leave a better graph than their NumPy text would."""

from __future__ import annotations

import numpy as np

from danlu.kernels.graph.nodes import Unsupported

__all__ = ["RECORDED"]


def getitem_zeros(input, shape, index):
    """Zeros of `shape` with `input` at a basic index: zeros are joined on around it, so that the
    gradient of a slice stays inside the loops."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(not (each is None or each is Ellipsis or type(each) in (int, slice)) for each in parts):
        raise Unsupported("an index with arrays")
    used = sum(type(each) in (int, slice) for each in parts)
    if Ellipsis not in parts:
        parts = (*parts, Ellipsis)
    place = parts.index(Ellipsis)
    full = [slice(None)] * (len(shape) - used)
    parts = [each for each in (*parts[:place], *full, *parts[place + 1 :]) if each is not None]
    margins = []
    for part, size in zip(parts, shape, strict=True):
        if type(part) is int:
            part = slice(part % size, part % size + 1)
        start, stop, step = part.indices(size)
        if step != 1:
            raise Unsupported("a slice with a step")
        margins.append((start, size - max(stop, start)))
    inner = tuple(n - before - after for n, (before, after) in zip(shape, margins, strict=True))
    result = input.reshape(inner)
    for axis, (before, after) in enumerate(margins):
        around = [_zeros(result, axis, n) for n in (before, after)]
        joined = [each for each in (around[0], result, around[1]) if each is not None]
        if len(joined) > 1:
            result = np.concatenate(joined, axis=axis)
    return result


def _zeros(like, axis, count):
    if not count:
        return None
    shape = tuple(count if i == axis else n for i, n in enumerate(like.shape))
    return np.zeros(shape, like.dtype)


# Operator's name -> its body on arrays that record.
RECORDED = {"getitem_zeros": getitem_zeros}
