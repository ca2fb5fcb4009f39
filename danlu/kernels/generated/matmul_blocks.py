"""How a task of a matrix product C = A B finds its blocks: what all such kernels are called with,
and where the block of a number lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import I32, I64, PTR, VOID, Type

__all__ = ["ARGUMENTS", "Block", "at_least", "block_function", "block_of", "symbol", "task"]

# The first arguments, in the order of the call. Steps count elements; C is contiguous.
ARGUMENTS = (
    "a", "b", "c", "bias",  # addresses; bias of `columns` elements or null
    "relu",
    "rows", "columns", "depth",
    "a_row", "a_depth", "b_depth", "b_column",
    "inner", "a_outer", "a_inner", "b_outer", "b_inner",  # batch = outer * inner + ...
    "block_rows", "block_columns", "part",  # of C in one block, and the depth of one block
    "row_blocks", "column_blocks", "parts",  # how many there are of each
    "c_part",  # between the results of two parts
    "blocks", "together",  # how many blocks there are, and how many a task computes
)  # fmt: skip
_ADDRESSES = ("a", "b", "c", "bias", "scratch")


class Block(NamedTuple):
    """One block of C: the addresses of its corner and of its first bias, and its sizes."""

    a: Value
    b: Value
    c: Value
    bias: Value
    rows: Value
    columns: Value
    depth: Value


def symbol(name: str, type: Type) -> str:
    """What a function that kernels share is called in the process."""
    return f"danlu_{name}_{type.scalar}"


def task() -> Function:
    """The blocks of one task, one after the other."""
    f = Function.task()
    arguments, index, thread = f.parameters
    blocks, together = (
        f.slot(arguments, ARGUMENTS.index(name), I64) for name in ("blocks", "together")
    )
    first = index * together
    with f.loop(first, f.minimum(first + together, blocks)) as loop:
        f.call("block", VOID, arguments, loop.index, thread)
    f.ret()
    return f


def block_function(names: Sequence[str]) -> tuple[Function, dict[str, Value], Value, Value]:
    """The function of a block, to be written: itself, the arguments by name, the number of the
    block and that of the thread."""
    parameters = [("arguments", PTR), ("number", I64), ("thread", I64)]
    f = Function("block", parameters, internal=True, noinline=True)
    arguments, number, thread = f.parameters
    given = {
        name: f.slot(arguments, place, PTR if name in _ADDRESSES else I64)
        for place, name in enumerate(names)
    }
    return f, given, number, thread


def block_of(f: Function, given: dict[str, Value], number: Value, type: Type) -> Block:
    """Where a block lies: its number counts columns fastest, then rows, parts of the depth,
    batches."""
    rest = f.convert(number, I32)  # short divisions take a fraction of the time, and of the code

    def digit(count: Value) -> Value:
        nonlocal rest
        count = f.convert(count, I32)
        remainder, rest = f.op("urem", rest, count), f.op("udiv", rest, count)
        return f.convert(remainder, I64)

    column = digit(given["column_blocks"]) * given["block_columns"]
    row = digit(given["row_blocks"]) * given["block_rows"]
    part = digit(given["parts"])
    batch = f.convert(rest, I64)
    inner = digit(given["inner"])
    outer = f.convert(rest, I64)
    depth = part * given["part"]
    a = outer * given["a_outer"] + inner * given["a_inner"] + row * given["a_row"]
    b = outer * given["b_outer"] + inner * given["b_inner"] + column * given["b_column"]
    c = part * given["c_part"] + (batch * given["rows"] + row) * given["columns"] + column
    return Block(
        f.at(given["a"], a + depth * given["a_depth"], type),
        f.at(given["b"], b + depth * given["b_depth"], type),
        f.at(given["c"], c, type),
        f.at(given["bias"], column, type),
        f.minimum(given["rows"] - row, given["block_rows"]),
        f.minimum(given["columns"] - column, given["block_columns"]),
        f.minimum(given["depth"] - depth, given["part"]),
    )


def at_least(f: Function, floor: Value, value: Value) -> Value:
    """The larger of both; NaN stays."""
    return f.select(f.compare("ogt", floor, value), floor, value)
