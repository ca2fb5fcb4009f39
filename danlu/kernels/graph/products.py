"""Matrix products with a short side as loops.

A product of n rows of two features, or of twenty hidden units with one output, is memory traffic:
as multiplications and a sum it shares the loops of what comes before and behind. A step of linear
regression becomes one pass over the data.
"""

from __future__ import annotations

from math import prod

import numpy as np

from danlu.kernels.graph.calls import Operand
from danlu.kernels.graph.nodes import Graph, Node
from danlu.kernels.graph.simplify import rebuilt
from danlu.kernels.matmul import matmul

__all__ = ["expand"]

SHORT = 4  # products that are written out
MIDDLE = 256  # the longest side of a matrix that is multiplied by a vector in the loops
MANY = 64  # rows that are data: of fewer, a call costs no more than loops


def expand(graph: Graph, results: list[Node]) -> tuple[Graph, list[Node]]:
    """A new graph in which short products are loops."""
    if not any(call.function is matmul for call in graph.externs):
        return graph, results
    return rebuilt(graph, results, _written_out)


def _written_out(graph, node, args) -> Node:
    if node.op == "extern":
        call = graph.externs[node.info]
        plain = call.function is matmul and not call.kwargs
        if plain and all(isinstance(each, Operand) for each in call.args) and len(args) == 2:
            a, b = (args[each.number] for each in call.args)
            fits = a.dtype == b.dtype == node.dtype and a.dtype.kind == "f"
            if fits and a.dtype.itemsize >= 4 and len(b.shape) == 2 and 0 not in node.shape:
                found = _product(graph, a, b)
                if found is not None:
                    return found
    return graph.make(node.op, tuple(args), node.dtype, node.shape, node.info)


def _product(graph, a, b):
    rows, (depth, columns) = prod(a.shape[:-1]), b.shape
    if depth == 1:
        return graph.map("multiply", a.dtype, a, b)
    if depth >= MANY and len(a.shape) == 2 and min(rows, columns) <= SHORT:
        return _over_rows(graph, a, b)
    if rows < MANY:
        return None
    if depth <= SHORT and a.op == "leaf" == b.op and not (columns == 1 and _has_short_rows(a)):
        terms = [
            graph.map("multiply", a.dtype, _slice(graph, a, n, -1), _slice(graph, b, n, 0))
            for n in range(depth)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = graph.map("add", a.dtype, total, term)
        return total
    if columns == 1 and depth <= MIDDLE:
        row = _reshaped(graph, b, (1, depth))
        return _sum(graph, graph.map("multiply", a.dtype, a, row), len(a.shape) - 1)
    return None


def _over_rows(graph, a, b):
    """A product whose sums go over many rows, of two matrices of few columns."""
    turned = _turned(graph, a)
    if turned is None:
        return None
    rows, columns = a.shape[0], b.shape[1]
    as_rows = min(rows, columns) == 1 and (_has_short_rows(turned) or _has_short_rows(b))
    if rows * columns <= SHORT and not as_rows:
        left, right = _columns(graph, turned), _columns(graph, b)
        if left is not None and right is not None:
            sums = [
                _sum(graph, graph.map("multiply", a.dtype, one, other), 0)
                for one in left for other in right
            ]  # fmt: skip
            return _reshaped(graph, _joined(graph, sums), (rows, columns))
    if min(rows, columns) > 1 or max(rows, columns) > MIDDLE:
        return None
    total = _sum(graph, graph.map("multiply", a.dtype, turned, b), 0)
    return _reshaped(graph, total, (rows, columns))


def _has_short_rows(leaf):
    """Whether rows follow each other in memory: loops over them read whole vectors (`short_rows`),
    loops over single columns would read element by element."""
    return (
        leaf.op == "leaf"
        and 1 < leaf.shape[-1] <= abs(leaf.info.strides[-2])
        and (leaf.info.strides[-1] == 1)
    )


def _turned(graph, a):
    """The transpose of a matrix that is one itself, or whose columns are dense."""
    if a.op == "transpose":
        return a.args[0]
    if a.op == "leaf" and (a.info.strides[0] == 1 or a.shape[0] == 1):
        return graph.view(a, np.transpose)
    if a.shape[0] == 1:
        return _reshaped(graph, a, a.shape[::-1])
    return None


def _columns(graph, matrix):
    """The columns of a matrix in memory, or one that is a column."""
    if matrix.shape[1] == 1:
        return [matrix]
    if matrix.op != "leaf":
        return None
    return [_slice(graph, matrix, number, 1) for number in range(matrix.shape[1])]


def _slice(graph, leaf, number, axis):
    index = slice(number, number + 1)
    return graph.view(leaf, lambda array: array[index] if axis == 0 else array[..., index])


def _sum(graph, node, axis):
    shape = tuple(1 if i == axis else n for i, n in enumerate(node.shape))
    return graph.make("reduce", (node,), node.dtype, shape, ("sum", (axis,)))


def _joined(graph, numbers):
    """Values of one element side by side."""
    if len(numbers) == 1:
        return numbers[0]
    own = len(graph.nodes)
    parts = tuple(
        graph.make("part", (each,), each.dtype, each.shape, (own, place))
        for place, each in enumerate(numbers)
    )
    return graph.make("concatenate", parts, parts[0].dtype, (1, len(parts)), 1)


def _reshaped(graph, node, shape):
    if node.shape == shape:
        return node
    if node.op == "leaf":
        found = graph.view(node, lambda array: np.reshape(array, shape, copy=False))
        if found is not None:
            return found
    return graph.make("reshape", (node,), node.dtype, shape)
