"""Losses against targets."""

from __future__ import annotations

import warnings

from danlu.nn import functional as F
from danlu.nn._functional.reduction import legacy_reduction
from danlu.nn.modules.module import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss",
    "L1Loss", "MSELoss", "NLLLoss", "NLLLoss2d", "SmoothL1Loss",
]  # fmt: skip


class _Loss(Module):
    """A loss with a reduction."""

    def __init__(self, size_average=None, reduce=None, reduction="mean"):
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = legacy_reduction(size_average, reduce, stacklevel=4)
        self.reduction = reduction


class _WeightedLoss(_Loss):
    """A loss with a weight for each class or element, which belongs to its state."""

    def __init__(self, weight=None, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """The squared error (input - target)^2.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.MSELoss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(2.)
    """

    __constants__ = ["reduction"]

    def forward(self, input, target):
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The absolute error |input - target|.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.L1Loss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(1.)
    """

    __constants__ = ["reduction"]

    def forward(self, input, target):
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where |d| < beta and |d| - beta / 2 elsewhere, with d = input - target
    (Girshick 2015).

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        beta: where the square turns into a line, 0 or more; default 1.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.SmoothL1Loss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(0.7500)
    """

    __constants__ = ["reduction"]

    def __init__(self, size_average=None, reduce=None, reduction="mean", beta=1.0):
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input, target):
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where |d| <= delta and delta (|d| - delta / 2) elsewhere, with d = input - target
    (Huber 1964).

    Args:
        reduction: "mean", "sum" or "none"; default "mean".
        delta: where the square turns into a line, above 0; default 1.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.HuberLoss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(0.7500)
    """

    __constants__ = ["reduction", "delta"]

    def __init__(self, reduction="mean", delta=1.0):
        if not isinstance(delta, (float, int)):
            raise TypeError(f"delta must be a float or int, got: {type(delta)}")
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input, target):
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_WeightedLoss):
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, logarithms limited to -100.

    Args:
        weight: a weight that broadcasts against the input, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        ValueError: two shapes.
        RuntimeError: values outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.BCELoss()(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.6931)
    """

    __constants__ = ["reduction"]

    def forward(self, input, target):
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """The binary cross entropy of sigmoid(input), computed without overflow.

    Args:
        weight: a weight that broadcasts against the input, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        pos_weight: factor of the positive part, or None.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Raises:
        ValueError: two shapes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.BCEWithLogitsLoss()(torch.zeros(2), torch.ones(2))
        tensor(0.6931)
    """

    def __init__(
        self, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
    ):
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input, target):
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class NLLLoss(_WeightedLoss):
    """Minus the log-probability of the true class, weighted by class.

    Args:
        weight: one weight per class, or None.
        size_average: deprecated, see `reduction`.
        ignore_index: a target that does not count; default -100.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (C), () or (N, C, d1, ...), (N, d1, ...) -> () or, without reduction, the shape of class
        indices

    Raises:
        IndexError: a class out of range.
        RuntimeError: targets of the wrong dtype or shape.
        ValueError: two batch sizes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.NLLLoss()(torch.tensor([[-1.0, -2.0]]), torch.tensor([1]))
        tensor(2.)
    """

    __constants__ = ["ignore_index", "reduction"]

    def __init__(
        self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input, target):
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class NLLLoss2d(NLLLoss):
    """`NLLLoss`, under an older name.

    Args:
        weight: one weight per class, or None.
        size_average: deprecated, see `reduction`.
        ignore_index: a target that does not count; default -100.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C, H, W), (N, H, W) -> () or, without reduction, (N, H, W)

    Example:
        >>> import danlu as torch
        >>> torch.nn.modules.loss.NLLLoss2d.__bases__[0].__name__
        'NLLLoss'
    """

    def __init__(
        self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"
    ):
        warnings.warn(
            "NLLLoss2d has been deprecated. Please use NLLLoss instead as a drop-in replacement.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(weight, size_average, ignore_index, reduce, reduction)


class CrossEntropyLoss(_WeightedLoss):
    """The cross entropy of softmax(input) against classes, or against class probabilities.

    Args:
        weight: one weight per class, or None.
        size_average: deprecated, see `reduction`.
        ignore_index: a target that does not count; default -100.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".
        label_smoothing: share of the uniform distribution in the target, 0 to 1; default 0.

    Shape:
        (C), () or (N, C, d1, ...), (N, d1, ...) -> () or, without reduction, the shape of class
        indices

    Raises:
        IndexError: a class out of range.
        RuntimeError: targets of the wrong dtype or shape.
        ValueError: two batch sizes.

    Example:
        >>> import danlu as torch
        >>> torch.nn.CrossEntropyLoss()(torch.zeros(1, 2), torch.tensor([1]))
        tensor(0.6931)
    """

    __constants__ = ["ignore_index", "reduction", "label_smoothing"]

    def __init__(
        self,
        weight=None,
        size_average=None,
        ignore_index=-100,
        reduce=None,
        reduction="mean",
        label_smoothing=0.0,
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input, target):
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence t (log t - x) of log-probabilities x from probabilities t.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "batchmean", "mean", "sum" or "none"; default "mean".
        log_target: whether the target holds logarithms; default False.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([[0.5, 0.5]])
        >>> torch.nn.KLDivLoss(reduction="batchmean")(x.log(), x)
        tensor(0.)
    """

    __constants__ = ["reduction"]

    def __init__(self, size_average=None, reduce=None, reduction="mean", log_target=False):
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input, target):
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class CTCLoss(_Loss):
    """Minus the log-probability of a label sequence over all its alignments (Graves et al. 2006).

    Args:
        blank: the class that stands for no label; default 0.
        reduction: "mean" (each divided by its target's length), "sum" or "none"; default "mean".
        zero_infinity: count sequences that have no alignment as 0; default False.

    Shape:
        (T, N, C), (N, S) or (sum of lengths), (N), (N) -> () or, without reduction, (N)

    Example:
        >>> import danlu as torch
        >>> x = torch.zeros(2, 1, 2).log_softmax(2)
        >>> torch.nn.CTCLoss()(x, torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]))
        tensor(0.2877)
    """

    __constants__ = ["blank", "reduction"]

    def __init__(self, blank=0, reduction="mean", zero_infinity=False):
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
