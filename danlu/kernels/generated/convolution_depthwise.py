"""Depthwise convolution of images: every channel has a kernel of its own.

A plane is copied into scratch memory with its padding, where rows never end, and convolved there;
lanes run along rows. Two settings of the columns are part of the text:

- stride 2: even and odd columns are copied apart, so that lanes are neighbours again;
- spread 2: zeros go between the columns (and rows), for the adjoint of stride 2.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import FLOAT, I64, PTR, VOID

__all__ = ["convolve_text", "weight_text"]


def convolve_text(
    target: Target, kernel, dilation, stride: int, spread: int, mirrored: bool, narrow: bool
) -> str:
    """Tasks of `count` planes each: ``out[p] = bias[c] + correlation(source[p], weight[c])``.

    `narrow`: result rows are shorter than a register. Longer ones end with a register that overlaps
    the one before.

    Arguments: source, weight, bias, out, scratch; planes, planes of a task, channels; the numbers
    of `_copy`; floats of a scratch plane, step between a result row's first source row and the next
    one's; rows and columns of the result.
    """
    f = Function.task()
    arguments, index, thread = f.parameters
    source, weight, bias, out, scratch = (f.slot(arguments, n) for n in range(5))
    planes, count, channels, height, width, row_step, pitch, first, second = (
        f.slot(arguments, n, I64) for n in range(5, 14)
    )
    floats, down, rows, columns = (f.slot(arguments, n, I64) for n in range(14, 18))
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    taps = kernel[0] * kernel[1]
    padded = f.at(scratch, thread * floats, FLOAT)
    _clear(f, padded, floats, lanes)
    present = f.mask_below(columns, lanes)
    begin = index * count
    with f.loop(begin, f.minimum(begin + count, planes)) as by_plane:
        plane = by_plane.index
        channel = plane % channels
        f.call(
            "copy", VOID, f.at(source, plane * (height * width), FLOAT), padded, height, width,
            row_step, pitch, first, second,
        )  # fmt: skip
        order = range(taps - 1, -1, -1) if mirrored else range(taps)
        own = f.at(weight, channel * taps, FLOAT)
        factors = [f.broadcast(f.load(own, FLOAT, tap), lanes) for tap in order]
        start = f.broadcast(f.load(bias, FLOAT, channel), lanes)
        result = f.at(out, plane * (rows * columns), FLOAT)

        def lines(row: Value, together: int, column) -> None:
            line = f.at(padded, row * down + column, FLOAT)
            totals = [start] * together
            for tap, place in enumerate(_places(f, line, kernel, dilation, stride, pitch)):
                for n in range(together):
                    values = f.load(f.at(place, down * n, FLOAT), vector)
                    totals[n] = f.fma(values, factors[tap], totals[n])
            for n, total in enumerate(totals):
                place = f.at(result, (row + n) * columns + column, FLOAT)
                if narrow:
                    f.masked_store(total, place, present)
                else:
                    f.store(total, place)

        # several rows are as many independent sums, but all factors in registers come first
        rows_together = 4 if taps <= 9 else 2
        whole = rows - rows % rows_together
        for bounds, together in (((0, whole, rows_together), rows_together), ((whole, rows), 1)):
            with f.loop(*bounds) as by_row:
                if narrow:
                    lines(by_row.index, together, f.value(0, I64))
                else:
                    with f.loop(0, columns, lanes) as by_column:
                        column = f.minimum(by_column.index, columns - lanes)
                        lines(by_row.index, together, column)
    f.ret()
    return Module(_copy(target, stride, spread), f).text()


def weight_text(target: Target, kernel, dilation, stride: int) -> str:
    """Task `channel`: the gradient of one channel's weight, over all images.

    Arguments: input, gradient, weight, scratch; images, channels; the numbers of `_copy`; floats of
    a scratch plane, step from a gradient row's first input row to the next one's; rows and columns
    of the gradient.
    """
    f = Function("task", [("arguments", PTR), ("channel", I64), ("thread", I64)])
    arguments, channel, thread = f.parameters
    source, grad, weight, scratch = (f.slot(arguments, n) for n in range(4))
    images, channels, height, width, row_step, pitch, first, second = (
        f.slot(arguments, n, I64) for n in range(4, 12)
    )
    floats, down, rows, columns = (f.slot(arguments, n, I64) for n in range(12, 16))
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    taps = kernel[0] * kernel[1]
    padded = f.at(scratch, thread * (floats + taps * lanes), FLOAT)
    sums = f.at(padded, floats, FLOAT)
    _clear(f, padded, floats + taps * lanes, lanes)
    tail = f.mask_below(columns % lanes, lanes)
    whole = columns - columns % lanes
    zero = f.broadcast(0.0, lanes, FLOAT)
    most = target.registers - 6
    with f.loop(0, images) as by_image:
        plane = by_image.index * channels + channel
        f.call(
            "copy", VOID, f.at(source, plane * (height * width), FLOAT), padded, height, width,
            row_step, pitch, first, second,
        )  # fmt: skip
        own = f.at(grad, plane * (rows * columns), FLOAT)
        for begin in range(0, taps, most):
            chosen = range(taps)[begin : begin + most]
            totals = [f.load(sums, vector, tap * lanes) for tap in chosen]
            with f.loop(0, rows, carried=totals) as by_row:
                line = f.at(padded, by_row.index * down, FLOAT)
                grads = f.at(own, by_row.index * columns, FLOAT)

                def added(totals, g, column, mask=None, line=line, chosen=chosen):
                    start = f.at(line, column, FLOAT)
                    places = list(_places(f, start, kernel, dilation, stride, pitch))
                    values = [f.load(places[tap], vector) for tap in chosen]
                    if mask is not None:
                        values = [f.select(mask, value, zero) for value in values]
                    return [f.fma(g, *pair) for pair in zip(values, totals, strict=True)]

                with f.loop(0, whole, lanes, carried=by_row.values) as by_column:
                    g = f.load(grads, vector, by_column.index)
                    by_column.carry(*added(by_column.values, g, by_column.index))

                def with_rest(totals=by_column.results, grads=grads, added=added):
                    # lanes past the row's end hold real columns, which may be infinite
                    return added(totals, f.masked_load(grads, tail, vector, 0, whole), whole, tail)

                more = f.compare("slt", whole, columns)
                by_row.carry(*f.either(more, with_rest, lambda last=by_column.results: last))
            for tap, total in zip(chosen, by_row.results, strict=True):
                f.store(total, sums, tap * lanes)
    for tap in range(taps):
        total = f.fold_lanes(f.load(sums, vector, tap * lanes), lambda a, b: a + b)
        f.store(total, weight, channel * taps + tap)
    f.ret()
    return Module(_copy(target, stride, 1), f).text()


def _clear(f: Function, memory: Value, floats: Value, lanes: int) -> None:
    zero = f.broadcast(0.0, lanes, FLOAT)
    with f.loop(0, floats, lanes) as loop:
        f.store(zero, memory, loop.index)


def _places(f: Function, line: Value, kernel, dilation, stride: int, pitch: Value):
    """Where the lanes of every tap begin, for the results whose first tap begins at `line`.

    With stride 2 a row is its even columns, then (half a pitch on) its odd ones.
    """
    half = pitch / 2
    for row in range(kernel[0]):
        start = f.at(line, pitch * (row * dilation[0]), FLOAT)
        for column in range(kernel[1]):
            whole, odd = divmod(column * dilation[1], stride)
            yield f.at(start, half + whole if odd else whole, FLOAT)


def _copy(target: Target, stride: int, spread: int) -> Function:
    """A plane into its place in scratch memory.

    `row_step` is between the rows of the copy, `pitch` the floats of a padded row. `first` is where
    the first column goes; with stride 2 the even columns begin there, and the odd ones at `second`.
    """
    f = Function(
        "copy",
        [("source", PTR), ("out", PTR), ("height", I64), ("width", I64), ("row_step", I64),
         ("pitch", I64), ("first", I64), ("second", I64)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    source, out, height, width, row_step, _, first, second = f.parameters
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)

    def placed(row: Value, load, column: Value) -> None:
        if stride == 2:
            values = load(column), load(column + lanes)
            for half, start in enumerate((first, second)):
                apart = f.shuffle(*values, range(half, 2 * lanes, 2))
                f.store(apart, f.at(row, start + column / 2, FLOAT))
        elif spread == 2:
            values, zero = load(column), f.broadcast(0.0, lanes, FLOAT)
            for half in (0, lanes // 2):
                order = [n for lane in range(half, half + lanes // 2) for n in (lane, lanes + lane)]
                apart = f.shuffle(values, zero, order)
                f.store(apart, f.at(row, first + column * 2 + 2 * half, FLOAT))
        else:
            f.store(load(column), f.at(row, first + column, FLOAT))

    step = lanes * stride
    whole = width - width % step
    with f.loop(0, height) as by_row:
        line, row = f.at(source, by_row.index * width, FLOAT), f.at(out, by_row.index * row_step,
                                                                    FLOAT)  # fmt: skip
        with f.loop(0, whole, step) as by_column:
            placed(row, lambda column: f.load(line, vector, column), by_column.index)
        with f.when(f.compare("slt", whole, width)):
            placed(
                row,
                lambda column: f.masked_load(
                    line, f.mask_below(width - column, lanes), vector, 0, column
                ),
                whole,
            )  # fmt: skip
    f.ret()
    return f
