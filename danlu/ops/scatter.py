"""Reading and writing at the positions that an index tensor of the same rank names: gather and
scatter.
"""

from __future__ import annotations

import numpy as np

from danlu.ops.checks import by_value
from danlu.ops.indexing import getitem_zeros
from danlu.ops.inplace import publish_inplace
from danlu.ops.reduction import axis
from danlu.ops.registry import Array, composite, ns, operator, write_out
from danlu.tensor import Tensor, wrap

__all__ = ["gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim"]


# ---------------------------------------------------------------- checks
def need_index(name, index):
    """The array of an index tensor.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: it holds no integers.
    """
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index._array.dtype.kind not in "iu":
        raise RuntimeError(
            f"{name}(): Expected dtype int32/int64 for index, got {index.dtype!r}: use index.long()"
        )
    return index._array


def _check(name, shape, index, dim, src=None):
    """An index of the input's rank, no larger than input and source where it must not be, with
    positions inside.

    Raises:
        RuntimeError: it is not.
    """
    if index.size == 0:
        return
    if max(index.ndim, 1) != max(len(shape), 1):
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as input tensor: got "
            f"{index.ndim} and {len(shape)}"
        )
    if src is not None:
        if max(src.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError(
                "Index tensor must have the same number of dimensions as src tensor: got "
                f"{index.ndim} and {src.ndim}"
            )
        if any(n > m for n, m in zip(index.shape, src.shape)):
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than src {list(src.shape)}"
            )
    if any(n > m for i, (n, m) in enumerate(zip(index.shape, shape)) if i != dim):
        raise RuntimeError(
            f"Size does not match at dimension {dim} expected index {list(index.shape)} to be no "
            f"larger than self {list(shape)} apart from dimension {dim}"
        )
    _check_range(index, dim, shape[dim] if shape else 1)


@by_value()
def _check_range(index, dim, size):
    low, high = index.min(), index.max()
    if low < 0 or high >= size:
        raise RuntimeError(
            f"index {int(low if low < 0 else high)} is out of bounds for dimension {dim} with "
            f"size {size}"
        )


def _same_dtype(name, input, src):
    if src._array.dtype != input._array.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, but they are "
            f"{input.dtype!r} and {src.dtype!r}"
        )


def _vector(x):
    """0-d tensors take part as vectors of one element."""
    return x.reshape(1) if isinstance(x, Tensor) and x._array.ndim == 0 else x


# ---------------------------------------------------------------- the operators, on one dimension
# or more
def _grid(index, dim):
    """The full index of the elements that are touched: `index` along `dim`, its own place
    elsewhere.
    """
    places = [
        np.arange(n).reshape((1,) * i + (-1,) + (1,) * (index.ndim - i - 1))
        for i, n in enumerate(index.shape)
    ]
    places[dim] = index
    return tuple(places)


def _corner(index):
    """The part of the source that is read: as large as the index."""
    return tuple(map(slice, index.shape))


@operator(method=False, name="Gather")
def _gather(input: Array, index, dim):
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
    np.add.at(result, _grid(index, dim), input[_corner(index)])
    return result


@scatter_add_zeros.vjp
def _(g, input_shape, index, dim):
    return getitem_zeros.on(_gather.on(g, index, dim), input_shape, _corner(index))


@operator(method=False)
def scatter_zeros(input: Array, index, shape, dim):
    """Zeros of `shape` with `input` put at `index` along `dim`, where no two meet."""
    result = np.zeros(shape, input.dtype)
    np.put_along_axis(result, index, input, dim)
    return result


@scatter_zeros.vjp
def _(g, index, dim):
    return _gather.on(g, index, dim)


@operator(method=False, name="Scatter")
def _scatter(input: Array, src: Array, index, dim):
    result = input.copy()
    result[_grid(index, dim)] = src[_corner(index)]
    return result


@_scatter.vjp
def _(needs, g, src_shape, index, dim):
    past = _scatter_number.on(g, index, dim, 0) if needs[0] else None
    given = None
    if needs[1]:
        given = getitem_zeros.on(_gather.on(g, index, dim), src_shape, _corner(index))
    return past, given


@operator(method=False, name="Scatter")
def _scatter_number(input: Array, index, dim, value):
    result = input.copy()
    result[_grid(index, dim)] = value
    return result


@_scatter_number.vjp
def _(g, index, dim):
    return _scatter_number.on(g, index, dim, 0)


