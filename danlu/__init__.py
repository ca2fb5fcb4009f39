"""danlu (丹炉): deep learning with PyTorch's API, light enough for small models.

>>> import danlu as torch
>>> torch.arange(3) + 1
tensor([1, 2, 3])
"""

# ruff: noqa: E402, F403 - what turns collecting and warnings off comes before the imports

import gc as _gc
import typing as _typing
import warnings as _warnings

# Everything made during an import stays: looking for garbage meanwhile costs a twentieth of its time.
_collecting = _gc.isenabled()
_gc.disable()

# Overflow and division by zero are results (inf, nan), not warnings, as in PyTorch. NumPy's own
# users keep their warnings: the filter covers danlu's modules alone.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"danlu\.")

from danlu import autograd
from danlu.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from danlu.autograd.grad_mode import is_inference_mode_enabled
from danlu.backend.device import device, get_default_device, set_default_device
from danlu.backend.dtypes import (
    can_cast,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    set_default_dtype,
)
from danlu.backend.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from danlu.backend.threads import (
    apply_cpu_limit as _apply_cpu_limit,
)
from danlu.backend.threads import (
    get_num_interop_threads,
    get_num_threads,
    set_num_interop_threads,
    set_num_threads,
)
from danlu.ops import lazy as _lazy
from danlu.size import Size
from danlu.tensor import Tensor
from danlu.version import __version__

if _typing.TYPE_CHECKING:
    # Loaded when first used. This list says where danlu's functions live: tools/published_names.py
    # writes it, with the methods, into danlu/ops/published.py, where `__getattr__` looks.
    from danlu.amp import (
        autocast,
        get_autocast_dtype,
        is_autocast_available,
        is_autocast_enabled,
    )
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

_DTYPES = (
    "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex32 complex64 "
    "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu bool"
).split()


def _publish_dtypes() -> None:
    from danlu.backend import dtypes

    for name in _DTYPES:
        globals()[name] = dtypes.BY_NAME[name]
    globals().update(dtypes.ALIASES)


_publish_dtypes()
_apply_cpu_limit()

from math import e, inf, nan, pi

newaxis = None

# Loaded when first used: a program that does not ask for them does not wait for them.
_SUBMODULES = frozenset(
    "accelerator amp backends compat cuda distributed fft func jit keras linalg metrics multiprocessing nn optim "
    "overrides printing random serialization special tabular testing text types utils version vision".split()
)
_MODULES = _SUBMODULES | {"autograd", "backend", "kernels", "ops", "protocols", "size", "version"}
# `danlu.tensor` is the function, although the import of the module of that name has put that here.
globals().pop("tensor")


def __getattr__(name: str) -> _typing.Any:
    import importlib

    if name in _SUBMODULES:
        try:
            return importlib.import_module(f"danlu.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"danlu.{name}":
                raise
            raise AttributeError(f"module 'danlu' has no attribute '{name}'") from None
    if name == "__all__":
        return [each for each in __dir__() if not (each[0] == "_" or each in _MODULES)]
    found = _lazy.find(name)
    if found is None and not name.startswith("_"):
        # functions of layers that PyTorch also publishes here: torch.conv2d, torch.dropout, ...
        found = getattr(importlib.import_module("danlu.nn.functional"), name, None)
    if found is None:
        raise AttributeError(f"module 'danlu' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_lazy.names(), *_SUBMODULES})


def typename(obj) -> str:
    """The name of the object's type; a tensor's old type name."""
    return (
        obj.type() if isinstance(obj, Tensor) else type(obj).__module__ + "." + type(obj).__name__
    )


if _collecting:
    _gc.enable()
