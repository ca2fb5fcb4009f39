"""Tensors that belong to a module: parameters, buffers, and those whose shape is not yet known."""

from __future__ import annotations

from collections import OrderedDict

from danlu.backend import dtypes
from danlu.backend.device import check_available
from danlu.backend.device import device as Device
from danlu.tensor import Tensor, wrap

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "is_lazy",
]


def _empty(dtype=None) -> Tensor:
    from danlu.ops.creation import empty

    return empty(0, dtype=dtype)


def _check_data(data, cls: str) -> Tensor:
    if data is None:
        return _empty()
    if not isinstance(data, Tensor):
        raise TypeError(
            f"{cls}() expects a Tensor, not {type(data).__name__}: "
            f"write nn.{cls}(torch.tensor(values))"
        )
    return data


class Parameter(Tensor):
    """A tensor that a module trains: assigned to an attribute, it appears in ``parameters()``.

    Args:
        data: the tensor, whose memory is shared. Default: an empty one.
        requires_grad: whether gradients are recorded, also inside ``no_grad``. Default: True.

    Raises:
        TypeError: if ``data`` is no Tensor.
        RuntimeError: if a gradient is wanted for integers.

    Example:
        >>> import danlu as torch
        >>> torch.nn.Parameter(torch.ones(2))
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __new__(cls, data=None, requires_grad=True):
        made = _check_data(data, "Parameter").detach().as_subclass(cls)
        if requires_grad:
            made.requires_grad = True
        return made

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        made_of = (self.data, self.requires_grad, OrderedDict())
        attributes = self.__dict__
        if attributes:
            return _rebuild_parameter_with_state, (*made_of, dict(attributes))
        return _rebuild_parameter, made_of


def _rebuild_parameter(data, requires_grad, backward_hooks):
    return Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    parameter = Parameter(data, requires_grad)
    parameter.__dict__.update(state)
    return parameter


class _BufferMeta(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Tensor) and value.__dict__.get("_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferMeta):
    """Marks a tensor as a buffer: assigned to an attribute of a module, it is registered as one.

    What it returns is an ordinary tensor on the same memory.

    Args:
        data: the tensor. Default: an empty one.
        persistent: whether the module's ``state_dict`` contains it. Default: True.

    Example:
        >>> import danlu as torch
        >>> module = torch.nn.Module()
        >>> module.scale = torch.nn.Buffer(torch.tensor(2.0))
        >>> list(module.state_dict())
        ['scale']
    """

    def __new__(cls, data=None, *, persistent=True):
        data = _check_data(data, "Buffer")
        made = data.detach().requires_grad_(data.requires_grad)
        made.persistent = persistent
        made._is_buffer = True
        return made


class UninitializedTensorMixin:
    """A tensor that knows its dtype but not yet its shape; :meth:`materialize` gives it one."""

    __slots__ = ()

    cls_to_become: type = Tensor

    @property
    def _array(self):
        raise ValueError(
            "Attempted to use an uninitialized parameter: a lazy layer learns its shapes from the "
            "first input. Call the model once on a batch before using its parameters."
        )

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This happens when "
            "its state is loaded into an initialized module. Call the model once on a batch to "
            "initialize it."
        )

    @property
    def dtype(self):
        return self.__dict__["_dtype"]

    @property
    def data(self):
        return _empty(self.dtype)

    @data.setter
    def data(self, value):
        self.__dict__["_dtype"] = value.dtype

    def size(self, dim=None):
        return self.shape

    def detach(self):
        return self

    def to(self, *args, dtype=None, device=None, **options):
        """Change the future dtype."""
        for each in args:
            if isinstance(each, dtypes.dtype):
                dtype = each
            else:
                device = each
        if device is not None:
            check_available(device)
        if dtype is None or dtype is self.dtype:
            return self
        return type(self)(self.requires_grad, dtype=dtype)

    def share_memory_(self):
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call the model once on a "
            "batch before calling `module.share_memory()`."
        )

    def materialize(self, shape, device=None, dtype=None) -> None:
        """Become an ordinary parameter or buffer of this shape, its values not initialised."""
        from danlu.ops.creation import empty

        memory = empty(shape, device=device, dtype=dtype or self.dtype)
        del self.__dict__["_dtype"]
        self.__class__ = self.cls_to_become
        self._array = memory._array  # type: ignore[misc]

    def __repr__(self, *, tensor_contents=None):
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, dtype=self.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad, None, self.dtype)


def _without_memory(cls, requires_grad, device, dtype):
    if device is not None:
        Device(device)
    made = object.__new__(cls)
    known = wrap(None)
    for slot in ("_edge", "_requires_grad", "_writes", "_view", "_grad", "_hooks"):
        setattr(made, slot, getattr(known, slot))
    made.__dict__["_dtype"] = dtype or dtypes.get_default_dtype()
    made.requires_grad = requires_grad
    return made


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known before the first forward.

    Args:
        requires_grad: whether gradients are recorded. Default: True.
        device: where it will live.
        dtype: its future dtype. Default: the default dtype.
    """

    __slots__ = ()

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return _without_memory(cls, requires_grad, device, dtype)


class UninitializedBuffer(UninitializedTensorMixin, Tensor):  # type: ignore[misc]
    """A buffer whose shape is not known before the first forward.

    Args:
        requires_grad: whether gradients are recorded. Default: False.
        device: where it will live.
        dtype: its future dtype. Default: the default dtype.
        persistent: whether ``state_dict`` contains it. Default: True.
    """

    __slots__ = ()

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        made = _without_memory(cls, requires_grad, device, dtype)
        made.persistent = persistent
        made._is_buffer = True
        return made


def is_lazy(tensor) -> bool:
    """Whether this parameter or buffer has no shape yet."""
    return isinstance(tensor, UninitializedTensorMixin)
