"""What the functions of linear algebra share: errors, requirements, and small pieces of rules."""

from __future__ import annotations

import numpy as np

from danlu.backend.dtypes import of_array
from danlu.ops.pointwise import _conj
from danlu.ops.registry import scalar_name
from danlu.tensor import Tensor, wrap


class LinAlgError(RuntimeError):
    """A matrix is singular or not positive-definite, or a factorisation did not converge."""


def need_matrices(name, a) -> None:
    """At least two dimensions, of floating-point or complex numbers that LAPACK knows.

    Raises:
        RuntimeError: the array is something else.
    """
    if a.ndim < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions, but it has "
            f"{a.ndim}."
        )
    need_floating(name, a)


def need_floating(name, a) -> None:
    """Floating-point or complex numbers of at least 32 bits.

    Raises:
        RuntimeError: the array holds something else.
    """
    if a.dtype.kind in "fc" and a.dtype.itemsize > 2:
        return
    word = scalar_name(of_array(a))
    if a.dtype.kind in "fV":
        raise RuntimeError(
            f"linalg.{name}: Low precision dtypes not supported. Got {word}: convert with .float()"
        )
    raise RuntimeError(
        f"linalg.{name}: Expected a floating point or complex tensor as input. Got {word}: "
        "convert with .float()"
    )


def need_square(name, a) -> None:
    """Batches of square matrices.

    Raises:
        RuntimeError: the array is something else.
    """
    need_matrices(name, a)
    rows, columns = a.shape[-2:]
    if rows != columns:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {rows} by "
            f"{columns} matrices"
        )


def shown(shape) -> str:
    """A shape as PyTorch's messages write it: 2x3."""
    return "x".join(map(str, shape))


def failure(name, info, words) -> LinAlgError:
    """The error for the first matrix of a batch whose LAPACK code is not 0.

    Args:
        info: the codes, one per matrix.
        words: what went wrong, with `{}` for the code.
    """
    flat = np.asarray(info).reshape(-1)
    first = int(np.flatnonzero(flat)[0])
    batch = f"(Batch element {first}): " if np.ndim(info) else ""
    return LinAlgError(f"linalg.{name}: {batch}{words.format(int(flat[first]))}")


def adjoint(x):
    """The last two dimensions exchanged, and conjugated; of an array or a Tensor."""
    return _conj(x.swapaxes(-1, -2))


def is_complex(x) -> bool:
    return getattr(x, "_array", x).dtype.kind == "c"


def beside(array, x):
    """A constant array as what `x` is, to compute with it: an array or a Tensor."""
    return wrap(array) if isinstance(x, Tensor) else array


def identity(n, x):
    """The n x n unit matrix, of the kind and dtype of `x`."""
    return beside(np.eye(n, dtype=getattr(x, "_array", x).dtype), x)


def diagonal_matrix(x):
    """Matrices with the last dimension of `x` on their diagonals."""
    return x[..., None, :] * identity(x.shape[-1], x)


def main_diagonal(x):
    """The diagonals of matrices as the last dimension."""
    return (x * identity(x.shape[-1], x)).sum(axis=-1)
