"""Batch normalisation over the batches of all processes."""

from __future__ import annotations

from danlu.autograd import no_grad
from danlu.nn.modules.batchnorm import _BatchNorm

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, with mean and variance over the
    batches of all processes; with one process it is `BatchNorm1d`, `2d` and `3d` in one.

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance; default 1e-5.
        momentum: weight of a batch in the running statistics, None for the average of all;
            default 0.1.
        affine: learn a scale and a shift for each channel; default True.
        track_running_stats: keep running statistics for evaluation mode; default True.
        process_group: the processes; default all.
        device: of parameters and buffers.
        dtype: of parameters and buffers; default the default dtype.
        bias: with `affine`, whether there is a shift; default True.

    Shape:
        (N, C, *), unchanged

    Raises:
        ValueError: fewer than two axes, no channels, or one value per channel in training.

    Example:
        >>> import danlu as torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        >>> torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)[1]
        SyncBatchNorm(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        process_group=None,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    def _expected(self):
        return f"(N, num_features={self.num_features}, *)"

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """`module` with every batch normalisation in it replaced; parameters and statistics stay.

        Args:
            module: changed in place, unless it is a batch normalisation itself.
            process_group: of the new layers; default all processes.
        """
        converted = module
        if isinstance(module, _BatchNorm):
            converted = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            with no_grad():
                for name in ("weight", "bias") if module.affine else ():
                    setattr(converted, name, getattr(module, name))
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(converted, name, getattr(module, name))
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted
