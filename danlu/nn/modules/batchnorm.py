"""Batch normalisation, and what it shares with instance normalisation."""

from __future__ import annotations

from danlu.backend.dtypes import int64
from danlu.nn import functional as F
from danlu.nn import init
from danlu.nn.modules.lazy import LazyModuleMixin
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter
from danlu.ops.creation import empty, ones, tensor, zeros

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d",
    "LazyBatchNorm3d",
]  # fmt: skip

_SPATIAL = {1: "L", 2: "H, W", 3: "D, H, W"}


class _NormBase(Module):
    """Scale, shift and running statistics of each channel."""

    _version = 2
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        factory = {"device": device, "dtype": dtype}
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, is_learnt in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(empty(num_features, **factory)) if is_learnt else None
            self.register_parameter(name, parameter)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **factory) if tracked else None)
        self.register_buffer("running_var", ones(num_features, **factory) if tracked else None)
        self.register_buffer(
            "num_batches_tracked", tensor(0, dtype=int64, device=device) if tracked else None
        )
        self.reset_parameters()

    def reset_running_stats(self):
        """Forget what was seen: mean 0, variance 1, no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Forget what was seen and learnt: scale 1, shift 0."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        # states from before version 2 do not count batches
        if (local_metadata.get("version") or 0) < 2 and self.track_running_stats:
            counted = self.num_batches_tracked
            state_dict.setdefault(
                prefix + "num_batches_tracked",
                tensor(0, dtype=int64) if counted is None else counted,
            )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class _LazyNormBase(LazyModuleMixin, _NormBase):
    """Takes num_features from axis 1 of the first input."""

    def __init__(
        self,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        factory = {"device": device, "dtype": dtype}
        super().__init__(0, eps, momentum, False, False, **factory, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(**factory)
            if bias:
                self.bias = UninitializedParameter(**factory)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**factory)
            self.running_var = UninitializedBuffer(**factory)
            self.num_batches_tracked = tensor(0, dtype=int64, device=device)

    def reset_parameters(self):
        """Forget what was seen and learnt, once the number of channels is known."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input):
        """Take the number of channels from the input."""
        if not self.has_uninitialized_params():
            return
        self.num_features = input.shape[1]
        waiting = [self.weight, self.bias] if self.affine else []
        if self.track_running_stats:
            waiting += [self.running_mean, self.running_var]
        for each in waiting:
            if each is not None:
                each.materialize((self.num_features,))
        self.reset_parameters()


class _BatchNorm(_NormBase):
    """Batch normalisation for any number of axes; subclasses check it."""

    _dims: tuple = ()

    def _check_input_dim(self, input):
        if input.dim() not in self._dims:
            expected = " or ".join(f"{each}D" for each in self._dims)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")

    def forward(self, input):
        self._check_input_dim(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        training = self.training
        tracked = not training or self.track_running_stats
        if training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average over all batches so far
                momentum = 1.0 / float(self.num_batches_tracked)
        running_mean, running_var = self.running_mean, self.running_var
        return F.batch_norm(
            input,
            running_mean if tracked else None,
            running_var if tracked else None,
            self.weight,
            self.bias,
            training or (running_mean is None and running_var is None),
            momentum,
            self.eps,
        )

    def _expected(self):
        name = f"num_features={self.num_features}" if self.num_features else "num_features"
        spatial = _SPATIAL[self._dims[-1] - 2]
        with_space = f"(N, {name}, {spatial})"
        return f"(N, {name}) or {with_space}" if self._dims[0] == 2 else with_space


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of a batch of sequences (Ioffe and
    Szegedy 2015).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C) or (N, C, L), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.BatchNorm1d(3)(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of a batch of images (Ioffe and
    Szegedy 2015).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.BatchNorm2d(3)(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of a batch of volumes (Ioffe and
    Szegedy 2015).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, D, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.BatchNorm3d(3)(torch.ones(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 4, 4])
    """

    _dims = (5,)


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """`BatchNorm1d` that takes num_features from its first input.

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
        (N, C) or (N, C, L), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyBatchNorm1d()(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """

    cls_to_become = BatchNorm1d
    _dims = (2, 3)


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """`BatchNorm2d` that takes num_features from its first input.

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
        (N, C, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyBatchNorm2d()(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """

    cls_to_become = BatchNorm2d
    _dims = (4,)


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """`BatchNorm3d` that takes num_features from its first input.

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
        (N, C, D, H, W), unchanged

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> torch.nn.LazyBatchNorm3d()(torch.ones(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 4, 4])
    """

    cls_to_become = BatchNorm3d
    _dims = (5,)
