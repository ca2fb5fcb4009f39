"""The same graph with less in it: folded constants, cheaper equal operations, views moved away from
computed values, nothing that no result needs.

Every rule gives the same bits: x * 1 is x, x / 8 is x * 0.125, but x + 0 is not x (-0.0).
"""

from __future__ import annotations

from math import frexp

import numpy as np

from danlu.kernels.graph.nodes import SOURCES, VIEWS, Graph, Node, is_elementwise, number_of
from danlu.kernels.graph.parts import sum_of_parts

__all__ = ["compact", "effects", "live", "rebuilt", "simplify"]

# what lies in memory before any loop
_IN_MEMORY = frozenset(("leaf", "extern", "result"))
_LIMITS = {"maximum": "at_least", "minimum": "at_most"}
_POWERS = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal", 1.0: "copy"}


def simplify(graph: Graph, results: list[Node]) -> tuple[Graph, list[Node]]:
    """A new graph that computes `results` and the writes of the old one."""
    return rebuilt(graph, results, _simplified)


def compact(graph: Graph, results: list[Node]) -> tuple[Graph, list[Node]]:
    """A new graph of the nodes that are needed, numbered anew."""
    return rebuilt(
        graph, results,
        lambda new, node, args: new.make(node.op, tuple(args), node.dtype, node.shape, node.info),
    )  # fmt: skip


def rebuilt(graph: Graph, results: list[Node], make) -> tuple[Graph, list[Node]]:
    """A new graph of what `make(new graph, node, new operands)` gives for the nodes needed."""
    new = Graph()
    new.arrays, new.externs = graph.arrays, graph.externs
    wanted = [*results, *graph.writes.values()]
    made: dict[Node, Node] = {}
    for node in live(graph, wanted):
        made[node] = make(new, node, [made[each] for each in node.args])
    for leaf, value in graph.writes.items():
        target = new.make("leaf", (), leaf.dtype, leaf.shape, leaf.info)
        new.writes[target] = made[value]
    return new, [made[each] for each in results]


def live(graph: Graph, wanted: list[Node]) -> list[Node]:
    """The nodes that the wanted ones and the effects need, in the order of computation."""
    needed = {*wanted, *effects(graph)}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.args)
    return [node for node in graph.nodes if node in needed]


def effects(graph: Graph) -> list[Node]:
    """The calls that are made also where nothing needs their results."""
    if not any(call.effect for call in graph.externs):
        return []
    return [node for node in graph.nodes
            if node.op == "extern" and graph.externs[node.info].effect]  # fmt: skip


def _simplified(graph, node, args) -> Node:
    """A node on new operands, by the first rule that fits."""
    if node.op in VIEWS:
        return _of_memory(graph, _view_of(graph, node, args[0]))
    args = [_chosen(graph, each) if each.op == "put" else each for each in args]
    if node.op == "reduce" and args[0].op == "reshape":
        return _reduced_before(graph, node, args[0])
    if node.op == "part":  # stored where it is, as it is
        return graph.make(node.op, tuple(args), node.dtype, node.shape, node.info)
    if node.op == "gather" and is_elementwise(args[0]):
        return _gathered(graph, args[0], args[1], node.info)
    if node.op == "extern" and graph.externs[node.info].function is np.conjugate:
        if node.dtype.kind != "c" and args[0].dtype == node.dtype:  # rules of complex functions
            return args[0]
    if node.op == "add":
        merged = sum_of_parts(graph, node, *args)
        if merged is not None:
            return merged
    if is_elementwise(node):
        if args and all(each.op == "constant" for each in args):
            folded = _folded(graph, node, args)
            if folded is not None:
                return folded
        cheaper = _cheaper(graph, node, args)
        if cheaper is not None:
            return cheaper
        hoisted = _hoisted(graph, node, args)
        if hoisted is not None:
            return hoisted
    return graph.make(node.op, tuple(args), node.dtype, node.shape, node.info)


def _view_of(graph, node, x):
    if node.op == "reshape":
        return _reshaped(graph, x, node.shape)
    return graph.make(node.op, (x,), node.dtype, node.shape, node.info)


