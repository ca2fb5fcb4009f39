"""Views of recording arrays: what they show, and what a write through one of them does.

A view knows its base and the steps from there. A write changes what the base stands for; the other
views of it find out when they are next looked at, and take their steps again. Arguments keep their
memory: a write to a part of one is one of the graph's writes, and becomes a value of the whole only
where something reads more than that part.

Whether NumPy's reshape copies depends on strides. Where these are not known (`Traced.layout`), the
result can be read, but neither it nor what it was made of may be written to while both live.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np

from danlu.kernels.graph.nodes import Graph, Node, Unsupported, View, dense, overlap

if TYPE_CHECKING:
    from danlu.kernels.graph.traced import Traced

__all__ = [
    "Step",
    "assign",
    "base_of",
    "dense",
    "is_dense",
    "looked",
    "opaque",
    "positions",
    "present",
]


class Step(NamedTuple):
    """One look at an array: a `reshape` or a `broadcast` to a shape, a `transpose` by axes, another
    `view`."""

    kind: str
    how: Any

    def look(self, array: np.ndarray) -> np.ndarray:
        """The view of a real array.

        Raises:
            ValueError: there is none, the reshape copies.
        """
        if self.kind == "reshape":
            return np.reshape(array, self.how, copy=False)
        if self.kind == "broadcast":
            return np.broadcast_to(array, self.how)
        return array.transpose(self.how) if self.kind == "transpose" else self.how.look(array)


@lru_cache(4096)
def is_dense(shape, strides) -> bool:
    """Whether an array of these strides is in C order."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _shown(shape, strides) -> np.ndarray:
    """An array of bytes of this geometry, whose memory is never touched."""
    return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, strides)


# ------------------------------------------------------------------------------ looking
def looked(x: Traced, step: Step, is_view: bool = False) -> Traced:
    """What an array shows after one more step.

    Args:
        is_view: whether a reshape is sure to make a view.
    """
    layout = None
    if x.layout is not None:
        if step.kind == "transpose":
            layout, is_view = tuple([x.layout[axis] for axis in step.how]), True
        elif step.kind == "reshape" and is_dense(x.shape, x.layout):
            layout, is_view = dense(step.how), True
        else:
            layout, is_view = _seen_by(step, x)
        if not is_view:
            return type(x)(x.graph, _viewed(x.graph, x.node, step), layout=layout)
    elif step.kind != "reshape" or _wide(step.how) == _wide(x.shape):
        is_view = True
    # of a part of an argument, where that lies, though it may hold something else by now
    node = x._node if x._in_argument else x.node
    made = type(x)(x.graph, _viewed(x.graph, node, step))
    made.layout = layout
    known = is_view and x.steps is not None
    return _related(made, x, (*x.steps, step) if known else None)  # type: ignore[misc]


def _seen_by(step: Step, x: Traced) -> tuple[tuple[int, ...], bool]:
    """The layout after one more step, and whether that is a view."""
    try:
        return step.look(_shown(x.shape, x.layout)).strides, True
    except ValueError:  # the reshape copies
        return dense(step.how), False


def opaque(x: Traced, node: Node) -> Traced:
    """An array of these values that shares memory with another in a way that is not known."""
    return _related(type(x)(x.graph, node), x, None)


def _related(made, x, steps):
    made.base = base_of(x)
    made.steps = steps
    made._seen = made.base._writes
    if x.family is None:
        x.family = [ref(x)]
    made.family = x.family
    made.family.append(ref(made))
    return made


def _wide(shape) -> list[int]:
    return [size for size in shape if size != 1]


