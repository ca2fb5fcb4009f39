"""Tensors taken apart for pickling and put together again, by PyTorch's recipe.

The functions that a file names (`torch._utils._rebuild_tensor_v2` and its kin) get a storage and a
view's geometry; a plain pickle carries the same parts, with the memory inside the pickle.
"""

from __future__ import annotations

from collections import OrderedDict

from danlu.backend import dtypes
from danlu.backend.layout import strided
from danlu.serialization.storage import TypedStorage, locate
from danlu.tensor import Tensor, wrap

# Kept out of pickles, as PyTorch does: hooks are code.
_HOOK_ATTRIBUTES = ("_post_accumulate_grad_hooks", "_backward_hooks")


def tensor_reduce(tensor):
    """The pair for `Tensor.__reduce_ex__`: views of one memory still share it after unpickling.

    Args:
        tensor: any Tensor or Parameter; a recorded result comes back as a leaf that requires grad.

    Example:
        >>> import pickle
        >>> import danlu as torch
        >>> pickle.loads(pickle.dumps(torch.tensor([1.0, 2.0])))
        tensor([1., 2.])
    """
    return _reduce(tensor, _plain_parts)


def file_reduce(tensor):
    """The same for a checkpoint: the parts are those that PyTorch's files name."""
    return _reduce(tensor, _file_parts)


def _reduce(tensor, parts):
    cls = type(tensor)
    state = {key: value for key, value in vars(tensor).items() if key not in _HOOK_ATTRIBUTES}
    parameter = _parameter_class_of(cls)
    if cls is parameter:
        content = (tensor.data, tensor.requires_grad, OrderedDict())
        if state:
            return rebuild_parameter_with_state, (*content, state)
        return rebuild_parameter, content
    function, arguments = parts(tensor)
    if cls is Tensor and not state:
        return function, arguments
    return rebuild_from_type_v2, (function, cls, arguments, state)


def _parameter_class_of(cls):
    """`nn.Parameter` if `cls` derives from it. By name: it lives a storey above this module."""
    for each in cls.__mro__:
        if each.__name__ == "Parameter" and each.__module__ == "danlu.nn.parameter":
            return each
    return None


def _plain_parts(tensor):
    storage, offset, stride = _located(tensor)
    geometry = (offset, tuple(tensor._array.shape), stride)
    return rebuild_tensor, (storage, tensor.dtype, *geometry, tensor.requires_grad)


def _file_parts(tensor):
    storage, offset, stride = _located(tensor)
    geometry = (offset, tuple(tensor._array.shape), stride)
    rest = (tensor.requires_grad, OrderedDict())
    if tensor.dtype in LEGACY_STORAGE_DTYPES:
        return rebuild_tensor_v2, (TypedStorage(storage, tensor.dtype), *geometry, *rest)
    return rebuild_tensor_v3, (TypedStorage(storage, None), *geometry, *rest, tensor.dtype)


# The dtypes that had a storage class of their own when PyTorch stopped adding such classes.
LEGACY_STORAGE_DTYPES = {
    dtypes.float64: "DoubleStorage",
    dtypes.float32: "FloatStorage",
    dtypes.float16: "HalfStorage",
    dtypes.bfloat16: "BFloat16Storage",
    dtypes.int64: "LongStorage",
    dtypes.int32: "IntStorage",
    dtypes.int16: "ShortStorage",
    dtypes.int8: "CharStorage",
    dtypes.uint8: "ByteStorage",
    dtypes.bool_: "BoolStorage",
    dtypes.complex128: "ComplexDoubleStorage",
    dtypes.complex64: "ComplexFloatStorage",
}


def _located(tensor):
    storage, offset, stride = locate(tensor._array)
    # A shallow copy made from these parts is another tensor on this very memory.
    storage.version = tensor._writes
    return storage, offset, stride


def rebuild_tensor(storage, dtype, offset, size, stride, requires_grad):
    """A tensor on a storage; the tensors of one storage share its version counter."""
    if not (isinstance(dtype, dtypes.dtype) and type(requires_grad) is bool):
        raise TypeError("a tensor is rebuilt from a dtype and a bool, whether it requires grad")
    if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"a tensor of {dtype} cannot require gradients")
    tensor = wrap(storage.array(dtype, offset, size, stride))
    if storage.version is None:
        storage.version = tensor._writes
    else:
        tensor._writes = storage.version
    tensor._requires_grad = requires_grad
    return tensor


def rebuild_tensor_v1(storage, offset, size, stride):
    """`torch._utils._rebuild_tensor`, of the oldest files."""
    return rebuild_tensor(storage.storage, storage.dtype, offset, size, stride, False)


def rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata=None):
    """`torch._utils._rebuild_tensor_v2`: the dtype is that of the storage."""
    dtype = storage.dtype or dtypes.uint8
    tensor = rebuild_tensor(storage.storage, dtype, offset, size, stride, requires_grad)
    return _with_metadata(tensor, metadata)


def rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None):
    """`torch._utils._rebuild_tensor_v3`: the dtype is named, the storage is bare bytes."""
    tensor = rebuild_tensor(storage.storage, dtype, offset, size, stride, requires_grad)
    return _with_metadata(tensor, metadata)


def _with_metadata(tensor, metadata):
    """Carry out the conjugation and negation that PyTorch keeps as marks on a tensor."""
    if metadata:
        storage = tensor._array.base
        if storage is not None and tensor._array.nbytes > storage.nbytes:
            raise ValueError("an expanded tensor cannot be marked as conjugated or negated")
        if metadata.get("conj"):
            tensor._array = tensor._array.conj()
        if metadata.get("neg"):
            tensor._array = -tensor._array
    return tensor


def rebuild_parameter(data, requires_grad, hooks):
    """`torch._utils._rebuild_parameter`."""
    from danlu.serialization.names import find

    if not isinstance(data, Tensor):
        raise TypeError(f"a Parameter is rebuilt from a Tensor, got {type(data).__name__}")
    return find("torch.nn.parameter", "Parameter")(data, requires_grad)


def rebuild_parameter_with_state(data, requires_grad, hooks, state):
    """`torch._utils._rebuild_parameter_with_state`: the same, with attributes that a user set."""
    return _set_state(rebuild_parameter(data, requires_grad, hooks), state)


def rebuild_from_type_v2(function, cls, arguments, state):
    """`torch._tensor._rebuild_from_type_v2`: a tensor of a subclass, or with attributes."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"{cls!r} is not a Tensor class")
    tensor = function(*arguments)
    if type(tensor) is not cls:
        tensor = tensor.as_subclass(cls)
    return _set_state(tensor, state)


def _set_state(tensor, state):
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if slots:
        raise ValueError(f"a tensor has no slots to restore, got {slots!r}")
    for name, value in (attributes or {}).items():
        if callable(getattr(type(tensor), name, None)):
            raise ValueError(f"the attribute {name!r} would hide a method of the tensor")
        vars(tensor)[name] = value
    return tensor


def get_layout(name):
    """`torch.serialization._get_layout`: danlu's tensors are all strided."""
    if name != "torch.strided":
        raise ValueError(f"danlu has no layout {name}, only torch.strided")
    return strided
