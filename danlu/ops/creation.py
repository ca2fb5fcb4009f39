"""Making tensors: from values, from sizes, from ranges."""

from __future__ import annotations

import numpy as np

from danlu.backend import dtypes
from danlu.ops.from_values import array_from, finish, kind_or_default, legacy_tensor, tensor
from danlu.ops.registry import scalar_name, write_out
from danlu.ops.shape import sizes_of
from danlu.tensor import Tensor, publish_method

__all__ = [
    "arange", "complex", "empty", "empty_like", "empty_permuted", "empty_strided", "eye", "full",
    "full_like", "linspace", "logspace", "ones", "ones_like", "polar", "range", "tril_indices",
    "triu_indices", "zeros", "zeros_like",
]  # fmt: skip

_py_complex = complex


def _need_sizes(name, size):
    if any(each < 0 for each in size):
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(size)}: {list(size)}"
        )
    return size


# ---------------------------------------------------------------- from sizes
def _from_size(name, make, doc):
    def public(
        *size,
        out=None,
        dtype=None,
        layout=None,
        device=None,
        requires_grad=False,
        pin_memory=False,
        names=None,
        memory_format=None,
        **shape,
    ):
        if shape:
            size = (shape.pop("size"),) if "size" in shape else size
            if shape:
                raise TypeError(
                    f"{name}() got an unexpected keyword argument '{next(iter(shape))}'"
                )
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


def full(
    size,
    fill_value,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    names=None,
    pin_memory=False,
):
    """A tensor of this size filled with one value, whose type decides the dtype."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = array_from(value).dtype if dtype is None else dtypes.numpy_dtype(dtype)
    made = finish(
        np.full(_need_sizes("full", sizes_of((size,))), value, kind), requires_grad, device
    )
    return made if out is None else write_out(out, made)


def empty_strided(
    size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """An uninitialised tensor of this size and these strides (in elements)."""
    size, stride = sizes_of((size,)), sizes_of((stride,))
    kind = kind_or_default(dtype)
    count = 1 + sum((n - 1) * s for n, s in zip(size, stride)) if all(size) else 0
    memory = np.empty(count, kind)
    strides = tuple(s * kind.itemsize for s in stride)
    return finish(np.lib.stride_tricks.as_strided(memory, size, strides), requires_grad, device)


def empty_permuted(size, physical_layout, **options):
    """An uninitialised tensor whose dimensions lie in memory in the order `physical_layout`."""
    size, order = sizes_of((size,)), sizes_of((physical_layout,))
    if sorted(order) != np.arange(len(size)).tolist():
        raise RuntimeError(
            f"physical_layout must name each of {len(size)} dimensions once, got {list(order)}"
        )
    made = empty([size[i] for i in order], **options)
    return made.permute(np.argsort(order).tolist()) if order else made


def _like(name, make, doc):
    def public(
        input,
        *,
        dtype=None,
        layout=None,
        device=None,
        requires_grad=False,
        memory_format=None,
        pin_memory=False,
    ):
        array = input._array
        kind = array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
        return finish(make(array, kind), requires_grad, device)

    public.__name__ = public.__qualname__ = name
    public.__doc__ = doc
    return public


zeros_like = _like(
    "zeros_like", lambda a, k: np.zeros_like(a, k), "Zeros of the size and dtype of input."
)
ones_like = _like(
    "ones_like", lambda a, k: np.ones_like(a, k), "Ones of the size and dtype of input."
)
empty_like = _like(
    "empty_like",
    lambda a, k: np.empty_like(a, k),
    "An uninitialised tensor of the size and dtype of input.",
)


def full_like(
    input,
    fill_value,
    *,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    memory_format=None,
    pin_memory=False,
):
    """A tensor of the size and dtype of input, filled with one value."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = input._array.dtype if dtype is None else dtypes.numpy_dtype(dtype)
    if kind.kind in "iub" and isinstance(value, float) and kind.kind != "b":
        value = int(value)
    return finish(np.full_like(input._array, value, kind), requires_grad, device)


