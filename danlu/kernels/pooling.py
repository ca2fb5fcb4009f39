"""Pooling over windows of the last dimensions, and the gradients.

Arrays are (lead, *sizes): batch and channels are one leading axis. Windows that all have one shape
are walked one kernel position ("tap") at a time, and every step works on all windows together.
Where a maximum was found is a flat position in its plane of `sizes`, PyTorch's convention for
indices. Of float32 arrays that are not tiny, machine code pools (`danlu.kernels.generated.pooling`).
"""

from __future__ import annotations

import math

import numpy as np

from danlu.kernels.convolution import crop_spatial, pad_spatial, tap_slices
from danlu.kernels.graph.library import node
from danlu.kernels.runtime import road

_FLOAT32 = np.dtype("float32")
# Elements from which machine code pays: it takes 5 us a call, NumPy 30.
_LEAST = 512
# Longer kernels and strides along the last dimension would grow the text of the code.
_LONGEST_KERNEL, _LONGEST_STRIDE = 32, 8


def _is_generated(x, size, kernel, stride):
    """Whether machine code pools `x`, where `size` is the larger one of input and output."""
    return (
        road.worth(size, _LEAST)
        and x.__class__ is np.ndarray
        and x.dtype == _FLOAT32
        and kernel[-1] <= _LONGEST_KERNEL
        and stride[-1] <= _LONGEST_STRIDE
        and x.size > 0
    )


def pooled_sizes(sizes, kernel, stride, padding, dilation, ceil_mode):
    """How many windows fit along each dimension.

    With `ceil_mode` a last window may hang over the end, if it starts inside the input or its left
    padding.

    >>> pooled_sizes((5,), (2,), (2,), (0,), (1,), True)
    (3,)
    """
    result = []
    for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation):
        room = size + 2 * p - d * (k - 1) - 1
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= size + p:
            count -= 1
        result.append(count)
    return tuple(result)


def _surroundings(sizes, positions, kernel, stride, padding, dilation):
    """The (before, after) padding with which `positions` windows fit exactly; negative: unused
    input."""
    return [
        (p, (count - 1) * s + d * (k - 1) + 1 - size - p)
        for size, count, k, s, p, d in zip(sizes, positions, kernel, stride, padding, dilation)
    ]


def _lowest(xp, dtype):
    if dtype.kind == "b":
        return False
    if dtype.kind in "iu":
        return xp.iinfo(dtype).min
    return -math.inf


def _pooled(x, positions, kernel, *options):
    """The result of pooling, which may be its argument where windows are single elements."""
    return None if math.prod(kernel) == 1 else ((x.shape[0], *positions), x.dtype)


@node(like=_pooled)
def max_pool(x, positions, kernel, stride, padding, dilation):
    """The largest element of each window; NaN where a window holds one."""
    if _is_generated(x, x.size, kernel, stride):
        from danlu.kernels.generated.pooling import maximum

        return maximum(x, positions, kernel, stride, padding, dilation)
    xp = x.__array_namespace__()
    around = _surroundings(x.shape[1:], positions, kernel, stride, padding, dilation)
    x = pad_spatial(x, around, axis=1, value=_lowest(xp, x.dtype))
    for axis, (count, k, s, d) in enumerate(zip(positions, kernel, stride, dilation), start=1):
        lead = (slice(None),) * axis
        taps = [
            x[lead + (slice(start, start + s * (count - 1) + 1, s),)]
            for start in range(0, d * k, d)
        ]
        x = taps[0]
        for tap in taps[1:]:
            x = xp.maximum(x, tap)
    return xp.ascontiguousarray(x)


