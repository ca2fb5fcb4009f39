"""Machine code for the gradients of pooling over windows of one size.

Gradients are gathered, not scattered: every element of the input's gradient sums over the windows
that cover it, so that each is written once, in one order, whatever overlaps. Of a maximum pool
every window first finds the number of the tap that holds its maximum (the first of equal ones, the
last NaN: PyTorch's), and an element takes the gradient of a window whose number is its own. Where
windows lie side by side both happen in registers.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import host
from danlu.kernels.codegen.types import FLOAT, I32, I64
from danlu.kernels.generated.pooling import (
    Columns,
    Plan,
    deinterleave,
    fill,
    interleave,
    read_table,
    rows_read,
    rows_written,
    shape_numbers,
    windows_apart,
)
from danlu.kernels.generated.rows import extent, in_blocks, load, round_up, share, store
from danlu.kernels.runtime import launch, pool

__all__ = [
    "average_input", "average_input_text", "maximum_apart_text", "maximum_input",
    "maximum_input_text",
]  # fmt: skip


def _search(f, best, number, x, tap):
    """The maximum so far and the number of its tap, after another tap (i32, any lanes)."""
    taken = f.compare("ogt", x, best) | f.compare("uno", x, x)
    return f.select(taken, x, best), f.select(taken, tap, number)


def _tap_numbers(f, lanes, taps, entry, offset=0):
    """The number of tap `offset` of a row's entry, in every lane."""
    return f.broadcast(f.convert(f.load(taps, I64, entry), I32) + offset, lanes)


# ------------------------------------------------------------------------------ maximum
def maximum_apart_text(target, columns: Columns) -> str:
    """The gradient of a maximum pool whose windows lie side by side in all dimensions.

    Slots: grad, x, dx; first, sources and taps of the rows read; width, windows in a row, input
    rows, rows of windows, planes, planes of a task.
    """
    lanes, stride = target.float_lanes, columns.stride
    wide = FLOAT.vector(lanes * stride)
    f = Function.task()
    arguments, index, _ = f.parameters
    grad, x, dx, first, sources, taps = (f.slot(arguments, n) for n in range(6))
    width, out_width, rows, out_rows, planes, of_task = (
        f.slot(arguments, n, I64) for n in range(6, 12)
    )
    window_row = extent(f, out_width, lanes)
    rest_in = f.mask_below((out_width - window_row.whole) * stride, lanes * stride)
    with f.loop(*share(f, index, of_task, planes)) as plane:
        source = f.at(x, plane.index * rows * width, FLOAT)
        result = f.at(dx, plane.index * rows * width, FLOAT)
        above = f.at(grad, plane.index * out_rows * out_width, FLOAT)
        with f.loop(0, out_rows) as row:
            start_entry, end_entry = read_table(f, first, row.index)

            def write(start, mask):
                mask_in = None if mask is None else rest_in
                best = f.broadcast(-math.inf, lanes, FLOAT)
                number = f.broadcast(0, lanes, I32)
                with f.loop(start_entry, end_entry, carried=[best, number]) as entry:
                    at = f.load(sources, I64, entry.index) * width + start * stride
                    found = entry.values
                    parts = deinterleave(f, load(f, source, wide, at, mask_in), stride)
                    for tap, part in enumerate(parts):
                        tap = _tap_numbers(f, lanes, taps, entry.index, tap)
                        found = _search(f, *found, part, tap)
                    entry.carry(*found)
                number = entry.results[1]
                at = row.index * out_width + start
                g = load(f, above, FLOAT.vector(lanes), at, mask)
                zero = f.broadcast(0.0, lanes, FLOAT)
                with f.loop(start_entry, end_entry) as entry:
                    at = f.load(sources, I64, entry.index) * width + start * stride
                    parts = []
                    for tap in range(stride):
                        tap = _tap_numbers(f, lanes, taps, entry.index, tap)
                        parts.append(f.select(f.compare("eq", number, tap), g, zero))
                    store(f, interleave(f, parts), result, at, mask_in)

            in_blocks(f, window_row, write)
    f.ret()
    return Module(f).text()


