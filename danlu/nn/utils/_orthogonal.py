"""Orthogonal matrices as functions of unconstrained ones."""

from __future__ import annotations

from danlu.autograd.grad_mode import no_grad
from danlu.nn.modules.module import Module

MAPS = ("matrix_exp", "cayley", "householder")


def householder_product(vectors, factors):
    """The first columns of H_1 H_2 ... H_k with H_j = I - factor_j v_j v_j^H.

    Column j of ``vectors`` holds v_j below the diagonal; above it v_j is 0, on it 1.
    """
    from danlu import eye

    n, k = vectors.shape[-2:]
    unit = eye(n, k, dtype=vectors.dtype)
    vectors = vectors.tril(-1) + unit
    product = unit.expand(vectors.shape)
    for j in range(k - 1, -1, -1):
        v = vectors[..., j : j + 1]
        product = product - factors[..., j : j + 1].unsqueeze(-1) * (v @ (v.mH @ product))
    return product


def householder_vectors(matrix):
    """What LAPACK's geqrf gives: R on and above the diagonal, the vectors below, and the factors.

    Golub & Van Loan, Matrix Computations, algorithm 5.2.1.
    """
    from danlu import stack, where

    matrix = matrix.clone()
    factors = []
    for j in range(min(matrix.shape[-2:])):
        column = matrix[..., j:, j]
        head, tail = column[..., 0], column[..., 1:]
        done = (tail == 0).all(-1)  # also where nothing is below
        length = (column * column).sum(-1).sqrt()
        beta = where(done, head, where(head > 0, -length, length))
        divisor = where(done, head * 0 + 1, beta)
        factor = where(done, head * 0, (beta - head) / divisor)
        vector = (tail / where(done, head * 0 + 1, head - beta).unsqueeze(-1)).unsqueeze(-1)
        rest = matrix[..., j:, j + 1 :]
        along = rest[..., :1, :] + vector.mT @ rest[..., 1:, :]
        along = along * factor.unsqueeze(-1).unsqueeze(-1)
        matrix[..., j:, j + 1 :] = rest - _with_one_on_top(vector, along) @ along
        matrix[..., j, j] = beta
        matrix[..., j + 1 :, j] = vector.squeeze(-1)
        factors.append(factor)
    return matrix, stack(factors, -1)


def _with_one_on_top(vector, like):
    from danlu import cat

    return cat([like.new_ones(*vector.shape[:-2], 1, 1), vector], -2)


def _diagonal(matrix):
    return matrix.diagonal(dim1=-2, dim2=-1)


def _orthonormal_basis(matrix):
    """Q of the QR decomposition whose R has a positive diagonal."""
    triangle, factors = householder_vectors(matrix)
    return householder_product(triangle, factors) * _diagonal(triangle).sgn().unsqueeze(-2)


def _is_orthogonal(matrix) -> bool:
    from danlu import allclose, eye, finfo

    n, k = matrix.shape[-2:]
    identity = eye(k, dtype=matrix.dtype)
    return allclose(matrix.mH @ matrix, identity, atol=10.0 * n * finfo(matrix.dtype).eps)


class Orthogonal(Module):
    """The map from any matrix to one with orthonormal columns, or rows if there are fewer of them.

    With ``use_trivialization`` the result is multiplied from the left by a fixed orthogonal
    ``base``, so that any value can be assigned (Lezcano-Casado 2019, arXiv:1909.09501).
    """

    def __init__(self, weight, orthogonal_map: str, *, use_trivialization: bool = True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.matrix_shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        wide = x.size(-2) < x.size(-1)
        if wide:
            x = x.mT
        q = self._householder(x) if self.orthogonal_map == "householder" else self._exponential(x)
        if self.use_trivialization:
            q = self.base @ q
        return q.mT if wide else q

    def _householder(self, x):
        vectors = x.tril(-1)
        factors = 2.0 / (1.0 + (vectors * vectors).sum(-2))
        signs = _diagonal(x).detach().int().to(x.dtype)  # the diagonal holds only signs
        return householder_product(vectors, factors) * signs.unsqueeze(-2)

    def _exponential(self, x):
        """exp(A), or Cayley's (I - A/2)^-1 (I + A/2), of the skew-symmetric A = X - X^H."""
        from danlu import cat, eye, linalg

        n, k = x.shape[-2:]
        x = x.tril()
        if n != k:
            x = cat([x, x.new_zeros(n, n - k).expand(*x.shape[:-2], -1, -1)], -1)
        skew = x - x.mH
        if self.orthogonal_map == "matrix_exp":
            q = linalg.matrix_exp(skew)
        else:
            identity = eye(n, dtype=x.dtype)
            q = linalg.solve(identity - skew * 0.5, identity + skew * 0.5)
        return q[..., :k]

    @no_grad()
    def right_inverse(self, q):
        from danlu import cat, randn

        if q.shape != self.matrix_shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.matrix_shape}. "
                f"Got a tensor of shape {q.shape}."
            )
        given = q
        wide = q.size(-2) < q.size(-1)
        if wide:
            q = q.mT
        n, k = q.shape[-2:]
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            vectors, factors = householder_vectors(q)
            # A column that needed no reflection keeps its sign, all others are turned.
            signs = _diagonal(vectors).sgn() * (1 - 2 * (factors == 0).to(q.dtype))
            vectors = vectors.tril(-1) + vectors.triu(1) + signs.unsqueeze(-2) * _eye_like(vectors)
            return vectors.mT if wide else vectors
        if n != k:
            # Random columns complete the basis.
            q = _orthonormal_basis(cat([q, randn(*q.shape[:-2], n, n - k, dtype=q.dtype)], -1))
        elif _is_orthogonal(q):
            q = q.clone()
        else:
            q = _orthonormal_basis(q)
        self.base = q
        return -_eye_like(given).expand(given.shape).clone()


def _eye_like(matrix):
    from danlu import eye

    return eye(*matrix.shape[-2:], dtype=matrix.dtype)
