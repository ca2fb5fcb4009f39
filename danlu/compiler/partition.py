"""Cutting a graph in two: what is computed when a function is called, and what its backward pass
computes from that later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.kernels.graph.nodes import (
    SOURCES,
    VIEWS,
    Graph,
    Node,
    Slot,
    Unsupported,
    is_elementwise,
)

__all__ = ["Later"]


class Later:
    """What of `results` depends on the arguments `tangents`: the later part of a graph.

    Attributes:
        given: numbers of the whole graph's arguments that it reads.
        saved: nodes of the whole graph whose values it needs.

    Raises:
        Unsupported: it draws random numbers.
    """

    def __init__(self, graph: Graph, results: list[Node], tangents: list[int]):
        self._whole, self._results, self._tangents = graph, results, tangents
        self._late = self._depending()
        self._numbers = _of_numbers(graph)
        self._needed = self._used()
        self.given: list[int] = []
        for node in self._needed:
            self._look_at(node)
        self.saved = [node for node in self._needed if self._is_saved(node)]

    def _depending(self) -> set[Node]:
        """The nodes that depend on the tangents."""
        late: set[Node] = set()
        for node in self._whole.nodes:
            is_tangent = (
                node.op == "leaf"
                and node.info.slot.kind == "argument"
                and node.info.slot.number in self._tangents
            )
            if is_tangent or any(arg in late for arg in node.args):
                late.add(node)
        return late

    def _used(self) -> list[Node]:
        """The nodes of the later part and those it takes from the earlier, in order."""
        found: set[Node] = set()
        stack = list(self._results)
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                if not self._is_saved(node):
                    stack.extend(node.args)
        return sorted(found, key=lambda node: node.number)

    def _is_saved(self, node) -> bool:
        """Whether the earlier part leaves a value behind. A `part` is no value but a place in a
        concatenation: what lies there is kept. Numbers alone are computed again."""
        if node in self._late or node in self._numbers or self._is_itself(node):
            return False
        return node.op not in SOURCES and node.op not in VIEWS and node.op != "part"

    def _is_itself(self, node) -> bool:
        """Whether a node is the conjugate of real numbers, as rules of complex functions ask for:
        to keep it would be to copy every weight of a convolution."""
        if node.op != "extern" or self._whole.externs[node.info].function is not np.conjugate:
            return False
        return node.dtype.kind != "c" and node.dtype == node.args[0].dtype

    def _look_at(self, node) -> None:
        if node.op == "extern" and node in self._late:
            if self._whole.externs[node.info].effect:
                raise Unsupported("random numbers in a backward pass")
        if node.op not in ("leaf", "scalar") or node in self._late:
            return
        slot = node.info.slot if node.op == "leaf" else Slot("argument", node.info)
        if slot.kind == "argument" and slot.number not in self.given:
            self.given.append(slot.number)

    # ------------------------------------------------------------------ a graph of its own
    def graph(self, saved: Sequence[np.ndarray]) -> tuple[Graph, list[Node]]:
        """The graph and its results; its arguments are `given`, `saved` and the tangents.

        Args:
            saved: arrays that lie in memory as the values of `saved` will.
        """
        made = Graph()
        made.arrays = self._whole.arrays
        numbers = {number: place for place, number in enumerate(self.given)}
        first = len(self.given)
        copies = {
            node: made.leaf(array, Slot("argument", first + place))
            for place, (node, array) in enumerate(zip(self.saved, saved, strict=True))
        }
        first += len(saved)
        numbers |= {number: first + place for place, number in enumerate(self._tangents)}
        for node in self._needed:
            if node not in copies:
                copies[node] = self._copied(made, node, copies, numbers)
        return made, [copies[node] for node in self._results]

    def _copied(self, made, node, copies, numbers) -> Node:
        if self._is_itself(node):
            return copies[node.args[0]]
        info = node.info
        if node.op == "leaf" and info.slot.kind == "argument":
            info = info._replace(slot=Slot("argument", numbers[info.slot.number]))
        elif node.op == "scalar":
            info = numbers[info]
        elif node.op == "extern":
            made.externs.append(self._whole.externs[info])
            info = len(made.externs) - 1
        args = tuple(copies[arg] for arg in node.args)
        return made.make(node.op, args, node.dtype, node.shape, info)


def _of_numbers(graph: Graph) -> set[Node]:
    """Elementwise functions of nothing but constants and countings, as zeros of a shape are."""
    found: set[Node] = set()
    for node in graph.nodes:
        if is_elementwise(node) and all(
            each in found or each.op in ("constant", "iota") for each in node.args
        ):
            found.add(node)
    return found