def maximum_input_text(target, columns: Columns) -> str:
    """The gradient of a maximum pool.

    A plane passes three stages: its columns are split by remainder between margins of -inf; every
    window finds its tap, and its number and gradient are kept between margins that equal no tap;
    every row of the input gathers.

    Slots: grad, x, dx, scratch; first, sources and taps of the rows read, then of the rows
    written; first tap inside of each window of a row; width, windows in a row, input rows, rows of
    windows, planes, planes of a task; floats of a split part, of a row of windows, of a thread.
    """
    lanes, stride = target.float_lanes, columns.stride
    vector, wide = FLOAT.vector(lanes), FLOAT.vector(lanes * stride)
    f = Function.task()
    arguments, index, thread = f.parameters
    grad, x, dx, scratch = (f.slot(arguments, n) for n in range(4))
    read = tuple(f.slot(arguments, n) for n in range(4, 7))
    written = tuple(f.slot(arguments, n) for n in range(7, 10))
    inside = f.slot(arguments, 10)
    width, out_width, rows, out_rows, planes, of_task, part, window_row, of_thread = (
        f.slot(arguments, n, I64) for n in range(11, 20)
    )
    split = f.at(scratch, thread * of_thread, FLOAT)
    numbers = f.at(split, rows * part * stride, FLOAT)
    kept = f.at(numbers, out_rows * window_row, FLOAT)
    fill(f, split, rows * part * stride, -math.inf, lanes)
    # windows that do not exist have a tap that does not exist
    nowhere = f.broadcast(-1, lanes, I32)
    with f.loop(0, out_rows * window_row, lanes) as loop:
        f.store(nowhere, numbers, loop.index)
    fill(f, kept, out_rows * window_row, 0.0, lanes)
    split_inner = f.at(split, columns.margins()[0], FLOAT)
    left = columns.adjoint_margins()[0]
    numbers, kept = f.at(numbers, left, I32), f.at(kept, left, FLOAT)
    in_row, out_row = extent(f, width, lanes * stride), extent(f, out_width, lanes)

    def split_columns(source):
        with f.loop(0, rows) as row:
            place = f.at(split_inner, row.index * part * stride, FLOAT)

            def write(start, mask):
                x_block = load(f, source, wide, row.index * width + start, mask, -math.inf)
                for remainder, values in enumerate(deinterleave(f, x_block, stride)):
                    f.store(values, place, part * remainder + start / stride)

            in_blocks(f, in_row, write)

    def find(above):
        with f.loop(0, out_rows) as row:
            begin, end = read_table(f, read[0], row.index)

            def write(start, mask):
                # where nothing is larger than -inf, the first element inside the input counts
                number = _tap_numbers(f, lanes, read[2], begin)
                if columns.padding:
                    number = number + f.load(inside, I32.vector(lanes), start)
                best = f.broadcast(-math.inf, lanes, FLOAT)
                with f.loop(begin, end, carried=[best, number]) as entry:
                    source_row = f.load(read[1], I64, entry.index) * part * stride
                    found = entry.values
                    for tap, (remainder, shift) in enumerate(columns.taps()):
                        at = source_row + part * remainder + start + shift
                        values = f.load(split_inner, vector, at)
                        tap = _tap_numbers(f, lanes, read[2], entry.index, tap)
                        found = _search(f, *found, values, tap)
                    entry.carry(*found)
                number = entry.results[1]
                if mask is not None:
                    number = f.select(mask, number, nowhere)
                f.store(number, numbers, row.index * window_row + start)
                g = load(f, above, vector, row.index * out_width + start, mask)
                f.store(g, kept, row.index * window_row + start)

            with f.when(f.compare("slt", begin, end)):
                in_blocks(f, out_row, write)

    def gather(result):
        with f.loop(0, rows) as row:
            begin, end = read_table(f, written[0], row.index)

            def write(start, mask):
                zero = f.broadcast(0.0, lanes, FLOAT)
                with f.loop(begin, end, carried=[zero] * stride) as entry:
                    at = f.load(written[1], I64, entry.index) * window_row + start / stride
                    sums = list(entry.values)
                    for remainder in range(stride):
                        for tap, shift in columns.adjoint(remainder):
                            number = f.load(numbers, I32.vector(lanes), at + shift)
                            tap = _tap_numbers(f, lanes, written[2], entry.index, tap)
                            g = f.load(kept, vector, at + shift)
                            g = f.select(f.compare("eq", number, tap), g, zero)
                            sums[remainder] = sums[remainder] + g
                    entry.carry(*sums)
                total = interleave(f, entry.results)
                store(f, total, result, row.index * width + start, mask)

            in_blocks(f, in_row, write)

    with f.loop(*share(f, index, of_task, planes)) as plane:
        split_columns(f.at(x, plane.index * rows * width, FLOAT))
        find(f.at(grad, plane.index * out_rows * out_width, FLOAT))
        gather(f.at(dx, plane.index * rows * width, FLOAT))
    f.ret()
    return Module(f).text()


