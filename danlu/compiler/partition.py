"""Cutting a graph in two: what is computed when a function is called, and what its backward pass
computes from that later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.kernels.graph.nodes import SOURCES, VIEWS, Graph, Node, Slot, Unsupported

__all__ = ["Backward", "cut"]


class Backward(NamedTuple):
    """The later part.

    Attributes:
        graph, results: a graph of its own; its arguments are, in this order, `given`, `saved` and
            the gradients of the outputs.
        given: numbers of the whole graph's arguments that it reads.
        saved: nodes of the whole graph whose values it needs.
        samples: arguments as the back ends want them.
    """

    graph: Graph
    results: list[Node]
    given: list[int]
    saved: list[Node]
    samples: list


def cut(graph: Graph, results: list[Node], tangents: list[int], arguments: list) -> Backward:
    """What of `results` depends on the arguments `tangents`, as a graph of its own."""
    late: set[Node] = set()
    for node in graph.nodes:
        is_tangent = (
            node.op == "leaf"
            and node.info.slot.kind == "argument"
            and node.info.slot.number in tangents
        )
        if is_tangent or any(arg in late for arg in node.args):
            late.add(node)
    return _Cutter(graph, late, tangents, arguments).run(results)


class _Cutter:
    def __init__(self, graph, late, tangents, arguments):
        self.graph, self.late, self.tangents, self.arguments = graph, late, tangents, arguments
        self.made = Graph()
        self.made.arrays = graph.arrays
        self.copies: dict[Node, Node] = {}
        self.given: list[int] = []
        self.saved: list[Node] = []

    def run(self, results) -> Backward:
        needed = self._needed(results)
        for node in needed:  # what comes first: the numbers of the saved come after the given
            if node.op in ("leaf", "scalar") and node not in self.late:
                self._note_given(node)
        saved = [node for node in needed if self._is_saved(node)]
        self.saved = saved
        places = {node: len(self.given) + place for place, node in enumerate(saved)}
        first = len(self.given) + len(saved)
        self.places = {number: first + place for place, number in enumerate(self.tangents)}
        for node in needed:
            if node in places:
                sample = np.empty(node.shape, node.dtype)
                slot = Slot("argument", places[node])
                self.copies[node] = self.made.leaf(sample, slot)
            else:
                self._copy(node)
        samples = [self.arguments[number] for number in self.given]
        samples += [np.empty(node.shape, node.dtype) for node in saved]
        samples += [self.arguments[number] for number in self.tangents]
        return Backward(
            self.made, [self.copies[node] for node in results], self.given, saved, samples
        )

    def _note_given(self, node) -> None:
        slot = node.info.slot if node.op == "leaf" else Slot("argument", node.info)
        if slot.kind == "argument" and slot.number not in self.given:
            self.given.append(slot.number)

    def _is_saved(self, node) -> bool:
        return node not in self.late and node.op not in SOURCES and node.op not in VIEWS

    def _needed(self, results) -> list[Node]:
        """The nodes of the later part and those it takes from the earlier, in order."""
        found: set[Node] = set()
        stack = list(results)
        while stack:
            node = stack.pop()
            if node in found:
                continue
            found.add(node)
            if not self._is_saved(node):
                stack.extend(node.args)
        return sorted(found, key=lambda node: node.number)

    def _copy(self, node) -> None:
        info = node.info
        if node.op == "leaf" and info.slot.kind == "argument":
            number = info.slot.number
            place = self.places[number] if number in self.places else self.given.index(number)
            info = info._replace(slot=Slot("argument", place))
        elif node.op == "scalar":
            info = self.given.index(info)
        elif node.op == "extern":
            call = self.graph.externs[info]
            if getattr(call, "effect", False):
                raise Unsupported("random numbers in a backward pass")
            self.made.externs.append(call)
            info = len(self.made.externs) - 1
        args = tuple(self.copies[arg] for arg in node.args)
        self.copies[node] = self.made.make(node.op, args, node.dtype, node.shape, info)
