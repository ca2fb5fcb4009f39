"""Indexing, slice assignment, and the gather / scatter / select family."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import dtypes
from danlu.ops.reduction import axis
from danlu.ops.registry import NUMBERS, Array, composite, ns, operator, scalar_name
from danlu.tensor import Tensor, check_writable, publish_method, rebase_history, wrap

__all__ = [
    "argwhere", "gather", "index_add", "index_copy", "index_fill", "index_put", "index_select",
    "masked_fill", "masked_scatter", "masked_select", "nonzero", "put", "scatter", "scatter_add",
    "scatter_reduce", "select_scatter", "slice_scatter", "diagonal_scatter", "take", "take_along_dim", "where",
]  # fmt: skip

NEGATIVE_STEP = "step must be greater than zero"


# ---------------------------------------------------------------- reading an index expression
def parsed(index, shape):
    """A NumPy index from what stands in `x[...]`, and whether it selects a view.

    Raises:
        IndexError: too many indices, positions outside the tensor, masks of another shape, unusable types.
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
            if item.step is not None or isinstance(item.start, Tensor) or isinstance(item.stop, Tensor):
                item = slice(*[None if e is None else e.__index__() for e in (item.start, item.stop, item.step)])
                if item.step is not None and item.step <= 0:
                    raise ValueError(NEGATIVE_STEP + ": danlu has no views in reverse order, use .flip()")
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
                f"{scalar_name(item.dtype)}: convert them with .long() or compare them to get a mask"
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
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
                f"indices (got {type(item[0]).__name__ if len(item) else type(item).__name__})"
            )
        return array, False
    try:
        return item.__index__(), True
    except (AttributeError, TypeError):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(item).__name__})"
        ) from None


def _check_ranges(items, shape, used) -> None:
    """Masks must fit their dimensions; integer arrays must stay inside them."""
    dim = 0
    for item in items:
        if item is None:
            continue
        if item is Ellipsis:
            dim += len(shape) - used
        elif isinstance(item, np.ndarray) and item.dtype == np.bool_:
            if item.shape != shape[dim : dim + item.ndim]:
                raise IndexError(
                    f"The shape of the mask {list(item.shape)} at index {dim} does not match the shape of the "
                    f"indexed tensor {list(shape)} at index {dim}"
                )
            dim += item.ndim
        else:
            if isinstance(item, np.ndarray) and item.size:
                _check_positions(item, shape[dim], dim)
            dim += 1


def _check_positions(positions, size, dim) -> None:
    low, high = positions.min(), positions.max()
    if low < -size or high >= size:
        bad = int(low if low < -size else high)
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


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
            dim += len(shape) - sum(1 for each in items if each is not None and each is not Ellipsis)
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
def _index(input: Array, index):
    return input[index]


@_index.vjp
def _(g, input_shape, index):
    return _index_zeros.on(g, input_shape, index)


@operator(method=False)
def _index_zeros(input: Array, shape, index):
    """Zeros of `shape` with `input` added at `index`: the gradient of a gather."""
    result = np.zeros(shape, input.dtype)
    if all(not isinstance(each, np.ndarray) or each.dtype == np.bool_ for each in index):
        result[index] = input
    else:
        np.add.at(result, index, input)
    return result


@_index_zeros.vjp
def _(g, index):
    return _index.on(g, index)


def getitem(self, index):
    """`x[index]` with integers, slices, None, Ellipsis, masks and integer tensors, mixed freely."""
    if index.__class__ is int and self._array.ndim:
        return getitem_select(self, (index,))
    items, basic = parsed(index, self._array.shape)
    if basic:
        if self._array.ndim == 0 and any(each.__class__ is int for each in items):
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert it to a number"
            )
        return _view_name(items)(self, items)
    return _index(self, items)


publish_method("__getitem__", getitem)


# ---------------------------------------------------------------- slice assignment
@operator(method=False, name="IndexPut")
def _assign(input: Array, value: Array, index, accumulate=False):
    result = input.copy()
    if accumulate:
        np.add.at(result, index, value)
    else:
        result[index] = value
    return result