# ------------------------------------------------------------------------------ average
def average_input_text(target, columns: Columns, per_window: bool) -> str:
    """The gradient of an average pool: of each element, the sum of grad by divisor over the
    windows that cover it.

    Slots: grad, dx, scratch; first and sources of the rows written; width, windows in a row, input
    rows, rows of windows, planes, planes of a task, floats of a row of windows; divisor, divisors.
    """
    lanes, stride = target.float_lanes, columns.stride
    vector = FLOAT.vector(lanes)
    f = Function.task()
    arguments, index, thread = f.parameters
    grad, dx, scratch, first, sources = (f.slot(arguments, n) for n in range(5))
    width, out_width, rows, out_rows, planes, of_task, window_row = (
        f.slot(arguments, n, I64) for n in range(5, 12)
    )
    if per_window:
        divisors = f.slot(arguments, 13)
    else:
        divisor = f.broadcast(f.slot(arguments, 12, FLOAT), lanes)
    scratch = f.at(scratch, thread * rows * window_row, FLOAT)
    fill(f, scratch, rows * window_row, 0.0, lanes)
    inner = f.at(scratch, columns.adjoint_margins()[0], FLOAT)
    in_row, out_row = extent(f, width, lanes * stride), extent(f, out_width, lanes)
    with f.loop(*share(f, index, of_task, planes)) as plane:
        above = f.at(grad, plane.index * out_rows * out_width, FLOAT)
        result = f.at(dx, plane.index * rows * width, FLOAT)
        with f.loop(0, rows) as row:
            begin_entry, end_entry = read_table(f, first, row.index)

            def add_rows(start, mask):
                zero = f.broadcast(0.0, lanes, FLOAT)
                with f.loop(begin_entry, end_entry, carried=[zero]) as entry:
                    at = f.load(sources, I64, entry.index) * out_width + start
                    g = load(f, above, vector, at, mask)
                    by = load(f, divisors, vector, at, mask, 1.0) if per_window else divisor
                    entry.carry(entry.values[0] + g / by)
                f.store(entry.results[0], inner, row.index * window_row + start)

            in_blocks(f, out_row, add_rows)
        with f.loop(0, rows) as row:

            def spread(start, mask):
                at = row.index * window_row + start / stride
                sums = []
                for remainder in range(stride):
                    total = f.broadcast(0.0, lanes, FLOAT)
                    for _, shift in columns.adjoint(remainder):
                        total = total + f.load(inner, vector, at + shift)
                    sums.append(total)
                store(f, interleave(f, sums), result, row.index * width + start, mask)

            in_blocks(f, in_row, spread)
    f.ret()
    return Module(f).text()


# ------------------------------------------------------------------------------ calls
def _columns(kernel, stride, padding, dilation) -> Columns:
    return Columns(kernel[-1], stride[-1], padding[-1], dilation[-1])


