"""Copies of parts of matrices in the order in which a product's register tiles read them."""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import I64, PTR, VOID, Type

__all__ = ["pack_columns", "pack_panels", "pack_rows", "transposed"]


def transposed(f: Function, rows: list[Value]) -> list[Value]:
    """The columns of a square of vectors.

    Blocks across the 16-byte parts of a register change places first (Eklundh 1972), then pairs are
    interleaved within the parts: every step is one instruction of AVX2.
    """
    type, lanes = rows[0].type.element(), rows[0].type.lanes
    part = min(lanes, 16 // type.bytes)
    distance = lanes // 2
    while distance >= part:
        upper = [lane + (lanes - distance if lane & distance else 0) for lane in range(lanes)]
        lower = [lane + (lanes if lane & distance else distance) for lane in range(lanes)]
        moved = list(rows)
        for n in range(lanes):
            if not n & distance:
                moved[n] = f.shuffle(rows[n], rows[n + distance], upper)
                moved[n + distance] = f.shuffle(rows[n], rows[n + distance], lower)
        rows, distance = moved, distance // 2
    half = part // 2
    pairs = [(start + lane, lanes + start + lane) for start in range(0, lanes, part)
             for lane in range(part)]  # fmt: skip
    low = [lane for n, pair in enumerate(pairs) if n % part < half for lane in pair]
    high = [lane for n, pair in enumerate(pairs) if n % part >= half for lane in pair]
    for _ in range(part.bit_length() - 1):
        moved = []
        for start in range(0, lanes, part):
            for n in range(start, start + half):
                moved += [f.shuffle(rows[n], rows[n + half], order) for order in (low, high)]
        rows = moved
    return rows


def pack_columns(type: Type, width: int, lanes: int) -> Function:
    """One panel: `out[k, :width]` = the `columns` elements of row k of B, then zeros.

    Rows of B that are contiguous are copied, columns that are contiguous (a transposed matrix) are
    turned in squares of registers, other strides go element by element.
    """
    f = Function(
        "pack_columns",
        [("b", PTR), ("b_depth", I64), ("b_column", I64), ("columns", I64), ("depth", I64),
         ("out", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    b, b_depth, b_column, columns, depth, out = f.parameters
    vector = type.vector(lanes)

    def copied_by_rows():
        masks = {start: f.mask_below(columns - start, lanes) for start in range(0, width, lanes)}
        with f.loop(0, depth) as loop:
            source = f.at(b, loop.index * b_depth, type)
            place = f.at(out, loop.index * width, type)
            for start, mask in masks.items():
                f.store(f.masked_load(source, mask, vector, 0, start), place, start)

    def copied_by_columns():
        with f.when(f.compare("ne", columns, width)):
            zero = f.broadcast(0.0, lanes, type)
            with f.loop(0, depth * width, lanes) as loop:
                f.store(zero, out, loop.index)
        turned = f.compare("eq", b_depth, 1)
        square_columns = f.select(turned, columns - columns % lanes, 0)
        square_depth = f.select(turned, depth - depth % lanes, 0)
        with (
            f.loop(0, square_columns, lanes) as by_column,
            f.loop(0, square_depth, lanes) as by_depth,
        ):
            corner = f.at(b, by_column.index * b_column + by_depth.index, type)
            rows = [f.load(f.at(corner, b_column * n, type), vector) for n in range(lanes)]
            place = f.at(out, by_depth.index * width + by_column.index, type)
            for n, row in enumerate(transposed(f, rows)):
                f.store(row, place, n * width)
        with f.loop(0, columns) as by_column:
            column = by_column.index
            rest = f.select(f.compare("slt", column, square_columns), square_depth, 0)
            with f.loop(rest, depth) as by_depth:
                value = f.load(b, type, by_depth.index * b_depth + column * b_column)
                f.store(value, out, by_depth.index * width + column)

    f.either(f.compare("eq", b_column, 1), copied_by_rows, copied_by_columns)
    f.ret()
    return f


def pack_panels(type: Type, width: int, lanes: int) -> Function:
    """A matrix as panels of `width` columns, one behind the other, the last filled up with zeros.

    Whole panels of contiguous rows are copied row by row across the panels: one panel after the
    other would touch another memory page with every second row.
    """
    f = Function(
        "pack_panels",
        [("b", PTR), ("b_depth", I64), ("b_column", I64), ("columns", I64), ("depth", I64),
         ("out", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    b, b_depth, b_column, columns, depth, out = f.parameters
    vector = type.vector(lanes)
    copied = f.select(f.compare("eq", b_column, 1), columns - columns % width, 0)
    with f.when(f.compare("sgt", copied, 0)), f.loop(0, depth) as by_depth:
        source = f.at(b, by_depth.index * b_depth, type)
        place = f.at(out, by_depth.index * width, type)
        with f.loop(0, copied, width) as by_panel:
            part = f.at(source, by_panel.index, type)
            panel = f.at(place, by_panel.index * depth, type)
            for start in range(0, width, lanes):
                f.store(f.load(part, vector, start), panel, start)
    with f.loop(copied, columns, width) as by_panel:
        column = by_panel.index
        f.call(
            "pack_columns", VOID, f.at(b, column * b_column, type), b_depth, b_column,
            f.minimum(columns - column, width), depth, f.at(out, column * depth, type),
        )  # fmt: skip
    f.ret()
    return f


def pack_rows(type: Type, tile_rows: int, lanes: int) -> Function:
    """`out[i, k, :]` = column k of the i-th `tile_rows` rows of A, of which the last may be fewer.

    Up to a vector behind `out` is written as well.
    """
    f = Function(
        "pack_rows",
        [("a", PTR), ("a_row", I64), ("a_depth", I64), ("rows", I64), ("depth", I64),
         ("out", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    a, a_row, a_depth, rows, depth, out = f.parameters
    vector, column = type.vector(lanes), type.vector(tile_rows)
    whole = rows - rows % tile_rows
    # contiguous columns are copied column by column, so that memory is read in its order
    copied = f.select(f.compare("eq", a_row, 1), whole, 0)
    with f.loop(0, f.select(f.compare("eq", copied, 0), 0, depth)) as by_depth:
        source = f.at(a, by_depth.index * a_depth, type)
        place = f.at(out, by_depth.index * tile_rows, type)
        with f.loop(0, copied, tile_rows) as by_tile:
            tile = f.at(place, by_tile.index * depth, type)
            f.store(f.load(f.at(source, by_tile.index, type), column), tile)
    # contiguous rows are turned in squares of registers, whose last lanes may stand for no row:
    # what they leave behind is overwritten by the next column
    turned = f.select(f.compare("eq", a_depth, 1), depth - depth % lanes, 0)
    with f.loop(copied, whole, tile_rows) as by_tile:
        source, place = f.at(a, by_tile.index * a_row, type), f.at(out, by_tile.index * depth, type)
        with f.loop(0, turned, lanes) as by_depth:
            corner = f.at(source, by_depth.index, type)
            square = f.at(place, by_depth.index * tile_rows, type)
            rows_read = [f.load(f.at(corner, a_row * n, type), vector) for n in range(tile_rows)]
            columns = []
            for first in range(0, tile_rows, lanes):
                some = rows_read[first : first + lanes]
                columns.append(transposed(f, some + some[:1] * (lanes - len(some))))
            for k in range(lanes):
                for n, part in enumerate(columns):
                    f.store(part[k], square, k * tile_rows + n * lanes)
        _gather(f, type, source, a_row, a_depth, place, tile_rows, tile_rows, turned, depth)
    with f.when(f.compare("sgt", rows, whole)):
        source, place = f.at(a, whole * a_row, type), f.at(out, whole * depth, type)
        _gather(f, type, source, a_row, a_depth, place, tile_rows, rows - whole, 0, depth)
    f.ret()
    return f


def _gather(f, type, source, row, step, out, width, rows, start, stop):
    """Element by element `out[k, :rows]` = column k, for k in [start, stop)."""
    with f.loop(start, stop) as by_depth, f.loop(0, rows) as by_row:
        value = f.load(source, type, by_depth.index * step + by_row.index * row)
        f.store(value, out, by_depth.index * width + by_row.index)
