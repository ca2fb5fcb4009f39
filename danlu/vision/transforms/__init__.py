"""Transforms of images: of Pillow images, and of tensors (..., C, H, W)."""

from danlu.vision.transforms import functional
from danlu.vision.transforms._modes import InterpolationMode
from danlu.vision.transforms.transforms import *  # noqa: F403
from danlu.vision.transforms.transforms import __all__ as _names

__all__ = ["InterpolationMode", "functional", *_names]