def eye(
    n,
    m=None,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    pin_memory=False,
):
    """A matrix with ones on the diagonal, zeros elsewhere."""
    for each in (n, m):
        if each is not None and each < 0:
            raise RuntimeError(f"n must be greater or equal to 0, got {each}")
    made = finish(np.eye(n, m, dtype=kind_or_default(dtype)), requires_grad, device)
    return made if out is None else write_out(out, made)


# ---------------------------------------------------------------- from ranges
def arange(
    start=0,
    end=None,
    step=1,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    pin_memory=False,
):
    """Numbers from start up to, not including, end.

    int64 if all three are integers, else the default dtype.

    Raises:
        RuntimeError: step is 0, or leads away from end.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (
        each.item() if hasattr(each, "item") else each for each in (start, end, step)
    )
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


def range(
    start=0,
    end=None,
    step=1,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
):
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
    if kind.kind == "V" or (kind.kind == "f" and kind.itemsize == 2):
        return _spaced(start, end, steps, np.dtype(np.float32)).astype(kind)
    i = np.arange(steps)
    if kind.kind in "fc":
        step = kind.type((end - start) / (steps - 1))
        values = np.where(i < steps // 2, start + step * i, end - step * (steps - 1 - i))
        return values.astype(kind)
    start, end = int(start), int(end)
    step = (end - start) / (steps - 1)
    values = np.where(i < steps // 2, start + step * i, end - step * (steps - 1 - i))
    return np.trunc(values).astype(kind)


def linspace(
    start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False
):
    """`steps` evenly spaced numbers from start to end, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = (each.item() if hasattr(each, "item") else each for each in (start, end))
    kind = kind_or_default(dtype)
    if dtype is None and isinstance(start + end, _py_complex):
        kind = dtypes.get_default_dtype().to_complex().numpy
    made = finish(_spaced(start, end, steps, kind), requires_grad, device)
    return made if out is None else write_out(out, made)


def logspace(
    start,
    end,
    steps,
    base=10.0,
    *,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
):
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
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{scalar_name(real.dtype)} and "
            f"{scalar_name(imag.dtype)}"
        )
    made = real + imag * 1j
    return made if out is None else write_out(out, made)


def polar(abs, angle, *, out=None):
    """Complex numbers from their absolute values and angles."""
    return complex(abs * angle.cos(), abs * angle.sin(), out=out)


# ---------------------------------------------------------------- new tensors like this one
def _new(name, make):
    def method(
        self,
        *args,
        dtype=None,
        device=None,
        requires_grad=False,
        layout=None,
        pin_memory=False,
        size=None,
    ):
        if size is not None:
            args = (size, *args)
        return make(self, args, dtype or self.dtype, device, requires_grad)

    method.__name__ = name
    method.__doc__ = f"{name[4:].title()} of another size, with this tensor's dtype."
    publish_method(name, method)


_new("new_zeros", lambda s, a, d, v, r: zeros(*a, dtype=d, device=v, requires_grad=r))
_new("new_ones", lambda s, a, d, v, r: ones(*a, dtype=d, device=v, requires_grad=r))
_new("new_empty", lambda s, a, d, v, r: empty(*a, dtype=d, device=v, requires_grad=r))


def _new_full(
    self,
    size,
    fill_value,
    *,
    dtype=None,
    device=None,
    requires_grad=False,
    layout=None,
    pin_memory=False,
):
    """A tensor of this size filled with one value, with this tensor's dtype."""
    return full(
        size, fill_value, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad
    )


def _new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """A tensor of these values, with this tensor's dtype."""
    data = data.detach() if isinstance(data, Tensor) else data
    values = data._array if isinstance(data, Tensor) else data
    return tensor(values, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def _new_empty_strided(
    self,
    size,
    stride,
    *,
    dtype=None,
    device=None,
    requires_grad=False,
    layout=None,
    pin_memory=False,
):
    """An uninitialised tensor of this size and these strides, with this tensor's dtype."""
    return empty_strided(size, stride, dtype=dtype or self.dtype, requires_grad=requires_grad)


publish_method("new_full", _new_full)
publish_method("new_tensor", _new_tensor)
publish_method("new_empty_strided", _new_empty_strided)
publish_method("new", lambda self, *args: legacy_tensor(self.dtype, args, {}))
