"""Pooling to a given output size: adaptive and fractional."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules._sizes import repeated
from danlu.nn.modules.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d",
]  # fmt: skip


class _AdaptiveAvgPoolNd(Module):
    __constants__ = ["output_size"]

    function: staticmethod

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        return self.function(input, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class _AdaptiveMaxPoolNd(Module):
    __constants__ = ["output_size", "return_indices"]

    function: staticmethod

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input):
        return self.function(input, self.output_size, self.return_indices)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The mean of each of as many windows as wanted over one dimension; see `AdaptiveAvgPool2d`.

    Shape:
        (N, C, L) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AdaptiveAvgPool1d(2)(torch.ones(1, 4)).shape
        torch.Size([1, 2])
    """

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The mean of each of as many windows as wanted, whatever the image's size.

    Args:
        output_size: one int, or one per dimension; None keeps that dimension's size.

    Shape:
        (N, C, H, W) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AdaptiveAvgPool2d(2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 2, 2])
    """

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The mean of each of as many windows as wanted over three dimensions; see `AdaptiveAvgPool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AdaptiveAvgPool3d(2)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2])
    """

    function = staticmethod(F.adaptive_avg_pool3d)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest element of each of as many windows as wanted over one dimension; see
    `AdaptiveMaxPool2d`.

    Shape:
        (N, C, L) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AdaptiveMaxPool1d(2)(torch.ones(1, 4)).shape
        torch.Size([1, 2])
    """

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest element of each of as many windows as wanted, whatever the image's size.

    Args:
        output_size: one int, or one per dimension; None keeps that dimension's size.
        return_indices: whether to return where the maxima are, too; default False.

    Shape:
        (N, C, H, W) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AdaptiveMaxPool2d(2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 2, 2])
    """

    function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest element of each of as many windows as wanted over three dimensions; see
    `AdaptiveMaxPool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.AdaptiveMaxPool3d(2)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2])
    """

    function = staticmethod(F.adaptive_max_pool3d)


class _FractionalMaxPoolNd(Module):
    __constants__ = ["kernel_size", "return_indices", "output_size", "output_ratio"]

    rank: int
    function: staticmethod

    def __init__(
        self, kernel_size, output_size=None, output_ratio=None, return_indices=False,
        _random_samples=None,
    ):  # fmt: skip
        super().__init__()
        rank, name = self.rank, type(self).__name__
        self.kernel_size = repeated(kernel_size, rank)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else repeated(output_size, rank)
        self.output_ratio = None if output_ratio is None else repeated(output_ratio, rank)
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < each < 1 for each in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input):
        return self.function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The largest element of windows whose distances are drawn at random (Graham 2014).

    Args:
        kernel_size: the windows' size, one int or one per dimension.
        output_size: the number of windows along each dimension, or
        output_ratio: that number as a share of the input's size, between 0 and 1.
        return_indices: whether to return where the maxima are, too; default False.

    Raises:
        ValueError: neither or both of output_size and output_ratio, or a ratio outside (0, 1).

    Shape:
        (N, C, H, W) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.FractionalMaxPool2d(2, output_size=2)(torch.ones(1, 4, 4)).shape
        torch.Size([1, 2, 2])
    """

    rank = 2
    function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima of windows at random distances over three dimensions; see `FractionalMaxPool2d`.

    Shape:
        (N, C, D, H, W) -> (N, C, *output_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.FractionalMaxPool3d(2, output_size=2)(torch.ones(1, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2])
    """

    rank = 3
    function = staticmethod(F.fractional_max_pool3d)
