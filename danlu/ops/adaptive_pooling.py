"""Pooling to a given output size: adaptive and fractional.

Adaptive window i of n covers floor(i*size/n) to ceil((i+1)*size/n) of each dimension (He et al.
2014)."""

from __future__ import annotations

import math

from danlu.backend import random
from danlu.kernels import pooling as kernels
from danlu.kernels import resampling
from danlu.ops.average_pooling import spread_average, window_average
from danlu.ops.pooling import planes, refuse_kinds, scatter_places
from danlu.ops.registry import Array, ns, operator
from danlu.ops.resampling import resample

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]


# ------------------------------------------------------------------------------ operators
def _table_max_pool(input, tables):
    rank = len(tables)
    positions = [len(table) for table in tables]
    if input.size == 0 or 0 in positions:
        shape = (*input.shape[:-rank], *positions)
        return ns(input).empty(shape, dtype=input.dtype), ns(input).empty(shape, dtype="int64")
    values, places = kernels.table_max_pool(planes(input, rank), tables)
    shape = (*input.shape[:-rank], *positions)
    return values.reshape(shape), places.reshape(shape)


def _table_rule(g, out, input_shape, tables):
    return scatter_places.on(g[0], out[1], tuple(input_shape[-len(tables) :]))


@operator(method=False, name="AdaptiveMaxPool1D")
def adaptive_max_pool1d_places(input: Array, tables):
    """The largest element of each listed window and its flat position."""
    return _table_max_pool(input, tables)


@operator(method=False, name="AdaptiveMaxPool2D")
def adaptive_max_pool2d_places(input: Array, tables):
    """The largest element of each listed window and its flat position."""
    return _table_max_pool(input, tables)


@operator(method=False, name="AdaptiveMaxPool3D")
def adaptive_max_pool3d_places(input: Array, tables):
    """The largest element of each listed window and its flat position."""
    return _table_max_pool(input, tables)


_ADAPTIVE = {
    1: adaptive_max_pool1d_places,
    2: adaptive_max_pool2d_places,
    3: adaptive_max_pool3d_places,
}
for _each in _ADAPTIVE.values():
    _each.vjp(_table_rule)


@operator(method=False, name="FractionalMaxPool")
def fractional_max_pool_places(input: Array, kernel, starts):
    """The largest element of windows that begin at `starts`, (lead, windows) a dimension."""
    rank = len(kernel)
    shape = (*input.shape[:-rank], *(each.shape[1] for each in starts))
    if input.size == 0:
        return ns(input).empty(shape, dtype=input.dtype), ns(input).empty(shape, dtype="int64")
    values, places = kernels.started_max_pool(planes(input, rank), kernel, starts)
    return values.reshape(shape), places.reshape(shape)


@fractional_max_pool_places.vjp
def _(g, out, input_shape, kernel):
    return scatter_places.on(g[0], out[1], tuple(input_shape[-len(kernel) :]))


@operator(method=False, name="AdaptiveAvgPool1D")
def adaptive_avg_pool1d_even(input: Array, output_size):
    """The means of windows that share the input evenly."""
    return _even_average(input, output_size)


@operator(method=False, name="AdaptiveAvgPool2D")
def adaptive_avg_pool2d_even(input: Array, output_size):
    """The means of windows that share the input evenly."""
    return _even_average(input, output_size)


@operator(method=False, name="AdaptiveAvgPool3D")
def adaptive_avg_pool3d_even(input: Array, output_size):
    """The means of windows that share the input evenly."""
    return _even_average(input, output_size)


