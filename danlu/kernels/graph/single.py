"""A small graph as one machine-code function on one thread, called once.

What costs microseconds is not worth the calls of its parts: all loops of the graph are in one
function, with every shape, stride and offset written into it. Temporaries lie in one block that is
planned with the text, results are made by the function itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod

import numpy as np

from danlu.kernels.graph.calls import settled
from danlu.kernels.graph.nodes import ELSEWHERE, SOURCES, Graph, Node, Unsupported
from danlu.kernels.graph.simplify import live
from danlu.kernels.graph.single_memory import dtype_name
from danlu.kernels.graph.single_text import Signature, text
from danlu.kernels.runtime import launch, machine, objects, pool

__all__ = ["Single", "single"]

# Multiplications and additions above which several threads pay, and nodes above which compiling
# takes longer than such steps can win back.
MOST_WORK, MOST_NODES = 1 << 21, 1500


class Single:
    """A graph as one function.

    Attributes:
        launch: `launch(*arguments)`, which returns the results and updates arguments in place. The
            arguments are of the shapes, strides and dtypes that the code was made for.
        written: numbers of the arguments that are updated in place.
        code: size and times of the machine code.
    """

    def __init__(self, graph: Graph, results: list[Node], signature, arguments, code, draws):
        self.written = tuple({leaf.info.slot.number for leaf in graph.writes})
        self.code = code
        self._signature, self._draws = signature, draws
        self._results = [(node.shape, node.dtype) for node in results]
        self._arrays = graph.arrays
        self._call = _builtin(code, graph.arrays, [node.dtype for node in results])
        self.launch: Callable[..., tuple] = self._drawing() if draws else self._call

    def _drawing(self):
        call, draws = self._call, self._draws

        def launch(*arguments):
            return call(*arguments, *[array for draw in draws for array in draw()])

        return launch


def single(graph: Graph, results: Sequence[Node], arguments: Sequence) -> Single:
    """The function of a graph.

    Args:
        graph: what it computes and writes.
        results: nodes whose values it returns, as new arrays.
        arguments: arrays and floats like those that it will be called with.

    Raises:
        Unsupported: the graph is too large, or has something that is not generated.

    Example:
        >>> from danlu.kernels.graph.traced import trace
        >>> x = np.array([1.0, 2.0], np.float32)
        >>> graph, y = trace(lambda x: x * x + 1, [x])
        >>> single(graph, [y.node], [x]).launch(x)
        (array([2., 5.], dtype=float32),)
    """
    if not objects.agree():
        raise Unsupported("objects of another layout")
    results = list(results)
    nodes = live(graph, [*results, *graph.writes.values()])
    if len(nodes) > MOST_NODES or sum(map(_work, nodes)) > MOST_WORK:
        raise Unsupported("more work than for one thread")
    _refuse_shared(graph, arguments)
    draws = [node for node in graph.nodes if node.op == "extern" and not node.args]
    drawn, functions, count = _drawn(graph, draws)
    kinds = tuple("float" if type(each) is float else "array" for each in arguments)
    shapes = tuple(node.shape for node in results)
    signature = Signature(kinds, len(graph.arrays), drawn, count, shapes)

    def write():
        from danlu.kernels.codegen.target import host

        return text(graph, results, signature, host())

    with pool.lock():
        pool.ensure()
        objects.provide()
        key = ("single", _described(graph, nodes, results), signature)
        code = machine.load(key, write, ("launch", "step", "scratch_size"))
    return Single(graph, results, signature, arguments, code, functions)


def _work(node: Node) -> int:
    if node.op == "extern" and len(node.args) >= 2:  # a product, if it is generated at all
        return prod(node.shape) * (node.args[0].shape or (1,))[-1]
    if node.op in SOURCES or node.op in ELSEWHERE:
        return 0
    return prod(node.args[0].shape) if node.op == "reduce" else prod(node.shape)


def _refuse_shared(graph, arguments) -> None:
    """Where memory is written that another argument shows, the order of reads would count."""
    written = {leaf.info.slot.number for leaf in graph.writes}
    arrays = [(number, each) for number, each in enumerate(arguments) if type(each) is not float]
    for number in written:
        for other, array in arrays:
            if other != number and np.may_share_memory(arguments[number], array):
                raise Unsupported("arguments that share memory")


# ------------------------------------------------------------------------------ drawn arrays
def _drawn(graph, draws):
    """(number of a call -> that of its first array, what draws the arrays of each call, how many
    arrays): calls without operands run before the launch."""
    made = {node: [] for node in draws}
    for node in graph.nodes:
        if node.op == "result" and node.args[0] in made:
            made[node.args[0]].append(node)
    counts, functions = [], []
    for node, parts in made.items():
        call = graph.externs[node.info]
        if call.many:
            parts = sorted({part.info: part for part in parts}.items())
        else:
            parts = [(None, node)]
        functions.append(_drawing(call, parts))
        counts.append(parts[-1][0] + 1 if call.many and parts else len(parts))
    starts = [0, *accumulate(counts)]
    return {node.info: start for node, start in zip(draws, starts)}, functions, starts[-1]


def _drawing(call, parts):
    """What makes the arrays of a call; those that are not used are empty."""
    nothing = np.empty(0)

    def draw():
        found = call.function(*call.args, **call.kwargs)
        if not call.many:
            ((_, node),) = parts
            return [settled(found, node.shape, node.dtype)]
        arrays = [nothing] * (parts[-1][0] + 1 if parts else 0)
        for number, node in parts:
            arrays[number] = settled(found[number], node.shape, node.dtype)
        return arrays

    return draw


# ------------------------------------------------------------------------------ key and call
def _described(graph, nodes, results) -> tuple:
    """What the text depends on: the nodes by the order of computation."""
    number = {node: place for place, node in enumerate(nodes)}
    written = {leaf: value for leaf, value in graph.writes.items()}
    lines = []
    for node in nodes:
        info = node.info
        if node.op == "extern":
            call = graph.externs[info]
            info = (info, call.function.__module__, call.function.__qualname__)
            if node.args:
                info += (repr(call.args), repr(call.kwargs))
        elif node.op == "view":
            info = str(info)
        args = tuple(number[each] for each in node.args)
        lines.append((node.op, args, dtype_name(node.dtype), node.shape, info))
    writes = [(dtype_name(leaf.dtype), leaf.shape, tuple(leaf.info), number[value])
              for leaf, value in written.items()]  # fmt: skip
    return lines, writes, [number[each] for each in results]


class _Table(np.ndarray):
    """The addresses that a launch needs, and what keeps them alive."""

    kept: tuple


def _builtin(code, arrays, dtypes):
    """The launch as a Python function."""
    size = ctypes.c_int64.from_address(code.addresses["scratch_size"]).value
    block = np.zeros(size + 64, np.uint8)
    start = -(-block.ctypes.data // 64) * 64
    numbers = [start, *(each.ctypes.data for each in arrays), *(each.num for each in dtypes)]
    table = np.array(numbers, np.int64).view(_Table)
    definition = launch.method_definition("launch", code.addresses["launch"])
    # the function's definition lies in what the function itself keeps alive
    table.kept = (definition, code, block, arrays)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return make(ctypes.addressof(definition), table, None)


