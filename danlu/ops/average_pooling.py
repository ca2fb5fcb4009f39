"""Average and power-mean pooling over windows of one size."""

from __future__ import annotations

import math

from danlu.kernels import pooling as kernels
from danlu.ops.pooling import fitted_windows, planes, refuse_kinds, sizes_of
from danlu.ops.registry import Array, ns, operator

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d"]


# ------------------------------------------------------------------------------ operators
def window_average(input, positions, kernel, stride, padding, divisor):
    """The sum of each window of an array by its divisor."""
    rank = len(kernel)
    if input.dtype.itemsize == 2 and input.dtype.kind not in "iu":
        wide = window_average(input.astype("float32"), positions, kernel, stride, padding, divisor)
        return wide.astype(input.dtype)
    shape = (*input.shape[:-rank], *positions)
    flat = planes(input, rank)
    if input.dtype.kind in "iu":
        out = kernels.window_sums(flat, positions, kernel, stride, padding).reshape(shape)
        xp = ns(input)  # towards zero, as C divides
        return (xp.sign(out) * (xp.abs(out) // abs(divisor)) * xp.sign(divisor)).astype(input.dtype)
    return kernels.window_means(flat, positions, kernel, stride, padding, divisor).reshape(shape)


def _window_average_rule(g, input_shape, positions, kernel, stride, padding, divisor):
    return spread_average.on(
        g, tuple(input_shape[-len(kernel) :]), kernel, stride, padding, divisor
    )


@operator(method=False, name="AvgPool1D")
def avg_pool1d_values(input: Array, positions, kernel, stride, padding, divisor):
    """The sum of each window by its divisor."""
    return window_average(input, positions, kernel, stride, padding, divisor)


@operator(method=False, name="AvgPool2D")
def avg_pool2d_values(input: Array, positions, kernel, stride, padding, divisor):
    """The sum of each window by its divisor."""
    return window_average(input, positions, kernel, stride, padding, divisor)


@operator(method=False, name="AvgPool3D")
def avg_pool3d_values(input: Array, positions, kernel, stride, padding, divisor):
    """The sum of each window by its divisor."""
    return window_average(input, positions, kernel, stride, padding, divisor)


_AVG_POOLS = {1: avg_pool1d_values, 2: avg_pool2d_values, 3: avg_pool3d_values}
for _each in _AVG_POOLS.values():
    _each.vjp(_window_average_rule)


@operator(method=False, name="AvgPoolInput")
def spread_average(input: Array, sizes, kernel, stride, padding, divisor):
    """Each element, by its divisor, added to all of its window; the adjoint of average pooling."""
    rank = len(kernel)
    flat = kernels.spread_means(planes(input, rank), sizes, kernel, stride, padding, divisor)
    return flat.reshape(*input.shape[:-rank], *sizes)


@spread_average.vjp
def _(g, input_shape, kernel, stride, padding, divisor):
    positions = tuple(input_shape[-len(kernel) :])
    return _AVG_POOLS[len(kernel)].on(g, positions, kernel, stride, padding, divisor)


# ------------------------------------------------------------------------------ public functions
def _average_pooling(
    rank, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
):  # fmt: skip
    name = f"avg_pool{rank}d"
    array = input._array
    refuse_kinds(array, "bc", name)
    kernel, stride, padding, _, positions = fitted_windows(
        name, rank, input, kernel_size, stride, padding, 1, ceil_mode
    )
    if divisor_override is None:
        sizes = array.shape[-rank:]
        divisor = _divisor(sizes, positions, kernel, stride, padding, count_include_pad, array)
    elif divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    else:
        divisor = divisor_override
    return _AVG_POOLS[rank](input, positions, kernel, stride, padding, divisor)


def _divisor(sizes, positions, kernel, stride, padding, count_include_pad, array):
    """What the windows' sums are divided by: one number if all are whole, else one per window."""
    whole = all(
        (count - 1) * s + k <= size + p
        for size, count, k, s, p in zip(sizes, positions, kernel, stride, padding)
    )
    if whole and (count_include_pad or not any(padding)):
        return math.prod(kernel)
    counts = kernels.window_counts(
        ns(array), sizes, positions, kernel, stride, padding, count_include_pad
    )
    dtype = array.dtype
    if dtype.kind in "iu":
        return counts
    return counts.astype("float32" if dtype.itemsize == 2 else dtype)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window of one dimension; see `avg_pool2d`.

    Shape:
        (N, C, L) -> (N, C, L')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.avg_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
        tensor([[2., 1.]])
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {input.ndim}-dimensional tensor for argument #1 "
            "'self' "
            "(while checking arguments for avg_pool1d)"
        )
    return _average_pooling(
        1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    """The mean of each window of an image.

    Args:
        input: images, with or without a batch axis.
        kernel_size: the windows' size, one int or one per dimension.
        stride: steps between windows; default: the kernel's size.
        padding: zeros on both sides, at most half a kernel; default 0.
        ceil_mode: whether a last window may hang over the end; default False.
        count_include_pad: whether the padding's zeros count as elements; default True.
        divisor_override: a number to divide the sums by instead of the windows' sizes.

    Shape:
        (N, C, H, W) -> (N, C, H', W')

    Raises:
        RuntimeError: not images, settings that leave no window, or a divisor of 0.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.avg_pool2d(torch.arange(4.0).reshape(1, 2, 2), 2)
        tensor([[[1.5000]]])
    """
    return _average_pooling(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    """The mean of each window of three dimensions; see `avg_pool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
        tensor([[[[3.5000]]]])
    """
    return _average_pooling(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _power_pooling(rank, input, norm_type, kernel_size, stride, ceil_mode):
    kernel = sizes_of(f"lp_pool{rank}d", "kernel_size", kernel_size, rank)
    pool = (avg_pool1d, avg_pool2d, avg_pool3d)[rank - 1]
    mean = pool(input.pow(norm_type), kernel, stride, 0, ceil_mode)
    return (mean.sign() * mean.abs().relu() * math.prod(kernel)).pow(1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The power sum of each window of one dimension; see `lp_pool2d`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.lp_pool1d(torch.tensor([[3.0, 4.0]]), 2, 2)
        tensor([[5.]])
    """
    return _power_pooling(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The power sum of each window: (sum of x^p)^(1/p).

    Args:
        input: images, with or without a batch axis.
        norm_type: the power p; 1 sums, large ones approach the maximum.
        kernel_size: the windows' size.
        stride: steps between windows; default: the kernel's size.
        ceil_mode: whether a last window may hang over the end; default False.

    Shape:
        (N, C, H, W) -> (N, C, H', W')

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.lp_pool2d(torch.tensor([[[3.0, 4.0]]]), 2, (1, 2))
        tensor([[[5.]]])
    """
    return _power_pooling(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The power sum of each window of three dimensions; see `lp_pool2d`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.lp_pool3d(torch.ones(1, 1, 2, 2), 2, (1, 2, 2))
        tensor([[[[2.]]]])
    """
    return _power_pooling(3, input, norm_type, kernel_size, stride, ceil_mode)
