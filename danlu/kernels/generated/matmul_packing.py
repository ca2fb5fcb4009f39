"""Copies of parts of matrices in the order in which a product's register tiles read them: a module
that all kernels with products inside call."""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I64, PTR, VOID, Type
from danlu.kernels.generated.matmul_blocks import symbol

__all__ = ["EXPORTS", "pack_panels", "pack_rows", "transposed", "write"]

EXPORTS = ("pack_panels", "pack_rows")


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


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR of the copies for matrices of this type."""
    target = target or targets.host()
    rows, vectors = target.block
    lanes = target.lanes(type)
    width = vectors * lanes
    return Module(
        _turn(type, lanes), _gather(type), _pack_columns(type, width, lanes),
        _pack_panels(type, width, lanes), _pack_rows(type, rows, lanes),
    ).text()  # fmt: skip


def pack_panels(f: Function, type: Type, *operands: Value) -> None:
    """Call what `_pack_panels` writes."""
    f.call(symbol("pack_panels", type), VOID, *operands)


def pack_rows(f: Function, type: Type, *operands: Value) -> None:
    """Call what `_pack_rows` writes."""
    f.call(symbol("pack_rows", type), VOID, *operands)


def _turn(type: Type, lanes: int) -> Function:
    """`out[k, n]` = element k of line n, for one vector of lines and k below `length`, a multiple
    of the lanes. The first line stands for those from `count` on."""
    f = Function(
        "turn",
        [("source", PTR), ("step", I64), ("count", I64), ("length", I64), ("out", PTR),
         ("out_step", I64)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    source, step, count, length, out, out_step = f.parameters
    lines = []
    for n in range(lanes):
        line = f.select(f.compare("slt", f.value(n, I64), count), f.value(n, I64), 0)
        lines.append(f.at(source, line * step, type))
    with f.loop(0, length, lanes) as loop:
        rows = [f.load(line, type.vector(lanes), loop.index) for line in lines]
        place = f.at(out, loop.index * out_step, type)
        for n, row in enumerate(transposed(f, rows)):
            f.store(row, place, out_step * n)
    f.ret()
    return f


def _gather(type: Type) -> Function:
    """Element by element `out[k, n]` = element k of line n, for n below `count` and k from `start`
    on."""
    f = Function(
        "gather",
        [("source", PTR), ("step", I64), ("element_step", I64), ("count", I64), ("start", I64),
         ("stop", I64), ("out", PTR), ("out_step", I64)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    source, step, element_step, count, start, stop, out, out_step = f.parameters
    with f.loop(start, stop) as by_element:
        element = f.at(source, by_element.index * element_step, type)
        place = f.at(out, by_element.index * out_step, type)
        with f.loop(0, count) as by_line:
            f.store(f.load(element, type, by_line.index * step), place, by_line.index)
    f.ret()
    return f


def _pack_columns(type: Type, width: int, lanes: int) -> Function:
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
    step, zero = f.value(width, I64), f.value(0, I64)

    def copied_by_rows():
        masks = {start: f.mask_below(columns - start, lanes) for start in range(0, width, lanes)}
        with f.loop(0, depth) as loop:
            source = f.at(b, loop.index * b_depth, type)
            place = f.at(out, loop.index * width, type)
            for start, mask in masks.items():
                f.store(f.masked_load(source, mask, vector, 0, start), place, start)

    def copied_by_columns():
        with f.when(f.compare("ne", columns, width)):
            zeros = f.broadcast(0.0, lanes, type)
            with f.loop(0, depth * width, lanes) as loop:
                f.store(zeros, out, loop.index)
        turned = f.compare("eq", b_depth, 1)
        turned_columns = f.select(turned, columns - columns % lanes, 0)
        turned_depth = f.select(turned, depth - depth % lanes, 0)
        with f.loop(0, turned_columns, lanes) as loop:
            column = f.at(b, loop.index * b_column, type)
            f.call("turn", VOID, column, b_column, f.value(lanes, I64), turned_depth,
                   f.at(out, loop.index, type), step)  # fmt: skip
        f.call("gather", VOID, b, b_column, b_depth, turned_columns, turned_depth, depth, out, step)
        f.call("gather", VOID, f.at(b, turned_columns * b_column, type), b_column, b_depth,
               columns - turned_columns, zero, depth, f.at(out, turned_columns, type),
               step)  # fmt: skip

    f.either(f.compare("eq", b_column, 1), copied_by_rows, copied_by_columns)
    f.ret()
    return f


def _pack_panels(type: Type, width: int, lanes: int) -> Function:
    """A matrix as panels of `width` columns, one behind the other, the last filled up with zeros.

    Whole panels of contiguous rows are copied row by row across the panels: one panel after the
    other would touch another memory page with every second row.
    """
    f = Function(
        symbol("pack_panels", type),
        [("b", PTR), ("b_depth", I64), ("b_column", I64), ("columns", I64), ("depth", I64),
         ("out", PTR)],
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


def _pack_rows(type: Type, tile_rows: int, lanes: int) -> Function:
    """`out[i, k, :]` = column k of the i-th `tile_rows` rows of A, of which the last may be fewer.

    Up to a vector behind `out` is written as well.
    """
    f = Function(
        symbol("pack_rows", type),
        [("a", PTR), ("a_row", I64), ("a_depth", I64), ("rows", I64), ("depth", I64),
         ("out", PTR)],
    )  # fmt: skip
    a, a_row, a_depth, rows, depth, out = f.parameters
    column = type.vector(tile_rows)
    whole = rows - rows % tile_rows
    # contiguous columns are copied column by column, so that memory is read in its order
    copied = f.select(f.compare("eq", a_row, 1), whole, 0)
    with f.loop(0, f.select(f.compare("eq", copied, 0), 0, depth)) as by_depth:
        source = f.at(a, by_depth.index * a_depth, type)
        place = f.at(out, by_depth.index * tile_rows, type)
        with f.loop(0, copied, tile_rows) as by_tile:
            tile = f.at(place, by_tile.index * depth, type)
            f.store(f.load(f.at(source, by_tile.index, type), column), tile)
    # contiguous rows are turned; the last vector of rows goes first, since those of its lanes that
    # stand for no row are written over the beginning of the next column
    turned = f.select(f.compare("eq", a_depth, 1), depth - depth % lanes, 0)
    step, zero = f.value(tile_rows, I64), f.value(0, I64)
    with f.loop(copied, whole, tile_rows) as by_tile:
        source, place = f.at(a, by_tile.index * a_row, type), f.at(out, by_tile.index * depth, type)
        for first in reversed(range(0, tile_rows, lanes)):
            f.call("turn", VOID, f.at(source, a_row * first, type), a_row,
                   f.value(min(tile_rows - first, lanes), I64), turned, f.at(place, first, type),
                   step)  # fmt: skip
        f.call("gather", VOID, source, a_row, a_depth, step, turned, depth, place, step)
    with f.when(f.compare("sgt", rows, whole)):
        source, place = f.at(a, whole * a_row, type), f.at(out, whole * depth, type)
        f.call("gather", VOID, source, a_row, a_depth, rows - whole, zero, depth, place, step)
    f.ret()
    return f
