"""Transforms as functions, of Pillow images and of tensors (..., C, H, W)."""

from __future__ import annotations

from danlu.tensor import Tensor
from danlu.vision.transforms import _functional_geometry as geometry
from danlu.vision.transforms import _functional_pil as F_pil
from danlu.vision.transforms import _functional_tensor as F_t
from danlu.vision.transforms._functional_color import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    autocontrast,
    equalize,
    gaussian_blur,
    invert,
    posterize,
    rgb_to_grayscale,
    solarize,
    to_grayscale,
)
from danlu.vision.transforms._functional_conversion import (
    convert_image_dtype,
    normalize,
    pil_to_tensor,
    to_pil_image,
    to_tensor,
)
from danlu.vision.transforms._modes import InterpolationMode, interpolation_mode, pillow_filter

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue",
    "adjust_saturation", "adjust_sharpness", "affine", "autocontrast", "center_crop",
    "convert_image_dtype", "crop", "equalize", "erase", "five_crop", "gaussian_blur",
    "get_dimensions", "get_image_num_channels", "get_image_size", "hflip", "invert", "normalize",
    "pad", "perspective", "pil_to_tensor", "posterize", "resize", "resized_crop",
    "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_grayscale", "to_pil_image",
    "to_tensor", "vflip",
]  # fmt: skip

is_tensor = F_t.is_tensor


# ---------------------------------------------------------------- sizes
def get_dimensions(img) -> list[int]:
    """[channels, height, width] of an image."""
    return F_t.dimensions(img) if isinstance(img, Tensor) else F_pil.dimensions(img)


