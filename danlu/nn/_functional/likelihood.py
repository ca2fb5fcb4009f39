"""Losses that are divergences or likelihoods of distributions, composed of smaller operators."""

from __future__ import annotations

import math
import warnings

from danlu.autograd.grad_mode import no_grad
from danlu.nn._functional.reduction import legacy_reduction, reduce_losses
from danlu.ops.binary import xlogy
from danlu.ops.checks import by_value, require_reduction

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]


def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """The Kullback-Leibler divergence t (log t - x) of log-probabilities x from probabilities t.

    Args:
        input: log-probabilities.
        target: probabilities, or their logarithms with `log_target`.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: "batchmean" (the divergence itself), "mean", "sum" or "none"; default "mean".
        log_target: whether the target holds logarithms; default False.

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([[0.5, 0.5]])
        >>> torch.nn.functional.kl_div(x.log(), x, reduction="batchmean")
        tensor(0.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    elif reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support "
            "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.",
            stacklevel=2,
        )
    if log_target:
        losses = target.exp() * (target - input)
    else:
        losses = xlogy(target, target) - target * input
    if reduction != "batchmean":
        return reduce_losses(losses, reduction)
    return losses.sum() / input.shape[0] if input.dim() else losses.sum()


def poisson_nll_loss(
    input,
    target,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    """Negative log likelihood of counts under a Poisson distribution, without log(target!) unless
    `full`.

    Args:
        input: the rate's logarithm, or the rate.
        target: counts.
        log_input: whether the input is a logarithm: exp(x) - t x; else x - t log(x + eps);
            default True.
        full: add Stirling's approximation of log(target!); default False.
        size_average: deprecated, see `reduction`.
        eps: keeps log(0) finite; default 1e-8.
        reduce: deprecated, see `reduction`.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*) -> () or, without reduction, (*)

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.poisson_nll_loss(torch.zeros(2), torch.ones(2))
        tensor(1.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    require_reduction(reduction)
    if log_input:
        losses = input.exp() - target * input
    else:
        losses = input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + stirling.masked_fill(target <= 1, 0.0)
    return reduce_losses(losses, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(log v + (input - target)^2 / v) / 2, the negative log likelihood under normals of variance v
    (Nix, Weigend 1994).

    Args:
        input: means.
        target: values.
        var: variances: a number, a tensor of the input's shape, or one whose last size is 1 or
            missing.
        full: add the constant log(2 pi) / 2; default False.
        eps: least variance; default 1e-6.
        reduction: "mean", "sum" or "none"; default "mean".

    Shape:
        (*), (*), (*) -> () or, without reduction, (*)

    Raises:
        ValueError: negative variances, or a shape that does not fit.

    Example:
        >>> import danlu as torch
        >>> torch.nn.functional.gaussian_nll_loss(torch.zeros(2), torch.ones(2), torch.ones(2))
        tensor(0.5000)
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError(f"var has negative entry/entries: {var}")
        var = input.new_full(input.shape, var)
    else:
        _require_variances(var._array)
    if var.shape != input.shape:
        differing = [b for a, b in zip(input.shape, var.shape) if a != b]
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.dim() != var.dim() or differing != [1]:
            raise ValueError(
                f"var is of incorrect size: {tuple(var.shape)} for an input of {tuple(input.shape)}"
            )
    require_reduction(reduction)
    var = var.clone()
    with no_grad():
        var.clamp_(min=eps)
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduce_losses(losses, reduction)


@by_value()
def _require_variances(var):
    if (var < 0).any():
        raise ValueError("var has negative entry/entries")
