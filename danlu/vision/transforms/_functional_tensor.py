"""Transforms of tensors (..., C, H, W): colour, padding and size."""

from __future__ import annotations

import numpy as np

import danlu
from danlu import nn
from danlu.backend import dtypes
from danlu.tensor import Tensor
from danlu.vision.transforms._antialias import antialiased

__all__: list[str] = []

_LARGEST = {
    "uint8": 255, "int8": 127, "int16": 32767, "uint16": 65535, "int32": 2**31 - 1,
    "int64": 2**63 - 1,
}  # fmt: skip


# ---------------------------------------------------------------- checks
def check_image(image) -> None:
    if image.ndim < 2:
        raise TypeError(
            "Tensor is not a torch image. Images have the size (..., C, H, W); "
            f"this has {tuple(image.shape)}"
        )


def is_tensor(image) -> bool:
    """Whether `image` is a tensor, no Pillow image; one without height and width is refused."""
    if not isinstance(image, Tensor):
        return False
    check_image(image)
    return True


def dimensions(image) -> list[int]:
    """[channels, height, width]."""
    check_image(image)
    channels = 1 if image.ndim == 2 else image.shape[-3]
    return [channels, image.shape[-2], image.shape[-1]]


def check_channels(image, permitted: list[int]) -> None:
    channels = dimensions(image)[0]
    if channels not in permitted:
        raise TypeError(
            f"Input image tensor permitted channel values are {permitted}, but found {channels}"
        )


def check_bytes(image) -> None:
    if image.dtype != danlu.uint8:
        raise TypeError(
            f"Only torch.uint8 image tensors are supported, but found {image.dtype}: write "
            "transforms.functional.convert_image_dtype(image, torch.uint8)"
        )


# ---------------------------------------------------------------- values
def largest_value(dtype: dtypes.dtype) -> int:
    """White: 1 for floats, the largest number for integers."""
    return _LARGEST.get(dtype.name, 1)


