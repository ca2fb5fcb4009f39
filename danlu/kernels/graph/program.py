"""What a loop nest's machine code depends on, and nothing else: the same program serves all shapes.

Extents, strides and offsets are numbers in the `geometry` array that a launch hands over; the
program says only how many loops there are, which arrays move along which of them, and what is
computed. It is the key under which code is cached, and everything the emitter sees.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ROW_BLOCK", "TURNED", "Access", "Op", "Program", "Sum"]

# rows that are computed together where arrays are dense along them: a cache line of float32
ROW_BLOCK = 16
# the `lane` of an access whose short rows are transposed
TURNED = 4


class Access(NamedTuple):
    """How an array is walked over.

    Attributes:
        pointer: the number of its address among the arguments; -1 for counting (iota), whose
            values are the offsets themselves.
        dtype: of its elements in memory.
        rows, columns: whether it moves along each loop.
        lane: its stride along the lanes: 0, 1, or 2 for any other number; 3 where tiles of it are
            transposed, since it is dense along the rows; TURNED where blocks of short rows are.
    """

    pointer: int
    dtype: str
    rows: tuple[bool, ...]
    columns: tuple[bool, ...]
    lane: int


class Op(NamedTuple):
    """One value.

    Attributes:
        op: `load`, `gather`, `scalar`, `constant`, `number` (a constant that depends on shapes),
            `reduce`, or an elementwise function.
        dtype: of the value.
        args: the numbers of its operands.
        info: the kind of a reduction, the digits of a constant.
        access: the number of the access of a load or gather, of a scalar among the arguments, or
            of a `number` in the geometry.
        by_row, by_column: whether it changes from row to row, and along the columns.
        stage: the first pass over the columns that can know it.
    """

    op: str
    dtype: str
    args: tuple[int, ...]
    info: object
    access: int
    by_row: bool
    by_column: bool
    stage: int


class Sum(NamedTuple):
    """A value added up (or multiplied, or the largest taken) over what one task does.

    The task writes to row `task` of the array of all tasks' sums.
    """

    value: int
    kind: str
    dtype: str
    pointer: int


class Program(NamedTuple):
    """A loop nest.

    Attributes:
        lane: "column": vectors lie along the innermost column loop; "row": along the innermost
            row loop, for reductions over an axis that is not the innermost in memory; "tile": along
            the column loop, for blocks of rows together, where arrays are dense along the rows.
        split: tasks cut the outermost column loop instead of the rows.
        rows, columns: how many loops of either there are.
        accesses, ops: see there.
        stores: (op, access) pairs.
        sums: what goes into the arrays of sums.
        kept: ops whose values are kept for later passes in scratch memory.
        pointers: how many address arguments there are, after geometry and scratch.
        short: the number of columns, where the code of each is written out; else 0.
        wide_sums: whether sums over rows are vectors in scratch memory until the task ends.
    """

    lane: str
    split: bool
    rows: int
    columns: int
    accesses: tuple[Access, ...]
    ops: tuple[Op, ...]
    stores: tuple[tuple[int, int], ...]
    sums: tuple[Sum, ...]
    kept: tuple[int, ...]
    pointers: int
    short: int = 0
    wide_sums: bool = False

    @property
    def buffers(self) -> int:
        """How many arrays in scratch memory there are: kept values, then wide sums."""
        return len(self.kept) + (len(self.sums) if self.wide_sums else 0)

    def passes(self) -> int:
        """How many passes over the columns of a row there are."""
        return 1 + max((self.ops[number].stage for number in self._inside()), default=-1)

    def _inside(self):
        """Ops that are computed for their own sake in the loop over the columns."""
        yield from (op for op, _ in self.stores if self.ops[op].by_column)
        yield from (each.value for each in self.sums if self.ops[each.value].by_column)
        yield from self.kept
        for op in self.ops:
            if op.op == "reduce":
                yield op.args[0]

    def roots(self, turn: int) -> list[int]:
        """Ops whose values pass number `turn` is made for."""
        return sorted({number for number in self._inside() if self.ops[number].stage == turn})

    def needed(self, turn: int) -> list[int]:
        """Everything the pass computes in its loop, in order: values kept by an earlier pass are
        read back, others computed again."""
        needed = set()
        waiting = self.roots(turn)
        while waiting:
            number = waiting.pop()
            op = self.ops[number]
            if number in needed or not op.by_column:
                continue
            needed.add(number)
            if not (number in self.kept and op.stage < turn):
                waiting += op.args
        return sorted(needed)

    def geometry(self) -> dict[tuple, int]:
        """The numbers of a launch, by name: their places in the geometry array."""
        names: list[tuple] = [("chunk",), ("rows",), ("parts",)]
        names += [("row", d) for d in range(self.rows)]
        names += [("column", d) for d in range(self.columns)]
        for number, access in enumerate(self.accesses):
            names.append(("offset", number))
            names += [("row stride", number, d) for d, moves in enumerate(access.rows) if moves]
            names += [
                ("column stride", number, d) for d, moves in enumerate(access.columns) if moves
            ]
        for op in self.ops:
            if op.op == "gather":
                names += [("axis stride", op.access), ("axis length", op.access)]
        names += [("width", number) for number in range(len(self.sums))]
        names.append(("kept bytes",))
        names += [("number", op.access) for op in self.ops if op.op == "number"]
        return {name: place for place, name in enumerate(names)}