def _of_memory(graph, view):
    """A view of numbers, which are in no memory, as one of a copy."""
    if view.op not in VIEWS or view.args[0].op not in ("iota", "constant", "scalar"):
        return view
    (x,) = view.args
    stored = graph.make("copy", (x,), x.dtype, x.shape)
    return graph.make(view.op, (stored,), view.dtype, view.shape, view.info)


def _chosen(graph, put):
    """A put whose result is used again, as a choice element by element; only results in memory
    are written to."""
    x, indices, value = put.args
    shape = tuple(n if axis == put.info else 1 for axis, n in enumerate(put.shape))
    none, length = (graph.constant(n, indices.dtype) for n in (0, put.shape[put.info]))
    counted_back = graph.map("less", np.dtype(np.bool_), indices, none)
    from_end = graph.map("add", indices.dtype, indices, length)
    indices = graph.map("where", indices.dtype, counted_back, from_end, indices)
    numbers = graph.make("iota", (), indices.dtype, shape, put.info)
    here = graph.make("equal", (numbers, indices), np.dtype(np.bool_), put.shape)
    here = _counted(graph, here, here.args) or here
    return graph.make("where", (here, value, x), put.dtype, put.shape)


# ------------------------------------------------------------------------------ arithmetic
def _folded(graph, node, args):
    """A function of numbers, as NumPy computes it."""
    ufunc = getattr(np, node.op, None)
    if node.shape or not isinstance(ufunc, np.ufunc):
        return None
    numbers = [each.dtype.type(number_of(each)) for each in args]
    with np.errstate(all="ignore"):
        return graph.constant(ufunc(*numbers), node.dtype)


def _counted(graph, node, args):
    """`arange == index` on half as many bits: eight numbers of 32 bits are one register, of 64 two,
    and an index outside the axis is equal to none on either."""
    numbers, index = args
    if numbers.op != "iota":
        numbers, index = index, numbers
    if numbers.op != "iota" or numbers.dtype.name != "int64" or index.dtype.name != "int64":
        return None
    axis, length = numbers.info, max(numbers.shape)
    place = axis - len(numbers.shape) + len(index.shape)
    if length >= 1 << 31 or (place >= 0 and index.shape[place] != 1):
        return None
    short = np.dtype(np.int32)
    low, high = (graph.constant(number, index.dtype) for number in (-1, length))
    index = graph.map("minimum", index.dtype, graph.map("maximum", index.dtype, index, low), high)
    index = graph.make("convert", (index,), short, index.shape)
    numbers = graph.make("iota", (), short, numbers.shape, axis)
    return graph.make(node.op, (numbers, index), node.dtype, node.shape)


def _cheaper(graph, node, args):
    if node.op in ("equal", "not_equal") and "iota" in (args[0].op, args[1].op):
        return _counted(graph, node, args)
    if node.op == "copy" and args[0].shape == node.shape and args[0].op != "leaf":
        return args[0]
    if len(args) != 2 or args[1].op != "constant" or args[1].dtype.kind != "f":
        return None
    x, number = args[0], number_of(args[1])
    if x.shape != node.shape:
        return None
    if node.op in ("multiply", "divide") and number == 1:
        return x
    if node.op in _LIMITS and number == number:
        return graph.make(_LIMITS[node.op], tuple(args), node.dtype, node.shape)
    if node.op == "divide" and abs(frexp(number)[0]) == 0.5 and 2.0**-100 < abs(number) < 2.0**100:
        inverse = graph.constant(1 / number, node.dtype)
        return graph.make("multiply", (x, inverse), node.dtype, node.shape)
    if node.op == "power" and number in _POWERS:
        name = _POWERS[number]
        return x if name == "copy" else graph.make(name, (x,), node.dtype, node.shape)
    return None


# ------------------------------------------------------------------------------ views
def _wide(shape):
    return [size for size in shape if size != 1]


def _reshaped(graph, x, shape):
    """A reshape; one that moves axes of length 1 goes through elementwise functions."""
    while x.op == "reshape":
        x = x.args[0]
    if x.shape == shape:
        return x
    if _wide(x.shape) == _wide(shape):
        pushed = _pushed(graph, x, shape)
        if pushed is not None:
            return pushed
    return graph.make("reshape", (x,), x.dtype, shape)


