"""Tracing: a function's Python code runs once, on tensors that record, and nothing real changes."""

from __future__ import annotations

import warnings
from contextlib import ExitStack

import numpy as np

from danlu.autograd.node import FREED, LEAF
from danlu.compiler.overlay import Outside, Overlay, real
from danlu.compiler.symbolic import Symbols
from danlu.compiler.texts import Scope
from danlu.kernels.graph.nodes import Graph, Slot, Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.tensor import Tensor

__all__ = ["Session", "comes_from_elsewhere", "is_freed"]


class Session:
    """One trace: what goes into the graph, and what the traced code did besides.

    Attributes:
        graph: the recorded graph.
        overlay: the tensors that were touched.
        arguments: the graph's arguments as they were: arrays, and floats for scalars.
        sources: an expression per argument, which finds it at run time.
        names: what the expressions refer to.
        guards: expressions that must hold for the graph to stand for the function.
        host_calls: (function, args, kwargs, gradients at that time) to call after every run.
        of_any_size: whether the machine code is to serve other sizes as well.
        closed: whether a host call has changed tensors: none is to be looked at any more.
        symbols: the numbers that are read and computed anew before every run.
    """

    def __init__(self, of_any_size: bool = False):
        self.of_any_size, self.closed = of_any_size, False
        self.graph = Graph()
        self.names = Scope()
        self.overlay = Overlay(self.graph, self.names, self._leaf_of, lambda: self.closed)
        self.arguments: list = []
        self.sources: list[str] = []
        self.guards: list[str] = []
        self.host_calls: list[tuple] = []
        self.before_host: list[tuple] = []
        self.symbols = Symbols(self.scalar, self.names)
        self._leaves: dict[int, Traced] = {}

    # ------------------------------------------------------------------ arguments of the graph
    def add_argument(self, sample, source: str) -> int:
        """One more argument, and where it is found at run time."""
        self.arguments.append(sample)
        self.sources.append(source)
        return len(self.arguments) - 1

    def leaf(self, array: np.ndarray) -> Traced:
        """An array that lives at the same place at every run."""
        found = self._leaves.get(id(array))
        if found is None:
            number = self.add_argument(array, self.names.of(array, "a"))
            found = self._leaves[id(array)] = self._traced(array, number)
        return found

    def _traced(self, array, number) -> Traced:
        if type(array) is not np.ndarray or array.dtype.hasobject:
            raise Unsupported(f"an array of type {type(array).__name__}, {array.dtype}")
        return Traced(self.graph, self.graph.leaf(array, Slot("argument", number)))

    def _leaf_of(self, known: Outside) -> Traced:
        """The stand-in for the memory of a tensor from outside."""
        if self.closed:
            raise Unsupported("tensors used after a step that runs in Python")
        array, tensor = known.array, known.tensor
        if known.path is None:
            name = self.overlay.name(tensor)
            traced = self.leaf(array)
            self.guards.append(f"{name}._array is {self.names.of(array, 'a')}")
            if array.dtype.kind in "fcV":
                wanted = real("_requires_grad", tensor)
                self.guards.append(f"{name}._requires_grad is {wanted}")
                if wanted:
                    self.guards += self._same_hooks(name, real("_hooks", tensor))
            return traced
        if known.path.endswith("._grad"):  # of arguments the checks come first
            self.names[array.dtype.name] = array.dtype
            self.guards.append(
                f"{known.path}._array.dtype is {array.dtype.name} and "
                f"{known.path}._array.strides == {array.strides}"
            )
        number = self.add_argument(array, f"{known.path}._array")
        return self._traced(array, number)

    def _same_hooks(self, name: str, hooks) -> list[str]:
        if not hooks and not getattr(hooks, "after", None):
            return [f"not {name}._hooks"]
        kept = self.names.of(hooks, "hooks")
        return [f"{name}._hooks is {kept} and [*{name}._hooks] == {[*hooks]} and "
                f"[*{name}._hooks.after] == {[*hooks.after]}"]  # fmt: skip

    def scalar(self, value: float, source: str) -> Traced:
        """A Python float that an expression gives at every run."""
        number = self.add_argument(float(value), source)
        node = self.graph.make("scalar", (), np.dtype(np.float64), (), number)
        return Traced(self.graph, node, weak=True)

    def guard(self, expression: str) -> None:
        """A condition for the trace to hold."""
        if expression not in self.guards:
            self.guards.append(expression)

    def host_call(self, function, args, kwargs, moves_tensors: bool) -> None:
        """Have a function called in Python at the end of every run.

        Args:
            moves_tensors: whether it changes tensors, so that nothing may be computed behind it.
        """
        for known in self.overlay.outside.values():
            if "_grad" in known.changed:
                self.before_host.append((known, known.changed["_grad"]))
        self.host_calls.append((function, args, kwargs, tuple(self.before_host)))
        self.before_host = []
        self.closed = self.closed or moves_tensors

    # ------------------------------------------------------------------ running
    def run(self, call, contexts):
        """What `call()` returns, everything in it recorded.

        Args:
            contexts: further context managers of the trace, entered in order.

        Raises:
            Unsupported: besides what `call` raises: random numbers were drawn past the graph.
        """
        from danlu.compiler.random import random_on_traced

        with ExitStack() as stack:
            stack.enter_context(self.overlay)
            for each in contexts:
                stack.enter_context(each)
            stream = stack.enter_context(random_on_traced(self.graph))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # the eager call that follows says them
            result = call()
            if stream.drawn_unseen():
                raise Unsupported("random numbers that are drawn past danlu's generators")
            return result

    def written(self) -> list[tuple[list, int]]:
        """Version lists of tensors from outside, with how far each went up.

        Raises:
            Unsupported: a tensor from outside got a history.
        """
        found = []
        for versions, counted in self.overlay.versions.values():
            if counted[1] != versions[1]:
                raise Unsupported("a tensor from outside becomes the result of an operation")
            if counted[0] != versions[0]:
                found.append((versions, counted[0] - versions[0]))
        return found


def is_freed(tensor: Tensor) -> bool:
    """Whether a backward pass of the trace has already used up the graph behind a result."""
    seen: set = set()
    stack = [tensor._edge[0]] if tensor._edge is not None else []
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if getattr(node, "saved", None) is FREED:
            return True
        stack.extend(edge[0] for edge in node.next if edge is not None and edge[1] != LEAF)
    return False


def comes_from_elsewhere(known: Outside) -> bool:
    """Whether a tensor from outside is the result of operations outside."""
    return real("_edge", known.tensor) is not None or real("_view", known.tensor) is not None
