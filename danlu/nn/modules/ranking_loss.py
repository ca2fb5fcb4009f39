"""Losses on embeddings, rankings, margins and distributions."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules.distance import PairwiseDistance
from danlu.nn.modules.loss import _Loss, _WeightedLoss

__all__ = [
    "CosineEmbeddingLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "MarginRankingLoss",
    "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "PoissonNLLLoss",
    "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


def _check_margin(name, margin):
    if margin <= 0:
        raise ValueError(f"{name}: expected margin to be greater than 0, got {margin} instead")


class PoissonNLLLoss(_Loss):
    """Negative log likelihood of counts under a Poisson distribution.

    Args:
        log_input: whether the input is the rate's logarithm; default True.
        full: add Stirling's approximation of log(target!); default False.
        size_average: deprecated, see `reduction`.
        eps: keeps log(0) finite; default 1e-8.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.PoissonNLLLoss()(torch.zeros(2), torch.ones(2))
        tensor(1.)
    """

    __constants__ = ["log_input", "full", "eps", "reduction"]

    def __init__(
        self,
        log_input=True,
        full=False,
        size_average=None,
        eps=1e-8,
        reduce=None,
        reduction="mean",
    ):
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input, target):
        return F.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(_Loss):
    """(log v + (input - target)^2 / v) / 2 for variances v (Nix and Weigend 1994).

    Args:
        full: add the constant log(2 pi) / 2; default False.
        eps: least variance; default 1e-6.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.GaussianNLLLoss()(torch.zeros(2), torch.ones(2), torch.ones(2))
        tensor(0.5000)
    """

    __constants__ = ["full", "eps", "reduction"]

    def __init__(self, *, full=False, eps=1e-6, reduction="mean"):
        super().__init__(None, None, reduction)
        self.full = full
        self.eps = eps

    def forward(self, input, target, var):
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class HingeEmbeddingLoss(_Loss):
    """x for targets of 1, max(0, margin - x) for targets of -1.

    Args:
        margin: default 1.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.HingeEmbeddingLoss()(torch.tensor([0.2]), torch.tensor([-1.0]))
        tensor(0.8000)
    """

    __constants__ = ["margin", "reduction"]

    def __init__(self, margin=1.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input, target):
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """The sum over true classes j and others i of max(0, 1 - x_j + x_i), over the number of
    classes.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C), (N, C) or (C), (C) -> () or, without reduction, (N) or ()

    Example:
        >>> import danlu as torch
        >>> x, y = torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]])
        >>> torch.nn.MultiLabelMarginLoss()(x, y)
        tensor(0.8500)
    """

    __constants__ = ["reduction"]

    def forward(self, input, target):
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-t x)) for targets t of 1 and -1.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.SoftMarginLoss()(torch.zeros(2), torch.ones(2))
        tensor(0.6931)
    """

    __constants__ = ["reduction"]

    def forward(self, input, target):
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over classes of -(t log s(x) + (1 - t) log s(-x)), with the sigmoid s.

    Args:
        weight: a weight for each class, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C), (N, C) -> () or, without reduction, (N)

    Example:
        >>> import danlu as torch
        >>> torch.nn.MultiLabelSoftMarginLoss()(torch.zeros(1, 2), torch.ones(1, 2))
        tensor(0.6931)
    """

    __constants__ = ["reduction"]

    def forward(self, input, target):
        return F.multilabel_soft_margin_loss(
            input, target, weight=self.weight, reduction=self.reduction
        )


class CosineEmbeddingLoss(_Loss):
    """1 - cos(x1, x2) for targets of 1, max(0, cos(x1, x2) - margin) for targets of -1.

    Args:
        margin: -1 to 1; default 0.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, D), (N, D), (N) or (D), (D), () -> () or, without reduction, the target's shape

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(1, 2)
        >>> torch.nn.CosineEmbeddingLoss()(x, -x, torch.tensor([-1.0]))
        tensor(0.)
    """

    __constants__ = ["margin", "reduction"]

    def __init__(self, margin=0.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1, input2, target):
        return F.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class MarginRankingLoss(_Loss):
    """max(0, -t (x1 - x2) + margin): the first is to be larger where t is 1, smaller where it is
    -1.

    Args:
        margin: default 0.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N), (N), (N) -> () or, without reduction, (N)

    Example:
        >>> import danlu as torch
        >>> torch.nn.MarginRankingLoss()(*torch.tensor([[1.0], [3.0], [1.0]]))
        tensor(2.)
    """

    __constants__ = ["margin", "reduction"]

    def __init__(self, margin=0.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1, input2, target):
        return F.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class MultiMarginLoss(_WeightedLoss):
    """The mean over classes i other than the true y of max(0, margin - x_y + x_i)^p.

    Args:
        p: 1 or 2; default 1.
        margin: default 1.
        weight: a weight for each class, or None.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, C), (N) or (C), () -> () or, without reduction, the target's shape

    Raises:
        ValueError: `p` is neither 1 nor 2, or `weight` no vector.

    Example:
        >>> import danlu as torch
        >>> torch.nn.MultiMarginLoss()(torch.tensor([[0.1, 0.8]]), torch.tensor([1]))
        tensor(0.1500)
    """

    __constants__ = ["p", "margin", "reduction"]

    def __init__(
        self, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
    ):
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"only p == 1 and p == 2 supported, got {p}")
        if weight is not None and weight.dim() != 1:
            raise ValueError(
                "MultiMarginLoss: expected weight to be None or 1D tensor, "
                f"got {weight.dim()}D instead"
            )
        self.p = p
        self.margin = margin

    def forward(self, input, target):
        return F.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
        )


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with the p-norm distance d.

    Args:
        margin: above 0; default 1.
        p: order of the norm; default 2.
        eps: added to the differences; default 1e-6.
        swap: use the negative's distance from the positive where it is smaller; default False.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, D) three times -> () or, without reduction, (N)

    Raises:
        ValueError: `margin` is not positive.

    Example:
        >>> import danlu as torch
        >>> a = torch.zeros(1, 2)
        >>> torch.nn.TripletMarginLoss()(a, a, a + 10)
        tensor(0.)
    """

    __constants__ = ["margin", "p", "eps", "swap", "reduction"]

    def __init__(
        self,
        margin=1.0,
        p=2.0,
        eps=1e-6,
        swap=False,
        size_average=None,
        reduce=None,
        reduction="mean",
    ):
        super().__init__(size_average, reduce, reduction)
        _check_margin("TripletMarginLoss", margin)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor, positive, negative):
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` with a distance of one's own.

    Args:
        distance_function: a function of two tensors; default `PairwiseDistance()`.
        margin: above 0; default 1.
        swap: use the negative's distance from the positive where it is smaller; default False.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (N, D) three times -> () or, without reduction, (N)

    Raises:
        ValueError: `margin` is not positive.

    Example:
        >>> import danlu as torch
        >>> a = torch.zeros(1, 2)
        >>> torch.nn.TripletMarginWithDistanceLoss()(a, a, a + 10)
        tensor(0.)
    """

    __constants__ = ["margin", "swap", "reduction"]

    def __init__(self, *, distance_function=None, margin=1.0, swap=False, reduction="mean"):
        super().__init__(None, None, reduction)
        _check_margin("TripletMarginWithDistanceLoss", margin)
        self.distance_function = (
            PairwiseDistance() if distance_function is None else distance_function
        )
        self.margin = margin
        self.swap = swap

    def forward(self, anchor, positive, negative):
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
