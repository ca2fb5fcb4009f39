"""Depthwise convolutions of images of float32 in machine code: what the kernels get.

Arguments and results are those of the functions of `danlu.kernels.convolution`, for as many groups
as channels, in and out.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from danlu.kernels.codegen import target as targets
from danlu.kernels.generated.convolution_depthwise import convolve_text, weight_text
from danlu.kernels.runtime import launch, pool

__all__ = ["convolve", "convolve_input", "convolve_weight", "fits"]

# Tasks to aim for: there are many planes, so that the last ones cost little.
TASKS = 64


def fits(kernel, stride, padding, dilation) -> bool:
    """Whether these kernels do it: images, columns of step 1 or 2, and no more than the kernel's
    reach as padding."""
    return (
        len(kernel) == 2
        and stride[1] in (1, 2)
        and all(
            0 <= before <= d * (k - 1)
            for k, d, (before, _) in zip(kernel, dilation, padding, strict=True)
        )
        and math.prod(kernel) <= 49
    )


def convolve(x, weight, bias, positions, stride, padding, dilation):
    """The convolution with its bias (or None)."""
    before = tuple(pair[0] for pair in padding)
    return _convolve(x, weight, bias, positions, stride, (1, 1), before, dilation, False)


def convolve_input(grad, weight, bias, sizes, stride, padding, dilation):
    """The adjoint in the input of spatial `sizes`."""
    kernel = weight.shape[2:]
    before = tuple(
        d * (k - 1) - pair[0] for k, d, pair in zip(kernel, dilation, padding, strict=True)
    )
    return _convolve(grad, weight, bias, sizes, (1, 1), stride, before, dilation, True)


def convolve_weight(grad, x, kernel, stride, padding, dilation):
    """The gradient of the weight."""
    images, channels, *sizes = x.shape
    code, copy, floats, arguments = _prepared_weight(
        tuple(sizes), grad.shape[2:], kernel, stride, padding, dilation
    )
    weight = np.empty((channels, 1, *kernel), np.float32)
    scratch = np.empty(floats * pool.MAX_THREADS, np.float32)
    code(
        channels, np.ascontiguousarray(x), np.ascontiguousarray(grad), weight, scratch, images,
        channels, *copy, *arguments,
    )  # fmt: skip
    return weight


@lru_cache(256)
def _prepared_weight(sizes, positions, kernel, stride, padding, dilation):
    target = targets.host()
    before = tuple(pair[0] for pair in padding)
    copy, floats, down = _layout(
        sizes, positions, kernel, stride, (1, 1), before, dilation, target.float_lanes
    )
    options = kernel, dilation, stride[1]
    code = launch.kernel(
        ("convolution_depthwise_weight", *options), lambda: weight_text(target, *options)
    ).call
    sums = math.prod(kernel) * target.float_lanes
    return code, copy, floats + sums, (floats, down, *positions)


def _convolve(source, weight, bias, positions, stride, spread, before, dilation, mirrored):
    images, channels, *sizes = source.shape
    code, copy, floats, arguments = _prepared(
        tuple(sizes), tuple(positions), weight.shape[2:], stride, spread, before, dilation, mirrored
    )
    planes = images * channels
    count = -(-planes // TASKS)
    if bias is None:
        bias = np.zeros(channels, np.float32)
    out = np.empty((images, channels, *positions), np.float32)
    scratch = np.empty(floats * pool.MAX_THREADS, np.float32)
    code(
        -(-planes // count), np.ascontiguousarray(source), np.ascontiguousarray(weight),
        np.ascontiguousarray(bias), out, scratch, planes, count, channels, *copy, *arguments,
    )  # fmt: skip
    return out


@lru_cache(256)
def _prepared(sizes, positions, kernel, stride, spread, before, dilation, mirrored):
    target = targets.host()
    lanes = target.float_lanes
    copy, floats, down = _layout(sizes, positions, kernel, stride, spread, before, dilation, lanes)
    options = kernel, dilation, stride[1], spread[1], mirrored, positions[1] < lanes
    code = launch.kernel(
        ("convolution_depthwise", *options), lambda: convolve_text(target, *options)
    ).call
    return code, copy, floats, (floats, down, *positions)


def _layout(sizes, positions, kernel, stride, spread, before, dilation, lanes):
    """Where planes lie in scratch memory: the numbers of `_copy`, floats, and step between rows.

    A row has a register's width of zeros at its end, for what the last lanes read and write.
    """
    rows, columns = (
        max(first + (size - 1) * apart, (count - 1) * s + d * (k - 1)) + 1
        for first, size, apart, count, s, d, k in zip(
            before, sizes, spread, positions, stride, dilation, kernel, strict=True
        )
    )
    half = (-(-columns // stride[1]) // lanes + 3) * lanes
    pitch = half * stride[1]
    top, left = before[0] * pitch, before[1]
    if stride[1] == 1:
        first = second = top + left
    elif left % 2:
        first, second = top + half + left // 2, top + left // 2 + 1
    else:
        first, second = top + left // 2, top + half + left // 2
    copy = (*sizes, pitch * spread[0], pitch, first, second)
    return copy, rows * pitch + 2 * lanes, pitch * stride[0]
