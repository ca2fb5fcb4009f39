"""Random images, to try a program on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import danlu
from danlu.vision.datasets.vision import VisionDataset

__all__ = ["FakeData"]


class FakeData(VisionDataset):
    """Random images with random labels, the same at every run.

    Args:
        size: the number of images. Default: 1000.
        image_size: (C, H, W). Default: (3, 224, 224).
        num_classes: labels are 0 to num_classes - 1. Default: 10.
        transform: what is done to an image.
        target_transform: what is done to a label, a 0-d tensor.
        random_offset: added to an image's number for its seed. Default: 0.

    Raises:
        IndexError: for a number from `size` on.

    Example:
        >>> from danlu.vision import datasets
        >>> image, label = datasets.FakeData(size=5, image_size=(3, 8, 8), num_classes=2)[0]
        >>> image.size, image.mode, label in (0, 1)
        ((8, 8), 'RGB', True)
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ):
        super().__init__(transform=transform, target_transform=target_transform)
        self.size = size
        self.num_classes = num_classes
        self.image_size = image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from danlu.vision.transforms.functional import to_pil_image

        if index >= len(self):
            raise IndexError(
                f"{type(self).__name__} index out of range: {index} of {len(self)} images"
            )
        generator = danlu.Generator().manual_seed(index + self.random_offset)
        pixels = danlu.randn(*self.image_size, generator=generator)
        label = danlu.randint(0, self.num_classes, (1,), generator=generator)[0]
        image, label = self._transformed(to_pil_image(pixels), label)
        return image, label.item() if isinstance(label, danlu.Tensor) else label

    def __len__(self) -> int:
        return self.size
