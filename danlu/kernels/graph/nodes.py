"""The graph that a traced function becomes: typed nodes over arrays of known shapes.

Nodes never change and equal nodes are one object, so that common subexpressions are found while the
graph is built. What a node computes is its `op`:

    leaf        an array in memory: (slot, offset, strides), counted in elements
    scalar      a Python float given to the call, by number
    constant    a number
    iota        0, 1, 2, ... along one axis
    reduce      (kind, axes), keeping the axes with length 1
    gather      take_along_axis: values and indices whose length along the axis is 1
    put         values, indices and what to put there, one element along the axis `info`
    random_words                key and offset: Philox's words, one an element
    reshape, transpose, view    views of computed values (of leaves they are leaves)
    concatenate the parts along the axis `info`, each a `part` that is stored in its place
    extern      a function that is called between the loops: its number in `Graph.externs`
    result      one of the results of such a call
    anything else               an elementwise function, by NumPy's name, on broadcast operands
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

__all__ = [
    "ELSEWHERE", "SOURCES", "VIEWS", "Graph", "Leaf", "Node", "ShapeByValue", "Slot", "Unsupported",
    "View", "dense", "dtype_name", "is_elementwise", "nbytes", "number_of", "overlap", "window",
]  # fmt: skip

SOURCES = frozenset(("leaf", "scalar", "constant", "iota"))
VIEWS = frozenset(("reshape", "transpose", "view"))
# what is not computed inside loops
ELSEWHERE = VIEWS | frozenset(("concatenate", "extern", "result"))
# what is, but is no function of single elements of its operands
_OF_OTHERS = frozenset(("reduce", "gather", "random_words"))


class Unsupported(Exception):
    """The traced code does something that is left to NumPy."""


class ShapeByValue(Unsupported):
    """The shape of a result depends on values."""


class Slot(NamedTuple):
    """Where an array comes from: an `argument`, an `array` met while tracing, a `temporary`."""

    kind: str
    number: int


class Leaf(NamedTuple):
    """How a leaf lies in its slot's array, in elements."""

    slot: Slot
    offset: int
    strides: tuple[int, ...]


class View:
    """A way to look at an array; ways of one name are the same."""

    __slots__ = ("look", "name")

    def __init__(self, name: str, look: Callable):
        self.name, self.look = name, look

    def __eq__(self, other) -> bool:
        return isinstance(other, View) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


class Node:
    """A value of the graph."""

    __slots__ = ("args", "dtype", "info", "number", "op", "shape")

    def __init__(self, number, op, args, dtype, shape, info):
        self.number, self.op, self.args = number, op, args
        self.dtype, self.shape, self.info = dtype, shape, info

    def __repr__(self) -> str:
        operands = ", ".join(f"%{each.number}" for each in self.args)
        info = "" if self.info is None else f" {_described(self.info)}"
        sizes = ", ".join(map(str, self.shape))
        return f"%{self.number} = {self.op}({operands}){info}: {self.dtype.name}[{sizes}]"


def _described(info) -> str:
    if isinstance(info, Leaf):
        return f"{info.slot.kind} {info.slot.number}, offset {info.offset}, strides {info.strides}"
    return str(info)


@cache
def dtype_name(dtype: np.dtype) -> str:
    """`dtype.name`, which NumPy puts together anew every time (2 us)."""
    return dtype.name


def dense(shape) -> tuple[int, ...]:
    """Strides in elements of an array in C order."""
    return _dense(tuple(shape))


@lru_cache(4096)
def _dense(shape) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def nbytes(node: Node) -> int:
    """The memory that a value takes as an array."""
    return prod(node.shape) * node.dtype.itemsize


def is_elementwise(node: Node) -> bool:
    return not (node.op in SOURCES or node.op in ELSEWHERE or node.op in _OF_OTHERS)


