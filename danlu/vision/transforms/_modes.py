"""How pixels between pixels are found."""

from __future__ import annotations

from enum import Enum

__all__ = ["InterpolationMode", "interpolation_mode", "pillow_filter"]


class InterpolationMode(Enum):
    """The ways to interpolate; tensors know all but BOX, HAMMING and LANCZOS.

    >>> from danlu.vision.transforms import InterpolationMode
    >>> InterpolationMode("bilinear")
    <InterpolationMode.BILINEAR: 'bilinear'>
    """

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


# Pillow's numbers
_FILTERS = {
    InterpolationMode.NEAREST: 0, InterpolationMode.LANCZOS: 1, InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3, InterpolationMode.BOX: 4, InterpolationMode.HAMMING: 5,
    InterpolationMode.NEAREST_EXACT: 0,
}  # fmt: skip
_BY_NUMBER = {number: mode for mode, number in reversed(_FILTERS.items())}


def interpolation_mode(value) -> InterpolationMode:
    """The mode from a mode or from Pillow's number for it.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(value, InterpolationMode):
        return value
    mode = _BY_NUMBER.get(int(value)) if isinstance(value, int) else None
    if mode is None:
        raise TypeError(
            "Argument interpolation should be a InterpolationMode or a corresponding Pillow "
            f"integer constant, e.g. InterpolationMode.BILINEAR; got {value!r}"
        )
    return mode


def pillow_filter(mode: InterpolationMode) -> int:
    """Pillow's number for the mode."""
    return _FILTERS[mode]
