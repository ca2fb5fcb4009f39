"""Instance normalisation: each channel of each sample by its own statistics."""

from __future__ import annotations

import warnings

from danlu.nn import functional as F
from danlu.nn.modules.batchnorm import _LazyNormBase, _NormBase

__all__ = [
    "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LazyInstanceNorm1d",
    "LazyInstanceNorm2d", "LazyInstanceNorm3d",
]  # fmt: skip


class _InstanceNorm(_NormBase):
    """Instance normalisation for any number of axes; `_dims` holds those without and with a
    batch axis."""

    _dims: tuple = ()

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=False,
        track_running_stats=False,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        # states without a version were saved when the statistics were kept whether tracked or not
        if local_metadata.get("version") is None and not self.track_running_stats:
            names = ("running_mean", "running_var")
            unused = [prefix + name for name in names if prefix + name in state_dict]
            if unused:
                kind = type(self).__name__
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(map(repr, unused))} for "
                    f"{kind} with track_running_stats=False. Remove these keys from the "
                    "state_dict, or build the layer with track_running_stats=True to use them."
                )
            for key in unused:
                state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def forward(self, input):
        unbatched, batched = self._dims
        if input.dim() not in self._dims:
            raise ValueError(
                f"expected {unbatched}D or {batched}D input (got {input.dim()}D input)"
            )
        axis = input.dim() - unbatched
        if input.shape[axis] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={axis} to match num_features "
                    f"({self.num_features}), but got: {input.shape[axis]}."
                )
            warnings.warn(
                f"input's size at dim={axis} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        batch = input if axis else input.unsqueeze(0)
        out = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out if axis else out.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of each of the sequences (Ulyanov et
    al. 2016).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default False.
        track_running_stats: keep running statistics for evaluation mode; default False.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, L) or (C, L), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.InstanceNorm1d(3)(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of each of the images (Ulyanov et
    al. 2016).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default False.
        track_running_stats: keep running statistics for evaluation mode; default False.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, H, W) or (C, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.InstanceNorm2d(3)(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of each of the volumes (Ulyanov et
    al. 2016).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default False.
        track_running_stats: keep running statistics for evaluation mode; default False.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, D, H, W) or (C, D, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.InstanceNorm3d(3)(torch.ones(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 4, 4])
    """

    _dims = (4, 5)


class LazyInstanceNorm1d(_LazyNormBase, _InstanceNorm):
    """`InstanceNorm1d` that takes num_features from its first input.

    Args:
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, L) or (C, L), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyInstanceNorm1d()(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """

    cls_to_become = InstanceNorm1d
    _dims = (2, 3)


class LazyInstanceNorm2d(_LazyNormBase, _InstanceNorm):
    """`InstanceNorm2d` that takes num_features from its first input.

    Args:
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, H, W) or (C, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyInstanceNorm2d()(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """

    cls_to_become = InstanceNorm2d
    _dims = (3, 4)


class LazyInstanceNorm3d(_LazyNormBase, _InstanceNorm):
    """`InstanceNorm3d` that takes num_features from its first input.

    Args:
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, D, H, W) or (C, D, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyInstanceNorm3d()(torch.ones(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 4, 4])
    """

    cls_to_become = InstanceNorm3d
    _dims = (4, 5)
