"""Dropout layers: active in training mode, the identity in evaluation mode."""

from __future__ import annotations

from danlu.nn import functional as F
from danlu.nn.modules.module import Module

__all__ = [
    "AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout",
]  # fmt: skip


class _DropoutNd(Module):
    __constants__ = ["p", "inplace"]

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes each element with probability p and divides the others by 1 - p, in training (Hinton
    et al. 2012).

    Args:
        p: probability of zeroing, 0 to 1; default 0.5.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.Dropout(0.5).eval()(torch.ones(3))
        tensor([1., 1., 1.])
    """

    def forward(self, input):
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Zeroes whole channels of sequences with probability p and divides the others by 1 - p, in
    training.

    Args:
        p: probability of zeroing, 0 to 1; default 0.5.
        inplace: write into the input; default False.

    Shape:
        (N, C, L) -> (N, C, L), or (C, L) -> (C, L)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.Dropout1d().eval()(torch.ones(1, 2, 3)).sum()
        tensor(6.)
    """

    def forward(self, input):
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Zeroes whole channels of images with probability p and divides the others by 1 - p, in
    training.

    Args:
        p: probability of zeroing, 0 to 1; default 0.5.
        inplace: write into the input; default False.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.Dropout2d().eval()(torch.ones(1, 2, 2, 2)).sum()
        tensor(8.)
    """

    def forward(self, input):
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Zeroes whole channels of volumes with probability p and divides the others by 1 - p, in
    training.

    Args:
        p: probability of zeroing, 0 to 1; default 0.5.
        inplace: write into the input; default False.

    Shape:
        (N, C, D, H, W) -> (N, C, D, H, W), or without N

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.Dropout3d().eval()(torch.ones(1, 1, 2, 2, 2)).sum()
        tensor(8.)
    """

    def forward(self, input):
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean 0 and variance 1 in networks of SELUs (Klambauer et al. 2017).

    Args:
        p: probability of replacing, 0 to 1; default 0.5.
        inplace: write into the input; default False.

    Shape:
        (*) -> (*)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.AlphaDropout().eval()(torch.ones(3))
        tensor([1., 1., 1.])
    """

    def forward(self, input):
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """`AlphaDropout` of whole channels.

    Args:
        p: probability of replacing a channel, 0 to 1; default 0.5.
        inplace: write into the input; default False.

    Shape:
        (N, C, *) -> (N, C, *)

    Raises:
        ValueError: `p` is outside [0, 1].

    Example:
        >>> import danlu as torch
        >>> torch.nn.FeatureAlphaDropout().eval()(torch.ones(1, 2, 3)).sum()
        tensor(6.)
    """

    def forward(self, input):
        return F.feature_alpha_dropout(input, self.p, self.training)
