"""A small graph as one machine-code function on one thread, called once.

What costs microseconds is not worth the calls of its parts: all loops of the graph are in one
function, with every shape, stride and offset written into it. Temporaries lie in one block that is
planned with the text, results are made by the function itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np

from danlu.kernels.graph import single_epoch
from danlu.kernels.graph.nodes import ELSEWHERE, SOURCES, Graph, Node, Unsupported, dtype_name
from danlu.kernels.graph.simplify import live
from danlu.kernels.graph.single_early import Early
from danlu.kernels.graph.single_steps import is_native
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
        dtypes: those of the values that it computes.
    """

    def __init__(self, graph: Graph, results: list[Node], arguments, code, early):
        self.written = tuple({leaf.info.slot.number for leaf in graph.writes})
        self.code = code
        self.dtypes = {node.dtype for node in graph.nodes}
        self._early = early
        self._specs = [single_epoch.Spec.of(each) for each in arguments]
        self._results = [(node.shape, node.dtype) for node in results]
        self._arrays = list(graph.arrays)
        self._scratch = ctypes.c_int64.from_address(code.addresses["scratch_size"]).value
        self._call = _builtin(code, self._scratch, self._arrays, [node.dtype for node in results])
        self.launch: Callable[..., tuple] = self._calling() if early else self._call

    def epoch(
        self,
        arguments: Sequence,
        gathered: Mapping[int, np.ndarray],
        order: np.ndarray,
        scalars: np.ndarray,
        collected: Collection[int] = (),
    ) -> tuple[np.ndarray, ...]:
        """Run many steps in one native call: what `launch` would do, step after step.

        Other Python threads run meanwhile; they should leave the arguments alone.

        Args:
            arguments: as of `launch`. Those that are gathered, and floats, are not looked at.
            gathered: number of an argument -> C-ordered rows `(N, ...)`; in each step the argument
                is made of the rows that `order` names.
            order: numbers of rows, of shape (steps, batch).
            scalars: the floats of each step, of shape (steps, floats), in the order of the
                arguments.
            collected: numbers of results of which all steps' values are wanted.

        Returns:
            The results: of those in `collected` an array `(steps, ...)`, of the others what the
            last step gave.

        Raises:
            ValueError: an argument is not like those that the code was made for, or no steps.
            IndexError: `order` names a row that is not there.
            Unsupported: a call in Python needs an argument that the steps update.

        Example:
            >>> from danlu.kernels.graph.traced import trace
            >>> def add(batch, total):
            ...     total[...] = total + batch.sum()
            ...     return batch.max()
            >>> batch, total = np.empty(2), np.zeros(())
            >>> graph, largest = trace(add, [batch, total])
            >>> compiled = single(graph, [largest.node], [batch, total])
            >>> order, none = np.array([[0, 1], [3, 2]]), np.empty((2, 0))
            >>> compiled.epoch([None, total], {0: np.arange(4.0)}, order, none, collected={0})
            (array([1., 3.]),)
            >>> total
            array(6.)
        """
        if not self._early.reads.isdisjoint(self.written):
            raise Unsupported("a call that looks at what the steps update")
        return single_epoch.run(
            self.code, self._specs, self._arrays, self._early, self._results, self._scratch,
            arguments, gathered, order, scalars, collected,
        )  # fmt: skip

    @contextmanager
    def poisoned(self) -> Iterator[None]:
        """The scratch block holds NaN (all bits set): a launch that reads what it has not written
        shows it."""
        _, _, block, _ = self._call.__self__.kept
        block.fill(255)
        yield

    def _calling(self):
        call, early = self._call, self._early.arrays

        def launch(*arguments):
            return call(*arguments, *early(arguments))

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
    early = Early(graph, results, arguments)
    if early and not any(_work(node) for node in nodes):
        raise Unsupported("nothing but calls")
    kinds = tuple("float" if type(each) is float else "array" for each in arguments)
    shapes = tuple(node.shape for node in results)
    signature = Signature(kinds, len(graph.arrays), early.starts, early.count, shapes)

    def write():
        from danlu.kernels.codegen.target import host

        return text(graph, results, signature, host())

    with pool.lock():
        pool.ensure()
        objects.provide()
        key = ("single", _described(graph, nodes, results), signature)
        code = machine.load(key, write, ("launch", "step", "scratch_size"))
    return Single(graph, results, arguments, code, early)


def _work(node: Node) -> int:
    if node.op == "extern" and len(node.args) >= 2:  # a product, if it is generated at all
        return prod(node.shape) * (node.args[0].shape or (1,))[-1]
    if node.op in SOURCES or node.op in ELSEWHERE:
        return 0
    return prod(node.args[0].shape) if node.op == "reduce" else prod(node.shape)


def _refuse_shared(graph, arguments) -> None:
    """Where memory is written that another array shows, the order of reads would count."""
    arrays: list[tuple] = [(None, each) for each in graph.arrays]
    arrays += [(n, each) for n, each in enumerate(arguments) if type(each) is not float]
    for number in {leaf.info.slot.number for leaf in graph.writes}:
        if not arguments[number].flags.writeable:
            raise Unsupported("writing to what is read-only")
        for other, array in arrays:
            if other != number and np.may_share_memory(arguments[number], array):
                raise Unsupported("arguments that share memory")


# ------------------------------------------------------------------------------ key and call
def _described(graph, nodes, results) -> tuple:
    """What the text depends on: the nodes by the order of computation."""
    number = {node: place for place, node in enumerate(nodes)}
    lines = []
    for node in nodes:
        info = node.info
        if node.op == "extern":
            call = graph.externs[info]
            of = call.function
            name = getattr(of, "__qualname__", None) or getattr(of, "__name__", type(of).__name__)
            info = (info, getattr(of, "__module__", None), name)
            if is_native(call, node):
                info += tuple(str(each) for each in (*call.args, *call.kwargs.items()))
        elif node.op == "view":
            info = str(info)
        args = tuple(number[each] for each in node.args)
        lines.append((node.op, args, dtype_name(node.dtype), node.shape, info))
    writes = [(dtype_name(leaf.dtype), leaf.shape, tuple(leaf.info), number[value])
              for leaf, value in graph.writes.items()]  # fmt: skip
    return lines, writes, [number[each] for each in results]


class _Table(np.ndarray):
    """The addresses that a launch needs, and what keeps them alive."""

    kept: tuple


def _builtin(code, scratch, arrays, dtypes):
    """The launch as a Python function."""
    block = np.zeros(scratch + 64, np.uint8)
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
