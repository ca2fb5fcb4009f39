"""The machine code of a program: `task` walks over its share of the rows, pass by pass.

Vectors of several registers stand for unrolled loops: LLVM splits them, and the text stays short.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I8, I64
from danlu.kernels.graph.fuse import COSTS
from danlu.kernels.graph.memory import MemoryWriter
from danlu.kernels.graph.nodes import number_of
from danlu.kernels.graph.operations import combine, identity, load_type, value_type, write
from danlu.kernels.graph.program import ROW_BLOCK, Program

__all__ = ["Writer", "text"]

_GEOMETRY, _SCRATCH, _POINTERS = 0, 1, 2


def text(program: Program, target: Target) -> str:
    """The IR of a program."""
    if program.short:
        from danlu.kernels.graph.short_rows import ShortRowsWriter

        return ShortRowsWriter(program, target).run()
    return Writer(program, target).run()


class Writer(MemoryWriter):
    """Writes the task of a program."""

    def __init__(self, program: Program, target: Target):
        f = Function.task()
        super().__init__(f, program, target)
        wide = any(op.dtype in ("float64", "int64", "uint64") and op.by_column
                   and op.op != "load" for op in program.ops)  # fmt: skip
        self.register = target.lanes(DOUBLE if wide else FLOAT)
        self.place = program.geometry()
        self.masks = self._masks()
        work = [self._work(turn) for turn in range(program.passes())]
        rows_of_passes = program.lane == "column" and not program.split and len(work) > 1
        self.heaviest = work.index(max(work)) if rows_of_passes else -1

    def _work(self, turn) -> int:
        """Additions of one column of a pass."""
        return sum(COSTS.get(self.program.ops[number].op, 1) for number in
                   self.program.needed(turn))  # fmt: skip

    def _masks(self) -> bool:
        """Whether the last lanes are masked off; else they are computed one by one."""
        program = self.program
        if program.lane != "column" or not self.target.masks:
            return False
        used = [op.access for op in program.ops if op.by_column and op.op in ("load", "gather")]
        used += [number for op, number in program.stores if program.ops[op].by_column]
        accesses = [program.accesses[number] for number in used]
        return all(
            each.lane in (0, 1) and (each.lane == 0 or load_type(each.dtype).bytes in (4, 8))
            for each in accesses
            if each.pointer >= 0
        ) and not any(op.op == "gather" and op.by_column for op in program.ops)

    # ------------------------------------------------------------------ the task
    def run(self) -> str:
        f, program = self.f, self.program
        arguments, self.index, self.thread = f.parameters
        geometry = f.slot(arguments, _GEOMETRY)
        for name, place in self.place.items():
            self.known[name] = f.load(geometry, I64, place)
        self.pointers = [f.slot(arguments, _POINTERS + n) for n in range(program.pointers)]
        if program.buffers:
            scratch, size = f.slot(arguments, _SCRATCH), self.known["kept bytes",]
            start = self.thread * size * program.buffers
            self.kept = [f.at(scratch, start + size * n, I8) for n in range(program.buffers)]
        for number, access in enumerate(program.accesses):
            if access.lane == 3:
                element = load_type(access.dtype)
                self.tiles[number] = f.stack(element, ROW_BLOCK * self.register)
        self.values: dict[int, Value] = {}  # of everything that is outside the column loops
        scalars = _POINTERS + program.pointers
        for number, op in enumerate(program.ops):
            if op.op == "scalar":
                self.values[number] = f.slot(arguments, scalars + op.access, DOUBLE)
            elif op.op == "number":
                value = f.load(geometry, DOUBLE, self.place["number", op.access])
                self.values[number] = f.convert(value, value_type(op.dtype))
        self.locate()
        self._outer(by_row=False, stage=0)
        self._clear_sums()
        chunk = self.known["chunk",]
        if program.split:
            parts = self.known["parts",]
            self._row(self.index / parts, (self.index % parts) * chunk)
        else:
            self._rows_of_task()
        f.ret()
        return Module(f).text()

    def _rows_of_task(self):
        f, chunk = self.f, self.known["chunk",]
        start = self.index * chunk
        with f.loop(start, f.minimum(start + chunk, self._row_count())) as loop:
            self._row_or_block(loop.index)
        if self.program.wide_sums:
            self._fold_sums()

    def _row_count(self):
        if self.program.lane == "column":
            return self.known["rows",]
        self.blocks = (self._last_row() + (ROW_BLOCK - 1)) / ROW_BLOCK
        return self.known["rows",] / self._last_row() * self.blocks

    def _last_row(self):
        return self.known["row", self.program.rows - 1]

    def _row_or_block(self, index):
        f = self.f
        if self.program.lane == "column":
            self._row(index)
            return
        outer = index / self.blocks
        first = (index - outer * self.blocks) * ROW_BLOCK
        left = self._last_row() - first
        whole = f.compare("sge", left, ROW_BLOCK)
        row = outer * self._last_row() + first
        with f.when(whole):
            if self.program.lane == "tile":
                self._tiles(row)
            else:
                self._row(row, lanes=ROW_BLOCK)
        with f.when(f.op("xor", whole, 1)), f.loop(0, left) as loop:
            self._row(row + loop.index)

    def _tiles(self, first_row):
        """A block of rows, as many columns at a time as a vector has lanes."""
        f, program, lanes = self.f, self.program, self.register
        self.lanes, self.turn, self.needed, self.reductions = 1, 0, program.needed(0), []
        self.locate(first_row)
        first = self.bases, self.starts
        outside = dict(self.values)
        width = self.known["column", 0]
        whole = width - width % lanes

        def down(column, count):
            with f.loop(0, ROW_BLOCK) as rows:
                self.tile_row = rows.index
                self.move_down(first, rows.index)
                self._outer(by_row=True, stage=0)
                self._body((column,), count, None, [])
            self.bases, self.starts = first
            self.values, self.tile_row = dict(outside), None

        with f.loop(0, whole, lanes) as columns:
            self.load_tiles(columns.index, lanes)
            down(columns.index, lanes)
        with f.loop(whole, width) as columns:
            down(columns.index, 1)

    def _clear_sums(self):
        """The sums of the task start from nothing (a split task stores its only value)."""
        f, program = self.f, self.program
        self.sums = []
        for number, each in enumerate(program.sums):
            type = value_type(each.dtype)
            width = self.known["width", number]
            pointer = f.at(self.pointers[each.pointer], self.index * width, type)
            self.sums.append(pointer)
            if not program.split:
                start = f.value(identity(each.kind, each.dtype), type)
                with f.loop(0, width) as loop:
                    f.store(start, pointer, loop.index)
                    if program.wide_sums:
                        vector = f.broadcast(start, ROW_BLOCK)
                        f.store(vector, self._wide_sum(number), loop.index * ROW_BLOCK)

    def _wide_sum(self, number) -> Value:
        return self.kept[len(self.program.kept) + number]

    def _fold_sums(self):
        """Add the lanes of wide sums up."""
        f = self.f
        for number, each in enumerate(self.program.sums):
            type = value_type(each.dtype).vector(ROW_BLOCK)
            with f.loop(0, self.known["width", number]) as loop:
                wide = f.load(self._wide_sum(number), type, loop.index * ROW_BLOCK)
                total = f.fold_lanes(
                    wide, lambda a, b, each=each: combine(f, each.kind, each.dtype, a, b)
                )
                self._add(number, total, loop.index, None)

    # ------------------------------------------------------------------ one row
    def _row(self, index, first_column=None, lanes=1):
        """All passes over one row, or over a block of rows side by side."""
        program = self.program
        self.lanes = lanes  # of values that do not change along the columns but by row
        self.locate(index)
        outside = dict(self.values)
        if first_column is None:
            first_column, end = 0, self.known["column", 0]
        else:
            end = self.f.minimum(first_column + self.known["chunk",], self.known["column", 0])
        self.range = first_column, end
        self._outer(by_row=True, stage=0)
        for turn in range(program.passes()):
            self._pass(turn)
            self._outer(by_row=True, stage=turn + 1)
        self._put_elements()
        self.values = outside

    def _put_elements(self):
        """Single elements of the row that are not what the loops wrote."""
        f, program = self.f, self.program
        start, end = self.range
        for number, store in program.stores:
            op = program.ops[number]
            if op.op != "put":
                continue
            index, value = (self.values[arg] for arg in op.args[1:])
            index = self.from_start(index, op.args[1], self.known["column", 0])
            inside = f.op("and", f.compare("sge", index, start), f.compare("slt", index, end))
            with f.when(inside):
                self.store(value, store, (index,), 1, None)

    def _outer(self, by_row, stage):
        """What is known before the pass `stage`: values that do not change along the columns."""
        program = self.program
        for number, op in enumerate(program.ops):
            if op.by_column or number in self.values or op.stage > stage or op.op == "reduce":
                continue
            if by_row or not op.by_row:
                lanes = self.lanes if op.by_row else 1
                self.values[number] = self._value(number, self.values, lanes, None, ())
        if not by_row:
            return
        for number, access in program.stores:
            op = program.ops[number]
            if not op.by_column and op.stage == stage:
                self.store(self.values[number], access, (), self.lanes, None)
        for number, each in enumerate(program.sums):
            op = program.ops[each.value]
            if not op.by_column and op.stage == stage and not program.split:
                self._add(number, self.values[each.value], 0, None, self.lanes)

    # ------------------------------------------------------------------ one pass
    def _pass(self, turn):
        f, program = self.f, self.program
        if not program.roots(turn):
            return
        self.turn, self.needed = turn, program.needed(turn)
        reductions = [
            (number, op.info, op.dtype, op.args[0])
            for number, op in enumerate(program.ops)
            if op.op == "reduce" and program.ops[op.args[0]].stage == turn
        ]
        if program.split:
            reductions += [
                (("sum", number), each.kind, each.dtype, each.value)
                for number, each in enumerate(program.sums)
                if program.ops[each.value].stage == turn
            ]
        self.reductions = reductions
        lanes = self.lanes if program.lane == "row" else self.register
        totals = [
            f.value(identity(kind, dtype), value_type(dtype).vector(lanes))
            for _, kind, dtype, _ in reductions
        ]
        totals = self._columns(0, (), totals)
        for (number, kind, dtype, _), total in zip(reductions, totals):
            if program.lane == "column":
                total = f.fold_lanes(total, lambda a, b, k=kind, d=dtype: combine(f, k, d, a, b))
            if isinstance(number, tuple):
                f.store(total, self.sums[number[1]])
            else:
                self.values[number] = total

    def _columns(self, d, indices, totals):
        """The loops over the columns from dimension `d` inwards; the totals after them."""
        f, program = self.f, self.program
        start, end = self.range if d == 0 else (0, self.known["column", d])
        if d < program.columns - 1:
            with f.loop(start, end, carried=totals) as loop:
                loop.carry(*self._columns(d + 1, (*indices, loop.index), loop.values))
            return loop.results
        if program.lane == "row":
            with f.loop(start, end, carried=totals) as loop:
                loop.carry(*self._body((*indices, loop.index), self.lanes, None, loop.values))
            return loop.results
        return self._vectors(indices, start, end, totals)

    def _vectors(self, indices, start, end, totals):
        """The innermost loop: by several registers, by one, and the rest."""
        f, lanes = self.f, self.register
        count = end - start if isinstance(start, Value) else end
        wide = lanes * self._unroll()
        if wide > lanes:
            stop = start + (count - f.op("and", count, wide - 1))
            begin = [
                f.value(identity(kind, dtype), value_type(dtype).vector(wide))
                for _, kind, dtype, _ in self.reductions
            ]
            with f.loop(start, stop, wide, carried=begin) as loop:
                loop.carry(*self._body((*indices, loop.index), wide, None, loop.values))
            totals = [
                combine(f, kind, dtype, total, self._narrowed(kind, dtype, each, lanes))
                for (_, kind, dtype, _), total, each in zip(self.reductions, totals, loop.results)
            ]
            start = stop
        stop = end - f.op("and", end - start, lanes - 1)
        with f.loop(start, stop, lanes, carried=totals) as loop:
            loop.carry(*self._body((*indices, loop.index), lanes, None, loop.values))
        totals = loop.results
        if self.masks:
            mask = f.mask_below(end - stop, lanes)
            return f.either(
                f.compare("slt", stop, end),
                lambda: self._body((*indices, stop), lanes, mask, totals),
                lambda: totals,
            )
        with f.loop(stop, end, carried=totals) as loop:
            loop.carry(*self._body((*indices, loop.index), 1, None, loop.values))
        return loop.results

    def _narrowed(self, kind, dtype, value, lanes):
        f = self.f
        while value.type.lanes > lanes:
            half = value.type.lanes // 2
            low = f.shuffle(value, None, range(half))
            high = f.shuffle(value, None, range(half, 2 * half))
            value = combine(f, kind, dtype, low, high)
        return value

    def _unroll(self) -> int:
        """Registers of a vector: light loops wait for memory or for their sums; heavy ones need
        only a second chain (exp: 8 percent), and more of them spill."""
        return 4 if self._work(self.turn) <= 10 else 2

    # ------------------------------------------------------------------ values
    def _body(self, indices, lanes, mask, totals):
        """Everything the pass does with `lanes` columns (or rows) at once."""
        f, program = self.f, self.program
        values = dict(self.values)
        if self.turn == self.heaviest and lanes > 1 and mask is None:
            self.prefetch(indices, lanes)
        for number in self.needed:
            if number in program.kept and program.ops[number].stage < self.turn:
                values[number] = self.read_kept(number, indices, lanes)
            else:
                values[number] = self._value(number, values, lanes, mask, indices)
                if number in program.kept:
                    self.keep(number, values[number], indices, lanes)
        for number, access in program.stores:
            op = program.ops[number]
            if op.by_column and op.stage == self.turn:
                self.store(values[number], access, indices, lanes, mask)
        if not program.split:
            for number, each in enumerate(program.sums):
                op = program.ops[each.value]
                if op.by_column and op.stage == self.turn:
                    at = self.linear(indices)
                    self._add(number, values[each.value], at, mask, lanes)
        after = []
        for (_, kind, dtype, source), total in zip(self.reductions, totals):
            value = values[source]
            if lanes > 1:
                value = f.broadcast(value, lanes) if value.type.lanes == 1 else value
            if mask is not None:
                value = f.select(mask, value, identity(kind, dtype))
            if lanes == 1 and total.type.lanes > 1:  # one column too many for a vector
                first = combine(f, kind, dtype, f.extract(total, 0), value)
                after.append(f.insert(total, first, 0))
            else:
                after.append(combine(f, kind, dtype, total, value))
        return after

    def _value(self, number, values, lanes, mask, indices) -> Value:
        f, op = self.f, self.program.ops[number]
        if op.op == "load":
            return self.load(op.access, op.dtype, indices, lanes, mask)
        if op.op == "constant":
            return f.value(number_of(op), value_type(op.dtype))
        if op.op == "gather":
            return self.gather(op, values[op.args[0]], indices, lanes)
        if op.op == "random_words":
            key, offset = (values[arg] for arg in op.args)
            return self.random_words(op, key, offset, indices, lanes)
        operands = [values[arg] for arg in op.args]
        if any(each.type.lanes > 1 for each in operands):
            operands = [
                f.broadcast(each, lanes) if each.type.lanes == 1 else each for each in operands
            ]
        dtypes = tuple(self.program.ops[arg].dtype for arg in op.args)
        return write(f, self.target, op.op, op.dtype, dtypes, operands)

    def _add(self, number, value, at, mask, lanes=1):
        """Add to the sums of the task."""
        f, each = self.f, self.program.sums[number]
        pointer = self.sums[number]

        def combined(a, b):
            return combine(f, each.kind, each.dtype, a, b)

        if lanes > 1 and value.type.lanes == 1:
            value = f.broadcast(value, lanes)
        if self.program.wide_sums and lanes > 1:  # folding them here is half of a light loop
            pointer, at = self._wide_sum(number), at * ROW_BLOCK
        elif self.program.lane == "row":
            value = f.fold_lanes(value, combined)
        if mask is None:
            f.store(combined(f.load(pointer, value.type, at), value), pointer, at)
        else:
            before = f.masked_load(pointer, mask, value.type, 0, at)
            f.masked_store(combined(before, value), pointer, mask, at)
