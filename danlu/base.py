"""What every program uses: the Tensor, dtypes, devices, grad modes, threads; no operator.

`danlu` publishes these names when the first of them is asked for."""

# ruff: noqa: E402 - collecting is turned off before the imports

import gc

# Everything made during an import stays: looking for garbage meanwhile costs a twentieth of its time.
_collecting = gc.isenabled()
gc.disable()

from math import e, inf, nan, pi

from danlu.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from danlu.autograd.grad_mode import is_inference_mode_enabled
from danlu.backend import dtypes as _dtypes
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
    get_num_interop_threads,
    get_num_threads,
    set_num_interop_threads,
    set_num_threads,
)
from danlu.size import Size
from danlu.tensor import Tensor

_DTYPES = (
    "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex32 complex64 "
    "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu bool"
).split()


_BY_NAME = {name: _dtypes.BY_NAME[name] for name in _DTYPES} | _dtypes.ALIASES
globals().update(_BY_NAME)
newaxis = None


def typename(obj) -> str:
    """The name of the object's type; a tensor's old type name."""
    return (
        obj.type() if isinstance(obj, Tensor) else type(obj).__module__ + "." + type(obj).__name__
    )


__all__ = [
    *_BY_NAME, "Size", "Tensor", "can_cast", "channels_last", "channels_last_3d", "contiguous_format",
    "device", "dtype", "e", "enable_grad", "finfo", "get_default_device", "get_default_dtype",
    "get_num_interop_threads", "get_num_threads", "iinfo", "inf", "inference_mode", "is_grad_enabled",
    "is_inference_mode_enabled", "layout", "memory_format", "nan", "newaxis", "no_grad", "pi",
    "preserve_format", "promote_types", "set_default_device", "set_default_dtype", "set_grad_enabled",
    "set_num_interop_threads", "set_num_threads", "strided", "typename",
]  # fmt: skip

if _collecting:
    gc.enable()
