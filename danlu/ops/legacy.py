"""The old typed constructors: `torch.LongTensor(2, 3)`, `torch.FloatTensor([1, 2])`."""

from __future__ import annotations

from danlu.backend import dtypes
from danlu.ops.creation import legacy_tensor
from danlu.tensor import Tensor, legacy_type_name

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
    "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor",
]  # fmt: skip


class _TypedTensor(type):
    """Instances are tensors of one dtype; the class makes them as PyTorch's old constructors did."""

    kind: dtypes.dtype

    def __call__(cls, *args, **kwargs):
        return legacy_tensor(cls.kind, args, kwargs)

    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.kind

    def __repr__(cls) -> str:
        return f"<class '{legacy_type_name(cls.kind)}'>"


def _typed(kind: dtypes.dtype):
    name = legacy_type_name(kind).removeprefix("torch.")
    doc = f"A tensor of {kind!r} of this size (uninitialised), or with these values."
    return _TypedTensor(
        name, (), {"kind": kind, "dtype": kind, "__doc__": doc, "__module__": "torch"}
    )


FloatTensor, DoubleTensor = _typed(dtypes.float32), _typed(dtypes.float64)
HalfTensor, BFloat16Tensor = _typed(dtypes.float16), _typed(dtypes.bfloat16)
ByteTensor, CharTensor = _typed(dtypes.uint8), _typed(dtypes.int8)
ShortTensor, IntTensor, LongTensor = (
    _typed(dtypes.int16),
    _typed(dtypes.int32),
    _typed(dtypes.int64),
)
BoolTensor = _typed(dtypes.bool_)
