"""Transforms that move or hide an image's pixels by chance."""

from __future__ import annotations

import math
import warnings

import danlu
from danlu import nn
from danlu.tensor import Tensor
from danlu.vision.transforms import functional as F
from danlu.vision.transforms._arguments import (
    angle_range,
    randint,
    sequence_of,
    size_tuple,
    uniform,
)
from danlu.vision.transforms._modes import InterpolationMode, interpolation_mode

__all__ = [
    "RandomAffine", "RandomCrop", "RandomErasing", "RandomHorizontalFlip", "RandomPerspective",
    "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip",
]  # fmt: skip

ATTEMPTS = 10  # to find a rectangle that fits


class _RandomFlip(nn.Module):
    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(_RandomFlip):
    """Left and right exchanged with probability `p` (default: 0.5).

    Example:
        >>> import danlu as torch
        >>> from danlu.vision import transforms
        >>> transforms.RandomHorizontalFlip(p=1.0)(torch.tensor([[[1, 2]]]))
        tensor([[[2, 1]]])
    """

    def forward(self, img):
        return F.hflip(img) if danlu.rand(1) < self.p else img


class RandomVerticalFlip(_RandomFlip):
    """Top and bottom exchanged with probability `p` (default: 0.5)."""

    def forward(self, img):
        return F.vflip(img) if danlu.rand(1) < self.p else img


class RandomCrop(nn.Module):
    """A part of an image at a random place.

    Args:
        size: (height, width), or one number for a square.
        padding: the border that the image gets before, as for `Pad`. Default: none.
        pad_if_needed: whether an image that is too small gets a border. Default: False.
        fill: the border's colour. Default: 0.
        padding_mode: "constant" (default), "edge", "reflect" or "symmetric".

    Raises:
        ValueError: the image is smaller than `size`.
    """

    def __init__(
        self, size, padding=None, pad_if_needed: bool = False, fill=0, padding_mode="constant"
    ):
        super().__init__()
        self.size = size_tuple(size)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img, output_size) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a part of this size."""
        _, height, width = F.get_dimensions(img)
        rows, columns = output_size
        if height < rows or width < columns:
            raise ValueError(
                f"Required crop size {(rows, columns)} is larger than input image size "
                f"{(height, width)}: pass padding=... or pad_if_needed=True"
            )
        if (height, width) == (rows, columns):
            return 0, 0, height, width
        top = randint(0, height - rows + 1)
        left = randint(0, width - columns + 1)
        return top, left, rows, columns

    def forward(self, img):
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            for side, missing in ((1, self.size[1]), (0, self.size[0])):
                missing -= F.get_dimensions(img)[1 + side]
                if missing > 0:
                    border = [missing, 0] if side else [0, missing]
                    img = F.pad(img, border, self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class RandomResizedCrop(nn.Module):
    """A random part of an image, of random area and proportion, in a given size.

    Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842.

    Args:
        size: (height, width) of the result, or one number for a square.
        scale: the least and the largest share of the image's area. Default: (0.08, 1.0).
        ratio: the least and the largest width per height. Default: (3 / 4, 4 / 3).
        interpolation: how. Default: BILINEAR.
        antialias: for tensors, whether shrinking averages all pixels. Default: True.

    Raises:
        TypeError: scale or ratio is no sequence.
    """

    def __init__(
        self, size, scale=(0.08, 1.0), ratio=(3.0 / 4.0, 4.0 / 3.0),
        interpolation=InterpolationMode.BILINEAR, antialias=True,
    ):  # fmt: skip
        super().__init__()
        self.size = size_tuple(size)
        for name, value in (("Scale", scale), ("Ratio", ratio)):
            if not hasattr(value, "__len__"):
                raise TypeError(f"{name} should be a sequence")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias
        self.scale = scale
        self.ratio = ratio

    @staticmethod
    def get_params(img, scale, ratio) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a part; the middle, where none was found that fits."""
        _, height, width = F.get_dimensions(img)
        for area, proportion in _rectangles(height * width, scale, ratio):
            columns = round(math.sqrt(area * proportion))
            rows = round(math.sqrt(area / proportion))
            if 0 < columns <= width and 0 < rows <= height:
                top = randint(0, height - rows + 1)
                left = randint(0, width - columns + 1)
                return top, left, rows, columns
        rows, columns = height, width
        if width / height < min(ratio):
            rows = round(width / min(ratio))
        elif width / height > max(ratio):
            columns = round(height * max(ratio))
        return (height - rows) // 2, (width - columns) // 2, rows, columns

    def forward(self, img):
        part = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *part, self.size, self.interpolation, self.antialias)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, "
            f"scale={tuple(round(each, 4) for each in self.scale)}, "
            f"ratio={tuple(round(each, 4) for each in self.ratio)}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


