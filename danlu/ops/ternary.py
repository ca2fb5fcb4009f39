"""Arithmetic of three tensors."""

from __future__ import annotations

from danlu.ops.binary import _conj_of, _identity
from danlu.ops.pointwise import _conj
from danlu.ops.promotion import weak
from danlu.ops.registry import Array, operator

__all__ = ["addcdiv", "addcmul", "lerp"]


@operator(promote="same", inplace=True)
def addcmul(input: Array, tensor1: Array, tensor2: Array, *, value=1):
    """input + value * tensor1 * tensor2."""
    if value == 1:
        return input + tensor1 * tensor2
    return input + weak(value, input) * tensor1 * tensor2


addcmul.vjps(
    input=_identity,
    tensor1=lambda g, tensor2, value: g * _conj(value * tensor2),
    tensor2=lambda g, tensor1, value: g * _conj(value * tensor1),
)


@operator(promote="float", inplace=True)
def addcdiv(input: Array, tensor1: Array, tensor2: Array, *, value=1):
    """input + value * tensor1 / tensor2."""
    return input + weak(value, input) * (tensor1 / tensor2)


addcdiv.vjps(
    input=_identity,
    tensor1=lambda g, tensor2, value: g * _conj(value / tensor2),
    tensor2=lambda g, tensor1, tensor2, value: -g * _conj(value * tensor1 / (tensor2 * tensor2)),
)


@operator(promote="same", inplace=True)
def lerp(input: Array, end: Array, weight: Array):
    """input + weight * (end - input)."""
    return input + weight * (end - input)


lerp.vjps(
    input=lambda g, weight: g * _conj_of(1 - weight),
    end=lambda g, weight: g * _conj_of(weight),
    weight=lambda g, input, end: g * _conj(end - input),
)
