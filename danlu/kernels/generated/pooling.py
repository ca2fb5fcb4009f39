"""Machine code for pooling over windows of one size, forward.

Every plane is reduced twice: the rows of a window into one row ("down"), which is stored with its
columns split by their remainder modulo the stride, and then the columns ("across"), which lie side
by side after the split whatever the stride. Between the two, rows wait in a scratch of a few KB,
where margins of the neutral element stand for the padding; nothing checks bounds but the end of a
row. Which rows a window reads comes from a table, so that one text serves 1, 2 and 3 dimensions,
every height and every vertical padding, stride and dilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import host
from danlu.kernels.codegen.types import FLOAT, I64
from danlu.kernels.generated.rows import extent, in_blocks, load, round_up, share, store
from danlu.kernels.runtime import launch, pool

__all__ = [
    "Columns", "Plan", "average", "average_text", "deinterleave", "fill", "interleave", "maximum",
    "maximum_text", "read_table", "rows_read", "rows_written", "shape_numbers", "windows_apart",
]  # fmt: skip

# Elements of a task: 10 to 20 us. A batch gives up to 256 tasks.
_TASK_ELEMENTS, _MOST_TASKS = 1 << 15, 256
# Floats of the rows that wait between the two reductions: a quarter of the first cache.
_WAITING_FLOATS = 2048


class Columns(NamedTuple):
    """What a text depends on of the last dimension: window c covers the columns
    c * stride + tap * dilation - padding."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    def taps(self) -> list[tuple[int, int]]:
        """For each tap (remainder, shift): window c reads column number c + shift of those with
        this remainder modulo the stride."""
        return [
            ((tap * self.dilation - self.padding) % self.stride,
             (tap * self.dilation - self.padding) // self.stride)
            for tap in range(self.kernel)
        ]  # fmt: skip

    def adjoint(self, remainder: int) -> list[tuple[int, int]]:
        """The (tap, shift) whose window q + shift covers column q * stride + remainder."""
        reach = [
            (tap, remainder + self.padding - tap * self.dilation) for tap in range(self.kernel)
        ]
        return [(tap, far // self.stride) for tap, far in reach if far % self.stride == 0]

    def margins(self) -> tuple[int, int]:
        """How far `taps` reach to the left of the first window and to the right of the last."""
        shifts = [shift for _, shift in self.taps()]
        return max(0, -min(shifts)), max(0, *shifts)

    def adjoint_margins(self) -> tuple[int, int]:
        """Likewise for `adjoint`."""
        shifts = [s for r in range(self.stride) for _, s in self.adjoint(r)] or [0]
        return max(0, -min(shifts)), max(0, *shifts)


# ------------------------------------------------------------------------------ which rows
class RowTable(NamedTuple):
    """For each row the list of rows that it takes from: of row i they are `sources[j]`, with the
    number of the first tap there, `taps[j]`, for j from `first[i]` to `first[i + 1]`."""

    first: np.ndarray
    sources: np.ndarray
    taps: np.ndarray


@lru_cache(maxsize=256)
def rows_read(sizes, positions, kernel, stride, padding, dilation) -> RowTable:
    """The input rows of each row of windows, padding left out. All dimensions are given; the last
    one lies in the row."""
    windows, inputs, taps = _row_pairs(sizes, positions, kernel, stride, padding, dilation)
    return _row_table(windows, inputs, taps, math.prod(positions[:-1]))


@lru_cache(maxsize=256)
def rows_written(sizes, positions, kernel, stride, padding, dilation) -> RowTable:
    """The rows of windows that cover each input row; the transpose of `rows_read`."""
    windows, inputs, taps = _row_pairs(sizes, positions, kernel, stride, padding, dilation)
    return _row_table(inputs, windows, taps, math.prod(sizes[:-1]))


def _row_pairs(sizes, positions, kernel, stride, padding, dilation):
    """Triples of (row of windows, input row, number of the first tap there)."""
    windows = inputs = taps = np.zeros(1, dtype=np.int64)
    axes = list(zip(sizes, positions, kernel, stride, padding, dilation, strict=True))[:-1]
    for size, count, k, s, p, d in axes:
        window, tap = np.divmod(np.arange(count * k), k)
        source = window * s + tap * d - p
        inside = (source >= 0) & (source < size)
        window, tap, source = window[inside], tap[inside], source[inside]
        windows = (windows[:, None] * count + window).reshape(-1)
        inputs = (inputs[:, None] * size + source).reshape(-1)
        taps = (taps[:, None] * k + tap).reshape(-1)
    return windows, inputs, taps * kernel[-1]


def _row_table(rows, sources, taps, count) -> RowTable:
    order = np.lexsort((taps, rows))
    first = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=count), out=first[1:])
    return RowTable(first, sources[order], taps[order])


# ------------------------------------------------------------------------------ pieces of text
def nan_maximum(f, best, x):
    """`x` where it is larger or NaN, else `best`: PyTorch's order, in which NaN wins."""
    larger = f.select(f.compare("ogt", x, best), x, best)
    return f.select(f.compare("uno", x, x), x, larger)


def add(f, total, x):
    return total + x


def deinterleave(f, vector, count):
    """Lanes 0, count, 2 count, ..., those that follow them, and so on."""
    lanes = vector.type.lanes
    if count == 1:
        return [vector]
    return [f.shuffle(vector, None, range(start, lanes, count)) for start in range(count)]


def interleave(f, vectors):
    """The first lanes of all vectors, then the second ones, ..."""
    count, lanes = len(vectors), vectors[0].type.lanes
    joined = vectors[0]
    for number, vector in enumerate(vectors[1:], start=1):
        wide = range(lanes * number)
        padded = vector if number == 1 else f.shuffle(vector, None, [i % lanes for i in wide])
        joined = f.shuffle(joined, padded, range(lanes * (number + 1)))
    if count == 1:
        return joined
    order = [vector * lanes + lane for lane in range(lanes) for vector in range(count)]
    return f.shuffle(joined, None, order)


def fill(f, pointer, count, value, lanes):
    """`count` floats, a multiple of `lanes`, set to a number."""
    vector = f.broadcast(value, lanes, FLOAT)
    with f.loop(0, count, lanes) as loop:
        f.store(vector, pointer, loop.index)


def read_table(f, first, row):
    """Where the list of a row begins and ends in its table."""
    return f.load(first, I64, row), f.load(first, I64, row + 1)


def down(f, columns, lanes, table, row, source, width, start, mask, combine, neutral):
    """`lanes` columns of each remainder from column `start` on, out of the rows that the table
    (first, sources) lists for a row; rows of `width` floats begin at `source`."""
    block = lanes * columns.stride
    begin, end = read_table(f, table[0], row)
    with f.loop(begin, end, carried=[f.broadcast(neutral, block, FLOAT)]) as entry:
        at = f.load(table[1], I64, entry.index) * width + start
        x = load(f, source, FLOAT.vector(block), at, mask, neutral)
        entry.carry(combine(f, entry.values[0], x))
    return deinterleave(f, entry.results[0], columns.stride)


def combined(f, parts, combine):
    total = parts[0]
    for part in parts[1:]:
        total = combine(f, total, part)
    return total


# ------------------------------------------------------------------------------ texts
def maximum_text(target, columns: Columns, apart: bool) -> str:
    """The largest element of each window; `apart` as in `windows_apart`."""
    return _forward_text(target, columns, apart, nan_maximum, -math.inf, None)


def average_text(target, columns: Columns, apart: bool, per_window: bool) -> str:
    """The sum of each window by one divisor, or (`per_window`) by one for each position."""
    return _forward_text(target, columns, apart, add, 0.0, per_window)


def _forward_text(target, columns, apart, combine, neutral, per_window):
    """`per_window` of None divides by nothing.

    Slots: x, out, scratch; first and sources of the rows read; width, output width, input rows,
    output rows, planes, planes of a task; floats of a split part, waiting rows; divisor, divisors.
    """
    lanes, stride = target.float_lanes, columns.stride
    f = Function.task()
    arguments, index, thread = f.parameters
    x, out, scratch, first, sources = (f.slot(arguments, n) for n in range(5))
    width, out_width, rows, out_rows, planes, of_task, part, waiting = (
        f.slot(arguments, n, I64) for n in range(5, 13)
    )
    out_row = extent(f, out_width, lanes)
    if per_window is False:
        divisor = f.broadcast(f.slot(arguments, 13, FLOAT), lanes)
    elif per_window:
        divisors = f.slot(arguments, 14)

    def finish(total, result, at, mask):
        if per_window is False:
            total = total / divisor
        elif per_window:
            total = total / load(f, divisors, FLOAT.vector(lanes), at, mask, 1.0)
        store(f, total, result, at, mask)

    def read(source, row, start, mask):
        table = (first, sources)
        return down(
            f, columns, lanes, table, row, source, width, start, mask, combine, neutral
        )  # fmt: skip

    def apart_windows(source, result):
        with f.loop(0, out_rows) as row:

            def write(start, mask):
                parts = read(source, row.index, start * stride, None if mask is None else rest_in)
                total = combined(f, parts, combine)
                finish(total, result, row.index * out_width + start, mask)

            in_blocks(f, out_row, write)

    def any_windows(source, result):
        with f.loop(0, out_rows, waiting) as group:
            last = f.minimum(group.index + waiting, out_rows)
            with f.loop(group.index, last) as row:
                kept = f.at(inner, (row.index - group.index) * length, FLOAT)

                def split(start, mask):
                    for remainder, columns_read in enumerate(read(source, row.index, start, mask)):
                        f.store(columns_read, kept, part * remainder + start / stride)

                in_blocks(f, row_in, split)
            with f.loop(group.index, last) as row:
                kept = f.at(inner, (row.index - group.index) * length, FLOAT)

                def across(start, mask):
                    taps = [
                        f.load(kept, FLOAT.vector(lanes), part * remainder + start + shift)
                        for remainder, shift in columns.taps()
                    ]
                    total = combined(f, taps, combine)
                    finish(total, result, row.index * out_width + start, mask)

                in_blocks(f, out_row, across)

    if apart:
        rest_in = f.mask_below((out_width - out_row.whole) * stride, lanes * stride)
    else:
        length = part * stride
        row_in = extent(f, width, lanes * stride)
        scratch = f.at(scratch, thread * waiting * length, FLOAT)
        fill(f, scratch, waiting * length, neutral, lanes)
        inner = f.at(scratch, columns.margins()[0], FLOAT)
    with f.loop(*share(f, index, of_task, planes)) as plane:
        source = f.at(x, plane.index * rows * width, FLOAT)
        result = f.at(out, plane.index * out_rows * out_width, FLOAT)
        (apart_windows if apart else any_windows)(source, result)
    f.ret()
    return Module(f).text()


# ------------------------------------------------------------------------------ calls
def windows_apart(sizes, positions, kernel, stride, padding, dilation, axes=slice(None)) -> bool:
    """Whether windows lie side by side, each within the input, along these dimensions."""
    geometry = zip(sizes, positions, kernel, stride, padding, dilation, strict=True)
    return all(
        k == s and p == 0 and d == 1 and count * s <= size
        for size, count, k, s, p, d in list(geometry)[axes]
    )


class Plan(NamedTuple):
    """What of a call depends on shapes alone: `call(tasks, *arrays, *tables, *numbers)`, with so
    many floats of scratch for a thread."""

    call: Callable[..., None]
    tasks: int
    scratch: int
    tables: tuple[np.ndarray, ...]
    numbers: tuple[int, ...]


def shape_numbers(lead, sizes, positions):
    """Width, windows in a row, input rows, rows of windows, planes, planes of a task."""
    of_task = max(1, _TASK_ELEMENTS // math.prod(sizes), -(-lead // _MOST_TASKS))
    rows, window_rows = math.prod(sizes[:-1]), math.prod(positions[:-1])
    return sizes[-1], positions[-1], rows, window_rows, lead, of_task


@lru_cache(maxsize=256)
def _plan(name, lead, sizes, positions, kernel, stride, padding, dilation) -> Plan:
    """The kernel `name` ("maximum", "average" by one divisor, "averages" by a table of them)."""
    geometry = (sizes, positions, kernel, stride, padding, dilation)
    columns = Columns(kernel[-1], stride[-1], padding[-1], dilation[-1])
    apart = windows_apart(*geometry, axes=slice(-1, None))

    def text():
        if name == "maximum":
            return maximum_text(host(), columns, apart)
        return average_text(host(), columns, apart, name == "averages")

    code = launch.kernel((f"pool_{name}", *columns, apart), text)
    lanes = host().float_lanes
    left, right = columns.margins()
    parts = round_up(-(-sizes[-1] // columns.stride), lanes)
    part = round_up(left + max(parts, round_up(positions[-1], lanes) + right), lanes)
    length = part * columns.stride
    numbers = shape_numbers(lead, sizes, positions)
    waiting = min(numbers[3], max(1, _WAITING_FLOATS // length))
    table = rows_read(*geometry)
    return Plan(
        code.call, -(-lead // numbers[-1]), 0 if apart else waiting * length,
        (table.first, table.sources), (*numbers, part, waiting),
    )  # fmt: skip


def maximum(x, positions, kernel, stride, padding, dilation):
    """The largest element of each window of a float32 array (lead, *sizes)."""
    plan = _plan("maximum", x.shape[0], x.shape[1:], positions, kernel, stride, padding, dilation)
    return _run(plan, x, positions, None, None)


def average(x, positions, kernel, stride, padding, divisor):
    """The sum of each window of a float32 array (lead, *sizes) by `divisor`, a number or an array
    of `positions`."""
    ones = (1,) * len(kernel)
    shapes = (x.shape[0], x.shape[1:], positions, kernel, stride, padding, ones)
    if isinstance(divisor, np.ndarray):
        table = np.ascontiguousarray(divisor, dtype=x.dtype)
        return _run(_plan("averages", *shapes), x, positions, None, table)
    return _run(_plan("average", *shapes), x, positions, float(divisor), None)


def _run(plan, x, positions, divisor, divisors):
    out = np.empty((x.shape[0], *positions), dtype=x.dtype)
    scratch = np.empty(plan.scratch * pool.MAX_THREADS, dtype=x.dtype) if plan.scratch else None
    plan.call(
        plan.tasks, np.ascontiguousarray(x), out, scratch, *plan.tables, *plan.numbers, divisor,
        divisors,
    )  # fmt: skip
    return out
