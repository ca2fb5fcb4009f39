"""From what users log to NumPy arrays, pixels and encoded pictures."""

from __future__ import annotations

import io
import math

import numpy as np

from danlu.tensor import Tensor

__all__ = [
    "as_array", "encode_image", "encode_wave", "figure_to_pixels", "figures_to_pixels",
    "image_grid", "to_pixels",
]  # fmt: skip

_COLUMNS = 8


def as_array(value, where: str) -> np.ndarray:
    """The value as an array; a number has shape (1,).

    Args:
        value: a number, a NumPy array or a tensor on any device.
        where: the call, for the message of an error.

    Raises:
        ValueError: for text.
        NotImplementedError: for values of other types.
    """
    if isinstance(value, (str, bytes)):
        raise ValueError(f"{where}: expected numbers, got {value!r}; text goes to add_text")
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        # NumPy itself cannot compute with bfloat16 and the eight-bit floats
        return value.numpy() if value._array.dtype.isbuiltin else value.float().numpy()
    if np.isscalar(value):
        return np.array([value])
    hint = ": convert it with torch.tensor(...)" if isinstance(value, (list, tuple)) else ""
    raise NotImplementedError(
        f"{where}: expected a number, a NumPy array or a tensor, got {type(value).__name__}{hint}"
    )


# ---------------------------------------------------------------- pictures
def to_pixels(value, dataformats: str, where: str) -> np.ndarray:
    """A picture, or a batch of pictures side by side, as bytes.

    Floats count as 0 to 1 and bytes as 0 to 255; what lies outside is clipped.

    Args:
        dataformats: the order of the axes, out of the letters N, C, H and W.

    Shape:
        axes as `dataformats` says -> (H, W, C) with C of 3, or 4 for a single picture with alpha.

    Raises:
        AssertionError: axes or channels that make no picture.
    """
    array = as_array(value, where)
    layout = _checked_layout(array, dataformats, where)
    if len(layout) == 4:
        array = image_grid(array.transpose([layout.index(axis) for axis in "NCHW"]), where=where)
        layout = "CHW"
    if len(layout) == 2:
        array, layout = array[..., None], layout + "C"
    array = array.transpose([layout.index(axis) for axis in "HWC"])
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] not in (3, 4):
        raise AssertionError(
            f"{where}: a picture has 1, 3 or 4 channels, got {array.shape[2]} in shape "
            f"{list(np.shape(value))} read as {dataformats!r}: name the order of the axes, "
            "for instance dataformats='HWC'"
        )
    scale = 1 if array.dtype == np.uint8 else 255
    return (array.astype(np.float32) * scale).clip(0, 255).astype(np.uint8)


def _checked_layout(array, dataformats, where) -> str:
    layout = dataformats.upper()
    if sorted(layout) not in (["H", "W"], ["C", "H", "W"], ["C", "H", "N", "W"]):
        raise AssertionError(
            f"{where}: dataformats names each of H and W, C and N at most once, as 'CHW', 'HW' or "
            f"'NHWC' do, got {dataformats!r}"
        )
    if array.ndim != len(layout):
        better = {2: "HW", 3: "CHW", 4: "NCHW"}.get(array.ndim)
        advice = f": pass dataformats='{better}'" if better else ""
        raise AssertionError(
            f"{where}: dataformats={dataformats!r} names {len(layout)} axes, but the picture has "
            f"{array.ndim}, shape {list(array.shape)}{advice}"
        )
    return layout


def image_grid(
    images: np.ndarray, columns: int = _COLUMNS, where: str = "image_grid"
) -> np.ndarray:
    """Pictures side by side, `columns` in a row, the last row filled up with black.

    Shape:
        (N, C, H, W) with C of 1 or 3 -> (3, rows * H, columns * W)
    """
    count, channels, height, width = images.shape
    if channels == 1:
        images = np.repeat(images, 3, axis=1)
    elif channels != 3:
        raise AssertionError(
            f"{where}: pictures of a batch have 1 or 3 channels, got {channels} in shape "
            f"{list(images.shape)} (N, C, H, W)"
        )
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, 3, height, width), images.dtype)
    tiles[:count] = images
    tiles = tiles.reshape(rows, columns, 3, height, width)
    return tiles.transpose(2, 0, 3, 1, 4).reshape(3, rows * height, columns * width)


def encode_image(pixels: np.ndarray) -> bytes:
    """The picture (H, W, C) as a PNG file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("logging pictures needs Pillow: pip install 'danlu[vision]'") from error
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def figure_to_pixels(figure, close: bool = True) -> np.ndarray:
    """A matplotlib figure as it would be printed.

    Args:
        close: also close the figure, so that pyplot does not keep it. Default: True

    Shape:
        (3, H, W)
    """
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not hasattr(figure, "savefig"):
        raise TypeError(
            f"add_figure: expected a matplotlib figure, got {type(figure).__name__}: "
            "fig = plt.figure(), or plt.gcf() for the current one"
        )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    if close:
        pyplot.close(figure)
    return pixels.transpose(2, 0, 1)


def figures_to_pixels(figures, close: bool = True) -> np.ndarray:
    """Several figures of one size.

    Shape:
        (N, 3, H, W)
    """
    pixels = [figure_to_pixels(figure, close) for figure in figures]
    sizes = {each.shape[1:] for each in pixels}
    if len(sizes) != 1:
        raise ValueError(
            "add_figure: a list holds figures of one size, got heights and widths "
            f"{sorted(sizes)}: make all with the same figsize and dpi, or log them under several "
            "tags"
        )
    return np.stack(pixels)


# ---------------------------------------------------------------- sound
def encode_wave(samples: np.ndarray, sample_rate: int) -> bytes:
    """Samples (L,) between -1 and 1 as a WAV file of 16 bits."""
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(sample_rate)
        sound.writeframes((samples * np.iinfo(np.int16).max).astype("<i2").tobytes())
    return file.getvalue()
