"""Matrix products C = A B of any strides and run-time sizes, in the form of Goto and van de Geijn
(2008).

A task computes blocks of C. It walks over slices of the depth that keep a panel of B in the L1
cache, packs some panels of B at a time (as many columns as the register tile is wide, rows one
behind the other) and lets register tiles run down the rows of A. A is read in place or packed once
for every slice of the depth. What is cut into blocks, and how long the slices are, is decided by
the caller from the shapes alone.
"""

from __future__ import annotations

import math

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I64, PTR, Type
from danlu.kernels.generated import matmul_blocks as blocks
from danlu.kernels.generated.matmul_packing import pack_panels, pack_rows
from danlu.kernels.generated.matmul_panels import multiply_panel

__all__ = ["GROUP", "scratch_of", "write"]

# The arguments of the task, in the order of the call.
ARGUMENTS = (
    *blocks.ARGUMENTS,
    "slice",  # depth for which B is packed at a time
    "packs_a",  # whether A is packed or read in place
    "scratch_size",  # bytes of scratch for one thread
    "scratch",
)

GROUP = 8  # panels of B that are packed at a time


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR of a product of matrices of this type; it calls what `products.load` loads."""
    target = target or targets.host()
    rows, vectors = target.block
    lanes = target.lanes(type)
    return Module(_block(type, rows, vectors * lanes, lanes), blocks.task()).text()


def scratch_of(f: Function, memory: Value, offset: Value) -> Value:
    """A thread's part of the scratch memory, `offset` bytes from the first multiple of 64 (there
    must be 64 bytes more than are used): vectors then do not cross cache lines."""
    start = f.emit(f"ptrtoint {memory.typed} to i64", I64)
    return f.emit(f"inttoptr {((start + 63 & -64) + offset).typed} to ptr", PTR)


def _block(type: Type, tile_rows: int, width: int, lanes: int) -> Function:
    f, given, number, thread = blocks.block_function(ARGUMENTS)
    a, b, c, bias, rows, columns, depth = blocks.block_of(f, given, number, type)
    a_row, a_depth, b_depth, b_column = (
        given[name] for name in ("a_row", "a_depth", "b_depth", "b_column")
    )
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
            pack_rows(f, type, a_slice, a_row, a_depth, rows, length, a_packed)
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
                pack_panels(f, type, b_slice, b_depth, b_column, to_pack, length, panel)
            for place in range(0, width, lanes):
                mask = f.mask_below(f.select(has_bias, count - place, 0), lanes)
                starts = f.masked_load(bias, mask, type.vector(lanes), 0, column + place)
                f.store(starts, first, place)
            shared = (
                rows, count, length, tile_a, tile_row, tile_step, tile_depth,
                f.select(as_is, b_slice, panel), f.select(as_is, b_depth, width),
                f.at(c, column, type), given["columns"], first, is_first, floor,
            )  # fmt: skip
            multiply_panel(f, type, lanes, count, shared)
    f.ret()
    return f
