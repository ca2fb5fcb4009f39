"""Memory shared with other array libraries by the DLPack protocol."""

from __future__ import annotations

from danlu.ops import from_values

__all__ = ["from_dlpack", "to_dlpack"]

_CPU = (1, 0)  # kDLCPU of the protocol, and the number of the device


class _OfCapsule:
    """A capsule as an object with the protocol's methods, which NumPy asks for."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return _CPU


def from_dlpack(ext_tensor):
    """A tensor on the memory of another library's array.

    Args:
        ext_tensor: an object with the method ``__dlpack__``, or what `to_dlpack` gave, once.

    Example:
        >>> import numpy as np
        >>> from danlu.utils.dlpack import from_dlpack
        >>> array = np.zeros(2)
        >>> tensor = from_dlpack(array)
        >>> array[0] = 5
        >>> tensor
        tensor([5., 0.], dtype=torch.float64)
    """
    is_capsule = type(ext_tensor).__name__ == "PyCapsule"
    return from_values.from_dlpack(_OfCapsule(ext_tensor) if is_capsule else ext_tensor)


def to_dlpack(tensor):
    """A DLPack capsule of the tensor's memory, which `from_dlpack` takes once.

    Example:
        >>> import danlu as torch
        >>> from danlu.utils.dlpack import from_dlpack, to_dlpack
        >>> from_dlpack(to_dlpack(torch.arange(3)))
        tensor([0, 1, 2])
    """
    # A capsule of the first version has no flag for memory that may be written to.
    return tensor.__dlpack__(max_version=(1, 0))
