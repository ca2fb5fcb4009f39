"""NumPy's functions on traced arrays, and the functions of kernels that NumPy does not have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from danlu.kernels.graph import indexing, operations, views
from danlu.kernels.graph.calls import call_out
from danlu.kernels.graph.compositions import COMPOSITIONS
from danlu.kernels.graph.nodes import ShapeByValue, Unsupported, View
from danlu.kernels.graph.traced import Traced, apply, convert, lift, reduce, reshape, transpose
from danlu.kernels.matmul import matmul

__all__ = ["accumulate", "call_function", "call_ufunc", "random_words", "special"]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

# functions with a graph of their own
_KNOWN: dict = {}
# what asks for shapes and dtypes alone
_ASKING = frozenset((np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj))
_OF_ONE = {np.shape: Traced.shape.fget, np.ndim: Traced.ndim.fget, np.size: Traced.size.fget}
# the shapes of their results depend on values
_BY_VALUE = frozenset((
    np.argwhere, np.bincount, np.compress, np.extract, np.flatnonzero, np.intersect1d, np.nonzero,
    np.roots, np.setdiff1d, np.setxor1d, np.trim_zeros, np.union1d, np.unique, np.unique_all,
    np.unique_counts, np.unique_inverse, np.unique_values,
))  # fmt: skip
# their results are new arrays whose shapes and dtypes depend on those of the arguments alone
_OF_SHAPES = frozenset((
    np.argmax, np.argmin, np.argpartition, np.argsort, np.concatenate, np.convolve, np.cross,
    np.cumprod, np.cumsum, np.diff, np.digitize, np.einsum, np.interp, np.isclose, np.isin,
    np.isneginf, np.isposinf, np.isreal, np.kron, np.lexsort, np.median, np.nan_to_num,
    np.nanmax, np.nanmean, np.nanmedian, np.nanmin, np.nanprod, np.nansum, np.outer, np.pad,
    np.partition, np.prod, np.quantile, np.roll, np.round, np.searchsorted, np.select, np.sinc,
    np.sort, np.stack, np.std, np.sum, np.take, np.take_along_axis, np.tensordot, np.tile,
    np.trapezoid, np.tril, np.triu, np.vander, np.var, np.where,
    np.linalg.cholesky, np.linalg.cond, np.linalg.det, np.linalg.eig, np.linalg.eigh,
    np.linalg.eigvals, np.linalg.eigvalsh, np.linalg.inv, np.linalg.matrix_power,
    np.linalg.matrix_rank, np.linalg.norm, np.linalg.pinv, np.linalg.qr, np.linalg.slogdet,
    np.linalg.solve, np.linalg.svd, np.linalg.tensorinv,
))  # fmt: skip
# they change their first argument
_WRITING = frozenset((np.copyto, np.put_along_axis))
# views of their first argument
_LOOKING = (
    np.diagonal, np.flip, np.fliplr, np.flipud, np.matrix_transpose, np.moveaxis, np.rollaxis,
    np.rot90,
)  # fmt: skip


def call_function(graph, function, args, kwargs):
    """A function of NumPy: inside the loops where it has a graph, else a call between them.

    Raises:
        Unsupported: its result's shape depends on values, or it changes its arguments.
    """
    if function in _ASKING:
        if len(args) == 1 and not kwargs and function in _OF_ONE:
            return _OF_ONE[function](args[0])
        empty = [np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Traced) else x
                 for x in args]  # fmt: skip
        return function(*empty, **kwargs)
    if function in _BY_VALUE:
        raise ShapeByValue(f"{function.__name__}, whose result has a shape by value")
    known = _KNOWN.get(function)
    if known is not None:
        try:
            return known(graph, *args, **kwargs)
        except (Unsupported, TypeError):  # options that have no graph
            if function in _WRITING:
                raise
    return call_out(graph, function, args, kwargs, is_fresh=function in _OF_SHAPES)


def call_ufunc(graph, ufunc, method, inputs, kwargs):
    """A ufunc, or `ufunc.reduce`, `ufunc.accumulate` and so on: inside the loops or between them."""
    try:
        if method == "reduce":
            return reduce(graph, ufunc.__name__, *inputs, **kwargs)
        if method == "__call__" and ufunc is np.matmul:
            return _matmul(graph, *inputs, **kwargs)
        if method == "__call__" and not kwargs:
            return apply(graph, ufunc, inputs)
    except (Unsupported, TypeError):
        pass
    composed = COMPOSITIONS.get(ufunc)
    if composed is not None and method == "__call__" and not kwargs and _all_floats(inputs):
        return composed(*inputs)
    if "where" in kwargs:
        raise Unsupported(f"{ufunc.__name__} with where")
    if method == "__call__":
        return call_out(graph, ufunc, inputs, kwargs, is_fresh=True)
    name = f"{ufunc.__name__}_{method}"
    return call_out(graph, getattr(ufunc, method), inputs, kwargs, name, is_fresh=True)


def _all_floats(inputs) -> bool:
    return all(getattr(each, "dtype", _FLOAT64) in (_FLOAT32, _FLOAT64) for each in inputs)


def accumulate(graph, ufunc, target, indices, *values) -> None:
    """`ufunc.at(target, indices, *values)`."""
    if not isinstance(target, Traced):
        raise Unsupported("writing into an array that is no argument")
    made = call_out(graph, indexing.accumulated, (ufunc, target, indices, *values), {},
                    f"{ufunc.__name__}_at", is_fresh=True)  # fmt: skip
    target[...] = made


def _stands_for(*functions):
    def keep(written):
        for each in functions:
            _KNOWN[each] = written
        return written

    return keep


@_stands_for(np.where)
def _where(graph, condition, x, y):
    condition, x, y = (lift(graph, each) for each in (condition, x, y))
    # the promotion of where is that of any function of two operands
    dtype = np.maximum.resolve_dtypes((_seen(x), _seen(y), None))[2]
    chosen = convert(graph, condition.node, np.dtype(np.bool_))
    operands = (convert(graph, each.node, dtype) for each in (x, y))
    return Traced(graph, graph.map("where", dtype, chosen, *operands))


def _seen(operand):
    if not operand.weak:
        return operand.dtype
    return {"f": float, "i": int, "b": bool}[operand.dtype.kind]


@_stands_for(np.clip)
def _clip(graph, x, low=None, high=None, *, min=None, max=None):
    low, high = low if min is None else min, high if max is None else max
    if low is not None:
        x = apply(graph, np.maximum, (x, low))
    return x if high is None else apply(graph, np.minimum, (x, high))


@_stands_for(np.sum)
def _sum(graph, x, axis=None, dtype=None, out=None, keepdims=False):
    return x.sum(axis, dtype, out, keepdims)


@_stands_for(np.prod)
def _prod(graph, x, axis=None, dtype=None, out=None, keepdims=False):
    return x.prod(axis, dtype, out, keepdims)


@_stands_for(np.mean)
def _mean(graph, x, axis=None, dtype=None, out=None, keepdims=False):
    return x.mean(axis, dtype, out, keepdims)


@_stands_for(np.max, np.amax)
def _max(graph, x, axis=None, out=None, keepdims=False):
    return x.max(axis, out, keepdims)


@_stands_for(np.min, np.amin)
def _min(graph, x, axis=None, out=None, keepdims=False):
    return x.min(axis, out, keepdims)


@_stands_for(np.reshape)
def _reshape(graph, x, shape, *, copy=None):
    return x.reshape(shape, copy=copy)


@_stands_for(np.ravel)
def _ravel(graph, x):
    return reshape(x, (x.size,))


@_stands_for(np.transpose, np.permute_dims)
def _transpose(graph, x, axes=None):
    return transpose(x, tuple(reversed(range(x.ndim))) if axes is None else axes)


@_stands_for(np.swapaxes)
def _swapaxes(graph, x, first, second):
    axes = list(range(x.ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return transpose(x, axes)


@_stands_for(np.expand_dims)
def _expand_dims(graph, x, axis):
    return reshape(x, np.expand_dims(np.broadcast_to(np.int8(0), x.shape), axis).shape)


@_stands_for(np.squeeze)
def _squeeze(graph, x, axis=None):
    return x.squeeze(axis)


@_stands_for(np.broadcast_to)
def _broadcast_to(graph, x, shape):
    shape = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    return views.looked(lift(graph, x), views.Step("broadcast", shape))


@_stands_for(np.zeros_like)
def _zeros_like(graph, x, dtype=None):
    return _full_like(graph, x, 0, dtype)


@_stands_for(np.ones_like)
def _ones_like(graph, x, dtype=None):
    return _full_like(graph, x, 1, dtype)


@_stands_for(np.full_like)
def _full_like(graph, x, value, dtype=None):
    node = graph.constant(value, np.dtype(x.dtype if dtype is None else dtype))
    return Traced(graph, graph.make("copy", (node,), node.dtype, x.shape))


@_stands_for(np.take_along_axis)
def _take_along_axis(graph, x, indices, axis):
    return indexing.gather(x, lift(graph, indices), axis)


@_stands_for(np.copyto)
def _copyto(graph, target, value, casting="same_kind", where=True):
    if where is not True:
        value = _where(graph, where, value, target)
    target[...] = value


def _views(function):
    def look(graph, x, *args, **kwargs):
        view = View(f"{function.__name__} {args} {kwargs}", lambda a: function(a, *args, **kwargs))
        return x.look_at(view)

    return look


_KNOWN.update((each, _views(each)) for each in _LOOKING)


def _matmul(graph, a, b):
    if np.ndim(a) < 2 or np.ndim(b) < 2:
        raise Unsupported("a matrix product of vectors")
    return call_out(graph, matmul, (a, b), {}, is_fresh=True)


@_stands_for(np.dot)
def _dot(graph, a, b):
    if np.ndim(a) < 2 or np.ndim(b) != 2:
        raise Unsupported("a product that is none of matrices")
    rows = a.reshape((-1, a.shape[-1]))
    return _matmul(graph, rows, b).reshape((*a.shape[:-1], b.shape[-1]))


@_stands_for(np.argmax)
def _argmax(graph, x, axis=None, *, keepdims=False):
    return indexing.largest_at(x, axis, keepdims, "argmax")


@_stands_for(np.argmin)
def _argmin(graph, x, axis=None, *, keepdims=False):
    return indexing.largest_at(x, axis, keepdims, "argmin")


@_stands_for(np.tril)
def _tril(graph, x, k=0):
    return _where(graph, np.tri(*x.shape[-2:], k, dtype=np.bool_), x, x.dtype.type(0))


@_stands_for(np.triu)
def _triu(graph, x, k=0):
    return _where(graph, np.tri(*x.shape[-2:], k - 1, dtype=np.bool_), x.dtype.type(0), x)


@_stands_for(np.any)
def _any(graph, x, axis=None, *, keepdims=False):
    return (x != 0).astype(np.int8).max(axis=axis, keepdims=keepdims) != 0


@_stands_for(np.all)
def _all(graph, x, axis=None, *, keepdims=False):
    return (x != 0).astype(np.int8).min(axis=axis, keepdims=keepdims) != 0


@_stands_for(np.var)
def _var(graph, x, axis=None, *, ddof=0, keepdims=False):
    centered = x - x.mean(axis=axis, keepdims=True)
    total = (centered * centered).sum(axis=axis, keepdims=keepdims)
    return total / total.dtype.type(max(x.size // total.size - ddof, 0))


@_stands_for(np.std)
def _std(graph, x, axis=None, *, ddof=0, keepdims=False):
    return np.sqrt(_var(graph, x, axis, ddof=ddof, keepdims=keepdims))


@_stands_for(np.copy)
def _copy(graph, x):
    return x.copy()


@_stands_for(np.astype)
def _astype(graph, x, dtype, copy=True):
    return x.astype(dtype)


@_stands_for(np.put_along_axis)
def _put_along_axis(graph, x, indices, values, axis):
    operands = (lift(graph, each) for each in (indices, values))
    x[...] = indexing.put_along_axis(x, *operands, axis)


@_stands_for(np.concatenate)
def _concatenate(graph, arrays, axis=0, *, dtype=None):
    arrays = [lift(graph, each) for each in arrays]
    if any(each.weak or not each.ndim for each in arrays) or axis is None:
        raise Unsupported("a concatenation of numbers")
    axis %= arrays[0].ndim
    dtype = np.result_type(*(each.dtype for each in arrays)) if dtype is None else np.dtype(dtype)
    operations.check("copy", dtype.name, ())
    shape = list(arrays[0].shape)
    if any(each.shape[:axis] + each.shape[axis + 1 :] != (*shape[:axis], *shape[axis + 1 :])
           for each in arrays):  # fmt: skip
        raise Unsupported("a concatenation of other shapes")
    shape[axis] = sum(each.shape[axis] for each in arrays)
    arrays = [each for each in arrays if each.size] or arrays[:1]
    if not arrays[0].size:
        raise Unsupported("no elements")
    if len(arrays) == 1:
        return Traced(graph, graph.map("copy", dtype, convert(graph, arrays[0].node, dtype)))
    # parts of two concatenations are stored in two places, also where they are equal
    own = len(graph.nodes)
    parts = []
    for number, each in enumerate(arrays):
        node = convert(graph, each.node, dtype)
        parts.append(graph.make("part", (node,), dtype, node.shape, (own, number)))
    return Traced(graph, graph.make("concatenate", tuple(parts), dtype, tuple(shape), axis))


@_stands_for(np.stack)
def _stack(graph, arrays, axis=0):
    arrays = [lift(graph, each) for each in arrays]
    return _concatenate(graph, [np.expand_dims(each, axis) for each in arrays], axis)


def special(name, x: Traced, *others) -> Traced:
    """A function of kernels/fused/functions.py, whose operands take the dtype of the first."""
    if x.weak or (x.dtype.kind != "f" and x.dtype.name != "bfloat16"):
        raise Unsupported(f"{name} of {x.dtype.name}")
    rest = [lift(x.graph, each) for each in others]
    if any(each.dtype != x.dtype and not each.weak for each in rest):
        raise Unsupported(f"{name} of several dtypes")
    operands = (convert(x.graph, each.node, x.dtype) for each in (x, *rest))
    return Traced(x.graph, x.graph.map(name, x.dtype, *operands))


def random_words(shape, key, offset) -> Traced:
    """Philox's words, made where they are used (kernels/fused/functions.py)."""
    graph = (key if isinstance(key, Traced) else offset).graph
    if not shape:
        raise Unsupported("a random word without an axis")
    word = np.dtype(np.uint64)
    nodes = []
    for each in (key, offset):
        operand = lift(graph, each)
        if operand.size != 1 or operand.dtype != word:
            raise Unsupported(f"a key or an offset of {operand.dtype.name}")
        nodes.append(reshape(operand, ()).node)
    node = graph.make("random_words", tuple(nodes), np.dtype(np.uint32), tuple(shape))
    return Traced(graph, node)
