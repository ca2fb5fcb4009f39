"""What kernels use beside NumPy's functions: array code for arrays of any kind, one operation each
in a trace."""

from __future__ import annotations

from math import prod

import numpy as np

__all__ = [
    "exp_nonpositive", "fma", "namespace", "philox", "polynomial", "random_words", "sigmoid",
]  # fmt: skip

# Philox4x32-10: what words are multiplied by, what the key's halves grow by in every round
PHILOX_FACTORS = (0xD2511F53, 0xCD9E8D57)
PHILOX_STEPS = (0x9E3779B9, 0xBB67AE85)
PHILOX_ROUNDS = 10


def namespace(x):
    """The namespace of numeric functions for an array."""
    return np if x.__class__ is np.ndarray else x.__array_namespace__()


def exp_nonpositive(x):
    """e to the power of numbers that are not positive; results below the smallest normal number may
    be 0."""
    record = getattr(x, "record", None)
    return namespace(x).exp(x) if record is None else record("exp_nonpositive")


def sigmoid(x):
    """1 / (1 + exp(-x)) of a plain or traced array."""
    if getattr(x, "record", None) is not None:  # by exp(-|x|), which cannot overflow
        tail = exp_nonpositive(-abs(x))
        return np.where(x < 0, tail, 1) / (1 + tail)
    # exp overflows to inf below -88 in float32, and 1 / (1 + inf) is the right 0
    with np.errstate(over="ignore"):
        result = np.exp(-x)
    result += 1
    return np.reciprocal(result)


def fma(x, y, z):
    """x * y + z, rounded once where the machine has an instruction for it."""
    record = getattr(x, "record", None)
    return x * y + z if record is None else record("fma", y, z)


def polynomial(coefficients, x):
    """The polynomial of `x` with these coefficients, the highest power's first (Horner)."""
    result = fma(x, coefficients[0], coefficients[1])
    for coefficient in coefficients[2:]:
        result = fma(result, x, coefficient)
    return result


def philox(counter, key):
    """Philox4x32-10: four words of 32 bits become four others (Salmon, Moraes, Dror, Shaw:
    Parallel Random Numbers: As Easy as 1, 2, 3, 2011).

    Args:
        counter: four arrays of uint64, below 2**32.
        key: two of them.
    """
    low = np.uint64(0xFFFFFFFF)
    for number in range(PHILOX_ROUNDS):
        first, second = ((each + np.uint64(number * step)) & low
                         for each, step in zip(key, PHILOX_STEPS, strict=True))  # fmt: skip
        products = [np.uint64(factor) * counter[place]
                    for factor, place in zip(PHILOX_FACTORS, (0, 2), strict=True)]  # fmt: skip
        high, low_words = [each >> 32 for each in products], [each & low for each in products]
        counter = (high[1] ^ counter[1] ^ first, low_words[1],
                   high[0] ^ counter[3] ^ second, low_words[0])  # fmt: skip
    return counter


def random_words(shape, key, offset):
    """Random words of 32 bits that depend on nothing but their place, the key and the offset: what
    needs them again, as the derivative of dropout does, makes them again instead of reading them
    from memory. In a trace they are made inside the loops. (PyTorch's streams are others.)

    Args:
        shape: of the result; every row along the last axis starts a block of four words.
        key: array of one uint64, the seed.
        offset: array of one uint64, the number of the first block.

    Example:
        >>> key, offset = np.array(7, np.uint64), np.array(0, np.uint64)
        >>> random_words((2, 3), key, offset).dtype
        dtype('uint32')
    """
    if getattr(key, "record", None) is not None or getattr(offset, "record", None) is not None:
        from danlu.kernels.graph import functions

        return functions.random_words(shape, key, offset)
    rows, length = prod(shape[:-1]), shape[-1]
    blocks = -(-length // 4)
    numbers = offset.reshape(()) + np.arange(rows * blocks, dtype=np.uint64)
    halves = [each & np.uint64(0xFFFFFFFF) for each in (numbers, numbers >> 32, key, key >> 32)]
    zero = np.zeros_like(numbers)
    words = philox((halves[0], halves[1], zero, zero), [each.reshape(()) for each in halves[2:]])
    table = np.stack(words, axis=-1).astype(np.uint32).reshape(rows, 4 * blocks)
    return table[:, :length].reshape(shape)
