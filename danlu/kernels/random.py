"""Random numbers by machine code: what `danlu.backend.random` calls for draws that pay, and dropout
in one pass.

The functions give None where NumPy is to draw. Numbers and the state left behind are the same.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from types import ModuleType

import numpy as np

from danlu.backend import random as draws
from danlu.backend.generator import Generator
from danlu.kernels.runtime import road

__all__ = ["dropout", "install", "integers", "normal", "ones", "permutation", "uniform"]

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_ONES = frozenset("?bBhHiIlLqQfd")

# Nanoseconds that NumPy takes for a number; a uniform one takes 6, and is asked for twice.
_COST = {"uniform": 3, "normal": 60, "ones": 12, "dropout": 15, "integers": 9, "permutation": 50}
# and for a call that draws normal ones, which makes a hundred calls of NumPy's
_NORMAL_CALL = 130_000
# What loading a kernel costs, in nanoseconds, with llvmlite and with LLVM loaded already.
_COLD, _WARM = 80_000_000, 8_000_000
_spent = dict.fromkeys(_COST, 0)
_loaded: dict[str, ModuleType] = {}


def install() -> None:
    """Let `danlu.backend.random` draw with these functions."""
    if draws.machine is None and hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
        )
    draws.machine = sys.modules[__name__]


_held: list = []


def _before_fork() -> None:
    """Wait until no thread draws from the default generator: a child would wait for ever."""
    lock, _ = draws.default_generator.raw_state()
    lock.acquire()
    _held.append(lock)


def _after_fork() -> None:
    _held.pop().release()


def _code(kind: str, n: int):
    """The module of machine code if it is to draw these n numbers: once NumPy has spent as much
    time on the kind as loading takes, then from one number on."""
    code = _loaded.get(kind)
    if code is None:
        _spent[kind] += n * _COST[kind] + (_NORMAL_CALL if kind == "normal" else 0)
        if not road.worth(_spent[kind], _WARM if road.ready() else _COLD) or not _sound():
            return None
        from danlu.kernels.generated import random

        code = _loaded[kind] = random
    return code if road.worth(n, 1) else None


@cache
def _sound() -> bool:
    """Whether this processor fuses multiply-adds and NumPy keeps the state as expected."""
    import ctypes

    from danlu.kernels.codegen.target import host

    generator = Generator().manual_seed(1)
    generator.words(700)
    memory = (ctypes.c_uint32 * 625).from_address(generator.raw_state()[1])
    words = generator.state_bytes()[24 : 24 + 624 * 8].view(np.uint64)
    return host().fma and list(memory) == [*words.tolist(), 700 - 624]


def uniform(generator, n: int, dtype, low: float = 0.0, high: float = 1.0):
    """n uniform numbers of [low, high) in float32 or float64."""
    if dtype.char not in "fd" or (code := _code("uniform", n)) is None:
        return None
    out = np.empty(n, dtype)
    code.uniform(generator, out, low, high)
    return out


def normal(generator, n: int, dtype, mean: float, std: float):
    """n normal numbers, 16 at least, for a contiguous target of any floating-point type but
    float64; they come in float32."""
    if dtype == _F64 or (code := _code("normal", n)) is None:
        return None
    out = np.empty(n, _F32)
    tail = n % 16
    code.normal(generator, out[: n - tail], mean, std)
    if tail:
        if dtype.itemsize >= 4:
            generator.words(tail)
        code.normal(generator, out[-16:], mean, std)
    return out


def ones(generator, n: int, dtype, limit: int):
    """n ones and zeros, ones where the low 53 bits of two words are below `limit`."""
    if dtype.char not in _ONES or (code := _code("ones", n)) is None:
        return None
    out = np.empty(n, dtype)
    code.ones(generator, out, limit)
    return out


def integers(generator, n: int, low: int, span: int):
    """n integers of [low, low + span), with span below 2**28, in int64."""
    if (code := _code("integers", n)) is None:
        return None
    out = np.empty(n, np.int64)
    code.integers(generator, out, low, span)
    return out


def permutation(generator, n: int):
    """A permutation of 0..n-1 in int64."""
    if n >= 1 << 31 or (code := _code("permutation", n)) is None:
        return None
    return code.permutation(generator, n)


def dropout(generator, array, p: float):
    """(noise, array * noise) of dropout with probability p < 1: 1 / (1 - p) where an element is
    kept, zero elsewhere; float32 and float64."""
    flags = array.flags
    if (
        array.dtype.char not in "fd"
        or not (flags.c_contiguous and flags.aligned and array.size)
        or (code := _code("dropout", array.size)) is None
    ):
        return None
    scale = array.dtype.type(1) / array.dtype.type(1 - p)
    return code.dropout(generator, array, draws.below_53_bits(1 - p), float(scale))
