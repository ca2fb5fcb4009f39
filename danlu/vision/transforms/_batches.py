"""Transforms that do the same to every image, done to a whole batch of pixels at once."""

from __future__ import annotations

from collections.abc import Callable

from danlu.vision.transforms._containers import Compose
from danlu.vision.transforms._conversion import ConvertImageDtype, Normalize, PILToTensor, ToTensor
from danlu.vision.transforms._functional_conversion import tensor_of_pixels

__all__ = ["batch_transform"]

_POINTWISE = (Normalize, ConvertImageDtype)


def batch_transform(transform) -> Callable | None:
    """The function from pixels (N, H, W) or (N, H, W, C) of bytes to the tensor (N, C, H, W) that
    stacks what `transform` makes of the images; None where one image must follow the other.
    """
    steps = transform.transforms if type(transform) is Compose else [transform]
    if not steps or type(steps[0]) not in (ToTensor, PILToTensor):
        return None
    if any(type(step) not in _POINTWISE for step in steps[1:]):
        return None
    scaled = type(steps[0]) is ToTensor

    def on_batch(pixels):
        images = tensor_of_pixels(pixels if pixels.ndim == 4 else pixels[..., None], scaled)
        for step in steps[1:]:
            images = step(images)
        return images

    return on_batch
