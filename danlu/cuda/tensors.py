"""The old typed constructors of CUDA tensors: `torch.cuda.FloatTensor`.

Programs name them beside their CPU twins, and in `isinstance`; making one needs a device.
"""

from __future__ import annotations

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
    "HalfTensor", "IntTensor", "LongTensor", "ShortTensor",
]  # fmt: skip


class _CudaType(type):
    """A class of CUDA tensors of one dtype: no tensor is an instance, none can be made."""

    def __call__(cls, *args, **kwargs):
        raise TypeError(
            f"type torch.cuda.{cls.__name__} not available. Torch not compiled with CUDA enabled: "
            f"write torch.{cls.__name__} instead"
        )

    def __repr__(cls) -> str:
        return f"<class 'torch.cuda.{cls.__name__}'>"


def _typed(name: str) -> _CudaType:
    return _CudaType(name, (), {"__doc__": "A type of CUDA tensors.", "__module__": "torch.cuda"})


FloatTensor, DoubleTensor = _typed("FloatTensor"), _typed("DoubleTensor")
HalfTensor, BFloat16Tensor = _typed("HalfTensor"), _typed("BFloat16Tensor")
ByteTensor, CharTensor = _typed("ByteTensor"), _typed("CharTensor")
ShortTensor, IntTensor = _typed("ShortTensor"), _typed("IntTensor")
LongTensor, BoolTensor = _typed("LongTensor"), _typed("BoolTensor")
