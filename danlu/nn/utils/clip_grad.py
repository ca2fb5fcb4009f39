"""Keeping gradients small."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from types import GeneratorType

from danlu.autograd.grad_mode import no_grad
from danlu.tensor import Tensor

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _listed(tensors) -> list:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters) -> list:
    return [p.grad for p in parameters if p.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as if they were one vector.

    Args:
        tensors: often gradients.
        norm_type: p of the p-norm; ``inf`` is the largest magnitude. Default: 2.
        error_if_nonfinite: raise where the norm is NaN or infinite. Default: False.
        foreach: accepted, without effect.
    """
    from danlu import linalg, stack, tensor

    tensors = _listed(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return tensor(0.0)
    norms = [linalg.vector_norm(each, norm_type) for each in tensors]
    total = linalg.vector_norm(stack(norms), norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            f"it is {total.item()}, so it cannot be clipped. To disable this error and scale the "
            "gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale the gradients by max_norm / total_norm where that is below 1.

    Args:
        parameters: those whose gradients are scaled.
        max_norm: the norm that is allowed.
        total_norm: the norm that there is, from :func:`get_total_norm`.
        foreach: accepted, without effect.
    """
    gradients = _gradients(_listed(parameters))
    if not gradients:
        return
    # A product with 1 changes nothing, and asking whether it is needed would wait for a GPU.
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by one factor, so that their common norm is at most ``max_norm``.

    Args:
        parameters: those whose gradients are scaled, in place.
        max_norm: the norm that is allowed.
        norm_type: p of the p-norm; ``inf`` is the largest magnitude. Default: 2.
        error_if_nonfinite: raise where the norm is NaN or infinite. Default: False.
        foreach: accepted, without effect.

    Returns:
        The norm before.

    Raises:
        RuntimeError: under ``error_if_nonfinite``.

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> torch.nn.utils.clip_grad_norm_(w, max_norm=1.0)
        tensor(10.)
        >>> w.grad
        tensor([0.6000, 0.8000])
    """
    listed = _listed(parameters)
    if not listed and isinstance(parameters, GeneratorType):
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2
        )
    total = get_total_norm(_gradients(listed), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(listed, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
) -> Tensor:
    """Deprecated: the same as :func:`clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of "
        "`torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Bring every element of the gradients into [-clip_value, clip_value], in place.

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([3.0, 0.1], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> torch.nn.utils.clip_grad_value_(w, 1.0)
        >>> w.grad
        tensor([1.0000, 0.2000])
    """
    clip_value = float(clip_value)
    for gradient in _gradients(_listed(parameters)):
        gradient.clamp_(-clip_value, clip_value)
