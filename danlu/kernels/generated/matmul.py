"""Matrix products C = A B of any strides and run-time sizes, in the form of Goto and van de Geijn
(2008).

A task computes one block of C. It walks over slices of the depth that keep a panel of B in the L1
cache, packs some panels of B at a time (as many columns as the register tile is wide, rows one
behind the other) and lets register tiles run down the rows of A. A is read in place or packed once
for every slice of the depth. What is cut into tasks, and how
long the slices are, is decided by the caller from the shapes alone.
"""

from __future__ import annotations

import math

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I1, I64, PTR, VOID, Type
from danlu.kernels.generated.matmul_packing import pack_columns, pack_panels, pack_rows

__all__ = ["GROUP", "call_panel", "product_functions", "scratch_of", "write"]

# The arguments of the task, in the order of the call. Strides count elements.
ARGUMENTS = (
    "a", "b", "c", "bias", "scratch",  # addresses; bias of `columns` elements or null
    "rows", "columns", "depth",
    "a_row", "a_depth", "b_depth", "b_column", "c_row",
    "inner", "a_outer", "a_inner", "b_outer", "b_inner", "c_batch",  # batch = outer * inner + ...
    "block_rows", "block_columns",  # of C in one block: multiples of the tile's
    "slice", "part", "c_part",  # depth packed at a time; depth of one task, and its own C
    "blocks", "together",  # how many blocks there are, and how many a task computes
    "packs_a",  # whether A is packed or read in place
    "relu",
    "scratch_size",  # bytes of scratch for one thread
)  # fmt: skip
_ADDRESSES = 5

GROUP = 8  # panels of B that are packed at a time


