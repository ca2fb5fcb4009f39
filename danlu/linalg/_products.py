"""Powers, exponentials and products of matrices, and products of vectors."""

from __future__ import annotations

import numpy as np

from danlu.linalg._checks import adjoint, need_floating, need_square, shown
from danlu.linalg._inverse import inv
from danlu.ops.matmul import matmul as _matmul
from danlu.ops.parts import diagonal as _diagonal
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, ns, operator, write_out
from danlu.tensor import publish_method


def matmul(input, other, *, out=None):
    """The matrix product: `danlu.matmul`."""
    return _matmul(input, other, out=out)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonals of matrices, as `danlu.diagonal` with other defaults."""
    return _diagonal(A, offset, dim1, dim2)


def matrix_power(A, n, *, out=None):
    """A multiplied n times with itself (n = 0: the unit matrix); negative n use the inverse.

    Raises:
        LinAlgError: n is negative and A singular.

    Example:
        >>> import danlu as torch
        >>> torch.linalg.matrix_power(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
        tensor([[1., 3.],
                [0., 1.]])
    """
    array = A._array
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise RuntimeError(
            "linalg.matrix_power: A must be batches of square matrices, but they have shape "
            f"{shown(array.shape)}"
        )
    power, n = (inv(A), -n) if n < 0 else (A, n)
    if n == 0:
        # of A, so that a gradient (0) flows
        made = A * 0 + A.new_tensor(np.eye(array.shape[-1]))
    else:
        made = None
        while n:
            if n & 1:
                made = power if made is None else made @ power
            n >>= 1
            if n:
                power = power @ power
        made = made.clone() if made is A else made
    return made if out is None else write_out(out, made)


publish_method("matrix_power", matrix_power)


def multi_dot(tensors, *, out=None):
    """The product of several matrices in the order that takes the fewest multiplications.

    The first and the last may be vectors. The order: Cormen et al., Introduction to Algorithms,
    section 15.2.
    """
    tensors = list(tensors)
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    row, column = tensors[0]._array.ndim == 1, tensors[-1]._array.ndim == 1
    if row:
        tensors[0] = tensors[0].unsqueeze(0)
    if column:
        tensors[-1] = tensors[-1].unsqueeze(-1)
    for position, each in enumerate(tensors):
        if each._array.ndim != 2:
            raise RuntimeError(
                f"multi_dot(): tensor {position} must be 2D (the first and the last may be 1D) but "
                "got "
                f"{each._array.ndim}D"
            )
    sizes = [each._array.shape[0] for each in tensors] + [tensors[-1]._array.shape[1]]
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], cut[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i, j):
        return tensors[i] if i == j else product(i, cut[i][j]) @ product(cut[i][j] + 1, j)

    made = product(0, n - 1)
    made = made[0] if row else made
    made = made[..., 0] if column else made
    return made if out is None else write_out(out, made)


@operator(method="matrix_exp", space="linalg", name="LinalgMatrixExp")
def matrix_exp(A: Array):
    """The matrix exponential: the sum of A^k / k!.

    Computed as a Taylor polynomial of degree 18 of A / 2^s with norm at most 1/2, squared s times
    (C. Moler and
    C. Van Loan, Nineteen dubious ways to compute the exponential of a matrix, 2003, method 3).

    Example:
        >>> import danlu as torch
        >>> torch.linalg.matrix_exp(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    need_square("matrix_exp", A)
    norm = float(np.abs(A).sum(-2).max(initial=0))
    squarings = max(0, int(np.ceil(np.log2(norm))) + 1) if np.isfinite(norm) and norm > 0.5 else 0
    scaled = A / A.dtype.type(2.0**squarings)
    eye = np.broadcast_to(np.eye(A.shape[-1], dtype=A.dtype), A.shape)
    total = eye.copy()
    for k in range(18, 0, -1):  # Horner's rule
        total = eye + scaled @ total / A.dtype.type(k)
    for _ in range(squarings):
        total = total @ total
    return total


@matrix_exp.vjp
def _(g, A):
    """exp([[X, G], [0, X]]) has the derivative of exp at X in direction G above its diagonal (R.
    Mathias, 1996).
    """
    xp = ns(g)
    x = adjoint(A)
    n = x.shape[-1]
    blocks = xp.concat([xp.concat([x, g], axis=-1), xp.concat([x * 0, x], axis=-1)], axis=-2)
    return matrix_exp.on(blocks)[..., :n, n:]


def cross(input, other, *, dim=-1, out=None):
    """The cross product of vectors of three elements along `dim`."""
    from danlu.ops.joining import stack

    a_shape, b_shape = input._array.shape, other._array.shape
    if len(a_shape) != len(b_shape):
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions, but they have "
            f"{len(a_shape)} and {len(b_shape)}"
        )
    where = axis(dim, len(a_shape))
    if a_shape[where] != 3 or b_shape[where] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {a_shape[where]} and "
            f"{b_shape[where]}"
        )
    a, b = input.unbind(where), other.unbind(where)
    made = stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], where
    )
    return made if out is None else write_out(out, made)


def vander(x, *, N=None):
    """The Vandermonde matrix: the powers 0 to N - 1 of each element.

    Shape:
        x: (*, n); the result: (*, n, N), where N is n by default.
    """
    from danlu.ops.creation import ones
    from danlu.ops.joining import cat

    x = x.reshape(1) if x._array.ndim == 0 else x
    N = x._array.shape[-1] if N is None else N
    if N <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, but got {N}")
    if not x.is_floating_point() and not x.is_complex():
        x = x.long()
    column = x.unsqueeze(-1)
    powers = column.expand(*x._array.shape, N - 1).cumprod(-1)
    return cat([ones(column._array.shape, dtype=powers.dtype), powers], -1)


def vecdot(x, y, *, dim=-1, out=None):
    """The dot products of vectors along `dim`, the first conjugated."""
    need_floating("vecdot", x._array)
    made = ((x.conj() if x.is_complex() else x) * y).sum(dim)
    return made if out is None else write_out(out, made)
