"""Making tensors: from values, from sizes, from ranges."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.backend.device import CPU, check_available, get_default_device
from danlu.ops.registry import NUMBERS, scalar_name, write_out
from danlu.ops.shape import sizes_of
from danlu.tensor import Tensor, publish_method, wrap

__all__ = [
    "arange", "as_tensor", "asarray", "complex", "empty", "empty_like", "empty_strided", "eye", "from_numpy",
    "frombuffer", "full", "full_like", "linspace", "logspace", "ones", "ones_like", "polar", "range",
    "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros", "zeros_like",
]  # fmt: skip

_py_complex, _py_range = complex, range


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


def _need_sizes(name, size):
    if any(each < 0 for each in size):
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(size)}: {list(size)}"
        )
    return size


# ---------------------------------------------------------------- from values
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A tensor with its own copy of these values.

    Args:
        data: a number, nested sequences of equal lengths, a NumPy array or a tensor.
        dtype: inferred otherwise: bool, int64, the default float dtype or its complex; arrays keep theirs.

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
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        array = data._array
        kind = array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
        return finish(array.astype(kind, copy=True), requires_grad, device)
    return finish(array_from(data, dtype), requires_grad, device)


def array_from(data, dtype=None) -> np.ndarray:
    """A new array from nested sequences, numbers, arrays or tensors, by PyTorch's inference of dtypes."""
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
        raise TypeError(f"tensor(): cannot make a tensor of {type(data).__name__}: {error}") from None
    found = array.dtype.kind
    if found == "f" and (array.size == 0 or kind is None):
        return array.astype(kind or dtypes.get_default_dtype().numpy, copy=False)
    if found == "c" and kind is None:
        return array.astype(dtypes.get_default_dtype().to_complex().numpy)
    if found in "OUSV":
        return _refused(data, array, kind)
    if kind is None:
        return array.astype(np.int64, copy=False) if found in "iu" else array
    if found == "c" and kind.kind != "c":
        raise TypeError("can't convert complex to float: take the real part first")
    if kind.kind in "iu" and found in "iu":
        limits = np.iinfo(kind)
        if array.size and (array.max() > limits.max or array.min() < limits.min):
            if kind.kind == "u" and array.min() < 0 and array.min() >= -limits.max:
                return array.astype(kind)
            raise RuntimeError(
                f"value cannot be converted to type {kind.name}_t without overflow"
            )
    return array.astype(kind)


def _refused(data, array, kind):
    flat = [data]
    while flat and isinstance(flat[0], (list, tuple)):
        flat = [x for each in flat for x in each]
    for each in flat:
        if isinstance(each, str):
            raise TypeError(f"new(): invalid data type 'str': {each!r} is no number")
        if isinstance(each, int):
            raise RuntimeError(f"Overflow when unpacking long long: {each} does not fit into int64")
        if not isinstance(each, (int, float, _py_complex)):
            raise RuntimeError(
                f"Could not infer dtype of {type(each).__name__}: a tensor holds numbers and bools"
            )
    return array.astype(kind or dtypes.get_default_dtype().numpy)


def _plain(data):
    """Nested sequences with the tensors and arrays inside them turned into lists."""
    if isinstance(data, Tensor):
        return data.item() if data._array.ndim == 0 else data._array
    if isinstance(data, (list, tuple)):
        if data and data[0].__class__ in NUMBERS:
            return data
        return [_plain(each) for each in data]
    if isinstance(data, (str, bytes, dict, set)):
        raise (
            TypeError(f"new(): invalid data type '{type(data).__name__}'")
            if isinstance(data, (str, bytes))
            else RuntimeError(f"Could not infer dtype of {type(data).__name__}")
        )
    if hasattr(data, "__array__"):
        return np.asarray(data)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return [_plain(data[i]) for i in _py_range(len(data))]
    return data


