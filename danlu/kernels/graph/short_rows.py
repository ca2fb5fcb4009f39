"""Loops over rows of few columns, all of which are in registers: blocks of rows are read as whole
vectors and transposed, vectors lie along the rows, and the code of every column is written out.

Ten features of eight rows are sixteen loads and 32 shuffles where reading them column by column is
80 loads and 70 insertions.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import I32, Type
from danlu.kernels.generated.matmul_packing import transposed
from danlu.kernels.graph.emit import Writer
from danlu.kernels.graph.operations import (
    combine,
    from_memory,
    identity,
    load_type,
    to_memory,
    value_type,
)
from danlu.kernels.graph.program import ROW_BLOCK, TURNED, Program

__all__ = ["ShortRowsWriter", "load_columns", "store_columns"]

# Additions of a row's sum that wait for each other are as long as everything else of a block.
CHAINS = 4


class ShortRowsWriter(Writer):
    """Writes programs whose `short` is the number of their columns.

    What is left of a task's rows below one vector goes row by row, as the superclass does it.

    Attributes:
        read, written: access -> its columns in the present block.
        made: (op, column) -> its value in the block, for later passes too.
        totals: (sum, column) -> its lanes, over all blocks of the task.
    """

    def __init__(self, program: Program, target: Target):
        super().__init__(program, target)
        self.read: dict[int, list[Value]] = {}
        self.written: dict[int, list[Value]] = {}
        self.made: dict[tuple[int, int], Value] = {}
        self.totals: dict[tuple[int, int], Value] = {}

    def _rows_of_task(self):
        f, program, lanes = self.f, self.program, self.register
        rows = self.known["chunk",] * ROW_BLOCK
        start = self.index * rows
        stop = f.minimum(start + rows, self.known["rows",])
        whole = stop - (stop - start) % lanes
        for number, each in enumerate(program.sums):
            by_column = program.ops[each.value].by_column
            for column in range(program.short if by_column else 1):
                start_value = identity(each.kind, each.dtype)
                vector = value_type(each.dtype).vector(lanes)
                self.totals[number, column] = f.value(start_value, vector)
        places = list(self.totals)
        with f.loop(start, whole, lanes, carried=list(self.totals.values())) as loop:
            self.totals = dict(zip(places, loop.values))
            self._block(loop.index)
            loop.carry(*(self.totals[place] for place in places))
        for (number, column), total in zip(places, loop.results):
            super()._add(number, total, column, None, lanes)
        with f.loop(whole, stop) as loop:
            self._row(loop.index)

    def _block(self, index):
        f, program = self.f, self.program
        self.lanes = self.register
        self.locate(index)
        outside = dict(self.values)
        self.made, self.written = {}, {}
        self.read = {
            op.access: self._columns_of(op.access) for op in program.ops
            if op.op == "load" and program.accesses[op.access].lane == TURNED
        }  # fmt: skip
        self._outer(by_row=True, stage=0)
        for turn in range(program.passes()):
            self._pass(turn)
            self._outer(by_row=True, stage=turn + 1)
        for number, columns in self.written.items():
            store_columns(f, columns, self.starts[number], self.lane_stride(number))
        self.values = outside

    def _columns_of(self, number):
        type = load_type(self.program.accesses[number].dtype)
        stride = self.lane_stride(number)
        return load_columns(
            self.f, self.starts[number], type, stride, self.program.short, self.lanes
        )

    def _columns(self, d, indices, totals):
        if self.lanes == 1:
            return super()._columns(d, indices, totals)
        chains = [totals] * min(CHAINS, self.program.short)  # they begin with nothing
        for column in range(self.program.short):
            own = column % len(chains)
            chains[own] = self._body((column,), self.lanes, None, chains[own])
        totals = chains[0]
        for chain in chains[1:]:
            totals = [
                combine(self.f, kind, dtype, total, each)
                for (_, kind, dtype, _), total, each in zip(self.reductions, totals, chain)
            ]
        return totals

    def _value(self, number, values, lanes, mask, indices):
        if lanes == 1 or not indices:
            return super()._value(number, values, lanes, mask, indices)
        place = number, indices[0]
        if place not in self.made:
            self.made[place] = super()._value(number, values, lanes, mask, indices)
        return self.made[place]

    def _add(self, number, value, at, mask, lanes=1):
        if lanes == 1:
            super()._add(number, value, at, mask, lanes)
            return
        f, each = self.f, self.program.sums[number]
        value = f.broadcast(value, lanes) if value.type.lanes == 1 else value
        total = self.totals[number, at]
        self.totals[number, at] = combine(f, each.kind, each.dtype, total, value)

    def load(self, number, dtype, indices, lanes, mask):
        if lanes > 1 and number in self.read:
            return from_memory(self.f, self.target, self.read[number][indices[0]], dtype)
        return super().load(number, dtype, indices, lanes, mask)

    def store(self, value, number, indices, lanes, mask):
        access = self.program.accesses[number]
        if lanes == 1 or access.lane != TURNED:
            super().store(value, number, indices, lanes, mask)
            return
        value = to_memory(self.f, self.target, value, access.dtype)
        value = self.f.broadcast(value, lanes) if value.type.lanes == 1 else value
        self.written.setdefault(number, []).append(value)


def load_columns(
    f: Function, rows: Value, type: Type, stride: Value, width: int, lanes: int
) -> list[Value]:
    """The columns of as many rows as a vector has lanes, each `width` elements, `stride` apart.

    Squares are transposed; the last one overlaps the one before it. A row that is shorter than a
    vector is read with what follows it; the last rows with what is before them. Bytes and halves
    are turned as whole words: wider ones take one instruction a row, interleaved bytes many.
    """
    vector, columns = type.vector(lanes), []

    def line(row, start=0):
        found = f.load(rows, vector, row * stride + start)
        return f.convert(found, I32, signed=False) if type.bytes < I32.bytes else found

    def turned(lines):
        if type.bytes < I32.bytes:
            return [f.convert(each, type) for each in transposed(f, lines)]
        return transposed(f, lines)

    if width < lanes:
        lines = []
        for row in range(lanes):
            if (lanes - 1 - row) * width >= lanes - width:
                lines.append(line(row))
            else:
                order = [*range(lanes - width, lanes), *([lanes - 1] * (lanes - width))]
                lines.append(f.shuffle(line(row, width - lanes), None, order))
        return turned(lines)[:width]
    for first in range(0, width, lanes):
        start = min(first, width - lanes)
        columns += turned([line(row, start) for row in range(lanes)])[first - start :]
    return columns


def store_columns(f: Function, columns: list[Value], rows: Value, stride: Value) -> None:
    """Write columns as rows; the opposite of `load_columns`."""
    type, width, lanes = columns[0].type, len(columns), columns[0].type.lanes
    if type.bytes < I32.bytes:
        columns = [f.convert(each, I32, signed=False) for each in columns]
    for first in range(0, width, lanes):
        start, left = first, min(lanes, width - first)
        if first and left.bit_count() > 1:  # a square more is cheaper than pieces of its rows
            start, left = width - lanes, lanes
        square = columns[start : start + left]
        square += square[:1] * (lanes - left)
        for row, line in enumerate(transposed(f, square)):
            place, done = row * stride + start, 0
            line = f.convert(line, type.element()) if type.bytes < I32.bytes else line
            for piece in (1 << bit for bit in reversed(range(left.bit_length()))):
                if left & piece == 0:
                    continue
                part = range(done, done + piece)
                value = line if piece == lanes else f.extract(line, done)
                if 1 < piece < lanes:
                    value = f.shuffle(line, None, part)
                f.store(value, rows, place + done)
                done += piece
