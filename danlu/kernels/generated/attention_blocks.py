"""What the forward and the backward kernel of attention share: products of blocks in scratch
memory, and their sizes.

The products are a module of their own, loaded first and called by name: with them inside, the
backward kernel would take 0.14 s to compile."""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I1, I64, PTR, VOID, Type
from danlu.kernels.generated.matmul import call_panel, product_functions
from danlu.kernels.runtime import machine

__all__ = [
    "KEYS", "block_rows", "load", "multiply", "pack_panels", "panel_width", "round_up", "task", "unit",
    "write",
]  # fmt: skip

KEYS = 128  # source positions of a block
_TILES = 4  # register tiles in the rows of a block, whose scores then stay in the L1 cache


def block_rows(target: targets.Target) -> int:
    """Target positions of a block."""
    return _TILES * target.block[0]


def panel_width(type: Type, target: targets.Target) -> int:
    """Columns of a packed panel."""
    return target.block[1] * target.lanes(type)


def round_up(number, unit: int):
    """The next multiple of `unit`, of an int or of a Value."""
    return (number + (unit - 1)) / unit * unit if isinstance(number, Value) else (
        -(-number // unit) * unit
    )  # fmt: skip


def task(addresses, integers) -> Function:
    """The task that calls `unit` for `together` of the `units` of work."""
    f = Function("task", [("arguments", PTR), ("index", I64), ("thread", I64)])
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


def unit() -> Function:
    """The beginning of what `task` calls."""
    parameters = [("arguments", PTR), ("index", I64), ("thread", I64)]
    return Function("unit", parameters, internal=True, noinline=True)


def _names(type: Type) -> tuple[str, str]:
    return f"danlu_multiply_{type.scalar}", f"danlu_pack_panels_{type.scalar}"


def multiply(f: Function, type: Type, *operands: Value) -> None:
    """C = A B, or C += A B, as `_multiply` says."""
    f.call(_names(type)[0], VOID, *operands)


def pack_panels(f: Function, type: Type, *operands: Value) -> None:
    """A block of B in panels, as `matmul_packing` says."""
    f.call(_names(type)[1], VOID, *operands)


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR of the products."""
    target = target or targets.host()
    module = Module(*product_functions(type, target))
    module.table("zeros", [0.0] * panel_width(type, target), type)
    module.add(_multiply(type, panel_width(type, target), target.lanes(type), target.block[0]))
    parameters = [("b", PTR), ("b_depth", I64), ("b_column", I64), ("columns", I64), ("depth", I64),
                  ("out", PTR)]  # fmt: skip
    pack = module.add(Function(_names(type)[1], parameters))
    pack.call("pack_panels", VOID, *pack.parameters)
    pack.ret()
    return module.text()


_loaded: dict[Type, machine.Code] = {}


def load(type: Type) -> None:
    """Let kernels that are loaded from now on call the products of this type."""
    if type not in _loaded:
        code = machine.load(("attention products", type.scalar), lambda: write(type), _names(type))
        for name, address in code.addresses.items():
            machine.provide(name, address)
        _loaded[type] = code


def _multiply(type: Type, width: int, lanes: int, tile_rows: int) -> Function:
    """C = A B, or C += A B unless `is_first`, for a packed B whose panels are `b_depth` rows
    deep, of which the first `depth` count."""
    f = Function(
        _names(type)[0],
        [("rows", I64), ("columns", I64), ("depth", I64), ("a", PTR), ("a_row", I64),
         ("a_depth", I64), ("b", PTR), ("b_depth", I64), ("c", PTR), ("c_row", I64),
         ("is_first", I1)],
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
        call_panel(f, lanes, count, shared)
    f.ret()
    return f
