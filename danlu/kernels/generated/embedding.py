"""Machine code for looking up rows of a table and for summing rows into one.

Sums need neither sorting nor locks: every task owns some rows of the table, clears them, reads all
indices and adds the values that are its own, in their order. Reading an index costs a
nanosecond, and there are at most 16 tasks.
"""

from __future__ import annotations

import math

import numpy as np

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import host
from danlu.kernels.codegen.types import FLOAT, I32, I64
from danlu.kernels.generated.rows import load, share, store
from danlu.kernels.runtime import launch

__all__ = ["gather_rows", "gather_text", "sum_rows", "sum_text"]

# Floats of a task: 64 KB are copied in some 5 us. A table is cut into 16 tasks at most.
_TASK_FLOATS, _MOST_OWNERS = 1 << 14, 16


def _row(f, lanes, count, mask, write):
    """`write(index, mask)` along a row of `count` floats, four vectors a turn."""
    many, whole = count - count % (4 * lanes), count - count % lanes
    with f.loop(0, many, 4 * lanes) as loop:
        for part in range(4):
            write(loop.index + part * lanes, None)
    with f.loop(many, whole, lanes) as loop:
        write(loop.index, None)
    with f.when(f.compare("slt", whole, count)):
        write(whole, mask)


def gather_text(target, index_type) -> str:
    """Slots: table, indices, out; number of indices, floats of a row, indices of a task."""
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function.task()
    arguments, index, _ = f.parameters
    table, indices, out = (f.slot(arguments, n) for n in range(3))
    number, width, of_task = (f.slot(arguments, n, I64) for n in range(3, 6))
    mask = f.mask_below(width % lanes, lanes)
    with f.loop(*share(f, index, of_task, number)) as loop:
        row = f.convert(f.load(indices, index_type, loop.index), I64)
        source, result = f.at(table, row * width, FLOAT), f.at(out, loop.index * width, FLOAT)
        _row(f, lanes, width, mask,
             lambda at, mask: store(f, load(f, source, vector, at, mask), result, at, mask))  # fmt: skip
    f.ret()
    return Module(f).text()


def sum_text(target, index_type) -> str:
    """Slots: values, indices, table; number of indices, rows of the table, floats of a row, rows
    of a task."""
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function.task()
    arguments, index, _ = f.parameters
    values, indices, table = (f.slot(arguments, n) for n in range(3))
    number, rows, width, of_task = (f.slot(arguments, n, I64) for n in range(3, 7))
    mask = f.mask_below(width % lanes, lanes)
    begin = index * of_task
    count = f.minimum(of_task, rows - begin)
    own = f.at(table, begin * width, FLOAT)
    zero = f.broadcast(0.0, lanes, FLOAT)
    floats = count * width
    rest = f.mask_below(floats % lanes, lanes)
    _row(f, lanes, floats, rest, lambda at, mask: store(f, zero, own, at, mask))
    with f.loop(0, number) as loop:
        row = f.convert(f.load(indices, index_type, loop.index), I64) - begin
        with f.when(f.compare("ult", row, count)):
            source, result = f.at(values, loop.index * width, FLOAT), f.at(own, row * width, FLOAT)

            def add(at, mask):
                total = load(f, result, vector, at, mask) + load(f, source, vector, at, mask)
                store(f, total, result, at, mask)

            _row(f, lanes, width, mask, add)
    f.ret()
    return Module(f).text()


def _kernel(name, text, indices):
    type = I64 if indices.dtype.itemsize == 8 else I32
    return launch.kernel((name, type.scalar), lambda: text(host(), type)).call


def gather_rows(table, indices):
    """`table[indices]` of a contiguous table of rows, whose bytes are a multiple of four, and of
    int64 or int32 indices that are known to name rows."""
    out = np.empty(indices.shape + table.shape[1:], dtype=table.dtype)
    width = out.itemsize * math.prod(table.shape[1:]) // 4
    of_task = max(1, _TASK_FLOATS // width)
    _kernel("gather_rows", gather_text, indices)(
        -(-indices.size // of_task), table, np.ascontiguousarray(indices), out, indices.size,
        width, of_task,
    )  # fmt: skip
    return out


def sum_rows(values, indices, rows):
    """A float32 table of `rows` rows, each the sum of the `values` whose index names it."""
    shape = values.shape[indices.ndim :]
    table = np.empty((rows, *shape), dtype=values.dtype)
    width = math.prod(shape)
    of_task = max(1, _TASK_FLOATS // width, -(-rows // _MOST_OWNERS))
    _kernel("sum_rows", sum_text, indices)(
        -(-rows // of_task), np.ascontiguousarray(values), np.ascontiguousarray(indices), table,
        indices.size, rows, width, of_task,
    )  # fmt: skip
    return table