class Graph:
    """Nodes in the order of their making, which is an order of computation.

    Attributes:
        arrays: arrays that the traced code took from elsewhere (slots of kind `array`).
        externs: the calls of `extern` nodes.
        writes: leaf -> value: what arguments, or parts of them, are updated to, in this order.
    """

    def __init__(self):
        self.nodes: list[Node] = []
        self.arrays: list[np.ndarray] = []
        self.externs: list = []
        self.writes: dict[Node, Node] = {}
        self._made: dict[tuple, Node] = {}

    def make(self, op, args, dtype, shape, info=None) -> Node:
        """The node of this description, an old one if there is one."""
        key = (op, args, dtype, shape, info, type(info))
        node = self._made.get(key)
        if node is None:
            node = self._made[key] = Node(len(self.nodes), op, args, dtype, shape, info)
            self.nodes.append(node)
        return node

    def constant(self, value, dtype: np.dtype) -> Node:
        """A number; -0.0 and 0.0 are two, and all NaN are one."""
        value = dtype.type(value)
        if dtype.kind in "fV" or dtype_name(dtype) == "bfloat16":
            return self.make("constant", (), dtype, (), float(value).hex())
        return self.make("constant", (), dtype, (), int(value))

    def leaf(self, array: np.ndarray, slot: Slot) -> Node:
        """The leaf of a whole array."""
        item = array.dtype.itemsize
        if any(stride % item for stride in array.strides):
            raise Unsupported(f"strides {array.strides} of {array.dtype.name}")
        if not array.dtype.isnative:
            raise Unsupported("bytes in foreign order")
        strides = tuple(stride // item for stride in array.strides)
        return self.make("leaf", (), array.dtype, array.shape, Leaf(slot, 0, strides))

    def map(self, op: str, dtype: np.dtype, *args: Node) -> Node:
        """An elementwise function of broadcast operands."""
        shape = args[0].shape
        for each in args:
            if each.shape != shape:
                shape = np.broadcast_shapes(*[each.shape for each in args])
                break
        return self.make(op, args, np.dtype(dtype), shape)

    def view(self, leaf: Node, look) -> Node | None:
        """The leaf that `look(array)` makes of a leaf, or None where NumPy would copy."""
        slot, offset, strides = leaf.info
        item = leaf.dtype.itemsize
        # NumPy itself finds the strides, on an array whose memory is never touched
        anchor = np.empty(1, dtype=f"V{item}")
        whole = np.lib.stride_tricks.as_strided(
            anchor, leaf.shape, tuple(stride * item for stride in strides)
        )
        try:
            part = look(whole)
        except ValueError:  # reshape(copy=False)
            return None
        if not isinstance(part, np.ndarray) or part.base is None:
            raise Unsupported("a copy in the place of a view")
        moved = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        found = Leaf(slot, offset + moved // item, tuple(each // item for each in part.strides))
        return self.make("leaf", (), leaf.dtype, part.shape, found)

    # ------------------------------------------------------------------ arguments that change
    def write(self, leaf: Node, value: Node) -> None:
        """An argument, or a part of it, holds this value from here on."""
        self.writes.pop(leaf, None)
        self.writes[leaf] = value

    def present(self, leaf: Node) -> Node:
        """What an argument, or a part of it, holds here.

        Raises:
            Unsupported: some of it was written, but not it as a whole.
        """
        for written in reversed(self.writes):
            if written is leaf:
                return self.writes[written]
            if overlap(written, leaf):
                raise Unsupported("reading an argument of which a part was written")
        return leaf


class _Window:
    """Memory as NumPy's array interface describes it."""

    def __init__(self, address, leaf, shape, item, owner):
        self.owner = owner
        self.__array_interface__ = {
            "data": (address + leaf.offset * item, False), "shape": shape, "version": 3,
            "strides": tuple(stride * item for stride in leaf.strides), "typestr": f"|V{item}",
        }  # fmt: skip


def window(array: np.ndarray, leaf: Leaf, shape) -> np.ndarray:
    """A view of the memory behind an array."""
    address, _ = array.__array_interface__["data"]
    made = _Window(address, leaf, shape, array.dtype.itemsize, array)
    return np.asarray(made).view(array.dtype)


def overlap(one: Node, other: Node) -> bool:
    """Whether two leaves have elements of one array in common (or may have: finding out is cut
    short where it is hard)."""
    if one.info.slot != other.info.slot:
        return False
    # only the addresses count, which start anywhere
    first, second = (
        np.asarray(_Window(1 << 40, each.info, each.shape, each.dtype.itemsize, None))
        for each in (one, other)
    )
    try:
        return np.shares_memory(first, second, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def number_of(node):
    """The Python number of a constant: floats are kept by their digits, which tell -0.0 from 0.0."""
    return float.fromhex(node.info) if isinstance(node.info, str) else node.info
