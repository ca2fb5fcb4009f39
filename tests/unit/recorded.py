"""Functions of Tensors recorded as graphs, and graphs computed by NumPy node by node.

The evaluator is the meaning of a graph in the plainest text: what back ends are compared with.
"""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np

from danlu.compiler.operators import operators_on_traced
from danlu.kernels.graph.calls import filled
from danlu.kernels.graph.nodes import Graph, Slot, Unsupported, number_of, window
from danlu.kernels.graph.traced import Traced, lift
from danlu.tensor import Tensor, wrap


class Recording:
    """The graph of one run of a function.

    Attributes:
        graph, arguments: the graph, and the arrays that its leaves stand for.
        results: the nodes of the tensors that the function returned, None for None.
    """

    def __init__(self, function, tensors):
        self.graph = Graph()
        self.arguments = [each._array for each in tensors]
        stand_ins = []
        for number, each in enumerate(tensors):
            leaf = self.graph.leaf(each._array, Slot("argument", number))
            stand_ins.append(wrap(Traced(self.graph, leaf)))
            stand_ins[-1]._requires_grad = each._requires_grad
        with self._lifting(), operators_on_traced():
            found = function(*stand_ins)
            if not all(each is None or isinstance(each, Tensor) for each in found):
                raise Unsupported("a result that is no tensor")
            self.results = [None if each is None else each._array.node for each in found]

    @contextmanager
    def _lifting(self):
        """All tensors that are made hold recording arrays."""
        slot = Tensor.__dict__["_array"]

        def put(tensor, array):
            slot.__set__(tensor, lift(self.graph, array))

        Tensor._array = property(slot.__get__, put)
        try:
            yield
        finally:
            Tensor._array = slot

    def evaluated(self) -> list:
        """The results by NumPy; arguments that the graph writes to are written to."""
        return evaluate(self.graph, self.results, self.arguments)

    def planned(self):
        """A function that gives the results by generated code, likewise."""
        from danlu.kernels.graph.plan import plan_graph

        launch = plan_graph(self.graph, self.results, self.arguments).launch
        return lambda: list(launch(*self.arguments))


def evaluate(graph, results, arguments) -> list:
    """What results hold, computed by NumPy."""
    values: dict = {}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            values[node] = _value(graph, node, [values[each] for each in node.args], arguments)
        made = [None if node is None else np.array(values[node]) for node in results]
        for leaf, value in graph.writes.items():
            _memory(graph, leaf, arguments)[...] = values[value]
    return made


def _memory(graph, leaf, arguments):
    slot = leaf.info.slot
    array = (arguments if slot.kind == "argument" else graph.arrays)[slot.number]
    return window(array, leaf.info, leaf.shape)


def _value(graph, node, args, arguments):
    if node.op == "leaf":
        return np.array(_memory(graph, node, arguments))
    if node.op == "scalar":
        return np.asarray(arguments[node.info])
    if node.op == "constant":
        return np.asarray(number_of(node), node.dtype)
    if node.op == "extern":
        call = graph.externs[node.info]
        result = call.function(*filled(call.args, args), **filled(call.kwargs, args))
        if call.many:
            return result
        return _checked(node, result)
    if node.op == "result":
        return _checked(node, args[0][node.info])
    return np.broadcast_to(_COMPUTED.get(node.op, _elementwise)(node, *args), node.shape)


def _checked(node, result):
    result = np.asarray(result)
    assert (result.shape, result.dtype) == (node.shape, node.dtype), (node, result)
    return result


def _elementwise(node, *args):
    from danlu.kernels.fused import functions

    if node.op in ("erf", "erfc"):
        found = np.vectorize(getattr(math, node.op), otypes=[node.dtype])(*args)
    else:
        found = (getattr(np, node.op, None) or getattr(functions, node.op))(*args)
    return found.astype(node.dtype)


def _iota(node):
    shape = [size if axis == node.info else 1 for axis, size in enumerate(node.shape)]
    return np.arange(node.shape[node.info], dtype=node.dtype).reshape(shape)


def _reduce(node, x):
    kind, axes = node.info
    return getattr(np, kind)(x, axis=axes, keepdims=True).astype(node.dtype)


def _gather(node, x, indices):
    last = node.args[0].shape[node.info] - 1
    indices = np.where(indices < 0, indices + last + 1, indices)
    return np.take_along_axis(x, np.clip(indices, 0, last), node.info)


def _put(node, x, indices, values):
    x = np.array(x)
    np.put_along_axis(x, indices, np.broadcast_to(values, indices.shape), node.info)
    return x


_COMPUTED = {
    "iota": _iota,
    "reduce": _reduce,
    "gather": _gather,
    "put": _put,
    "convert": lambda node, x: x.astype(node.dtype),
    "copy": lambda node, x: x,
    "part": lambda node, x: x,
    "where": lambda node, chosen, x, y: np.where(chosen, x, y),
    "reshape": lambda node, x: x.reshape(node.shape),
    "transpose": lambda node, x: x.transpose(node.info),
    "view": lambda node, x: node.info.look(x),
    "concatenate": lambda node, *parts: np.concatenate(parts, node.info),
}
