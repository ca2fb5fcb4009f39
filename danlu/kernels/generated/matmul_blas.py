"""Matrix products C = A B by BLAS, block by block: a task computes its blocks of C with one call of
`gemm` each, on one thread.

A and B lie row by row or column by column, C row by row. A bias is what C holds before BLAS adds to
it, which costs nothing: BLAS would write zeros there. ReLU goes over the block afterwards.
"""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I32, I64, PTR, VOID, Type
from danlu.kernels.generated import matmul_blocks as blocks
from danlu.kernels.runtime import blas

__all__ = ["write"]

# CBLAS_ORDER and CBLAS_TRANSPOSE: a matrix in columns is the transpose of one in rows
_C_ORDER, _IN_ROWS, _IN_COLUMNS = 101, 111, 112


def write(type: Type, integer: Type, target: targets.Target | None = None) -> str:
    """The IR for matrices of this type, and a library that takes such integers."""
    lanes = (target or targets.host()).lanes(type)
    rows = [_begin_with_bias(type, lanes), _rectify(type, lanes)]
    return Module(*rows, _block(type, integer), blocks.task()).text()


def _block(type: Type, integer: Type) -> Function:
    f, given, number, _ = blocks.block_function(blocks.ARGUMENTS)
    block = blocks.block_of(f, given, number, type)
    has_bias = f.compare("ne", given["bias"], f.value(0, PTR))
    with f.when(has_bias):
        f.call("begin_with_bias", VOID, block.c, given["columns"], block.rows, block.columns,
               block.bias)  # fmt: skip

    def order_and_step(along: Value, across: Value) -> tuple[Value, Value]:
        in_rows = f.compare("eq", along, 1)
        order = f.select(in_rows, f.value(_IN_ROWS, I32), f.value(_IN_COLUMNS, I32))
        return order, f.convert(f.select(in_rows, across, along), integer)

    a_order, a_step = order_and_step(given["a_depth"], given["a_row"])
    b_order, b_step = order_and_step(given["b_column"], given["b_depth"])
    sizes = (f.convert(size, integer) for size in (block.rows, block.columns, block.depth))
    one, zero = f.value(1.0, type), f.value(0.0, type)
    f.call(
        blas.symbol(type), VOID, f.value(_C_ORDER, I32), a_order, b_order, *sizes,
        one, block.a, a_step, block.b, b_step,
        f.select(has_bias, one, zero), block.c, f.convert(given["columns"], integer),
    )  # fmt: skip
    with f.when(f.compare("ne", given["relu"], 0)):
        f.call("rectify", VOID, block.c, given["columns"], block.rows, block.columns)
    f.ret()
    return f


_ROWS = [("c", PTR), ("c_row", I64), ("rows", I64), ("columns", I64)]


def _begin_with_bias(type: Type, lanes: int) -> Function:
    """Every row of C = bias."""
    f = Function("begin_with_bias", [*_ROWS, ("bias", PTR)], internal=True, noinline=True)
    bias = f.parameters[-1]
    _for_all(f, type, lanes, lambda load, c, column: load(bias, column))
    return f


def _rectify(type: Type, lanes: int) -> Function:
    """C = max(C, 0)."""
    f = Function("rectify", _ROWS, internal=True, noinline=True)
    zeros = f.broadcast(0.0, lanes, type)
    _for_all(f, type, lanes, lambda load, c, column: blocks.at_least(f, zeros, load(c, column)))
    return f


def _for_all(f: Function, type: Type, lanes: int, value_of) -> None:
    """Write `value_of(load, row, column)` into a matrix, vector by vector."""
    c, c_row, rows, columns = f.parameters[:4]
    vector = type.vector(lanes)
    whole = columns - columns % lanes
    mask = f.mask_below(columns - whole, lanes)

    def load(place, column):
        return f.load(place, vector, column)

    def masked_load(place, column):
        return f.masked_load(place, mask, vector, 0, column)

    with f.loop(0, rows) as by_row:
        row = f.at(c, by_row.index * c_row, type)
        with f.loop(0, whole, lanes) as by_column:
            f.store(value_of(load, row, by_column.index), row, by_column.index)
        with f.when(f.compare("slt", whole, columns)):
            f.masked_store(value_of(masked_load, row, whole), row, mask, whole)
    f.ret()
