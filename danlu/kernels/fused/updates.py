"""Large arrays changed in place by one function: one pass over memory, on all threads."""

from __future__ import annotations

import numpy as np

from danlu.kernels.fused.elementwise import LEAST
from danlu.kernels.graph.kernel import kernel

__all__ = ["relu", "update"]

_kernels: dict = {}


def update(ufunc, target, *operands) -> None:
    """`target[...] = ufunc(target, *operands)`.

    Args:
        ufunc: a NumPy function of one result.
        target: a floating-point array.
        operands: arrays that broadcast to the target's shape, or Python numbers.

    Example:
        >>> import numpy as np
        >>> x = np.ones(3, dtype=np.float32)
        >>> update(np.add, x, 2.0)
        >>> x
        array([3., 3., 3.], dtype=float32)
    """
    found = _kernels.get(ufunc)
    if found is None:
        found = _kernels[ufunc] = kernel(_in_place(ufunc), least=LEAST)
    found(target, *[float(each) if each.__class__ is int else each for each in operands])


def _in_place(ufunc):
    def change(target, *operands):
        if target.__class__ is np.ndarray:
            ufunc(target, *operands, out=target, casting="unsafe")
        else:
            target[...] = ufunc(target, *operands)

    change.__name__ = f"{ufunc.__name__}_in_place"
    return change


@kernel(least=LEAST)
def relu(target):
    """`target[...] = max(target, 0)`."""
    target[...] = np.maximum(target, 0)
