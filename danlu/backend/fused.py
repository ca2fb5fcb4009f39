"""Fused multiply-add over arrays, for results that must agree with compiled code to the last
bit."""

from __future__ import annotations

import numpy as np

__all__ = ["fma", "fma32", "fma64"]

_SPLITTER = 2.0**27 + 1


def fma32(a, b, c):
    """`a * b + c` in float32, rounded once: the product of two float32 is exact in float64.

    Arguments may come in float64 where they are used more than once, if float32 holds their values.
    """
    product = (
        a.astype(np.float64) * b
    )  # beats the buffered cast of np.multiply(a, b, dtype=np.float64)
    product += c
    return product.astype(np.float32)


def _halves(x):
    """`x` as a sum of two numbers of at most 26 bits each (Veltkamp's splitting)."""
    high = x * _SPLITTER
    high = high - (high - x)
    return high, x - high


def fma64(a, b, c):
    """`a * b + c` in float64, rounded once: Dekker's exact product, Knuth's exact sum."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = a * b
        a_high, a_low = _halves(a)
        b_high, b_low = _halves(b)
        product_error = a_low * b_low - (
            product - a_high * b_high - a_low * b_high - a_high * b_low
        )
        total = product + c
        c_part = total - product
        total_error = (product - (total - c_part)) + (c - c_part)
        exact = total + (total_error + product_error)
    # the splitting overflows before the product does
    return np.where(np.isfinite(exact), exact, total)


def fma(a, b: float, c: float):
    """`a * b + c` rounded once in the precision of the array `a` (float32 or float64)."""
    if a.dtype == np.float32:
        return fma32(a, np.float32(b), np.float32(c))
    return fma64(a, np.float64(b), np.float64(c))
