"""Gaussian elimination of whole batches: NumPy has LAPACK's solvers, but not its factors."""

from __future__ import annotations

from math import prod

import numpy as np

from danlu.kernels.graph.library import node


def _size(x):
    """What LAPACK compares to choose a pivot: of complex numbers the sum of both parts."""
    return np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x)


def lu_in_place(a):
    """Overwrite contiguous matrices with their factors: U in the upper triangle, L without its unit
    diagonal below.

    Rows are exchanged so that every pivot is the largest of its column (Golub and Van Loan, Matrix
    Computations, 4th ed., algorithm 3.4.1).

    Returns: the row (from 0) that was exchanged with row i in step i, per matrix, and per matrix
    the position
    (from 1) of the first zero pivot, or 0.
    """
    *batch, rows, columns = a.shape
    steps = min(rows, columns)
    flat = a.reshape(prod(batch), rows, columns)
    exchanged = np.zeros((len(flat), steps), np.int32)
    first_zero = np.zeros(len(flat), np.int32)
    each = np.arange(len(flat))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for k in range(steps):
            pivot = k + _size(flat[:, k:, k]).argmax(axis=1)
            exchanged[:, k] = pivot
            held = flat[each, pivot]
            flat[each, pivot] = flat[:, k]
            flat[:, k] = held
            top = flat[:, k, k]
            zero = top == 0
            first_zero[zero & (first_zero == 0)] = k + 1
            flat[:, k + 1 :, k] /= np.where(zero, 1, top)[:, None]
            flat[:, k + 1 :, k + 1 :] -= flat[:, k + 1 :, k, None] * flat[:, k, None, k + 1 :]
    return exchanged.reshape(*batch, steps), first_zero.reshape(batch)


def permutation(exchanged, rows):
    """The order of rows after these exchanges: row i of P^T A is row `order[i]` of A."""
    *batch, steps = exchanged.shape
    flat = exchanged.reshape(prod(batch), steps)
    order = np.tile(np.arange(rows), (len(flat), 1))
    each = np.arange(len(flat))
    for k in range(steps):
        other = flat[:, k]
        held = order[each, other]
        order[each, other] = order[:, k]
        order[:, k] = held
    return order.reshape(*batch, rows)


@node
def permutation_matrix(exchanged, rows, dtype):
    """The P of A = P L U."""
    order = permutation(exchanged, rows)
    matrix = np.zeros((*order.shape, rows), dtype)
    np.put_along_axis(matrix, order[..., None, :], 1, axis=-2)
    return matrix
