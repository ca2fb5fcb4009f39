"""Tensors from values: numbers, sequences, arrays, buffers."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.backend.device import CPU, check_available, get_default_device
from danlu.ops.registry import NUMBERS
from danlu.tensor import Tensor, wrap

__all__ = [
    "array_from", "as_tensor", "asarray", "finish", "from_dlpack", "from_numpy", "frombuffer",
    "kind_or_default",
    "legacy_tensor", "scalar_tensor", "tensor", "to_dlpack",
]  # fmt: skip


def finish(array, requires_grad=False, device=None) -> Tensor:
    """A tensor around a new array, on `device`, recording if asked."""
    if device is not None:
        check_available(device)
    elif get_default_device() is not CPU:
        check_available(get_default_device())
    made = wrap(array)
    if requires_grad:
        made.requires_grad = True
    return made


def kind_or_default(dtype) -> np.dtype:
    return dtypes.get_default_dtype().numpy if dtype is None else dtypes.numpy_dtype(dtype)


def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A tensor with its own copy of these values.

    Args:
        data: a number, nested sequences of equal lengths, a NumPy array or a tensor.
        dtype: inferred otherwise: bool, int64, the default float dtype or its complex; arrays keep
            theirs.

    Raises:
        ValueError: sequences of unequal lengths.
        TypeError, RuntimeError: values that are no numbers.

    Example:
        >>> import danlu as torch
        >>> torch.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than "
            "torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        array = data._array
        kind = array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
        return finish(array.astype(kind, copy=True), requires_grad, device)
    return finish(array_from(data, dtype), requires_grad, device)


def array_from(data, dtype=None) -> np.ndarray:
    """A new array from nested sequences, numbers, arrays or tensors, by PyTorch's inference of
    dtypes.
    """
    kind = None if dtype is None else dtypes.numpy_dtype(dtype)
    cls = data.__class__
    if cls is float:
        return np.array(data, kind or dtypes.get_default_dtype().numpy)
    if isinstance(data, np.ndarray):
        if kind is None:
            dtypes.of_array(data)
        return np.array(data, dtype=kind, order="C")
    if isinstance(data, np.generic):
        return np.array(data, dtype=kind)
    if cls not in NUMBERS:
        data = _plain(data)
        _check_rectangular(data)
    try:
        array = np.array(data)
    except (ValueError, TypeError) as error:
        raise TypeError(
            f"tensor(): cannot make a tensor of {type(data).__name__}: {error}"
        ) from None
    found = array.dtype.kind
    if found == "f" and (array.size == 0 or kind is None):
        return array.astype(kind or dtypes.get_default_dtype().numpy, copy=False)
    if found == "c" and kind is None:
        return array.astype(dtypes.get_default_dtype().to_complex().numpy)
    if found in "OUSV":
        return _refused(data, array, kind)
    if kind is None:
        if found == "u" and array.size and array.max() >= 2**63:
            raise ValueError(TOO_LARGE.format(array.max()))
        return array.astype(np.int64, copy=False) if found in "iu" else array
    if found == "c" and kind.kind != "c":
        raise TypeError("can't convert complex to float: take the real part first")
    if kind.kind in "iu" and found in "iu":
        limits = np.iinfo(kind)
        if array.size and (array.max() > limits.max or array.min() < limits.min):
            if kind.kind == "u" and array.min() < 0 and array.min() >= -limits.max:
                return array.astype(kind)
            raise RuntimeError(f"value cannot be converted to type {kind.name}_t without overflow")
    return array.astype(kind)


TOO_LARGE = "Overflow when unpacking long long: {} does not fit into int64"


def _refused(data, array, kind):
    flat = [data]
    while flat and isinstance(flat[0], (list, tuple)):
        flat = [x for each in flat for x in each]
    for each in flat:
        if isinstance(each, str):
            raise TypeError(f"new(): invalid data type 'str': {each!r} is no number")
        if isinstance(each, int) and not -(2**63) <= each < 2**63:
            raise ValueError(TOO_LARGE.format(each))
        if not isinstance(each, (int, float, complex)):
            raise RuntimeError(
                f"Could not infer dtype of {type(each).__name__}: a tensor holds numbers and bools"
            )
    return array.astype(kind or dtypes.get_default_dtype().numpy)


def _plain(data, inside=False):
    """Nested sequences with the tensors and arrays inside them turned into lists."""
    if isinstance(data, Tensor):
        return data.item() if data._array.ndim == 0 else data._array
    if isinstance(data, (list, tuple)):
        if data and data[0].__class__ in NUMBERS:
            return data
        return [_plain(each, True) for each in data]
    name = type(data).__name__
    if isinstance(data, (str, bytes)):
        if inside:
            raise ValueError(f"too many dimensions '{name}': {data!r} is no number")
        raise TypeError(f"new(): invalid data type '{name}': {data!r} is no number")
    if isinstance(data, (dict, set)):
        raise RuntimeError(f"Could not infer dtype of {name}: a tensor holds numbers and bools")
    if hasattr(data, "__array__"):
        return np.asarray(data)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return [_plain(data[i], True) for i in range(len(data))]
    return data


def _check_rectangular(data, depth=0, expected=None) -> None:
    """PyTorch's error for ragged nested sequences, which says where."""
    if not isinstance(data, (list, tuple)) or not data:
        return
    first = data[0]
    if not isinstance(first, (list, tuple, np.ndarray)):
        if any(isinstance(each, (list, tuple)) for each in data):
            raise ValueError(
                f"expected sequence of length 1 at dim {depth + 1} (got a number first)"
            )
        return
    length = len(first)
    for each in data:
        if not isinstance(each, (list, tuple, np.ndarray)):
            raise TypeError("not a sequence")
        if len(each) != length:
            raise ValueError(
                f"expected sequence of length {length} at dim {depth + 1} (got {len(each)})"
            )
    for each in data:
        _check_rectangular(each, depth + 1)


