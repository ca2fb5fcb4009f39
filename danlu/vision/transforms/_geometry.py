"""Transforms of an image's size, and of the place of its pixels, without chance."""

from __future__ import annotations

from danlu import nn
from danlu.vision.transforms import functional as F
from danlu.vision.transforms._arguments import size_tuple
from danlu.vision.transforms._modes import InterpolationMode, interpolation_mode

__all__ = ["CenterCrop", "FiveCrop", "Pad", "Resize", "TenCrop"]


class Resize(nn.Module):
    """An image in another size.

    Args:
        size: (height, width), or the length of the smaller edge; the other keeps the proportion.
        interpolation: how. Default: BILINEAR.
        max_size: if `size` is one number, the larger edge is at most this. Default: None.
        antialias: for tensors, whether shrinking averages all pixels. Default: True.

    Raises:
        TypeError: `size` is neither a number nor a sequence.
        ValueError: a sequence of more than two numbers.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision import transforms
        >>> transforms.Resize(5)(torch.zeros(3, 10, 20)).shape
        torch.Size([3, 5, 10])
    """

    def __init__(
        self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True
    ):
        super().__init__()
        if not isinstance(size, int) and not hasattr(size, "__len__"):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if not isinstance(size, int) and len(size) not in (1, 2):
            raise ValueError(
                f"If size is a sequence, it should have 1 or 2 values, not {len(size)}"
            )
        self.size = size
        self.max_size = max_size
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias

    def forward(self, img):
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation.value}, "
            f"max_size={self.max_size}, antialias={self.antialias})"
        )


class CenterCrop(nn.Module):
    """The middle of an image; a smaller image gets a black border.

    Args:
        size: (height, width), or one number for a square.

    Raises:
        ValueError: more than two numbers.
    """

    def __init__(self, size):
        super().__init__()
        self.size = size_tuple(size)

    def forward(self, img):
        return F.center_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class Pad(nn.Module):
    """An image with a border.

    Args:
        padding: one number for all sides, (left and right, top and bottom), or (left, top, right,
            bottom).
        fill: the border's colour, a number or (Pillow images) one for each band. Default: 0.
        padding_mode: "constant" (default), "edge", "reflect" or "symmetric".

    Raises:
        TypeError: padding or fill is neither a number nor a sequence.
        ValueError: another number of paddings, or another mode.
    """

    def __init__(self, padding, fill=0, padding_mode: str = "constant"):
        super().__init__()
        F.check_padding(padding, fill, padding_mode)
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img):
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, "
            f"padding_mode={self.padding_mode})"
        )


class FiveCrop(nn.Module):
    """A tuple of the four corners of an image and its middle.

    Args:
        size: (height, width), or one number for squares.

    Raises:
        ValueError: the image is smaller.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision import transforms
        >>> torch.stack(transforms.FiveCrop(2)(torch.zeros(3, 4, 4))).shape
        torch.Size([5, 3, 2, 2])
    """

    def __init__(self, size):
        super().__init__()
        self.size = size_tuple(size)

    def forward(self, img):
        return F.five_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class TenCrop(nn.Module):
    """A tuple of the `FiveCrop` of an image and of its mirror image.

    Args:
        size: (height, width), or one number for squares.
        vertical_flip: whether the mirror image is upside down. Default: False.

    Raises:
        ValueError: the image is smaller.
    """

    def __init__(self, size, vertical_flip: bool = False):
        super().__init__()
        self.size = size_tuple(size)
        self.vertical_flip = vertical_flip

    def forward(self, img):
        return F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, vertical_flip={self.vertical_flip})"