@_assign.vjp
def _(needs, g, value_shape, index, accumulate):
    from danlu.ops.rules import sum_to

    past = None
    if needs[0]:
        past = g if accumulate else _without.on(g, index)
    given = None
    if needs[1]:
        part = _index.on(g, index)
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
    items, _ = parsed(index, target.shape)
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
    self._version[0] += 1
    if recording and True in needs:
        node = _assign.op
        plan_inputs = (self, value if tracked else None)
        recorded = node.record(
            needs, plan_inputs, (target, source), (items, False), target, (self._version,)
        )
        if needs[1] and source.dtype != value._array.dtype:
            recorded.fix = [None, (None, value._array.dtype)]
        rebase_history(self, recorded)


def _assigned_value(value, target):
    if isinstance(value, Tensor):
        array = value._array
        if array.dtype.kind == "c" and target.dtype.kind != "c":
            raise RuntimeError(
                "value cannot be converted to type float without overflow: assign value.real instead"
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
    if isinstance(error, IndexError):
        return _position_error(target.shape, items)
    part = target[items].shape
    return RuntimeError(
        f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to indexing result "
        f"of shape {list(part)}"
    )


publish_method("__setitem__", setitem)


# ---------------------------------------------------------------- gather and scatter
def _need_index(name, index, ndim=None):
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index._array.dtype.kind not in "iu":
        raise RuntimeError(
            f"{name}(): Expected dtype int32/int64 for index, got {index.dtype!r}: use index.long()"
        )
    return index._array


def _grid(index, dim):
    """The full index of the elements that gather and scatter touch: `index` along `dim`, its own place elsewhere."""
    places = [
        np.arange(n).reshape((1,) * i + (-1,) + (1,) * (index.ndim - i - 1))
        for i, n in enumerate(index.shape)
    ]
    places[dim] = index
    return tuple(places)


@operator(method=False, name="Gather")
def _gather(input: Array, index, dim):
    if input.ndim == 0:
        return input.reshape(1)[index] if index.ndim else input[()]
    if input.shape == index.shape:
        return np.take_along_axis(input, index, dim)
    return input[_grid(index, dim)]


@_gather.vjp
def _(g, input_shape, index, dim):
    return scatter_add_zeros.on(g, index, input_shape, dim)


@operator(method=False)
def scatter_add_zeros(input: Array, index, shape, dim):
    """Zeros of `shape` with `input` added at `index` along `dim`."""
    result = np.zeros(shape, input.dtype)
    if not shape:
        return input.reshape(-1).sum().reshape(())
    np.add.at(result, _grid(index, dim), input[tuple(map(slice, index.shape))])
    return result


@scatter_add_zeros.vjp
def _(g, index, dim):
    return _gather.on(g, index, dim)


@operator(method=False)
def scatter_zeros(input: Array, index, shape, dim):
    """Zeros of `shape` with `input` put at `index` along `dim`, where no two meet."""
    result = np.zeros(shape, input.dtype)
    np.put_along_axis(result, index, input, dim)
    return result


@scatter_zeros.vjp
def _(g, index, dim):
    return _gather.on(g, index, dim)


@composite(method=True)
def gather(input, dim, index, *, sparse_grad=False, out=None):
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on.

    Raises:
        RuntimeError: `index` has another number of dimensions, is larger than `input` elsewhere than along `dim`, or
            holds positions outside it.
    """
    positions = _need_index("gather", index)
    where = axis(dim, input._array.ndim)
    _check_gather("gather", input._array.shape, positions, where)
    return _gather(input, positions, where, out=out)


def _check_gather(name, shape, index, dim):
    if index.size == 0:
        return
    if max(index.ndim, 1) != max(len(shape), 1):
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as input tensor: got "
            f"{index.ndim} and {len(shape)}"
        )
    if any(n > m for i, (n, m) in enumerate(zip(index.shape, shape)) if i != dim):
        raise RuntimeError(
            f"Size does not match at dimension {dim} expected index {list(index.shape)} to be no larger than "
            f"self {list(shape)} apart from dimension {dim}"
        )
    size = shape[dim] if shape else 1
    low, high = index.min(), index.max()
    if low < 0 or high >= size:
        raise RuntimeError(
            f"index {int(low if low < 0 else high)} is out of bounds for dimension {dim} with size {size}"
        )


@composite(method=True)
def take_along_dim(input, indices, dim=None, *, out=None):
    """The elements at `indices` along `dim` (of the flattened tensor if None), broadcast against each other."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1), out=out)
    where = axis(dim, input._array.ndim)
    size = input._array.shape[where] if input._array.ndim else 1
    if (indices._array < 0).any():
        indices = wrap(np.where(indices._array < 0, indices._array + size, indices._array))
    own, other = list(input._array.shape), list(indices._array.shape)
    if len(own) != len(other):
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{len(own)} dimensions for input, and {len(other)} dimensions for indices"
        )
    common = [max(a, b) if 0 not in (a, b) else 0 for a, b in zip(own, other)]
    own = [a if i == where else c for i, (a, c) in enumerate(zip(own, common))]
    other = [b if i == where else c for i, (b, c) in enumerate(zip(other, common))]
    return gather(input.expand(own), where, indices.expand(other), out=out)


