"""Pillow, imported when an image is first touched."""

from __future__ import annotations

import sys
from typing import Any


def pillow() -> Any:
    """The module `PIL.Image`.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ImportError(
            "reading and transforming images needs Pillow: pip install 'danlu[vision]'"
        ) from error
    return Image


def is_pil_image(value) -> bool:
    """Whether `value` is a Pillow image."""
    loaded = sys.modules.get("PIL.Image")  # without it there are no such images
    return loaded is not None and isinstance(value, loaded.Image)
