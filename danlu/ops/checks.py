"""What the layer operators refuse, in one wording."""

from __future__ import annotations

from danlu.backend.dtypes import of_array
from danlu.ops.registry import scalar_name

__all__ = ["require_classes", "require_floating", "require_reduction", "scalar_type"]

REDUCTIONS = ("none", "mean", "sum")
_CLASS_TYPES = {("i", 8), ("u", 1)}


def scalar_type(array) -> str:
    """PyTorch's word for an array's element type: `Long` for int64, `Float` for float32."""
    return scalar_name(of_array(array))


def require_floating(array, kernel: str) -> None:
    """Refuse integers and booleans, for which `kernel` has no meaning.

    Raises:
        NotImplementedError: the array is not floating point.
    """
    if array.dtype.kind in "iub":
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{scalar_type(array)}': "
            "convert the input to floating point first (.float())"
        )


def require_classes(target) -> None:
    """Refuse class indices that are neither int64 nor uint8.

    Raises:
        RuntimeError: any other element type.
    """
    if (target.dtype.kind, target.dtype.itemsize) not in _CLASS_TYPES:
        given = scalar_type(target)
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {given} (expected scalar type Long "
            f"but found {given}): class indices are integers, write target.long()"
        )


def require_reduction(reduction) -> None:
    """Refuse words that name no reduction.

    Raises:
        ValueError: not "none", "mean" or "sum".
    """
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{reduction} is not a valid value for reduction: expected 'none', 'mean' or 'sum'"
        )
