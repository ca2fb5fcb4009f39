"""Convolution in any number of spatial dimensions, its two gradients, and the patches beneath them.

Arrays of float32 take generated machine code where that was measured to pay
(`danlu.kernels.generated.convolution`). Otherwise every function is one matrix product a chunk of
samples, between the weights and the input's patches (im2col). A chunk's patches stay in the cache.
They are laid out in whichever of two ways copies the longer runs:

- channels first, ``(n, C*K, P)``: runs of one output row; best for few channels or wide images;
- channels last, ``(n*P, K*C)``: runs of one kernel row times all channels; best for many channels
  on small images, where it is 1.5 to 4 times faster.

Legend: N samples, C channels in, O channels out, G groups, K kernel positions ("taps"), P output
positions.
Padding is one ``(before, after)`` pair a dimension; all other settings are one int a dimension.
"""

from __future__ import annotations

import math

import numpy as np

from danlu.kernels.graph.library import node
from danlu.kernels.runtime import road

LEAST_WORK = 10_000
"""Multiplications from which on code is generated. It is two to three times as fast as NumPy at any
size, but loading it for the first time takes as long as thousands of convolutions so small."""
_LANES = 64  # at least as many as a register tile is wide
_READS = 1 << 22  # positions times taps along a dimension, for which generated code makes tables
CHUNK_BYTES = 1 << 21
GATHER_BELOW = 2.5
"""With stride 1 the input's gradient is a convolution of the mirrored weights. Up to this ratio of
patch
sizes it beats adding products into overlapping windows, the other way to compute it."""


def output_sizes(sizes, kernel, stride, padding, dilation):
    """How many positions a window has along each dimension.

    >>> output_sizes((28, 28), (3, 3), (1, 1), ((0, 0), (1, 1)), (1, 1))
    (26, 28)
    """
    return tuple(
        (size + before + after - d * (k - 1) - 1) // s + 1
        for size, k, s, (before, after), d in zip(sizes, kernel, stride, padding, dilation)
    )


def windows(x, kernel, stride, dilation, axis=2):
    """A read-only view of every window of `x` over the dimensions that start at `axis`.

    Those dimensions become one axis a kernel position and one an output position: with the spatial
    dimensions last, ``(N, C, H, W)`` gives ``(N, C, kh, kw, out_h, out_w)``.
    """
    xp = x.__array_namespace__()
    rank = len(kernel)
    sizes = x.shape[axis : axis + rank]
    steps = x.strides[axis : axis + rank]
    shape = tuple(kernel) + output_sizes(sizes, kernel, stride, ((0, 0),) * rank, dilation)
    strides = [step * d for step, d in zip(steps, dilation)]
    strides += [step * s for step, s in zip(steps, stride)]
    return xp.lib.stride_tricks.as_strided(
        x,
        x.shape[:axis] + shape + x.shape[axis + rank :],
        x.strides[:axis] + tuple(strides) + x.strides[axis + rank :],
        writeable=False,
    )


def tap_slices(positions, kernel, stride, dilation, lead):
    """For each kernel position, in order, the index of what it reads of the padded input.

    The spatial dimensions come after `lead` others.
    """
    taps: list[tuple] = [(slice(None),) * lead]
    for k, s, d, p in zip(kernel, stride, dilation, positions):
        starts = range(0, d * k, d)
        taps = [
            tap + (slice(start, start + s * (p - 1) + 1, s),) for tap in taps for start in starts
        ]
    return taps


def pad_spatial(x, padding, axis=2, value=0):
    """`x` with `value` around the dimensions that start at `axis`; negative padding cuts.

    The result is `x` itself, or a view of it, if there is nothing to add.
    """
    if any(before < 0 or after < 0 for before, after in padding):
        kept = [
            slice(max(-before, 0), x.shape[axis + i] - max(-after, 0))
            for i, (before, after) in enumerate(padding)
        ]
        x = x[(slice(None),) * axis + tuple(kept)]
        padding = [(max(before, 0), max(after, 0)) for before, after in padding]
    if not any(before or after for before, after in padding):
        return x
    pairs = ((0, 0),) * axis + tuple(padding) + ((0, 0),) * (x.ndim - axis - len(padding))
    shape = [size + before + after for size, (before, after) in zip(x.shape, pairs)]
    xp = x.__array_namespace__()
    padded = xp.zeros(shape, dtype=x.dtype) if value == 0 else xp.full(shape, value, dtype=x.dtype)
    padded[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, pairs))] = x
    return padded


