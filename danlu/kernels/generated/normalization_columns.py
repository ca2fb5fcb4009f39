"""Machine code for batch normalisation of plain tables, (N, C): lanes are channels.

A task takes some channels of all samples, two vectors of them at a time, and sums in double.
"""

from __future__ import annotations

import numpy as np

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import host
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I64
from danlu.kernels.generated.rows import extent, in_blocks, load, round_up, store
from danlu.kernels.runtime import launch

__all__ = ["batch_gradients", "batch_norm", "columns_backward_text", "columns_text"]

# Numbers of a task at least: 10 to 20 us.
_TASK_NUMBERS = 1 << 15


class _Columns:
    """What both texts begin with: the task's range of channels, and walks down its columns."""

    def __init__(self, target, pointers):
        f = self.f = Function.task()
        arguments, index, _ = f.parameters
        self.pointers = [f.slot(arguments, n) for n in range(pointers)]
        self.samples, self.channels, of_task = (
            f.slot(arguments, pointers + n, I64) for n in range(3)
        )
        self.lanes = 2 * target.float_lanes
        self.vector = FLOAT.vector(self.lanes)
        self.begin = index * of_task
        self.width = f.minimum(of_task, self.channels - self.begin)
        self.count = f.broadcast(f.convert(self.samples, DOUBLE), self.lanes)

    def load(self, pointer, start, mask, row=0):
        return load(self.f, pointer, self.vector, self._at(start, row), mask)

    def store(self, value, pointer, start, mask, row=0):
        store(self.f, value, pointer, self._at(start, row), mask)

    def _at(self, start, row):
        return row * self.channels + self.begin + start

    def sums(self, number, terms):
        """The double sums down the columns of what `terms(row)` gives."""
        f = self.f
        with f.loop(
            0, self.samples, carried=[f.broadcast(0.0, self.lanes, DOUBLE)] * number
        ) as row:
            row.carry(*[old + new for old, new in zip(row.values, terms(row.index), strict=True)])
        return row.results

    def blocks(self, write):
        in_blocks(self.f, extent(self.f, self.width, self.lanes), write)

    def text(self):
        self.f.ret()
        return Module(self.f).text()


def columns_text(target) -> str:
    """Slots: x, out, weight, bias, mean, scale; samples, channels, channels of a task; eps."""
    columns = _Columns(target, 6)
    f, lanes = columns.f, columns.lanes
    x, out, weight, bias, means, scales = columns.pointers
    eps = f.broadcast(f.slot(f.parameters[0], 9, DOUBLE), lanes)

    def write(start, mask):
        def wide(row):
            return f.convert(columns.load(x, start, mask, row), DOUBLE)

        mean = columns.sums(1, lambda row: [wide(row)])[0] / columns.count

        def square(row):
            apart = wide(row) - mean
            return [apart * apart]

        variance = columns.sums(1, square)[0] / columns.count
        one = f.broadcast(1.0, lanes, DOUBLE)
        scale = f.convert(one / f.intrinsic("sqrt", variance + eps), FLOAT)
        mean = f.convert(mean, FLOAT)
        columns.store(mean, means, start, mask)
        columns.store(scale, scales, start, mask)
        slope = scale * columns.load(weight, start, mask)
        shift = columns.load(bias, start, mask)
        with f.loop(0, columns.samples) as row:
            apart = columns.load(x, start, mask, row.index) - mean
            columns.store(f.fma(apart, slope, shift), out, start, mask, row.index)

    columns.blocks(write)
    return columns.text()


def columns_backward_text(target) -> str:
    """Slots: g, x, weight, mean, scale, dx (or null), dweight, dbias; samples, channels, channels
    of a task."""
    columns = _Columns(target, 8)
    f = columns.f
    g, x, weight, means, scales, dx, dweight, dbias = columns.pointers

    def write(start, mask):
        mean = columns.load(means, start, mask)

        def apart(row):
            return columns.load(x, start, mask, row) - mean

        def products(row):
            above = f.convert(columns.load(g, start, mask, row), DOUBLE)
            return [above, above * f.convert(apart(row), DOUBLE)]

        total, product = columns.sums(2, products)
        scale = f.convert(columns.load(scales, start, mask), DOUBLE)
        columns.store(f.convert(total, FLOAT), dbias, start, mask)
        columns.store(f.convert(product * scale, FLOAT), dweight, start, mask)
        slope = scale * f.convert(columns.load(weight, start, mask), DOUBLE)
        turn = f.convert(-(slope * scale * scale * product / columns.count), FLOAT)
        shift = f.convert(-(slope * total / columns.count), FLOAT)
        slope = f.convert(slope, FLOAT)
        with f.when(f.compare("ne", dx, 0)), f.loop(0, columns.samples) as row:
            turned = f.fma(turn, apart(row.index), shift)
            above = columns.load(g, start, mask, row.index)
            columns.store(f.fma(slope, above, turned), dx, start, mask, row.index)

    columns.blocks(write)
    return columns.text()


def _call(name, text, x, *arguments):
    """The kernel of this text over the channels of `x`; `arguments` follow the shape."""
    samples, channels = x.shape
    of_task = max(16, round_up(_TASK_NUMBERS // samples, 16))
    call = launch.kernel((name,), lambda: text(host())).call
    return lambda *arrays: call(
        -(-channels // of_task), *arrays, samples, channels, of_task, *arguments
    )


def batch_norm(x, weight, bias, eps):
    """The result, the means and 1 / sqrt(variance + eps) of each column of a float32 (N, C)."""
    out = np.empty(x.shape, dtype=x.dtype)
    mean, scale = np.empty((2, x.shape[1]), dtype=x.dtype)
    run = _call("batch_norm_columns", columns_text, x, float(eps))
    run(np.ascontiguousarray(x), out, weight, bias, mean, scale)
    return out, mean, scale


def batch_gradients(g, x, weight, mean, scale, with_input):
    """The gradients of the input (None unless `with_input`), the weight and the bias."""
    dx = np.empty(x.shape, dtype=x.dtype) if with_input else None
    dweight, dbias = np.empty((2, x.shape[1]), dtype=x.dtype)
    run = _call("batch_norm_columns_backward", columns_backward_text, x)
    run(np.ascontiguousarray(g), np.ascontiguousarray(x), weight, mean, scale, dx, dweight, dbias)
    return dx, dweight, dbias
