"""Convolutions of float32 in machine code: what arrays and numbers the kernels get.

Arguments and results are those of the functions of the same names in `danlu.kernels.convolution`.
What depends on shapes alone is prepared once a shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from danlu.kernels.codegen import target as targets
from danlu.kernels.convolution import pad_spatial
from danlu.kernels.generated import convolution_plan as plan
from danlu.kernels.generated import convolution_planes as planes
from danlu.kernels.generated.convolution_gather import gather_text, pack_text
from danlu.kernels.generated.convolution_tiles import Tile, tile_shape
from danlu.kernels.generated.convolution_weight import finish_text, reduce_text
from danlu.kernels.generated.convolution_weight_plan import by_entries, by_taps
from danlu.kernels.runtime import launch, pool

__all__ = ["convolve", "convolve_input", "convolve_weight"]

# Up to so many channels planes are read in place: turning a few into pixels costs more than it
# saves.
IN_PLACE_CHANNELS = 7


class _Call(NamedTuple):
    """How a kernel is called: its number of tasks, its arguments after the arrays of the call, and
    floats of scratch memory (a thread) or of an intermediate array."""

    kernel: Callable
    tasks: int
    arguments: tuple
    floats: int


def convolve(x, weight, bias, positions, stride, padding, dilation, groups):
    """The convolution with its bias (or None); `positions` are the result's spatial sizes."""
    kernel = weight.shape[2:]
    if x.shape[1] == groups == len(weight) and planes.fits(kernel, stride, padding, dilation):
        return planes.convolve(x, weight, bias, positions, stride, padding, dilation)
    settings = positions, stride, padding, dilation, groups
    return _gather(x, weight, bias, len(weight), settings, False)


def convolve_input(grad, weight, bias, sizes, stride, padding, dilation, groups):
    """The adjoint in the input of spatial `sizes`, plus a bias (or None): the gradient of the
    input, and transposed convolution."""
    kernel, inner = weight.shape[2:], weight.shape[1]
    if grad.shape[1] == groups and inner == 1 and planes.fits(kernel, stride, padding, dilation):
        return planes.convolve_input(grad, weight, bias, sizes, stride, padding, dilation)
    settings = tuple(sizes), stride, padding, dilation, groups
    return _gather(grad, weight, bias, inner * groups, settings, True)


def _gather(source, weight, bias, outputs, settings, adjoint):
    source, weight = np.ascontiguousarray(source), np.ascontiguousarray(weight)
    bias = None if bias is None else np.ascontiguousarray(bias)
    pack, gather = _prepared_gather(source.shape, weight.shape, outputs, *settings, adjoint)
    packed = np.empty(pack.floats, np.float32)
    pack.kernel(pack.tasks, weight, bias, packed, *pack.arguments)
    out = np.empty((len(source), outputs, *settings[0]), np.float32)
    scratch = np.empty(gather.floats * pool.MAX_THREADS, np.float32)
    gather.kernel(gather.tasks, source, packed, out, scratch, *gather.arguments)
    return out


