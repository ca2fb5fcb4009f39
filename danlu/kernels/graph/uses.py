"""Which step of a launch reads which value: when an array is free, and when an argument may be
updated."""

from __future__ import annotations

from math import prod

from danlu.kernels.graph.calls import Operand
from danlu.kernels.graph.fuse import Nest
from danlu.kernels.graph.library import replaceable
from danlu.kernels.graph.nodes import SOURCES, VIEWS, Graph, Node, Slot, overlap
from danlu.kernels.graph.postpone import Renewal
from danlu.kernels.graph.storage import base_of

__all__ = ["Uses"]


class Uses:
    """Who reads what.

    Attributes:
        outside: per step the nodes that it reads from memory.
        last_use: node -> the last step that reads it, or a view of it.
        dying: step -> the nodes that it reads for the last time, without those kept.
        kept: what is wanted after the last step, and what it looks at.
        targets: value -> leaves of arguments that it is written to by the nest that computes it.
    """

    def __init__(self, graph: Graph, steps: list[Nest | Node], wanted, last_unsure: int):
        """
        Args:
            wanted: results and written values; None among them is skipped.
            last_unsure: the last step that may give up; until then no argument may change.
        """
        self.graph, self.steps = graph, steps
        self.kept = {each for node in wanted if node is not None for each in _looked_through(node)}
        self.outside = [self._outside(step) for step in steps]
        self.last_use: dict[Node, int] = {}
        self.dying: dict[int, list[Node]] = {}
        for number, found in enumerate(self.outside):
            step = steps[number]
            if isinstance(step, Renewal):
                self.dying.setdefault(self.last_use[step.node], []).append(step.node)
            for node in found:
                for each in _looked_through(node):
                    self.last_use[each] = number
        for node, number in sorted(self.last_use.items(), key=lambda each: each[0].number):
            if node not in self.kept:
                self.dying.setdefault(number, []).append(node)
        self.targets = self._targets(last_unsure)

    def _outside(self, step) -> set[Node]:
        if isinstance(step, Node):
            read = step.args
            if step.op == "result" and not self.graph.externs[step.args[0].info].is_fresh:
                read += step.args[0].args  # `settled` compares with them
            return {arg for arg in read if arg.op not in SOURCES}
        found: set[Node] = set()
        for node in step.members:
            found.update(arg for arg in node.args
                         if arg not in step.members and arg.op not in SOURCES)  # fmt: skip
            if node.op == "gather" and node.args[0].op not in SOURCES:
                found.add(node.args[0])
        return found

    def replaced(self, number, node, call) -> Node | None:
        """The operand that a call reads for the last time and in whose memory it can put its
        result, if there is one."""
        place = replaceable(call.function)
        if place is None or node in self.kept or not isinstance(call.args[place], Operand):
            return None
        read = [base_of(each) for each in node.args]
        found = read[call.args[place].number]
        same = (found.dtype, prod(found.shape)) == (node.dtype, prod(node.shape))
        dies = found in self.dying.get(number, ()) and read.count(found) == 1
        return found if same and dies else None

    def _targets(self, last_unsure) -> dict[Node, list[Node]]:
        """Writes that go straight to their argument: where nothing reads it afterwards."""
        written: dict[Slot, list[Node]] = {}
        for leaf in self.graph.writes:
            written.setdefault(leaf.info.slot, []).append(leaf)
        homes, readers = self._homes_and_readers()
        found: dict[Node, list[Node]] = {}
        for leaf, value in self.graph.writes.items():
            home, slot = homes.get(value, -1), leaf.info.slot
            if home <= last_unsure:
                continue
            if any(each is not leaf and overlap(each, leaf) for each in written[slot]):
                continue
            nest: Nest = self.steps[home]  # type: ignore[assignment]
            kinds = nest.kinds.values()
            # every task of a split row computes what is known of the row by itself
            if "row" in kinds or ("split" in kinds and value.shape != nest.domain):
                continue
            if all(
                number < home or (number == home and arg is leaf and node.op != "gather")
                for number, node, arg in readers.get(slot, ())
                if arg is leaf or overlap(arg, leaf)
            ):
                found.setdefault(value, []).append(leaf)
        return found

    def _homes_and_readers(self):
        """Value -> the first nest that computes it; slot -> (step, node, operand) of readers."""
        homes: dict[Node, int] = {}
        readers: dict[Slot, list[tuple[int, Node, Node]]] = {}
        for number, step in enumerate(self.steps):
            for node in step.members if isinstance(step, Nest) else (step,):
                if isinstance(step, Nest) and not step.ends(node):
                    homes.setdefault(node, number)
                for arg in node.args:
                    if arg.op == "leaf":
                        readers.setdefault(arg.info.slot, []).append((number, node, arg))
        return homes, readers


def _looked_through(node):
    """A node and what it is a view of."""
    yield node
    while node.op in VIEWS:
        node = node.args[0]
        yield node