def crop_spatial(x, padding, axis=2):
    """The inverse of `pad_spatial`: without the padding, and with zeros where that had cut."""
    return pad_spatial(x, [(-before, -after) for before, after in padding], axis)


def _convolved(x, weight, stride, padding, dilation, groups, bias=None):
    positions = output_sizes(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return (x.shape[0], weight.shape[0], *positions), x.dtype


@node(like=_convolved)
def convolve(x, weight, stride, padding, dilation, groups, bias=None):
    """Cross-correlation: ``out[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] * x[n, c,
    p*stride + k*dilation]``.

    x: (N, C, *sizes); weight: (O, C/groups, *kernel); bias: (O,) or None; the result: (N, O,
    *positions).
    """
    positions = output_sizes(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    native = _native(x.shape, weight.shape, positions, (x, weight, bias))
    if native:
        return native.convolve(x, weight, bias, positions, stride, padding, dilation, groups)
    return _add_bias(_convolve(x, weight, positions, stride, padding, dilation, groups), bias)


def _like_weight(grad, x, kernel, stride, padding, dilation, groups):
    return (grad.shape[1], x.shape[1] // groups, *kernel), x.dtype


@node(like=_like_weight)
def convolve_weight(grad, x, kernel, stride, padding, dilation, groups):
    """The gradient of `convolve` with respect to its weight, for the gradient `grad` of its
    result."""
    shape = (grad.shape[1], x.shape[1] // groups, *kernel)
    native = _native(x.shape, shape, grad.shape[2:], (x, grad))
    if native:
        return native.convolve_weight(grad, x, kernel, stride, padding, dilation, groups)
    return _convolve_weight(grad, x, shape, stride, padding, dilation, groups)


def _like_input(grad, weight, sizes, stride, padding, dilation, groups, bias=None):
    return (grad.shape[0], weight.shape[1] * groups, *sizes), grad.dtype


@node(like=_like_input)
def convolve_input(grad, weight, sizes, stride, padding, dilation, groups, bias=None):
    """The gradient of `convolve` with respect to its input of spatial `sizes`, plus a bias; the
    transposed convolution.

    grad: (N, O, *positions); weight: (O, C/groups, *kernel); bias: (C,) or None; the result: (N, C,
    *sizes).
    """
    shape = (grad.shape[0], weight.shape[1] * groups, *sizes)
    native = _native(shape, weight.shape, grad.shape[2:], (grad, weight, bias))
    if native:
        return native.convolve_input(grad, weight, bias, sizes, stride, padding, dilation, groups)
    return _add_bias(_convolve_input(grad, weight, sizes, stride, padding, dilation, groups), bias)


def unfold(x, kernel, stride, padding, dilation):
    """Every window of `x` as a column: (N, C, *sizes) to (N, C*K, P)."""
    view = windows(pad_spatial(x, padding), kernel, stride, dilation)
    positions = math.prod(view.shape[2 + len(kernel) :])
    return view.reshape(x.shape[0], x.shape[1] * math.prod(kernel), positions)


def fold(columns, sizes, kernel, stride, padding, dilation):
    """The adjoint of `unfold`: columns are added into their windows' places."""
    xp = columns.__array_namespace__()
    positions = output_sizes(sizes, kernel, stride, padding, dilation)
    samples, channels = columns.shape[0], columns.shape[1] // math.prod(kernel)
    padded = [size + before + after for size, (before, after) in zip(sizes, padding)]
    result = xp.zeros((samples, channels, *padded), dtype=columns.dtype)
    spread = columns.reshape(samples, channels, math.prod(kernel), *positions)
    for number, tap in enumerate(tap_slices(positions, kernel, stride, dilation, lead=2)):
        result[tap] += spread[:, :, number]
    return xp.ascontiguousarray(crop_spatial(result, padding))


def _native(shape, weight_shape, positions, arrays):
    """The generated kernels where they pay, for input and weight of these shapes; else None."""
    area = math.prod(positions)
    work = shape[0] * math.prod(weight_shape) * area
    if not work or not road.worth(work, LEAST_WORK):
        return None
    if any(a is not None and (type(a) is not np.ndarray or a.dtype != np.float32) for a in arrays):
        return None
    channels = max(shape[1], weight_shape[0], _LANES)
    if channels * max(math.prod(shape[2:]), area) >= 1 << 31:  # the kernels' offsets are 32 bits
        return None
    if max(map(math.prod, zip(shape[2:], weight_shape[2:]))) > _READS:
        return None
    from danlu.kernels.generated import convolution

    return convolution


def _add_bias(out, bias):
    if bias is not None:
        out += bias.reshape(-1, *(1,) * (out.ndim - 2))
    return out


def _convolve(x, weight, positions, stride, padding, dilation, groups):
    xp = x.__array_namespace__()
    dtype = x.dtype
    x, weight = _wide(x), _wide(weight)
    kernel = weight.shape[2:]
    samples, out_channels = x.shape[0], weight.shape[0]
    out = xp.empty((samples, out_channels, math.prod(positions)), dtype=x.dtype)
    if out.size == 0 or weight.size == 0:
        out[...] = 0
    elif _channels_last(x, weight, positions, groups):
        matrix = _taps_by_channels(weight)
        for chunk, patches in _patches_last(x, kernel, stride, padding, dilation):
            out[chunk] = (matrix @ patches.T).reshape(out_channels, -1, out.shape[2]).swapaxes(0, 1)
    else:
        matrix = weight.reshape(groups, out_channels // groups, -1)
        grouped = out.reshape(samples, groups, out_channels // groups, -1)
        for chunk, patches in _patches_first(x, kernel, stride, padding, dilation, groups):
            xp.matmul(matrix, patches, out=grouped[chunk])
    return out.reshape(samples, out_channels, *positions).astype(dtype, copy=False)


def _convolve_weight(grad, x, shape, stride, padding, dilation, groups):
    xp = x.__array_namespace__()
    dtype = x.dtype
    grad, x = _wide(grad), _wide(x)
    samples, out_channels = grad.shape[:2]
    kernel = shape[2:]
    total = xp.zeros((groups, out_channels // groups, math.prod(shape[1:])), dtype=x.dtype)
    if grad.size == 0 or total.size == 0:
        return total.reshape(shape).astype(dtype, copy=False)
    if _channels_last(x, total.reshape(shape), grad.shape[2:], groups):
        for chunk, patches in _patches_last(x, kernel, stride, padding, dilation):
            total[0] += _channels_by_positions(grad[chunk]) @ patches
        by_taps = total.reshape(out_channels, *kernel, x.shape[1])
        return xp.ascontiguousarray(xp.moveaxis(by_taps, -1, 1)).astype(dtype, copy=False)
    grouped = grad.reshape(samples, groups, out_channels // groups, -1)
    for chunk, patches in _patches_first(x, kernel, stride, padding, dilation, groups):
        total += xp.matmul(grouped[chunk], patches.swapaxes(-1, -2)).sum(axis=0)
    return total.reshape(shape).astype(dtype, copy=False)


def _convolve_input(grad, weight, sizes, stride, padding, dilation, groups):
    xp = grad.__array_namespace__()
    kernel = weight.shape[2:]
    samples, out_channels, *positions = grad.shape
    channels = weight.shape[1] * groups
    around = [
        (d * (k - 1) - before, d * (k - 1) - after)
        for k, d, (before, after) in zip(kernel, dilation, padding)
    ]
    if (
        all(s == 1 for s in stride)
        and all(before >= 0 and after >= 0 for before, after in around)
        and math.prod(sizes) * out_channels <= GATHER_BELOW * math.prod(positions) * channels
    ):
        return _convolve(grad, _mirrored(weight, groups), sizes, stride, around, dilation, groups)
    dtype = grad.dtype
    grad, weight = _wide(grad), _wide(weight)
    padded = [size + before + after for size, (before, after) in zip(sizes, padding)]
    if grad.size == 0 or weight.size == 0:
        return xp.zeros((samples, channels, *sizes), dtype=dtype)
    last = _channels_last(xp.empty((0, channels), dtype=grad.dtype), weight, positions, groups)
    if last:
        result = xp.zeros((samples, *padded, channels), dtype=grad.dtype)
        matrix = _taps_by_channels(weight)
        taps = tap_slices(positions, kernel, stride, dilation, lead=1)
    else:
        result = xp.zeros((samples, channels, *padded), dtype=grad.dtype)
        matrix = weight.reshape(groups, out_channels // groups, -1).swapaxes(1, 2)
        grouped = grad.reshape(samples, groups, out_channels // groups, -1)
        taps = tap_slices(positions, kernel, stride, dilation, lead=2)
        product = (
            xp.multiply if groups == out_channels else xp.matmul
        )  # equal there, and 5 times faster
    for chunk in _chunks(samples, channels * len(taps) * math.prod(positions) * grad.itemsize):
        part = result[chunk]
        if last:
            spread = _channels_by_positions(grad[chunk]).T @ matrix
            spread = spread.reshape(-1, *positions, len(taps), channels)
            for number, tap in enumerate(taps):
                part[tap] += spread[..., number, :]
        else:
            spread = product(matrix, grouped[chunk])
            spread = spread.reshape(-1, channels, len(taps), *positions)
            for number, tap in enumerate(taps):
                part[tap] += spread[:, :, number]
    if last:
        result = xp.moveaxis(result, -1, 1)
    return xp.ascontiguousarray(crop_spatial(result, padding)).astype(dtype, copy=False)


def _wide(x):
    """16-bit floats as float32: products of halves lose the sum's low bits, and BLAS has none."""
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        return x.astype("float32")
    return x


def _channels_last(x, weight, positions, groups):
    """Whether a kernel row of all channels is a longer run than (half) a row of outputs."""
    return groups == 1 and x.shape[1] * weight.shape[-1] > 2 * positions[-1]


def _chunks(samples, bytes_each):
    """Slices of the samples whose patches fit in the cache together."""
    step = max(1, CHUNK_BYTES // max(1, bytes_each))
    return [slice(start, min(start + step, samples)) for start in range(0, samples, step)]


def _channels_by_positions(x):
    """(n, C, *positions) to (C, n*P)."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def _mirrored(weight, groups):
    """The weights of the adjoint: kernels point-reflected, input and output channels exchanged."""
    out_channels, inner, *kernel = weight.shape
    weight = weight.reshape(groups, out_channels // groups, inner, *kernel).swapaxes(1, 2)
    weight = weight.reshape(groups * inner, out_channels // groups, *kernel)
    return weight[(slice(None),) * 2 + (slice(None, None, -1),) * len(kernel)]


def _taps_by_channels(weight):
    """(O, C, *kernel) to (O, K*C)."""
    taps = weight.reshape(*weight.shape[:2], -1).swapaxes(1, 2)
    return taps.reshape(weight.shape[0], -1)


def _patches_first(x, kernel, stride, padding, dilation, groups):
    """Chunks of samples and their patches, (n, G, C/G*K, P); the memory is used again for the next
    chunk."""
    xp = x.__array_namespace__()
    view = windows(pad_spatial(x, padding), kernel, stride, dilation)
    taps, positions = math.prod(kernel), math.prod(view.shape[2 + len(kernel) :])
    shape = (groups, x.shape[1] // groups * taps, positions)
    if taps == 1 and all(s == 1 for s in stride):
        yield slice(None), view.reshape(x.shape[0], *shape)
        return
    chunks = _chunks(x.shape[0], math.prod(shape) * x.itemsize)
    buffer = xp.empty((chunks[0].stop, *view.shape[1:]), dtype=x.dtype)
    for chunk in chunks:
        used = buffer[: chunk.stop - chunk.start]
        used[...] = view[chunk]
        yield chunk, used.reshape(-1, *shape)


def _patches_last(x, kernel, stride, padding, dilation):
    """Chunks of samples and their patches, (n*P, K*C); the memory is used again for the next
    chunk."""
    xp = x.__array_namespace__()
    rank = len(kernel)
    channels_last = pad_spatial(xp.moveaxis(x, 1, -1), padding, axis=1)
    channels_last = xp.ascontiguousarray(channels_last)
    view = windows(channels_last, kernel, stride, dilation, axis=1)
    order = (0, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1), 2 * rank + 1)
    view = view.transpose(order)  # (N, *positions, *kernel, C)
    columns = math.prod(kernel) * x.shape[1]
    chunks = _chunks(x.shape[0], math.prod(view.shape[1:]) * x.itemsize)
    buffer = xp.empty((chunks[0].stop, *view.shape[1:]), dtype=x.dtype)
    for chunk in chunks:
        used = buffer[: chunk.stop - chunk.start]
        used[...] = view[chunk]
        yield chunk, used.reshape(-1, columns)
