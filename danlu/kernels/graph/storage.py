"""Where the values of a launch lie, and the text that makes, views and frees their arrays.

An array whose last reader has run is freed there, or handed on to a later value of the same shape,
where holding it until then does not raise the most that is held at any time.
"""

from __future__ import annotations

from collections import defaultdict
from math import prod
from typing import NamedTuple

import numpy as np

from danlu.kernels.graph.calls import named
from danlu.kernels.graph.nodes import (
    VIEWS,
    Graph,
    Leaf,
    Node,
    Slot,
    Unsupported,
    dense,
    dtype_name,
    window,
)

__all__ = ["Storage", "base_of", "in_order"]


def base_of(node: Node) -> Node:
    """The value that is stored for a node: of views, what they look at."""
    while node.op in VIEWS:
        node = node.args[0]
    return node


class _Made(NamedTuple):
    """A new array: its name, what another one must have in common to take its place (shape, dtype
    and order of axes), its size, the text that makes it, and the array whose memory it is in, if
    that is no new one."""

    name: str
    sort: tuple
    size: int
    text: str
    may_be_given: bool
    over: str | None = None


class _Freed(NamedTuple):
    name: str


class Storage:
    """The places of a launch's values and the lines of its text.

    Attributes:
        memory: node -> how it lies in its slot's array.
        names: what the text refers to.
        owned: node -> the name of the array that was made for it and is not yet freed.
    """

    def __init__(self, graph: Graph, arguments):
        self.graph, self.arguments = graph, arguments
        self.memory: dict[Node, Leaf] = {
            node: node.info for node in graph.nodes if node.op == "leaf"
        }
        self.owned: dict[Node, str] = {}
        self.names: dict[str, object] = {
            "empty": np.empty, "ndarray": np.ndarray, "part": _part, "uint8": np.uint8,
        }  # fmt: skip
        self._entries: list[str | _Made | _Freed] = []
        self._arrays: dict[Slot, tuple[tuple, tuple]] = {}  # shapes and strides
        self._sorts: dict[str, tuple[tuple, int]] = {}
        for number, array in enumerate(arguments):
            if isinstance(array, np.ndarray):
                self._describe(Slot("argument", number), array)
        for number, array in enumerate(graph.arrays):
            self._describe(Slot("array", number), array)
            self.names[f"c{number}"] = array

    def _describe(self, slot, array) -> None:
        strides = tuple(stride // array.itemsize for stride in array.strides)
        self._arrays[slot] = (array.shape, strides)

    # ------------------------------------------------------------------ making and freeing
    def line(self, text: str) -> None:
        self._entries.append(text)

    def dtype(self, dtype: np.dtype) -> str:
        return named(self.names, dtype_name(dtype), dtype)

    def make(self, node: Node, order=None) -> str:
        """A new array for a value, its axes (without those of length 1) in this order."""
        shape = node.shape
        order, strides = self._laid(shape, order)
        kind = self.dtype(node.dtype)
        if list(order) == sorted(order):
            text = f"empty({shape}, {kind})"
        else:
            axes = [*order, *(axis for axis in range(len(shape)) if shape[axis] == 1)]
            lengths = tuple(shape[axis] for axis in axes)
            back = tuple(int(axis) for axis in np.argsort(axes))
            text = f"empty({lengths}, {kind}).transpose({back})"
        return self._own(node, strides, order, text, may_be_given=True)

    def _laid(self, shape, order):
        """(axes without those of length 1 in their order, strides)."""
        order = range(len(shape)) if order is None else order
        order = tuple(axis for axis in order if shape[axis] != 1)
        strides = list(dense(shape))
        for axis, stride in zip(order, dense([shape[axis] for axis in order])):
            strides[axis] = stride
        return order, tuple(strides)

    def returned(self, node: Node, text: str, order=None, over: Node | None = None) -> str:
        """An array that a call returns for a value, its axes in this order; in the memory of
        another value, which is free with it, if `over` is given."""
        axes, strides = self._laid(node.shape, order)
        memory = None if over is None else self.owned.pop(over)
        return self._own(node, strides, axes, text, may_be_given=False, over=memory)

    def _own(self, node, strides, order, text, may_be_given, over=None):
        slot = Slot("node" if f"n{node.number}" not in self._sorts else "again", node.number)
        name = self.owned[node] = self.slot_name(slot)
        self.memory[node] = Leaf(slot, 0, strides)
        self._arrays[slot] = (node.shape, strides)
        sort = (node.dtype, node.shape, order)
        self._sorts[name] = (sort, prod(node.shape) * node.dtype.itemsize)
        size = 0 if over is not None else self._sorts[name][1]
        self._entries.append(_Made(name, sort, size, text, may_be_given, over))
        return name

    def take_over(self, node: Node, dying: Node) -> str:
        """The array of a value that dies in the step which makes `node`, for that one."""
        name = self.owned[node] = self.owned.pop(dying)
        self.memory[node] = self.memory[dying]
        return name

    def hold(self, node: Node, name: str, text: str) -> None:
        """What a call returns that is no array."""
        self.owned[node] = name
        self._sorts[name] = ((), 0)
        self._entries.append(f"{name} = {text}")

    def forget(self, node: Node) -> None:
        """Let a value that was freed be made again."""
        slot = self.memory[node].slot
        for each, leaf in list(self.memory.items()):
            if leaf.slot == slot and base_of(each) is node:
                del self.memory[each]

    def free(self, node: Node) -> None:
        name = self.owned.pop(node, None)
        if name is not None:
            self._entries.append(_Freed(name))

    def scratch(self, name: str, shape, dtype: np.dtype) -> None:
        """An array for numbers that are no value of the graph."""
        size = prod(shape) * dtype.itemsize
        sort = (dtype, tuple(shape), ())
        self._sorts[name] = (sort, size)
        text = f"empty({tuple(shape)}, {self.dtype(dtype)})"
        self._entries.append(_Made(name, sort, size, text, True))

    def free_scratch(self, name: str) -> None:
        self._entries.append(_Freed(name))

    def text(self) -> list[str]:
        """The lines, with the memory of the dead freed or used again."""
        entries = self._entries
        given, names = self._handed_on()
        lines: list[str] = []
        for place, entry in enumerate(entries):
            if isinstance(entry, str):
                lines.append(entry)
            elif isinstance(entry, _Made):
                source = given.get(place)
                lines.append(f"{entry.name} = {entry.text if source is None else source}")
            elif place in names:
                freed = ", ".join(names[place])
                if lines and lines[-1].startswith("del "):
                    lines[-1] += f", {freed}"
                else:
                    lines.append(f"del {freed}")
        while lines and lines[-1].startswith("del "):  # the end of the launch frees them
            lines.pop()
        return lines

    def _handed_on(self) -> tuple[dict[int, str], dict[int, list[str]]]:
        """(entry that makes an array -> the name of the dead one it takes, entry that frees -> the
        names to delete)."""
        held, now = np.zeros(len(self._entries), np.int64), 0
        wanted: dict[tuple, list[int]] = defaultdict(list)
        for place, entry in enumerate(self._entries):
            if isinstance(entry, _Made):
                now += entry.size
                if entry.may_be_given:
                    wanted[entry.sort].append(place)
            elif isinstance(entry, _Freed):
                now -= self._sorts[entry.name][1]
            held[place] = now
        most = held.max(initial=0)
        given: dict[int, str] = {}
        names: dict[int, list[str]] = {}
        aliases: dict[str, list[str]] = {}
        for place, entry in enumerate(self._entries):
            if isinstance(entry, _Made) and entry.over is not None:
                aliases[entry.name] = [*aliases.get(entry.over, ()), entry.over]
            if not isinstance(entry, _Freed):
                continue
            sort, size = self._sorts[entry.name]
            own = [*aliases.get(entry.name, ()), entry.name]
            heir = next((at for at in wanted[sort] if at > place and at not in given), None)
            if heir is None or held[place:heir].max() + size > most:
                names[place] = own
                continue
            held[place:heir] += size
            given[heir] = entry.name
            made = self._entries[heir]
            aliases[made.name] = own  # type: ignore[union-attr]
        return given, names

    # ------------------------------------------------------------------ views
    def locate(self, node: Node) -> Leaf:
        """How a value lies in memory, of a view also before its own step."""
        waiting = [node]
        while waiting[-1] not in self.memory:
            waiting.append(waiting[-1].args[0])
        for each in reversed(waiting[:-1]):
            self._place_view(each)
        return self.memory[node]

    def _place_view(self, node) -> None:
        source = node.args[0]
        seen = self.memory[source]
        if node.op == "transpose":
            strides = tuple(seen.strides[axis] for axis in node.info)
            self.memory[node] = seen._replace(strides=strides)
            return
        if node.op == "reshape" and seen.strides == dense(source.shape):
            self.memory[node] = seen._replace(strides=dense(node.shape))
            return
        leaf = Graph().make("leaf", (), node.dtype, source.shape, seen)
        if node.op == "reshape":
            found = Graph().view(leaf, lambda array: np.reshape(array, node.shape, copy=False))
        else:
            found = Graph().view(leaf, node.info.look)
        if found is not None:
            self.memory[node] = found.info
        else:  # a reshape that copies
            text = f"{self.look(source)}.reshape({node.shape})"
            self.returned(node, text)

    def look(self, node: Node) -> str:
        """A value in memory as an array of its shape."""
        leaf = self.locate(node)
        name = self.slot_name(leaf.slot)
        shape, strides = self._arrays[leaf.slot]
        if leaf.offset == 0:
            if (node.shape, leaf.strides) == (shape, strides):
                return name
            axes = _permutation(shape, strides, node.shape, leaf.strides)
            if axes is not None:
                return f"{name}.T" if axes == (1, 0) else f"{name}.transpose({axes})"
        order = tuple(sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis)))
        if order != tuple(range(len(shape))):  # the array as it lies in memory
            shape = tuple(shape[axis] for axis in order)
            strides = tuple(strides[axis] for axis in order)
            name = f"{name}.transpose({order})"
        is_dense = strides == dense(shape)
        whole = prod(shape) == prod(node.shape) and leaf.strides == dense(node.shape)
        if is_dense and whole and leaf.offset == 0:
            return f"{name}.reshape({node.shape})"
        if is_dense and node.dtype.isbuiltin == 1:  # others export no buffer
            item = node.dtype.itemsize
            steps = tuple(stride * item for stride in leaf.strides)
            kind = self.dtype(node.dtype)
            return f"ndarray({node.shape}, {kind}, {name}, {leaf.offset * item}, {steps})"
        return f"part({self.slot_name(leaf.slot)}, {leaf.offset}, {node.shape}, {leaf.strides})"

    def slot_name(self, slot: Slot) -> str:
        letter = {"argument": "a", "array": "c", "node": "n", "again": "m", "sums": "p"}[slot.kind]
        return f"{letter}{slot.number}"


def _permutation(shape, strides, wanted_shape, wanted_strides) -> tuple[int, ...] | None:
    """The axes in the order that makes the one array the other, or None."""
    if len(shape) != len(wanted_shape):
        return None
    free = list(enumerate(zip(shape, strides)))
    axes = []
    for pair in zip(wanted_shape, wanted_strides):
        found = next((place for place, (_, each) in enumerate(free) if each == pair), None)
        if found is None:
            return None
        axes.append(free.pop(found)[0])
    return tuple(axes)


def in_order(result, shape, dtype, order) -> np.ndarray:
    """A new array that a call returned, its axes lying in an order in memory."""
    if result.shape != shape or result.dtype != dtype:
        raise Unsupported("a result of another shape")
    turned = result.transpose(order)
    if turned.flags.c_contiguous:
        return result
    return np.ascontiguousarray(turned).transpose(np.argsort(order))


def _part(array, offset, shape, strides):
    """A view of the memory behind an array."""
    return window(array, Leaf(None, offset, strides), shape)
