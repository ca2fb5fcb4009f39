"""How a nest walks over memory: the order of its axes, which of them are one loop, along which one
vectors lie, and how the work is cut into tasks.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from danlu.kernels.graph.fuse import COSTS, FEW_ROWS, LARGE, Nest, cost
from danlu.kernels.graph.nodes import Leaf, Node, dtype_name, number_of
from danlu.kernels.graph.program import ROW_BLOCK, TURNED, Access, Op, Program, Sum

__all__ = ["Laid", "Sums", "lay_out"]

# Additions in a task, about 10 us: half of that costs a tenth more in waking threads up, four
# times as much leaves one thread waiting for the other.
GRAIN = 1 << 16
MOST_TASKS = 64
MOST_SUMS = 16  # tasks of nests whose sums are added up over tasks at the end
# Columns below which vectors of rows are better filled, where no array is dense along either.
SHORT_ROW = 32
# additions in the code of all columns of a row: 24 exponentials compile in 70 ms
WRITTEN_OUT = 512
# elements below which a program for this length of rows alone is not worth its compilation
OWN_PROGRAM = 1 << 13
# bytes of a row that vectors along it fill well: where nothing is reduced, they do as much
LINES = 128
# columns whose sums, a vector each, stay in the nearest cache
MIDDLE_ROW = 64
# bytes that unmasked vectors may touch behind the last kept value of a row
PADDING = 512
# additions from which on a value that a later pass needs is kept instead of computed again
KEPT = 8


class Sums(NamedTuple):
    """Sums of one value, by task: an array of shape (tasks, *shape), or where tasks cut the columns
    (*shape, parts).

    Attributes:
        kind: of the reduction.
        tasks: how many there are.
        axes: the axes of the domain that a task's sums keep, in the order of their array.
        shape: their lengths.
    """

    kind: str
    tasks: int
    axes: tuple[int, ...]
    shape: tuple[int, ...]


class Laid(NamedTuple):
    """A nest ready to run.

    Attributes:
        program: what is compiled.
        geometry: its numbers.
        slots: where the addresses come from: Slots, and nodes for stored values and sums.
        tasks: how many there are.
        scratch: bytes that each thread needs.
        order: the domain's axes as results lie in memory.
        sums: by reduction.
        scalars: the numbers of the arguments that are floats.
    """

    program: Program
    geometry: np.ndarray
    slots: tuple
    tasks: int
    scratch: int
    order: tuple[int, ...]
    sums: dict[Node, Sums]
    scalars: tuple[int, ...]


class _Walk(NamedTuple):
    """An access before its loops are known: strides by axis of the domain."""

    pointer: int
    dtype: np.dtype
    offset: int
    strides: tuple[int, ...]
    axis: tuple[int, int] | None = None  # (stride, length) of the axis that a gather picks from


def aligned(values, domain, fill) -> tuple[int, ...]:
    """Per-axis numbers of an operand, for the axes of the domain it is broadcast to."""
    return (fill,) * (len(domain) - len(values)) + tuple(values)


class _Layout:
    """The decisions one after the other; each finds those before it in the attributes."""

    def __init__(self, nest: Nest, memory: dict[Node, Leaf], stores: list, counts: set[int]):
        self.nest, self.memory, self.stores, self.counts = nest, memory, stores, counts
        self.domain = nest.domain
        self.slots: list = []
        self.scalars: list[int] = []
        self.numbers: list[float] = []
        self.nodes = self._nodes()
        self.put_axes = {node.info for node in self.nodes if node.op == "put"}
        self.number = {node: i for i, node in enumerate(self.nodes)}

    def run(self) -> Laid:
        self.reads = self._reads()
        self.order = self._order()
        self.writes = self._writes()
        self.walks = [*self.reads.values(), *(walk for _, walk in self.writes)]
        self.rows, self.columns = self._loops()
        self.extents = [self._extent(axes) for axes in self.rows]
        self.lengths = [self._extent(axes) for axes in self.columns]
        self.split = self._splits()
        self.levels = self._levels()
        self.short = self._short()
        self.lane = "row" if self.short else self._lane()
        ops = self._ops()
        sums = self._sums()
        stores = enumerate(self.writes, len(self.reads))
        program = Program(
            self.lane, self.split, len(self.rows), len(self.columns),
            tuple(self._access(walk, n < len(self.reads)) for n, walk in enumerate(self.walks)), ops,
            tuple((self.number[node], access) for access, (node, _) in stores),
            tuple(sums.values()), () if self.short else _kept(ops), len(self.slots), self.short,
            bool(sums) and self.lane == "row" and not self.short and prod(self.lengths) <= MIDDLE_ROW,
        )  # fmt: skip
        count, chunk, parts = self._tasks(bool(sums))
        described = {node: self._described(each, count) for node, each in sums.items()}
        kept = 0
        if program.buffers:
            lanes = ROW_BLOCK if self.lane == "row" else 1
            kept = -(-prod(self.lengths) * lanes * 8 // 64) * 64 + PADDING
        widths = [1 if self.split else prod(each.shape) for each in described.values()]
        known = self._geometry(chunk, parts, kept, widths)
        geometry = np.array([known[name] for name in program.geometry()], dtype=np.int64)
        flat = tuple(axis for axis, size in enumerate(self.domain) if size == 1)
        return Laid(
            program, geometry, tuple(self.slots), count, kept * program.buffers,
            (*self.order, *flat), described, tuple(self.scalars),
        )  # fmt: skip

    # ------------------------------------------------------------------ walks
    def _nodes(self):
        """What the nest computes or reads, in order."""
        nest = self.nest
        wanted = {node for node, _ in self.stores} | set(nest.kinds)
        needed, waiting = set(), list(wanted)
        while waiting:
            node = waiting.pop()
            if node in needed:
                continue
            needed.add(node)
            if node not in nest.members or node in self.memory:
                continue
            if node in nest.inner:
                waiting.append(nest.inner[node])
            elif node.op == "gather":
                waiting.append(node.args[1])
            else:
                waiting += node.args
        return sorted(needed, key=lambda node: (nest.ends(node), node.number))

    def _pointer(self, slot) -> int:
        if slot not in self.slots:
            self.slots.append(slot)
        return self.slots.index(slot)

    def _walk(self, leaf: Leaf, node: Node, axis=None) -> _Walk:
        own = [0 if n == 1 else s for n, s in zip(node.shape, leaf.strides)]
        picked = None
        if axis is not None:
            picked = (leaf.strides[axis], node.shape[axis])
            own[axis] = 0
        strides = aligned(own, self.domain, 0)
        return _Walk(self._pointer(leaf.slot), node.dtype, leaf.offset, strides, picked)

    def _reads(self):
        """The walk of every node that is read from memory."""
        found = {}
        for node in self.nodes:
            if node in self.memory:
                found[node] = self._walk(self.memory[node], node)
            elif node.op == "iota":
                strides = [0] * len(node.shape)
                strides[node.info] = int(node.shape[node.info] != 1)
                found[node] = _Walk(-1, node.dtype, 0, aligned(strides, self.domain, 0))
            elif node.op == "gather":
                found[node] = self._walk(self.memory[node.args[0]], node.args[0], node.info)
            elif node.op == "random_words":
                strides = aligned(_word_numbers(node.shape), self.domain, 0)
                found[node] = _Walk(-1, node.dtype, 0, strides)
        return found

    def _order(self):
        """The axes as they lie in memory, the outermost first, by the largest array read."""
        axes = [i for i, n in enumerate(self.domain) if n != 1]
        if self.put_axes:  # a row is what elements are put into
            return axes
        full = [walk for walk in self.reads.values() if walk.pointer >= 0]
        for walk in sorted(full, key=lambda w: -sum(w.strides[i] != 0 for i in axes)):
            if all(walk.strides[i] for i in axes):
                return sorted(axes, key=lambda i: -abs(walk.strides[i]))
            break
        return axes

    def _writes(self):
        """The walk of every store; results of the nest are dense in the order of the axes."""
        found = []
        for node, target in self.stores:
            if target is None:
                walk = _Walk(self._pointer(node), node.dtype, 0, self._fresh(node))
            else:
                walk = self._walk(target, node)
            found.append((node, walk))
        return found

    def _fresh(self, node):
        shape = aligned(node.shape, self.domain, 1)
        strides, step = [0] * len(shape), 1
        for axis in reversed(self.order):
            if shape[axis] != 1:
                strides[axis] = step
                step *= shape[axis]
        return tuple(strides)

    # ------------------------------------------------------------------ loops
    def _extent(self, axes) -> int:
        return prod(self.domain[axis] for axis in axes)

    def _loops(self):
        """The axes of each row loop and of each column loop."""
        columns = self.nest.columns
        if columns is None:
            loops = self._collapsed(self.order)
            return loops[:-1], loops[-1:] or [()]
        rows = self._collapsed([axis for axis in self.order if axis not in columns])
        return rows, self._collapsed([axis for axis in self.order if axis in columns])

    def _collapsed(self, axes):
        """Neighbouring axes that every walk crosses in one even stride, as one loop."""
        groups: list[tuple[int, ...]] = []
        for axis in axes:
            if (
                groups
                and axis not in self.put_axes
                and all(
                    walk.strides[groups[-1][-1]] == walk.strides[axis] * self.domain[axis]
                    for walk in self.walks
                )
            ):
                groups[-1] += (axis,)
            else:
                groups.append((axis,))
        return groups

    def _splits(self) -> bool:
        """Whether tasks cut the columns."""
        if self.nest.columns is not None:
            return "split" in self.nest.kinds.values()
        return prod(self.extents) < FEW_ROWS and prod(self.domain) > LARGE

    def _short(self) -> int:
        """How many columns there are, where blocks of short rows are transposed; else 0."""
        if self.split or self.put_axes or len(self.rows) != 1 or len(self.columns) != 1:
            return 0
        width = self.lengths[0]
        if not 1 < width <= SHORT_ROW or width * self.extents[0] < OWN_PROGRAM:
            return 0
        inside = [node for node in self.nodes if self.levels[node][1]]
        longest = width * max((node.dtype.itemsize for node in inside), default=0)
        if longest >= LINES and "row" not in self.nest.kinds.values():
            return 0
        along_rows = self._lane() == "row" or any(map(self._turns, self.walks))
        return width if along_rows and sum(map(cost, inside)) * width <= WRITTEN_OUT else 0

    def _turns(self, walk) -> bool:
        """Whether rows of an array lie one after the other, dense along their columns."""
        row, column = self.rows[0][-1], self.columns[0][-1]
        return (
            walk.pointer >= 0 and walk.axis is None
            and walk.strides[column] == 1 and walk.strides[row] >= self.lengths[0]
        )  # fmt: skip

    def _lane(self) -> str:
        """Along which loop vectors lie: where more arrays are dense."""
        if not self.rows or self.split or self.put_axes or not self.columns[-1]:
            return "column"
        if self.nest.columns is None:
            long = min(self.extents[-1], self.lengths[-1]) >= ROW_BLOCK
            return "tile" if long and any(map(self._crosses, self.reads.values())) else "column"
        row, column = self.rows[-1][-1], self.columns[-1][-1]
        full = [walk for walk in self.walks if walk.strides[row] and walk.strides[column]]
        along_rows = sum(walk.strides[row] == 1 for walk in full)
        along_columns = sum(walk.strides[column] == 1 for walk in full)
        if along_columns == 0 and prod(self.lengths) < SHORT_ROW and self.extents[-1] >= ROW_BLOCK:
            return "row"
        return "row" if along_rows > along_columns else "column"

    def _crosses(self, walk) -> bool:
        """Whether an array is dense along the innermost row loop, across the vectors."""
        row, column = self.rows[-1][-1], self.columns[-1][-1]
        is_array = walk.pointer >= 0 and walk.axis is None
        return is_array and walk.strides[row] == 1 and walk.strides[column] not in (0, 1)

    def _access(self, walk, is_read) -> Access:
        vector = self.rows[-1] if self.lane == "row" else self.columns[-1]
        stride = walk.strides[vector[-1]] if vector else 0
        if self.lane == "tile" and is_read and self._crosses(walk):
            stride = 3
        elif self.short and self._turns(walk):
            stride = TURNED
        elif stride not in (0, 1):
            stride = 2
        return Access(
            walk.pointer, dtype_name(walk.dtype),
            tuple(walk.strides[axes[-1]] != 0 for axes in self.rows),
            tuple(bool(axes) and walk.strides[axes[-1]] != 0 for axes in self.columns),
            stride,
        )  # fmt: skip

    def _tasks(self, sums: bool) -> tuple[int, int, int]:
        """(tasks, rows or columns of a task, parts of a row): by shape alone, so that the same
        bits come out on any number of threads."""
        work = 2 + sum(cost(node) for node in self.nodes if self.levels[node][1])
        most = MOST_SUMS if sums else MOST_TASKS
        wanted = max(1, min(most, prod(self.domain) * work // GRAIN))
        rows = prod(self.extents)
        if self.split:
            chunk = -(-self.lengths[0] // max(1, wanted // rows))
            if len(self.lengths) == 1:
                chunk = -(-chunk // 64) * 64
            parts = -(-self.lengths[0] // chunk)
            return rows * parts, chunk, parts
        if self.lane != "column":
            rows = prod(self.extents[:-1]) * -(-self.extents[-1] // ROW_BLOCK)
        chunk = -(-rows // wanted)
        return -(-rows // chunk), chunk, 1

    def _geometry(self, chunk, parts, kept, widths):
        """The numbers that the program refers to, by name."""
        known: dict[tuple, int] = {
            ("chunk",): chunk, ("rows",): prod(self.extents), ("parts",): parts,
            ("kept bytes",): kept,
        }  # fmt: skip
        known.update({("row", d): n for d, n in enumerate(self.extents)})
        known.update({("column", d): n for d, n in enumerate(self.lengths)})
        known.update({("width", number): n for number, n in enumerate(widths)})
        for number, walk in enumerate(self.walks):
            known["offset", number] = walk.offset
            for d, axes in enumerate(self.rows):
                known["row stride", number, d] = walk.strides[axes[-1]]
            for d, axes in enumerate(self.columns):
                known["column stride", number, d] = walk.strides[axes[-1]] if axes else 0
            if walk.axis:
                known["axis stride", number], known["axis length", number] = walk.axis
        for number, value in enumerate(self.numbers):
            known["number", number] = int(np.float64(value).view(np.int64))
        return known

    # ------------------------------------------------------------------ what is computed
    def _levels(self) -> dict[Node, tuple[bool, bool]]:
        """Per node whether it changes along rows and along columns."""
        nest = self.nest
        loops = [[axis for axes in each for axis in axes] for each in (self.rows, self.columns)]
        # what is stored or reduced counts with every element, also where all are equal
        whole = {node for node, _ in self.stores}
        whole.update(node.args[0] for node in nest.kinds if node not in nest.inner)
        levels: dict[Node, tuple[bool, bool]] = {}
        for node in self.nodes:
            if node in nest.kinds:
                levels[node] = (bool(self.rows) and nest.kinds[node] == "row", False)
                continue
            by = [False, False]
            if node in self.reads:
                strides = self.reads[node].strides
                by = [any(strides[axis] for axis in axes) for axes in loops]
            if node not in self.memory:
                for arg in node.args[1:] if node.op == "gather" else node.args:
                    by = [mine or its for mine, its in zip(by, levels[arg])]
            if node in whole:
                shape = aligned(node.shape, self.domain, 1)
                spans = [any(shape[axis] != 1 for axis in axes) for axes in loops]
                by = [mine or its for mine, its in zip(by, spans)]
                # a domain of one element is one column
                by[1] = by[1] or (node.shape == self.domain and not loops[1])
            levels[node] = (by[0], by[1])
        return levels

    def _ops(self) -> tuple[Op, ...]:
        ops: list[Op] = []
        places = {node: place for place, node in enumerate(self.reads)}
        for node in self.nodes:
            if self.nest.ends(node):
                continue  # a sum over tasks, which is no value of the loops
            name, args = node.op, tuple(self.number[arg] for arg in node.args if arg in self.number)
            info, access = None, places.get(node, -1)
            if node in self.memory or node.op == "iota":
                name, args = "load", ()
            elif node.op == "gather":
                args = (self.number[node.args[1]],)
            elif node.op == "reduce":
                info = node.info[0]
            elif node.op == "scalar":
                if node.info not in self.scalars:
                    self.scalars.append(node.info)
                access = self.scalars.index(node.info)
            elif node.op == "constant":
                if self._is_count(node):
                    self.numbers.append(number_of(node))
                    name, access = "number", len(self.numbers) - 1
                else:
                    info = node.info
            stage = max([ops[arg].stage for arg in args], default=0) + (name == "reduce")
            ops.append(
                Op(name, dtype_name(node.dtype), args, info, access, *self.levels[node], stage)
            )
        return tuple(ops)

    def _is_count(self, node) -> bool:
        """Whether a constant is how many elements a mean is taken over, or the inverse: one
        program is to serve all shapes."""
        if node.dtype.kind != "f":
            return False
        return node.dtype.type(number_of(node)) in _quotients(node.dtype, frozenset(self.counts))

    def _sums(self) -> dict[Node, Sum]:
        """The reductions whose results come after the nest."""
        found = {}
        for node in self.nodes:
            if self.nest.ends(node):
                source = self.number[self.nest.inner.get(node, node.args[0])]
                found[node] = Sum(source, node.info[0], dtype_name(node.dtype), self._pointer(node))
        return found

    def _described(self, each: Sum, tasks: int) -> Sums:
        loops = self.rows if self.split else self.columns
        if not self.split and not self.levels[self.nodes[each.value]][1]:
            loops = []
        axes = tuple(axis for group in loops for axis in group)
        return Sums(each.kind, tasks, axes, tuple(self.domain[axis] for axis in axes))


@lru_cache
def _quotients(dtype, counts):
    """Numbers of elements, and their inverses."""
    return {dtype.type(each) for count in counts for each in (count, 1 / count)}


def _word_numbers(shape) -> tuple[int, ...]:
    """The strides of the numbers of random words: rows start a block of four."""
    strides, step = [1], -(-shape[-1] // 4) * 4
    for size in reversed(shape[:-1]):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _kept(ops) -> tuple[int, ...]:
    """Costly values along the columns that a later pass uses again."""
    price: list[int] = []
    for op in ops:
        own = COSTS.get(op.op, 1) if op.args else 0
        same = {arg for arg in op.args if ops[arg].by_column and ops[arg].stage == op.stage}
        price.append(own + sum(price[arg] for arg in same) if op.by_column else 0)
    last_use = [0] * len(ops)
    for op in ops:
        for arg in op.args if op.op != "reduce" else ():
            last_use[arg] = max(last_use[arg], op.stage)
    return tuple(
        number for number, op in enumerate(ops)
        if price[number] >= KEPT and last_use[number] > op.stage
    )  # fmt: skip


def lay_out(
    nest: Nest,
    memory: dict[Node, Leaf],
    stores: list[tuple[Node, Leaf | None]],
    counts: set[int],
) -> Laid:
    """Decide how a nest runs.

    Args:
        nest: the nest.
        memory: where the values lie that it reads.
        stores: values that it leaves in memory, at a place or (None) in a new array.
        counts: numbers of elements that the graph reduces.
    """
    return _Layout(nest, memory, stores, counts).run()
