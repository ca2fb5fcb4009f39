"""Calls before a launch: functions whose operands are arguments alone run in Python, in the order in
which they were recorded, and what they return joins the arguments. So random numbers are drawn and
values are checked as ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from danlu.kernels.graph.calls import fresh, named, settled, text_of
from danlu.kernels.graph.nodes import Graph, Node, number_of, window
from danlu.kernels.graph.simplify import live
from danlu.kernels.graph.single_steps import is_native

__all__ = ["Early"]

_KNOWN = frozenset(("leaf", "scalar", "constant"))


class Early:
    """The calls before the launches of a graph.

    Attributes:
        starts: number of each call -> that of its first array.
        count: how many arrays they make for the launch.
        reads: numbers of the arguments that they look at.
        arrays: `arrays(arguments)` calls them and gives the arrays.
    """

    def __init__(self, graph: Graph, results: list[Node], arguments: Sequence):
        self._graph, self._arguments = graph, arguments
        self.starts: dict[int, int] = {}
        self.count = 0
        self.reads: set[int] = set()
        self._names: dict[str, Any] = {
            "nothing": np.empty(0), "fresh": fresh, "settled": settled,
            "__name__": f"{__name__}.arrays",  # whose NumPy warnings danlu filters
        }  # fmt: skip
        lines: list[str] = []
        made: list[str] = []
        nodes = live(graph, [*results, *graph.writes.values()])
        wanted = {*results, *graph.writes.values(), *(arg for node in nodes for arg in node.args)}
        for node in nodes:
            if node.op != "extern" or any(arg.op not in _KNOWN for arg in node.args):
                continue
            call = graph.externs[node.info]
            if is_native(call, node) and not call.effect:
                continue
            self.starts[node.info] = len(made)
            lines.append(f"r{node.number} = {text_of(call, node, self._operand, self._names)}")
            if call.many:
                parts = {part.info: part for part in nodes
                         if part.op == "result" and part.args[0] is node}  # fmt: skip
                for number in range(max(parts, default=-1) + 1):
                    text = f"r{node.number}[{number}]"
                    part = parts.get(number)
                    made.append("nothing" if part is None else self._array(text, part, node, call))
            elif node in wanted:
                made.append(self._array(f"r{node.number}", node, node, call))
        self.count = len(made)
        body = "\n    ".join([*lines, f"return ({''.join(f'{each}, ' for each in made)})"])
        exec(f"def arrays(given):\n    {body}\n", self._names)
        self.arrays: Callable[[Sequence], tuple[np.ndarray, ...]] = self._names["arrays"]

    def __bool__(self) -> bool:
        return bool(self.starts)

    def _array(self, text, node, source, call) -> str:
        """What a call returned as an array of its own."""
        helper = "fresh" if call.is_fresh else "settled"
        kind = named(self._names, "dtype", node.dtype)
        if not node.shape:  # perhaps NumPy's number
            self._names["asarray"] = np.asarray
            text = f"asarray({text})"
        given = f"{text}, {node.shape}, {kind}"
        if not call.is_fresh:
            given += "".join(f", {self._operand(arg, False)}" for arg in source.args)
        return f"{helper}({given})"

    def _operand(self, node: Node, weak: bool) -> str:
        """The text of an operand."""
        if node.op == "scalar":
            return f"given[{node.info}]"
        if node.op == "constant":
            value = node.dtype.type(number_of(node))
            return named(self._names, "v", value.item() if weak else value)
        leaf, slot = node.info, node.info.slot
        if slot.kind == "array":
            return named(
                self._names, "v", window(self._graph.arrays[slot.number], leaf, node.shape)
            )
        self.reads.add(slot.number)
        sample = self._arguments[slot.number]
        strides = tuple(step * sample.itemsize for step in leaf.strides)
        text = f"given[{slot.number}]"
        if (leaf.offset, sample.shape, sample.strides) != (0, node.shape, strides):
            self._names["window"] = window
            text = f"window({text}, {named(self._names, 'leaf', leaf)}, {node.shape})"
        return f"{text}.item()" if weak else text
