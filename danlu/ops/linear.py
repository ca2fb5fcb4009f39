"""Affine maps: x W^T + b as one node, and the bilinear form."""

from __future__ import annotations

import numpy as np

from danlu.kernels.matmul import LEAST
from danlu.kernels.matmul import matmul as product
from danlu.ops.matmul import multiply
from danlu.ops.registry import Array, ns, operator

_CPP_NAMES = {
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>", "bool": "bool",
    "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char",
    "uint8": "unsigned char",
}  # fmt: skip


def _refuse(input, weight, bias):
    """Raise what explains why `linear` cannot multiply these arrays."""
    if weight.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {weight.ndim}D")
    if input.dtype != weight.dtype or (bias is not None and bias.dtype != weight.dtype):
        other = weight if input.dtype != weight.dtype else bias
        mine, others = (_CPP_NAMES.get(a.dtype.name, a.dtype.name) for a in (input, other))
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {mine} != {others}: "
            "bring the input to the layer's dtype with .to(weight.dtype), such as .float()"
        )
    columns = input.shape[-1] if input.ndim else 0
    if columns != weight.shape[-1]:
        rows = input.size // max(columns, 1)
        right = weight.shape[::-1] if weight.ndim == 2 else (weight.shape[0], 1)
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{columns} and "
            f"{right[0]}x{right[1]})"
        )
    if bias is not None:
        raise RuntimeError(
            f"The expanded size of the tensor ({weight.shape[0]}) must match the existing size "
            f"({bias.shape[-1]}) at non-singleton dimension {input.ndim - 1}: the bias of shape "
            f"{list(bias.shape)} does not fit {weight.shape[0]} outputs"
        )


@operator(method=False, space="nn.functional", name="Addmm")
def linear(input: Array, weight: Array, bias: Array | None = None):
    """x W^T + b, applied to the last axis.

    Args:
        input: a tensor whose last axis has in_features elements.
        weight: the matrix W, or a vector for a single output without its axis.
        bias: the vector b, or None.

    Shape:
        (*, in_features), (out_features, in_features), (out_features,) -> (*, out_features)

    Raises:
        RuntimeError: shapes that do not fit, or mixed dtypes.

    Example:
        >>> import danlu as torch
        >>> weight, bias = torch.tensor([[1.0, 2.0]]), torch.tensor([0.5])
        >>> torch.nn.functional.linear(torch.ones(1, 2), weight, bias)
        tensor([[3.5000]])
    """
    if input.dtype != weight.dtype:
        _refuse(input, weight, bias)
    try:
        if (
            weight.ndim == 2
            and input.size * weight.shape[0] >= LEAST
            and input.ndim >= 2
            and (bias is None or bias.dtype == weight.dtype)
        ):
            return product(input, weight.T, bias)
        out = input.dot(weight.T) if weight.ndim <= 2 else _refuse(input, weight, bias)
        if bias is None:
            return out
        if bias.dtype == out.dtype and out.ndim:
            out += bias
            return out
        return out + bias if bias.dtype == out.dtype else _refuse(input, weight, bias)
    except ValueError:
        _refuse(input, weight, bias)


@linear.vjp
def _(needs, g, input, weight):
    if weight.ndim == 1:
        return _vector_rule(needs, g, input, weight)
    rows, in_rows = g, input
    if g.ndim != 2:
        rows = g.reshape((-1, weight.shape[0]))
        in_rows = input.reshape((-1, weight.shape[1]))
    if rows.__class__ is np.ndarray:
        found = gradients(rows, in_rows, weight, *needs)
        if g.ndim == 2 or found[0] is None:
            return found
        return (found[0].reshape(input.shape), *found[1:])
    return (
        g @ weight if needs[0] else None,
        rows.T @ in_rows if needs[1] else None,
        _sum_rows(rows) if needs[2] else None,
    )


def gradients(g, input, weight, for_input, for_weight, for_bias):
    """The gradients of a matrix of rows through the layer, None for those not asked for."""
    return (
        multiply(g, weight) if for_input else None,
        multiply(g.T, input) if for_weight else None,
        _sum_rows(g) if for_bias else None,
    )


def _sum_rows(rows):
    """The sum over rows; of arrays as a product with ones, which takes a sixth of the time of a
    reduction."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "f" and len(rows) <= _MOST_ONES:
        ones = _ONES.get(rows.dtype)
        if ones is None:
            ones = _ONES[rows.dtype] = np.ones(4096, rows.dtype)
        if len(ones) < len(rows):
            ones = _ONES[rows.dtype] = np.ones(_MOST_ONES, rows.dtype)
        ones = ones[: len(rows)]
        return ones.dot(rows) if rows.size < LEAST else product(ones[None], rows)[0]
    return rows.sum(axis=0)


_MOST_ONES = 1 << 17
_ONES: dict = {}


def _vector_rule(needs, g, input, weight):
    """The rule where the output has no axis for out_features."""
    column = g.reshape((-1, 1))
    rows = input.reshape((-1, weight.shape[0]))
    return (
        ns(g).expand_dims(g, axis=-1) * weight if needs[0] else None,
        (column * rows).sum(axis=0) if needs[1] else None,
        g.sum() if needs[2] else None,
    )


def bilinear(input1, input2, weight, bias=None):
    """x1^T W_k x2 + b_k for every output k.

    Args:
        input1: first input, its last axis of in1_features elements.
        input2: second input with the same leading axes.
        weight: the matrices W_k.
        bias: the vector b, or None.

    Shape:
        (*, in1), (*, in2), (out, in1, in2), (out,) -> (*, out)

    Raises:
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> x, w = torch.ones(1, 2), torch.ones(3, 2, 2)
        >>> torch.nn.functional.bilinear(x, x, w)
        tensor([[4., 4., 4.]])
    """
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got "
            f"{tuple(input1.shape[:-1])} and {tuple(input2.shape[:-1])}"
        )
    for number, given in ((1, input1), (2, input2)):
        if given.shape[-1] != weight.shape[number]:
            raise RuntimeError(
                f"bilinear(): input{number} size does not match weight size: got "
                f"{given.shape[-1]} but expected {weight.shape[number]}"
            )
    first = input1.reshape(-1, weight.shape[1])  # (M, I)
    second = input2.reshape(-1, weight.shape[2])  # (M, J)
    mapped = first @ weight.permute(1, 0, 2).reshape(weight.shape[1], -1)  # (M, K*J)
    mapped = mapped.reshape(-1, weight.shape[0], weight.shape[2])  # (M, K, J)
    out = (mapped * second.unsqueeze(1)).sum(-1)  # (M, K)
    if bias is not None:
        out = out + bias
    return out.reshape(*input1.shape[:-1], weight.shape[0])