def max_pool_indices(x, values, kernel, stride, padding, dilation):
    """Where `max_pool` found its `values`: flat positions in the planes of `x`, the first one in a
    tie.

    PyTorch takes the last NaN of a window that holds some.
    """
    xp = x.__array_namespace__()
    sizes, positions = x.shape[1:], values.shape[1:]
    around = _surroundings(sizes, positions, kernel, stride, padding, dilation)
    padded = pad_spatial(x, around, axis=1, value=_lowest(xp, x.dtype))
    taps = tap_slices(positions, kernel, stride, dilation, lead=1)
    outside = _outside(xp, sizes, positions, kernel, stride, padding, dilation)
    numbers = xp.zeros(values.shape, dtype="uint8" if len(taps) <= 256 else "int32")
    free = xp.ones(values.shape, dtype=bool)
    for number, tap in enumerate(taps):
        found = padded[tap] == values
        found &= free
        if outside is not None:  # a maximum of -inf also equals the padding
            found &= ~outside[number]
        free ^= found
        numbers += found * numbers.dtype.type(number)
    if free.any():  # NaN equals nothing
        for number, tap in enumerate(taps):
            tapped = padded[tap]
            numbers[free & (tapped != tapped)] = number
    return _flat_positions(xp, sizes, kernel, stride, padding, dilation, numbers)


@node(like=lambda grad, x, *options: (x.shape, grad.dtype), over=1)
def max_pool_input(grad, x, values, kernel, stride, padding, dilation, over=False):
    """The gradient of `max_pool` with respect to its input, where `values` is its result; in the
    memory of `x`, if that may be (`over`) and can be."""
    if grad.dtype == x.dtype and _is_generated(x, x.size, kernel, stride):
        from danlu.kernels.generated.pooling_backward import maximum_input

        return maximum_input(grad, x, kernel, stride, padding, dilation, over)
    xp = x.__array_namespace__()
    sizes, positions = x.shape[1:], values.shape[1:]
    overlap = any(s < d * (k - 1) + 1 for k, s, d in zip(kernel, stride, dilation))
    if not any(padding) and xp.isfinite(grad).all():
        around = _surroundings(sizes, positions, kernel, stride, padding, dilation)
        padded = pad_spatial(x, around, axis=1, value=_lowest(xp, x.dtype))
        result = xp.zeros(padded.shape, dtype=grad.dtype)
        free = xp.ones(values.shape, dtype=bool)
        for tap in tap_slices(positions, kernel, stride, dilation, lead=1):
            found = padded[tap] == values
            found &= free
            free ^= found
            if overlap:
                result[tap] += grad * found
            else:
                xp.multiply(grad, found, out=result[tap])
        if not free.any():
            return xp.ascontiguousarray(crop_spatial(result, around, axis=1))
    indices = max_pool_indices(x, values, kernel, stride, padding, dilation)
    return scatter_plane(grad, indices, sizes, add=overlap)


def _outside(xp, sizes, positions, kernel, stride, padding, dilation):
    """Which taps of which windows lie in the padding, as (taps, *positions); None: none does."""
    along = _tap_coordinates(xp, positions, kernel, stride, padding, dilation)
    beyond = [(c < 0) | (c >= size) for c, size in zip(along, sizes)]
    if not any(b.any() for b in beyond):
        return None
    total = xp.zeros((1,) * (2 * len(sizes)), dtype=bool)
    for axis, flags in enumerate(beyond):
        total = total | _along_axis(flags, axis, len(sizes))
    return total.reshape(math.prod(kernel), *positions)


def _tap_coordinates(xp, positions, kernel, stride, padding, dilation):
    """For each dimension, the input coordinate of (tap, window)."""
    return [
        xp.arange(k)[:, None] * d + xp.arange(count)[None, :] * s - p
        for count, k, s, p, d in zip(positions, kernel, stride, padding, dilation)
    ]


def _along_axis(table, axis, rank):
    """A (taps, windows) table of dimension `axis` as (1.., taps, ..1, 1.., windows, ..1)."""
    shape = [1] * (2 * rank)
    shape[axis], shape[rank + axis] = table.shape
    return table.reshape(shape)


def _flat_positions(xp, sizes, kernel, stride, padding, dilation, numbers):
    """Tap numbers of each window as flat positions in the input plane."""
    rank = len(sizes)
    taps, origins = xp.zeros((1,) * rank, dtype="int64"), 0
    for axis, (k, s, p, d) in enumerate(zip(kernel, stride, padding, dilation)):
        step = math.prod(sizes[axis + 1 :])
        along = [1] * rank
        along[axis] = -1
        taps = taps + (xp.arange(k) * d * step).reshape(along)
        origins = origins + ((xp.arange(numbers.shape[axis + 1]) * s - p) * step).reshape(along)
    return xp.take(taps.reshape(-1), numbers) + origins