@operator(method=False, name="Scatter")
def _scatter(input: Array, src: Array, index, dim):
    result = input.copy()
    if input.ndim == 0:
        return src.reshape(-1)[-1:].reshape(()).astype(input.dtype)
    result[_grid(index, dim)] = src[tuple(map(slice, index.shape))]
    return result


@_scatter.vjp
def _(needs, g, src_shape, index, dim):
    past = None
    if needs[0]:
        past = _scatter_number.on(g, index, dim, 0) if g.ndim else g * 0
    given = None
    if needs[1]:
        given = getitem_zeros.on(_gather.on(g, index, dim), src_shape, tuple(map(slice, index.shape)))
    return past, given


@operator(method=False, name="Scatter")
def _scatter_number(input: Array, index, dim, value):
    result = input.copy()
    if input.ndim == 0:
        result[...] = value
    else:
        result[_grid(index, dim)] = value
    return result


@_scatter_number.vjp
def _(g, index, dim):
    return _scatter_number.on(g, index, dim, 0)


@composite(method=True)
def scatter(input, dim, index, src=None, *, value=None, reduce=None, out=None):
    """A copy of input with the elements of `src` (a tensor or a number) put at `index` along `dim`.

    Args:
        reduce: "add" or "multiply" to combine with what is there.
    """
    positions = _need_index("scatter", index)
    where = axis(dim, input._array.ndim)
    given = value if src is None else src
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError("reduce argument must be either add or multiply.")
        if not isinstance(given, Tensor):
            given = input.new_full(index.shape, given)
        return scatter_reduce(input, dim, index, given, {"add": "sum", "multiply": "prod"}[reduce], out=out)
    _check_scatter("scatter", input._array.shape, positions, where, given)
    if not isinstance(given, Tensor):
        return _scatter_number(input, positions, where, given, out=out)
    return _scatter(input, given, positions, where, out=out)


def _check_scatter(name, shape, index, dim, src):
    if isinstance(src, Tensor):
        if index.size and any(n > m for n, m in zip(index.shape, src._array.shape)):
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than src {list(src._array.shape)}"
            )
    _check_gather(name, shape, index, dim)


@operator(method=False, name="ScatterAdd")
def _scatter_add(input: Array, src: Array, index, dim):
    result = input.copy()
    if input.ndim == 0:
        return (input + src.reshape(-1)[: index.size].sum()).astype(input.dtype)
    np.add.at(result, _grid(index, dim), src[tuple(map(slice, index.shape))])
    return result


@_scatter_add.vjp
def _(needs, g, src_shape, index, dim):
    given = None
    if needs[1]:
        given = getitem_zeros.on(_gather.on(g, index, dim), src_shape, tuple(map(slice, index.shape)))
    return g if needs[0] else None, given


@composite(method=True)
def scatter_add(input, dim, index, src, *, out=None):
    """A copy of input with the elements of `src` added at `index` along `dim`."""
    positions = _need_index("scatter_add", index)
    where = axis(dim, input._array.ndim)
    _check_scatter("scatter_add", input._array.shape, positions, where, src)
    return _scatter_add(input, src, positions, where, out=out)


_REDUCTIONS = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum, "mean": np.add}
_NEUTRAL = {"sum": 0, "prod": 1, "amax": -np.inf, "amin": np.inf, "mean": 0}


