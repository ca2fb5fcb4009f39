"""What Python and NumPy ask of a tensor: numbers, iteration, printing, copying, arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.autograd.grad_mode import state

__all__ = ["PythonProtocols"]

_NUMBERS = frozenset((float, int, bool, complex))
_PLAIN = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()
)


def _plain_number(value):
    """A Python number from what NumPy or ml_dtypes return for their wider or narrower types."""
    return complex(value) if isinstance(value, np.complexfloating) else float(value)


def _wrapped(array):
    from danlu.tensor import wrap

    return wrap(array)


class PythonProtocols:
    """The part of `Tensor` that answers to Python's and NumPy's protocols."""

    __slots__ = ()

    _array: Any  # Tensor's slot; a property in parameters that have no shape yet

    def item(self):
        """The value of a tensor of one element as a Python number.

        Raises:
            RuntimeError: the tensor has another number of elements.
        """
        array = self._array
        if array.size != 1:
            raise RuntimeError(
                f"a Tensor with {array.size} elements cannot be converted to Scalar; "
                "reduce it first, or use .tolist()"
            )
        value = array.item()
        return value if value.__class__ in _NUMBERS else _plain_number(value)

    def tolist(self):
        """The values as nested lists of Python numbers."""
        array = self._array
        if array.dtype.name not in _PLAIN:
            array = array.astype(np.float32)  # ml_dtypes' scalars are no Python numbers
        return array.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The same memory as a NumPy array.

        Args:
            force: detach first, instead of raising for tensors that require gradients.

        Raises:
            RuntimeError: the tensor requires gradients and `force` is False.
        """
        if not force and state.grad and self.requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
        return self._array

    def to_numpy(self) -> np.ndarray:
        """`numpy()`, by the name that matplotlib and pandas look for."""
        return self.numpy()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError("a copy is needed to change the dtype")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array, context=None, return_scalar=False):
        if array.dtype == np.bool_:
            return _wrapped(array)
        return _wrapped(np.asarray(array))

    def __array_namespace__(self, api_version=None):
        from danlu.ops import namespace

        return namespace

    def __dlpack__(self, **options):
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self):
        return (1, 0)

    def __bool__(self) -> bool:
        array = self._array
        if array.size == 1:
            return bool(array.item())
        if array.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError(
            "Boolean value of Tensor with more than one value is ambiguous: use .any() or .all()"
        )

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        array = self._array
        if array.size != 1 or array.dtype.kind not in "iub":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(array.item())

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self._array)

    def __iter__(self):
        if self._array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self):
        return self if self._array.ndim == 0 else self.flip(0)

    def __contains__(self, element) -> bool:
        if hasattr(element, "_array") or isinstance(element, (int, float, complex)):
            return bool((self == element).any())
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, *, tensor_contents=None) -> str:
        from danlu.printing import tensor_repr

        return tensor_repr(self)

    def __format__(self, spec: str) -> str:
        from danlu.printing import tensor_format

        return tensor_format(self, spec)

    def __dir__(self):
        return sorted(set(object.__dir__(self)))

    def __copy__(self):
        from danlu.ops.conversion import copy_of

        return copy_of(self, {}, deep=False)

    def __deepcopy__(self, memo):
        from danlu.ops.conversion import copy_of

        return copy_of(self, memo, deep=True)

    def __reduce_ex__(self, protocol):
        from danlu.serialization.rebuild import tensor_reduce

        return tensor_reduce(self)
