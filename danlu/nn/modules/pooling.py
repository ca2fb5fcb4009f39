"""Pooling over windows of one size."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules._sizes import repeated
from danlu.nn.modules.module import Module

__all__ = [
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


# ------------------------------------------------------------------------------ maximum
class _MaxPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"]

    function: staticmethod

    def __init__(
        self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input):
        return self.function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip

    def extra_repr(self):
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The largest element of each window of one dimension; the arguments are those of `MaxPool2d`.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.MaxPool1d(2)(torch.ones(1, 4)).shape
        torch.Size([1, 2])
    """

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """The largest element of each window of an image.

    Args:
        kernel_size: the windows' size, one int or one per dimension.
        stride: steps between windows; default: the kernel's size.
        padding: how far windows reach over the sides, at most half a kernel; default 0.
        dilation: steps between a window's elements; default 1.
        return_indices: whether to return where the maxima are, too, as `MaxUnpool` wants them.
        ceil_mode: whether a last window may hang over the end; default False.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.MaxPool2d(2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 2, 2])
    """

    function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """The largest element of each window of three dimensions; the arguments are those of
    `MaxPool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.MaxPool3d(2)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2])
    """

    function = staticmethod(F.max_pool3d)


class _MaxUnpoolNd(Module):
    rank: int
    function: staticmethod

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size = repeated(kernel_size, self.rank)
        self.stride = repeated(kernel_size if stride is None else stride, self.rank)
        self.padding = repeated(padding, self.rank)

    def forward(self, input, indices, output_size=None):
        return self.function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """The partial inverse of `MaxPool1d`; the arguments are those of `MaxUnpool2d`.

    Shape:
        values and indices (N, C, L) -> (N, C, L'); ``forward(input, indices, output_size)`` chooses
        among sizes

    Example:
        >>> import danlu as torch
        >>> pool, unpool = torch.nn.MaxPool1d(2, return_indices=True), torch.nn.MaxUnpool1d(2)
        >>> unpool(*pool(torch.ones(1, 4))).shape
        torch.Size([1, 4])
    """

    rank = 1
    function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpoolNd):
    """The partial inverse of `MaxPool2d`: maxima at their places, zeros elsewhere.

    Args:
        kernel_size: of the pool.
        stride: of the pool; default: the kernel's size.
        padding: of the pool; default 0.

    Shape:
        values and indices (N, C, H, W) -> (N, C, H', W'); ``forward(input, indices, output_size)``
        chooses among sizes

    Example:
        >>> import danlu as torch
        >>> pool, unpool = torch.nn.MaxPool2d(2, return_indices=True), torch.nn.MaxUnpool2d(2)
        >>> unpool(*pool(torch.ones(1, 4, 4))).shape
        torch.Size([1, 4, 4])
    """

    rank = 2
    function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpoolNd):
    """The partial inverse of `MaxPool3d`; the arguments are those of `MaxUnpool2d`.

    Shape:
        values and indices (N, C, D, H, W) -> (N, C, D', H', W'); ``forward(input, indices,
        output_size)`` chooses among sizes

    Example:
        >>> import danlu as torch
        >>> pool, unpool = torch.nn.MaxPool3d(2, return_indices=True), torch.nn.MaxUnpool3d(2)
        >>> unpool(*pool(torch.ones(1, 4, 4, 4))).shape
        torch.Size([1, 4, 4, 4])
    """

    rank = 3
    function = staticmethod(F.max_unpool3d)


# ------------------------------------------------------------------------------ average
class _AvgPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of one dimension; the arguments are those of `AvgPool2d`.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AvgPool1d(2)(torch.ones(1, 4)).shape
        torch.Size([1, 2])
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        super().__init__()
        self.kernel_size = repeated(kernel_size, 1)
        self.stride = repeated(kernel_size if stride is None else stride, 1)
        self.padding = repeated(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input):
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _DividedAvgPoolNd(_AvgPoolNd):
    __constants__ = [*_AvgPoolNd.__constants__, "divisor_override"]

    function: staticmethod

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
        divisor_override=None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return self.function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class AvgPool2d(_DividedAvgPoolNd):
    """The mean of each window of an image.

    Args:
        kernel_size: the windows' size, one int or one per dimension.
        stride: steps between windows; default: the kernel's size.
        padding: zeros on both sides, at most half a kernel; default 0.
        ceil_mode: whether a last window may hang over the end; default False.
        count_include_pad: whether the padding's zeros count as elements; default True.
        divisor_override: a number to divide the sums by instead of the windows' sizes.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AvgPool2d(2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 2, 2])
    """

    function = staticmethod(F.avg_pool2d)


class AvgPool3d(_DividedAvgPoolNd):
    """The mean of each window of three dimensions; the arguments are those of `AvgPool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AvgPool3d(2)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2])
    """

    function = staticmethod(F.avg_pool3d)


class _LPPoolNd(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]

    function: staticmethod

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input):
        return self.function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self):
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """The power sum of each window of one dimension; the arguments are those of `LPPool2d`.

    Shape:
        (N, C, L) -> (N, C, L'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.LPPool1d(2, 2)(torch.ones(1, 4)).shape
        torch.Size([1, 2])
    """

    function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPoolNd):
    """The power sum (sum of x^p)^(1/p) of each window of an image.

    Args:
        norm_type: the power p.
        kernel_size: the windows' size, one int or one per dimension.
        stride: steps between windows; default: the kernel's size.
        ceil_mode: whether a last window may hang over the end; default False.

    Shape:
        (N, C, H, W) -> (N, C, H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.LPPool2d(2, 2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 2, 2])
    """

    function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPoolNd):
    """The power sum of each window of three dimensions; the arguments are those of `LPPool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, D', H', W'), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.LPPool3d(2, 2)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2])
    """

    function = staticmethod(F.lp_pool3d)
