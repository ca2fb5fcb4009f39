"""Copies, dtypes, devices, and in-place filling."""

from __future__ import annotations

import copy as copy_module

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import dtypes
from danlu.backend.device import check_available, device
from danlu.backend.layout import contiguous_format
from danlu.ops.registry import NUMBERS, Array, composite, operator
from danlu.tensor import (
    SHARED_ELEMENTS,
    Tensor,
    check_writable,
    legacy_type_name,
    publish_method,
    rebase_history,
    wrap,
)

__all__ = ["clone", "copy_of", "detach", "fill", "to", "view_dtype"]


@operator(name="Clone", method=False)
def _clone(input: Array):
    return input.copy(order="K")


@_clone.vjp
def _(g):
    return g


@composite(method=True)
def clone(input, *, memory_format=None):
    """A copy with memory of its own; gradients flow through it."""
    if memory_format is contiguous_format:
        return _contiguous_copy(input)
    return _clone(input)


@operator(name="Clone", method=False)
def _contiguous_copy(input: Array):
    return input.copy(order="C")


@_contiguous_copy.vjp
def _(g):
    return g


@composite(method=True)
def contiguous(input, memory_format=None):
    """The tensor itself if its elements lie in order in memory, else a copy that does."""
    return input if input._array.flags.c_contiguous else _contiguous_copy(input)


def detach(input):
    """The same memory without history."""
    return input.detach()


# ---------------------------------------------------------------- dtypes
@operator(name="ToCopy", method=False)
def _cast(input: Array, kind):
    if input.dtype.kind == "c" and kind.kind not in "cb":
        import warnings

        warnings.warn(
            "Casting complex values to real discards the imaginary part", UserWarning, stacklevel=4
        )
        input = input.real
    return input.astype(kind)


@_cast.vjp
def _(g, input_dtype):
    from danlu.ops.rules import cast_gradient

    return cast_gradient(g, np.dtype(input_dtype))


publish_method(
    "astype", lambda self, kind: self if self._array.dtype == kind else _cast(self, np.dtype(kind))
)


def to(self, *args, **kwargs):
    """The tensor with another dtype, on another device, or like another tensor; itself if nothing
    changes.

    Args:
        *args: a dtype, a device (or its string), a tensor, or a device and a dtype.
        copy: copy even if nothing changes.
    """
    kind, always = kwargs.pop("dtype", None), kwargs.pop("copy", False)
    wanted = kwargs.pop("device", None)
    kwargs.pop("non_blocking", None), kwargs.pop("memory_format", None)
    if "other" in kwargs:
        args = (kwargs.pop("other"), *args)
    if kwargs:
        raise TypeError(f"to() received an invalid keyword argument '{next(iter(kwargs))}'")
    for position, each in enumerate(args):
        if each.__class__ is dtypes.dtype:
            kind = each
        elif isinstance(each, Tensor):
            kind = each.dtype
        elif isinstance(each, (str, device)) or (each.__class__ is int and position == 0):
            wanted = each
        elif each is True and position and args[position - 1] is not True:
            pass  # non_blocking
        elif each is True:
            always = True
        elif each is not None and each is not False:
            raise TypeError(
                f"to() received an invalid combination of arguments - got ({type(each).__name__}), "
                "but expected a "
                "dtype, a device or a tensor"
            )
    if wanted is not None:
        check_available(wanted)
    if kind is None or kind.numpy == self._array.dtype:
        return _clone(self) if always else self
    return _cast(self, kind.numpy)


publish_method("to", to)


def _conversion(name, kind):
    def method(self, memory_format=None):
        return to(self, kind)

    method.__name__ = name
    method.__doc__ = f"The tensor as {kind!r}."
    publish_method(name, method)


for _name, _kind in {
    **dtypes.ALIASES,
    "byte": dtypes.uint8,
    "char": dtypes.int8,
    "bool": dtypes.bool_,
}.items():
    _conversion(_name, _kind)
_conversion("bfloat16", dtypes.bfloat16)


def type_(self, dtype=None, non_blocking=False):
    """The old name of the tensor's type, or the tensor converted to a type given by name, dtype or
    constructor.
    """
    if dtype is None:
        return legacy_type_name(self.dtype)
    if isinstance(dtype, str):
        for kind in dtypes.ALL:
            if dtype in (legacy_type_name(kind), f"torch.{kind.name}"):
                return to(self, kind)
        raise ValueError(f"invalid type: '{dtype}'")
    return to(self, getattr(dtype, "kind", dtype) if not isinstance(dtype, dtypes.dtype) else dtype)


