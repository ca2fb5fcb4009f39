"""Sampling images at arbitrary places: affine grids and grid sampling (Jaderberg et al. 2015).

Composed of ordinary operators, so that derivatives of any order come with them. Coordinates run
from -1 to 1
across an image, x first."""

from __future__ import annotations

import math
import warnings
from itertools import product

from danlu.ops.creation import linspace, ones, zeros
from danlu.ops.joining import stack
from danlu.ops.masking import where

__all__ = [
    "affine_grid",
    "affine_grid_generator",
    "grid_sample",
    "grid_sampler",
    "grid_sampler_2d",
    "grid_sampler_3d",
]

_CUBIC = -0.75  # Keys 1981, with the slope at 1 that OpenCV and PyTorch chose


def affine_grid(theta, size, align_corners=None):
    """Where an affine map of the output's coordinates samples the input; for `grid_sample`.

    Args:
        theta: one matrix per image.
        size: the output's size, (N, C, H, W) or (N, C, D, H, W).
        align_corners: whether -1 and 1 are the centres (not the edges) of the corner elements;
            default False.

    Shape:
        (N, 2, 3) -> (N, H, W, 2), or (N, 3, 4) -> (N, D, H, W, 3)

    Raises:
        ValueError: theta is not floating point, or does not fit the size.
        NotImplementedError: a size of neither 4 nor 5 numbers.

    Example:
        >>> import danlu as torch
        >>> theta = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
        >>> torch.nn.functional.affine_grid(theta, (1, 1, 1, 2), align_corners=False)
        tensor([[[[0., 0.],
                  [1., 0.]]]])
    """
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
        align_corners = False
    size = tuple(int(each) for each in size)
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            "respectively. "
            f"Got size {size}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (rank, rank + 1) or theta.shape[0] != size[0]:
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape {size[0]}x{rank}x{rank + 1} for "
            "size "
            f"{size}. Got {list(theta.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    spatial = size[2:]
    axes = []
    for axis, count in enumerate(spatial):
        edge = 1.0 if align_corners else (count - 1) / count
        line = (
            linspace(-edge, edge, count, dtype=theta.dtype)
            if count > 1
            else zeros(1, dtype=theta.dtype)
        )
        shape = [1] * rank
        shape[axis] = count
        axes.append(line.reshape(shape).expand(*spatial))
    base = stack([*axes[::-1], ones(spatial, dtype=theta.dtype)], -1)
    grid = base.reshape(1, math.prod(spatial), rank + 1) @ theta.transpose(1, 2)
    return grid.reshape(size[0], *spatial, rank)


def affine_grid_generator(theta, size, align_corners):
    """`affine_grid` with all arguments required."""
    return affine_grid(theta, size, align_corners)


def grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners):
    """`grid_sample` with its modes as numbers: 0 bilinear, 1 nearest, 2 bicubic; 0 zeros, 1 border,
    2 reflection."""
    mode = ("bilinear", "nearest", "bicubic")[interpolation_mode]
    outside = ("zeros", "border", "reflection")[padding_mode]
    return grid_sample(input, grid, mode, outside, align_corners)


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The input's values at the places that a grid names, interpolated.

    Args:
        input: images or volumes.
        grid: for each output element x, y (and z) in the input, from -1 to 1.
        mode: "bilinear" (default; trilinear for volumes), "nearest" or, for images, "bicubic".
        padding_mode: what lies outside: "zeros" (default), "border" (the edge) or "reflection".
        align_corners: whether -1 and 1 are the centres (not the edges) of the corner elements;
            default False.

    Shape:
        (N, C, H, W), (N, h, w, 2) -> (N, C, h, w), or (N, C, D, H, W), (N, d, h, w, 3) -> (N, C, d,
        h, w)

    Raises:
        ValueError: an unknown mode or padding mode.
        RuntimeError: input and grid that do not fit together.

    Example:
        >>> import danlu as torch
        >>> image, centre = torch.arange(4.0).reshape(1, 1, 2, 2), torch.zeros(1, 1, 1, 2)
        >>> torch.nn.functional.grid_sample(image, centre, align_corners=False)
        tensor([[[[1.5000]]]])
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
        align_corners = False
    rank = input.ndim - 2
    _check(input, grid, rank, mode)
    sizes = tuple(input.shape[2:])
    places = []
    for axis, size in enumerate(sizes):
        at = grid[..., rank - 1 - axis]
        at = (at + 1) * ((size - 1) / 2) if align_corners else ((at + 1) * size - 1) / 2
        if mode != "bicubic":
            at = _inside(at, size, padding_mode, align_corners)
        places.append(at)
    taps = [_taps(at, mode) for at in places]
    total = None
    for chosen in product(*taps):
        weight = None
        flat, valid = 0, None
        for (index, share), size in zip(chosen, sizes):
            if mode == "bicubic":
                index = _inside(index, size, padding_mode, align_corners)
            if padding_mode == "zeros":
                here = (index >= 0) & (index <= size - 1)
                valid = here if valid is None else valid & here
            flat = flat * size + _finite(index).clamp(0, size - 1).long()
            weight = share if weight is None else weight * share
        term = _gathered(input, flat, sizes)
        if weight is not None:
            term = term * weight.unsqueeze(1)
        if valid is not None:
            term = where(valid.unsqueeze(1), term, 0.0)
        total = term if total is None else total + term
    return total


def _check(input, grid, rank, mode):
    if input.dtype != grid.dtype or input.device != grid.device:
        raise RuntimeError(
            "grid_sampler(): expected input and grid to have same dtype, but input has "
            f"{input.dtype} and grid has {grid.dtype}"
        )
    if rank not in (2, 3) or grid.ndim != input.ndim:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            "got "
            f"input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            "sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != rank:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {rank} in last dimension, but got grid "
            "with "
            f"sizes {list(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            "sizes "
            f"{list(input.shape)}"
        )
    if mode == "bicubic" and rank == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def _inside(at, size, padding_mode, align_corners):
    """Coordinates brought into the image as `padding_mode` says."""
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            at = at * 0
        else:
            distance = (at - low).abs()
            turns = (distance / span).detach().floor()
            rest = distance - turns * span
            at = where(turns % 2 == 0, rest + low, span - rest + low)
    return at.clamp(0, size - 1)


def _finite(index):
    return where(index.detach().isfinite(), index.detach(), -1.0)


def _taps(at, mode):
    """(index, weight) of the elements that a coordinate touches; a weight of None is 1."""
    if mode == "nearest":
        share = None
        if at.requires_grad:  # a derivative of zero, where there is one to give
            share = where(at.detach().isfinite(), at, 0.0) * 0 + 1
        return [(at.detach().round(), share)]
    left = at.detach().floor()
    share = at - left
    if mode == "bilinear":
        return [(left, 1 - share), (left + 1, share)]
    a = _CUBIC
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (share, 1 - share)]
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (1 + share, 2 - share)]
    return list(zip((left - 1, left, left + 1, left + 2), (far[0], *near, far[1])))


def _gathered(input, flat, sizes):
    """input[n, c, flat[n, ...]] over flattened images."""
    batch, channels = input.shape[:2]
    planes = input.reshape(batch, channels, math.prod(sizes))
    places = flat.reshape(batch, 1, math.prod(flat.shape[1:])).expand(batch, channels, -1)
    return planes.gather(2, places).reshape(batch, channels, *flat.shape[1:])


grid_sampler_2d = grid_sampler_3d = grid_sampler
