"""Transforms of Pillow images."""

from __future__ import annotations

import numpy as np

from danlu.vision._pillow import is_pil_image, pillow

__all__: list[str] = []


def check_image(image) -> None:
    if not is_pil_image(image):
        raise TypeError(f"img should be PIL Image or a tensor. Got {type(image)}")


def dimensions(image) -> list[int]:
    """[channels, height, width]."""
    check_image(image)
    return [len(image.getbands()), image.height, image.width]


def fill_colour(image, fill):
    """What Pillow takes as the colour: one number, or one a band.

    Raises:
        TypeError: `fill` is neither a number nor a sequence.
        ValueError: it has not one number for each band.
    """
    bands = len(image.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (int, float)):
        colour = (fill,) * bands
    elif isinstance(fill, (tuple, list)):
        colour = tuple(fill) * bands if len(fill) == 1 else tuple(fill)
        if len(colour) != bands:
            raise ValueError(
                "The number of elements in 'fill' does not match the number of channels of the "
                f"image ({len(colour)} != {bands})"
            )
    else:
        raise TypeError(f"fill should be a number or a sequence of numbers. Got {type(fill)}")
    if image.mode != "F":
        colour = tuple(int(value) for value in colour)
    return colour[0] if bands == 1 else colour


# ---------------------------------------------------------------- colour
def enhance(image, name: str, factor: float):
    """One of Pillow's enhancements: "Brightness", "Contrast", "Color" or "Sharpness"."""
    check_image(image)
    from PIL import ImageEnhance

    return getattr(ImageEnhance, name)(image).enhance(factor)


def adjust_hue(image, factor: float):
    check_image(image)
    if image.mode in ("L", "1", "I", "F"):
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue) + np.int32(factor * 255).astype(np.uint8)  # modulo 256
    images = pillow()
    return images.merge("HSV", (images.fromarray(turned), saturation, value)).convert(image.mode)


def adjust_gamma(image, gamma: float, gain: float):
    check_image(image)
    table = [int((255 + 1 - 1e-3) * gain * (step / 255.0) ** gamma) for step in range(256)]
    return image.convert("RGB").point(table * 3).convert(image.mode)


def grayscale(image, channels: int):
    check_image(image)
    if channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, got {channels}")
    gray = image.convert("L")
    return gray if channels == 1 else pillow().merge("RGB", (gray, gray, gray))


def operate(image, name: str, *arguments):
    """One of Pillow's operations: "invert", "posterize", "solarize", "autocontrast", ..."""
    check_image(image)
    from PIL import ImageOps

    return getattr(ImageOps, name)(image, *arguments)


# ---------------------------------------------------------------- place and size
def pad(image, padding: list[int], fill, mode: str):
    """Padding is [left, top, right, bottom]; negative numbers cut."""
    from PIL import ImageOps

    check_image(image)
    if mode == "constant":
        if image.mode == "P":
            padded = ImageOps.expand(image, border=tuple(padding), fill=fill)
            padded.putpalette(image.getpalette())
            return padded
        return ImageOps.expand(image, border=tuple(padding), fill=fill_colour(image, fill))
    left, top, right, bottom = padding
    if min(padding) < 0:
        cut = [-min(each, 0) for each in padding]
        image = image.crop((cut[0], cut[1], image.width - cut[2], image.height - cut[3]))
        left, top, right, bottom = (max(each, 0) for each in padding)
    pixels = np.asarray(image)
    widths = ((top, bottom), (left, right)) + ((0, 0),) * (pixels.ndim - 2)
    padded = pillow().fromarray(np.pad(pixels, widths, mode))  # type: ignore[call-overload]
    if image.mode == "P":
        padded.putpalette(image.getpalette())
    return padded


def crop(image, top: int, left: int, height: int, width: int):
    check_image(image)
    return image.crop((left, top, left + width, top + height))


def resize(image, size: list[int], filter: int):
    check_image(image)
    return image.resize((size[1], size[0]), filter)


def flip(image, method: str):
    check_image(image)
    return image.transpose(getattr(pillow().Transpose, method))


def rotate(image, angle: float, filter: int, expand: bool, center, fill):
    check_image(image)
    colour = fill_colour(image, fill)
    return image.rotate(angle, filter, expand, center, fillcolor=colour)


def transform(image, method: str, coefficients: list[float], filter: int, fill):
    """`method` is "AFFINE" or "PERSPECTIVE"; the coefficients are those of the inverse map."""
    check_image(image)
    method = getattr(pillow().Transform, method)
    colour = fill_colour(image, fill)
    return image.transform(image.size, method, coefficients, filter, fillcolor=colour)
