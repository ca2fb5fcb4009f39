"""Register tiles, and the panels of a matrix product made of them: a module that all kernels with
products inside call."""

from __future__ import annotations

import math

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I1, I64, PTR, VOID, Type
from danlu.kernels.generated.matmul_blocks import at_least, symbol

__all__ = ["EXPORTS", "multiply_panel", "write"]

EXPORTS = ("panel",)


def _heights(tile_rows: int, vectors: int) -> list[int]:
    """Rows of the tiles: the full number, and powers of two for what remains. Of the narrow tiles,
    which are rare, there are two: each takes 5 ms to compile."""
    rest = (8, 4, 2, 1) if vectors > 1 else (1,)
    return [tile_rows, *(height for height in rest if height < tile_rows)]


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR for matrices of this type."""
    target = target or targets.host()
    rows, vectors = target.block
    lanes = target.lanes(type)
    tiles = [
        _tile(type, lanes, height, count)
        for count in range(1, vectors + 1)
        for height in _heights(rows, count)
    ]
    return Module(*tiles, _narrow(type, lanes), _panel(type, target)).text()


def multiply_panel(f: Function, type: Type, lanes: int, count: Value, shared: tuple) -> None:
    """Call the panel function for `count` columns, with tiles of one or of two vectors."""
    width = f.select(f.compare("sle", count, lanes), f.value(lanes, I64), 2 * lanes)
    f.call(symbol("panel", type), VOID, width, *shared)


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
            f.store(at_least(f, floors, loop.results[row * vectors + n]), c_place, lanes * n)
    f.ret()
    return f


def _panel(type: Type, target: targets.Target) -> Function:
    """A panel of B, at most `width` wide, against `rows` rows of A.

    `first` holds what the sums of a row begin with, `is_first` says that C holds no partial sums
    yet. A panel that is narrower than its vectors goes through a buffer on the stack, so that tiles
    store whole vectors.
    """
    tile_rows, vectors = target.block
    lanes = target.lanes(type)
    f = Function(
        symbol("panel", type),
        [("width", I64), ("rows", I64), ("columns", I64), ("depth", I64), ("a", PTR),
         ("a_row", I64), ("a_tile", I64), ("a_depth", I64), ("b", PTR), ("b_depth", I64),
         ("c", PTR), ("c_row", I64), ("first", PTR), ("is_first", I1), ("floor", type)],
    )  # fmt: skip
    (width, rows, columns, depth, a, a_row, a_tile, a_depth, b, b_depth, c, c_row, first, is_first,
     floor) = f.parameters  # fmt: skip
    buffer = f.stack(type, tile_rows * vectors * lanes)
    whole = f.compare("eq", columns, width)
    continues = f.select(is_first, f.value(0, I1), whole)
    start_row = f.select(continues, c_row, 0)
    tile_c_row = f.select(whole, c_row, width)
    tile_floor = f.select(whole, floor, f.value(-math.inf, type))
    # rows that do not fill a tile go by powers of two, or one by one in a narrow panel
    is_wide = f.compare("sgt", width, lanes)
    rest = rows % tile_rows
    turns = rows / tile_rows + f.select(is_wide, f.intrinsic("ctpop", rest), rest)
    with f.loop(0, turns, carried=[f.value(0, I64)]) as loop:
        [row] = loop.values
        left = rows - row
        height = f.select(is_wide, _highest_bit(f, left), 1)
        height = f.select(f.compare("sge", left, tile_rows), f.value(tile_rows, I64), height)
        place = f.at(c, row * c_row, type)
        arguments = (
            depth, f.at(a, row / tile_rows * a_tile + row % tile_rows * a_row, type), a_row,
            a_depth, b, b_depth, f.select(whole, place, buffer), tile_c_row,
            f.select(continues, place, first), start_row, tile_floor,
        )  # fmt: skip
        tile = f.select(is_wide, *(_tile_of(f, tile_rows, n, height) for n in (vectors, 1)))
        f.write(f"call void {tile}({', '.join(argument.typed for argument in arguments)})")
        with f.when(f.compare("ne", columns, width)):
            f.call("narrow", VOID, buffer, width, height, columns, place, c_row, is_first, floor)
        loop.carry(row + height)
    f.ret()
    return f


def _highest_bit(f: Function, number: Value) -> Value:
    """The largest power of two that is at most `number`."""
    zeros = f.emit(f"call i64 @llvm.ctlz.i64({number.typed}, i1 false)", I64)
    f.declarations.add("declare i64 @llvm.ctlz.i64(i64, i1)")
    return f.op("lshr", f.value(-1 << 63, I64), zeros)


def _tile_of(f: Function, tile_rows: int, vectors: int, height: Value) -> Value:
    """The address of the tile of so many vectors and of this height."""
    *smaller, lowest = _heights(tile_rows, vectors)
    found = f.named(f"@tile_{lowest}x{vectors}", PTR)
    for rows in smaller:
        of_rows = f.named(f"@tile_{rows}x{vectors}", PTR)
        found = f.select(f.compare("eq", height, rows), of_rows, found)
    return found


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
        f.masked_store(at_least(f, floors, value), place, mask)
    f.ret()
    return f