@operator(method=False, name="ScatterReduce")
def _scatter_reduce(input: Array, src: Array, index, dim, reduce, include_self):
    scalar = input.ndim == 0
    result = input.reshape(1).copy() if scalar else input.copy()
    index = index.reshape(1) if index.ndim == 0 else index
    src = src.reshape(1) if src.ndim == 0 else src
    places = _grid(index, dim)
    part = src[tuple(map(slice, index.shape))]
    if not include_self:
        neutral = _NEUTRAL[reduce]
        if np.isinf(neutral) and result.dtype.kind == "b":
            neutral = neutral > 0
        elif np.isinf(neutral) and result.dtype.kind in "iu":
            info = np.iinfo(result.dtype)
            neutral = info.min if neutral < 0 else info.max
        result[places] = neutral
    _REDUCTIONS[reduce].at(result, places, part)
    if reduce == "mean":
        counts = np.full(result.shape, 1 if include_self else 0)
        np.add.at(counts, places, 1)
        counts[counts == 0] = 1
        result = result // counts if result.dtype.kind in "iu" else result / counts
    return (result.reshape(()) if scalar else result).astype(input.dtype, copy=False)


@_scatter_reduce.vjp
def _(needs, g, out, input, src, index, dim, reduce, include_self):
    xp = ns(g)
    touched = scatter_add_zeros.op.fn(np.ones(index.shape, np.float64), index, tuple(input.shape), dim)
    fresh = (touched == 0) | bool(include_self)
    fresh = fresh if isinstance(g, np.ndarray) else wrap(fresh)
    part = tuple(map(slice, index.shape))
    if reduce in ("sum", "mean"):
        counts = np.maximum(touched + (1 if include_self else 0), 1).astype(np.dtype(out._array.dtype if hasattr(out, "_array") else out.dtype))
        scaled = g if reduce == "sum" else g / (counts if isinstance(g, np.ndarray) else wrap(counts))
        past = scaled * fresh
        given = getitem_zeros.on(_gather.on(scaled, index, dim), src.shape, part)
    elif reduce in ("amax", "amin"):
        hits_self = (input == out) & fresh
        hits_src = src[part] == _gather.on(out, index, dim)
        count = scatter_add_zeros.on(hits_src * xp.ones_like(src[part]), index, tuple(input.shape), dim) + hits_self
        shared = g / xp.where(count == 0, count * 0 + 1, count)
        past = shared * hits_self
        given = getitem_zeros.on(_gather.on(shared, index, dim) * hits_src, src.shape, part)
    else:
        past = xp.where(fresh, g * out / input, 0 * g) if needs[0] else None
        given = getitem_zeros.on(_gather.on(g * out, index, dim) / src[part], src.shape, part)
    return past if needs[0] else None, given if needs[1] else None


