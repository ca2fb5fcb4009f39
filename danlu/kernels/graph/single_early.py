"""Calls before a launch: functions whose operands are arguments alone run in Python, in the order in
which they were recorded, and what they return joins the arguments. So random numbers are drawn and
values are checked as ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from danlu.kernels.graph.calls import filled, settled
from danlu.kernels.graph.nodes import Graph, Leaf, Node, number_of, window
from danlu.kernels.graph.simplify import live
from danlu.kernels.graph.single_steps import is_native

__all__ = ["Early", "early_calls"]

_KNOWN = frozenset(("leaf", "scalar", "constant"))


class Early:
    """A call before the launch.

    Args:
        call: what is called.
        node: its node.
        used: number of each of its results that is needed -> its node; of a single result None.
        operands: what give its operands, from the arguments.

    Attributes:
        reads: numbers of the arguments that it looks at.
    """

    def __init__(self, call, node: Node, used: dict, operands: list[Callable], reads: set[int]):
        self._call, self._node, self._used, self._operands = call, node, used, operands
        self.reads = reads
        self.count = (max(used) + 1 if None not in used else 1) if used else 0

    def __call__(self, arguments: Sequence) -> list[np.ndarray]:
        """The arrays that the launch is given; those that nothing needs are empty."""
        call = self._call
        operands = [operand(arguments) for operand in self._operands]
        found = call.function(*filled(call.args, operands), **filled(call.kwargs, operands))
        if None in self._used:
            return [settled(found, self._node.shape, self._node.dtype, *operands)]
        arrays = [_NOTHING] * self.count
        for number, node in self._used.items():
            arrays[number] = settled(found[number], node.shape, node.dtype, *operands)
        return arrays


_NOTHING = np.empty(0)


def early_calls(graph: Graph, results: list[Node], arguments) -> tuple[dict[int, int], list[Early]]:
    """The calls that run before the launch, and number of each -> that of its first array."""
    nodes = live(graph, [*results, *graph.writes.values()])
    wanted = {*results, *graph.writes.values()}
    wanted.update(arg for node in nodes for arg in node.args)
    starts: dict[int, int] = {}
    calls: list[Early] = []
    count = 0
    for node in nodes:
        if node.op != "extern" or any(arg.op not in _KNOWN for arg in node.args):
            continue
        call = graph.externs[node.info]
        if is_native(call, node) and not call.effect:
            continue
        used: dict = {None: node} if not call.many and node in wanted else {}
        if call.many:
            used = {part.info: part for part in nodes
                    if part.op == "result" and part.args[0] is node}  # fmt: skip
        weak = _weak(call)
        operands = [_operand(graph, arg, number in weak, arguments)
                    for number, arg in enumerate(node.args)]  # fmt: skip
        reads = {arg.info.slot.number for arg in node.args
                 if arg.op == "leaf" and arg.info.slot.kind == "argument"}  # fmt: skip
        calls.append(Early(call, node, used, operands, reads))
        starts[node.info] = count
        count += calls[-1].count
    return starts, calls


def _weak(call) -> set[int]:
    """The operands of a call that are Python floats."""
    found: set[int] = set()

    def visit(template):
        if type(template) in (list, tuple):
            for each in template:
                visit(each)
        elif type(template) is dict:
            visit(list(template.values()))
        elif getattr(template, "weak", False):
            found.add(template.number)

    visit((call.args, call.kwargs))
    return found


def _operand(graph, node, weak: bool, arguments) -> Callable[[Sequence], Any]:
    """What gives an operand, from the arguments of a launch."""
    if node.op == "scalar":
        return lambda given: given[node.info]
    if node.op == "constant":
        value = node.dtype.type(number_of(node))
        value = value.item() if weak else value
        return lambda given: value
    slot = node.info.slot
    leaf = Leaf(slot, node.info.offset, node.info.strides)
    if slot.kind == "array":
        part = window(graph.arrays[slot.number], leaf, node.shape)
        return lambda given: part
    number, sample = slot.number, arguments[slot.number]
    strides = tuple(step * sample.itemsize for step in leaf.strides)
    if leaf.offset == 0 and (sample.shape, sample.strides) == (node.shape, strides):
        return lambda given: given[number].item() if weak else given[number]
    return lambda given: window(given[number], leaf, node.shape)