def _even_windows(sizes, output_size):
    """Kernel, stride, padding and divisor of windows side by side that cover `sizes`."""
    kernel = tuple(size // count for size, count in zip(sizes, output_size, strict=True))
    return kernel, kernel, (0,) * len(kernel), math.prod(kernel)


def _even_average(input, output_size):
    windows = _even_windows(input.shape[-len(output_size) :], output_size)
    return window_average(input, output_size, *windows)


def _even_rule(g, input_shape, output_size):
    sizes = tuple(input_shape[-len(output_size) :])
    return spread_average.on(g, sizes, *_even_windows(sizes, output_size))


_EVEN = {1: adaptive_avg_pool1d_even, 2: adaptive_avg_pool2d_even, 3: adaptive_avg_pool3d_even}
for _each in _EVEN.values():
    _each.vjp(_even_rule)


# ------------------------------------------------------------------------------ what fits
def _output_sizes(name, rank, input, output_size):
    """The wanted sizes; None keeps the input's."""
    shape = tuple(input.shape)
    if isinstance(output_size, (tuple, list)):
        if len(output_size) != rank and len(shape) <= len(output_size):
            raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
        wanted = tuple(output_size) if len(output_size) != 1 else tuple(output_size) * rank
    else:
        wanted = (output_size,) * rank
    if len(wanted) != rank:
        raise RuntimeError(f"{name}: output_size must be {rank} numbers, but got {output_size}")
    if len(shape) not in (rank + 1, rank + 2):
        if len(shape) <= rank and isinstance(output_size, (tuple, list)):
            raise ValueError(f"Input dimension should be at least {rank + 1}")
        raise RuntimeError(
            f"{name}(): Expected {rank + 1}D or {rank + 2}D tensor, but got {list(shape)}"
        )
    sizes = shape[-rank:]
    wanted = tuple(size if each is None else int(each) for size, each in zip(sizes, wanted))
    if min(wanted) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, wanted))}}}"
        )
    if 0 in shape[len(shape) - rank - 1 :]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input "
            "has "
            f"sizes {list(shape)}"
        )
    return wanted


# ------------------------------------------------------------------------------ average
def _adaptive_average(rank, input, output_size):
    name = f"adaptive_avg_pool{rank}d"
    wanted = _output_sizes(name, rank, input, output_size)
    refuse_kinds(input._array, "iubc", name)
    if all(each == 1 for each in wanted):
        return input.mean(dim=tuple(range(-rank, 0)), keepdim=True)
    sizes = tuple(input.shape[-rank:])
    if input.numel() and all(
        each and size % each == 0 for size, each in zip(sizes, wanted, strict=True)
    ):
        return _EVEN[rank](input, wanted)
    tables = tuple(resampling.averages(size, each) for size, each in zip(sizes, wanted))
    return resample(f"AdaptiveAvgPool{rank}D", input, tables)


def adaptive_avg_pool1d(input, output_size):
    """Means of as many windows as wanted along one dimension; see `adaptive_avg_pool2d`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.adaptive_avg_pool1d(torch.tensor([[1.0, 3.0, 5.0]]), 2)
        tensor([[2., 4.]])
    """
    return _adaptive_average(1, input, output_size)


def adaptive_avg_pool2d(input, output_size):
    """Means of as many windows as wanted, whatever the image's size (He et al. 2014).

    Args:
        input: images, with or without a batch axis.
        output_size: one int, or one per dimension; None keeps that dimension's size.

    Shape:
        (N, C, H, W) -> (N, C, *output_size)

    Raises:
        RuntimeError: not images, or a negative size.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.adaptive_avg_pool2d(torch.arange(6.0).reshape(1, 2, 3), (1, 2))
        tensor([[[2., 3.]]])
    """
    return _adaptive_average(2, input, output_size)


def adaptive_avg_pool3d(input, output_size):
    """Means of as many windows as wanted over three dimensions; see `adaptive_avg_pool2d`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.adaptive_avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
        tensor([[[[3.5000]]]])
    """
    return _adaptive_average(3, input, output_size)


# ------------------------------------------------------------------------------ maximum
def _adaptive_maximum(rank, input, output_size, return_indices):
    name = f"adaptive_max_pool{rank}d"
    wanted = _output_sizes(name, rank, input, output_size)
    refuse_kinds(input._array, "iubc", name)
    xp = ns(input._array)
    tables = [
        kernels.adaptive_table(xp, size, each)[0] for size, each in zip(input.shape[-rank:], wanted)
    ]
    values, places = _ADAPTIVE[rank](input, tables)
    return (values, places) if return_indices else values


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """Maxima of as many windows as wanted along one dimension; see `adaptive_max_pool2d`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.adaptive_max_pool1d(torch.tensor([[1.0, 5.0, 3.0]]), 1)
        tensor([[5.]])
    """
    return _adaptive_maximum(1, input, output_size, return_indices)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """Maxima of as many windows as wanted, whatever the image's size.

    Args:
        input: images, with or without a batch axis.
        output_size: one int, or one per dimension; None keeps that dimension's size.
        return_indices: whether to return where each maximum is, too, counted in its plane.

    Shape:
        (N, C, H, W) -> (N, C, *output_size)

    Raises:
        RuntimeError: not images, or a negative size.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.adaptive_max_pool2d(torch.arange(6.0).reshape(1, 2, 3), (1, 2))
        tensor([[[4., 5.]]])
    """
    return _adaptive_maximum(2, input, output_size, return_indices)


