"""Layer and RMS normalisation over the last axes, forward and backward.

Backward, the gradients of weight and bias are added up while each row is in the cache for the
gradient of the input.
"""

from __future__ import annotations

from math import prod

from danlu.kernels.fused.functions import namespace
from danlu.kernels.graph.kernel import kernel

__all__ = ["layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"]

_LEAST = 1 << 14


def _last(count):
    return tuple(range(-count, 0))


def _size(x, count):
    """How many elements a statistic is taken over; 1 of none, whose sums are 0 as well."""
    return max(prod(x.shape[-count:]), 1)


def _summed(x, axes):
    return x.sum(axis=axes) if axes else x


@kernel(least=_LEAST)
def layer_norm(x, weight, bias, count, eps):
    """(x - mean) / sqrt(variance + eps) over the last `count` axes, times weight, plus bias (or
    None); also mean and 1 / sqrt(variance + eps), which keep those axes."""
    axes, size = _last(count), x.dtype.type(_size(x, count))
    mean = x.sum(axis=axes, keepdims=True) / size
    centered = x - mean
    variance = (centered * centered).sum(axis=axes, keepdims=True) / size
    scale = 1 / namespace(x).sqrt(variance + eps)
    out = centered * scale
    if weight is not None:
        out *= weight
    if bias is not None:
        out += bias
    return out, mean, scale


@kernel(least=_LEAST)
def layer_norm_backward(g, x, weight, mean, scale, count, needs):
    """The gradients of x, weight and bias, None where `needs` is False."""
    axes = _last(count)
    leading = tuple(range(x.ndim - count))
    standardized = (x - mean) * scale
    grad_x = grad_weight = grad_bias = None
    if needs[0]:
        inner = g if weight is None else g * weight
        shift = inner.sum(axis=axes, keepdims=True)
        slope = (inner * standardized).sum(axis=axes, keepdims=True)
        grad_x = (inner - (shift + standardized * slope) * (1 / _size(x, count))) * scale
    if needs[1]:
        grad_weight = _summed(g * standardized, leading)
    if needs[2]:
        grad_bias = _summed(g, leading)
    return grad_x, grad_weight, grad_bias


def _root_scale(x, count, eps):
    """1 / sqrt(mean(x^2) + eps) over the last axes."""
    mean = (x * x).sum(axis=_last(count), keepdims=True) / _size(x, count)
    return 1 / namespace(x).sqrt(mean + eps)


@kernel(least=_LEAST)
def rms_norm(x, weight, count, eps):
    """x / sqrt(mean(x^2) + eps) over the last `count` axes, times weight (or None)."""
    out = x * _root_scale(x, count, eps)
    return out if weight is None else out * weight


@kernel(least=_LEAST)
def rms_norm_backward(g, x, weight, count, eps, needs):
    """The gradients of x and weight, None where `needs` is False."""
    scale = _root_scale(x, count, eps)
    standardized = x * scale
    grad_x = grad_weight = None
    if needs[0]:
        inner = g if weight is None else g * weight
        slope = (inner * standardized).sum(axis=_last(count), keepdims=True) / _size(x, count)
        grad_x = (inner - standardized * slope) * scale
    if needs[1]:
        grad_weight = _summed(g * standardized, tuple(range(x.ndim - count)))
    return grad_x, grad_weight