@operator(method=False, name="ScatterAdd")
def _scatter_add(input: Array, src: Array, index, dim):
    result = input.copy()
    np.add.at(result, _grid(index, dim), src[_corner(index)])
    return result


@_scatter_add.vjp
def _(needs, g, src_shape, index, dim):
    given = None
    if needs[1]:
        given = getitem_zeros.on(_gather.on(g, index, dim), src_shape, _corner(index))
    return g if needs[0] else None, given


# ---------------------------------------------------------------- reductions
_REDUCTIONS = {
    "sum": np.add, "prod": np.multiply, "mean": np.add, "amax": np.maximum, "amin": np.minimum,
}  # fmt: skip


def _neutral(reduce, kind):
    """The value that a reduction starts from."""
    if reduce not in ("amax", "amin"):
        return 1 if reduce == "prod" else 0
    largest = reduce == "amin"
    if kind.kind == "b":
        return largest
    if kind.kind in "iu":
        return np.iinfo(kind).max if largest else np.iinfo(kind).min
    return np.inf if largest else -np.inf


@operator(method=False, name="ScatterReduce")
def _scatter_reduce(input: Array, src: Array, index, dim, reduce, include_self):
    result = input.copy()
    places = _grid(index, dim)
    if not include_self:
        result[places] = _neutral(reduce, result.dtype)
    _REDUCTIONS[reduce].at(result, places, src[_corner(index)])
    if reduce == "mean":
        counts = _counts(index, input.shape, dim, include_self)
        result = result // counts if result.dtype.kind in "iu" else result / counts
    return result.astype(input.dtype, copy=False)


def _counts(index, shape, dim, include_self):
    """How many elements meet at each place, at least 1."""
    counts = np.full(shape, 1 if include_self else 0)
    np.add.at(counts, _grid(index, dim), 1)
    return np.maximum(counts, 1)


@_scatter_reduce.vjp
def _(needs, g, out, input, src, index, dim, reduce, include_self):
    xp = ns(g)
    on_tensors = xp is not np
    shape, corner = tuple(input.shape), _corner(index)
    kept = np.ones(shape, np.bool_)
    if not include_self:
        kept[_grid(index, dim)] = False
    kept = wrap(kept) if on_tensors else kept
    part = src[corner]
    if reduce in ("sum", "mean"):
        scaled = g
        if reduce == "mean":
            counts = _counts(index, shape, dim, include_self)
            scaled = g / (wrap(counts) if on_tensors else counts)
        past, given = scaled * kept, _gather.on(scaled, index, dim)
    elif reduce in ("amax", "amin"):
        # all that equal the result share its gradient
        hits_self = (input == out) & kept
        hits_part = part == _gather.on(out, index, dim)
        hits = scatter_add_zeros.on(hits_part * xp.ones_like(part), index, shape, dim) + hits_self
        shared = g / xp.where(hits == 0, hits * 0 + 1, hits)
        past, given = shared * hits_self, _gather.on(shared, index, dim) * hits_part
    else:
        past, given = _product_gradients(xp, g, out, input, part, index, dim, include_self, kept)
    given = getitem_zeros.on(given, tuple(src.shape), corner) if needs[1] else None
    return past if needs[0] else None, given


def _product_gradients(xp, g, out, input, part, index, dim, include_self, kept):
    """The product of the other factors, also where a factor is 0: without it, the product is taken
    anew.
    """
    shape = tuple(input.shape)
    own_zero = input == 0
    without_own = xp.where(own_zero, input * 0 + 1, input)
    rest = _scatter_reduce.on(without_own, part, index, dim, "prod", include_self) / without_own
    past = g * rest if include_self else g * kept
    zero = part == 0
    zeros = _gather.on(
        scatter_add_zeros.on(zero * xp.ones_like(part), index, shape, dim), index, dim
    )
    alone = zero & (zeros == 1)
    safe = xp.where(zero, part * 0 + 1, part)
    others = _scatter_reduce.on(
        input, xp.where(alone, part * 0 + 1, part), index, dim, "prod", include_self
    )
    given = xp.where(
        alone, _gather.on(g * others, index, dim), _gather.on(g * out, index, dim) / safe
    )
    return past, given