@composite(method=True)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True, out=None):
    """A copy of input with the elements of `src` combined with it at `index` along `dim`.

    Args:
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether input's own elements take part.
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin.")
    positions = _need_index("scatter_reduce", index)
    where = axis(dim, input._array.ndim)
    _check_scatter("scatter_reduce", input._array.shape, positions, where, src)
    return _scatter_reduce(input, src, positions, where, reduce, include_self, out=out)


# ---------------------------------------------------------------- along one dimension
@operator(method=False, name="IndexSelect")
def _index_select(input: Array, index, dim):
    if input.ndim == 0:
        return input.reshape(1)[index].reshape(())
    return np.take(input, index, axis=dim)


@_index_select.vjp
def _(g, input_shape, index, dim):
    if not input_shape:
        return g.reshape(())
    return _index_zeros.on(g, input_shape, (slice(None),) * dim + (index,))


@composite(method=True)
def index_select(input, dim, index, *, out=None):
    """The slices at `index` (a vector of positions) along `dim`.

    Raises:
        IndexError: a position lies outside, or `index` is no vector of integers.
    """
    positions = _need_index("index_select", index)
    where = axis(dim, input._array.ndim)
    if positions.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if positions.size:
        size = input._array.shape[where] if input._array.ndim else 1
        low, high = positions.min(), positions.max()
        if low < 0 or high >= size:
            raise IndexError(
                f"index {int(low if low < 0 else high)} is out of bounds for dimension {where} with size {size}"
            )
    return _index_select(input, positions.reshape(-1), where, out=out)


def _along(dim, positions, ndim):
    where = axis(dim, ndim)
    return (slice(None),) * where + (positions.reshape(-1),)


@composite(method=True)
def index_add(input, dim, index, source, *, alpha=1, out=None):
    """A copy of input with alpha * source added to the slices at `index` along `dim`."""
    positions = _need_index("index_add", index)
    value = source if alpha == 1 else source * alpha
    if input._array.ndim == 0:
        return input + value.reshape(()) if positions.size else input.clone()
    return _assign(input, value, _along(dim, positions, input._array.ndim), True, out=out)


@composite(method=True)
def index_copy(input, dim, index, source, *, out=None):
    """A copy of input with the slices at `index` along `dim` replaced by those of source."""
    positions = _need_index("index_copy", index)
    if input._array.ndim == 0:
        return source.reshape(()).clone()
    return _assign(input, source, _along(dim, positions, input._array.ndim), False, out=out)


@composite(method=True)
def index_fill(input, dim, index, value):
    """A copy of input with the slices at `index` along `dim` filled with a number."""
    positions = _need_index("index_fill", index)
    if not isinstance(value, Tensor):
        value = wrap(np.asarray(value, dtype=input._array.dtype))
    if input._array.ndim == 0:
        return input.clone().fill_(value)
    return _assign(input, value, _along(dim, positions, input._array.ndim), False)


@composite(method=True)
def index_put(input, indices, values, accumulate=False):
    """A copy of input with `values` put (or added) where the tuple of index tensors points."""
    items, _ = parsed(tuple(indices), input._array.shape)
    if values._array.dtype != input._array.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{scalar_name(input.dtype)} for the destination and {scalar_name(values.dtype)} for the source."
        )
    return _assign(input, values, items, bool(accumulate))


@composite(method=True)
def take(input, index, *, out=None):
    """The elements of the flattened tensor at `index`."""
    positions = _need_index("take", index)
    flat = input.reshape(-1)
    if positions.size:
        _check_positions(positions, flat._array.size, 0)
    return _index(flat, (positions,), out=out)


@composite(method=True)
def put(input, index, source, accumulate=False):
    """A copy of input whose flattened elements at `index` are those of source."""
    positions = _need_index("put", index)
    flat = _assign(input.reshape(-1), source.reshape(-1), (positions.reshape(-1),), bool(accumulate))
    return flat.reshape(input._array.shape)


# ---------------------------------------------------------------- by mask
def _mask_of(name, mask):
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}(): argument 'mask' must be Tensor, not {type(mask).__name__}")
    if mask._array.dtype != np.bool_:
        raise RuntimeError(
            f"{name} only supports boolean masks, but got mask with dtype {mask.dtype!r}: use mask.bool()"
        )
    return mask._array


@operator(method=False, name="MaskedFill")
def _masked_fill(input: Array, value: Array, mask):
    return np.where(mask, value, input)


@_masked_fill.vjp
def _(needs, g, input_shape, mask):
    from danlu.ops.rules import sum_to

    xp = ns(g)
    m = mask if isinstance(g, np.ndarray) else wrap(mask)
    past = sum_to(xp.where(m, 0 * g, g), input_shape) if needs[0] else None
    return past, xp.where(m, g, 0 * g).sum() if needs[1] else None


@composite(method=True)
def masked_fill(input, mask, value):
    """`value` (a number or a 0-d tensor) where the mask is True, input elsewhere.

    Raises:
        RuntimeError: the mask is not bool, or value is a tensor of more dimensions.
    """
    chosen = _mask_of("masked_fill", mask)
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._array.ndim} dimension(s)."
            )
        value = value if value._array.dtype == input._array.dtype else value.to(input.dtype)
    else:
        kind = input._array.dtype
        if kind.kind in "iub" and isinstance(value, float) and not value.is_integer():
            raise RuntimeError(
                f"value cannot be converted to type {scalar_name(input.dtype)} without overflow"
            )
        value = wrap(np.asarray(value, dtype=kind))
    return _masked_fill(input, value, chosen)


@composite(method=True)
def masked_select(input, mask, *, out=None):
    """The elements where the mask is True, in one dimension."""
    chosen = _mask_of("masked_select", mask)
    shape = np.broadcast_shapes(input._array.shape, chosen.shape)
    return _index(input.expand(shape), (np.broadcast_to(chosen, shape),), out=out)


@composite(method=True)
def masked_scatter(input, mask, source):
    """A copy of input with the True positions filled from source, in order."""
    chosen = _mask_of("masked_scatter", mask)
    shape = np.broadcast_shapes(input._array.shape, chosen.shape)
    chosen = np.broadcast_to(chosen, shape)
    count = int(chosen.sum())
    if source._array.size < count:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have enough elements: the mask selects {count}, source "
            f"has {source._array.size}"
        )
    return _assign(input.expand(shape), source.reshape(-1)[:count], (chosen,), False)


@operator(promote="same", method=False, name="Where")
def _where(input: Array, other: Array, condition):
    return np.where(condition, input, other)


def _chosen(g, condition, keep):
    xp = ns(g)
    c = condition if isinstance(g, np.ndarray) else wrap(condition)
    return xp.where(c, g, 0 * g) if keep else xp.where(c, 0 * g, g)


_where.vjps(
    input=lambda g, condition: _chosen(g, condition, True),
    other=lambda g, condition: _chosen(g, condition, False),
)


def where(condition, input=None, other=None, *, out=None):
    """input where the condition is True, other elsewhere; `where(condition)` is `nonzero(as_tuple=True)`.

    Raises:
        RuntimeError: the condition is not a bool tensor, or the three do not broadcast.
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(
            f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}"
        )
    chosen = condition._array
    if chosen.dtype != np.bool_:
        if chosen.dtype != np.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype!r}: "
                "compare it, or use .bool()"
            )
        chosen = chosen.astype(np.bool_)
    if input.__class__ in NUMBERS and other.__class__ in NUMBERS:
        from danlu.ops.promotion import result_numpy_dtype

        input = wrap(np.asarray(input, dtype=result_numpy_dtype([input, other])))
    return _where(input, other, chosen, out=out)


