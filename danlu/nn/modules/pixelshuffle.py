"""Rearrangements of pixels and channels as layers."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules.module import Module

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """Channels become pixels (Shi et al. 2016): groups of r*r channels fill blocks of r by r
    pixels.

    Args:
        upscale_factor: r, at least 1.

    Shape:
        (*, C*r*r, H, W) -> (*, C, H*r, W*r)

    Example:
        >>> import danlu as torch
        >>> torch.nn.PixelShuffle(2)(torch.ones(1, 8, 3, 3)).shape
        torch.Size([1, 2, 6, 6])
    """

    __constants__ = ["upscale_factor"]

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels become channels: the inverse of `PixelShuffle`.

    Args:
        downscale_factor: r, at least 1.

    Shape:
        (*, C, H*r, W*r) -> (*, C*r*r, H, W)

    Example:
        >>> import danlu as torch
        >>> torch.nn.PixelUnshuffle(2)(torch.ones(1, 2, 6, 6)).shape
        torch.Size([1, 8, 3, 3])
    """

    __constants__ = ["downscale_factor"]

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Deals channels out over groups in turn (Zhang et al. 2018).

    Args:
        groups: how many groups, a divisor of the channels.

    Shape:
        (N, C, *) -> (N, C, *)

    Example:
        >>> import danlu as torch
        >>> torch.nn.ChannelShuffle(2)(torch.arange(4.0).reshape(1, 4, 1)).flatten()
        tensor([0., 2., 1., 3.])
    """

    __constants__ = ["groups"]

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        return f"groups={self.groups}"