def get_image_size(img) -> list[int]:
    """[width, height] of an image."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img) -> int:
    """The number of channels of an image."""
    return get_dimensions(img)[0]


def size_pair(size, message: str = "Please provide only two dimensions (h, w) for size.") -> list:
    """[height, width] from a number, one number in a sequence, or two.

    Raises:
        ValueError: a sequence of another length; the text is `message`.
    """
    if isinstance(size, (int, float)):
        return [int(size), int(size)]
    size = list(size)
    if len(size) == 1:
        return size * 2
    if len(size) != 2:
        raise ValueError(message)
    return size


# ---------------------------------------------------------------- place and size
def resize(img, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """Give an image another size.

    Args:
        img: a Pillow image or a tensor.
        size: (height, width), or the length of the smaller edge; the other keeps the proportion.
        interpolation: how. Default: BILINEAR.
        max_size: if `size` is one number, the larger edge is at most this. Default: None.
        antialias: for tensors, whether shrinking averages all pixels, as Pillow always does; of
            use to BILINEAR and BICUBIC. Default: True.

    Raises:
        ValueError: a size of more than two numbers, or a `max_size` that is below the size or goes
            with two numbers.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.transforms import functional as F
        >>> F.resize(torch.zeros(3, 10, 20), 5).shape
        torch.Size([3, 5, 10])
    """
    mode = interpolation_mode(interpolation)
    if isinstance(size, (list, tuple)):
        if len(size) not in (1, 2):
            raise ValueError(
                f"Size must be an int or a 1 or 2 element tuple/list, not a {len(size)} element "
                "tuple/list"
            )
        if max_size is not None and len(size) == 2:
            raise ValueError(
                "max_size should only be passed if size specifies the length of the smaller edge, "
                "i.e. size should be an int or a sequence of length 1"
            )
    else:
        size = [size]
    height, width = get_dimensions(img)[1:]
    target = list(size) if len(size) == 2 else _by_smaller_edge(height, width, size[0], max_size)
    if target == [height, width]:
        return img
    if is_tensor(img):
        return F_t.resize(img, target, mode.value, bool(antialias))
    return F_pil.resize(img, target, pillow_filter(mode))


def _by_smaller_edge(height: int, width: int, length: int, max_size: int | None) -> list[int]:
    short, long = sorted((height, width))
    new_short, new_long = length, int(length * long / short)
    if max_size is not None:
        if max_size <= length:
            raise ValueError(
                f"max_size = {max_size} must be strictly greater than the requested size for the "
                f"smaller edge size = {length}"
            )
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return [new_long, new_short] if width <= height else [new_short, new_long]


def pad(img, padding, fill=0, padding_mode: str = "constant"):
    """Put a border around an image.

    Args:
        img: a Pillow image or a tensor.
        padding: one number for all sides, [left and right, top and bottom], or [left, top, right,
            bottom]; negative numbers cut.
        fill: the border's colour, a number or (Pillow images) one for each band. Default: 0.
        padding_mode: "constant" (default), "edge" (the last pixel again), "reflect" (mirrored
            around the last pixel) or "symmetric" (mirrored with it).

    Raises:
        TypeError: padding or fill is no number or sequence of numbers.
        ValueError: another number of paddings, another mode, or a `fill` that does not fit.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.transforms import functional as F
        >>> F.pad(torch.tensor([[[1, 2, 3]]]), [2, 0], padding_mode="reflect")
        tensor([[[3, 2, 1, 2, 3, 2, 1]]])
    """
    sides = check_padding(padding, fill, padding_mode)
    if not is_tensor(img):
        return F_pil.pad(img, sides, fill, padding_mode)
    if not isinstance(fill, (int, float)):
        raise TypeError(f"Got inappropriate fill arg: {fill!r}; for tensors it is one number")
    return F_t.pad(img, sides, fill, padding_mode)


def check_padding(padding, fill, padding_mode: str) -> list[int]:
    """The arguments of `pad` checked: [left, top, right, bottom]."""
    if not isinstance(padding, (int, tuple, list)):
        raise TypeError(f"Got inappropriate padding arg: {padding!r}")
    if not isinstance(fill, (int, float, tuple, list)):
        raise TypeError(f"Got inappropriate fill arg: {fill!r}")
    sides = [padding] if isinstance(padding, int) else list(padding)
    if len(sides) not in (1, 2, 4):
        raise ValueError(
            f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(sides)} element "
            "tuple"
        )
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(
            "Padding mode should be either constant, edge, reflect or symmetric, not "
            f"{padding_mode!r}"
        )
    return (sides * 4)[:4]


def crop(img, top: int, left: int, height: int, width: int):
    """The part of an image at (top, left) of this size; outside of the image it is black."""
    if is_tensor(img):
        return F_t.crop(img, top, left, height, width)
    return F_pil.crop(img, top, left, height, width)


def center_crop(img, output_size):
    """The middle of an image, (height, width) or a square; a smaller image gets a black border."""
    crop_height, crop_width = size_pair(output_size)
    _, height, width = get_dimensions(img)
    across, down = max(crop_width - width, 0), max(crop_height - height, 0)
    if across or down:
        img = pad(img, [across // 2, down // 2, (across + 1) // 2, (down + 1) // 2])
        height, width = height + down, width + across
    top = round((height - crop_height) / 2.0)
    left = round((width - crop_width) / 2.0)
    return crop(img, top, left, crop_height, crop_width)


def resized_crop(
    img, top: int, left: int, height: int, width: int, size,
    interpolation=InterpolationMode.BILINEAR, antialias=True,
):  # fmt: skip
    """`crop`, then `resize`."""
    img = crop(img, top, left, height, width)
    return resize(img, size, interpolation, antialias=antialias)


def five_crop(img, size) -> tuple:
    """The four corners of an image and its middle: top left, top right, bottom left, bottom right.

    Raises:
        ValueError: the image is smaller than `size`.
    """
    crop_height, crop_width = size_pair(size)
    _, height, width = get_dimensions(img)
    if crop_width > width or crop_height > height:
        raise ValueError(
            f"Requested crop size {(crop_height, crop_width)} is bigger than input size "
            f"{(height, width)}"
        )
    down, across = height - crop_height, width - crop_width
    corners = [(0, 0), (0, across), (down, 0), (down, across)]
    crops = [crop(img, top, left, crop_height, crop_width) for top, left in corners]
    return (*crops, center_crop(img, [crop_height, crop_width]))


def ten_crop(img, size, vertical_flip: bool = False) -> tuple:
    """`five_crop` of an image and of its mirror image."""
    size = size_pair(size)
    mirrored = vflip(img) if vertical_flip else hflip(img)
    return five_crop(img, size) + five_crop(mirrored, size)


def hflip(img):
    """Left and right exchanged."""
    return img.flip(-1) if is_tensor(img) else F_pil.flip(img, "FLIP_LEFT_RIGHT")


def vflip(img):
    """Top and bottom exchanged."""
    return img.flip(-2) if is_tensor(img) else F_pil.flip(img, "FLIP_TOP_BOTTOM")


def rotate(
    img, angle: float, interpolation=InterpolationMode.NEAREST, expand: bool = False, center=None,
    fill=None,
):  # fmt: skip
    """Turn an image counter-clockwise.

    Args:
        img: a Pillow image or a tensor.
        angle: in degrees.
        interpolation: NEAREST (default) or BILINEAR; for Pillow images BICUBIC too.
        expand: whether the result is large enough for the whole image. Default: False.
        center: (x, y) from the top left corner. Default: the image's centre.
        fill: the colour of what lies outside, one number or one for each channel. Default: 0.

    Raises:
        TypeError: `angle` is no number, `center` no sequence.
        ValueError: a mode or a `fill` that the image cannot take.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.transforms import functional as F
        >>> F.rotate(torch.arange(4).reshape(1, 2, 2), 90)
        tensor([[[1, 3],
                 [0, 2]]])
    """
    mode = interpolation_mode(interpolation)
    if not isinstance(angle, (int, float)):
        raise TypeError(f"Argument angle should be int or float, got {angle!r}")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError(f"Argument center should be a sequence, got {center!r}")
    if not is_tensor(img):
        return F_pil.rotate(img, angle, pillow_filter(mode), expand, center, fill)
    width, height = get_image_size(img)
    offset = _from_centre(center, width, height)
    matrix = geometry.inverse_affine_matrix(offset, -angle, (0.0, 0.0), 1.0, (0.0, 0.0))
    size = geometry.expanded_size(matrix, width, height) if expand else None
    return geometry.affine(img, matrix, mode, fill, size)


def _from_centre(center, width: int, height: int) -> tuple[float, float]:
    """A point that is counted from the corner, counted from the centre."""
    return (0.0, 0.0) if center is None else (center[0] - width * 0.5, center[1] - height * 0.5)


def affine(
    img, angle: float, translate, scale: float, shear, interpolation=InterpolationMode.NEAREST,
    fill=None, center=None,
):  # fmt: skip
    """Shear, scale and turn an image around its centre, and shift it.

    Args:
        img: a Pillow image or a tensor.
        angle: in degrees, clockwise.
        translate: pixels (to the right, down).
        scale: a positive factor.
        shear: degrees along x, or (along x, along y).
        interpolation: NEAREST (default) or BILINEAR; for Pillow images BICUBIC too.
        fill: the colour of what lies outside, one number or one for each channel. Default: 0.
        center: (x, y) from the top left corner. Default: the image's centre.

    Raises:
        TypeError: an argument is neither a number nor a sequence as it should be.
        ValueError: a length other than 2, or a scale that is not positive.
    """
    mode = interpolation_mode(interpolation)
    if not isinstance(angle, (int, float)):
        raise TypeError(f"Argument angle should be int or float, got {angle!r}")
    if not isinstance(translate, (list, tuple)):
        raise TypeError(f"Argument translate should be a sequence, got {translate!r}")
    if len(translate) != 2:
        raise ValueError(f"Argument translate should be a sequence of length 2, got {translate!r}")
    if scale <= 0.0:
        raise ValueError(f"Argument scale should be positive, got {scale}")
    if not isinstance(shear, (int, float, list, tuple)):
        raise TypeError(
            f"Shear should be either a single value or a sequence of two values, got {shear!r}"
        )
    shear = [shear, 0.0] if isinstance(shear, (int, float)) else list(shear)
    if len(shear) == 1:
        shear *= 2
    if len(shear) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError(f"Argument center should be a sequence, got {center!r}")
    width, height = get_image_size(img)
    if not is_tensor(img):
        center = (width * 0.5, height * 0.5) if center is None else center
        matrix = geometry.inverse_affine_matrix(center, angle, translate, scale, shear)
        return F_pil.transform(img, "AFFINE", matrix, pillow_filter(mode), fill)
    offset = _from_centre(center, width, height)
    matrix = geometry.inverse_affine_matrix(offset, angle, translate, scale, shear)
    return geometry.affine(img, matrix, mode, fill)


def perspective(img, startpoints, endpoints, interpolation=InterpolationMode.BILINEAR, fill=None):
    """Move the image's four points `startpoints` to `endpoints`, as a view of a plane does.

    Args:
        img: a Pillow image or a tensor.
        startpoints: four points [x, y]: top left, top right, bottom right, bottom left.
        endpoints: where they go.
        interpolation: BILINEAR (default) or NEAREST; for Pillow images BICUBIC too.
        fill: the colour of what lies outside, one number or one for each channel. Default: 0.

    Raises:
        ValueError: there are not four points of each.
    """
    mode = interpolation_mode(interpolation)
    coefficients = geometry.perspective_coefficients(startpoints, endpoints)
    if is_tensor(img):
        return geometry.perspective(img, coefficients, mode, fill)
    return F_pil.transform(img, "PERSPECTIVE", coefficients, pillow_filter(mode), fill)


def erase(img, i: int, j: int, h: int, w: int, v, inplace: bool = False):
    """Write the value `v` over the rectangle of a tensor at row `i`, column `j`.

    Raises:
        TypeError: `img` is no tensor.
    """
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}: put ToTensor() before")
    F_t.check_image(img)
    return F_t.erase(img, i, j, h, w, v, inplace)
