"""Pictures of tensors: grids, files, and drawings on images."""

from __future__ import annotations

import math
import os
from typing import Any

import danlu
from danlu.tensor import Tensor
from danlu.vision.transforms.functional import pil_to_tensor, to_pil_image

__all__ = ["draw_bounding_boxes", "make_grid", "save_image"]


@danlu.no_grad()
def make_grid(
    tensor,
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """One picture of many images, in rows.

    Args:
        tensor: images (N, C, H, W), a list of images of equal size, or one.
        nrow: images in a row. Default: 8.
        padding: pixels between images. Default: 2.
        normalize: whether to bring the values from `value_range` to [0, 1]. Default: False.
        value_range: (min, max). Default: the tensor's own.
        scale_each: whether every image has a range of its own. Default: False.
        pad_value: the colour between images. Default: 0.

    Shape:
        (N, C, H, W) -> (C, rows (H + padding) + padding, columns (W + padding) + padding); gray
        images get three channels, and one image alone no padding.

    Raises:
        TypeError: `tensor` is neither a tensor nor a list of tensors, `value_range` no pair.
        ValueError: there are no images.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.utils import make_grid
        >>> make_grid(torch.zeros(5, 1, 3, 4), nrow=4).shape
        torch.Size([3, 12, 26])
    """
    if isinstance(tensor, list):
        for image in tensor:
            if not isinstance(image, Tensor):
                raise TypeError(
                    f"tensor or list of tensors expected, got a list containing {type(image)}"
                )
        tensor = danlu.stack(tensor)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    if tensor.ndim == 2:
        tensor = tensor[None]
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4:
        raise ValueError(f"images (N, C, H, W) expected, got a tensor of size {tensor.shape}")
    count, channels, height, width = tensor.shape
    if count == 0:
        raise ValueError(f"at least one image expected, got a tensor of size {tensor.shape}")
    if channels == 1:
        channels = 3
        tensor = tensor.expand(-1, 3, -1, -1)
    if normalize:
        if value_range is not None and not isinstance(value_range, tuple):
            raise TypeError(
                "value_range has to be a tuple (min, max) if specified. min and max are numbers, "
                f"got {value_range!r}"
            )
        if scale_each:
            tensor = danlu.stack([_normalized(image, value_range) for image in tensor])
        else:
            tensor = _normalized(tensor, value_range)
    if count == 1:
        return tensor[0].clone()
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    height, width = height + padding, width + padding
    grid = tensor.new_full(
        (channels, height * rows + padding, width * columns + padding), pad_value
    )
    for number, image in enumerate(tensor):
        top = number // columns * height + padding
        left = number % columns * width + padding
        grid[:, top : top + height - padding, left : left + width - padding] = image
    return grid


def _normalized(images, value_range):
    if value_range is None:
        value_range = (float(images.min()), float(images.max()))
    low, high = value_range
    return (images.clamp(low, high) - low) / max(high - low, 1e-5)


def save_image(
    tensor, fp: str | os.PathLike[str] | Any, format: str | None = None, **kwargs: Any
) -> None:
    """Write images of values in [0, 1] as one picture, in a grid.

    Args:
        tensor: images (N, C, H, W), a list of images of equal size, or one.
        fp: a file name or an open file.
        format: the picture's format. Default: by the file name.
        kwargs: the other arguments of `make_grid`.

    Raises:
        ValueError: the file name has an unknown extension.
    """
    grid = make_grid(tensor, **kwargs)
    pixels = grid.detach().mul(255).add(0.5).clamp(0, 255).to(danlu.uint8)
    to_pil_image(pixels).save(fp, format=format)


# ---------------------------------------------------------------- drawings
def _palette(count: int) -> list[tuple[int, ...]]:
    """Colours that differ."""
    steps = (2**25 - 1, 2**15 - 1, 2**21 - 1)
    return [tuple(number * step % 255 for step in steps) for number in range(count)]


def _colours(colours, count: int) -> list[tuple[int, ...]]:
    """`count` RGB colours from None, one colour, or a list of colours; a colour is a name or RGB.

    Raises:
        ValueError: a list that is too short.
    """
    from PIL import ImageColor

    if colours is None:
        return _palette(count)
    if isinstance(colours, list):
        if len(colours) < count:
            raise ValueError(
                f"Number of colors must be equal or larger than the number of objects, but got "
                f"{len(colours)} < {count}."
            )
    else:
        colours = [colours] * count
    return [ImageColor.getrgb(each) if isinstance(each, str) else each for each in colours]


def _as_bytes(image):
    """An RGB or gray image as RGB bytes, and the function that brings such bytes to its dtype."""
    if not isinstance(image, Tensor):
        raise TypeError(f"Tensor expected, got {type(image)}")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            f"an RGB or gray image (3 or 1, H, W) expected, got a tensor of size {image.shape}"
        )
    rgb = image.expand(3, -1, -1)
    if image.is_floating_point():
        return (rgb * 255).to(danlu.uint8), lambda drawn: drawn.to(image.dtype) / 255
    if image.dtype != danlu.uint8:
        raise ValueError(f"The image dtype must be uint8 or float, got {image.dtype}")
    return rgb.clone(), lambda drawn: drawn


@danlu.no_grad()
def draw_bounding_boxes(
    image, boxes, labels: list[str] | None = None, colors=None, fill: bool = False, width: int = 1
) -> Tensor:
    """An image with boxes drawn on it.

    Args:
        image: (3, H, W) or (1, H, W), bytes or floats in [0, 1].
        boxes: (N, 4), each left, top, right, bottom, in pixels.
        labels: a text for each box. Default: none.
        colors: a name or RGB tuple, or a list of them. Default: different ones.
        fill: whether boxes are filled, half transparently. Default: False.
        width: of the lines. Default: 1.

    Raises:
        TypeError: `image` is no tensor.
        ValueError: other sizes, boxes of negative width or height, not one label a box.
    """
    pixels, back = _as_bytes(image)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes (N, 4) expected, got a tensor of size {boxes.shape}")
    if (boxes[:, 0] > boxes[:, 2]).any() or (boxes[:, 1] > boxes[:, 3]).any():
        raise ValueError(
            "Boxes need to be in (xmin, ymin, xmax, ymax) format. Use torchvision.ops.box_convert "
            "to convert them"
        )
    if labels is not None and len(labels) != len(boxes):
        raise ValueError(
            f"The number of boxes ({len(boxes)}) and labels ({len(labels)}) mismatch. Please "
            "specify labels for each box."
        )
    from PIL import ImageDraw

    picture = to_pil_image(pixels)
    draw = ImageDraw.Draw(picture, "RGBA" if fill else "RGB")
    for number, (box, colour) in enumerate(
        zip(boxes.long().tolist(), _colours(colors, len(boxes)))
    ):
        inside = (*colour, 100) if fill else None
        draw.rectangle(box, width=width, outline=colour, fill=inside)
        if labels is not None:
            draw.text((box[0] + width + 1, box[1] + width + 1), labels[number], fill=colour)
    return back(pil_to_tensor(picture))
