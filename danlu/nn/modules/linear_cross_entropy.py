"""The last layer of a classifier and its loss as one module."""

from __future__ import annotations

import math

from danlu.nn import functional as F
from danlu.nn.modules.linear import Linear
from danlu.nn.modules.loss import _WeightedLoss

__all__ = ["LinearCrossEntropyLoss"]


class LinearCrossEntropyLoss(_WeightedLoss):
    """A linear layer followed by the cross entropy of its output against the target.

    Args:
        in_features: F, the size of an input's last axis.
        num_classes: C.
        out_features: sizes of the target's axes after the batch; default ().
        bias: whether the layer has one; default False.
        device: of the layer.
        dtype: of the layer; default the default dtype.
        reduction: "mean", "sum" or "none"; default "mean".
        weight: one weight per class, or None.
        ignore_index: a class that does not count; default None, which means -100.
        label_smoothing: share of the uniform distribution in the target, 0 to 1; default 0.
        options: None; PyTorch's options cut the batch into chunks to save memory.

    Shape:
        (F) or (N, F), () or (N, *out_features) -> () or, without reduction, the target's shape

    Raises:
        RuntimeError: a weight that is not of shape (C,), or a smoothing outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> loss = torch.nn.LinearCrossEntropyLoss(3, 4)
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 3]))
        tensor(1.3863, grad_fn=<NllLossBackward0>)
    """

    __constants__ = ["num_classes", "out_features", "reduction", "ignore_index", "label_smoothing"]

    def __init__(
        self,
        in_features,
        num_classes,
        *,
        out_features=(),
        bias=False,
        device=None,
        dtype=None,
        reduction="mean",
        weight=None,
        ignore_index=None,
        label_smoothing=0.0,
        options=None,
    ):
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(
                f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            )
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        rows = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input, target):
        per_class = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*per_class, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(per_class),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self):
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
