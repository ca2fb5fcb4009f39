"""Reading and writing `x[...]` with every kind of index."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import dtypes
from danlu.ops.checks import by_value
from danlu.ops.registry import NUMBERS, Array, operator, scalar_name
from danlu.ops.rules import sum_to
from danlu.tensor import (
    SHARED_ELEMENTS,
    Tensor,
    check_writable,
    publish_method,
    rebase_history,
)

NEGATIVE_STEP = "step must be greater than zero"


# ---------------------------------------------------------------- reading an index expression
def parsed(index, shape):
    """A NumPy index from what stands in `x[...]`, and whether it selects a view.

    Raises:
        IndexError: too many indices, positions outside the tensor, masks of another shape, unusable
            types.
        ValueError: a slice with a negative step.
    """
    items = index if index.__class__ is tuple else (index,)
    if index.__class__ is list and _is_sequence_of_indices(index):
        items = tuple(index)
    found, basic, used = [], True, 0
    for item in items:
        kind = item.__class__
        if kind is int:
            used += 1
        elif kind is slice:
            used += 1
            if (
                item.step is not None
                or isinstance(item.start, Tensor)
                or isinstance(item.stop, Tensor)
            ):
                item = slice(
                    *[
                        None if e is None else e.__index__()
                        for e in (item.start, item.stop, item.step)
                    ]
                )
                if item.step is not None and item.step <= 0:
                    raise ValueError(
                        NEGATIVE_STEP + ": danlu has no views in reverse order, use .flip()"
                    )
        elif item is None or item is Ellipsis:
            pass
        elif kind is bool:
            basic = False
            item = np.asarray(item)
        else:
            item, is_position = _index_array(item)
            if is_position:
                used += 1
            else:
                basic = False
                used += item.ndim if item.dtype == np.bool_ else 1
        found.append(item)
    if used > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    if not basic:
        _check_ranges(found, shape, used)
    return tuple(found), basic


def _is_sequence_of_indices(index) -> bool:
    """PyTorch takes a list for a tuple if it holds slices, None, Ellipsis or sequences."""
    return any(isinstance(each, (slice, type(None), type(...))) for each in index)


def _index_array(item):
    """An integer or bool array from an index of another type; a plain int for NumPy's integers."""
    if isinstance(item, Tensor):
        array = item._array
        kind = array.dtype.kind
        if kind not in "iub":
            raise IndexError(
                "tensors used as indices must be long, int, byte or bool tensors, not "
                f"{scalar_name(item.dtype)}: convert them with .long() or compare them to get a "
                "mask"
            )
        if kind == "u" and array.itemsize == 1:
            return array.astype(np.bool_), False
        if array.ndim == 0 and kind != "b":
            return int(array), True
        return array, False
    if isinstance(item, (np.integer,)):
        return int(item), True
    if isinstance(item, (list, tuple, range, np.ndarray)):
        array = np.asarray(
            [each._array if isinstance(each, Tensor) else each for each in item]
            if not isinstance(item, np.ndarray) else item
        )  # fmt: skip
        if array.size == 0 and array.dtype.kind == "f":
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables "
                "are valid "
                f"indices (got {type(item[0]).__name__ if len(item) else type(item).__name__})"
            )
        return array, False
    if isinstance(item, str):
        raise TypeError(f"new(): invalid data type 'str': {item!r} is no index of a tensor")
    try:
        return item.__index__(), True
    except (AttributeError, TypeError):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            "valid indices "
            f"(got {type(item).__name__})"
        ) from None


def _is_array(item) -> bool:
    return hasattr(item, "dtype")