def _heights(tile_rows: int, vectors: int) -> list[int]:
    """Rows of the tiles: the full number, and powers of two for what remains. Of the narrow tiles,
    which are rare, there are two: each takes 5 ms to compile."""
    rest = (8, 4, 2, 1) if vectors > 1 else (1,)
    return [tile_rows, *(height for height in rest if height < tile_rows)]


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR of a product of matrices of this type."""
    target = target or targets.host()
    rows, vectors = target.block
    lanes = target.lanes(type)
    module = Module(*product_functions(type, target))
    module.add(pack_rows(type, rows, lanes))
    module.add(_block(type, rows, vectors * lanes, lanes))
    module.add(_task())
    return module.text()


def product_functions(type: Type, target: targets.Target) -> list[Function]:
    """What multiplies blocks in the caches, for kernels with matrix products inside: the register
    tiles, `panel_1` and `panel_2` over them, `pack_columns` and `pack_panels`."""
    rows, vectors = target.block
    lanes = target.lanes(type)
    tiles = [
        _tile(type, lanes, height, count)
        for count in range(1, vectors + 1)
        for height in _heights(rows, count)
    ]
    panels = [_panel(type, target, count) for count in range(1, vectors + 1)]
    packs = [pack(type, vectors * lanes, lanes) for pack in (pack_columns, pack_panels)]
    return [*tiles, *panels, _narrow(type, lanes), *packs]


def scratch_of(f: Function, memory: Value, offset: Value) -> Value:
    """A thread's part of the scratch memory, `offset` bytes from the first multiple of 64 (there
    must be 64 bytes more than are used): vectors then do not cross cache lines."""
    start = f.emit(f"ptrtoint {memory.typed} to i64", I64)
    return f.emit(f"inttoptr {((start + 63 & -64) + offset).typed} to ptr", PTR)


def call_panel(f: Function, lanes: int, count: Value, shared: tuple) -> None:
    """Call the panel function for `count` columns."""
    f.either(
        f.compare("sle", count, lanes),
        lambda: f.call("panel_1", VOID, *shared),
        lambda: f.call("panel_2", VOID, *shared),
    )


def _tile(type: Type, lanes: int, rows: int, vectors: int) -> Function:
    """`rows` x `vectors` accumulators over the depth: one broadcast element of A against the
    vectors of a row of B. They begin as what `start` holds and end as at least `floor`."""
    f = Function(
        f"tile_{rows}x{vectors}",
        [("depth", I64), ("a", PTR), ("a_row", I64), ("a_depth", I64), ("b", PTR),
         ("b_depth", I64), ("c", PTR), ("c_row", I64), ("start", PTR), ("start_row", I64),
         ("floor", type)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    depth, a, a_row, a_depth, b, b_depth, c, c_row, start, start_row, floor = f.parameters
    vector = type.vector(lanes)
    a_rows = [f.at(a, a_row * row, type) for row in range(rows)]
    starts = [f.at(start, start_row * row, type) for row in range(rows)]
    sums = [f.load(place, vector, lanes * n) for place in starts for n in range(vectors)]
    with f.loop(0, depth, carried=sums) as loop:
        b_row = f.at(b, loop.index * b_depth, type)
        b_vectors = [f.load(b_row, vector, lanes * n) for n in range(vectors)]
        position = loop.index * a_depth
        sums = []
        for row in range(rows):
            element = f.broadcast(f.load(a_rows[row], type, position), lanes)
            for n in range(vectors):
                sums.append(f.fma(element, b_vectors[n], loop.values[row * vectors + n]))
        loop.carry(*sums)
    floors = f.broadcast(floor, lanes)
    for row in range(rows):
        c_place = f.at(c, c_row * row, type)
        for n in range(vectors):
            f.store(_at_least(f, floors, loop.results[row * vectors + n]), c_place, lanes * n)
    f.ret()
    return f


def _at_least(f: Function, floor: Value, value: Value) -> Value:
    """The larger of both; NaN stays."""
    return f.select(f.compare("ogt", floor, value), floor, value)


def _panel(type: Type, target: targets.Target, vectors: int) -> Function:
    """A panel of B, at most `vectors` wide, against `rows` rows of A.

    `first` holds what the sums of a row begin with, `is_first` says that C holds no partial sums
    yet. A panel that is narrower than its vectors goes through a buffer on the stack, so that tiles
    store whole vectors.
    """
    tile_rows, widest = target.block
    lanes = target.lanes(type)
    width = vectors * lanes
    f = Function(
        f"panel_{vectors}",
        [("rows", I64), ("columns", I64), ("depth", I64), ("a", PTR), ("a_row", I64),
         ("a_tile", I64), ("a_depth", I64), ("b", PTR), ("b_depth", I64), ("c", PTR),
         ("c_row", I64), ("first", PTR), ("is_first", I1), ("floor", type)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    (rows, columns, depth, a, a_row, a_tile, a_depth, b, b_depth, c, c_row, first, is_first,
     floor) = f.parameters  # fmt: skip
    buffer = f.stack(type, tile_rows * widest * lanes)
    whole = f.compare("eq", columns, width)
    continues = f.select(is_first, f.value(0, I1), whole)
    start_row = f.select(continues, c_row, 0)
    tile_c_row = f.select(whole, c_row, width)
    tile_floor = f.select(whole, floor, f.value(-math.inf, type))

    def multiply(height, row, tile_a):
        """One tile whose rows begin at `row`."""
        place = f.at(c, row * c_row, type)
        f.call(
            f"tile_{height}x{vectors}", VOID, depth, tile_a, a_row, a_depth, b, b_depth,
            f.select(whole, place, buffer), tile_c_row, f.select(continues, place, first),
            start_row, tile_floor,
        )  # fmt: skip
        with f.when(f.compare("ne", columns, width)):
            f.call(
                "narrow", VOID, buffer, f.value(width, I64), f.value(height, I64), columns,
                place, c_row, is_first, floor,
            )  # fmt: skip

    full = rows - rows % tile_rows
    with f.loop(0, full, tile_rows) as loop:
        multiply(tile_rows, loop.index, f.at(a, loop.index / tile_rows * a_tile, type))
    done, tail_a = full, f.at(a, full / tile_rows * a_tile, type)
    for height in _heights(tile_rows, vectors)[1:]:
        turns = (rows - done) / height
        with f.loop(0, turns) as loop:
            row = loop.index * height
            multiply(height, done + row, f.at(tail_a, (done - full + row) * a_row, type))
        done = done + turns * height
    f.ret()
    return f


def _narrow(type: Type, lanes: int) -> Function:
    """The end of a tile that was computed into a buffer: its first columns, added to C unless they
    are the first, and brought to at least `floor`."""
    vector = type.vector(lanes)
    f = Function(
        "narrow",
        [("buffer", PTR), ("width", I64), ("rows", I64), ("columns", I64), ("c", PTR),
         ("c_row", I64), ("is_first", I1), ("floor", type)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    buffer, width, rows, columns, c, c_row, is_first, floor = f.parameters
    floors = f.broadcast(floor, lanes)
    with f.loop(0, rows) as by_row, f.loop(0, columns, lanes) as by_column:
        column = by_column.index
        mask = f.mask_below(columns - column, lanes)
        place = f.at(c, by_row.index * c_row + column, type)
        value = f.load(buffer, vector, by_row.index * width + column)
        [value] = f.either(
            is_first, lambda: [value], lambda: [value + f.masked_load(place, mask, vector)]
        )
        f.masked_store(_at_least(f, floors, value), place, mask)
    f.ret()
    return f


def _arguments(f: Function, arguments: Value) -> dict[str, Value]:
    return {
        name: f.slot(arguments, number, PTR if number < _ADDRESSES else I64)
        for number, name in enumerate(ARGUMENTS)
    }


def _task() -> Function:
    """The blocks of one task, one after the other."""
    f = Function("task", [("arguments", PTR), ("index", I64), ("thread", I64)])
    arguments, index, thread = f.parameters
    blocks = f.slot(arguments, ARGUMENTS.index("blocks"), I64)
    together = f.slot(arguments, ARGUMENTS.index("together"), I64)
    first = index * together
    with f.loop(first, f.minimum(first + together, blocks)) as loop:
        f.call("block", VOID, arguments, loop.index, thread)
    f.ret()
    return f


def _block(type: Type, tile_rows: int, width: int, lanes: int) -> Function:
    """One block of C: its number counts columns fastest, then rows, parts of the depth, batches."""
    f = Function(
        "block", [("arguments", PTR), ("number", I64), ("thread", I64)], internal=True, noinline=True
    )  # fmt: skip
    arguments, number, thread = f.parameters
    given = _arguments(f, arguments)
    rows, columns, depth = given["rows"], given["columns"], given["depth"]

    def digit(number, size, block):
        count = (size + block - 1) / block
        return number % count, number / count

    column_block, rest = digit(number, columns, given["block_columns"])
    row_block, rest = digit(rest, rows, given["block_rows"])
    part, batch = digit(rest, depth, given["part"])
    outer, inner = batch / given["inner"], batch % given["inner"]
    first_row, first_column = row_block * given["block_rows"], column_block * given["block_columns"]
    first_depth = part * given["part"]
    rows = f.minimum(rows - first_row, given["block_rows"])
    columns = f.minimum(columns - first_column, given["block_columns"])
    depth = f.minimum(depth - first_depth, given["part"])

    a_row, a_depth, b_depth, b_column = (
        given[name] for name in ("a_row", "a_depth", "b_depth", "b_column")
    )
    a = f.at(given["a"], outer * given["a_outer"] + inner * given["a_inner"], type)
    a = f.at(a, first_row * a_row + first_depth * a_depth, type)
    b = f.at(given["b"], outer * given["b_outer"] + inner * given["b_inner"], type)
    b = f.at(b, first_depth * b_depth + first_column * b_column, type)
    c = f.at(given["c"], batch * given["c_batch"] + part * given["c_part"], type)
    c = f.at(c, first_row * given["c_row"] + first_column, type)
    scratch = scratch_of(f, given["scratch"], thread * given["scratch_size"])
    # in scratch: what sums begin with, the packed block of A, a group of panels of B
    in_place = f.compare("eq", given["packs_a"], 0)
    first = scratch
    a_packed = f.at(first, width, type)
    a_size = given["slice"] * given["block_rows"] + width
    b_packed = f.at(a_packed, f.select(in_place, 0, a_size), type)
    # few rows do not pay for copying B where its rows can be read as they are
    b_in_place = f.compare("sle", rows, tile_rows) & f.compare("eq", b_column, 1)
    zero = f.value(0.0, type)
    lowest = f.value(-math.inf, type)

    with f.loop(0, depth, given["slice"]) as by_depth:
        start = by_depth.index
        length = f.minimum(depth - start, given["slice"])
        is_first = f.compare("eq", start, 0)
        is_relu = f.compare("sge", start + length, depth) & f.compare("ne", given["relu"], 0)
        floor = f.select(is_relu, zero, lowest)
        has_bias = is_first & f.compare("ne", given["bias"], f.value(0, PTR))
        a_slice = f.at(a, start * a_depth, type)
        with f.when(f.compare("ne", given["packs_a"], 0)):
            f.call("pack_rows", VOID, a_slice, a_row, a_depth, rows, length, a_packed)
        tile_a = f.select(in_place, a_slice, a_packed)
        tile_row = f.select(in_place, a_row, 1)
        tile_depth = f.select(in_place, a_depth, tile_rows)
        tile_step = f.select(in_place, a_row * tile_rows, length * tile_rows)
        with (
            f.loop(0, columns, GROUP * width) as by_group,
            f.loop(0, f.minimum(columns - by_group.index, GROUP * width), width) as by_panel,
        ):
            column = by_group.index + by_panel.index
            count = f.minimum(columns - column, width)
            b_slice = f.at(b, start * b_depth + column * b_column, type)
            as_is = b_in_place & f.compare("eq", count, width)
            panel = f.at(b_packed, by_panel.index * length, type)
            is_due = f.select(b_in_place, f.compare("slt", count, width),
                              f.compare("eq", by_panel.index, 0))  # fmt: skip
            with f.when(is_due):
                to_pack = f.minimum(columns - column, GROUP * width)
                f.call("pack_panels", VOID, b_slice, b_depth, b_column, to_pack, length, panel)
            for place in range(0, width, lanes):
                mask = f.mask_below(f.select(has_bias, count - place, 0), lanes)
                bias = f.masked_load(
                    given["bias"], mask, type.vector(lanes), 0, first_column + column + place
                )
                f.store(bias, first, place)
            shared = (
                rows, count, length, tile_a, tile_row, tile_step, tile_depth,
                f.select(as_is, b_slice, panel), f.select(as_is, b_depth, width),
                f.at(c, column, type), given["c_row"], first, is_first, floor,
            )  # fmt: skip
            call_panel(f, lanes, count, shared)
    f.ret()
    return f