def convert_image_dtype(image, dtype: dtypes.dtype):
    source = image.dtype
    if source == dtype:
        return image
    if source.is_floating_point:
        if dtype.is_floating_point:
            return image.to(dtype)
        wide = ("int32", "int64") if source.name == "float32" else ("int64",)
        if source.name in ("float32", "float64") and dtype.name in wide:
            raise RuntimeError(
                f"The cast from {source} to {dtype} cannot be performed safely: its largest number "
                "is no such float"
            )
        # a little less than one more than the largest, so that every number gets an equal share
        return (image * (largest_value(dtype) + 1.0 - 1e-3)).to(dtype)
    before, after = largest_value(source), largest_value(dtype)
    if dtype.is_floating_point:
        return image.to(dtype) / before
    if before > after:
        return danlu.div(image, (before + 1) // (after + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((after + 1) // (before + 1))


def blend(image, other, share: float):
    """`share` of the image and the rest of another, within the range of colours."""
    largest, share = largest_value(image.dtype), float(share)
    return (share * image + (1.0 - share) * other).clamp(0, largest).to(image.dtype)


def grayscale(image, channels: int = 1):
    check_channels(image, [1, 3])
    if channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, got {channels}")
    if image.shape[-3] == 3:
        red, green, blue = image.unbind(-3)
        image = (0.2989 * red + 0.587 * green + 0.114 * blue).to(image.dtype).unsqueeze(-3)
    else:
        image = image.clone()
    if channels == 3:
        return image.expand(*image.shape[:-3], 3, *image.shape[-2:])
    return image


def adjust_brightness(image, factor: float):
    check_channels(image, [1, 3])
    return blend(image, danlu.zeros_like(image), factor)


def adjust_contrast(image, factor: float):
    check_channels(image, [3, 1])
    kind = image.dtype if image.is_floating_point() else danlu.float32
    gray = grayscale(image) if image.shape[-3] == 3 else image
    return blend(image, gray.to(kind).mean((-3, -2, -1), keepdim=True), factor)


def adjust_saturation(image, factor: float):
    check_channels(image, [1, 3])
    return image if image.shape[-3] == 1 else blend(image, grayscale(image), factor)


def adjust_hue(image, factor: float):
    check_channels(image, [1, 3])
    if image.shape[-3] == 1:
        return image
    floats = image if image.is_floating_point() else convert_image_dtype(image, danlu.float32)
    hue, saturation, value = _rgb_to_hsv(floats)
    rgb = _hsv_to_rgb((hue + factor) % 1.0, saturation, value)
    return convert_image_dtype(rgb, image.dtype)


def _rgb_to_hsv(image):
    """Smith 1978, "Color gamut transform pairs"; the hue is in [0, 1)."""
    red, green, blue = image.unbind(-3)
    highest, lowest = image.amax(-3), image.amin(-3)
    gray = highest == lowest
    chroma = danlu.where(gray, 1.0, highest - lowest)
    saturation = (highest - lowest) / danlu.where(gray, 1.0, highest)
    from_red = (highest - red) / chroma
    from_green = (highest - green) / chroma
    from_blue = (highest - blue) / chroma
    hue = danlu.where(
        highest == red,
        from_blue - from_green,
        danlu.where(highest == green, 2.0 + from_red - from_blue, 4.0 + from_green - from_red),
    )
    return danlu.fmod(hue / 6.0 + 1.0, 1.0), saturation, highest


def _hsv_to_rgb(hue, saturation, value):
    sector = danlu.floor(hue * 6.0)
    within = hue * 6.0 - sector
    sector = sector.to(danlu.int64) % 6
    low = (value * (1.0 - saturation)).clamp(0.0, 1.0)
    falling = (value * (1.0 - saturation * within)).clamp(0.0, 1.0)
    rising = (value * (1.0 - saturation * (1.0 - within))).clamp(0.0, 1.0)

    def channel(*by_sector):
        return danlu.stack(by_sector).gather(0, sector.unsqueeze(0))[0]

    return danlu.stack(
        (
            channel(value, falling, low, low, rising, value),
            channel(rising, value, value, falling, low, low),
            channel(low, low, rising, value, value, falling),
        ),
        -3,
    )


def adjust_gamma(image, gamma: float, gain: float):
    floats = image if image.is_floating_point() else convert_image_dtype(image, danlu.float32)
    return convert_image_dtype((gain * floats**gamma).clamp(0, 1), image.dtype)


def adjust_sharpness(image, factor: float):
    check_channels(image, [1, 3])
    if min(image.shape[-2:]) <= 2:
        return image
    return blend(image, _smoothed(image), factor)


def _smoothed(image):
    """A mean of the 3 by 3 neighbourhood in which the pixel itself counts five times; the border
    stays."""
    weights = danlu.ones(3, 3)
    weights[1, 1] = 5.0
    inner, back = to_float_batch(image)
    inner = back(_filter_each_channel(inner, weights / 13.0))
    result = image.clone()
    result[..., 1:-1, 1:-1] = inner
    return result


def invert(image):
    return largest_value(image.dtype) - image


def posterize(image, bits: int):
    check_bytes(image)
    return image & (0xFF - (1 << (8 - bits)) + 1)


def solarize(image, threshold: float):
    if threshold > largest_value(image.dtype):
        raise TypeError(
            f"Threshold should be less than bound of img: {threshold} is above "
            f"{largest_value(image.dtype)}, white of {image.dtype}"
        )
    return danlu.where(image >= threshold, invert(image), image)


def autocontrast(image):
    check_channels(image, [1, 3])
    white = largest_value(image.dtype)
    floats = image if image.is_floating_point() else image.to(danlu.float32)
    lowest = floats.amin((-2, -1), keepdim=True)
    highest = floats.amax((-2, -1), keepdim=True)
    flat = highest == lowest
    scale = danlu.where(flat, 1.0, white / danlu.where(flat, 1.0, highest - lowest))
    return ((floats - danlu.where(flat, 0.0, lowest)) * scale).clamp(0, white).to(image.dtype)


def equalize(image):
    check_channels(image, [1, 3])
    check_bytes(image)
    planes = image.reshape(-1, image.shape[-2] * image.shape[-1]).numpy()
    return danlu.from_numpy(
        np.stack([_equalized(plane) for plane in planes]).reshape(tuple(image.shape))
    )


def _equalized(plane):
    """One channel with its histogram flattened, as Pillow does it."""
    counts = np.bincount(plane, minlength=256)
    present = counts[counts != 0]
    step = int(present[:-1].sum()) // 255
    if step == 0:
        return plane
    below = np.concatenate(([0], np.cumsum(counts)[:-1]))
    table = np.minimum((below + step // 2) // step, 255)
    return table.astype(np.uint8)[plane]


# ---------------------------------------------------------------- filters
def to_float_batch(image):
    """The image as a batch (N, C, H, W) of floats, and the function that undoes it."""
    shape, dtype = image.shape, image.dtype
    floats = image if dtype.name in ("float32", "float64") else image.to(danlu.float32)
    channels = 1 if image.ndim == 2 else shape[-3]

    def back(batch):
        batch = batch.reshape(*shape[:-2], *batch.shape[-2:])
        if batch.dtype == dtype:
            return batch
        return (batch if dtype.is_floating_point else batch.round()).to(dtype)

    return floats.reshape(-1, channels, *shape[-2:]), back


def _filter_each_channel(batch, weights):
    channels = batch.shape[1]
    kernel = weights.to(batch.dtype).expand(channels, 1, *weights.shape)
    return nn.functional.conv2d(batch, kernel, groups=channels)


def gaussian_blur(image, kernel_size: list[int], sigma: list[float]):
    across, down = (_gaussian(*each) for each in zip(kernel_size, sigma))
    batch, back = to_float_batch(image)
    right, below = kernel_size[0] // 2, kernel_size[1] // 2
    batch = pad(batch, [right, below, right, below], 0, "reflect")
    return back(_filter_each_channel(batch, down[:, None] * across[None, :]))


def _gaussian(size: int, sigma: float):
    half = (size - 1) * 0.5
    values = danlu.exp(-0.5 * (danlu.linspace(-half, half, size) / sigma) ** 2)
    return values / values.sum()


# ---------------------------------------------------------------- place and size
def pad(image, padding: list[int], fill: float, mode: str):
    """Padding is [left, top, right, bottom]; negative numbers cut."""
    left, top, right, bottom = padding
    if mode == "constant":
        return nn.functional.pad(image, (left, right, top, bottom), value=fill)
    height, width = image.shape[-2:]
    rows = _source_places(height, top, bottom, mode)
    columns = _source_places(width, left, right, mode)
    return image[..., danlu.from_numpy(rows)[:, None], danlu.from_numpy(columns)]


def _source_places(size: int, before: int, after: int, mode: str):
    """For every place of a padded dimension, where its value comes from."""
    if mode == "reflect" and max(before, after) >= size:
        raise RuntimeError(
            "Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) for a dimension of {size}"
        )
    places = np.arange(-before, size + after)
    if mode == "edge":
        return places.clip(0, size - 1)
    if mode == "reflect":  # without the border itself
        return size - 1 - abs(size - 1 - abs(places))
    places = places % (2 * size)
    return np.where(places < size, places, 2 * size - 1 - places)


def crop(image, top: int, left: int, height: int, width: int):
    """Parts that lie outside of the image are black."""
    rows, columns = image.shape[-2:]
    if min(top, left) >= 0 and top + height <= rows and left + width <= columns:
        return image[..., top : top + height, left : left + width]
    bottom, right = top + height, left + width
    inside = image[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    before, above = max(min(right, 0) - left, 0), max(min(bottom, 0) - top, 0)
    padding = [
        before, above, max(width - before - inside.shape[-1], 0),
        max(height - above - inside.shape[-2], 0),
    ]  # fmt: skip
    return pad(inside, padding, 0, "constant")


def resize(image, size: list[int], mode: str, antialias: bool):
    batch, back = to_float_batch(image)
    if mode == "lanczos":
        raise ValueError("LANCZOS is for PIL images alone: for tensors take BICUBIC")
    if antialias and mode in ("bilinear", "bicubic"):
        _check_sizes(image, size)
        batch = antialiased(batch, size, mode)
    else:
        align_corners = False if mode in ("bilinear", "bicubic") else None
        batch = nn.functional.interpolate(batch, size, mode=mode, align_corners=align_corners)
    if mode == "bicubic" and image.dtype == danlu.uint8:
        batch = batch.clamp(0, 255)  # cubics overshoot
    return back(batch)


def _check_sizes(image, size: list[int]) -> None:
    if min(size) < 1 or min(image.shape[-2:]) < 1:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"{list(image.shape[-2:])} output {list(size)}"
        )


def erase(image, top: int, left: int, height: int, width: int, value, inplace: bool):
    if not inplace:
        image = image.clone()
    image[..., top : top + height, left : left + width] = value
    return image
