"""Between Pillow images, arrays and tensors."""

from __future__ import annotations

import sys

import numpy as np

import danlu
from danlu.backend.dtypes import get_default_dtype
from danlu.tensor import Tensor
from danlu.vision._pillow import is_pil_image, pillow
from danlu.vision.transforms import _functional_tensor as F_t

__all__ = [
    "convert_image_dtype", "normalize", "pil_to_tensor", "tensor_of_pixels", "to_pil_image",
    "to_tensor",
]  # fmt: skip

_SHORT_MODE = "I;16" if sys.byteorder == "little" else "I;16B"
# Pillow's modes by the number of channels: what an array of a dtype becomes, and what it may be
# said to be.
_MODES: dict[int, tuple[dict, tuple]] = {
    1: ({"uint8": "L", "int16": _SHORT_MODE, "uint16": _SHORT_MODE, "int32": "I", "float32": "F"},
        ()),
    2: ({"uint8": "LA"}, ("LA",)),
    3: ({"uint8": "RGB"}, ("RGB", "YCbCr", "HSV")),
    4: ({"uint8": "RGBA"}, ("RGBA", "CMYK", "RGBX")),
}  # fmt: skip


def tensor_of_pixels(pixels, scaled: bool) -> Tensor:
    """The tensor (..., C, H, W) of an array (..., H, W, C); `scaled`: bytes to floats in [0, 1]."""
    array = np.moveaxis(pixels, -1, -3)
    if scaled and array.dtype == np.uint8:
        kind = get_default_dtype().numpy
        return danlu.from_numpy(np.divide(array, kind.type(255), dtype=kind, order="C"))
    return danlu.from_numpy(np.array(array, order="C"))


def _pixels(image):
    """The array (H, W, C) of a Pillow image."""
    if image.mode == "1":
        return np.array(image, np.uint8)[:, :, None] * np.uint8(255)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def to_tensor(pic) -> Tensor:
    """The tensor (C, H, W) of a Pillow image or an array (H, W, C); bytes become floats in [0, 1].

    Args:
        pic: a Pillow image, or an array of two or three dimensions.

    Raises:
        TypeError: it is neither.
        ValueError: an array of another number of dimensions.

    Example:
        >>> import numpy as np
        >>> from danlu.vision.transforms import functional as F
        >>> F.to_tensor(np.array([[[0, 51, 255]]], dtype=np.uint8))
        tensor([[[0.0000]],
        <BLANKLINE>
                [[0.2000]],
        <BLANKLINE>
                [[1.0000]]])
    """
    if is_pil_image(pic):
        return tensor_of_pixels(_pixels(pic), scaled=True)
    if not isinstance(pic, np.ndarray):
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    return tensor_of_pixels(pic if pic.ndim == 3 else pic[:, :, None], scaled=True)


def pil_to_tensor(pic) -> Tensor:
    """The tensor (C, H, W) of a Pillow image, with the image's own values.

    Raises:
        TypeError: it is no Pillow image.
    """
    if not is_pil_image(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return tensor_of_pixels(_pixels(pic), scaled=False)


def to_pil_image(pic, mode: str | None = None):
    """The Pillow image of a tensor (C, H, W) or an array (H, W, C), with one to four channels.

    Args:
        pic: bytes, or a tensor of floats in [0, 1]; of one channel also int16, int32 and float32.
        mode: Pillow's mode, if it is not the one that the channels suggest: gray, gray with alpha,
            RGB, RGBA.

    Raises:
        TypeError: neither tensor nor array, or a dtype that images do not have.
        ValueError: another number of dimensions or channels, or a mode that does not fit.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.transforms import functional as F
        >>> F.to_pil_image(torch.rand(3, 4, 5)).size
        (5, 4)
    """
    if not isinstance(pic, (Tensor, np.ndarray)):
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    if isinstance(pic, Tensor):
        if pic.is_floating_point() and mode != "F":
            pic = pic.mul(255).byte()
        pixels = pic.numpy(force=True)
        pixels = pixels[:, :, None] if pic.ndim == 2 else np.moveaxis(pixels, 0, -1)
    else:
        pixels = pic if pic.ndim == 3 else pic[:, :, None]
    channels = pixels.shape[2]
    if channels not in _MODES:
        raise ValueError(f"pic should not have > 4 channels. Got {channels} channels.")
    by_dtype, permitted = _MODES[channels]
    expected = by_dtype.get(pixels.dtype.name)
    if channels == 1:
        if mode is not None and mode != expected:
            raise ValueError(
                f"Incorrect mode ({mode}) supplied for input type {pixels.dtype}. "
                f"Should be {expected}"
            )
    elif mode is not None and mode not in permitted:
        raise ValueError(
            f"Only modes {list(permitted)} are supported for {channels}-channel inputs, "
            f"not {mode!r}"
        )
    if expected is None:
        raise TypeError(f"Input type {pixels.dtype} is not supported")
    height, width = pixels.shape[:2]
    return pillow().frombytes(mode or expected, (width, height), pixels.tobytes())


def convert_image_dtype(image, dtype=danlu.float32) -> Tensor:
    """A tensor of colours in another dtype, where white is 1.0 for floats and the largest number
    for integers.

    Raises:
        TypeError: `image` is no tensor.
        RuntimeError: from floats to integers that they cannot express.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.transforms import functional as F
        >>> F.convert_image_dtype(torch.tensor([0.0, 0.5, 1.0]), torch.uint8)
        tensor([  0, 127, 255], dtype=torch.uint8)
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"Input img should be Tensor Image. Got {type(image)}")
    return F_t.convert_image_dtype(image, dtype)


def normalize(tensor, mean, std, inplace: bool = False) -> Tensor:
    """(tensor - mean) / std, channel by channel.

    Args:
        tensor: floats, (..., C, H, W).
        mean, std: one number for each channel.
        inplace: whether to write into `tensor`. Default: False.

    Raises:
        TypeError: no tensor of floats.
        ValueError: fewer than three dimensions, or a deviation of zero.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.transforms import functional as F
        >>> F.normalize(torch.ones(1, 1, 2), [0.5], [0.25])
        tensor([[[2., 2.]]])
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}: put ToTensor() before")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.ndim < 2:
        F_t.check_image(tensor)
    if tensor.ndim < 3:
        raise ValueError(
            "Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = "
            f"{tensor.size()}"
        )
    centre = danlu.as_tensor(mean, dtype=tensor.dtype)
    spread = danlu.as_tensor(std, dtype=tensor.dtype)
    if (spread == 0).any():
        raise ValueError(
            f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by "
            "zero."
        )
    if not inplace:
        tensor = tensor.clone()
    if centre.ndim == 1:
        centre = centre.reshape(-1, 1, 1)
    if spread.ndim == 1:
        spread = spread.reshape(-1, 1, 1)
    return tensor.sub_(centre).div_(spread)