def _check_ranges(items, shape, used) -> None:
    """Masks must fit their dimensions; integer arrays must stay inside them."""
    dim = 0
    for item in items:
        if item is None:
            continue
        if item is Ellipsis:
            dim += len(shape) - used
        elif _is_array(item) and item.dtype == np.bool_:
            if item.shape != shape[dim : dim + item.ndim]:
                raise IndexError(
                    f"The shape of the mask {list(item.shape)} at index {dim} does not match the "
                    "shape of the "
                    f"indexed tensor {list(shape)} at index {dim}"
                )
            dim += item.ndim
        else:
            if _is_array(item) and item.size:
                check_positions(item, shape[dim], dim)
            dim += 1


@by_value()
def check_positions(positions, size, dim) -> None:
    low, high = positions.min(), positions.max()
    if low < -size or high >= size:
        bad = int(low if low < -size else high)
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


def in_two_steps(items):
    """A view and then a gather that together mean this index; None if NumPy reads it as PyTorch
    does.

    An int takes its dimension away before the arrays beside it are looked at, in PyTorch; NumPy
    counts it as one of
    them, which moves the result's dimensions where something stands between.
    """
    places = [i for i, e in enumerate(items) if e.__class__ is int or _is_array(e)]
    ints = [i for i in places if items[i].__class__ is int]
    if not ints or places[-1] - places[0] + 1 == len(places):
        return None
    view, rest = [], []
    for item in items:
        if _is_array(item):
            view += [slice(None)] * (item.ndim if item.dtype == np.bool_ else 1)
            rest.append(item)
        else:
            view.append(item)
            if item.__class__ is not int:
                rest.append(Ellipsis if item is Ellipsis else slice(None))
    return tuple(view), tuple(rest)


def _view_name(items):
    """The node that PyTorch's last step of this basic index makes."""
    for item in reversed(items):
        if item is None:
            return getitem_none
        if item.__class__ is int:
            return getitem_select
        if item.__class__ is slice and item != slice(None):
            return getitem_slice
    return getitem_slice


def _views(name):
    def body(input: Array, index):
        try:
            return input[index if Ellipsis in index else (*index, Ellipsis)]
        except IndexError:
            raise _position_error(input.shape, index) from None

    body.__name__ = "getitem"
    op = operator(view=True, method=False, name=name, space=f"indexing.{name}")(body)

    @op.vjp
    def _(g, input_shape, index):
        return getitem_zeros.on(g, input_shape, index)

    return op


getitem_select, getitem_slice, getitem_none = map(_views, ("Select", "Slice", "Unsqueeze"))


def _position_error(shape, items):
    dim = 0
    for item in items:
        if item is None:
            continue
        if item is Ellipsis:
            dim += len(shape) - sum(
                1 for each in items if each is not None and each is not Ellipsis
            )
            continue
        if item.__class__ is int and dim < len(shape) and not -shape[dim] <= item < shape[dim]:
            return IndexError(
                f"index {item} is out of bounds for dimension {dim} with size {shape[dim]}"
            )
        dim += 1
    return IndexError(f"too many indices for tensor of dimension {len(shape)}")


@operator(method=False)
def getitem_zeros(input: Array, shape, index):
    """Zeros of `shape` with `input` at `index`: the gradient of a view."""
    result = np.zeros(shape, input.dtype)
    result[index] = input
    return result


@getitem_zeros.vjp
def _(g, index):
    return g[index]


@operator(method=False, name="Index")
def picked(input: Array, index):
    return input[index]


@picked.vjp
def _(g, input_shape, index):
    return picked_zeros.on(g, input_shape, index)


@operator(method=False)
def picked_zeros(input: Array, shape, index):
    """Zeros of `shape` with `input` added at `index`: the gradient of a gather."""
    result = np.zeros(shape, input.dtype)
    if all(not _is_array(each) or each.dtype == np.bool_ for each in index):
        result[index] = input
    else:
        np.add.at(result, index, input)
    return result


@picked_zeros.vjp
def _(g, index):
    return picked.on(g, index)


