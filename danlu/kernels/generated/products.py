"""What kernels with matrix products inside share: panels of register tiles, and packing.

With those inside, a kernel would take 0.1 s more to compile; as modules of their own they are
compiled once.
"""

from __future__ import annotations

from functools import partial

from danlu.kernels.codegen.types import Type
from danlu.kernels.generated import matmul_packing, matmul_panels
from danlu.kernels.generated.matmul_blocks import symbol
from danlu.kernels.runtime import machine, pool

__all__ = ["load"]


def load(type: Type) -> None:
    """Let kernels that are loaded from now on call the functions for this type."""
    with pool.lock():  # in the order in which a kernel's loading takes its locks
        for module in (matmul_panels, matmul_packing):
            key = (module.__name__.rpartition(".")[2], type.scalar)
            names = tuple(symbol(name, type) for name in module.EXPORTS)
            machine.share(key, partial(module.write, type), names)
