"""danlu (丹炉): deep learning with PyTorch's API, light enough for small models.

>>> import danlu as torch
>>> torch.arange(3) + 1
tensor([1, 2, 3])
"""

# ruff: noqa: F403

import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from danlu.version import __version__

if _TYPE_CHECKING:
    # Loaded when first used. This list says where danlu's functions live: tools/published_names.py
    # writes it, with the methods, into danlu/ops/published.py, where `__getattr__` looks.
    from danlu.base import *
    from danlu.amp import (
        autocast,
        get_autocast_dtype,
        is_autocast_available,
        is_autocast_enabled,
    )
    from danlu.compiler import compile
    from danlu.func import vmap
    from danlu.linalg._older import (
        cdist,
        cholesky,
        cholesky_inverse,
        cholesky_solve,
        cross,
        det,
        dist,
        frobenius_norm,
        geqrf,
        inverse,
        logdet,
        lu,
        lu_solve,
        lu_unpack,
        matrix_exp,
        matrix_power,
        matrix_rank,
        norm,
        norm_except_dim,
        nuclear_norm,
        orgqr,
        ormqr,
        pca_lowrank,
        pinverse,
        qr,
        slogdet,
        svd,
        svd_lowrank,
        triangular_solve,
        vander,
    )
    from danlu.ops.activation import hardshrink, prelu, relu
    from danlu.ops.binary import *
    from danlu.ops.calculus import cumulative_trapezoid, gradient, trapezoid, trapz
    from danlu.ops.comparison import *
    from danlu.ops.conversion import clone, detach, fill
    from danlu.ops.creation import *
    from danlu.ops.extremes import *
    from danlu.ops.from_values import (
        as_tensor,
        asarray,
        from_dlpack,
        from_numpy,
        frombuffer,
        scalar_tensor,
        tensor,
        to_dlpack,
    )
    from danlu.ops.index_along import *
    from danlu.ops.joining import *
    from danlu.ops.legacy import *
    from danlu.ops.masking import *
    from danlu.ops.matmul import *
    from danlu.ops.parts import *
    from danlu.ops.pointwise import *
    from danlu.ops.predicates import *
    from danlu.ops.random import *
    from danlu.ops.random_operators import bernoulli, multinomial, poisson
    from danlu.ops.random_state import (
        Generator,
        default_generator,
        get_rng_state,
        initial_seed,
        manual_seed,
        seed,
        set_rng_state,
    )
    from danlu.ops.reduction import *
    from danlu.ops.scans import *
    from danlu.ops.scatter import *
    from danlu.ops.selection import *
    from danlu.ops.settings import (
        get_deterministic_debug_mode,
        get_float32_matmul_precision,
        is_deterministic_algorithms_warn_only_enabled,
        is_warn_always_enabled,
        set_default_tensor_type,
        set_deterministic_debug_mode,
        set_float32_matmul_precision,
        set_flush_denormal,
        set_warn_always,
    )
    from danlu.ops.shape import *
    from danlu.ops.signal import (
        bartlett_window,
        blackman_window,
        hamming_window,
        hann_window,
        istft,
        kaiser_window,
        stft,
    )
    from danlu.ops.softmax import log_softmax, softmax
    from danlu.ops.sorting import *
    from danlu.ops.special import *
    from danlu.ops.strided import *
    from danlu.ops.ternary import *
    from danlu.serialization import load, save


# Loaded when first used: a program that does not ask for them does not wait for them.
_SUBMODULES = frozenset(
    "_dynamo _inductor accelerator amp backends compat compiler cuda distributed fft func jit keras linalg metrics "
    "multiprocessing nn optim overrides printing random serialization special tabular testing text types utils version "
    "vision".split()
)
_MODULES = _SUBMODULES | {"autograd", "backend", "base", "kernels", "ops", "protocols", "size"}
_begun = False


class _Package(_ModuleType):
    """`danlu.tensor` is the function, although there is a module of that name too."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "tensor" or not isinstance(value, _ModuleType):
            super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Package


def _begin() -> None:
    """Load NumPy, the Tensor and the names of `danlu.base`, at the first use of any of them.

    NumPy's own import takes 20 times as long as danlu's; a program that only asks for the version,
    or prints its usage, does not wait for it.
    """
    global _begun
    base = _import_module("danlu.base")
    globals().update({name: getattr(base, name) for name in base.__all__})
    _begun = True


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        try:
            return _import_module(f"danlu.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"danlu.{name}":
                raise
            raise AttributeError(f"module 'danlu' has no attribute '{name}'") from None
    if name == "__all__":
        return [each for each in __dir__() if not (each[0] == "_" or each in _MODULES)]
    if name.startswith("__"):
        raise AttributeError(f"module 'danlu' has no attribute '{name}'")
    if not _begun:
        _begin()
        if name in globals():
            return globals()[name]
    lazy = _import_module("danlu.ops.lazy")

    found = lazy.find(name)
    if found is None and not name.startswith("_"):
        # functions of layers that PyTorch also publishes here: torch.conv2d, torch.dropout, ...
        found = getattr(_import_module("danlu.nn.functional"), name, None)
    if found is None:
        raise AttributeError(f"module 'danlu' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    if not _begun:
        _begin()
    lazy = _import_module("danlu.ops.lazy")

    return sorted({*globals(), *lazy.names(), *_SUBMODULES})
