"""Upsampling layers."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules.module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    """Resizes signals, images or volumes by interpolation.

    Args:
        size: the wanted size, one int or one per dimension, or
        scale_factor: the wanted size as a multiple of the input's.
        mode: "nearest" (default), "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or
            "area".
        align_corners: whether the corner elements' centres stay in place; linear and cubic modes
            only.
        recompute_scale_factor: whether to take the step from the sizes instead of from
            `scale_factor`.

    Shape:
        (N, C, *sizes) -> (N, C, *size)

    Example:
        >>> import danlu as torch
        >>> torch.nn.Upsample(scale_factor=2)(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 3, 8, 8])
    """

    __constants__ = [
        "size",
        "scale_factor",
        "mode",
        "align_corners",
        "name",
        "recompute_scale_factor",
    ]

    def __init__(
        self, size=None, scale_factor=None, mode="nearest", align_corners=None,
        recompute_scale_factor=None,
    ):  # fmt: skip
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(each) for each in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self):
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images with mode "nearest".

    Example:
        >>> import danlu as torch
        >>> torch.nn.UpsamplingNearest2d(scale_factor=2)(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images with mode "bilinear" and aligned corners.

    Example:
        >>> import danlu as torch
        >>> torch.nn.UpsamplingBilinear2d(size=5)(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 3, 5, 5])
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
