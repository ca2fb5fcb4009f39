"""Transforms between images and tensors, and of a tensor's values."""

from __future__ import annotations

from danlu import nn
from danlu.vision.transforms import functional as F

__all__ = ["ConvertImageDtype", "Normalize", "PILToTensor", "ToPILImage", "ToTensor"]


class ToTensor:
    """A Pillow image or an array (H, W, C) as a tensor (C, H, W); bytes become floats in [0, 1].

    Raises:
        TypeError: for anything else.
        ValueError: an array that has not two or three dimensions.

    Example:
        >>> from PIL import Image
        >>> from danlu.vision import transforms
        >>> transforms.ToTensor()(Image.new("L", (2, 1), 51))
        tensor([[[0.2000, 0.2000]]])
    """

    def __call__(self, pic):
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """A Pillow image as a tensor (C, H, W) of the image's own values.

    Raises:
        TypeError: for anything else.
    """

    def __call__(self, pic):
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPILImage:
    """A tensor (C, H, W), bytes or floats in [0, 1], or an array (H, W, C) as a Pillow image.

    Args:
        mode: Pillow's mode. Default: gray, gray with alpha, RGB or RGBA, by the channels.

    Raises:
        TypeError: for anything else, and for dtypes that images do not have.
        ValueError: numbers of dimensions or channels that images do not have.
    """

    def __init__(self, mode: str | None = None):
        self.mode = mode

    def __call__(self, pic):
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class ConvertImageDtype(nn.Module):
    """A tensor of colours in another dtype: white is 1.0 or the largest integer.

    Args:
        dtype: the wanted one.

    Raises:
        TypeError: for anything but a tensor.
        RuntimeError: from floats to integers that they cannot express.
    """

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, image):
        return F.convert_image_dtype(image, self.dtype)


class Normalize(nn.Module):
    """(image - mean) / std, channel by channel.

    Args:
        mean, std: one number for each channel.
        inplace: whether to write into the image. Default: False.

    Raises:
        TypeError: for anything but a tensor of floats.
        ValueError: fewer than three dimensions, or a deviation of zero.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision import transforms
        >>> transforms.Normalize((0.5,), (0.25,))(torch.ones(1, 1, 2))
        tensor([[[2., 2.]]])
    """

    def __init__(self, mean, std, inplace: bool = False):
        super().__init__()
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def forward(self, tensor):
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"
