"""What the forward and the backward kernel of attention share: products of blocks in scratch
memory, and their sizes."""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I1, I64, PTR, VOID, Type
from danlu.kernels.generated.matmul_panels import multiply_panel

__all__ = [
    "KEYS", "block_rows", "module", "panel_width", "task",
]  # fmt: skip

KEYS = 128  # source positions of a block
_TILES = 4  # register tiles in the rows of a block, whose scores then stay in the L1 cache


def block_rows(target: targets.Target) -> int:
    """Target positions of a block."""
    return _TILES * target.block[0]


def panel_width(type: Type, target: targets.Target) -> int:
    """Columns of a packed panel."""
    return target.block[1] * target.lanes(type)


def task(addresses, integers) -> Function:
    """The task that calls `unit` for `together` of the `units` of work."""
    f = Function.task()
    arguments, index, thread = f.parameters
    units, together = (
        f.slot(arguments, len(addresses) + integers.index(name), I64)
        for name in ("units", "together")
    )
    first = index * together
    with f.loop(first, f.minimum(first + together, units)) as loop:
        f.call("unit", VOID, arguments, loop.index, thread)
    f.ret()
    return f


def module(type: Type, target: targets.Target) -> Module:
    """A module with `multiply` in it; it calls what `products.load` loads."""
    width = panel_width(type, target)
    made = Module(_multiply(type, width, target.lanes(type), target.block[0]))
    made.table("zeros", [0.0] * width, type)
    return made


def _multiply(type: Type, width: int, lanes: int, tile_rows: int) -> Function:
    """C = A B, or C += A B unless `is_first`, for a packed B whose panels are `b_depth` rows
    deep, of which the first `depth` count."""
    f = Function(
        "multiply",
        [("rows", I64), ("columns", I64), ("depth", I64), ("a", PTR), ("a_row", I64),
         ("a_depth", I64), ("b", PTR), ("b_depth", I64), ("c", PTR), ("c_row", I64),
         ("is_first", I1)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    rows, columns, depth, a, a_row, a_depth, b, b_depth, c, c_row, is_first = f.parameters
    lowest = f.value(float("-inf"), type)
    with f.loop(0, columns, width) as loop:
        column = loop.index
        count = f.minimum(columns - column, width)
        shared = (
            rows, count, depth, a, a_row, a_row * tile_rows, a_depth,
            f.at(b, column * b_depth, type), f.value(width, I64), f.at(c, column, type), c_row,
            Value(f, "@zeros", PTR), is_first, lowest,
        )  # fmt: skip
        multiply_panel(f, type, lanes, count, shared)
    f.ret()
    return f
