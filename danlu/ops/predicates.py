"""Questions about tensors whose answers are Python values, and comparisons of whole tensors."""

from __future__ import annotations

import numpy as np

from danlu.backend import conversions, dtypes
from danlu.ops.promotion import result_dtype
from danlu.ops.registry import NUMBERS, composite, scalar_name
from danlu.tensor import Tensor, wrap

__all__ = [
    "allclose", "are_deterministic_algorithms_enabled", "equal", "is_complex", "is_floating_point",
    "is_nonzero",
    "is_signed", "is_storage", "is_tensor", "isclose", "result_type", "set_printoptions",
    "get_printoptions",
    "use_deterministic_algorithms", "is_conj", "is_neg", "is_inference",
    "is_same_size", "get_device",
]  # fmt: skip


def is_tensor(obj) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj) -> bool:
    """Whether `obj` is a storage: danlu's tensors keep their memory in NumPy arrays, so nothing is."""
    return False


def is_floating_point(input) -> bool:
    """Whether the elements are real floating-point numbers."""
    return input.is_floating_point()


def is_complex(input) -> bool:
    """Whether the elements are complex numbers."""
    return input.is_complex()


def is_signed(input) -> bool:
    """Whether the elements can be negative."""
    return input.is_signed()


@composite(method=True)
def is_conj(input) -> bool:
    """Whether the tensor is conjugated lazily: danlu's never are."""
    return False


@composite(method=True)
def is_neg(input) -> bool:
    """Whether the tensor is negated lazily: danlu's never are."""
    return False


@composite(method=True)
def is_inference(input) -> bool:
    """Whether the tensor was made in inference mode and must not be recorded: danlu makes no
    difference.
    """
    return False


@composite(method=True)
def is_same_size(input, other) -> bool:
    """Whether two tensors have the same shape."""
    return input._array.shape == other._array.shape


def get_device(input) -> int:
    """The index of the device; -1 for the CPU."""
    return input.get_device()


@composite(method=True)
def is_nonzero(input) -> bool:
    """Whether the only element is nonzero."""
    if input._array.size != 1:
        raise RuntimeError(
            "Boolean value of Tensor with "
            f"{'no values' if input._array.size == 0 else 'more than one value'} is ambiguous"
        )
    return bool(input._array)


@composite(method=True)
def equal(input, other) -> bool:
    """Whether two tensors have the same size and elements."""
    if not isinstance(other, Tensor):
        raise TypeError(
            f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
        )
    a, b = input._array, other._array
    return a.shape == b.shape and bool(np.array_equal(a, b))


@composite(method=True)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Where |input - other| <= atol + rtol * |other|.

    Raises:
        RuntimeError: the dtypes differ.
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"{scalar_name(input.dtype)} did not match {scalar_name(other.dtype)}: isclose needs "
            "one dtype"
        )
    if rtol < 0 or atol < 0:
        raise RuntimeError(
            f"rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}"
        )
    a, b = input._array, other._array
    close = a == b
    if equal_nan and a.dtype.kind in "fc":
        close = close | ((a != a) & (b != b))
    if a.dtype.kind == "b":
        return wrap(conversions.as_array(close))
    if a.dtype.kind in "iu":
        a, b = a.astype(np.float64), b.astype(np.float64)
    distance = np.abs(a - b)
    allowed = atol + np.abs(rtol * b)
    return wrap(conversions.as_array(close | (np.isfinite(distance) & (distance <= allowed))))


@composite(method=True)
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether all elements are close: |input - other| <= atol + rtol * |other|."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array.all())


def result_type(tensor1, tensor2) -> dtypes.dtype:
    """The dtype of an operation on these two, tensors or numbers."""
    return result_dtype(
        [each if each.__class__ in NUMBERS else each._array for each in (tensor1, tensor2)]
    )


_deterministic = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Kept for programs that call it: danlu's algorithms are deterministic."""
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was last called with."""
    return _deterministic


def set_printoptions(**options) -> None:
    """How tensors are printed: precision, threshold, edgeitems, linewidth, profile, sci_mode."""
    from danlu import printing

    printing.set_printoptions(**options)


def get_printoptions():
    """The options that `set_printoptions` sets, as a dict."""
    from danlu import printing

    return printing.get_printoptions()