def _check_rectangular(data, depth=0, expected=None) -> None:
    """PyTorch's error for ragged nested sequences, which says where."""
    if not isinstance(data, (list, tuple)) or not data:
        return
    first = data[0]
    if not isinstance(first, (list, tuple, np.ndarray)):
        if any(isinstance(each, (list, tuple)) for each in data):
            raise ValueError(f"expected sequence of length 1 at dim {depth + 1} (got a number first)")
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
        made = made.detach() if isinstance(obj, Tensor) and not requires_grad and made is not obj else made
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
            "given numpy array has byte order different from the native byte order. Conversion between byte "
            "orders is currently not supported."
        )
    if any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array  with "
            "array.copy().)"
        )
    return wrap(ndarray.view(np.ndarray) if type(ndarray) is not np.ndarray else ndarray)


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A 1-d tensor on the memory of an object with the buffer protocol."""
    size = len(memoryview(buffer).cast("B"))
    if size == 0:
        raise ValueError("both buffer length (0) and count (-1) must not be 0")
    if offset < 0 or offset >= size:
        raise ValueError(
            f"offset must be non-negative and no greater than buffer length ({size}) , but got {offset}"
        )
    kind = dtypes.numpy_dtype(dtype)
    if count == -1 and (size - offset) % kind.itemsize:
        raise ValueError(
            f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of element "
            f"size ({kind.itemsize})"
        )
    return finish(np.frombuffer(buffer, kind, count, offset), requires_grad)


def scalar_tensor(s, *, dtype=None, device=None, requires_grad=False):
    """A 0-d tensor of the default dtype."""
    return finish(np.asarray(s, dtype=kind_or_default(dtype)), requires_grad, device)


# ---------------------------------------------------------------- from sizes
def _from_size(name, make, doc):
    def public(
        *size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
        names=None, memory_format=None, **shape,
    ):  # fmt: skip
        if shape:
            size = (shape.pop("size"),) if "size" in shape else size
            if shape:
                raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(shape))}'")
        dims = sizes_of(size) if size else ()
        if dims and min(dims) < 0:
            _need_sizes(name, dims)
        made = finish(make(dims, kind_or_default(dtype)), requires_grad, device)
        return made if out is None else write_out(out, made)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = doc
    return public


zeros = _from_size("zeros", np.zeros, "Zeros of this size, given as ints or one sequence.")
ones = _from_size("ones", np.ones, "Ones of this size, given as ints or one sequence.")
empty = _from_size("empty", np.empty, "An uninitialised tensor of this size.")


def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, names=None, pin_memory=False):
    """A tensor of this size filled with one value, whose type decides the dtype."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = array_from(value).dtype if dtype is None else dtypes.numpy_dtype(dtype)
    made = finish(np.full(_need_sizes("full", sizes_of((size,))), value, kind), requires_grad, device)
    return made if out is None else write_out(out, made)


