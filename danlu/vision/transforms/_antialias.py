"""Shrinking without aliasing: every output pixel is a weighted mean of all the pixels it covers.

Pillow's way, which PyTorch follows: the interpolation kernel is stretched by the factor of the
reduction, sampled at the pixels' centres, and normalised.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from danlu.kernels.resampling import Table
from danlu.ops.resampling import resample

__all__ = ["antialiased"]

CUBIC = -0.5  # Keys 1981; without antialiasing PyTorch takes -0.75


def _triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x):
    x = np.abs(x)
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    return np.where(x < 1, near, np.where(x < 2, far, 0))


# The kernels, and how far each reaches.
_KERNELS = {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2)}


@lru_cache(maxsize=64)
def _table(size: int, count: int, mode: str, dtype: str) -> Table:
    kernel, reach = _KERNELS[mode]
    kind = np.dtype(dtype).type
    scale = kind(size) / kind(count)
    stretch = max(scale, kind(1))
    support = kind(reach) * stretch
    centre = scale * (np.arange(count, dtype=kind) + kind(0.5))
    start = np.maximum((centre - support + kind(0.5)).astype(np.int64), 0)
    stop = np.minimum((centre + support + kind(0.5)).astype(np.int64), size)
    lengths = stop - start
    sources = start[:, None] + np.arange(lengths.max())
    weights = kernel((sources - centre[:, None] + kind(0.5)) / stretch)
    weights = np.where(sources < stop[:, None], weights, 0)
    weights /= weights.sum(1, keepdims=True)
    return Table(np.minimum(sources, size - 1), weights, size, lengths)


def antialiased(input, size: list[int], mode: str):
    """Images (N, C, H, W) of floats in another size; mode is "bilinear" or "bicubic"."""
    dtype = "float64" if input._array.dtype == np.float64 else "float32"
    # A table of None leaves its dimension alone; the width goes first, as in PyTorch and Pillow.
    for tables in (
        (None, _table(input.shape[3], size[1], mode, dtype)),
        (_table(input.shape[2], size[0], mode, dtype), None),
    ):
        input = resample(f"Upsample{mode.title()}2DAa", input, tables)
    return input
