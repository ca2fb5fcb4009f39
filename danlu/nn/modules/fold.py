"""Sliding blocks as layers."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules.module import Module

__all__ = ["Fold", "Unfold"]


class Fold(Module):
    """Adds columns into images at their blocks' places (col2im).

    Args:
        output_size: the images' spatial size.
        kernel_size: the blocks' size.
        dilation: steps between a block's elements; default 1.
        padding: zeros on both sides; default 0.
        stride: steps between blocks; default 1.

    Shape:
        (N, C*kh*kw, blocks) -> (N, C, *output_size)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Fold((4, 5), 2)(torch.ones(1, 12, 12)).shape
        torch.Size([1, 3, 4, 5])
    """

    __constants__ = ["output_size", "kernel_size", "dilation", "padding", "stride"]

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self):
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Unfold(Module):
    """Makes a column of every sliding block of images (im2col).

    Args:
        kernel_size: the blocks' size.
        dilation: steps between a block's elements; default 1.
        padding: zeros on both sides; default 0.
        stride: steps between blocks; default 1.

    Shape:
        (N, C, H, W) -> (N, C*kh*kw, blocks)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Unfold(2)(torch.ones(1, 3, 4, 5)).shape
        torch.Size([1, 12, 12])
    """

    __constants__ = ["kernel_size", "dilation", "padding", "stride"]

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )
