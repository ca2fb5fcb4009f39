"""In-place forms of functions that are no single operator."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.autograd.node import LEAF
from danlu.backend import dtypes
from danlu.ops.calls import LARGE, arrays_of, fixes
from danlu.ops.messages import not_tensor, scalar_name, translated
from danlu.ops.promotion import promoted_arrays
from danlu.tensor import SHARED_ELEMENTS, check_writable, publish_method, rebase_history, wrap


def publish_inplace(function, name=None):
    """Publish `Tensor.<name>_`, which computes `function` and writes the result over the tensor."""

    def in_place(self, *args, **kwargs):
        return replace(self, function, args, kwargs)

    in_place.__name__ = (name or function.__name__) + "_"
    in_place.__doc__ = f"In-place version of `{name or function.__name__}`."
    publish_method(in_place.__name__, in_place)


def replace(self, function, args, kwargs):
    """Compute `function(self, ...)` and write it over `self`, with its history."""
    if state.grad:
        check_writable(self)
    before = self
    if self.requires_grad and state.grad:
        before = wrap(
            self._array.copy()
        )  # the rules may save it, and it is about to be overwritten
        before._edge, before._requires_grad = self._edge, True
    made = function(before, *args, **kwargs)
    if made._array.shape != self._array.shape:
        raise RuntimeError(
            f"output with shape {list(self._array.shape)} doesn't match the broadcast shape "
            f"{list(made._array.shape)}"
        )
    if not dtypes.can_cast(made.dtype, self.dtype):
        raise RuntimeError(
            f"result type {scalar_name(made.dtype)} can't be cast to the desired output type "
            f"{scalar_name(self.dtype)}"
        )
    if not self._array.flags.writeable:
        raise RuntimeError(SHARED_ELEMENTS)
    np.copyto(self._array, made._array, casting="unsafe")
    self._writes[0] += 1
    if made._requires_grad:
        rebase_history(self, made._edge[0])
    return self


# ---------------------------------------------------------------- of operators
def _kept(written, arrays, tensors, with_first):
    """The inputs of an in-place call, with copies of those that the write will change, in their
    places of the
    graph."""
    arrays, tensors = list(arrays), list(tensors)
    for i, tensor in enumerate(tensors):
        if tensor is None or tensor._writes is not written._writes or not (i or with_first):
            continue
        if arrays[i] is tensor._array:
            arrays[i] = arrays[i].copy()
        stand_in = wrap(arrays[i])
        stand_in._edge = tensor._edge or (tensor, LEAF)
        tensors[i] = stand_in
    return arrays, tensors


def _is_weak(array, number) -> bool:
    """Whether NumPy's operators take this number without changing the array's dtype."""
    return array.dtype.kind == "f" and number.__class__ in (float, int)


def _updates(op, target, arrays, params) -> bool:
    """Change a large target in place in one pass, where nothing but its values changes; whether that
    was done."""
    if op.update is None or params not in ((), (1,)) or target.dtype.kind != "f":
        return False
    if target.__class__ is not np.ndarray or not target.flags.writeable or 0 in target.strides:
        return False
    others = arrays[1:]
    for each in others:
        if each.__class__ in (float, int):
            continue
        if getattr(each, "dtype", None) is not target.dtype or each.shape != target.shape:
            return False
    op.update(target, *others)
    return True


def _recorded(op, written, needs, tracked, arrays, params, originals) -> None:
    node = op.record(needs, tracked, arrays, params, written._array, (written._writes,))
    if op.promote is not None:
        node.fix = fixes(arrays, originals)
    rebase_history(written, node)


def in_place_call(op):
    fn = op.fn
    promote = op.promote
    tails = op.tails

    def call_inplace(self, *args, **kwargs):
        try:
            target = self._array
        except AttributeError:
            raise not_tensor(op, 0, self) from None
        recording = state.grad
        if recording:
            check_writable(self)
        if not kwargs and len(args) + 1 in tails:
            values = (self, *args, *tails[len(args) + 1])
        else:
            values, _ = op.bind((self, *args), kwargs)
        originals, tracked = arrays_of(op, values[: op.tensors])
        params = values[op.tensors :]
        needs = (False,)
        if recording and op.differentiable:
            needs = tuple([t is not None and t.requires_grad for t in tracked])
        if promote and not (len(originals) == 2 and _is_weak(target, originals[1])):
            arrays = promoted_arrays(originals, op.to_float)
        else:
            arrays = originals
        record = True in needs
        if record and op.plan(needs).saves_arrays:
            arrays, tracked = _kept(self, arrays, tracked, op.plan(needs).saves_first)
        if target.size >= LARGE and _updates(op, target, arrays, params):
            self._writes[0] += 1
            if record:
                _recorded(op, self, needs, tracked, arrays, params, originals)
            return self
        try:
            result = fn(*arrays, *params)
        except (ValueError, TypeError) as error:
            raise translated(op, arrays, error) from None
        if result.shape != target.shape:
            raise RuntimeError(
                f"output with shape {list(target.shape)} doesn't match the broadcast shape "
                f"{list(result.shape)}"
            )
        if result.dtype is not target.dtype:
            kind = dtypes.of_array(result)
            if not dtypes.can_cast(kind, self.dtype):
                raise RuntimeError(
                    f"result type {scalar_name(kind)} can't be cast to the desired output type "
                    f"{scalar_name(self.dtype)}"
                )
        try:
            np.copyto(target, result, casting="unsafe")
        except ValueError:
            raise RuntimeError(SHARED_ELEMENTS) from None
        self._writes[0] += 1
        if record:
            _recorded(op, self, needs, tracked, arrays, params, originals)
        return self

    def use(function):
        nonlocal fn
        fn = function

    op.plain_users.append(use)
    call_inplace.__name__ = op.name + "_"
    call_inplace.__qualname__ = f"Tensor.{op.name}_"
    call_inplace.__doc__ = f"In-place version of `{op.name}`: writes the result into this tensor."
    return call_inplace
