"""The softmax family with PyTorch's optional axis."""

from __future__ import annotations

import warnings

from danlu.ops import softmax as ops

__all__ = ["gumbel_softmax", "log_softmax", "softmax", "softmin"]


def _implicit_dim(name, ndim, stacklevel):
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. "
        "Change the call to include dim=X as an argument.",
        stacklevel=stacklevel + 1,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(x_i) / sum_j exp(x_j) along one axis.

    Args:
        input: a floating-point tensor.
        dim: the axis whose elements are to sum to 1; leaving it out is deprecated and warns.
        dtype: convert to this dtype first; default None.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.softmax(torch.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return ops.softmax(input, dim, dtype)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """exp(-x_i) / sum_j exp(-x_j) along one axis.

    Args:
        input: a floating-point tensor.
        dim: the axis whose elements are to sum to 1; leaving it out is deprecated and warns.
        dtype: convert to this dtype first; default None.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.softmin(torch.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return ops.softmax(-input, dim, dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """x_i - log(sum_j exp(x_j)) along one axis.

    Args:
        input: a floating-point tensor.
        dim: the axis whose exponentials are to sum to 1; leaving it out is deprecated and warns.
        dtype: convert to this dtype first; default None.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.log_softmax(torch.tensor([0.0, 0.0]), dim=0)
        tensor([-0.6931, -0.6931])
    """
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return ops.log_softmax(input, dim, dtype)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A sample of the relaxed categorical distribution (Jang et al. 2016; Maddison et al. 2016).

    Args:
        logits: unnormalised log-probabilities.
        tau: temperature above 0; default 1.
        hard: return one-hot rows that pass the soft rows' gradients; default False.
        eps: ignored, as in PyTorch.
        dim: the axis of the categories; default -1.

    Shape:
        (*) -> (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.gumbel_softmax(torch.zeros(2, 3), hard=True).sum()
        tensor(2.)
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -logits.new_empty(logits.shape).exponential_().log()
    soft = ops.softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    one_hot = logits.new_zeros(logits.shape).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
