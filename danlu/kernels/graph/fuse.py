"""Which nodes share a loop nest.

A nest walks over a domain, the shape of its largest values. Once it reduces, the reduced axes are
its columns and the others its rows: it makes one pass over the columns of a row for every level of
reductions, while the row is in the cache (softmax: maximum; exponentials and their sum; quotient).
A reduction comes in three kinds:

    row         over the columns of each row; later passes may use the result
    accumulate  over the rows (layer norm's weight gradient): every task adds up its rows, and the
                tasks' sums are added at the end in their order
    split       over the columns where there are too few rows for all threads: every task takes a
                part of the columns, and the parts are added at the end in their order

Results of the latter two exist only after the nest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from math import prod

from danlu.kernels.graph.nodes import ELSEWHERE, SOURCES, Graph, Node, is_elementwise
from danlu.kernels.graph.simplify import effects, live

__all__ = ["COSTS", "Nest", "cost", "fuse"]

# elements, in multiples of an addition; everything else is 1
COSTS = {
    "exp": 12, "exp_nonpositive": 11, "exp2": 12, "expm1": 16, "log": 18, "log2": 18, "log10": 18, "log1p": 20,
    "tanh": 25, "sigmoid": 20, "erf": 25, "erfc": 25, "sin": 25, "cos": 25, "tan": 30,
    "power": 50, "sqrt": 6, "divide": 6, "rsqrt": 10, "reciprocal": 6, "arctan": 30,
    "arcsin": 30, "arccos": 30, "arctan2": 40, "sinh": 25, "cosh": 25, "random_words": 20,
}  # fmt: skip
# a row reduction is worth keeping the row in cache for; below this many rows, or above this many
# numbers in the sums of one task, it is organised otherwise
FEW_ROWS = 16
LARGE = 1 << 16
LONGEST_SUMS = 1 << 14
# additions a function of sources may cost and still be computed again wherever it is used
REPEATED = 8


def cost(node: Node) -> int:
    """What one element costs, in additions."""
    return COSTS.get(node.op, 1)


class Nest:
    """Nodes that are computed in one loop nest.

    Attributes:
        domain: the shape that the loops walk over.
        columns: the axes that are reduced within a row; None as long as there is no reduction.
        members: the nodes, in order.
        kinds: reduction -> "row", "accumulate" or "split".
        inner: an accumulated reduction over all axes -> the row reduction that it adds up.
    """

    __slots__ = ("columns", "domain", "inner", "kinds", "members")

    def __init__(self, domain):
        self.domain = domain
        self.columns: tuple[int, ...] | None = None
        self.members: dict[Node, None] = {}
        self.kinds: dict[Node, str] = {}
        self.inner: dict[Node, Node] = {}

    @property
    def row_shape(self):
        return tuple(1 if i in self.columns else n for i, n in enumerate(self.domain))

    @property
    def domain_end(self) -> tuple[int, ...]:
        """The last axis, along which elements are put."""
        return (len(self.domain) - 1,)

    @property
    def rows(self) -> tuple[int, ...]:
        """The axes that are not columns, without those of length 1."""
        return tuple(
            i for i, n in enumerate(self.domain) if n != 1 and i not in (self.columns or ())
        )

    def few_rows(self) -> bool:
        return prod(self.domain[i] for i in self.rows) < FEW_ROWS and prod(self.domain) > LARGE

    def ends(self, node: Node) -> bool:
        """Whether a member's value exists only after the nest."""
        return self.kinds.get(node, "row") != "row"


