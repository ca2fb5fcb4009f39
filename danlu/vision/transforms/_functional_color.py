"""The colours of Pillow images and of tensors (..., C, H, W)."""

from __future__ import annotations

import math

from danlu.vision._pillow import is_pil_image
from danlu.vision.transforms import _functional_pil as F_pil
from danlu.vision.transforms import _functional_tensor as F_t
from danlu.vision.transforms._functional_conversion import pil_to_tensor, to_pil_image

is_tensor = F_t.is_tensor

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "autocontrast", "equalize", "gaussian_blur", "invert", "posterize",
    "rgb_to_grayscale", "solarize", "to_grayscale",
]  # fmt: skip


def adjust_brightness(img, brightness_factor: float):
    """Multiply the colours: 0 is black, 1 the image as it is.

    Raises:
        ValueError: the factor is negative.
    """
    _check_factor("brightness_factor", brightness_factor)
    if is_tensor(img):
        return F_t.adjust_brightness(img, brightness_factor)
    return F_pil.enhance(img, "Brightness", brightness_factor)


def adjust_contrast(img, contrast_factor: float):
    """Blend an image with its mean gray: 0 is all gray, 1 the image as it is.

    Raises:
        ValueError: the factor is negative.
    """
    _check_factor("contrast_factor", contrast_factor)
    if is_tensor(img):
        return F_t.adjust_contrast(img, contrast_factor)
    return F_pil.enhance(img, "Contrast", contrast_factor)


def adjust_saturation(img, saturation_factor: float):
    """Blend an image with its gray image: 0 is gray, 1 the image as it is.

    Raises:
        ValueError: the factor is negative.
    """
    _check_factor("saturation_factor", saturation_factor)
    if is_tensor(img):
        return F_t.adjust_saturation(img, saturation_factor)
    return F_pil.enhance(img, "Color", saturation_factor)


def adjust_sharpness(img, sharpness_factor: float):
    """Blend an image with a smoothed one: 0 is smooth, 1 the image as it is, 2 sharper.

    Raises:
        ValueError: the factor is negative.
    """
    _check_factor("sharpness_factor", sharpness_factor)
    if is_tensor(img):
        return F_t.adjust_sharpness(img, sharpness_factor)
    return F_pil.enhance(img, "Sharpness", sharpness_factor)


def _check_factor(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name} ({value}) is not non-negative.")


def adjust_hue(img, hue_factor: float):
    """Turn the hues by a part of the circle, from -0.5 to 0.5.

    Raises:
        ValueError: the factor lies outside of that.
    """
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return (F_t if is_tensor(img) else F_pil).adjust_hue(img, hue_factor)


def adjust_gamma(img, gamma: float, gain: float = 1):
    """Raise the colours, between 0 and 1, to the power `gamma`, and multiply them by `gain`.

    Raises:
        ValueError: gamma is negative.
    """
    if gamma < 0:
        raise ValueError(f"Gamma should be a non-negative real number, got {gamma}")
    return (F_t if is_tensor(img) else F_pil).adjust_gamma(img, gamma, gain)


def rgb_to_grayscale(img, num_output_channels: int = 1):
    """0.2989 R + 0.587 G + 0.114 B, as one channel or as three equal ones.

    Raises:
        ValueError: for another number of channels than 1 and 3.
    """
    return (F_t if is_tensor(img) else F_pil).grayscale(img, num_output_channels)


def to_grayscale(img, num_output_channels: int = 1):
    """A Pillow image in gray, with one band or three equal ones.

    Raises:
        TypeError: `img` is no Pillow image.
    """
    if not is_pil_image(img):
        raise TypeError("Input should be PIL Image: for tensors write rgb_to_grayscale")
    return F_pil.grayscale(img, num_output_channels)


def invert(img):
    """White minus every colour."""
    return F_t.invert(img) if is_tensor(img) else F_pil.operate(img, "invert")


def posterize(img, bits: int):
    """Keep the `bits` highest bits of every colour.

    Raises:
        ValueError: `bits` is not between 0 and 8.
    """
    if not 0 <= bits <= 8:
        raise ValueError(f"The number if bits should be between 0 and 8. Got {bits}")
    return F_t.posterize(img, bits) if is_tensor(img) else F_pil.operate(img, "posterize", bits)


def solarize(img, threshold: float):
    """Invert the colours from `threshold` on."""
    if is_tensor(img):
        return F_t.solarize(img, threshold)
    return F_pil.operate(img, "solarize", threshold)


def autocontrast(img):
    """Stretch every channel so that its darkest value is black and its brightest white."""
    return F_t.autocontrast(img) if is_tensor(img) else F_pil.operate(img, "autocontrast")


def equalize(img):
    """Make all values of every channel equally frequent, as far as that goes."""
    return F_t.equalize(img) if is_tensor(img) else F_pil.operate(img, "equalize")


def gaussian_blur(img, kernel_size, sigma=None):
    """The mean of every pixel's neighbourhood, weighted with exp(-d^2 / (2 sigma^2)).

    Args:
        img: a Pillow image or a tensor.
        kernel_size: (width, height) of the neighbourhood, odd numbers.
        sigma: (across, down), positive. Default: 0.15 kernel_size + 0.35.

    Raises:
        ValueError: sizes that are not odd, deviations that are not positive.
    """
    kernel_size = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    if len(kernel_size) != 2:
        raise ValueError(
            f"If kernel_size is a sequence its length should be 2. Got {len(kernel_size)}"
        )
    if any(size % 2 == 0 or size < 0 for size in kernel_size):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {kernel_size}")
    if sigma is None:
        sigma = [size * 0.15 + 0.35 for size in kernel_size]
    sigma = [float(sigma)] * 2 if isinstance(sigma, (int, float)) else list(sigma)
    sigma = sigma * 2 if len(sigma) == 1 else sigma
    if len(sigma) != 2:
        raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(sigma)}")
    if any(not (value > 0.0 and math.isfinite(value)) for value in sigma):
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    if is_tensor(img):
        return F_t.gaussian_blur(img, kernel_size, sigma)
    return to_pil_image(F_t.gaussian_blur(pil_to_tensor(img), kernel_size, sigma), mode=img.mode)
