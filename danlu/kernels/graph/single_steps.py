"""The steps of a small graph: loop nests over one domain each, and matrix products.

Data of this size stays in the first caches, so that a nest has one pass and writes what later ones
need to memory: values of the same shape share a nest, with the reductions over the same axes that
are made of them; cheap functions of a product are computed while it is in registers. What only
renames elements (a broadcast, a transpose, axes of length 1) and single numbers belong to no step:
they are computed where they are used.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import prod

import numpy as np

from danlu.kernels.embedding import gather_rows, sum_rows
from danlu.kernels.graph import operations
from danlu.kernels.graph.calls import Operand
from danlu.kernels.graph.fuse import cost
from danlu.kernels.graph.nodes import (
    SOURCES,
    VIEWS,
    Graph,
    Leaf,
    Node,
    Slot,
    Unsupported,
    dense,
    dtype_name,
    is_elementwise,
    overlap,
)
from danlu.kernels.graph.simplify import live
from danlu.kernels.graph.views import with_part
from danlu.kernels.matmul import matmul

__all__ = ["Plan", "Step", "is_native", "lower", "renames"]

# Additions that may follow a product in its registers; each is written once for every row of a tile.
_EPILOGUE = 12
# Nodes with operands in memory, which are read at places that other operands tell.
_PICKING = frozenset(("gather", "take"))
# Nodes with loops of their own.
_ALONE = frozenset(("product", "sum_rows", "with_part"))
_PRODUCTS = frozenset((matmul, np.matmul, np.dot))
_NUMBERS = frozenset(("constant", "scalar", "iota"))


# ------------------------------------------------------------------------------ lowering
def lower(graph: Graph, results: list[Node], early: dict[int, int]) -> tuple[Graph, list[Node]]:
    """The graph with calls as nodes: `product` (a @ b), `take` and `sum_rows` (rows by number, and
    their sums by number), `with_part`, and what is called before the launch as leaves.

    Args:
        early: number of such a call -> that of its (first) array among those made then.

    Raises:
        Unsupported: another call.
    """
    new = Graph()
    new.arrays = graph.arrays
    wanted = [*results, *graph.writes.values()]
    made: dict[Node, Node] = {}
    for node in live(graph, wanted):
        args = tuple(made[each] for each in node.args if each in made)
        if node.op == "extern":
            if node.info in early:
                made[node] = _made_early(new, node, early[node.info])
            else:
                made[node] = _called(new, graph.externs[node.info], node, args)
        elif node.op == "result":
            source = node.args[0].info
            if source not in early:
                raise Unsupported(graph.externs[source].name)
            made[node] = _made_early(new, node, early[source] + node.info)
        else:
            if node.op == "random_words":
                raise Unsupported("random words")
            made[node] = new.make(node.op, args, node.dtype, node.shape, node.info)
    for leaf, value in graph.writes.items():
        value = made[value]
        if value.op in VIEWS:  # of an argument, perhaps
            value = new.make("copy", (value,), value.dtype, value.shape)
        new.writes[new.make("leaf", (), leaf.dtype, leaf.shape, leaf.info)] = value
    return new, [made[each] for each in results]


def _made_early(graph, node, number) -> Node:
    place = Leaf(Slot("early", number), 0, dense(node.shape))
    return graph.make("leaf", (), node.dtype, node.shape, place)


def is_native(call, node: Node) -> bool:
    """Whether a call is generated, and no function called."""
    if call.function in _PRODUCTS:
        return len(node.args) >= 2
    if call.function in (gather_rows, sum_rows, with_part):
        return len(node.args) == 2
    if call.function is operator.getitem and len(node.args) == 2:
        index, key = node.args[1], call.args[1]
        if type(key) is tuple and len(key) == 1:
            (key,) = key
        whole = type(key) is Operand and key == Operand(1, False)
        return whole and bool(node.args[0].shape and index.shape) and index.dtype.kind in "iu"
    return False


def _called(graph, call, node, args) -> Node:
    """The node of a call that is generated."""
    if not is_native(call, node):
        raise Unsupported(call.name)
    if call.function is sum_rows:
        return graph.make("sum_rows", args, node.dtype, node.shape)
    if call.function is with_part:
        return graph.make("with_part", args, node.dtype, node.shape, call.args[1])
    if call.function not in _PRODUCTS:
        return graph.make("take", args, node.dtype, node.shape)
    if call.function is not matmul:
        args = tuple(_as_matrix(graph, each, turn) for each, turn in zip(args, (False, True)))
        if call.function is np.dot and len(args[1].shape) > 2:
            raise Unsupported("a sum over the last axis but one")
        shape = (*np.broadcast_shapes(args[0].shape[:-2], args[1].shape[:-2]),
                 args[0].shape[-2], args[1].shape[-1])  # fmt: skip
        made = _product(graph, call._replace(kwargs={}), node, args, shape)
        if shape != node.shape:
            made = graph.make("reshape", (made,), node.dtype, node.shape)
        return made
    return _product(graph, call, node, args, node.shape)


def _as_matrix(graph, x, is_column) -> Node:
    if len(x.shape) >= 2:
        return x
    return graph.make("reshape", (x,), x.dtype, (*x.shape, 1) if is_column else (1, *x.shape))


def _product(graph, call, node, args, shape) -> Node:
    given = dict(zip(("a", "b", "bias", "activation", "out"), call.args)) | call.kwargs
    operands = {
        name: args[each.number] for name, each in given.items() if isinstance(each, Operand)
    }
    if not {"a", "b"} <= operands.keys() or given.get("out") is not None:
        raise Unsupported("a product into an array")
    a, b = operands["a"], operands["b"]
    dtype = node.dtype
    if a.dtype != dtype or b.dtype != dtype or dtype.name == "bool":
        raise Unsupported("a product of several dtypes")
    made = graph.make("product", (a, b), dtype, shape)
    if "bias" in operands:
        made = graph.map("add", dtype, made, operands["bias"])
    if given.get("activation") == "relu":
        made = graph.map("maximum", dtype, made, graph.constant(0, dtype))
    return made


# ------------------------------------------------------------------------------ what is where
def renames(node: Node) -> bool:
    """Whether a node's elements are its operand's under other indices that loops can follow."""
    if node.op in ("copy", "transpose"):
        return True
    if node.op not in VIEWS:
        return False
    base = node.args[0].shape
    return prod(base) == 1 or (node.op == "reshape" and _wide(base) == _wide(node.shape))


def _wide(shape):
    return [size for size in shape if size != 1]


def stored_base(node: Node) -> Node:
    """What must be in memory for a node to be a view of memory."""
    while node.op in VIEWS or (node.op == "copy" and node.args[0].op not in _NUMBERS):
        node = node.args[0]
    return node


def computes(node: Node) -> bool:
    """Whether a node is computed element by element."""
    return node.op in _PICKING or (is_elementwise(node) and node.op not in _ALONE)


class Step:
    """A loop nest, or a product with what is computed from it in registers.

    Attributes:
        domain: the shape that the loops walk over.
        members: the nodes that are computed here.
        axes: the axes that its reductions reduce.
        product: a node with loops of its own, or None.
        finals: values that are copied to where the caller wants them: (node, place).
    """

    __slots__ = ("axes", "domain", "finals", "members", "price", "product")

    def __init__(self, domain: tuple[int, ...], product: Node | None = None):
        self.domain, self.product = domain, product
        self.axes: tuple[int, ...] | None = None
        self.members: dict[Node, None] = {} if product is None else {product: None}
        self.finals: list = []
        self.price = 0

    @property
    def reductions(self) -> list[Node]:
        return [node for node in self.members if node.op == "reduce"]


class Plan:
    """Which step computes what, and what is kept in memory.

    Attributes:
        steps: in order.
        home: node -> its step.
        stored: the nodes that are written to memory.
        reads: step number -> the nodes and leaves in memory that the step reads. One more step is
            the end, where results and written values are copied.
    """

    def __init__(self, graph: Graph, results: list[Node]):
        self.graph, self.results = graph, results
        self.nodes = live(graph, [*results, *graph.writes.values()])
        self.steps: list[Step] = []
        self.home: dict[Node, int] = {}
        self.forced = self._forced()
        for node in self.nodes:
            _check(node)
            if not self.inline(node):
                self._put(node)
        self._put_off()
        self.stored, self.reads = self._uses()

    def _forced(self) -> set[Node]:
        """Nodes that have to lie in memory, whatever they are."""
        found: set[Node] = set()
        for node in self.nodes:
            operands: tuple[Node, ...] = ()
            if node.op in ("product", "sum_rows"):
                operands = node.args
            elif node.op in _PICKING or (node.op in VIEWS and not renames(node)):
                operands = node.args[:1]
            found.update(stored_base(each) for each in operands)
            if node.op == "part":
                found.add(node)
        # what is written may be an argument that is written to as well
        found.update(each for each in self.graph.writes.values()
                     if each.op == "copy" and prod(each.shape) > 1)  # fmt: skip
        if any(each.op in _NUMBERS for each in found):
            raise Unsupported("a number as an array in memory")
        return {each for each in found if each.op != "leaf"}

    def inline(self, node: Node) -> bool:
        """Whether a node belongs to no step."""
        if node.op in SOURCES:
            return True
        if node in self.forced:
            return False
        if node.op in VIEWS or node.op in ("copy", "concatenate"):
            return True
        if not computes(node):
            return False
        return prod(node.shape) == 1 or all(
            each.op in _NUMBERS or (each.op == "copy" and each.args[0].op in _NUMBERS)
            for each in node.args
        )

    def in_memory(self, node: Node) -> Node:
        """What lies in memory where a view does."""
        while node not in self.home and (node.op in VIEWS or node.op == "copy"):
            node = node.args[0]
        return node

    def behind(self, node: Node) -> Iterator[Node]:
        """The nodes of steps and the leaves that a value is computed from."""
        seen, waiting = set(), [node]
        while waiting:
            each = waiting.pop()
            if each in seen:
                continue
            seen.add(each)
            if each.op == "leaf" or each in self.home:
                yield each
            else:
                waiting += each.args

    def _between(self, node, base) -> set[Node]:
        """The inline nodes from `node` on behind which `base` may be."""
        seen: set[Node] = set()
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if each is not base and each not in self.home and each not in seen:
                seen.add(each)
                waiting += each.args
        return seen

    def _put(self, node) -> None:
        first = 0
        for operand, arg in enumerate(node.args):
            for each in self.behind(arg):
                if each.op == "leaf":
                    continue
                number = self.home[each]
                in_memory = node.op in _PICKING and operand == 0
                # a loop knows values at its own indices alone
                path = self._between(arg, each)
                moved = any(n.op in VIEWS or n.op == "concatenate" for n in path)
                ends = each.op == "reduce" or (each.op in _ALONE and each.op != "product")
                ends = ends or node.op in (*_ALONE, "concatenate") or in_memory or moved
                first = max(first, number + ends)
        domain = node.args[0].shape if node.op == "reduce" else node.shape
        if node.op not in _ALONE:
            for number in range(first, len(self.steps)):
                if self._joins(self.steps[number], node, domain):
                    self.home[node] = number
                    return
        self.home[node] = len(self.steps)
        self.steps.append(Step(domain, node if node.op in _ALONE else None))
        self._joins(self.steps[-1], node, domain)

    def _joins(self, step, node, domain) -> bool:
        if step.domain != domain:
            return False
        if node.op == "reduce":
            axes = node.info[1]
            if step.product is not None or step.axes not in (None, axes):
                return False
            step.axes = axes
        elif step.product is not None and node is not step.product:
            if step.product.op != "product":
                return False
            related = any(arg in step.members for arg in node.args)
            if not related or node.op in _PICKING or step.price + cost(node) > _EPILOGUE:
                return False
            step.price += cost(node)
        step.members[node] = None
        return True

    def _put_off(self) -> None:
        """Compute cheap values where they are used, if that is one step over the same domain and
        does not take more stores."""
        users: dict[Node, list[tuple[Node, Node]]] = {}
        for node in self.home:
            for arg in node.args:
                for each in self.behind(arg):
                    users.setdefault(each, []).append((node, arg))
        kept = set(self.forced)
        for node in [*self.results, *self.graph.writes.values()]:
            kept.update(self.behind(node))
        for node in reversed(self.nodes):
            number = self.home.get(node)
            if number is None or node in kept or not computes(node) or node.op in _PICKING:
                continue
            places = {self.home[user] for user, _ in users.get(node, ())}
            if len(places) != 1 or number in places:
                continue
            later = places.pop()
            if not all(self._at_index(user, arg, node) for user, arg in users[node]):
                continue
            step = self.steps[number]
            operands = {each for arg in node.args for each in self.behind(arg)}
            stores = sum(
                each in step.members and each.op != "reduce" and each not in kept
                and all(self.home[user] == number for user, _ in users[each])
                for each in operands
            )  # fmt: skip
            if stores <= 1 and self._takes(self.steps[later], node):
                del step.members[node]
                self.steps[later].members[node] = None
                self.home[node] = later

    def _at_index(self, user, arg, node) -> bool:
        """Whether a user needs of a node the element at its own index alone."""
        if user.op in _ALONE or (user.op in _PICKING and arg is user.args[0]):
            return False
        return not any(each.op in VIEWS or each.op == "concatenate" or len(each.args) > 1
                       for each in self._between(arg, node))  # fmt: skip

    def _takes(self, step, node) -> bool:
        if step.domain != node.shape:
            return False
        if step.product is not None:
            if step.product.op != "product" or step.price + cost(node) > _EPILOGUE:
                return False
            step.price += cost(node)
        return True

    def _uses(self):
        """What is stored, and what each step reads from memory."""
        stored = set(self.forced)
        reads: list[set[Node]] = [set() for _ in range(len(self.steps) + 1)]

        def read(number, node):
            for each in self.behind(node):
                if each.op == "leaf":
                    reads[number].add(each)
                elif self.home[each] != number or each.op == "reduce":
                    if prod(each.shape) > 1:
                        stored.add(each)
                    reads[number].add(each)

        for number, step in enumerate(self.steps):
            for node in step.members:
                for arg in node.args:
                    read(number, arg)
        for node in [*self.results, *self.graph.writes.values()]:
            read(len(self.steps), node)
        for node in self.nodes:
            if node.op == "concatenate":
                stored.add(node)
        return stored, reads

    # ------------------------------------------------------------------ in place
    def direct(self) -> dict[Node, Node]:
        """Leaf -> value of the writes that go straight to their argument: nothing reads it later,
        and what reads it in the same step reads the element that is written then."""
        found = {}
        writes = self.graph.writes
        for leaf, value in writes.items():
            number = self.home.get(value)
            if number is None or value.op in ("reduce", "part", *_ALONE):
                continue
            if any(each is not leaf and overlap(each, leaf) for each in writes):
                continue
            step = self.steps[number]
            later = [each for reads in self.reads[number + 1 :] for each in reads]
            same = [each for each in self.reads[number] if each is not leaf]
            if any(each.op == "leaf" and overlap(each, leaf) for each in later + same):
                continue
            if leaf in self.reads[number] and not self._reads_its_place(step, leaf):
                continue
            found[leaf] = value
        return found

    def _reads_its_place(self, step, leaf) -> bool:
        """Whether members read a leaf of the domain's shape, and nothing through another view."""
        if leaf.shape != step.domain or (step.product is not None and leaf in step.product.args):
            return False
        for node in step.members:
            for arg in node.args:
                if arg is leaf:
                    if node.op in _PICKING:
                        return False
                elif arg not in self.home and leaf in self.behind(arg):
                    return False
        return True


def _check(node: Node) -> None:
    """Refuse what is not generated."""
    if 0 in node.shape:
        raise Unsupported("no elements")
    name, names = dtype_name(node.dtype), tuple(dtype_name(each.dtype) for each in node.args)
    if node.op == "product":
        operations.check("add", name, names)
        operations.check("multiply", name, names)
    elif node.op in ("gather", "take", "sum_rows", "with_part"):
        operations.check("copy", name, ())
    elif node.op == "reduce":
        operations.check("copy", name, ())
        if node.dtype == np.bool_:
            raise Unsupported("a reduction of bools")
    elif is_elementwise(node):
        operations.check(node.op, name, names)
    else:
        operations.check("copy", name, ())
