"""Maps of the plane, and tensors (..., C, H, W) under them.

A matrix [a, b, c, d, e, f] takes the output point (x, y) to the input point (a x + b y + c,
d x + e y + f). For Pillow the origin is the image's corner, for tensors its centre.
"""

from __future__ import annotations

import math

import numpy as np

import danlu
from danlu import nn
from danlu.vision.transforms._functional_tensor import to_float_batch
from danlu.vision.transforms._modes import InterpolationMode

__all__: list[str] = []

_SAMPLED = (InterpolationMode.NEAREST, InterpolationMode.BILINEAR)


def inverse_affine_matrix(center, angle: float, translate, scale: float, shear) -> list[float]:
    """The inverse of: shear, rotate by `angle` (degrees, clockwise) and scale around `center`,
    then translate.
    """
    turn, across, down = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    # rotation times shear along y times shear along x, of determinant 1
    a = math.cos(turn - down) / math.cos(down)
    b = -a * math.tan(across) - math.sin(turn)
    c = math.sin(turn - down) / math.cos(down)
    d = -c * math.tan(across) + math.cos(turn)
    matrix = [value / scale for value in (d, -b, 0.0, -c, a, 0.0)]
    x, y = center[0] + translate[0], center[1] + translate[1]
    matrix[2] = center[0] - matrix[0] * x - matrix[1] * y
    matrix[5] = center[1] - matrix[3] * x - matrix[4] * y
    return matrix


def expanded_size(matrix: list[float], width: int, height: int) -> tuple[int, int]:
    """The (width, height) that holds the whole image after the map."""
    corners = np.array(
        [(x * width / 2, y * height / 2, 1.0) for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))],
        np.float32,
    )
    mapped = corners @ np.array(matrix, np.float32).reshape(2, 3).T
    shift = np.array((width / 2, height / 2), np.float32)
    # four decimals count: a quarter turn must not gain a pixel by rounding
    places = np.trunc(np.stack((mapped.min(0) + shift, mapped.max(0) + shift)) / 1e-4) * 1e-4
    size = np.ceil(places[1].astype(np.float32)) - np.floor(places[0].astype(np.float32))
    return int(size[0]), int(size[1])


def affine(image, matrix: list[float], mode: InterpolationMode, fill, size=None):
    """The image under the map; `size` is (width, height) of the result. Default: the image's."""
    height, width = image.shape[-2:]
    columns, rows = size or (width, height)
    half = danlu.tensor([0.5 * width, 0.5 * height])
    rescaled = danlu.tensor(matrix).reshape(2, 3).T / half
    return _sample(image, (_places(columns, rows, True) @ rescaled)[None], mode, fill)


def _places(columns: int, rows: int, centred: bool):
    """The points (x, y, 1) of an image's pixels, (rows, columns, 3)."""
    x = danlu.arange(columns) + 0.5 - (columns * 0.5 if centred else 0)
    y = danlu.arange(rows) + 0.5 - (rows * 0.5 if centred else 0)
    down, across = danlu.meshgrid(y, x, indexing="ij")
    return danlu.stack((across, down, danlu.ones(rows, columns)), -1)


def perspective_coefficients(startpoints, endpoints) -> list[float]:
    """The eight numbers a to h with which the output point (x, y) comes from the input point
    ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)).

    Raises:
        ValueError: there are not four points of each.
    """
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise ValueError(
            "Please provide exactly four corners, got "
            f"{len(startpoints)} startpoints and {len(endpoints)} endpoints."
        )
    rows = []
    for (x, y), (u, v) in zip(endpoints, startpoints):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    wanted = np.array(startpoints, np.float64).reshape(8)
    solution = np.linalg.lstsq(np.array(rows, np.float64), wanted, rcond=None)[0]
    return solution.astype(np.float32).tolist()


def perspective(image, coefficients: list[float], mode: InterpolationMode, fill):
    height, width = image.shape[-2:]
    places = _places(width, height, False)
    half = danlu.tensor([0.5 * width, 0.5 * height])
    above = danlu.tensor([coefficients[0:3], coefficients[3:6]]).T / half
    below = danlu.tensor([[*coefficients[6:8], 1.0]] * 2).T
    return _sample(image, ((places @ above) / (places @ below) - 1.0)[None], mode, fill)


def _sample(image, grid, mode: InterpolationMode, fill):
    """The image read at the points of `grid` (1, H, W, 2), whose corners are -1 and 1.

    Raises:
        ValueError: for other modes than NEAREST and BILINEAR, or a `fill` of another length than
            one or the number of channels.
    """
    if mode not in _SAMPLED:
        raise ValueError(
            f"Interpolation mode '{mode.value}' is unsupported with Tensor input: take nearest or "
            "bilinear, or a PIL image"
        )
    batch, back = to_float_batch(image)
    colour = _fill_colour(fill, batch)
    count, channels = batch.shape[:2]
    if colour is not None:  # a channel more tells how much of a pixel comes from the image
        batch = danlu.cat((batch, danlu.ones_like(batch[:, :1])), 1)
    grid = grid.to(batch.dtype).expand(count, *grid.shape[1:])
    batch = nn.functional.grid_sample(
        batch, grid, mode=mode.value, padding_mode="zeros", align_corners=False
    )
    if colour is not None:
        batch, share = batch[:, :channels], batch[:, channels:]
        if mode is InterpolationMode.NEAREST:
            batch = danlu.where(share < 0.5, colour, batch)
        else:
            batch = batch * share + (1.0 - share) * colour
    return back(batch)


def _fill_colour(fill, batch):
    if fill is None:
        return None
    values = [float(value) for value in (fill if isinstance(fill, (list, tuple)) else [fill])]
    if len(values) not in (1, batch.shape[1]):
        raise ValueError(
            "The number of elements in 'fill' cannot broadcast to match the number of channels of "
            f"the image ({len(values)} != {batch.shape[1]})"
        )
    return danlu.tensor(values, dtype=batch.dtype).reshape(1, -1, 1, 1)
