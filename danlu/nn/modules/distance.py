"""Distances and similarities as layers."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis.

    Args:
        p: order of the norm; default 2.
        eps: added to the difference; default 1e-6.
        keepdim: keep the last axis with size 1; default False.

    Shape:
        (N, D), (N, D) -> (N) or, with keepdim, (N, 1)

    Example:
        >>> import danlu as torch
        >>> torch.nn.PairwiseDistance()(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([5.0000])
    """

    __constants__ = ["norm", "eps", "keepdim"]

    def __init__(self, p=2.0, eps=1e-6, keepdim=False):
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1, x2):
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along one axis.

    Args:
        dim: the axis of the vectors; default 1.
        eps: least length; default 1e-8.

    Shape:
        (*, D, *), (*, D, *) -> (*, *)

    Example:
        >>> import danlu as torch
        >>> torch.nn.CosineSimilarity(dim=0)(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]))
        tensor(0.6000)
    """

    __constants__ = ["dim", "eps"]

    def __init__(self, dim=1, eps=1e-8):
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1, x2):
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