# ---------------------------------------------------------------- the public functions
@composite(method=True)
def gather(input, dim, index, *, sparse_grad=False, out=None):
    """out[i][j] = input[index[i][j]][j] for dim 0, input[i][index[i][j]] for dim 1, and so on.

    Args:
        index: as large as the result; elsewhere than along `dim` no larger than input.

    Raises:
        RuntimeError: the index has another number of dimensions, is too large, or points outside.

    Example:
        >>> import danlu as torch
        >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[1], [0]]))
        tensor([[2],
                [3]])
    """
    positions = need_index("gather", index)
    where = axis(dim, input._array.ndim)
    _check("gather", input._array.shape, positions, where)
    if positions.size == 0:
        made = input.reshape(-1)[:0].reshape(positions.shape)
    else:
        vector = positions.reshape(1) if positions.ndim == 0 else positions
        made = _gather(_vector(input), vector, where)
        made = made.reshape(()) if positions.ndim == 0 else made
    return made if out is None else write_out(out, made)


@by_value(otherwise=True, raises=False)
def _counts_from_end(index) -> bool:
    return bool((index < 0).any())


@composite(method=True)
def take_along_dim(input, indices, dim=None, *, out=None):
    """The elements at `indices` along `dim` (of the flattened tensor if None), broadcast against
    each other.
    """
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1), out=out)
    where = axis(dim, input._array.ndim)
    size = input._array.shape[where] if input._array.ndim else 1
    if _counts_from_end(indices._array):
        indices = wrap(np.where(indices._array < 0, indices._array + size, indices._array))
    own, other = list(input._array.shape), list(indices._array.shape)
    if len(own) != len(other):
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            "but "
            f"got {len(own)} dimensions for input, and {len(other)} dimensions for indices"
        )
    common = [max(a, b) if 0 not in (a, b) else 0 for a, b in zip(own, other)]
    own = [a if i == where else c for i, (a, c) in enumerate(zip(own, common))]
    other = [b if i == where else c for i, (b, c) in enumerate(zip(other, common))]
    return gather(input.expand(own), where, indices.expand(other), out=out)


def _scattered(name, scatter_one, input, dim, index, src, out, *rest):
    """What all kinds of scatter share: the checks, and 0-d tensors as vectors."""
    positions = need_index(name, index)
    where = axis(dim, input._array.ndim)
    source = src._array if isinstance(src, Tensor) else None
    _check(name, input._array.shape, positions, where, source)
    if positions.size == 0:
        made = input.clone()
    else:
        positions = positions.reshape(1) if positions.ndim == 0 else positions
        made = scatter_one(_vector(input), _vector(src), positions, where, *rest)
        made = made.reshape(input._array.shape)
    return made if out is None else write_out(out, made)


def _put(input, src, index, dim):
    if isinstance(src, Tensor):
        return _scatter(input, src, index, dim)
    return _scatter_number(input, index, dim, src)


@composite(method=True)
def scatter(input, dim, index, src=None, *, value=None, reduce=None, out=None):
    """A copy of input with the elements of `src` (a tensor or a number) put at `index` along `dim`.

    Args:
        reduce: "add" or "multiply" to combine with what is there.

    Raises:
        RuntimeError: the index does not fit or points outside, or the dtypes differ.

    Example:
        >>> import danlu as torch
        >>> torch.zeros(3).scatter(0, torch.tensor([2, 0]), torch.tensor([5.0, 6.0]))
        tensor([6., 0., 5.])
    """
    given = value if src is None else src
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError("reduce argument must be either add or multiply.")
        if not isinstance(given, Tensor):
            given = input.new_full(index._array.shape, given)
        kind = {"add": "sum", "multiply": "prod"}[reduce]
        return scatter_reduce(input, dim, index, given, kind, out=out)
    if isinstance(given, Tensor):
        _same_dtype("scatter", input, given)
    return _scattered("scatter", _put, input, dim, index, given, out)


@composite(method=True)
def scatter_add(input, dim, index, src, *, out=None):
    """A copy of input with the elements of `src` added at `index` along `dim`; see `scatter`."""
    _same_dtype("scatter", input, src)
    return _scattered("scatter_add", _scatter_add, input, dim, index, src, out)


@composite(method=True)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True, out=None):
    """A copy of input with the elements of `src` combined with it at `index` along `dim`.

    Args:
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether input's own elements take part.
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}."
        )
    _same_dtype("scatter_reduce", input, src)
    return _scattered(
        "scatter_reduce", _scatter_reduce, input, dim, index, src, out, reduce, bool(include_self)
    )


for _function in (scatter, scatter_add, scatter_reduce):
    publish_inplace(_function)
