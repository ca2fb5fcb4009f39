"""Image files to tensors and back."""

from __future__ import annotations

import os
from enum import Enum

import danlu
from danlu.tensor import Tensor
from danlu.vision._pillow import pillow
from danlu.vision.transforms.functional import pil_to_tensor, to_pil_image

__all__ = ["ImageReadMode", "decode_image", "read_image", "write_jpeg", "write_png"]


class ImageReadMode(Enum):
    """The channels of the tensor that an image file is read to."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


_PILLOW_MODES = {
    ImageReadMode.GRAY: "L", ImageReadMode.GRAY_ALPHA: "LA", ImageReadMode.RGB: "RGB",
    ImageReadMode.RGB_ALPHA: "RGBA",
}  # fmt: skip


def decode_image(input, mode: ImageReadMode | str = ImageReadMode.UNCHANGED) -> Tensor:
    """Read an image file to a tensor (C, H, W) of bytes.

    Args:
        input: the file's name, or its content as a tensor of bytes.
        mode: the channels, an `ImageReadMode` or its name. Default: the file's own.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: it is no image, or a broken one; the message names it.
    """
    from io import BytesIO

    images = pillow()
    named = not isinstance(input, Tensor)
    source = os.fspath(input) if named else BytesIO(input.numpy().tobytes())
    wanted = _PILLOW_MODES.get(ImageReadMode[mode.upper()] if isinstance(mode, str) else mode)
    try:
        with images.open(source) as image:
            image.load()
            if wanted is None and image.mode == "P":
                wanted = "RGBA" if "transparency" in image.info else "RGB"
            return pil_to_tensor(image if wanted is None else image.convert(wanted))
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        name = repr(source) if named else "from its bytes"
        raise RuntimeError(f"cannot read the image {name}: {error}") from error


def read_image(path: str | os.PathLike[str], mode=ImageReadMode.UNCHANGED) -> Tensor:
    """`decode_image` of a file."""
    return decode_image(path, mode)


def _write(input: Tensor, filename, **options) -> None:
    if input.dtype != danlu.uint8:
        raise RuntimeError(
            f"Input tensor dtype should be uint8, got {input.dtype}: write "
            "transforms.functional.convert_image_dtype(image, torch.uint8)"
        )
    to_pil_image(input).save(filename, **options)


def write_png(input: Tensor, filename, compression_level: int = 6) -> None:
    """Write bytes (C, H, W) as a PNG file; `compression_level` is from 0 to 9.

    Raises:
        RuntimeError: the tensor has another dtype.
    """
    _write(input, filename, format="PNG", compress_level=compression_level)


def write_jpeg(input: Tensor, filename, quality: int = 75) -> None:
    """Write bytes (C, H, W) as a JPEG file; `quality` is from 1 to 100.

    Raises:
        RuntimeError: the tensor has another dtype.
    """
    _write(input, filename, format="JPEG", quality=quality)