def _pushed(graph, x, shape):
    """`x` computed in another shape of the same elements, where x is a function of leaves."""
    inside = _sources_of(x)
    if inside is None:
        return None
    made = {}
    for node in inside:
        target = _following(node.shape, x.shape, shape)
        if node.op == "leaf":
            made[node] = graph.view(node, lambda a, s=target: np.reshape(a, s, copy=False))
        elif node.op in ("scalar", "constant"):
            made[node] = node
        elif node.op == "iota":
            axis = target.index(max(target))
            made[node] = graph.make("iota", (), node.dtype, target, axis)
        else:
            args = tuple(made[each] for each in node.args)
            made[node] = graph.make(node.op, args, node.dtype, target, node.info)
    return made[x] if made[x].shape == shape else None  # a number has no axes to move


def _sources_of(x):
    """All nodes that x is made of if these are elementwise functions of sources, in order."""
    if not is_elementwise(x) and x.op not in SOURCES:
        return None
    seen, waiting = {x}, [x]
    while waiting:
        for each in waiting.pop().args:
            if each not in seen:
                if not is_elementwise(each) and each.op not in SOURCES:
                    return None
                seen.add(each)
                waiting.append(each)
    return sorted(seen, key=lambda node: node.number)


def _following(shape, old, new):
    """The shape of an operand when the result goes from `old` to `new`, which differ in axes of
    length 1."""
    if not shape:
        return shape if old else new
    aligned = (1,) * (len(old) - len(shape)) + shape
    sizes = iter([mine for mine, size in zip(aligned, old) if size != 1])
    return tuple(next(sizes) if size != 1 else 1 for size in new)


def _hoisted(graph, node, args):
    """f(reshape(x)) as reshape(f(x)), so that rows without their reduced axis are computed where
    the reduction is."""
    bases = {each.args[0].shape for each in args if each.op == "reshape"}
    if len(bases) != 1:
        return None
    base = bases.pop()
    if _wide(base) != _wide(node.shape):
        return None
    moved = []
    for each in args:
        if each.op == "reshape" and each.shape == node.shape:
            moved.append(each.args[0])
        elif not each.shape:
            moved.append(each)
        elif each.shape == node.shape and each.op == "leaf":
            moved.append(graph.view(each, lambda a: np.reshape(a, base, copy=False)))
        else:
            return None
    inner = graph.make(node.op, tuple(moved), node.dtype, base, node.info)
    return graph.make("reshape", (inner,), node.dtype, node.shape)


def _reduced_before(graph, node, x):
    """reduce(reshape(x)) as reshape(reduce(x)) where the reshape moves axes of length 1 alone."""
    base, (kind, axes) = x.args[0], node.info
    if _wide(base.shape) == _wide(x.shape):
        wide = [axis for axis, size in enumerate(base.shape) if size != 1]
        ranks = [axis for axis, size in enumerate(x.shape) if size != 1]
        moved = tuple(wide[ranks.index(axis)] for axis in axes)
        shape = tuple(1 if axis in moved else size for axis, size in enumerate(base.shape))
        reduced = graph.make("reduce", (base,), node.dtype, shape, (kind, moved))
        return graph.make("reshape", (reduced,), node.dtype, node.shape)
    return graph.make("reduce", (x,), node.dtype, node.shape, node.info)


def _gathered(graph, x, indices, axis):
    """One element of each row of f(a, b) is f of one element of each."""
    found = []
    for each in x.args:
        shape = (1,) * (len(x.shape) - len(each.shape)) + each.shape
        if not each.shape or shape[axis] == 1:
            found.append(each)
        elif each.op in _IN_MEMORY and shape == x.shape:
            found.append(graph.make("gather", (each, indices), each.dtype, indices.shape, axis))
        elif each.op == "leaf":
            whole = graph.view(each, lambda array: np.broadcast_to(array, x.shape))
            found.append(graph.make("gather", (whole, indices), each.dtype, indices.shape, axis))
        elif is_elementwise(each) and shape == x.shape:
            found.append(_gathered(graph, each, indices, axis))
        else:
            return graph.make("gather", (x, indices), x.dtype, indices.shape, axis)
    return graph.make(x.op, tuple(found), x.dtype, indices.shape, x.info)
