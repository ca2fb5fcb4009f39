"""Sums of arrays that are values in one place and zeros elsewhere, as the gradients of slices are.

Those of the parts that a tensor was split into become one concatenation of all values: no zeros are
written or added.
"""

from __future__ import annotations

import itertools

from danlu.kernels.graph.nodes import Graph, Node, number_of

__all__ = ["sum_of_parts"]


def _zero_part(graph: Graph, dtype, shape) -> Node:
    return graph.make("copy", (graph.constant(0, dtype),), dtype, shape)


def _is_zero(node: Node) -> bool:
    if node.op == "copy":
        node = node.args[0]
    return node.op == "constant" and number_of(node) == 0


def sum_of_parts(graph: Graph, node: Node, x: Node, y: Node) -> Node | None:
    """The sum of two concatenations as one, where all but one of the values in a place are zeros;
    None where there is no such thing to be had. (The sum of -0 and 0, which is 0, is -0 here.)"""
    if x.op != "concatenate" or y.op != "concatenate" or x.info != y.info or x.shape != y.shape:
        return None
    axis = x.info
    first, second = _segments(x), _segments(y)
    bounds = sorted({place for begin, end, _ in (*first, *second) for place in (begin, end)})
    pieces: list[tuple[int, Node | None]] = []
    for begin, end in itertools.pairwise(bounds):
        mine, theirs = _at(first, begin, end), _at(second, begin, end)
        if isinstance(mine, str) or isinstance(theirs, str):
            return None
        if mine is not None and theirs is not None:
            return None
        value = mine or theirs
        if value is None and pieces and pieces[-1][1] is None:
            pieces[-1] = pieces[-1][0] + end - begin, None
        else:
            pieces.append((end - begin, value))
    own, parts = -len(graph.nodes), []  # traced concatenations count upwards
    for number, (length, value) in enumerate(pieces):
        shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
        value = _zero_part(graph, node.dtype, shape) if value is None else value
        parts.append(graph.make("part", (value,), node.dtype, shape, (own, number)))
    if len(parts) == 1:
        return parts[0].args[0]
    return graph.make("concatenate", tuple(parts), node.dtype, node.shape, axis)


def _segments(node: Node) -> list[tuple[int, int, Node | None]]:
    """(begin, end, value or None for zeros) of a concatenation's parts."""
    found, begin = [], 0
    for part in node.args:
        end = begin + part.shape[node.info]
        value = part.args[0]
        found.append((begin, end, None if _is_zero(value) else value))
        begin = end
    return found


def _at(segments, begin, end) -> Node | str | None:
    """What lies between two places: a value, None for zeros, "part" for a part of a value."""
    for low, high, value in segments:
        if low <= begin < high:
            return value if value is None or (low, high) == (begin, end) else "part"
    return None
