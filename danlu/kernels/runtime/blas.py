"""The matrix product of NumPy's BLAS library as a function that generated code can call."""

from __future__ import annotations

from functools import cache

from danlu.backend import threads
from danlu.kernels.codegen.types import FLOAT, I32, I64, Type
from danlu.kernels.runtime import machine

__all__ = ["integers", "symbol"]


def symbol(type: Type) -> str:
    """The name by which code calls `cblas_sgemm` or `cblas_dgemm`."""
    return f"danlu_cblas_{'s' if type == FLOAT else 'd'}gemm"


@cache
def integers(type: Type) -> Type | None:
    """The type of the integers that this product takes, which code may call from now on; None where
    there is no library whose integers are known.

    The pool has left BLAS one thread by then: several tasks may call it at a time, each multiplies
    its own block.
    """
    found = threads.blas_product("s" if type == FLOAT else "d")
    if found is None:
        return None
    address, size = found
    machine.provide(symbol(type), address)
    return I64 if size == 8 else I32
