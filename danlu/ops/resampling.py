"""Interpolation and rearrangement of images: up- and downsampling, pixel and channel shuffles."""

from __future__ import annotations

import math
import warnings

from danlu.kernels import resampling as kernels
from danlu.ops.registry import Array, composite, operator

__all__ = [
    "channel_shuffle",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]

_OPERATORS: dict = {}


def _resampler(name):
    """The operator that resamples by tables, under the name that its node is to have."""
    found = _OPERATORS.get(name)
    if found is None:

        @operator(method=False, name=name)
        def resample_by_tables(input: Array, tables):
            """The last dimensions resampled, one table a dimension."""
            return kernels.resample(input, tables)

        resample_by_tables.vjp(
            lambda g, tables: resample_by_tables.on(
                g, tuple(None if each is None else each.adjoint for each in tables)
            )
        )
        found = _OPERATORS[name] = resample_by_tables
    return found


def resample(name, input, tables):
    """`input` with its last dimensions resampled; `name` is that of the node."""
    return _resampler(name)(input, tables)


_LINEAR_RANKS = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
_NODE_NAMES = {
    ("linear", 1): "UpsampleLinear1D", ("bilinear", 2): "UpsampleBilinear2D",
    ("trilinear", 3): "UpsampleTrilinear3D", ("bicubic", 2): "UpsampleBicubic2D",
}  # fmt: skip


def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None,
    recompute_scale_factor=None, antialias=False,
):  # fmt: skip
    """Resize the spatial dimensions of a batch.

    Args:
        input: a batch of signals, images or volumes.
        size: the wanted size, one int or one per dimension, or
        scale_factor: the wanted size as a multiple of the input's.
        mode: "nearest" (default), "nearest-exact", "linear" (1-D), "bilinear" and "bicubic" (2-D),
            "trilinear" (3-D) or "area" (adaptive averages).
        align_corners: whether the corner elements' centres, not their edges, stay in place; linear
            and
            cubic modes only; default False.
        recompute_scale_factor: whether to take the step from the sizes instead of from
            `scale_factor`.
        antialias: True is not supported: average before, with `avg_pool2d` or mode "area".

    Shape:
        (N, C, *sizes) -> (N, C, *size)

    Raises:
        ValueError: neither or both of size and scale_factor, or numbers that do not fit the
            dimensions.
        NotImplementedError: a mode that the number of dimensions does not have.

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([[[1.0, 3.0]]])
        >>> torch.nn.functional.interpolate(x, scale_factor=2, mode="linear")
        tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    rank = input.ndim - 2
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: "
                "linear | bilinear | bicubic | trilinear"
            )
    elif align_corners is None:
        align_corners = False
    wanted, scales = _target(input, rank, size, scale_factor, recompute_scale_factor)
    if antialias:
        if mode not in ("bilinear", "bicubic"):
            raise ValueError(
                "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and "
                "requires a 4-D tensor as input"
            )
        raise NotImplementedError(
            "interpolate(antialias=True) is not supported: shrink with mode='area' or avg_pool2d "
            "instead"
        )
    _check_mode(input, rank, mode)
    sizes = tuple(input.shape[2:])
    if min(wanted) < 1 or min(sizes) < 1:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"{list(sizes)} output {list(wanted)}"
        )
    dtype = input._array.dtype
    if dtype.kind == "b" or (dtype.kind in "iu" and dtype.name != "uint8"):
        from danlu.ops.pooling import refuse_kinds

        refuse_kinds(input._array, "biu", f"upsample_{mode}{rank}d_channels_last")
    if mode == "area":
        from danlu.ops import adaptive_pooling

        return getattr(adaptive_pooling, f"adaptive_avg_pool{rank}d")(input, wanted)
    return resample(
        _NODE_NAMES.get((mode, rank), f"UpsampleNearest{'Exact' * (mode != 'nearest')}{rank}D"),
        input,
        tuple(_table(mode, *each, align_corners, dtype) for each in zip(sizes, wanted, scales)),
    )


def _table(mode, size, count, scale, align_corners, dtype):
    if mode.startswith("nearest"):
        return kernels.nearest(size, count, scale, mode == "nearest-exact")
    name = "float64" if dtype.name in ("float64", "complex128") else "float32"
    make = kernels.cubic if mode == "bicubic" else kernels.linear
    return make(size, count, scale, bool(align_corners), name)


def _target(input, rank, size, scale_factor, recompute):
    """The wanted sizes, and the scale of each dimension where the caller's counts."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    sizes = tuple(input.shape[2:])
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if isinstance(size, (tuple, list)):
            if len(size) != rank:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got "
                    "input with "
                    f"spatial dimensions of {list(sizes)} and output size of {size}. Please "
                    "provide input "
                    "tensor in (N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) "
                    "format."
                )
            return tuple(int(each) for each in size), (None,) * rank
        return (int(size),) * rank, (None,) * rank
    if isinstance(scale_factor, (tuple, list)):
        if len(scale_factor) != rank:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got "
                "input with "
                f"spatial dimensions of {list(sizes)} and scale_factor of shape {scale_factor}. "
                "Please "
                "provide input tensor in (N, C, d1, d2, ...,dK) format and scale_factor in "
                "(s1, s2, ...,sK) format."
            )
        scales = tuple(float(each) for each in scale_factor)
    else:
        scales = (float(scale_factor),) * rank
    wanted = tuple(math.floor(each * scale) for each, scale in zip(sizes, scales))
    return wanted, (None,) * rank if recompute else scales