def _viewed(graph: Graph, node: Node, step: Step) -> Node:
    """The node of one step."""
    if node.op == "leaf":
        if step.kind == "reshape" and is_dense(node.shape, node.info.strides):
            found = node.info._replace(strides=dense(step.how))
            return graph.make("leaf", (), node.dtype, step.how, found)
        found = graph.view(node, step.look)
        if found is not None:
            return found
    if step.kind == "transpose":
        shape = tuple(node.shape[axis] for axis in step.how)
        return graph.make("transpose", (node,), node.dtype, shape, step.how)
    if step.kind == "reshape":
        return _reshaped(graph, node, step.how)
    if step.kind == "broadcast":
        return graph.make("copy", (node,), node.dtype, step.how)
    whole = _shown(node.shape, dense(node.shape))
    part = step.look(whole)
    if _long_axes(part) == _long_axes(whole):  # axes of length 1 come and go
        return _reshaped(graph, node, part.shape)
    return graph.make("view", (node,), node.dtype, part.shape, step.how)


def _reshaped(graph, node, shape) -> Node:
    while node.op == "reshape":  # of a reshape, only the last shape counts
        node = node.args[0]
    if node.shape == shape:
        return node
    return graph.make("reshape", (node,), node.dtype, shape)


def _long_axes(array) -> list[tuple[int, int]]:
    return [(size, step) for size, step in zip(array.shape, array.strides) if size != 1]


def base_of(x: Traced) -> Traced:
    """The array that a view looks at, another array itself."""
    return x if x.base is None else x.base


def present(x: Traced) -> Node:
    """The values that an array holds here."""
    base = base_of(x)
    if not base._in_argument:
        if x._seen != base._writes and x.steps is not None:
            x._node, x._seen = _along(x.graph, base._node, x.steps), base._writes
        return x._node
    if x._in_argument and not _reads_written_parts(x.graph, x._node):
        return x.graph.present(x._node)
    if not x._in_argument and x._seen == base._writes:
        return x._node
    if x.steps is None:
        raise Unsupported("reading an argument that was written to")
    return _along(x.graph, _whole(base), x.steps)


def _along(graph, node, steps) -> Node:
    for step in steps:
        node = _viewed(graph, node, step)
    return node


def _reads_written_parts(graph, leaf) -> bool:
    """Whether some of an argument's part was written, but not it as a whole."""
    for written in reversed(graph.writes):
        if written is leaf:
            return False
        if overlap(written, leaf):
            return True
    return False


def _whole(base: Traced) -> Node:
    """What an argument holds as a whole, parts of which were written."""
    if base._whole is None or base._seen != base._writes:
        value, graph = base._node, base.graph
        for leaf, part in graph.writes.items():  # in the order of writing
            if leaf is base._node:
                value = part
            elif overlap(leaf, base._node):
                value = _patched(base, value, leaf)
        base._whole, base._seen = value, base._writes
    return base._whole


def _patched(base: Traced, value: Node, leaf: Node) -> Node:
    """A value of a whole argument after one of its parts was written."""
    from danlu.kernels.graph.calls import call_out

    graph, made = base.graph, type(base)
    if value.op == "leaf":  # as it was before
        value = graph.map("copy", value.dtype, value)
    where = _places(leaf, base._node)
    args = (made(graph, value), where, made(graph, graph.writes[leaf]))
    return call_out(graph, _put, args, {}, "patched", is_fresh=True).node


def _put(x, where, part):
    made = x.flatten()
    made[where] = part
    return made.reshape(x.shape)


def _places(part: Node, whole: Node) -> np.ndarray:
    """Where the elements of a part lie in its array in C order."""
    at = np.arange(prod(whole.shape)).reshape(whole.shape)
    offset = part.info.offset - whole.info.offset
    if is_dense(whole.shape, whole.info.strides):
        flat = at.reshape(-1)
        strides = tuple(stride * flat.itemsize for stride in part.info.strides)
        return np.lib.stride_tricks.as_strided(flat[offset:], part.shape, strides).copy()
    memory: dict[int, int] = {}
    for index in np.ndindex(whole.shape):
        memory[sum(i * s for i, s in zip(index, whole.info.strides))] = int(at[index])
    found = np.empty(part.shape, np.int64)
    for index in np.ndindex(part.shape):
        found[index] = memory[offset + sum(i * s for i, s in zip(index, part.info.strides))]
    return found


