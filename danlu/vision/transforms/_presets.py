"""The preparation of images that the published weights of models expect."""

from __future__ import annotations

from danlu import nn
from danlu.tensor import Tensor
from danlu.vision.transforms import functional as F
from danlu.vision.transforms._modes import InterpolationMode

__all__ = ["ImageClassification"]


class ImageClassification(nn.Module):
    """Resize the smaller edge, take the middle, make floats in [0, 1], normalise the channels.

    Args:
        crop_size: the edge of the middle.
        resize_size: the smaller edge before. Default: 256.
        mean, std: of the channels. Default: ImageNet's.
        interpolation: how. Default: BILINEAR.
        antialias: for tensors, whether shrinking averages all pixels. Default: True.
    """

    def __init__(
        self, *, crop_size: int, resize_size: int = 256, mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225), interpolation=InterpolationMode.BILINEAR, antialias=True,
    ):  # fmt: skip
        super().__init__()
        self.crop_size = [crop_size]
        self.resize_size = [resize_size]
        self.mean = list(mean)
        self.std = list(std)
        self.interpolation = interpolation
        self.antialias = antialias

    def forward(self, img):
        img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        if not isinstance(img, Tensor):
            img = F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img), self.mean, self.std)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(\n    crop_size={self.crop_size}\n"
            f"    resize_size={self.resize_size}\n    mean={self.mean}\n    std={self.std}\n"
            f"    interpolation={self.interpolation}\n)"
        )
