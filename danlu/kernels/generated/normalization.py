"""Machine code for batch, group and instance normalisation.

A task takes whole statistics: some channels of all samples, or some groups. It reads its rows
(one channel of one sample) twice, the second time mostly from the cache, and writes once. What it
does with a row is in `normalization_rows`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import host
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I64, VOID
from danlu.kernels.generated import normalization_columns as columns
from danlu.kernels.generated.normalization_rows import (
    absorb,
    absorb_products,
    back,
    inverse_deviation,
    standardize,
)
from danlu.kernels.generated.rows import share
from danlu.kernels.runtime import launch

__all__ = [
    "affine", "affine_text", "batch_backward_text", "batch_gradients", "batch_norm", "batch_text",
    "group_backward_text", "group_gradients", "group_norm", "group_text",
]  # fmt: skip

# Channels of a task at most: their statistics lie on the stack.
_MOST_CHANNELS = 256
# Numbers of a task: below, one task does it all (20 us); channels are joined to runs of 4 KB.
_TASK_NUMBERS, _RUN = 1 << 15, 1024


# ------------------------------------------------------------------------------ batch norm
def batch_text(target) -> str:
    """Slots: x, out, weight, bias, mean, scale; samples, channels, row length, channels of a task;
    eps."""
    f = Function.task()
    arguments, index, _ = f.parameters
    x, out, weight, bias, means, scales = (f.slot(arguments, n) for n in range(6))
    samples, channels, length, of_task = (f.slot(arguments, n, I64) for n in range(6, 10))
    eps = f.slot(arguments, 10, DOUBLE)
    state = f.stack(DOUBLE, 3 * _MOST_CHANNELS)
    begin, end = share(f, index, of_task, channels)
    with f.loop(0, (end - begin) * 3) as loop:
        f.store(f.value(0.0, DOUBLE), state, loop.index)
    with f.loop(0, samples) as sample, f.loop(begin, end) as channel:
        row = f.at(x, (sample.index * channels + channel.index) * length, FLOAT)
        f.call("absorb", VOID, row, length, f.at(state, (channel.index - begin) * 3, DOUBLE))
    with f.loop(begin, end) as channel:
        own = f.at(state, (channel.index - begin) * 3, DOUBLE)
        count, mean, squares = (f.load(own, DOUBLE, n) for n in range(3))
        f.store(f.convert(mean, FLOAT), means, channel.index)
        scale = inverse_deviation(f, squares, count, eps)
        f.store(f.convert(scale, FLOAT), scales, channel.index)
    # backwards: the last samples are still in the cache
    with f.loop(0, samples) as sample, f.loop(begin, end) as channel:
        at = ((samples - 1 - sample.index) * channels + channel.index) * length
        scale = f.load(scales, FLOAT, channel.index) * f.load(weight, FLOAT, channel.index)
        f.call(
            "standardize", VOID, f.at(x, at, FLOAT), f.at(out, at, FLOAT), length,
            f.load(means, FLOAT, channel.index), scale, f.load(bias, FLOAT, channel.index),
        )  # fmt: skip
    f.ret()
    return Module(absorb(target), standardize(target), f).text()


def batch_backward_text(target) -> str:
    """Slots: g, x, weight, mean, scale, dx (or null), dweight, dbias; samples, channels, row
    length, channels of a task."""
    f = Function.task()
    arguments, index, _ = f.parameters
    g, x, weight, means, scales, dx, dweight, dbias = (f.slot(arguments, n) for n in range(8))
    samples, channels, length, of_task = (f.slot(arguments, n, I64) for n in range(8, 12))
    sums = f.stack(DOUBLE, 2 * _MOST_CHANNELS)
    factors = f.stack(FLOAT, 3 * _MOST_CHANNELS)
    begin, end = share(f, index, of_task, channels)
    with f.loop(0, (end - begin) * 2) as loop:
        f.store(f.value(0.0, DOUBLE), sums, loop.index)
    with f.loop(0, samples) as sample, f.loop(begin, end) as channel:
        at = (sample.index * channels + channel.index) * length
        f.call(
            "absorb_products", VOID, f.at(g, at, FLOAT), f.at(x, at, FLOAT), length,
            f.load(means, FLOAT, channel.index), f.at(sums, (channel.index - begin) * 2, DOUBLE),
        )  # fmt: skip
    count = f.convert(samples * length, DOUBLE)
    with f.loop(begin, end) as channel:
        own = channel.index - begin
        total = f.load(f.at(sums, own * 2, DOUBLE), DOUBLE)
        product = f.load(f.at(sums, own * 2, DOUBLE), DOUBLE, 1)
        scale = f.convert(f.load(scales, FLOAT, channel.index), DOUBLE)
        slope = scale * f.convert(f.load(weight, FLOAT, channel.index), DOUBLE)
        f.store(f.convert(total, FLOAT), dbias, channel.index)
        f.store(f.convert(product * scale, FLOAT), dweight, channel.index)
        turn = -(slope * scale * scale * product / count)
        for n, factor in enumerate((slope, turn, -(slope * total / count))):
            f.store(f.convert(factor, FLOAT), f.at(factors, own * 3, FLOAT), n)
    has_dx = f.when(f.compare("ne", dx, 0))
    with has_dx, f.loop(0, samples) as sample, f.loop(begin, end) as channel:
        at = ((samples - 1 - sample.index) * channels + channel.index) * length
        own = f.at(factors, (channel.index - begin) * 3, FLOAT)
        f.call(
            "back", VOID, f.at(g, at, FLOAT), f.at(x, at, FLOAT), f.at(dx, at, FLOAT), length,
            f.load(means, FLOAT, channel.index), *(f.load(own, FLOAT, n) for n in range(3)),
        )  # fmt: skip
    f.ret()
    return Module(absorb_products(target), back(target), f).text()


# ------------------------------------------------------------------------------ group norm
def group_text(target) -> str:
    """Slots: x, out, weight, bias, mean, scale; groups of all samples, groups of a sample, channels
    of a group, row length, groups of a task; eps."""
    f = Function.task()
    arguments, index, _ = f.parameters
    x, out, weight, bias, means, scales = (f.slot(arguments, n) for n in range(6))
    all_groups, groups, channels, length, of_task = (
        f.slot(arguments, n, I64) for n in range(6, 11)
    )
    eps = f.slot(arguments, 11, DOUBLE)
    state = f.stack(DOUBLE, 3)
    begin, end = share(f, index, of_task, all_groups)
    with f.loop(begin, end) as group:
        start = group.index * channels * length
        for n in range(3):
            f.store(f.value(0.0, DOUBLE), state, n)
        f.call("absorb", VOID, f.at(x, start, FLOAT), channels * length, state)
        count, mean, squares = (f.load(state, DOUBLE, n) for n in range(3))
        mean = f.convert(mean, FLOAT)
        scale = f.convert(inverse_deviation(f, squares, count, eps), FLOAT)
        f.store(mean, means, group.index)
        f.store(scale, scales, group.index)
        first = group.index % groups * channels
        with f.loop(0, channels) as channel:
            at = start + channel.index * length
            number = first + channel.index
            f.call(
                "standardize", VOID, f.at(x, at, FLOAT), f.at(out, at, FLOAT), length, mean,
                scale * f.load(weight, FLOAT, number), f.load(bias, FLOAT, number),
            )  # fmt: skip
    f.ret()
    return Module(absorb(target), standardize(target), f).text()


def group_backward_text(target) -> str:
    """Slots: g, x, weight, mean, scale, dx (or null), dweight and dbias of each sample; groups of
    all samples, groups of a sample, channels of a group, row length, groups of a task."""
    f = Function.task()
    arguments, index, _ = f.parameters
    g, x, weight, means, scales, dx, dweight, dbias = (f.slot(arguments, n) for n in range(8))
    all_groups, groups, channels, length, of_task = (
        f.slot(arguments, n, I64) for n in range(8, 13)
    )
    sums = f.stack(DOUBLE, 2)
    zero = f.value(0.0, DOUBLE)
    begin, end = share(f, index, of_task, all_groups)
    with f.loop(begin, end) as group:
        start = group.index * channels * length
        first = group.index % groups * channels
        mean = f.load(means, FLOAT, group.index)
        scale = f.convert(f.load(scales, FLOAT, group.index), DOUBLE)
        with f.loop(0, channels, carried=[zero, zero]) as channel:
            f.store(zero, sums, 0)
            f.store(zero, sums, 1)
            at = start + channel.index * length
            f.call(
                "absorb_products", VOID, f.at(g, at, FLOAT), f.at(x, at, FLOAT), length, mean, sums
            )
            total, product = (f.load(sums, DOUBLE, n) for n in range(2))
            number = group.index * channels + channel.index
            f.store(f.convert(total, FLOAT), dbias, number)
            f.store(f.convert(product * scale, FLOAT), dweight, number)
            factor = f.convert(f.load(weight, FLOAT, first + channel.index), DOUBLE)
            sums_so_far = channel.values
            channel.carry(sums_so_far[0] + total * factor, sums_so_far[1] + product * factor)
        total, product = channel.results
        with f.when(f.compare("ne", dx, 0)):
            inverse = scale / f.convert(channels * length, DOUBLE)
            turn = f.convert(-(inverse * scale * scale * product), FLOAT)
            shift = f.convert(-(inverse * total), FLOAT)
            scale = f.convert(scale, FLOAT)
            with f.loop(0, channels) as channel:
                at = start + channel.index * length
                slope = scale * f.load(weight, FLOAT, first + channel.index)
                f.call(
                    "back", VOID, f.at(g, at, FLOAT), f.at(x, at, FLOAT), f.at(dx, at, FLOAT),
                    length, mean, slope, turn, shift,
                )  # fmt: skip
    f.ret()
    return Module(absorb_products(target), back(target), f).text()


def affine_text(target) -> str:
    """out = x scale + shift for each channel.

    Slots: x, out, scale, shift; rows, channels, row length, rows of a task.
    """
    f = Function.task()
    arguments, index, _ = f.parameters
    x, out, scales, shifts = (f.slot(arguments, n) for n in range(4))
    rows, channels, length, of_task = (f.slot(arguments, n, I64) for n in range(4, 8))
    begin, end = share(f, index, of_task, rows)
    with f.loop(begin, end) as row:
        channel = row.index % channels
        at = row.index * length
        f.call(
            "standardize", VOID, f.at(x, at, FLOAT), f.at(out, at, FLOAT), length,
            f.value(0.0, FLOAT), f.load(scales, FLOAT, channel), f.load(shifts, FLOAT, channel),
        )  # fmt: skip
    f.ret()
    return Module(standardize(target), f).text()


# ------------------------------------------------------------------------------ calls
def _kernel(name, text):
    return launch.kernel((name,), lambda: text(host())).call


@lru_cache(maxsize=64)
def _constant(value, channels):
    """What stands for a weight of ones or a bias of zeros."""
    return np.full(channels, value, dtype=np.float32)


def _affine_parameters(weight, bias, channels):
    return (
        _constant(1.0, channels) if weight is None else np.ascontiguousarray(weight),
        _constant(0.0, channels) if bias is None else np.ascontiguousarray(bias),
    )


def _channels_of_task(samples, channels, length):
    """Runs of 4 KB where channels are short, and at least 16 tasks where there is work."""
    if samples * channels * length <= _TASK_NUMBERS:
        return min(channels, _MOST_CHANNELS)
    return max(1, min(_RUN // length, -(-channels // 16), _MOST_CHANNELS))


def _rows_of_task(rows, length):
    """As many rows as make 128 KB; at most 256 tasks."""
    return max(1, _TASK_NUMBERS // length, -(-rows // 256))


def _batch_shape(x):
    """(samples, channels, numbers of a channel of a sample)"""
    samples, channels = x.shape[:2]
    return samples, channels, x.size // (samples * channels)


def batch_norm(x, weight, bias, eps):
    """The result, the means and 1 / sqrt(variance + eps) of each channel of a float32 (N, C, *)."""
    shape = _batch_shape(x)
    channels = shape[1]
    weight, bias = _affine_parameters(weight, bias, channels)
    if x.ndim == 2:
        return columns.batch_norm(x, weight, bias, eps)
    of_task = _channels_of_task(*shape)
    out = np.empty(x.shape, dtype=x.dtype)
    mean, scale = np.empty((2, channels), dtype=x.dtype)
    _kernel("batch_norm", batch_text)(
        -(-channels // of_task), np.ascontiguousarray(x), out,
        weight, bias, mean, scale, *shape, of_task, float(eps),
    )  # fmt: skip
    return out, mean, scale


def batch_gradients(g, x, weight, mean, scale, with_input):
    """The gradients of a batch norm's input (None unless `with_input`), weight and bias."""
    shape = _batch_shape(x)
    channels = shape[1]
    weight, _ = _affine_parameters(weight, None, channels)
    mean, scale = np.ascontiguousarray(mean), np.ascontiguousarray(scale)
    if x.ndim == 2:
        return columns.batch_gradients(g, x, weight, mean, scale, with_input)
    of_task = _channels_of_task(*shape)
    dx = np.empty(x.shape, dtype=x.dtype) if with_input else None
    dweight, dbias = np.empty((2, channels), dtype=x.dtype)
    _kernel("batch_norm_backward", batch_backward_text)(
        -(-channels // of_task), np.ascontiguousarray(g), np.ascontiguousarray(x), weight, mean,
        scale, dx, dweight, dbias, *shape, of_task,
    )  # fmt: skip
    return dx, dweight, dbias


def group_norm(x, weight, bias, groups, eps):
    """The result, and of each group of each sample the mean and 1 / sqrt(variance + eps), (N, G)."""
    samples, channels, length = _batch_shape(x)
    of_group = channels // groups
    of_task = _rows_of_task(samples * groups, of_group * length)
    out = np.empty(x.shape, dtype=x.dtype)
    mean, scale = np.empty((2, samples, groups), dtype=x.dtype)
    _kernel("group_norm", group_text)(
        -(-samples * groups // of_task), np.ascontiguousarray(x), out,
        *_affine_parameters(weight, bias, channels), mean, scale, samples * groups, groups,
        of_group, length, of_task, float(eps),
    )  # fmt: skip
    return out, mean, scale


def group_gradients(g, x, weight, mean, scale, groups, with_input):
    """The gradients of a group norm's input (None unless `with_input`), weight and bias."""
    samples, channels, length = _batch_shape(x)
    of_group = channels // groups
    of_task = _rows_of_task(samples * groups, of_group * length)
    dx = np.empty(x.shape, dtype=x.dtype) if with_input else None
    dweight, dbias = np.empty((2, samples, channels), dtype=x.dtype)
    _kernel("group_norm_backward", group_backward_text)(
        -(-samples * groups // of_task), np.ascontiguousarray(g), np.ascontiguousarray(x),
        _affine_parameters(weight, None, channels)[0], np.ascontiguousarray(mean),
        np.ascontiguousarray(scale), dx, dweight, dbias, samples * groups, groups, of_group,
        length, of_task,
    )  # fmt: skip
    return dx, dweight.sum(axis=0), dbias.sum(axis=0)


def affine(x, scale, shift):
    """x scale + shift, both given for each channel, of a float32 (N, C, *)."""
    samples, channels, length = _batch_shape(x)
    of_task = _rows_of_task(samples * channels, length)
    out = np.empty(x.shape, dtype=x.dtype)
    _kernel("channel_affine", affine_text)(
        -(-samples * channels // of_task), np.ascontiguousarray(x), out,
        np.ascontiguousarray(scale), np.ascontiguousarray(shift), samples * channels, channels,
        length, of_task,
    )  # fmt: skip
    return out