class _Fusion:
    def __init__(self, graph: Graph, wanted: list[Node]):
        self.graph, self.wanted = graph, wanted
        self.steps: list[Nest | Node] = []
        self.place: dict[Node, int] = {}
        self.repeated: dict[Node, int] = {}  # cheap functions of sources -> cost of computing them
        self.nests: dict[tuple, list[int]] = defaultdict(list)  # by the shapes of domain and rows

    def run(self) -> list[Nest | Node]:
        nodes = live(self.graph, self.wanted)
        inner = _inner_reductions(nodes)
        self.stored = {*self.wanted, *_read_from_memory(nodes)}
        for node in _order(nodes, inner, set(effects(self.graph))):
            if node.op not in SOURCES and not self._repeats(node):
                self._put(node, node in inner)
        self._spread()
        self._sink()
        return [step for step in self.steps if isinstance(step, Node) or step.members]

    # ------------------------------------------------------------------ computed where used
    def _repeats(self, node) -> bool:
        """Whether a value is computed wherever it is needed, like a source."""
        if not is_elementwise(node) or node in self.stored:
            return False
        if not all(arg.op in SOURCES or arg in self.repeated for arg in node.args):
            return False
        price = cost(node) + sum(self.repeated.get(arg, 0) for arg in node.args)
        if prod(node.shape) > 1 and price >= REPEATED:
            return False
        self.repeated[node] = price
        return True

    def _spread(self) -> None:
        """Give every nest the repeated values it uses."""
        for step in self.steps:
            if isinstance(step, Node):
                continue
            used: set[Node] = set()
            waiting = [arg for node in step.members for arg in node.args]
            while waiting:
                node = waiting.pop()
                if node in self.repeated and node not in used:
                    used.add(node)
                    waiting += node.args
            before = sorted(used, key=lambda node: node.number)
            step.members = {**dict.fromkeys(before), **step.members}

    # ------------------------------------------------------------------ placing
    def _put(self, node, is_inner) -> None:
        first = 0
        for arg in node.args:
            if arg in self.place:
                first = max(first, self._after(arg, node))
        if node.op not in ELSEWHERE:
            for number in self._candidates(node, first):
                if self._joins_at(number, node, is_inner):
                    self.place[node] = number
                    return
        number = self.place[node] = len(self.steps)
        if node.op in ELSEWHERE:
            self.steps.append(node)
            return
        nest = Nest(node.args[0].shape if node.op == "reduce" else node.shape)
        self.steps.append(nest)
        self.nests[nest.domain].append(number)
        self._joins_at(number, node, is_inner)

    def _candidates(self, node, first) -> list[int]:
        """The nests from a step on whose domain or rows are as large as a node or what it reads."""
        found = self.nests[node.shape]
        if node.op in ("reduce", "gather") and node.args[0].shape != node.shape:
            found = sorted({*found, *self.nests[node.args[0].shape]})
        return found[bisect_left(found, first) :]

    def _joins_at(self, number, node, is_inner) -> bool:
        nest: Nest = self.steps[number]  # type: ignore[assignment]
        had_rows = nest.columns is not None
        joins = self._joins(nest, node, is_inner)
        if nest.columns is not None and not had_rows and nest.row_shape != nest.domain:
            insort(self.nests[nest.row_shape], number)
        return joins

    def _after(self, arg, node) -> int:
        """The first step that can use a value."""
        number = self.place[arg]
        step = self.steps[number]
        memory_only = node.op == "gather" and arg is node.args[0]
        if isinstance(step, Node) or step.ends(arg) or memory_only:
            return number + 1
        return number

    def _joins(self, nest, node, is_inner) -> bool:
        if node.op == "reduce":
            if node.args[0].shape != nest.domain:
                return self._accumulates_rows(nest, node)
            return self._reduces(nest, node, is_inner)
        if node.op == "gather" and nest.columns == (node.info,):
            fits = node.args[0].shape == nest.domain
        else:
            fits = False
        if not fits and node.shape != nest.domain:
            fits = nest.columns is not None and node.shape == nest.row_shape
        if node.op == "put" and nest.columns not in (None, nest.domain_end):
            return False
        if fits or node.shape == nest.domain:
            nest.members[node] = None
            return True
        return False

    def _accumulates_rows(self, nest, node) -> bool:
        """A sum over all rows of what each row gave."""
        if nest.columns is None or node.args[0].shape != nest.row_shape or nest.few_rows():
            return False
        if node.info[1] != nest.rows:
            return False
        nest.kinds[node] = "accumulate"
        nest.members[node] = None
        return True

    def _reduces(self, nest, node, is_inner) -> bool:
        kind, axes = node.info
        if any(each.op == "put" for each in nest.members) and axes != nest.domain_end:
            return False
        everything = tuple(i for i, n in enumerate(nest.domain) if n != 1)
        others = tuple(i for i in everything if i not in axes)
        if nest.columns is None:
            leading = others and axes[-1] != everything[-1]
            longest = prod(nest.domain[i] for i in others)
            count = prod(nest.domain[i] for i in axes)
            if leading and not is_inner and longest <= LONGEST_SUMS and count >= 4 * FEW_ROWS:
                nest.columns = others
            else:
                nest.columns = axes
            if axes == nest.columns:
                nest.kinds[node] = "split" if nest.few_rows() else "row"
                nest.members[node] = None
                return True
        if axes == nest.columns:
            nest.kinds[node] = "split" if nest.few_rows() else "row"
        elif nest.few_rows():
            return False
        elif axes == nest.rows:
            nest.kinds[node] = "accumulate"
        elif axes == everything:
            row = self.graph.make(
                "reduce", node.args, node.dtype, nest.row_shape, (kind, nest.columns)
            )
            nest.kinds[row], nest.kinds[node] = "row", "accumulate"
            nest.inner[node] = row
            nest.members[row] = None
            self.place.setdefault(row, self.place.get(node.args[0], 0))
        else:
            return False
        nest.members[node] = None
        return True

    # ------------------------------------------------------------------ recomputing
    def _sink(self) -> None:
        """Compute small elementwise values again where they are used, instead of storing them."""
        wanted = set(self.wanted)
        readers: dict[Node, dict[int, bool]] = defaultdict(dict)  # steps, and whether they gather
        for number, step in enumerate(self.steps):
            for node in [step] if isinstance(step, Node) else step.members:
                _note(readers, node, number)
        for number, step in enumerate(self.steps):
            if isinstance(step, Node) or step.kinds or not wanted.isdisjoint(step.members):
                continue
            users: dict[int, bool] = {}
            for member in step.members:
                for other, gathers in readers[member].items():
                    if other > number:
                        users[other] = users.get(other, False) or gathers
            nests = [self.steps[other] for other, gathers in users.items() if not gathers]
            if len(nests) < len(users):
                continue
            if all(isinstance(user, Nest) and _may_repeat(step, user) for user in nests):
                for other in users:
                    user = self.steps[other]
                    user.members = {**step.members, **user.members}  # type: ignore[union-attr]
                    for member in step.members:
                        _note(readers, member, other)
                step.members = {}


