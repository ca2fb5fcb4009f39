"""What operators refuse, in one wording, and how they look at values."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from danlu.backend.dtypes import of_array
from danlu.ops.registry import scalar_name

__all__ = ["by_value", "require_classes", "require_floating", "require_reduction", "scalar_type"]

REDUCTIONS = ("none", "mean", "sum")
_CLASS_TYPES = {("i", 8), ("u", 1)}

# Set by a trace: called with a look at values and its arguments; tells whether it took care of it.
recorder: Callable[..., bool] | None = None


def by_value(otherwise=None, raises=True):
    """Mark a function that looks at values to refuse some, or to decide something by them.

    A trace, which has no values, has it called at every run for what it raises, and goes on with
    `otherwise`, which must fit all values.

    Args:
        raises: False if it raises nothing, so that a run need not call it.
    """

    def define(look):
        @wraps(look)
        def call(*args):
            if recorder is not None and recorder(look, args, raises):
                return otherwise
            return look(*args)

        return call

    return define


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