@lru_cache(maxsize=256)
def _maximum_plan(lead, sizes, positions, kernel, stride, padding, dilation) -> Plan:
    geometry = (sizes, positions, kernel, stride, padding, dilation)
    columns = _columns(*geometry[2:])
    numbers = shape_numbers(lead, sizes, positions)
    tasks = -(-lead // numbers[-1])
    read = rows_read(*geometry)
    if windows_apart(*geometry):
        code = launch.kernel(
            ("max_pool_apart_input", *columns), lambda: maximum_apart_text(host(), columns)
        )
        return Plan(code.call, tasks, 0, tuple(read), numbers)
    code = launch.kernel(("max_pool_input", *columns), lambda: maximum_input_text(host(), columns))
    lanes = host().float_lanes
    windows = round_up(positions[-1], lanes)
    columns_split = round_up(-(-sizes[-1] // columns.stride), lanes)
    left, right = columns.margins()
    part = round_up(left + max(columns_split, windows + right), lanes)
    left, right = columns.adjoint_margins()
    window_row = round_up(left + max(windows, columns_split + right), lanes)
    of_thread = numbers[2] * part * columns.stride + 2 * numbers[3] * window_row
    before = columns.padding - np.arange(windows) * columns.stride
    inside = np.maximum(-(-before // columns.dilation), 0).astype(np.int32)
    tables = (*read, *rows_written(*geometry), inside)
    numbers = (*numbers, part, window_row, of_thread)
    return Plan(code.call, tasks, of_thread, tables, numbers)


def maximum_input(grad, x, kernel, stride, padding, dilation, over=False):
    """The gradient of a maximum pool of a float32 array (lead, *sizes).

    With `over` it may be written over `x`: a task has read a plane, or windows that lie side by
    side, before it writes there.
    """
    plan = _maximum_plan(
        x.shape[0], x.shape[1:], grad.shape[1:], kernel, stride, padding, dilation
    )  # fmt: skip
    grad, x = np.ascontiguousarray(grad), np.ascontiguousarray(x)
    arrays = [grad, x]
    dx = x if over else np.empty(x.shape, dtype=x.dtype)
    arrays.append(dx)
    if plan.scratch:
        arrays.append(np.empty(plan.scratch * pool.MAX_THREADS, dtype=x.dtype))
    plan.call(plan.tasks, *arrays, *plan.tables, *plan.numbers)
    if not plan.scratch:  # of windows side by side, what lies behind the last one is not written
        for axis, (count, step) in enumerate(zip(grad.shape[1:], stride, strict=True), start=1):
            dx[(slice(None),) * axis + (slice(count * step, None),)] = 0
    return dx


@lru_cache(maxsize=256)
def _average_plan(lead, sizes, positions, kernel, stride, padding, per_window) -> Plan:
    ones = (1,) * len(sizes)
    columns = _columns(kernel, stride, padding, ones)
    code = launch.kernel(
        ("avg_pool_input", *columns, per_window),
        lambda: average_input_text(host(), columns, per_window),
    )
    numbers = shape_numbers(lead, sizes, positions)
    tasks = -(-lead // numbers[-1])
    lanes = host().float_lanes
    left, right = columns.adjoint_margins()
    columns_split = round_up(-(-sizes[-1] // columns.stride), lanes)
    window_row = round_up(
        left + max(round_up(positions[-1], lanes), columns_split + right), lanes
    )  # fmt: skip
    table = rows_written(sizes, positions, kernel, stride, padding, ones)
    return Plan(
        code.call, tasks, numbers[2] * window_row, (table.first, table.sources),
        (*numbers, window_row),
    )  # fmt: skip


def average_input(grad, sizes, kernel, stride, padding, divisor):
    """The gradient of an average pool: float32 (lead, *positions) -> (lead, *sizes).

    divisor: a number, or an array of `positions`.
    """
    per_window = isinstance(divisor, np.ndarray)
    plan = _average_plan(
        grad.shape[0], sizes, grad.shape[1:], kernel, stride, padding, per_window
    )  # fmt: skip
    dx = np.empty((grad.shape[0], *sizes), dtype=grad.dtype)
    scratch = np.empty(plan.scratch * pool.MAX_THREADS, dtype=grad.dtype)
    number, table = None, None
    if per_window:
        table = np.ascontiguousarray(divisor, dtype=grad.dtype)
    else:
        number = float(divisor)
    plan.call(
        plan.tasks, np.ascontiguousarray(grad), dx, scratch, *plan.tables, *plan.numbers, number,
        table,
    )  # fmt: skip
    return dx