def _note(readers, node, number) -> None:
    for place, arg in enumerate(node.args):
        gathers = node.op == "gather" and place == 0
        readers[arg][number] = readers[arg].get(number, False) or gathers


def _may_repeat(step, user) -> bool:
    if any(node.op == "gather" for node in step.members):
        return False
    if user.columns is not None and step.domain == user.row_shape:
        return True
    if len(step.domain) > len(user.domain) or prod(step.domain) > prod(user.domain):
        return False
    factor = prod(user.domain) // max(1, prod(step.domain))
    work = sum(cost(node) for node in step.members)
    return prod(step.domain) == 1 or work < 8 or factor == 1


def _read_from_memory(nodes) -> set[Node]:
    """Operands of what does not compute in loops, and what elements are picked from."""
    found = {arg for node in nodes if node.op in ELSEWHERE for arg in node.args}
    found.update(node.args[0] for node in nodes if node.op == "gather")
    return found


def _inner_reductions(nodes) -> set:
    """Reductions whose results come back, through elementwise functions, to the shape reduced."""
    found: set[Node] = set()
    reached: dict[Node, frozenset] = {}
    for node in nodes:
        if node.op == "reduce":
            reached[node] = frozenset((node,))
        elif is_elementwise(node):
            of_args = [reached[arg] for arg in node.args if arg in reached]
            if of_args:
                reached[node] = frozenset().union(*of_args)
                found.update(r for r in reached[node] if r.args[0].shape == node.shape)
    return found


def _order(nodes, inner, in_order) -> list[Node]:
    """The nodes with the other reductions, and what needs them, put off: the axes that a nest
    reduces are chosen by those that it must finish within a row. Effects keep their order."""
    ordered: list[Node] = []
    waiting = list(nodes)
    while waiting:
        ends = {node for node in waiting if node.op == "reduce" and node not in inner}
        late = _put_off(waiting, ends, set(), in_order)
        if len(late) == len(waiting):  # everything waits for a reduction that ends: take those
            late = _put_off(waiting, set(), late, in_order)
        ordered += [node for node in waiting if node not in late]
        waiting = [node for node in waiting if node in late]
    return ordered


def _put_off(waiting, late, missing, in_order) -> set[Node]:
    """The late nodes with all that must come after them, or needs one of the missing."""
    late, held = set(late), False
    for node in waiting:
        if node not in late:
            needs = any(arg in late or arg in missing for arg in node.args)
            if not needs and not (held and node in in_order):
                continue
            late.add(node)
        held = held or node in in_order
    return late


def fuse(graph: Graph, wanted: list[Node]) -> list[Nest | Node]:
    """The loop nests that compute the wanted values, and what NumPy does between them, in order."""
    return _Fusion(graph, wanted).run()
