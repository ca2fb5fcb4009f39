"""Ufuncs that have no instruction of their own, as compositions of those that have."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

__all__ = ["COMPOSITIONS"]


def _logaddexp(x, y):
    """log(exp(x) + exp(y)) without overflow; infinities, which are no distance apart, as they are."""
    distance = np.abs(x - y)
    return np.where(x == y, x + math.log(2.0), np.maximum(x, y) + np.log1p(np.exp(-distance)))


def _sign(x):
    """-1, 0 or 1, and NaN for NaN."""
    return np.where(x > 0.0, 1.0, np.where(x < 0.0, -1.0, x))


def _heaviside(x, at_zero):
    return np.where(x == 0.0, at_zero, np.where(x > 0.0, 1.0, np.where(x < 0.0, 0.0, x)))


def _hypot(x, y):
    """sqrt(x^2 + y^2) by the larger one, which does not overflow; infinity also beside NaN."""
    x, y = np.abs(x), np.abs(y)
    large, small = np.maximum(x, y), np.minimum(x, y)
    share = small / np.where(large == 0.0, 1.0, large)
    either = np.isinf(x) | np.isinf(y)
    return np.where(either, math.inf, large * np.sqrt(share * share + 1.0))


def _reciprocal(x):
    return 1.0 / x


# Of floating-point operands alone: NumPy's ufunc -> the composition.
COMPOSITIONS: dict[Callable, Callable] = {
    np.logaddexp: _logaddexp, np.sign: _sign, np.heaviside: _heaviside, np.hypot: _hypot,
    np.reciprocal: _reciprocal,
}  # fmt: skip
