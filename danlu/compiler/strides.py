"""How an array that a trace shows as its values alone would lie in memory without the trace.

Random numbers fill arrays in the order of their memory, and NumPy's functions keep the order of
their operands. A trace that took another one would draw the same numbers for other elements.
"""

from __future__ import annotations

from math import prod

import numpy as np

from danlu.kernels.graph.nodes import VIEWS, Node, is_elementwise
from danlu.kernels.graph.traced import Traced

__all__ = ["stand_in"]

_BYTE = np.dtype(np.int8)


def stand_in(array, known: dict[Node, tuple[int, ...]]) -> np.ndarray:
    """An array with the shape, the dtype and the strides of a given one, traced or not. Its memory
    is one element: only to be asked about.

    Args:
        known: node -> strides, kept from one call to the next.

    Example:
        >>> from danlu.kernels.graph.traced import trace
        >>> def strides(x):
        ...     return stand_in((x * 2).T, {}).strides
        >>> trace(strides, (np.ones((2, 3)),))[1]
        (8, 24)
    """
    if isinstance(array, Traced):
        strides = array.layout
        if strides is None:
            strides = _strides(array._node, known)
    else:
        strides = tuple(step // array.itemsize for step in array.strides)
    return _shown(array.shape, strides, array.dtype)


def _shown(shape, strides, dtype=_BYTE):
    steps = tuple(step * dtype.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, steps)


def _strides(node: Node, known) -> tuple[int, ...]:
    """The strides of a node, and on the way those of all that it is made of."""
    waiting = [node]
    while waiting:
        last = waiting[-1]
        missing = [] if last in known else [each for each in last.args if each not in known]
        if missing and _follows(last):
            waiting += missing
            continue
        waiting.pop()
        if last not in known:
            known[last] = _found(last, known)
    return known[node]


def _follows(node: Node) -> bool:
    """Whether a value lies as its operands do."""
    return node.op in VIEWS or node.op in ("concatenate", "reduce") or is_elementwise(node)


def _found(node, known) -> tuple[int, ...]:
    if node.op == "leaf":
        return node.info.strides
    if not _follows(node):
        return _dense(node.shape, range(len(node.shape)))
    if node.op in VIEWS:
        (source,) = node.args
        return _of_view(node, _shown(source.shape, known[source]))
    operands = [(each.shape, known[each]) for each in node.args]
    if node.op == "concatenate":
        return _dense(node.shape, _common_order(operands))
    return _of_result(node, operands)


def _of_view(node, source) -> tuple[int, ...]:
    if node.op == "transpose":
        return source.transpose(node.info).strides
    if node.op == "view":
        return node.info.look(source).strides
    try:
        return np.reshape(source, node.shape, copy=False).strides
    except ValueError:  # NumPy copies
        return _dense(node.shape, range(len(node.shape)))


def _of_result(node, operands) -> tuple[int, ...]:
    """NumPy's iterator finds the order of the axes, on the fewest elements that have one."""
    rank = len(node.shape)
    if all(strides == _dense(shape, range(len(shape))) for shape, strides in operands):
        return _dense(node.shape, range(rank))
    shapes = [tuple(min(size, 2) for size in shape) for shape, _ in operands]
    sources = [_shown(shape, strides) for shape, (_, strides) in zip(shapes, operands, strict=True)]
    flags = [*[["readonly"]] * len(sources), ["writeonly", "allocate"]]
    walk = np.nditer([*sources, None], op_flags=flags, order="K")  # type: ignore[call-overload]
    found = walk.operands[-1].strides
    return _dense(node.shape, sorted(range(rank), key=lambda axis: -found[axis]))


def _common_order(operands) -> list[int]:
    """The order of the axes of a concatenation: NumPy sorts them by insertion, and compares axes
    where no part has length 1; where parts disagree, rows win."""
    order: list[int] = []
    for axis in range(len(operands[0][0])):
        place = len(order)
        for before in reversed(range(len(order))):
            other = order[before]
            smaller = [
                abs(strides[axis]) <= abs(strides[other])
                for shape, strides in operands
                if shape[axis] != 1 and shape[other] != 1
            ]
            if any(smaller):
                break
            if smaller:
                place = before
        order.insert(place, axis)
    return order


def _dense(shape, axes) -> tuple[int, ...]:
    """Strides without gaps, the axes from the largest stride to the smallest."""
    strides, step = [0] * len(shape), prod(shape)
    for axis in axes:
        step //= max(shape[axis], 1)
        strides[axis] = step
    return tuple(strides)