publish_method("type", type_)
publish_method("type_as", lambda self, other: to(self, other.dtype))
publish_method("cpu", lambda self, memory_format=None: self)


def _cuda(self, device=None, non_blocking=False, memory_format=None):
    """The tensor on a CUDA device; raises where there is none."""
    check_available("cuda" if device is None else device)


publish_method("cuda", _cuda)
publish_method("pin_memory", lambda self, device=None: self)
publish_method("is_pinned", lambda self, device=None: False)
publish_method("is_shared", lambda self: getattr(self, "_shared", False))


def _share_memory(self):
    """Mark the tensor as shared between processes; danlu's loader workers copy through shared
    memory.
    """
    self._shared = True
    return self


publish_method("share_memory_", _share_memory)


def view_dtype(self, kind):
    """The same memory read as another dtype; the last dimension grows or shrinks with the element's
    size.
    """
    target = kind.numpy
    array = self._array
    if target.itemsize != array.itemsize and not array.flags.c_contiguous:
        raise RuntimeError(
            "self.stride(-1) must be 1 to view "
            f"{legacy_type_name(self.dtype)} as {legacy_type_name(kind)} (different element "
            "sizes): use .contiguous()"
        )
    if array.ndim == 0 and target.itemsize != array.itemsize:
        raise RuntimeError(
            f"self.dim() cannot be 0 to view {self.dtype!r} as {kind!r} (different element sizes)"
        )
    try:
        made = wrap(array.view(target))
    except ValueError:
        raise RuntimeError(
            f"self.size(-1) must be divisible by {target.itemsize // array.itemsize} to view "
            f"{self.dtype!r} as "
            f"{kind!r} (different element sizes), but got {array.shape[-1]}"
        ) from None
    made._writes = self._writes
    return made


# ---------------------------------------------------------------- in-place filling
@operator(name="Fill", method=False, promote=None)
def filled(input: Array, value):
    """A tensor like input, filled with one number."""
    return np.full_like(input, value)


@filled.vjp
def _(g):
    return g * 0


def fill(input, value):
    """A tensor like input, filled with one value, a number or a 0-d tensor."""
    return _fill_in_place(input.clone(), value)


zero = operator(name="Zero", method=False)(filled.op.fn)
zero.op.vjp(filled.op.joint)


def overwrite(self, array, recorded=filled) -> Tensor:
    """Write new values, which depend on nothing recorded, over the whole tensor."""
    if state.grad:
        check_writable(self)
    if not self._array.flags.writeable:
        raise RuntimeError(SHARED_ELEMENTS)
    self._array[...] = array
    self._writes[0] += 1
    if state.grad and self.requires_grad:
        node = recorded.op.record(
            (True,), (self,), (self._array,), (0,), self._array, (self._writes,)
        )
        rebase_history(self, node)
    return self


def _fill_in_place(self, value):
    """Fill with one value, a number or a 0-d tensor."""
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value._array.ndim} dimensions."
            )
        if value.requires_grad and state.grad:
            return _copy_in_place(self, value)
        value = value.item()
    if value.__class__ in NUMBERS and self._array.dtype.kind in "iu":
        from danlu.ops.promotion import cast_scalar

        value = cast_scalar(int(value), self._array.dtype)
    return overwrite(self, value)


publish_method("fill_", _fill_in_place)
publish_method("zero_", lambda self: overwrite(self, 0, zero))


def _fill_diagonal(self, fill_value, wrap=False):
    """Fill the main diagonal with one value."""
    if self._array.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    array = self._array.copy()
    np.fill_diagonal(array, fill_value, wrap=wrap)
    return overwrite(self, array)


publish_method("fill_diagonal_", _fill_diagonal)


@operator(name="Copy", method=False)
def _copy(input: Array, source: Array):
    return np.broadcast_to(source, input.shape)


@_copy.vjp
def _(needs, g, source_shape, source_dtype):
    from danlu.ops.rules import cast_gradient, sum_to

    given = sum_to(g, source_shape) if needs[1] else None
    if given is not None and isinstance(given, np.ndarray) and given.dtype != source_dtype:
        given = cast_gradient(given, source_dtype)
    return g * 0 if needs[0] else None, given