def table_max_pool(x, tables):
    """The largest element, and its flat position, of windows that are given as tables.

    tables: for each dimension an integer array (windows, taps) of input coordinates; a shorter
        window
    repeats its first coordinate.
    """
    xp = x.__array_namespace__()
    sizes = x.shape[1:]
    rank = len(sizes)
    flat = 0
    for axis, table in enumerate(tables):
        step = math.prod(sizes[axis + 1 :])
        flat = flat + _along_axis(table * step, axis, rank)
    positions = flat.shape[:rank]
    flat = flat.reshape(math.prod(positions), -1)
    gathered = x.reshape(len(x), -1)[:, flat]  # (lead, P, taps)
    numbers = gathered.argmax(axis=-1)
    values = xp.take_along_axis(gathered, numbers[..., None], axis=-1)[..., 0]
    indices = xp.take_along_axis(flat[None], numbers[..., None], axis=-1)[..., 0]
    return values.reshape(len(x), *positions), indices.reshape(len(x), *positions)


def adaptive_table(xp, size, count):
    """The windows of adaptive pooling as a table of (windows, taps), and their lengths.

    Window i of `count` reads from floor(i*size/count) to ceil((i+1)*size/count); a shorter one
    repeats
    its first coordinate.
    """
    if count == 0:
        return xp.zeros((0, 1), dtype="int64"), xp.zeros(0, dtype="int64")
    numbers = xp.arange(count)
    starts = numbers * size // count
    lengths = -((-(numbers + 1) * size) // count) - starts
    taps = xp.arange(int(lengths.max()))
    return xp.where(taps < lengths[:, None], starts[:, None] + taps, starts[:, None]), lengths


def gather_plane(x, indices):
    """``x[lead, indices[lead, p]]`` over flattened planes."""
    xp = x.__array_namespace__()
    planes = x.reshape(len(x), math.prod(x.shape[1:]))
    flat = xp.take_along_axis(planes, indices.reshape(len(x), math.prod(indices.shape[1:])), axis=1)
    return flat.reshape(indices.shape)


def scatter_plane(values, indices, sizes, add=True):
    """Values added (or, for unpooling, written) to planes of zeros at their flat `indices`."""
    xp = values.__array_namespace__()
    plane = math.prod(sizes)
    offsets = xp.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1)) * plane
    places = (indices + offsets).reshape(-1)
    total = len(values) * plane
    if not add:
        result = xp.zeros(total, dtype=values.dtype)
        result[places] = values.reshape(-1)
    elif values.dtype.kind == "f" and values.dtype.itemsize >= 4:
        result = xp.bincount(places, values.reshape(-1), minlength=total)
    else:
        result = xp.zeros(total, dtype=values.dtype)
        xp.add.at(result, places, values.reshape(-1))
    return result.astype(values.dtype, copy=False).reshape(len(values), *sizes)


@node(like=_pooled)
def window_sums(x, positions, kernel, stride, padding):
    """The sum of each window, with zeros around the input."""
    xp = x.__array_namespace__()
    around = _surroundings(x.shape[1:], positions, kernel, stride, padding, (1,) * len(kernel))
    x = pad_spatial(x, around, axis=1)
    for axis, (count, k, s) in enumerate(zip(positions, kernel, stride), start=1):
        lead = (slice(None),) * axis
        taps = [x[lead + (slice(start, start + s * (count - 1) + 1, s),)] for start in range(k)]
        x = taps[0] if k == 1 else taps[0] + taps[1]
        for tap in taps[2:]:
            x += tap
    return xp.ascontiguousarray(x)


def _averaged(x, positions, kernel, stride, padding, divisor):
    is_number = isinstance(divisor, (int, float)) and x.dtype.kind == "f"
    return ((x.shape[0], *positions), x.dtype) if is_number else None


@node(like=_averaged)
def window_means(x, positions, kernel, stride, padding, divisor):
    """The sum of each window by `divisor`, a number or an array of `positions`."""
    if _is_generated(x, x.size, kernel, stride):
        from danlu.kernels.generated.pooling import average

        return average(x, positions, kernel, stride, padding, divisor)
    return window_sums(x, positions, kernel, stride, padding) / divisor


