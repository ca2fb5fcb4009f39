"""`Tensor`: one strided array, its place on the tape, and what Python asks of it.

Operators are not here: the registry publishes each of them as a method (danlu/ops)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.autograd.node import Removable
from danlu.backend import conversions, dtypes
from danlu.backend.device import CPU
from danlu.backend.memory import memory_owner
from danlu.protocols import PythonProtocols
from danlu.size import Size

__all__ = [
    "Tensor", "check_writable", "legacy_type_name", "publish_method", "rebase_history", "wrap",
]  # fmt: skip

_new = object.__new__
_ndarray = np.ndarray


class Tensor(PythonProtocols):
    """An n-dimensional array that can record what is done with it.

    `Tensor(2, 3)` makes an uninitialised float tensor of that size and `Tensor([1, 2])` one with these
    values, as in PyTorch; `danlu.tensor(values)` is the clearer way.

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    __slots__ = (
        "__dict__", "__weakref__", "_array", "_edge", "_generation", "_grad", "_hooks",
        "_requires_grad", "_view", "_writes",
    )  # fmt: skip

    _edge: tuple | None
    _generation: int
    _grad: Tensor | None
    _hooks: LeafHooks | None
    _requires_grad: bool
    _writes: list
    _view: Tensor | None

    __array_priority__ = 1000  # NumPy's operators give way to ours

    def __new__(cls, *args, **kwargs):
        from danlu.ops.creation import legacy_tensor

        made = legacy_tensor(dtypes.get_default_dtype(), args, kwargs)
        return made if cls is Tensor else made.as_subclass(cls)

    if TYPE_CHECKING:  # the registry adds the operators' methods

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...

    # ------------------------------------------------------------ what it is
    @property
    def shape(self) -> Size:
        """The size of every dimension."""
        return tuple.__new__(Size, self._array.shape)

    @property
    def dtype(self) -> dtypes.dtype:
        """The elements' type."""
        return dtypes.of_array(self._array)

    @property
    def device(self):
        """Where the memory lives."""
        return CPU

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._array.nbytes

    @property
    def layout(self):
        """`torch.strided`: the only layout danlu has."""
        from danlu.backend.layout import strided

        return strided

    is_cuda = is_sparse = is_mps = is_xpu = is_meta = is_quantized = is_nested = is_mkldnn = False
    is_cpu = True
    names: Any = property(lambda self: (None,) * self._array.ndim)

    def size(self, dim: int | None = None):
        """The shape, or the size of one dimension."""
        if dim is None:
            return self.shape
        try:
            return self._array.shape[dim]
        except IndexError:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(self.ndim, 1)}, "
                f"{max(self.ndim, 1) - 1}], but got {dim})"
            ) from None

    def stride(self, dim: int | None = None):
        """Elements to skip in memory to get to the next index, per dimension."""
        array = self._array
        if array.size:
            steps = [each // array.itemsize for each in array.strides]
            for i in range(array.ndim - 1, -1, -1):
                if steps[i] == 0 and array.shape[i] == 1:
                    # NumPy gives 0 to a new dimension, PyTorch the step over what follows
                    steps[i] = steps[i + 1] * array.shape[i + 1] if i + 1 < array.ndim else 1
            strides = tuple(steps)
        else:  # NumPy keeps no strides for empty arrays: those of a contiguous one, as PyTorch's
            steps = [1]
            for size in array.shape[:0:-1]:
                steps.append(steps[-1] * max(size, 1))
            strides = tuple(steps[::-1]) if array.ndim else ()
        return strides if dim is None else strides[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._array.itemsize

    def is_contiguous(self, memory_format=None) -> bool:
        """Whether the elements lie in memory in order, without gaps."""
        return bool(self._array.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether the elements are real floating-point numbers."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the elements are complex numbers."""
        return self._array.dtype.kind == "c"

    def is_signed(self) -> bool:
        """Whether the elements can be negative."""
        return self.dtype.is_signed

    def get_device(self) -> int:
        """The device's index; -1 for the CPU."""
        return -1

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._array.__array_interface__["data"][0]

    def storage_offset(self) -> int:
        """Elements between the start of the memory and the first element."""
        owner = memory_owner(self._array)
        start = owner.__array_interface__["data"][0]
        return (self.data_ptr() - start) // self._array.itemsize

    # ------------------------------------------------------------ the tape
    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded.

        Raises (on assignment):
            RuntimeError: the dtype has no gradient, or the tensor is a result and cannot be switched off.
        """
        if self._view is not None:
            self._refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        wanted = bool(wanted)
        if self.grad_fn is not None:
            if not wanted:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed "
                    "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return
        if wanted and not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise RuntimeError(
                "only Tensors of floating point dtype can require gradients; this one has dtype "
                f"{self.dtype!r}: convert it first, x.float()"
            )
        self._requires_grad = wanted

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch recording of operations on this tensor; returns the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad_fn(self):
        """The node that made this tensor, None for leaves."""
        if self._view is not None:
            self._refresh()
        return None if self._edge is None else self._edge[0]

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this tensor is."""
        return 0 if self._edge is None else self._edge[1]

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.grad_fn is None

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this result."""
        edge = self._edge
        if edge is None or edge[0].hooks is None or edge[1] not in edge[0].hooks:
            return False
        return edge[0].hooks[edge[1]].retained_by is not None

    @property
    def _version(self) -> int:
        """How often the memory was written to in place, as PyTorch's programs read it."""
        return self._writes[0]

    _base = property(lambda self: self._view)

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, None before the first backward pass."""
        if self._grad is None and self._edge is not None and not self.retains_grad:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got {type(value)}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: {list(value._array.shape)}, "
                    f"expected {list(self._array.shape)}"
                )
            if value._array.dtype != self._array.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: {value.dtype!r}, expected {self.dtype!r}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def register_hook(self, hook):
        """Call `hook(grad)` when the gradient of this tensor is known; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._edge is not None:
            node, number = self._edge
            return Removable(node.output_hooks(number).functions, hook)
        if self._hooks is None:
            self._hooks = LeafHooks()
        return Removable(self._hooks, hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Call `hook(tensor)` after the gradient of this leaf has been accumulated."""
        if self._edge is not None or not self._requires_grad:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if self._hooks is None:
            self._hooks = LeafHooks()
        return Removable(self._hooks.after, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this result in its `grad`, as leaves do."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._edge is not None:
            node, number = self._edge
            node.output_hooks(number).retained_by = weakref.ref(self)

    def _accumulate(self, gradient, owned: bool, hooked: bool = False) -> None:
        """Add the gradient of one backward pass to `grad`; an array that is not `owned` is copied."""
        if self._hooks is not None and not hooked:
            from danlu.autograd.engine import call_hooks

            changed = call_hooks(self._hooks, gradient, isinstance(gradient, Tensor))
            owned = owned and changed is gradient
            gradient = changed
        before = self._grad
        if isinstance(gradient, Tensor):
            self._grad = gradient if before is None else before + gradient
        elif before is None:
            array = gradient if owned else conversions.copied(gradient)
            if array.dtype != self._array.dtype:
                array = array.astype(self._array.dtype)
            self._grad = wrap(array)
        elif before._requires_grad:
            self._grad = wrap(before._array + gradient)
        else:
            np.add(before._array, gradient, out=before._array, casting="unsafe")
            before._writes[0] += 1
        if self._hooks is not None:
            for hook in list(self._hooks.after.values()):
                hook(self)

    def _refresh(self) -> None:
        """Bring a view up to date after its base's history was changed by an in-place write."""
        if self._generation != self._writes[1]:
            from danlu.autograd.views import reattach

            reattach(self)

    @property
    def data(self) -> Tensor:
        """The same memory without history; assigning replaces the memory, unrecorded."""
        return wrap(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self._array = value._array

    def detach(self) -> Tensor:
        """The same memory without history; in-place writes are seen on both sides."""
        made = wrap(self._array)
        made._writes = self._writes
        return made

    def detach_(self) -> Tensor:
        """Forget this tensor's history.

        Raises:
            RuntimeError: the tensor is a view; use `detach()`.
        """
        if self._view is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for "
                "training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence "
                "detach_() cannot be called on these gradients."
            )
        self._edge = None
        self._requires_grad = False
        self._view = None
        return self

    def as_subclass(self, cls):
        """The same tensor as an instance of `cls`, a subclass of Tensor."""
        made = _new(cls)
        for slot in _COPIED:
            setattr(made, slot, getattr(self, slot))
        if self._view is not None:
            made._generation = self._generation
        return made


class LeafHooks(dict):
    """The hooks on a leaf: functions of its gradient, and in `after` those to call once it has been accumulated."""

    __slots__ = ("after",)

    def __init__(self):
        self.after: dict = {}


_COPIED = ("_array", "_edge", "_grad", "_hooks", "_requires_grad", "_writes", "_view")


def wrap(array) -> Tensor:
    """A Tensor around an ndarray: no copy, no history."""
    made = _new(Tensor)
    made._array = array
    made._edge = None
    made._requires_grad = False
    made._writes = [0, 0]
    made._view = None
    made._grad = None
    made._hooks = None
    return made


# Method's name -> what stands for it in Tensor until its module is loaded (danlu/ops/lazy.py).
STAND_INS: dict[str, Any] = {}


def publish_method(name: str, function) -> None:
    """Make an operator a method of Tensor: at once, or where a stand-in holds its place, when that is
    first looked at."""
    stand_in = STAND_INS.get(name)
    if stand_in is not None:
        before, stand_in.method = stand_in.method, function
        if before is None or Tensor.__dict__.get(name) is not before:
            return
    setattr(Tensor, name, function)


LEGACY_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


def legacy_type_name(kind: dtypes.dtype) -> str:
    """PyTorch's old name of a tensor type: `torch.FloatTensor`."""
    return f"torch.{LEGACY_NAMES.get(kind.name, kind.name.title())}Tensor"


SHARED_ELEMENTS = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location, as "
    "after expand(), or its memory is read-only. Please clone() the tensor before performing the operation."
)
LEAF_IN_PLACE = (
    "a leaf Variable that requires grad is being used in an in-place operation: write under "
    "torch.no_grad(), or make a new tensor (x = x + 1)"
)


def check_writable(tensor: Tensor) -> None:
    """Refuse an in-place write that the tape cannot record. Call it while gradients are enabled.

    Raises:
        RuntimeError: the tensor, or the base it is a view of, is a leaf that requires gradients.
    """
    base = tensor._view
    if base is not None:
        tensor._refresh()
        if base._requires_grad and base._edge is None:
            raise RuntimeError("a view of " + LEAF_IN_PLACE)
    elif tensor._requires_grad and tensor._edge is None:
        raise RuntimeError(LEAF_IN_PLACE)


def rebase_history(tensor: Tensor, node) -> None:
    """Make `node` the history of a tensor that was just written to, and of its base if it is a view."""
    if tensor._view is None:
        tensor._edge = (node, 0)
        tensor._requires_grad = True
        tensor._writes[1] += 1
    else:
        from danlu.autograd.views import rebase_view

        rebase_view(tensor, node)


# The methods of Tensor that live in other modules: a Tensor is of no use without them.
from danlu.ops import lazy as _lazy  # noqa: E402, F401
