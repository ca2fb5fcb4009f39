"""Cheap values computed again by the nests that use them, instead of being kept until then.

The mask of a ReLU costs one comparison, but as an array it takes as much memory as the activations,
from the forward pass to the backward pass. What it is made of is in memory anyway.
"""

from __future__ import annotations

from collections import defaultdict
from math import prod

from danlu.kernels.graph.fuse import REPEATED, Nest, cost
from danlu.kernels.graph.nodes import SOURCES, VIEWS, Graph, Node, is_elementwise

__all__ = ["delayed", "postpone"]

_STORED = frozenset(("part", "put"))


def postpone(graph: Graph, steps: list[Nest | Node], wanted: list[Node]) -> None:
    """Change nests so that they compute cheap values of others by themselves, where holding these
    takes more memory, for its time, than holding their operands for longer."""
    _Postponing(graph, steps, wanted).run()


class _Postponing:
    def __init__(self, graph, steps, wanted):
        self.steps, self.kept = steps, set(wanted)
        self.written = {leaf.info.slot for leaf in graph.writes}
        self.users: dict[Node, set[int]] = defaultdict(set)  # steps that read it from memory
        self.last: dict[Node, int] = {}
        self.fixed: set[Node] = set()  # read by what is no loop, or element by element
        for number, step in enumerate(steps):
            if isinstance(step, Node):
                self.fixed.update(step.args)
                self._use(step.args, number)
                continue
            for node in step.members:
                if node.op == "gather":
                    self.fixed.add(node.args[0])
                self._use([arg for arg in node.args if arg not in step.members], number)

    def _use(self, nodes, number) -> None:
        for node in nodes:
            self.users[node].add(number)
            self.last[node] = max(self.last.get(node, 0), number)
            while node.op in VIEWS:
                node = node.args[0]
                self.last[node] = max(self.last.get(node, 0), number)

    def run(self) -> None:
        for number, step in enumerate(self.steps):
            if isinstance(step, Nest):
                for node in reversed(list(step.members)):
                    if self._may_go(node, step):
                        self._move(node, number, step)

    def _may_go(self, node, nest) -> bool:
        if not is_elementwise(node) or node.op in _STORED or node in self.fixed:
            return False
        if node in self.kept or not self.users.get(node):
            return False
        users = (self.steps[number] for number in self.users[node])
        return all(
            node.shape == user.domain or (user.columns is not None and node.shape == user.row_shape)
            for user in users
        )

    def _move(self, node, home, nest) -> None:
        found = self._made_of(node, nest)
        if found is None:
            return
        inside, operands = found
        end = max(self.users[node])
        longer = sum(
            _bytes(each) * max(0, end - self.last.get(each, home))
            for each in operands if each not in self.kept and each.op != "leaf"
        )  # fmt: skip
        if longer > _bytes(node) * (end - home):
            return
        for number in self.users.pop(node):
            user = self.steps[number]
            user.members = {**inside, **user.members}
            self._use([each for each in operands if each not in user.members], number)

    def _made_of(self, node, nest):
        """The members that a value is made of and what these read from memory; None where that
        costs more than it is worth, or reads what changes."""
        inside: dict[Node, None] = {}
        operands: dict[Node, None] = {}
        price, waiting = 0, [node]
        while waiting:
            each = waiting.pop()
            if each in inside or each in operands:
                continue
            if each is not node and self._in_memory(each, nest):
                if each.op == "leaf" and each.info.slot in self.written:
                    return None
                operands[each] = None
                continue
            if each.op in SOURCES:
                continue
            price += cost(each)
            if price >= REPEATED or not is_elementwise(each) or each.op in _STORED:
                return None
            inside[each] = None
            waiting += each.args
        return inside, operands

    def _in_memory(self, node, nest) -> bool:
        if node.op == "leaf" or node in self.kept or self.users.get(node):
            return True
        return node.op not in SOURCES and node not in nest.members


def delayed(steps: list[Nest | Node]) -> list[Nest | Node]:
    """The steps with those that read arguments alone right before what uses them: what they make
    needs no memory until then."""
    used = {arg for step in steps for arg in _operands(step)}
    following: list[Nest | Node] = []  # in the opposite order
    for step in reversed(steps):
        place = len(following)
        made = used.intersection(step.members if isinstance(step, Nest) else (step,))
        if made and _reads_leaves(step):
            first = next(
                (number for number in range(len(following) - 1, -1, -1)
                 if not made.isdisjoint(_operands(following[number]))), -1,
            )  # fmt: skip
            place = place if first < 0 else first + 1
        following.insert(place, step)
    return following[::-1]


def _reads_leaves(step) -> bool:
    """Whether a step is a nest over arguments, or the place where parts of an array meet."""
    if isinstance(step, Node):
        return step.op == "concatenate"
    return all(arg.op in SOURCES for node in step.members for arg in node.args
               if arg not in step.members)  # fmt: skip


def _operands(step):
    """What a step reads of others."""
    if isinstance(step, Node):
        return step.args
    return [arg for node in step.members for arg in node.args if arg not in step.members]


def _bytes(node) -> int:
    return prod(node.shape) * node.dtype.itemsize
