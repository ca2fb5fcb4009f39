"""Cheap values computed again by the nests that use them, instead of being kept until then.

The mask of a ReLU costs one comparison, but as an array it takes as much memory as the activations,
from the forward pass to the backward pass. What it is made of is in memory anyway.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

from danlu.kernels.graph.fuse import REPEATED, Nest, cost
from danlu.kernels.graph.nodes import SOURCES, VIEWS, Graph, Node, is_elementwise, nbytes
from danlu.kernels.graph.storage import base_of

__all__ = ["Renewal", "delayed", "postpone", "renewed"]

_STORED = frozenset(("part", "put"))
_LARGE = 1 << 18  # bytes that are worth a loop of their own
# of the most that is held, what may be made twice: a pass over it, some 2 % of a step's time
_TWICE = 1 / 8
_MOST_PARTS = 256  # smaller values than this part of it are not looked at


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
            nbytes(each) * max(0, end - self.last.get(each, home))
            for each in operands if each not in self.kept and each.op != "leaf"
        )  # fmt: skip
        if longer > nbytes(node) * (end - home):
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


class Renewal(Nest):
    """A nest that makes a value again which was freed after the forward pass."""

    __slots__ = ("node",)

    def __init__(self, node: Node, members):
        super().__init__(node.shape)
        self.node = node
        self.members = dict.fromkeys(sorted(members, key=lambda each: each.number))


def renewed(graph: Graph, steps: list[Nest | Node], wanted: list[Node]) -> list[Nest | Node]:
    """The steps with some cheap values made a second time, where they are held when most is.

    The output of a layer norm is read by the product behind it, and by that product's weight
    gradient much later; the normalized rows, of which it is a multiple and a sum, stay in memory
    for the layer norm's own gradient anyway.
    """
    steps, budget = list(steps), None
    while True:
        held = _Held(graph, steps, wanted)
        most = max(held.bytes, default=0)
        budget = most * _TWICE if budget is None else budget
        place = held.bytes.index(most) if most else 0
        found = next(
            ((node, number, members)
             for node, number in held.idle(place) if nbytes(node) <= budget
             and (members := held.members_of(node, number)) is not None), None,
        )  # fmt: skip
        if found is None:
            return steps
        node, number, members = found
        steps.insert(number, Renewal(node, members))
        budget -= nbytes(node)


class _Held(_Postponing):
    """What is in memory at each step.

    Attributes:
        bytes: per step, the bytes of values that were made and will be read.
    """

    def __init__(self, graph, steps, wanted):
        super().__init__(graph, steps, wanted)
        self.made: dict[Node, int] = {}
        self.read: dict[Node, list[int]] = defaultdict(list)  # steps that read it, or views of it
        self.renewed = {step.node for step in steps if isinstance(step, Renewal)}
        for number, step in enumerate(steps):
            for node in step.members if isinstance(step, Nest) else (step,):
                self.made.setdefault(node, number)
            for node in set(_operands(step)):
                self.read[node].append(number)
        changes = [0] * (len(steps) + 1)
        for node, number in self.made.items():
            if node.op in VIEWS or not (self.read[node] or node in self.kept):
                continue
            for first, last in self._lives(node, number):
                changes[first] += nbytes(node)
                changes[last + 1] -= nbytes(node)
        self.bytes = list(accumulate(changes[:-1]))

    def _lives(self, node, number):
        """(step that makes it, step that reads it last) of a value, which may be made twice."""
        again = [place for place, step in enumerate(self.steps)
                 if isinstance(step, Renewal) and step.node is node] if node in self.renewed else []  # fmt: skip
        starts = [number, *again]
        for start, end in zip(starts, [*again, len(self.steps)]):
            read = [each for each in self.read[node] if start <= each < end]
            last = end - 1 if node in self.kept else max(read, default=start)
            yield start, last

    def idle(self, place):
        """(value, the step that reads it next) of large values that no step around one reads, those
        that are idle for longest first."""
        found = []
        least = max(_LARGE, self.bytes[place] // _MOST_PARTS)
        for node, number in self.made.items():
            if nbytes(node) < least or node in self.kept or node in self.renewed:
                continue
            before = [each for each in self.read[node] if each < place]
            after = [each for each in self.read[node] if each > place]
            if number < place and before and after and place not in self.read[node]:
                found.append((after[0] - before[-1], node, after[0]))
        found.sort(key=lambda each: (-each[0], each[1].number))
        return [(node, number) for _, node, number in found]

    def members_of(self, node, number):
        """What a nest computes that makes a value for a step, or None where it is not cheap or
        what it reads is not in memory by then."""
        nest = self.steps[self.made[node]]
        if not isinstance(nest, Nest) or not is_elementwise(node) or node.op in _STORED:
            return None
        if any(_is_concatenate(self.steps[each]) for each in self.read[node]):
            return None  # it lies in the whole
        found = self._made_of(node, nest)
        if found is None:
            return None
        inside, operands = found
        for each in map(base_of, operands):
            if each.op in SOURCES or each in self.kept:
                continue
            if each in self.renewed or max(self.read[each], default=-1) < number:
                return None
        return inside


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


def _is_concatenate(step) -> bool:
    return isinstance(step, Node) and step.op == "concatenate"


def _reads_leaves(step) -> bool:
    """Whether a step is a nest over arguments, or the place where parts of an array meet."""
    if isinstance(step, Node):
        return _is_concatenate(step)
    return all(arg.op in SOURCES for node in step.members for arg in node.args
               if arg not in step.members)  # fmt: skip


def _operands(step):
    """What a step reads of others; of views, what they look at."""
    if isinstance(step, Node):
        return [base_of(arg) for arg in step.args]
    return [base_of(arg) for node in step.members for arg in node.args if arg not in step.members]
