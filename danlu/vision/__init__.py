"""Images: datasets, transforms, models and pictures of tensors, with torchvision's names.

>>> from danlu.vision import transforms
>>> transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
Compose(
    ToTensor()
    Normalize(mean=(0.5,), std=(0.5,))
)
"""

from __future__ import annotations

from danlu.vision import datasets, io, models, ops, transforms, utils

__all__ = ["datasets", "io", "models", "ops", "transforms", "utils"]

__version__ = "0.28.0"  # the release of torchvision that is followed


def get_image_backend() -> str:
    """The library that reads image files: always "PIL"."""
    return "PIL"


def set_image_backend(backend: str) -> None:
    """Accept "PIL", the only library that reads image files here.

    Raises:
        ValueError: for another name.
    """
    if backend != "PIL":
        raise ValueError(f"Invalid backend '{backend}'. Options are 'PIL'")
