"""danlu (丹炉): deep learning with PyTorch's API, light enough for small models.

>>> import danlu as torch
>>> torch.arange(3) + 1
tensor([1, 2, 3])
"""

from __future__ import annotations

import gc as _gc
import warnings as _warnings
from typing import Any as _Any

# Everything made during an import stays: looking for garbage meanwhile costs a twentieth of its time.
_collecting = _gc.isenabled()
_gc.disable()

# Overflow and division by zero are results (inf, nan), not warnings, as in PyTorch. NumPy's own
# users keep their warnings: the filter covers danlu's modules alone.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"danlu\.")

from danlu import autograd  # noqa: E402
from danlu.autograd import (  # noqa: E402
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from danlu.autograd.grad_mode import is_inference_mode_enabled  # noqa: E402
from danlu.backend.device import device, get_default_device, set_default_device  # noqa: E402
from danlu.backend.dtypes import (  # noqa: E402
    can_cast,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    set_default_dtype,
)
from danlu.backend.layout import (  # noqa: E402
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from danlu.backend.threads import (  # noqa: E402
    apply_cpu_limit as _apply_cpu_limit,
)
from danlu.backend.threads import (  # noqa: E402
    get_num_interop_threads,
    get_num_threads,
    set_num_interop_threads,
    set_num_threads,
)
from danlu.ops.binary import *  # noqa: E402, F403
from danlu.ops.comparison import *  # noqa: E402, F403
from danlu.ops.ternary import *  # noqa: E402, F403
from danlu.ops.conversion import clone, detach, fill  # noqa: E402
from danlu.ops.creation import *  # noqa: E402, F403
from danlu.ops.extremes import *  # noqa: E402, F403
from danlu.ops.index_along import *  # noqa: E402, F403
from danlu.ops.joining import *  # noqa: E402, F403
from danlu.ops.lazy import find as _find  # noqa: E402
from danlu.ops.legacy import *  # noqa: E402, F403
from danlu.ops.masking import *  # noqa: E402, F403
from danlu.ops.matmul import *  # noqa: E402, F403
from danlu.ops.parts import *  # noqa: E402, F403
from danlu.ops.pointwise import *  # noqa: E402, F403
from danlu.ops.predicates import *  # noqa: E402, F403
from danlu.ops.scatter import *  # noqa: E402, F403
from danlu.ops.random import *  # noqa: E402, F403
from danlu.ops.reduction import *  # noqa: E402, F403
from danlu.ops.scans import *  # noqa: E402, F403
from danlu.ops.selection import *  # noqa: E402, F403
from danlu.ops.shape import *  # noqa: E402, F403
from danlu.ops.sorting import *  # noqa: E402, F403
from danlu.ops.special import *  # noqa: E402, F403
from danlu.ops.strided import *  # noqa: E402, F403
from danlu.size import Size  # noqa: E402
from danlu.tensor import Tensor  # noqa: E402
from danlu.version import __version__  # noqa: E402

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

from math import e, inf, nan, pi  # noqa: E402

newaxis = None

# Loaded when first used: a program that does not ask for them does not wait for them.
_SUBMODULES = frozenset(
    "accelerator amp backends compat cuda distributed fft func jit keras linalg metrics multiprocessing nn optim "
    "overrides printing random serialization special tabular testing text types utils version vision".split()
)
_ELSEWHERE = {
    "save": "serialization", "load": "serialization",
    "vmap": "func", "Generator": "ops.random",
    "autocast": "amp", "get_autocast_dtype": "amp", "is_autocast_available": "amp",
    "is_autocast_enabled": "amp",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    import importlib

    if name in _SUBMODULES:
        try:
            return importlib.import_module(f"danlu.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"danlu.{name}":
                raise
            raise AttributeError(f"module 'danlu' has no attribute '{name}'") from None
    if name in _ELSEWHERE:
        found = getattr(importlib.import_module(f"danlu.{_ELSEWHERE[name]}"), name)
    elif (found := _find(name)) is not None:
        pass
    elif not name.startswith("_"):
        # functions of layers that PyTorch also publishes here: torch.conv2d, torch.dropout, ...
        found = getattr(importlib.import_module("danlu.nn.functional"), name, None)
        if found is None:
            raise AttributeError(f"module 'danlu' has no attribute '{name}'")
    else:
        raise AttributeError(f"module 'danlu' has no attribute '{name}'")
    globals()[name] = found
    return found


def typename(obj) -> str:
    """The name of the object's type; a tensor's old type name."""
    return (
        obj.type() if isinstance(obj, Tensor) else type(obj).__module__ + "." + type(obj).__name__
    )


if _collecting:
    _gc.enable()
