"""Sums taken as soon as their operands are there, so that these die early.

The gradients of biases are sums over gradients of activations. Loops over equal shapes are put
together, which would make them one loop behind the whole backward pass, and hold the gradients of all
layers until then: 9 MiB per layer of a GPT of 4 MiB activations.
"""

from __future__ import annotations

from collections import defaultdict

from danlu.kernels.graph.fuse import Nest
from danlu.kernels.graph.nodes import SOURCES, VIEWS, Graph, Node, nbytes
from danlu.kernels.graph.storage import base_of

__all__ = ["hastened"]

_LARGE = 1 << 18  # bytes whose early end is worth the start of a loop of its own, some 5 us


def hastened(graph: Graph, steps: list[Nest | Node], wanted) -> list[Nest | Node]:
    """The steps with loops of small results right behind what they read, where they are the last to
    read it.

    Args:
        wanted: the values that are kept to the end.
    """
    return _Hastening(graph, steps, wanted).run()


class _Hastening:
    def __init__(self, graph, steps, wanted):
        self.graph, self.kept = graph, set(wanted)
        self.written = set(graph.writes.values())
        # views are taken where they are first looked at
        self.steps = [step for step in steps if not _is_free(step)]
        self._look()

    def _look(self) -> None:
        """Note where each step is and what it makes and reads."""
        self.at = {step: place for place, step in enumerate(self.steps)}
        self.maker: dict[Node, Nest | Node] = {}
        self.readers: dict[Node, list[Nest | Node]] = defaultdict(list)
        for step in self.steps:
            for node in step.members if isinstance(step, Nest) else (step,):
                self.maker.setdefault(node, step)
            for base in _read(step):
                self.readers[base].append(step)

    def run(self) -> list[Nest | Node]:
        for nest in [each for each in self.steps if isinstance(each, Nest)]:
            self._split(nest)
        for step in self.steps[::-1]:
            if self._may_move(step):
                place = self._better_place(step)
                if place < self.at[step]:
                    self.steps.remove(step)
                    self.steps.insert(place, step)
                    self.at = {each: place for place, each in enumerate(self.steps)}
        return self.steps

    def _may_move(self, step) -> bool:
        if isinstance(step, Nest):
            return self.written.isdisjoint(step.members)
        call = self.graph.externs[step.info] if step.op == "extern" else None
        return call is not None and call.is_fresh and not call.many and not call.effect

    def _split(self, nest) -> None:
        """Make the streams of a nest that could come earlier nests of their own."""
        if len(nest.kinds) < 2 or not self.written.isdisjoint(nest.members):
            return
        streams = _streams(nest)
        early = [
            each for each in streams
            if each.kinds and self._first(each) < self._first(nest)
            and sum(map(nbytes, _read(each))) >= _LARGE
        ]  # fmt: skip
        rest = [each for each in streams if each not in early]
        if not early or not all(each.kinds for each in rest):
            return
        if rest:
            early.append(_part(nest, [node for each in rest for node in each.members]))
        place = self.at[nest]
        self.steps[place : place + 1] = early
        self._look()

    def _first(self, step) -> int:
        """The first place where a step can be."""
        return max((self.at[self.maker[base]] for base in _read(step)), default=-1) + 1

    def _better_place(self, step) -> int:
        """The first place of a step, or its own where that takes less memory for its time."""
        first, own = self._first(step), self.at[step]
        less, large = 0, 0
        for base in _read(step):
            others = max((self.at[each] for each in self.readers[base] if each is not step),
                         default=-1)  # fmt: skip
            sooner = own - max(others, first)
            if base not in self.kept and sooner > 0:
                less += nbytes(base) * sooner
                large += nbytes(base)
        made = step.members if isinstance(step, Nest) else (step,)
        more = sum(nbytes(node) for node in made
                   if node in self.kept or (self.maker[node] is step and node in self.readers))  # fmt: skip
        return first if large >= _LARGE and less > more * (own - first) else own


def _is_free(step) -> bool:
    """Whether a step is a view of a value of the graph: it is taken where it is first looked at."""
    return isinstance(step, Node) and step.op in VIEWS and base_of(step).op not in SOURCES


def _read(step) -> set[Node]:
    """The values of the graph that a step reads from memory."""
    if isinstance(step, Node):
        found = set(step.args)
    else:
        found = {arg for node in step.members for arg in node.args if arg not in step.members}
        found.update(node.args[0] for node in step.members if node.op == "gather")
    return {base for base in map(base_of, found) if base.op not in SOURCES}


def _streams(nest) -> list[Nest]:
    """The parts of a nest that have neither members nor operands in common."""
    groups: dict[Node, dict[Node, None]] = {}  # of members and operands, in order
    for node in nest.members:
        together: dict[Node, None] = {}
        for each in (*node.args, nest.inner.get(node, node), node):
            if each.op not in SOURCES or each.op == "leaf":
                together |= groups.get(base_of(each), {})
                together[each] = together[base_of(each)] = None
        for each in together:
            groups[each] = together
    distinct = {id(each): each for each in groups.values()}
    return [_part(nest, each) for each in distinct.values()]


def _part(nest, nodes) -> Nest:
    """A nest of some members of another one."""
    part = Nest(nest.domain)
    part.columns = nest.columns
    part.members = {node: None for node in nest.members if node in nodes}
    part.kinds = {node: kind for node, kind in nest.kinds.items() if node in part.members}
    part.inner = {node: row for node, row in nest.inner.items() if node in part.members}
    return part