def positions(view: Traced, base: Traced) -> np.ndarray:
    """Where each element of a view lies in `base.reshape(-1)`.

    Raises:
        Unsupported: that is not known.
    """
    if view.steps is None or base.steps is None or view.steps[: len(base.steps)] != base.steps:
        raise Unsupported("a write through a view that may be a copy")
    found = np.arange(base.size).reshape(base.shape)
    for step in view.steps[len(base.steps) :]:
        found = step.look(found) if step.kind != "reshape" else found.reshape(step.how)
    return found.copy()


# ------------------------------------------------------------------------------ writing
def assign(x: Traced, value: Traced) -> Traced:
    """`x[...] = value`: what stands for the array from here on, and for an argument or a part of
    one, what its memory is to hold in the end."""
    from danlu.kernels.graph.traced import convert

    graph, base = x.graph, base_of(x)
    node = convert(graph, value.node, x.dtype)
    if node.shape != x.shape:
        wide = len(node.shape) - x.ndim
        if wide > 0 and set(node.shape[:wide]) == {1}:  # as NumPy does
            node = _reshaped(graph, node, node.shape[wide:])
        if np.broadcast_shapes(node.shape, x.shape) != x.shape:
            raise Unsupported("writing more elements than there are")
        if node.shape != x.shape:
            node = graph.make("copy", (node,), x.dtype, x.shape)
    if node.op == "leaf":  # what it holds now, whatever becomes of it
        node = graph.map("copy", node.dtype, node)
    if x.weak or any(each.steps is None for each in x.relatives):
        raise Unsupported("writing into an array that is looked at elsewhere")
    if x.layout is not None and _overlaps_itself(x):
        raise Unsupported("writing into elements that share memory")
    if base._in_argument:
        if not x._in_argument:
            raise Unsupported("writing into a part of an argument that is no view")
        graph.write(x._node, node)
    elif x is base:
        x._node = node
    else:
        base._node = _scattered(graph, base._node, x.steps, node)
        x._node = node
    base._writes += 1
    if x is not base:
        x._seen = base._writes
    return x


def _overlaps_itself(x: Traced) -> bool:
    return any(size > 1 and stride == 0 for size, stride in zip(x.shape, x.layout, strict=True))


def _scattered(graph: Graph, whole: Node, steps, part: Node) -> Node:
    """An array after what it shows through some steps was written."""
    if not steps:
        return part
    step, *rest = steps
    part = _scattered(graph, _viewed(graph, whole, step), rest, part)
    if step.kind == "reshape":
        return _reshaped(graph, part, whole.shape)
    if step.kind == "transpose":
        back = tuple(int(axis) for axis in np.argsort(step.how))
        return graph.make("transpose", (part,), part.dtype, whole.shape, back)
    if step.kind == "broadcast" and step.how != whole.shape:
        raise Unsupported("writing into elements that share memory")
    if _wide(part.shape) == _wide(whole.shape):
        seen = step.look(np.arange(prod(whole.shape)).reshape(whole.shape))
        if np.array_equal(seen.reshape(-1), np.arange(seen.size)):
            return _reshaped(graph, part, whole.shape)
    return _with_part(graph, whole, step.how, part)


def _with_part(graph, whole: Node, view: View, part: Node) -> Node:
    from danlu.kernels.graph.calls import call_out
    from danlu.kernels.graph.traced import Traced

    args = (Traced(graph, whole), view, Traced(graph, part))
    return call_out(graph, with_part, args, {}, is_fresh=True).node


def with_part(x, view: View, part):
    """`x` after what a view of it shows was written."""
    made = np.array(x, order="C")
    target = view.look(made)
    target.flags.writeable = True  # np.diagonal says no
    target[...] = part
    return made