def _spread(values, sizes, kernel, stride, padding, divisor=1):
    is_number = isinstance(divisor, (int, float)) and values.dtype.kind == "f"
    return ((values.shape[0], *sizes), values.dtype) if is_number else None


@node(like=_spread)
def spread_means(values, sizes, kernel, stride, padding, divisor):
    """The adjoint of `window_means`: each value by its divisor, added to all of its window."""
    if _is_generated(values, len(values) * math.prod(sizes), kernel, stride):
        from danlu.kernels.generated.pooling_backward import average_input

        return average_input(values, sizes, kernel, stride, padding, divisor)
    return spread_windows(values / divisor, sizes, kernel, stride, padding)


@node(like=_spread)
def spread_windows(values, sizes, kernel, stride, padding):
    """The adjoint of `window_sums`: each value is added to every element of its window."""
    xp = values.__array_namespace__()
    positions = values.shape[1:]
    around = _surroundings(sizes, positions, kernel, stride, padding, (1,) * len(kernel))
    for axis, (count, k, s) in enumerate(zip(positions, kernel, stride), start=1):
        length = (count - 1) * s + k
        spread = xp.zeros(
            (*values.shape[:axis], length, *values.shape[axis + 1 :]), dtype=values.dtype
        )
        lead = (slice(None),) * axis
        for start in range(k):
            spread[lead + (slice(start, start + s * (count - 1) + 1, s),)] += values
        values = spread
    return xp.ascontiguousarray(crop_spatial(values, around, axis=1))


def window_counts(xp, sizes, positions, kernel, stride, padding, count_include_pad):
    """How many elements PyTorch divides each window's sum by, as floats of shape `positions`."""
    total = xp.ones((1,) * len(sizes))
    for axis, (size, count, k, s, p) in enumerate(zip(sizes, positions, kernel, stride, padding)):
        starts = xp.arange(count) * s - p
        ends = xp.minimum(starts + k, size + p)
        if not count_include_pad:
            starts, ends = xp.maximum(starts, 0), xp.minimum(ends, size)
        shape = [1] * len(sizes)
        shape[axis] = count
        total = total * (ends - starts).reshape(shape)
    return total


def fractional_starts(samples, size, count, kernel):
    """Where the windows of fractional pooling begin, for one sample in [0, 1) a plane (Graham 2014,
    section 3).

    samples: (lead,); the result: (lead, count), the last window flush with the end.
    """
    xp = samples.__array_namespace__()
    starts = xp.full((len(samples), count), size - kernel, dtype="int64")
    if count > 1:
        alpha = samples.dtype.type(size - kernel) / samples.dtype.type(count - 1)
        steps = xp.arange(count - 1, dtype=samples.dtype)[None, :] + samples[:, None]
        first = (samples[:, None] * alpha).astype("int64")
        starts[:, :-1] = (steps * alpha).astype("int64") - first
    return starts


def started_max_pool(x, kernel, starts):
    """The largest element, and its flat position, of windows that begin at `starts`, (lead,
    windows) a dimension."""
    xp = x.__array_namespace__()
    sizes = x.shape[1:]
    rank = len(sizes)
    flat = xp.zeros((1,) * (1 + 2 * rank), dtype="int64")
    for axis, (k, start) in enumerate(zip(kernel, starts)):
        shape = [len(x)] + [1] * (2 * rank)
        shape[1 + axis], shape[1 + rank + axis] = start.shape[1], k
        coordinates = start[:, :, None] + xp.arange(k)
        flat = flat + (coordinates * math.prod(sizes[axis + 1 :])).reshape(shape)
    positions = flat.shape[1 : 1 + rank]
    flat = flat.reshape(len(x), math.prod(positions), -1)
    gathered = xp.take_along_axis(x.reshape(len(x), 1, -1), flat, axis=2)
    numbers = gathered.argmax(axis=2)[..., None]
    values = xp.take_along_axis(gathered, numbers, axis=2)
    indices = xp.take_along_axis(flat, numbers, axis=2)
    return values.reshape(len(x), *positions), indices.reshape(len(x), *positions)