def adaptive_max_pool3d(input, output_size, return_indices=False):
    """Maxima of as many windows as wanted over three dimensions; see `adaptive_max_pool2d`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.adaptive_max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
        tensor([[[[7.]]]])
    """
    return _adaptive_maximum(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(input, output_size, return_indices=True):
    """`adaptive_max_pool1d` and the places of the maxima."""
    return _adaptive_maximum(1, input, output_size, True)


def adaptive_max_pool2d_with_indices(input, output_size, return_indices=True):
    """`adaptive_max_pool2d` and the places of the maxima."""
    return _adaptive_maximum(2, input, output_size, True)


def adaptive_max_pool3d_with_indices(input, output_size, return_indices=True):
    """`adaptive_max_pool3d` and the places of the maxima."""
    return _adaptive_maximum(3, input, output_size, True)


# ------------------------------------------------------------------------------ fractional
def _fractional_maximum(
    rank, input, kernel_size, output_size, output_ratio, return_indices, samples
):  # fmt: skip
    name = f"fractional_max_pool{rank}d"
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, but got: {list(input.shape)}"
        )
    sizes = tuple(input.shape[-rank:])
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * rank
        output_size = [int(size * ratio) for size, ratio in zip(sizes, ratios)]
    wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    kernel = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * rank
    for size, k, each in zip(sizes, kernel, wanted):
        if each + k - 1 > size:
            raise RuntimeError(
                f"{name}: pool size {k} too large relative to input size {size} for {each} outputs"
            )
    lead = tuple(input.shape[:-rank])
    batch, channels = lead if len(lead) == 2 else (1, *lead)
    array = input._array
    if samples is None:
        shape = (batch, channels, rank)
        uniform = random.uniform(random.default_generator, shape, array.dtype)
    else:
        uniform = samples._array
    uniform = uniform.reshape(-1, rank)[: batch * channels]
    # torch's samples name the last dimension first in 2-D, the first one first in 3-D
    order = range(rank - 1, -1, -1) if rank == 2 else range(rank)
    starts = tuple(
        kernels.fractional_starts(uniform[:, number], size, each, k)
        for number, size, each, k in zip(order, sizes, wanted, kernel)
    )
    values, places = fractional_max_pool_places(input, kernel, starts)
    return (values, places) if return_indices else values


def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
    _random_samples=None,
):  # fmt: skip
    """Maxima of windows whose distances are drawn at random (Graham 2014).

    Args:
        input: images, with or without a batch axis.
        kernel_size: the windows' size.
        output_size: the number of windows along each dimension, or
        output_ratio: that number as a share of the input's size, between 0 and 1.
        return_indices: whether to return where each maximum is, too.

    Shape:
        (N, C, H, W) -> (N, C, *output_size)

    Raises:
        ValueError: neither output_size nor output_ratio.
        RuntimeError: windows that do not fit.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, 1, 5, 5)
        >>> torch.nn.functional.fractional_max_pool2d(x, 2, output_size=3).shape
        torch.Size([1, 1, 3, 3])
    """
    return _fractional_maximum(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
    _random_samples=None,
):  # fmt: skip
    """Maxima of windows at random distances over three dimensions; see `fractional_max_pool2d`.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, 1, 5, 5, 5)
        >>> torch.nn.functional.fractional_max_pool3d(x, 2, output_size=3).shape
        torch.Size([1, 1, 3, 3, 3])
    """
    return _fractional_maximum(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool2d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=True,
    _random_samples=None,
):  # fmt: skip
    """`fractional_max_pool2d` and the places of the maxima."""
    return _fractional_maximum(
        2, input, kernel_size, output_size, output_ratio, True, _random_samples
    )


def fractional_max_pool3d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=True,
    _random_samples=None,
):  # fmt: skip
    """`fractional_max_pool3d` and the places of the maxima."""
    return _fractional_maximum(
        3, input, kernel_size, output_size, output_ratio, True, _random_samples
    )
