"""Turning matrices: what lies row by row is written column by column."""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT, I32, I64, PTR
from danlu.kernels.generated.matmul_packing import transposed

__all__ = ["transposition"]


def transposition(target, name: str = "transpose", by_table: bool = False) -> Function:
    """A function of float32 that turns `rows` x `columns` numbers of any two row steps.

    ``out[place(c) + r] = source[r * source_step + c]`` with ``place(c) = c * out_step``, or
    ``table[c] * out_step`` if `by_table`. Squares of one register a side are turned in registers,
    what is left over goes number by number: masked stores take longer on many processors.
    """
    parameters = [("source", PTR), ("source_step", I64), ("out", PTR), ("out_step", I64),
                  ("rows", I64), ("columns", I64)]  # fmt: skip
    if by_table:
        parameters.append(("table", PTR))
    f = Function(name, parameters, internal=True, noinline=True)
    source, source_step, out, out_step, rows, columns, *table = f.parameters
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)

    def place(row: Value, column) -> Value:
        if table:
            column = f.convert(f.load(table[0], I32, column), I64)
        return f.at(out, column * out_step + row, FLOAT)

    def square(row: Value, column: Value) -> None:
        corner = f.at(source, row * source_step + column, FLOAT)
        values = [f.load(corner, vector, source_step * n) for n in range(lanes)]
        for n, value in enumerate(transposed(f, values)):
            f.store(value, place(row, column + n))

    def one_by_one(first_row: Value, last_row: Value, first_column: Value) -> None:
        with f.loop(first_column, columns) as by_column:
            target_column = place(f.value(0, I64), by_column.index)
            with f.loop(first_row, last_row) as by_row:
                value = f.load(source, FLOAT, by_row.index * source_step + by_column.index)
                f.store(value, target_column, by_row.index)

    whole_rows, whole_columns = rows - rows % lanes, columns - columns % lanes
    with f.loop(0, whole_rows, lanes) as by_row, f.loop(0, whole_columns, lanes) as by_column:
        square(by_row.index, by_column.index)
    zero = f.value(0, I64)
    one_by_one(zero, whole_rows, whole_columns)
    one_by_one(whole_rows, rows, zero)
    f.ret()
    return f
