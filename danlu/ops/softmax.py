"""softmax and log_softmax, computed from inputs shifted by their maximum so that exp cannot
overflow."""

from __future__ import annotations

from danlu.kernels.fused import softmax as kernels
from danlu.ops.checks import require_floating
from danlu.ops.registry import Array, composite, ns, operator


@operator(method=False, name="Softmax")
def softmax_along(input: Array, dim):
    """exp(x) / sum(exp(x)) along one axis."""
    require_floating(input, "softmax_lastdim_kernel_impl")
    if input.size == 0:
        return input.copy()
    return kernels.softmax(input, dim) if input.ndim else ns(input).exp(input - input)


@softmax_along.vjp
def _(g, out, dim):
    if not out.ndim:
        weighted = g * out
        return weighted - out * weighted
    return kernels.softmax_backward(g, out, dim)


@operator(method=False, name="LogSoftmax")
def log_softmax_along(input: Array, dim):
    """x - log(sum(exp(x))) along one axis."""
    require_floating(input, "log_softmax_lastdim_kernel_impl")
    if input.size == 0:
        return input.copy()
    return kernels.log_softmax(input, dim) if input.ndim else input - input


@log_softmax_along.vjp
def _(g, out, dim):
    if not out.ndim:
        return g - g
    return kernels.log_softmax_backward(g, out, dim)


def check_dim(ndim, dim):
    """Refuse an axis that a tensor of `ndim` axes lacks.

    Raises:
        IndexError: `dim` is outside [-ndim, ndim).
    """
    reach = max(ndim, 1)
    if not -reach <= dim < reach:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-reach}, {reach - 1}], but got "
            f"{dim})"
        )


def _in_dtype(input, dtype):
    return input if dtype is None or dtype is input.dtype else input.to(dtype)


@composite(method=True)
def softmax(input, dim, dtype=None):
    """exp(x_i) / sum_j exp(x_j) along one axis.

    Args:
        input: a floating-point tensor.
        dim: the axis whose elements are to sum to 1.
        dtype: convert to this dtype first; default None.

    Shape:
        (*) -> (*)

    Raises:
        NotImplementedError: integers without `dtype`.
        IndexError: there is no such axis.

    Example:
        >>> import danlu as torch
        >>> torch.softmax(torch.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    input = _in_dtype(input, dtype)
    check_dim(input._array.ndim, dim)
    return softmax_along(input, dim)


@composite(method=True)
def log_softmax(input, dim, dtype=None):
    """x_i - log(sum_j exp(x_j)) along one axis.

    Args:
        input: a floating-point tensor.
        dim: the axis whose exponentials are to sum to 1.
        dtype: convert to this dtype first; default None.

    Shape:
        (*) -> (*)

    Raises:
        NotImplementedError: integers without `dtype`.
        IndexError: there is no such axis.

    Example:
        >>> import danlu as torch
        >>> torch.log_softmax(torch.tensor([0.0, 0.0]), dim=0)
        tensor([-0.6931, -0.6931])
    """
    input = _in_dtype(input, dtype)
    check_dim(input._array.ndim, dim)
    return log_softmax_along(input, dim)
