"""Elementary functions on vectors of floats and doubles, written as instructions.

Every function is a range reduction and a polynomial: no table and, but for sin, cos and tan of huge
arguments, no branch. NaN, infinities, signed zeros and denormal numbers are treated as C's
functions do. Errors stay below 1.5 units in the last place for floats (below 1 for most) and 1.1
for doubles, where the processor has fused multiplication. Without it (x86 before 2013) they stay
below 2 for most; power of doubles then loses up to nine bits.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.vector_basics import BASICS
from danlu.kernels.codegen.vector_errors import ERRORS
from danlu.kernels.codegen.vector_exponentials import EXPONENTIALS
from danlu.kernels.codegen.vector_logarithms import LOGARITHMS
from danlu.kernels.codegen.vector_trigonometry import TRIGONOMETRY

__all__ = ["NAMES", "apply", "supports"]

_WRITERS = {**BASICS, **ERRORS, **EXPONENTIALS, **LOGARITHMS, **TRIGONOMETRY}

NAMES = {scalar: frozenset(_WRITERS) for scalar in ("float", "double")}


def apply(f: Function, name: str, *values: Value) -> Value:
    """Write a function of vector mathematics.

    Args:
        f: the function being written.
        name: one of `NAMES[scalar]`: NumPy's name where NumPy has the function, else PyTorch's.
        values: of type float or double, all of one type, of any lane count.

    Raises:
        KeyError: there is no such function.

    Example:
        >>> from danlu.kernels.codegen.types import FLOAT
        >>> f = Function("task", [("x", FLOAT.vector(8))], FLOAT.vector(8))
        >>> f.ret(apply(f, "exp", f.parameters[0]))
        >>> f.text().count("fmuladd")
        10
    """
    return _WRITERS[name](f, *values)


def supports(name: str, scalar: str) -> bool:
    """Whether `apply` knows the function for values of the scalar type `"float"` or `"double"`."""
    return name in NAMES.get(scalar, ())