def as_tensor(data, dtype=None, device=None):
    """A tensor of these values that shares the memory of tensors and NumPy arrays where it can."""
    if isinstance(data, Tensor):
        if device is not None:
            check_available(device)
        return data if dtype is None or data.dtype is dtype else data.to(dtype)
    if isinstance(data, np.ndarray):
        made = from_numpy(data)
        return made if dtype is None or made.dtype is dtype else made.to(dtype)
    return tensor(data, dtype=dtype, device=device)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """A tensor from tensors, arrays, buffers or sequences, sharing memory unless `copy` is True."""
    if copy:
        made = obj.detach().clone() if isinstance(obj, Tensor) else tensor(obj, dtype=dtype)
        made = made if dtype is None else made.to(dtype)
    else:
        made = as_tensor(obj, dtype=dtype, device=device)
        shares = isinstance(obj, (Tensor, np.ndarray)) and np.shares_memory(
            made._array, getattr(obj, "_array", obj)
        )
        if copy is False and not shares:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        made = (
            made.detach()
            if isinstance(obj, Tensor) and not requires_grad and made is not obj
            else made
        )
    return made.requires_grad_() if requires_grad else made


def from_numpy(ndarray):
    """A tensor on the memory of a NumPy array: writes on one side are seen on the other.

    Raises:
        TypeError: it is no array, or of a type no tensor has.
        ValueError: the array has negative strides, or is not in the machine's byte order.

    Example:
        >>> import numpy, danlu as torch
        >>> a = numpy.zeros(2)
        >>> t = torch.from_numpy(a)
        >>> a[0] = 1
        >>> t
        tensor([1., 0.], dtype=torch.float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtypes.of_array(ndarray)
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte "
            "orders is currently not supported."
        )
    if any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not "
            "currently supported. (You can probably work around this by making a copy of your "
            "array  with "
            "array.copy().)"
        )
    return wrap(ndarray.view(np.ndarray) if type(ndarray) is not np.ndarray else ndarray)


def from_dlpack(ext_tensor):
    """A tensor on the memory of any object with the DLPack protocol."""
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    return from_numpy(np.from_dlpack(ext_tensor))


def to_dlpack(tensor):
    """A DLPack capsule with the tensor's memory, for other libraries."""
    return tensor.__dlpack__()


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A 1-d tensor on the memory of an object with the buffer protocol."""
    size = len(memoryview(buffer).cast("B"))
    if size == 0:
        raise ValueError("both buffer length (0) and count (-1) must not be 0")
    if offset < 0 or offset >= size:
        raise ValueError(
            f"offset must be non-negative and no greater than buffer length ({size}) , but got "
            f"{offset}"
        )
    kind = dtypes.numpy_dtype(dtype)
    if count == -1 and (size - offset) % kind.itemsize:
        raise ValueError(
            f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a "
            "multiple of element "
            f"size ({kind.itemsize})"
        )
    return finish(np.frombuffer(buffer, kind, count, offset), requires_grad)


def scalar_tensor(s, *, dtype=None, device=None, requires_grad=False):
    """A 0-d tensor of the default dtype."""
    return finish(np.asarray(s, dtype=kind_or_default(dtype)), requires_grad, device)


# ---------------------------------------------------------------- the old constructors
def legacy_tensor(kind, args, kwargs) -> Tensor:
    """`torch.FloatTensor(...)`: sizes make an uninitialised tensor, one sequence or array its
    values.
    """
    if kwargs:
        kwargs.pop("device", None)
    if not args:
        return wrap(np.empty(0, kind.numpy))
    if all(isinstance(each, int) and not isinstance(each, bool) for each in args):
        return wrap(np.empty(args, kind.numpy))
    data = args[0]
    if isinstance(data, tuple) and hasattr(data, "numel"):
        return wrap(np.empty(data, kind.numpy))
    if isinstance(data, Tensor):
        if data.dtype is not kind:
            raise TypeError(
                f"expected {kind!r} (got {data.dtype!r}): use x.to({kind!r}) to convert a tensor"
            )
        return data.detach()
    if isinstance(data, float) or len(args) > 1:
        raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
    return wrap(array_from(data).astype(kind.numpy, copy=False))
