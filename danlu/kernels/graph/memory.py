"""Where a program's values lie in memory, and how vectors of them are read and written."""

from __future__ import annotations

from typing import Any

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import I1, I8, I32, I64
from danlu.kernels.generated.matmul_packing import transposed
from danlu.kernels.graph import philox
from danlu.kernels.graph.operations import from_memory, load_type, to_memory, value_type
from danlu.kernels.graph.program import ROW_BLOCK, Op, Program

__all__ = ["MemoryWriter"]


class MemoryWriter:
    """The half of the emitter that knows addresses.

    Attributes:
        known: the numbers of the geometry.
        pointers, kept: the addresses of arrays and of kept values.
        bases, starts: per access, the present row's offset and its address.
        turn: the pass being written.
        tiles, tile_row: per access a transposed tile, and the row of the tiles being written.
    """

    def __init__(self, f: Function, program: Program, target: Target):
        self.f, self.program, self.target = f, program, target
        self.known: dict[tuple, Value] = {}
        self.pointers: list[Value] = []
        self.kept: list[Value] = []
        self.bases: list[Value] = []
        self.starts: list[Any] = []  # None for counting, which reads nothing
        self.turn = 0
        self.tiles: dict[int, Value] = {}
        self.tile_row: Value | None = None

    # ------------------------------------------------------------------ places
    def locate(self, index=None):
        """The row's place in every array (without a row: the place of the array's first)."""
        f, program = self.f, self.program
        indices: list = [index]
        for d in range(program.rows - 1, 0, -1) if index is not None else ():
            extent = self.known["row", d]
            outer = indices[0] / extent
            indices[0] = indices[0] - outer * extent
            indices.insert(0, outer)
        self.bases = []
        for number, access in enumerate(program.accesses):
            base = self.known["offset", number]
            for d, moves in enumerate(access.rows):
                if moves and index is not None:
                    base = base + indices[d] * self.known["row stride", number, d]
            self.bases.append(base)
        self.starts = [
            None if access.pointer < 0
            else f.at(self.pointers[access.pointer], base, load_type(access.dtype))
            for access, base in zip(program.accesses, self.bases)
        ]  # fmt: skip

    def move_down(self, first, row):
        """From the places of the first row of a block to those of another row of it."""
        f, program = self.f, self.program
        bases, starts = first
        self.bases, self.starts = list(bases), list(starts)
        for number, access in enumerate(program.accesses):
            if access.rows[-1]:
                step = row * self.known["row stride", number, program.rows - 1]
                self.bases[number] = bases[number] + step
                if access.pointer >= 0:
                    self.starts[number] = f.at(starts[number], step, load_type(access.dtype))

    def load_tiles(self, column, lanes):
        """Transpose what is dense along the rows, from this column on: a cache line a column."""
        f = self.f
        for number, tile in self.tiles.items():
            type = load_type(self.program.accesses[number].dtype).vector(lanes)
            step = self.known["column stride", number, 0]
            with f.loop(0, ROW_BLOCK, lanes) as rows:
                place = column * step + rows.index
                lines = [f.load(self.starts[number], type, place + step * lane)
                         for lane in range(lanes)]  # fmt: skip
                for row, line in enumerate(transposed(f, lines)):
                    f.store(line, tile, (rows.index + row) * lanes)

    def column_offset(self, number, indices):
        offset: Value | int = 0
        access = self.program.accesses[number]
        for d, index in enumerate(indices):
            if access.columns[d]:
                unit = (
                    self.program.lane != "row" and access.lane == 1
                    and d == self.program.columns - 1
                )  # fmt: skip
                stride = 1 if unit else self.known["column stride", number, d]
                offset = index * stride + offset
        return offset

    def lane_stride(self, number):
        if self.program.lane == "row":
            return self.known["row stride", number, self.program.rows - 1]
        return self.known["column stride", number, self.program.columns - 1]

    def load(self, number, dtype, indices, lanes, mask):
        f, access = self.f, self.program.accesses[number]
        offset = self.column_offset(number, indices)
        if access.pointer < 0:
            return self.counted(number, dtype, offset, lanes)
        pointer, type = self.starts[number], load_type(dtype)
        if access.lane == 0 or lanes == 1:
            loaded = f.load(pointer, type, offset)
        elif access.lane == 3 and self.tile_row is not None:
            loaded = f.load(self.tiles[number], type.vector(lanes), self.tile_row * lanes)
        elif access.lane == 1 and mask is not None:
            loaded = f.masked_load(pointer, mask, type.vector(lanes), 0, offset)
        elif access.lane == 1:
            loaded = f.load(pointer, type.vector(lanes), offset)
        else:
            stride = self.lane_stride(number)
            loaded = f.value(0, type.vector(lanes))
            for lane in range(lanes):
                one = f.load(pointer, type, offset + stride * lane if lane else offset)
                loaded = f.insert(loaded, one, lane)
        return from_memory(f, self.target, loaded, dtype)

    def counted(self, number, dtype, offset, lanes):
        """0, 1, 2, ... along an axis."""
        f, access = self.f, self.program.accesses[number]
        first = f.convert(f.value(self.bases[number] + offset, I64), load_type(dtype))
        if access.lane == 0 or lanes == 1:
            return first
        steps = f.lane_numbers(lanes, load_type(dtype))
        if access.lane == 2:
            stride = f.convert(self.lane_stride(number), load_type(dtype))
            steps = steps * f.broadcast(stride, lanes)
        return f.broadcast(first, lanes) + steps

    def gather(self, op: Op, index: Value, indices, lanes: int) -> Value:
        """The element of the index along the picked axis, which lies within the axis here."""
        f, number = self.f, op.access
        stride, length = self.known["axis stride", number], self.known["axis length", number]
        offset = self.column_offset(number, indices)
        type = load_type(op.dtype)
        varies = self.program.accesses[number].lane != 0
        count = lanes if varies else index.type.lanes
        found = f.value(0, type.vector(count))
        for lane in range(count):
            one = f.extract(index, lane) if index.type.lanes > 1 else index
            one = self.from_start(one, op.args[0], length)
            one = f.minimum(f.maximum(one, 0), length - 1)
            place = one * stride + offset
            if varies and lane:
                place = place + self.lane_stride(number) * lane
            loaded = f.load(self.starts[number], type, place)
            if count == 1:
                return from_memory(f, self.target, loaded, op.dtype)
            found = f.insert(found, loaded, lane)
        return from_memory(f, self.target, found, op.dtype)

    def random_words(self, op: Op, key: Value, offset: Value, indices, lanes: int) -> Value:
        """Philox's words of these elements; vectors of neighbours share blocks of four."""
        f, number = self.f, op.access
        first = f.value(self.bases[number] + self.column_offset(number, indices), I64)
        lane = self.program.accesses[number].lane
        if lane == 1 and lanes % 4 == 0:  # rows, and the vectors of a row, start with a block
            blocks = f.broadcast((first >> 2) + offset, lanes // 4)
            blocks = blocks + f.lane_numbers(lanes // 4, I64)
            return philox.in_turn(f, philox.words(f, blocks, key))
        count = 1 if lane == 0 else lanes
        numbers = f.broadcast(first, count)
        if count > 1:
            steps = f.broadcast(f.value(1 if lane == 1 else self.lane_stride(number), I64), count)
            numbers = numbers + f.lane_numbers(count, I64) * steps
        four = philox.words(f, (numbers >> 2) + f.broadcast(offset, count), key)
        place, found = numbers & 3, four[3]
        for turn in (2, 1, 0):
            found = f.select(f.compare("eq", place, turn), four[turn], found)
        return f.convert(found, I32)

    def from_start(self, value: Value, number: int, length: Value) -> Value:
        """A value as an index; negative ones count from the end."""
        f = self.f
        signed = not self.program.ops[number].dtype.startswith("u")
        value = f.convert(value, I64, signed=signed)
        return value + f.select(f.compare("slt", value, 0), length, 0)

    def store(self, value, number, indices, lanes, mask):
        f, access = self.f, self.program.accesses[number]
        value = to_memory(f, self.target, value, access.dtype)
        offset = self.column_offset(number, indices)
        pointer = self.starts[number]
        if lanes == 1 or access.lane == 0:
            f.store(value, pointer, offset)
            return
        if value.type.lanes == 1:
            value = f.broadcast(value, lanes)
        if access.lane == 2:
            stride = self.lane_stride(number)
            for lane in range(lanes):
                place = offset + stride * lane if lane else offset
                f.store(f.extract(value, lane), pointer, place)
        elif mask is not None:
            f.masked_store(value, pointer, mask, offset)
        else:
            f.store(value, pointer, offset)

    def linear(self, indices):
        """The number of a column, counted over all column loops."""
        place: Value | int = 0
        for d, index in enumerate(indices):
            place = index + (place * self.known["column", d] if d else 0)
        return place

    def keep(self, number, value, indices, lanes):
        f = self.f
        if value.type.scalar == "i1":
            value = f.convert(value, I8, signed=False)
        pointer = self.kept[self.program.kept.index(number)]
        f.store(value, pointer, self.kept_place(indices))

    def read_kept(self, number, indices, lanes):
        f = self.f
        dtype = self.program.ops[number].dtype
        type = value_type(dtype)
        memory = I8 if type == I1 else type
        pointer = self.kept[self.program.kept.index(number)]
        varies = self.program.lane == "column" or self.program.ops[number].by_row
        count = lanes if varies else 1
        value = f.load(pointer, memory.vector(count), self.kept_place(indices))
        return f.compare("ne", value, 0) if type == I1 else value

    def kept_place(self, indices):
        place = self.linear(indices)
        return place * ROW_BLOCK if self.program.lane == "row" else place

    def prefetch(self, indices, lanes):
        """While the heaviest pass computes, memory is idle: ask for the next row, and for the
        lines that a later pass writes."""
        f, program = self.f, self.program
        later = [
            number for op, number in program.stores
            if program.ops[op].by_column and program.ops[op].stage > self.turn
        ]  # fmt: skip
        first = [
            program.ops[number].access for number in program.needed(0)
            if program.ops[number].op == "load"
        ]  # fmt: skip
        for number in (*first, *later):
            access = program.accesses[number]
            if access.pointer < 0 or access.lane != 1 or access.rows[-1:] != (True,):
                continue
            place = self.column_offset(number, indices)
            if number in first:
                place = place + self.known["row stride", number, program.rows - 1]
            type = load_type(access.dtype)
            for step in range(0, lanes, 64 // type.bytes):
                address = f.at(self.starts[number], place + step, type)
                f.prefetch(address, write=number in later)