def _check_mode(input, rank, mode):
    known = (*_LINEAR_RANKS, "nearest", "nearest-exact", "area")
    if mode not in known or rank not in (1, 2, 3):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the "
            "modes: "
            f"nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    needed = _LINEAR_RANKS.get(mode, rank)
    if needed != rank:
        raise NotImplementedError(
            f"Got {input.ndim}D input, but {mode} mode needs {needed + 2}D input"
        )


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """An older name of `interpolate`."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """An older name of `interpolate` with mode "nearest"."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """An older name of `interpolate` with mode "bilinear" and aligned corners."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# ------------------------------------------------------------------------------ shuffles
def _at_least_3d(name, input):
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} "
            "dimension(s)"
        )


@composite
def pixel_shuffle(input, upscale_factor):
    """Channels become pixels (Shi et al. 2016): groups of r*r channels fill blocks of r by r
    pixels.

    Args:
        input: images whose number of channels is a multiple of r*r.
        upscale_factor: r, at least 1.

    Shape:
        (*, C*r*r, H, W) -> (*, C, H*r, W*r)

    Raises:
        RuntimeError: channels that cannot be divided so.

    Example:
        >>> import danlu as torch
        >>> torch.pixel_shuffle(torch.arange(4.0).reshape(4, 1, 1), 2)
        tensor([[[0., 1.],
                 [2., 3.]]])
    """
    _at_least_3d("pixel_shuffle", input)
    r = upscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            "of "
            f"upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    blocks = input.reshape(*lead, channels // (r * r), r, r, height, width)
    blocks = blocks.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)  # (*, C, H, r, W, r)
    return blocks.reshape(*lead, channels // (r * r), height * r, width * r)


@composite
def pixel_unshuffle(input, downscale_factor):
    """Pixels become channels: the inverse of `pixel_shuffle`.

    Args:
        input: images whose height and width are multiples of r.
        downscale_factor: r, at least 1.

    Shape:
        (*, C, H*r, W*r) -> (*, C*r*r, H, W)

    Raises:
        RuntimeError: sizes that cannot be divided so.

    Example:
        >>> import danlu as torch
        >>> torch.pixel_unshuffle(torch.arange(4.0).reshape(1, 2, 2), 2).shape
        torch.Size([4, 1, 1])
    """
    _at_least_3d("pixel_unshuffle", input)
    r = downscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    for what, axis, size in (("height", -2, height), ("width", -1, width)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, "
                f"but input.size({axis})={size} is not divisible by {r}"
            )
    n = len(lead)
    blocks = input.reshape(*lead, channels, height // r, r, width // r, r)
    blocks = blocks.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)  # (*, C, r, r, H, W)
    return blocks.reshape(*lead, channels * r * r, height // r, width // r)


@composite
def channel_shuffle(input, groups):
    """Channels dealt out over groups in turn (Zhang et al. 2018).

    Args:
        input: a batch with channels in dimension 1.
        groups: how many groups, a divisor of the channels.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        RuntimeError: channels that cannot be divided so.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.channel_shuffle(torch.arange(4.0).reshape(1, 4, 1), 2).flatten()
        tensor([0., 2., 1., 3.])
    """
    if input.ndim < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    channels = input.shape[1]
    if groups <= 0 or channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} "
            "groups."
        )
    split = input.reshape(input.shape[0], groups, channels // groups, *input.shape[2:])
    return split.transpose(1, 2).reshape(input.shape)
