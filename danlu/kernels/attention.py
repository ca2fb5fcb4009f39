"""Attention by generated kernels that never hold the matrix of scores.

Legend: N samples, H heads, L target positions, S source positions, E features, F features of
values."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from danlu.kernels.graph.library import node
from danlu.kernels.runtime import road

__all__ = ["LEAST", "attention", "attention_backward", "fits"]

_FLOAT, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
# Multiplications (N H L S E) from which the generated kernels pay.
LEAST = 1 << 14
_CHUNK = 128  # target positions, or source positions, of a unit of work
_ENOUGH = 16  # units for a few threads to end at nearly the same time
_TASK_WORK = 1 << 19  # multiplications that are worth a task: 10 to 20 us


def fits(query, key, value, mask) -> bool:
    """Whether the kernels take these arrays and pay for them."""
    kind = query.dtype
    recorded = hasattr(query, "record")  # an array of a trace, which gets the kernel as a node
    if query.__class__ is not np.ndarray and not recorded:
        return False
    if not (kind is _FLOAT or kind is _DOUBLE):
        return False
    return (
        road.worth(query.size * key.shape[-2], LEAST)
        and kind is key.dtype
        and kind is value.dtype
        and query.ndim >= 2
        and query.ndim == key.ndim == value.ndim
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        and query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
        and query.size > 0 < key.size
        and value.size > 0
        and (mask is None or (mask.dtype is kind and mask.ndim <= query.ndim))
    )


def _attended(query, key, value, *others):
    shape = (*query.shape[:-1], value.shape[-1])
    leading = (1, 1, *query.shape[:-2])
    sums = (math.prod(leading[:-1]), leading[-1], query.shape[-2])
    return [(shape, query.dtype, _heads_inside(len(shape))), (sums, query.dtype)]


def _heads_inside(rank):
    """The axes of (N, H, L, F) as `_empty_like_heads` lays them out."""
    return None if rank < 3 else (*range(rank - 3), rank - 2, rank - 3, rank - 1)


@node(like=_attended)
def attention(query, key, value, mask, scale, causal):
    """softmax(Q K^T * scale + mask) V and what the backward kernel needs of it.

    Args:
        query, key, value: arrays that `fits` accepts.
        mask: array to add to the scores, which broadcasts against them, or None.
        scale: a number.
        causal: whether position i sees positions up to i alone.

    Shape:
        (*, L, E), (*, S, E), (*, S, F) -> (*, L, F) and (*, L)

    Returns:
        The attended values, and log(sum_s exp(score)) of every target position; a position that
        sees nothing gets 0 and infinity.
    """
    q, k, v = (_four_axes(x) for x in (query, key, value))
    samples, heads, rows, features = q.shape
    keys, value_features = v.shape[2:]
    kernel, measure = _kernel("forward", q.itemsize)
    out = _empty_like_heads(samples, heads, rows, value_features, q.dtype)
    log_sums = np.empty((samples, heads, rows), q.dtype)
    mask = _mask(mask, query.shape[:-2], rows, keys)
    chunk = _chunk(samples * heads, rows)
    size = measure(features, value_features, chunk)
    units = samples * heads * -(-rows // chunk)
    together = max(1, _TASK_WORK // (chunk * keys * (features + value_features)))
    kernel(
        -(-units // together), q, k, v, mask, out, log_sums,
        _scratch(size, q.dtype),
        *_steps(q), *_steps(k), *_steps(v), *_steps(out), *_steps(mask),
        heads, rows, keys, features, value_features, int(causal), chunk, size,
        units, together, float(scale),
    )  # fmt: skip
    return out.reshape(*query.shape[:-1], value_features), log_sums


def _like_operands(grad, query, key, value, *others):
    axes = _heads_inside(len(query.shape))
    return [(each.shape, each.dtype, axes) for each in (query, key, value)]


@node(like=_like_operands)
def attention_backward(grad, query, key, value, mask, out, log_sums, scale, causal):
    """The gradients of `attention` with respect to query, key and value.

    Args:
        grad: gradient of the attended values.
        query, key, value, mask: what `attention` was given.
        out, log_sums: what it returned.
        scale, causal: what it was given.

    Shape:
        (*, L, F), (*, L, E), (*, S, E), (*, S, F) -> (*, L, E), (*, S, E), (*, S, F)
    """
    shapes = query.shape, key.shape, value.shape
    q, k, v, out, grad = (_four_axes(x) for x in (query, key, value, out, grad))
    samples, heads, rows, features = q.shape
    keys, value_features = v.shape[2:]
    mask = _mask(mask, query.shape[:-2], rows, keys)
    kernel, measure = _kernel("backward", q.itemsize)
    grad_q, grad_k, grad_v = (
        _empty_like_heads(samples, heads, x.shape[2], x.shape[3], x.dtype) for x in (q, k, v)
    )
    if causal and keys > rows:  # nobody sees the last keys, and no task writes their gradients
        grad_k[:, :, rows:] = 0
        grad_v[:, :, rows:] = 0
    row_chunk = key_chunk = 0
    units = samples * heads
    work = rows * keys * (3 * features + 2 * value_features)
    if units < _ENOUGH and max(rows, keys) > _CHUNK // 2:
        row_chunk, key_chunk = _chunk(units, rows), _chunk(units, keys)
        parts = -(-rows // row_chunk) + -(-keys // key_chunk)
        units, work = units * parts, work // parts
    together = max(1, _TASK_WORK // work)
    size = measure(features, value_features, rows)
    kernel(
        -(-units // together), q, k, v, mask, out, grad, log_sums, grad_q, grad_k, grad_v,
        _scratch(size, q.dtype),
        *_steps(q), *_steps(k), *_steps(v), *_steps(out), *_steps(grad),
        *_steps(grad_q), *_steps(grad_k), *_steps(grad_v), *_steps(mask),
        heads, rows, keys, features, value_features, int(causal), row_chunk, key_chunk, size,
        units, together, float(scale),
    )  # fmt: skip
    made = (grad_q, grad_k, grad_v)
    return tuple(x.reshape(shape) for x, shape in zip(made, shapes, strict=True))


def _four_axes(x):
    """Leading axes as samples and heads, a last axis that is contiguous."""
    if x.ndim == 2:
        x = x[None, None]
    elif x.ndim == 3:
        x = x[None]
    elif x.ndim > 4:
        x = x.reshape(-1, *x.shape[-3:])
    if x.strides[3] != x.itemsize or (x.strides[0] | x.strides[1] | x.strides[2]) % x.itemsize:
        x = np.ascontiguousarray(x)
    return x


def _empty_like_heads(samples, heads, rows, features, dtype):
    """(N, H, L, F) whose memory is in the order of (N, L, H, F), as the layers around need it."""
    return np.empty((samples, rows, heads, features), dtype).swapaxes(1, 2)


def _mask(mask, batch, rows, keys):
    """The mask with four axes, its last one contiguous, of stride 0 where it is broadcast."""
    if mask is None:
        return None
    if mask.shape[-1:] != (keys,) or mask.strides[-1] != mask.itemsize:
        mask = np.ascontiguousarray(np.broadcast_to(mask, (*mask.shape[:-1], keys)))
    return _four_axes(np.broadcast_to(mask, (*batch, rows, keys)))


def _steps(x):
    """Strides in elements of all axes but the last."""
    if x is None:
        return 0, 0, 0
    size = x.itemsize
    return x.strides[0] // size, x.strides[1] // size, x.strides[2] // size


def _chunk(heads, length):
    """Positions of a unit of work: fewer where there are few heads."""
    chunk = _CHUNK
    while heads * -(-length // chunk) < _ENOUGH and chunk > 32:
        chunk //= 2
    return chunk


def _scratch(elements, dtype):
    from danlu.kernels.runtime import pool

    return np.empty(pool.MAX_THREADS * elements + 64, dtype)


@lru_cache(None)
def _kernel(direction, size):
    """The callable kernel, and a function that measures its scratch memory."""
    from danlu.kernels.codegen import target
    from danlu.kernels.codegen.types import DOUBLE, FLOAT
    from danlu.kernels.generated import attention, attention_backward, products
    from danlu.kernels.runtime import launch

    writer = attention if direction == "forward" else attention_backward
    type = FLOAT if size == 4 else DOUBLE
    products.load(type)
    kernel = launch.kernel((f"attention_{direction}", type.scalar), lambda: writer.write(type))
    host = target.host()
    return kernel.call, lambda *sizes: writer.scratch_elements(type, host, *sizes)