def _rectangles(area: int, scale, ratio):
    """Random (area, proportion) pairs; proportions and their inverses are equally frequent."""
    logarithms = danlu.log(danlu.tensor(ratio)).tolist()
    for _ in range(ATTEMPTS):
        part = area * uniform(scale[0], scale[1])
        yield part, danlu.exp(danlu.empty(1).uniform_(*logarithms)).item()


class RandomRotation(nn.Module):
    """An image turned by a random angle.

    Args:
        degrees: the range (min, max), or x for (-x, x); counter-clockwise.
        interpolation: NEAREST (default) or BILINEAR; for Pillow images BICUBIC too.
        expand: whether the result is large enough for the whole image. Default: False.
        center: (x, y) from the top left corner. Default: the image's centre.
        fill: the colour of what lies outside, one number or one for each channel. Default: 0.

    Raises:
        ValueError: a negative number, or another length than two.
        TypeError: a `fill` that is neither a number nor a sequence.
    """

    def __init__(
        self, degrees, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=0
    ):
        super().__init__()
        self.degrees = angle_range(degrees, "degrees")
        if center is not None:
            sequence_of(center, "center")
        self.center = center
        self.interpolation = interpolation_mode(interpolation)
        self.expand = expand
        self.fill = _fill(fill)

    @staticmethod
    def get_params(degrees) -> float:
        """An angle from the range."""
        return uniform(float(degrees[0]), float(degrees[1]))

    def forward(self, img):
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        fill = "" if self.fill is None else f", fill={self.fill}"
        return (
            f"{type(self).__name__}(degrees={self.degrees}, "
            f"interpolation={self.interpolation.value}, expand={self.expand}{center}{fill})"
        )


def _fill(value):
    if value is None:
        return 0
    if not isinstance(value, (int, float, list, tuple)):
        raise TypeError(f"Fill should be either a sequence or a number, got {value!r}")
    return value


class RandomAffine(nn.Module):
    """An image turned, shifted, scaled and sheared around its centre, by chance.

    Args:
        degrees: the range (min, max) of the angle, or x for (-x, x); clockwise.
        translate: the largest shifts (across, down) as parts of the width and the height.
            Default: none.
        scale: the range of the factor. Default: none.
        shear: the range along x, (min, max) or x for (-x, x), or the ranges along x and y, four
            numbers. Default: none.
        interpolation: NEAREST (default) or BILINEAR; for Pillow images BICUBIC too.
        fill: the colour of what lies outside, one number or one for each channel. Default: 0.
        center: (x, y) from the top left corner. Default: the image's centre.

    Raises:
        TypeError: an argument is neither a number nor a sequence as it should be.
        ValueError: other lengths, shifts outside of [0, 1], scales that are not positive.
    """

    def __init__(
        self, degrees, translate=None, scale=None, shear=None,
        interpolation=InterpolationMode.NEAREST, fill=0, center=None,
    ):  # fmt: skip
        super().__init__()
        self.degrees = angle_range(degrees, "degrees")
        if translate is not None:
            sequence_of(translate, "translate")
            if not all(0.0 <= each <= 1.0 for each in translate):
                raise ValueError("translation values should be between 0 and 1")
        self.translate = translate
        if scale is not None:
            sequence_of(scale, "scale")
            if any(each <= 0 for each in scale):
                raise ValueError("scale values should be positive")
        self.scale = scale
        self.shear = None if shear is None else angle_range(shear, "shear", (2, 4))
        self.interpolation = interpolation_mode(interpolation)
        self.fill = _fill(fill)
        if center is not None:
            sequence_of(center, "center")
        self.center = center

    @staticmethod
    def get_params(degrees, translate, scale_ranges, shears, img_size):
        """(angle, (shift across, shift down), factor, (shear along x, along y)) for an image of the
        size (width, height).
        """
        angle = uniform(float(degrees[0]), float(degrees[1]))
        shift = (0, 0)
        if translate is not None:
            largest = [float(part * size) for part, size in zip(translate, img_size)]
            shift = tuple(round(uniform(-each, each)) for each in largest)
        factor = 1.0 if scale_ranges is None else uniform(scale_ranges[0], scale_ranges[1])
        across = down = 0.0
        if shears is not None:
            across = uniform(shears[0], shears[1])
            if len(shears) == 4:
                down = uniform(shears[2], shears[3])
        return angle, shift, factor, (across, down)

    def forward(self, img):
        parameters = self.get_params(
            self.degrees, self.translate, self.scale, self.shear, F.get_image_size(img)
        )
        return F.affine(img, *parameters, self.interpolation, self.fill, self.center)

    def __repr__(self) -> str:
        said = [f"degrees={self.degrees}"]
        said += [
            f"{name}={getattr(self, name)}"
            for name in ("translate", "scale", "shear")
            if getattr(self, name) is not None
        ]
        if self.interpolation is not InterpolationMode.NEAREST:
            said.append(f"interpolation={self.interpolation.value}")
        if self.fill != 0:
            said.append(f"fill={self.fill}")
        if self.center is not None:
            said.append(f"center={self.center}")
        return f"{type(self).__name__}({', '.join(said)})"


