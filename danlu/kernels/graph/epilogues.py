"""What follows a library call and can be done by it: a bias, and max(x, 0), cost nothing while the
result is in registers."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from danlu.kernels.convolution import convolve, convolve_input
from danlu.kernels.graph.calls import Operand
from danlu.kernels.graph.nodes import Graph, Node, number_of
from danlu.kernels.graph.simplify import live
from danlu.kernels.matmul import matmul

__all__ = ["fold"]


class _Epilogue(NamedTuple):
    """What a function adds by itself: a `bias` along an axis, `activation="relu"`."""

    bias_axis: int
    activates: bool


_EPILOGUES = {
    matmul: _Epilogue(-1, True),
    convolve: _Epilogue(1, False),
    convolve_input: _Epilogue(1, False),
}
# the positions of these arguments where a call does not name them
_PLACES = {
    matmul: {"bias": 2, "activation": 3}, convolve: {"bias": 6}, convolve_input: {"bias": 7},
}  # fmt: skip


def fold(graph: Graph, results: list[Node]) -> tuple[Graph, list[Node]]:
    """A new graph with biases and activations inside the calls that they follow."""
    wanted = [*results, *graph.writes.values()]
    nodes = live(graph, wanted)
    uses = Counter(arg for node in nodes for arg in node.args)
    uses.update(wanted)
    new = Graph()
    new.arrays, new.externs = graph.arrays, list(graph.externs)
    made: dict[Node, Node] = {}
    single: set[Node] = set()  # new nodes that one node uses
    for node in nodes:
        args = [made[each] for each in node.args]
        folded = _with_bias(new, node, args, single) or _activated(new, node, args, single)
        made[node] = folded or new.make(node.op, tuple(args), node.dtype, node.shape, node.info)
        if uses[node] == 1:
            single.add(made[node])
    for leaf, value in graph.writes.items():
        target = new.make("leaf", (), leaf.dtype, leaf.shape, leaf.info)
        new.writes[target] = made[value]
    found = [made[each] for each in results]
    new.nodes = live(new, [*found, *new.writes, *new.writes.values()])
    return new, found


def _free(graph, node, single, name):
    """The call of a node, if it is one whose argument `name` is still to be given."""
    if node.op != "extern" or node not in single:
        return None
    call = graph.externs[node.info]
    place = _PLACES.get(call.function, {}).get(name)
    if place is None:
        return None
    given = call.kwargs.get(name) if len(call.args) <= place else call.args[place]
    return call if given is None else None


def _again(graph, node, call, name, argument, *operands):
    """The call with one more argument."""
    place = _PLACES[call.function][name]
    if len(call.args) > place:
        call = call._replace(args=(*call.args[:place], argument, *call.args[place + 1 :]))
    else:
        call = call._replace(kwargs={**call.kwargs, name: argument})
    graph.externs.append(call)
    args = (*node.args, *operands)
    return graph.make("extern", args, node.dtype, node.shape, len(graph.externs) - 1)


def _with_bias(graph, node, args, single):
    if node.op != "add":
        return None
    for own, other in (args, args[::-1]):
        call = _free(graph, own, single, "bias")
        if call is None or own.shape != node.shape or own.dtype != other.dtype:
            continue
        # a bias comes before an activation
        if _EPILOGUES[call.function].activates and _free(graph, own, single, "activation") is None:
            continue
        bias = _along(graph, other, node, _EPILOGUES[call.function].bias_axis)
        if bias is not None:
            return _again(graph, own, call, "bias", Operand(len(own.args), False), bias)
    return None


def _along(graph, bias, node, axis):
    """An operand of an addition as the vector of numbers along one axis, or None."""
    length = node.shape[axis]
    wanted = [1] * len(node.shape)
    wanted[axis] = length
    padded = (1,) * (len(node.shape) - len(bias.shape)) + bias.shape
    if list(padded) != wanted:
        return None
    if bias.shape == (length,):
        return bias
    if bias.op == "leaf":
        return graph.view(bias, lambda array: np.reshape(array, length, copy=False))
    return graph.make("reshape", (bias,), bias.dtype, (length,))


def _activated(graph, node, args, single):
    if node.op not in ("at_least", "maximum") or len(args) != 2:
        return None
    own, limit = args
    call = _free(graph, own, single, "activation")
    if call is None or limit.op != "constant" or number_of(limit) != 0:
        return None
    return _again(graph, own, call, "activation", "relu")