@lru_cache(512)
def _prepared_gather(
    shape, weight_shape, outputs, positions, stride, padding, dilation, groups, adjoint
) -> tuple[_Call, _Call]:
    images, channels, *sizes = shape
    kernel = weight_shape[2:]
    inner, group_outputs, taps = channels // groups, outputs // groups, math.prod(kernel)
    settings = _settings(sizes, positions, kernel, stride, padding, dilation, adjoint)
    tile = tile_shape(targets.host(), group_outputs)
    group_panels = -(-group_outputs // tile.width)
    panels = group_panels * groups
    in_place = inner <= IN_PLACE_CHANNELS
    tables = plan.gather(
        settings, images, channels, groups, panels, in_place, tile.rows, tile.width
    )
    if adjoint:  # weights lie by (source channel, output channel, tap), one block a source channel
        blocks = (taps, inner, group_outputs * taps, taps)
    else:
        blocks = (inner * taps, 1, 0, inner * taps)
    tap_rows = plan.rows_of_tap(inner)
    panel_floats = (taps * tap_rows + 1) * tile.width
    pack = _Call(
        _kernel("pack", pack_text, tile), panels,
        (_rank(inner, tap_rows, taps, adjoint), group_panels, group_outputs,
         group_outputs * inner * taps, panel_floats, *blocks),
        panels * panel_floats,
    )  # fmt: skip
    gather = _Call(
        _kernel("gather", gather_text, tile, in_place), len(tables.tasks),
        (tables.tasks, tables.sections, tables.tiles, tables.steps, channels, math.prod(sizes),
         outputs, math.prod(positions), group_outputs, group_panels, panel_floats,
         tables.pixel_floats, tables.source_floats, tables.result_floats),
        tables.source_floats + tables.result_floats,
    )  # fmt: skip
    return pack, gather


def _rank(inner, tap_rows, taps, adjoint):
    """The row of packed weights of every number of an output's weights, as they lie in memory."""
    taps_first = np.arange(taps * tap_rows, dtype=np.int32).reshape(taps, tap_rows)[:, :inner]
    if adjoint:
        taps_first = taps_first[::-1]
    return np.ascontiguousarray(taps_first.T).ravel()


def convolve_weight(grad, x, kernel, stride, padding, dilation, groups):
    """The gradient of the weight."""
    channels, outputs = x.shape[1], grad.shape[1]
    kernel = tuple(kernel)
    if channels == groups == outputs and planes.fits(kernel, stride, padding, dilation):
        return planes.convolve_weight(grad, x, kernel, stride, padding, dilation)
    grad, x = np.ascontiguousarray(grad), np.ascontiguousarray(x)
    by_entry, reduce, finish = _prepared_weight(
        grad.shape, x.shape, kernel, stride, padding, dilation, groups
    )
    lanes, scalars = (
        (grad, np.ascontiguousarray(pad_spatial(x, padding))) if by_entry else (x, grad)
    )
    partials = np.empty(finish.floats, np.float32)
    scratch = np.empty(reduce.floats * pool.MAX_THREADS, np.float32)
    reduce.kernel(reduce.tasks, lanes, scalars, partials, scratch, *reduce.arguments)
    weight = np.empty((outputs, channels // groups, *kernel), np.float32)
    finish.kernel(finish.tasks, partials, weight, *finish.arguments)
    return weight


@lru_cache(512)
def _prepared_weight(
    grad_shape, x_shape, kernel, stride, padding, dilation, groups
) -> tuple[bool, _Call, _Call]:
    """Whether lanes run over the gradient's channels, and the calls of `reduce` and `finish`."""
    images, outputs, *positions = grad_shape
    channels, *sizes = x_shape[1:]
    inner, group_outputs = channels // groups, outputs // groups
    tile, other = (tile_shape(targets.host(), n) for n in (inner, group_outputs))
    by_entry = inner < tile.width and _filled(inner, tile) < _filled(group_outputs, other)
    taps = math.prod(kernel)
    if by_entry:
        tile, none = other, ((0, 0),) * len(kernel)
        sizes = [size + sum(pair) for size, pair in zip(sizes, padding, strict=True)]
        x_shape = (images, channels, *sizes)
        settings = _settings(sizes, positions, kernel, stride, none, dilation)
        panels = -(-group_outputs // tile.width) * groups
        tables = by_entries(settings, images, channels, groups, panels, tile.rows, tile.width)
        entries = inner * taps
        turning = (1, 0, entries, tile.width, group_outputs * entries, entries, 0)
        calls = _prepared_reduction(tile, tables, grad_shape, x_shape, groups, turning)
    else:
        settings = _settings(sizes, positions, kernel, stride, padding, dilation)
        panels = -(-inner // tile.width) * groups
        tables = by_taps(settings, images, outputs, group_outputs, panels, tile.rows, tile.width)
        turning = (group_outputs, tile.width, taps, group_outputs * tile.width,
                   group_outputs * inner * taps, taps, inner * taps)  # fmt: skip
        calls = _prepared_reduction(tile, tables, x_shape, grad_shape, groups, turning)
    return by_entry, *calls


def _prepared_reduction(tile, tables, lanes_shape, scalars_shape, groups, turning):
    """The calls of `reduce` and `finish`; `turning` is how sums become weights."""
    images, lane_channels, *lane_sizes = lanes_shape
    _, scalar_channels, *scalar_sizes = scalars_shape
    lane_group, lane_plane = lane_channels // groups, math.prod(lane_sizes)
    group_panels = -(-lane_group // tile.width)
    panels = group_panels * groups
    panel_floats = tables.shifts * tables.rows * tile.width
    reduce = _Call(
        _kernel("reduce", reduce_text, tile), tables.chunks * -(-panels // tables.panels),
        (tables.blocks, tables.lists, tables.steps, tables.sections, tables.tiles, panels,
         tables.panels, group_panels, lane_channels, lane_group, lane_plane, scalar_channels,
         scalar_channels // groups, math.prod(scalar_sizes), images, tables.chunk, tables.together,
         tables.whole, tables.rest, tables.rows, len(tables.sections), tables.shifts),
        tables.panels * tables.together * lane_plane * tile.width,
    )  # fmt: skip
    finish = _Call(
        _kernel("finish", finish_text, tile), panels,
        (tables.chunks, panels, group_panels, lane_group, panel_floats, *turning),
        tables.chunks * panels * panel_floats,
    )  # fmt: skip
    return reduce, finish


def _kernel(name: str, write: Callable, tile: Tile, *options) -> Callable:
    target = targets.host()
    key = (f"convolution_{name}", tile, *options)
    return launch.kernel(key, lambda: write(target, tile, *options)).call


def _filled(channels: int, tile: Tile) -> float:
    """How much of its panels a number of channels fills."""
    return channels / (-(-channels // tile.width) * tile.width)


def _settings(sizes, positions, kernel, stride, padding, dilation, adjoint=False):
    before = tuple(pair[0] for pair in padding)
    return plan.Settings(
        tuple(sizes), tuple(positions), kernel, tuple(stride), before, tuple(dilation), adjoint
    )