def _copy_in_place(self, src, non_blocking=False):
    """Copy the values of `src`, cast to this dtype and broadcast to this shape."""
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    recording = state.grad
    if recording:
        check_writable(self)
    if not self._array.flags.writeable:
        raise RuntimeError(SHARED_ELEMENTS)
    try:
        if src._array.ndim > self._array.ndim:
            raise ValueError
        np.copyto(self._array, src._array, casting="unsafe")
    except ValueError:
        raise RuntimeError(
            f"The size of tensor a ({list(self._array.shape)}) must match the size of tensor b "
            f"({list(src._array.shape)}): the source must broadcast to the target"
        ) from None
    self._writes[0] += 1
    if recording:
        needs = (self.requires_grad, src.requires_grad)
        if True in needs:
            arrays = (self._array, src._array)
            node = _copy.op.record(needs, (self, src), arrays, (), self._array, (self._writes,))
            rebase_history(self, node)
    return self


def _apply(self, callable):
    """Replace every element by what a Python function makes of it."""
    values = [callable(each) for each in self._array.reshape(-1).tolist()]
    return overwrite(self, np.array(values, self._array.dtype).reshape(self._array.shape))


def _map(self, *others_and_callable):
    """Replace every element by what a Python function makes of it and the elements of other
    tensors.
    """
    *others, function = others_and_callable
    columns = [
        np.broadcast_to(x._array, self._array.shape).reshape(-1).tolist() for x in (self, *others)
    ]
    values = [function(*each) for each in zip(*columns)]
    return overwrite(self, np.array(values, self._array.dtype).reshape(self._array.shape))


publish_method("apply_", _apply)
publish_method("map_", _map)
publish_method("map2_", _map)
publish_method("copy_", _copy_in_place)


def _set(self, source=None, storage_offset=0, size=None, stride=None):
    """Use the memory of another tensor."""
    self._array = np.empty(0, self._array.dtype) if source is None else source._array
    self._writes[0] += 1
    return self


publish_method("set_", _set)


def _resize(self, *sizes, memory_format=None):
    """Another size in place, keeping the elements that remain in order."""
    from danlu.ops.shape import sizes_of

    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    self._array = (
        np.resize(self._array, sizes_of(sizes))
        if self._array.size
        else np.empty(sizes_of(sizes), self._array.dtype)
    )
    self._writes[0] += 1
    return self


publish_method("resize_", _resize)
publish_method(
    "resize_as_", lambda self, other, memory_format=None: _resize(self, other._array.shape)
)


# ---------------------------------------------------------------- copy and deepcopy
def copy_of(self, memo, deep):
    """What `copy.copy` and `copy.deepcopy` return.

    Raises:
        RuntimeError: deepcopy of a result, which PyTorch refuses too.
    """
    if deep:
        if id(self) in memo:
            return memo[id(self)]
        if self.grad_fn is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the "
                "moment: detach() this one first"
            )
    made = wrap(_deep_array(self._array, memo) if deep else self._array)
    if type(self) is not Tensor:
        made = made.as_subclass(type(self))
    made._requires_grad = self._requires_grad
    if deep:
        memo[id(self)] = made
    else:
        made._writes, made._edge, made._grad = self._writes, self._edge, self._grad
    if self._grad is not None and deep:
        made._grad = copy_module.deepcopy(self._grad, memo)
    if self.__dict__:
        made.__dict__.update(copy_module.deepcopy(self.__dict__, memo) if deep else self.__dict__)
    return made


def _deep_array(array, memo):
    """A copy in which tensors that shared memory share it again."""
    from danlu.backend.memory import memory_owner

    owner = memory_owner(array)
    if owner is array:
        if id(array) not in memo:
            memo[id(array)] = array.copy(order="K")
        return memo[id(array)]
    if owner.dtype != array.dtype:
        return array.copy(order="K")
    if id(owner) not in memo:
        memo[id(owner)] = owner.copy(order="K")
    twin = memo[id(owner)]
    if twin.strides != owner.strides:
        return array.copy(order="K")
    offset = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return np.ndarray(array.shape, array.dtype, buffer=twin, offset=offset, strides=array.strides)


__all__ += ["contiguous", "overwrite"]