def empty_strided(size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """An uninitialised tensor of this size and these strides (in elements)."""
    size, stride = sizes_of((size,)), sizes_of((stride,))
    kind = kind_or_default(dtype)
    count = 1 + sum((n - 1) * s for n, s in zip(size, stride)) if all(size) else 0
    memory = np.empty(count, kind)
    strides = tuple(s * kind.itemsize for s in stride)
    return finish(np.lib.stride_tricks.as_strided(memory, size, strides), requires_grad, device)


def _like(name, make, doc):
    def public(
        input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None,
        pin_memory=False,
    ):  # fmt: skip
        array = input._array
        kind = array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
        return finish(make(array, kind), requires_grad, device)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = doc
    return public


zeros_like = _like("zeros_like", lambda a, k: np.zeros_like(a, k), "Zeros of the size and dtype of input.")
ones_like = _like("ones_like", lambda a, k: np.ones_like(a, k), "Ones of the size and dtype of input.")
empty_like = _like(
    "empty_like", lambda a, k: np.empty_like(a, k), "An uninitialised tensor of the size and dtype of input."
)


def full_like(input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False):
    """A tensor of the size and dtype of input, filled with one value."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = input._array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
    if kind.kind in "iub" and isinstance(value, float) and kind.kind != "b":
        value = int(value)
    return finish(np.full_like(input._array, value, kind), requires_grad, device)


def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A matrix with ones on the diagonal, zeros elsewhere."""
    for each in (n, m):
        if each is not None and each < 0:
            raise RuntimeError(f"n must be greater or equal to 0, got {each}")
    made = finish(np.eye(n, m, dtype=kind_or_default(dtype)), requires_grad, device)
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- from ranges
def arange(start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Numbers from start up to, not including, end.

    int64 if all three are integers, else the default dtype.

    Raises:
        RuntimeError: step is 0, or leads away from end.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (each.item() if hasattr(each, "item") else each for each in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) / step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: {start} to {end} by {step}"
        )
    if dtype is None:
        whole = all(isinstance(each, int) for each in (start, end, step))
        kind = np.dtype(np.int64) if whole else dtypes.get_default_dtype().numpy
    else:
        kind = dtypes.numpy_dtype(dtype)
    if kind.kind in "iu":
        # the limits are truncated first, as PyTorch does for its integer types
        array = np.arange(int(start), int(end), int(step) or 1).astype(kind, copy=False)
    else:
        # computed in double like PyTorch's, then rounded once
        count = int(np.ceil((end - start) / step))
        array = (start + step * np.arange(count, dtype=np.float64)).astype(kind)
    made = finish(array, requires_grad, device)
    return made if out is None else write_out(out, made)


def range(start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """Numbers from start to end, both included; deprecated in favour of `arange`."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    count = int((end - start) / step) + 1
    array = (start + step * np.arange(count, dtype=np.float64)).astype(kind_or_default(dtype))
    made = finish(array, requires_grad, device)
    return made if out is None else write_out(out, made)


def _spaced(start, end, steps, kind):
    """Evenly spaced numbers, counted from the nearer end as PyTorch does."""
    if steps == 1:
        return np.asarray([start], dtype=kind)
    wide = np.result_type(kind, np.float64) if kind.kind in "fc" else np.dtype(np.float64)
    i = np.arange(steps)
    if kind.kind in "fc":
        step = kind.type((end - start) / (steps - 1))
        values = np.where(i < steps // 2, start + step * i, end - step * (steps - 1 - i))
        return values.astype(kind)
    start, end = int(start), int(end)
    step = (end - start) / (steps - 1)
    values = np.where(i < steps // 2, start + step * i, end - step * (steps - 1 - i))
    return np.trunc(values.astype(wide)).astype(kind)


def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """`steps` evenly spaced numbers from start to end, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = (each.item() if hasattr(each, "item") else each for each in (start, end))
    kind = kind_or_default(dtype)
    if dtype is None and isinstance(start + end, _py_complex):
        kind = dtypes.get_default_dtype().to_complex().numpy
    made = finish(_spaced(start, end, steps, kind), requires_grad, device)
    return made if out is None else write_out(out, made)


def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """`steps` numbers from base**start to base**end, evenly spaced in the exponent."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = (each.item() if hasattr(each, "item") else each for each in (start, end))
    kind = kind_or_default(dtype)
    wide = np.dtype(np.complex128) if kind.kind == "c" else np.dtype(np.float64)
    powers = np.power(wide.type(base), _spaced(start, end, steps, wide))
    made = finish(powers.astype(kind), requires_grad, device)
    return made if out is None else write_out(out, made)


def tril_indices(row, col, offset=0, *, dtype=None, device=None, layout=None):
    """The positions of the lower triangle of a row x col matrix, as two rows."""
    kind = np.dtype(np.int64) if dtype is None else dtypes.numpy_dtype(dtype)
    return finish(np.stack(np.tril_indices(row, offset, col)).astype(kind), False, device)


def triu_indices(row, col, offset=0, *, dtype=None, device=None, layout=None):
    """The positions of the upper triangle of a row x col matrix, as two rows."""
    kind = np.dtype(np.int64) if dtype is None else dtypes.numpy_dtype(dtype)
    return finish(np.stack(np.triu_indices(row, offset, col)).astype(kind), False, device)


def complex(real, imag, *, out=None):
    """Complex numbers from their real and imaginary parts, of one dtype.

    Raises:
        RuntimeError: the dtypes differ or are not floating point.
    """
    if real.dtype is not imag.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {scalar_name(real.dtype)} but got scalar type "
            f"{scalar_name(imag.dtype)} for second argument"
        )
    if real._array.dtype not in (np.float32, np.float64):
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {scalar_name(real.dtype)} and "
            f"{scalar_name(imag.dtype)}"
        )
    made = real + imag * 1j
    return made if out is None else write_out(out, made)


def polar(abs, angle, *, out=None):
    """Complex numbers from their absolute values and angles."""
    return complex(abs * angle.cos(), abs * angle.sin(), out=out)


# ---------------------------------------------------------------- new tensors like this one
def _new(name, make):
    def method(self, *args, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, size=None):
        if size is not None:
            args = (size, *args)
        return make(self, args, dtype or self.dtype, device, requires_grad)

    method.__name__ = name
    method.__doc__ = f"{name[4:].title()} of another size, with this tensor's dtype."
    publish_method(name, method)


_new("new_zeros", lambda s, a, d, v, r: zeros(*a, dtype=d, device=v, requires_grad=r))
_new("new_ones", lambda s, a, d, v, r: ones(*a, dtype=d, device=v, requires_grad=r))
_new("new_empty", lambda s, a, d, v, r: empty(*a, dtype=d, device=v, requires_grad=r))


def _new_full(self, size, fill_value, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """A tensor of this size filled with one value, with this tensor's dtype."""
    return full(size, fill_value, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def _new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """A tensor of these values, with this tensor's dtype."""
    data = data.detach() if isinstance(data, Tensor) else data
    values = data._array if isinstance(data, Tensor) else data
    return tensor(values, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def _new_empty_strided(self, size, stride, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """An uninitialised tensor of this size and these strides, with this tensor's dtype."""
    return empty_strided(size, stride, dtype=dtype or self.dtype, requires_grad=requires_grad)


publish_method("new_full", _new_full)
publish_method("new_tensor", _new_tensor)
publish_method("new_empty_strided", _new_empty_strided)
publish_method("new", lambda self, *args: legacy_tensor(self.dtype, args, {}))


# ---------------------------------------------------------------- the old constructors
def legacy_tensor(kind, args, kwargs) -> Tensor:
    """`torch.FloatTensor(...)`: sizes make an uninitialised tensor, one sequence or array its values."""
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


__all__ += ["array_from", "finish", "kind_or_default", "legacy_tensor"]