def getitem(self, index):
    """`x[index]` with integers, slices, None, Ellipsis, masks and integer tensors, mixed freely."""
    if index.__class__ is int and self._array.ndim:
        return getitem_select(self, (index,))
    items, basic = parsed(index, self._array.shape)
    if basic:
        if self._array.ndim == 0 and any(each.__class__ is int for each in items):
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert it to a "
                "number"
            )
        return _view_name(items)(self, items)
    steps = in_two_steps(items)
    if steps is not None:
        return picked(_view_name(steps[0])(self, steps[0]), steps[1])
    return picked(self, items)


publish_method("__getitem__", getitem)


# ---------------------------------------------------------------- slice assignment
@operator(method=False, name="IndexPut")
def assigned(input: Array, value: Array, index, accumulate=False):
    result = input.copy()
    if accumulate:
        np.add.at(result, index, value)
    else:
        result[index] = value
    return result


@assigned.vjp
def _(needs, g, value_shape, index, accumulate):
    past = None
    if needs[0]:
        past = g if accumulate else _without.on(g, index)
    given = None
    if needs[1]:
        part = picked.on(g, index)
        extra = len(value_shape) - len(part.shape)
        if extra > 0:
            part = part.reshape((1,) * extra + tuple(part.shape))
        given = sum_to(part, value_shape)
    return past, given


@operator(method=False)
def _without(input: Array, index):
    """`input` with zeros at `index`."""
    result = np.array(input)
    result[index] = 0
    return result


@_without.vjp
def _(g, index):
    return _without.on(g, index)


def setitem(self, index, value) -> None:
    """`x[index] = value`: the value is cast to x's dtype and broadcast to the selected shape."""
    target = self._array
    items, basic = parsed(index, target.shape)
    steps = None if basic else in_two_steps(items)
    if steps is not None:
        setitem(_view_name(steps[0])(self, steps[0]), steps[1], value)
        return
    recording = state.grad
    if recording:
        check_writable(self)
    source = _assigned_value(value, target)
    tracked = isinstance(value, Tensor) and recording
    needs = (self.requires_grad, tracked and value.requires_grad)
    try:
        target[items] = _fitting(source, target, items)
    except (ValueError, IndexError) as error:
        raise _assignment_error(error, source, target, items) from None
    self._writes[0] += 1
    if recording and True in needs:
        node = assigned.op
        plan_inputs = (self, value if tracked else None)
        recorded = node.record(
            needs, plan_inputs, (target, source), (items, False), target, (self._writes,)
        )
        if needs[1] and source.dtype != value._array.dtype:
            recorded.fix = [None, (None, value._array.dtype)]
        rebase_history(self, recorded)


def _assigned_value(value, target):
    if isinstance(value, Tensor):
        array = value._array
        if array.dtype.kind == "c" and target.dtype.kind != "c":
            raise RuntimeError(
                "value cannot be converted to type float without overflow: assign value.real "
                "instead"
            )
        return array if array.dtype == target.dtype else array.astype(target.dtype)
    if value.__class__ in NUMBERS:
        from danlu.ops.promotion import cast_scalar

        return cast_scalar(value, target.dtype)
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"can't assign a {type(value).__name__} to a {legacy_name(target)}")
    return array.astype(target.dtype)


def legacy_name(array) -> str:
    from danlu.tensor import legacy_type_name

    return legacy_type_name(dtypes.of_array(array))


def _fitting(source, target, items):
    """PyTorch drops leading dimensions of size 1 that the selected part does not have."""
    if source.ndim > target.ndim:
        while source.ndim > target.ndim and source.shape[0] == 1:
            source = source[0]
    return source


def _assignment_error(error, source, target, items):
    if not target.flags.writeable:
        return RuntimeError(SHARED_ELEMENTS)
    if isinstance(error, IndexError):
        return _position_error(target.shape, items)
    part = target[items].shape
    return RuntimeError(
        f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to "
        "indexing result "
        f"of shape {list(part)}"
    )


publish_method("__setitem__", setitem)
