"""NumPy's functions on traced arrays, and the functions of kernels that NumPy does not have."""

from __future__ import annotations

import numpy as np

from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.traced import Traced, apply, convert, gather, lift, reshape, transpose

__all__ = ["KNOWN", "special"]

KNOWN: dict = {}


def _stands_for(*functions):
    def keep(written):
        for each in functions:
            KNOWN[each] = written
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
def _reshape(graph, x, shape):
    return x.reshape(shape)


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
    x = lift(graph, x)
    if x.node.op == "leaf":
        return x._shares(graph.view(x.node, lambda array: np.broadcast_to(array, shape)))
    return Traced(graph, graph.make("copy", (x.node,), x.dtype, tuple(shape)))


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
    return gather(x, lift(graph, indices), axis)


@_stands_for(np.copyto)
def _copyto(graph, target, value, casting="same_kind", where=True):
    if where is not True:
        value = _where(graph, where, value, target)
    target[...] = value


def _called_out(function):
    """Left to NumPy, between the loops."""

    def record(graph, *operands, **kwargs):
        if kwargs:
            raise Unsupported(f"{function.__name__} with keywords")
        operands = [lift(graph, each) for each in operands]
        # NumPy itself says what the result is, on arrays of one repeated number
        samples = [np.broadcast_to(np.zeros((), each.dtype), each.shape) for each in operands]
        result = _described(function, samples)
        if function not in graph.externs:
            graph.externs.append(function)
        number = graph.externs.index(function)
        nodes = tuple(each.node for each in operands)
        return Traced(graph, graph.make("extern", nodes, result.dtype, result.shape, number))

    return record


def _described(function, samples):
    """The result of a matrix product of these, without multiplying them."""
    a, b = samples
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise Unsupported(f"{function.__name__} of {a.shape} and {b.shape}")
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*batch, a.shape[-2], b.shape[-1])
    return np.broadcast_to(np.zeros((), np.result_type(a, b)), shape)


KNOWN[np.matmul] = _called_out(np.matmul)


def special(name, x: Traced, *others) -> Traced:
    """A function of kernels/fused/functions.py, whose operands take the dtype of the first."""
    if x.weak or (x.dtype.kind != "f" and x.dtype.name != "bfloat16"):
        raise Unsupported(f"{name} of {x.dtype.name}")
    rest = [lift(x.graph, each) for each in others]
    if any(each.dtype != x.dtype and not each.weak for each in rest):
        raise Unsupported(f"{name} of several dtypes")
    operands = (convert(x.graph, each.node, x.dtype) for each in (x, *rest))
    return Traced(x.graph, x.graph.map(name, x.dtype, *operands))
