"""Transforms of an image's colours."""

from __future__ import annotations

import danlu
from danlu import nn
from danlu.vision.transforms import functional as F
from danlu.vision.transforms._arguments import size_tuple, uniform

__all__ = [
    "ColorJitter", "GaussianBlur", "Grayscale", "RandomAdjustSharpness", "RandomAutocontrast",
    "RandomEqualize", "RandomGrayscale", "RandomInvert", "RandomPosterize", "RandomSolarize",
]  # fmt: skip


class ColorJitter(nn.Module):
    """Random changes of brightness, contrast, saturation and hue, in random order.

    Args:
        brightness, contrast, saturation: factors are drawn from [max(0, 1 - x), 1 + x], or from a
            pair (min, max). Default: 0.
        hue: drawn from [-x, x] with x at most 0.5, or from a pair. Default: 0.

    Raises:
        ValueError: for numbers outside of these ranges.
        TypeError: for anything but a number or a pair.
    """

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        super().__init__()
        self.brightness = _jitter_range("brightness", brightness)
        self.contrast = _jitter_range("contrast", contrast)
        self.saturation = _jitter_range("saturation", saturation)
        self.hue = _jitter_range("hue", hue, 0, (-0.5, 0.5))

    @staticmethod
    def get_params(brightness, contrast, saturation, hue):
        """The order of the four changes, and the factor of each, None for those without a range."""
        order = danlu.randperm(4)
        ranges = (brightness, contrast, saturation, hue)
        factors = [None if each is None else uniform(each[0], each[1]) for each in ranges]
        return order, *factors

    def forward(self, img):
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for number in order.tolist():
            if factors[number] is not None:
                img = changes[number](img, factors[number])
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation}, hue={self.hue})"
        )


def _jitter_range(name: str, value, center=1, bound=(0, float("inf"))):
    """(min, max) from a number or a pair; None where that changes nothing."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        low, high = float(center - value), float(center + value)
        if center == 1:
            low = max(low, 0.0)
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(
            f"{name} should be a single number or a list/tuple with length 2, got {value!r}"
        )
    if not bound[0] <= low <= high <= bound[1]:
        raise ValueError(f"{name} values should be between {bound}, but got {[low, high]}.")
    return None if low == high == center else (low, high)


class Grayscale(nn.Module):
    """An image in gray.

    Args:
        num_output_channels: 1 (default), or 3 equal ones.
    """

    def __init__(self, num_output_channels: int = 1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img):
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_output_channels={self.num_output_channels})"


class GaussianBlur(nn.Module):
    """A blurred image.

    Args:
        kernel_size: the neighbourhood that counts, an odd number or (width, height).
        sigma: the deviation, or the range (min, max) to draw it from. Default: (0.1, 2.0).

    Raises:
        ValueError: for even sizes and deviations that are not positive.
    """

    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        super().__init__()
        self.kernel_size = size_tuple(
            kernel_size, "Kernel size should be a tuple/list of two integers"
        )
        if any(size <= 0 or size % 2 == 0 for size in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        if isinstance(sigma, (int, float)):
            if sigma <= 0:
                raise ValueError("If sigma is a single number, it must be positive.")
            sigma = (sigma, sigma)
        elif not isinstance(sigma, (tuple, list)) or len(sigma) != 2:
            raise ValueError("sigma should be a single number or a list/tuple with length 2.")
        elif not 0.0 < sigma[0] <= sigma[1]:
            raise ValueError("sigma values should be positive and of the form (min, max).")
        self.sigma = sigma

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A deviation from the range."""
        return uniform(sigma_min, sigma_max)

    def forward(self, img):
        sigma = self.get_params(self.sigma[0], self.sigma[1])
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kernel_size={self.kernel_size}, sigma={self.sigma})"


class _Sometimes(nn.Module):
    """A change that is made with probability `p`."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def _change(self, img):
        raise NotImplementedError

    def forward(self, img):
        return self._change(img) if danlu.rand(1) < self.p else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomGrayscale(_Sometimes):
    """An image in gray, with as many channels as before, with probability `p` (default: 0.1)."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)

    def _change(self, img):
        return F.rgb_to_grayscale(img, F.get_image_num_channels(img))


class RandomInvert(_Sometimes):
    """White minus the image, with probability `p` (default: 0.5)."""

    def __init__(self, p: float = 0.5):
        super().__init__(p)

    def _change(self, img):
        return F.invert(img)


class RandomPosterize(_Sometimes):
    """The `bits` highest bits of every colour, with probability `p` (default: 0.5)."""

    def __init__(self, bits: int, p: float = 0.5):
        super().__init__(p)
        self.bits = bits

    def _change(self, img):
        return F.posterize(img, self.bits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bits={self.bits},p={self.p})"


class RandomSolarize(_Sometimes):
    """Colours from `threshold` on inverted, with probability `p` (default: 0.5)."""

    def __init__(self, threshold: float, p: float = 0.5):
        super().__init__(p)
        self.threshold = threshold

    def _change(self, img):
        return F.solarize(img, self.threshold)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threshold={self.threshold},p={self.p})"


class RandomAdjustSharpness(_Sometimes):
    """A sharper or smoother image (`adjust_sharpness`), with probability `p` (default: 0.5)."""

    def __init__(self, sharpness_factor: float, p: float = 0.5):
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def _change(self, img):
        return F.adjust_sharpness(img, self.sharpness_factor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sharpness_factor={self.sharpness_factor},p={self.p})"


class RandomAutocontrast(_Sometimes):
    """Every channel stretched from black to white, with probability `p` (default: 0.5)."""

    def __init__(self, p: float = 0.5):
        super().__init__(p)

    def _change(self, img):
        return F.autocontrast(img)


class RandomEqualize(_Sometimes):
    """Every channel's histogram flattened, with probability `p` (default: 0.5)."""

    def __init__(self, p: float = 0.5):
        super().__init__(p)

    def _change(self, img):
        return F.equalize(img)