publish_method("where", lambda self, condition, other: where(condition, self, other))


@composite(method=True)
def nonzero(input, *, as_tuple=False, out=None):
    """The positions of the nonzero elements: a row each, or one vector per dimension (`as_tuple`)."""
    if as_tuple:
        array = input._array.reshape(1) if input._array.ndim == 0 else input._array
        return tuple(wrap(np.ascontiguousarray(each)) for each in np.nonzero(array))
    if input._array.ndim == 0:
        return wrap(np.zeros((int(bool(input._array)), 0), np.int64))
    return wrap(np.argwhere(input._array).astype(np.int64, copy=False))


@composite(method=True)
def argwhere(input):
    """The positions of the nonzero elements, a row each."""
    return nonzero(input)


# ---------------------------------------------------------------- copies with a part replaced
@composite(method=True)
def select_scatter(input, src, dim, index):
    """A copy of input with the slice at `index` along `dim` replaced."""
    return _assign(input, src, (slice(None),) * axis(dim, input._array.ndim) + (int(index),), False)


@composite(method=True)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy of input with a slice along `dim` replaced."""
    part = slice(start, end, step)
    return _assign(input, src, (slice(None),) * axis(dim, input._array.ndim) + (part,), False)


@composite(method=True)
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of input with a diagonal replaced."""
    from danlu.ops.shape import diagonal

    places = wrap(np.arange(input._array.size).reshape(input._array.shape))
    where = diagonal(places, offset, dim1, dim2)._array
    flat = _assign(input.reshape(-1), src.reshape(-1), (where.reshape(-1).copy(),), False)
    return flat.reshape(input._array.shape)


# ---------------------------------------------------------------- in place
def _in_place(function, name):
    def in_place(self, *args, **kwargs):
        return replace(self, function, args, kwargs)

    in_place.__name__ = name
    in_place.__doc__ = f"In-place version of `{function.__name__}`."
    return in_place


def replace(self, function, args, kwargs):
    """Compute `function(self, ...)` and write it over `self`, with its history."""
    if state.grad:
        check_writable(self)
    before = self
    if self.requires_grad and state.grad:
        before = wrap(self._array.copy())  # the rules may save it, and it is about to be overwritten
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
    np.copyto(self._array, made._array, casting="unsafe")
    self._version[0] += 1
    if made._requires_grad:
        rebase_history(self, made._edge[0])
    return self


for _function in (
    gather, scatter, scatter_add, scatter_reduce, index_add, index_copy, index_fill, index_put, put,
    masked_fill, masked_scatter,
):  # fmt: skip
    if _function is not gather:
        publish_method(_function.__name__ + "_", _in_place(_function, _function.__name__ + "_"))

__all__ += ["getitem_zeros", "replace", "scatter_add_zeros", "scatter_zeros"]