class RandomPerspective(nn.Module):
    """An image seen from a random side, with probability `p`.

    Args:
        distortion_scale: how far the corners move, from 0 to 1. Default: 0.5.
        p: the probability. Default: 0.5.
        interpolation: BILINEAR (default) or NEAREST; for Pillow images BICUBIC too.
        fill: the colour of what lies outside, one number or one for each channel. Default: 0.
    """

    def __init__(
        self, distortion_scale: float = 0.5, p: float = 0.5,
        interpolation=InterpolationMode.BILINEAR, fill=0,
    ):  # fmt: skip
        super().__init__()
        self.p = p
        self.interpolation = interpolation_mode(interpolation)
        self.distortion_scale = distortion_scale
        self.fill = _fill(fill)

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float):
        """The four corners of an image, and where they go."""
        across = int(distortion_scale * (width // 2))
        down = int(distortion_scale * (height // 2))
        left, right = (0, across + 1), (width - across - 1, width)
        top, bottom = (0, down + 1), (height - down - 1, height)
        ends = [
            [randint(*x), randint(*y)]
            for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
        ]
        starts = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        return starts, ends

    def forward(self, img):
        width, height = F.get_image_size(img)
        if not danlu.rand(1) < self.p:
            return img
        starts, ends = self.get_params(width, height, self.distortion_scale)
        return F.perspective(img, starts, ends, self.interpolation, self.fill)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomErasing(nn.Module):
    """A random rectangle of a tensor image overwritten, with probability `p`.

    Zhong et al. 2017, "Random erasing data augmentation", arXiv:1708.04896.

    Args:
        p: the probability. Default: 0.5.
        scale: the least and the largest share of the image's area. Default: (0.02, 0.33).
        ratio: the least and the largest height per width. Default: (0.3, 3.3).
        value: what is written: a number, one for each channel, or "random". Default: 0.
        inplace: whether to write into the image. Default: False.

    Raises:
        TypeError: value, scale or ratio of another type; an image that is no tensor.
        ValueError: numbers outside of these ranges, or a `value` that does not fit the channels.
    """

    def __init__(
        self, p: float = 0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace: bool = False
    ):
        super().__init__()
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"If value is str, it should be 'random', not {value!r}")
        if not isinstance(scale, (tuple, list)):
            raise TypeError("Scale should be a sequence")
        if not isinstance(ratio, (tuple, list)):
            raise TypeError("Ratio should be a sequence")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError(f"Scale should be between 0 and 1, got {scale}")
        if not 0 <= p <= 1:
            raise ValueError(f"Random erasing probability should be between 0 and 1, got {p}")
        self.p = p
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(img, scale, ratio, value=None):
        """(top, left, height, width, values); `value` is a list of numbers, None: random ones.

        Where no rectangle was found that fits, the whole image and itself.
        """
        channels, height, width = img.shape[-3:]
        for area, proportion in _rectangles(height * width, scale, ratio):
            rows = round(math.sqrt(area * proportion))
            columns = round(math.sqrt(area / proportion))
            if not (rows < height and columns < width):
                continue
            if value is None:
                values = danlu.empty(channels, rows, columns).normal_()
            else:
                values = danlu.tensor(value)[:, None, None]
            top = randint(0, height - rows + 1)
            left = randint(0, width - columns + 1)
            return top, left, rows, columns, values
        return 0, 0, height, width, img

    def forward(self, img):
        if not isinstance(img, Tensor):
            raise TypeError(f"img should be Tensor Image. Got {type(img)}: put ToTensor() before")
        if not danlu.rand(1) < self.p:
            return img
        value = self.value
        if isinstance(value, (int, float)):
            value = [float(value)]
        elif isinstance(value, str):
            value = None
        else:
            value = [float(each) for each in value]
        if value is not None and len(value) not in (1, img.shape[-3]):
            raise ValueError(
                "If value is a sequence, it should have either a single value or "
                f"{img.shape[-3]} (number of input channels)"
            )
        return F.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio}, "
            f"value={self.value}, inplace={self.inplace})"
        )
