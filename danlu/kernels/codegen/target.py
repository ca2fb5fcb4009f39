"""The machine that code is written for: its vectors, registers and LLVM's names of it."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

from danlu.kernels.codegen.types import FLOAT, Type

__all__ = ["Target", "host", "named"]


class Target(NamedTuple):
    """What a kernel's text depends on.

    Attributes:
        triple, cpu, features: LLVM's names (`x86_64-unknown-linux-gnu`, `znver3`, `+avx2,...`).
        vector_bytes: of a vector register: 64 (AVX-512), 32 (AVX2), 16 (NEON, SSE).
        registers: how many vector registers there are.
        fma: whether a * b + c is one instruction.
        masks: whether masked loads and stores are instructions.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool
    masks: bool

    def lanes(self, type: Type) -> int:
        """How many numbers of this type a vector register holds."""
        return self.vector_bytes // type.bytes

    @property
    def block(self) -> tuple[int, int]:
        """(rows, vectors) of the accumulators of a matrix product that fill the registers and
        leave room for operands: 14 x 2 with 32 registers, 6 x 2 with 16."""
        return (14, 2) if self.registers == 32 and self.vector_bytes == 64 else (6, 2)

    @property
    def float_lanes(self) -> int:
        return self.lanes(FLOAT)


@cache
def host() -> Target:
    """This machine; `DANLU_TARGET_CPU` names a lesser processor of the same family (`haswell`,
    `x86-64`) to write for."""
    from llvmlite import binding

    triple = binding.get_process_triple()
    asked = os.environ.get("DANLU_TARGET_CPU")
    if asked:
        return named(triple, asked)
    features = binding.get_host_cpu_features()
    return _described(triple, binding.get_host_cpu_name(), features.flatten(), dict(features))


@cache
def named(triple: str, cpu: str) -> Target:
    """A machine by LLVM's names, for writing code that is not run here."""
    avx512 = cpu in ("skylake-avx512", "icelake-server", "sapphirerapids", "znver4", "znver5")
    avx2 = avx512 or cpu in ("haswell", "skylake", "znver1", "znver2", "znver3", "x86-64-v3")
    return _described(triple, cpu, "", {"avx512f": avx512, "avx2": avx2, "fma": avx2})


def _described(triple, cpu, features, has) -> Target:
    if triple.startswith(("aarch64", "arm64")):
        return Target(triple, cpu, features, 16, 32, True, False)
    if has.get("avx512f"):
        return Target(triple, cpu, features, 64, 32, True, True)
    if has.get("avx2") and has.get("fma"):
        return Target(triple, cpu, features, 32, 16, True, True)
    return Target(triple, cpu, features, 16, 16, False, False)
