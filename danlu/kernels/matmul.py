"""Matrix products of floating-point arrays: generated code from a measured size on, BLAS below it
and for all else."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from danlu.kernels.runtime import road

__all__ = ["LEAST", "LEAST_VECTOR", "matmul"]

_FLOAT, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
# Multiplications from which generated code pays, the choice itself included: where it takes more
# than one thread, or 25 us of one; fewer where one side is a vector and memory is the limit.
LEAST, LEAST_VECTOR = 1 << 20, 1 << 18


def matmul(a, b, bias=None, activation=None, out=None):
    """`a @ b + bias`, with `activation` on top.

    Args:
        a: array of at least 2 axes.
        b: array of at least 2 axes; leading axes broadcast against those of `a`.
        bias: array of as many elements as `b` has columns, or None.
        activation: "relu" or None.
        out: array for the result, or None.

    Shape:
        (*, M, K), (*, K, N), (N,) -> (*, M, N)

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> matmul(np.eye(2), np.array([[1.0, -2.0], [3.0, 4.0]]), activation="relu")
        array([[1., 0.],
               [3., 4.]])
    """
    relu = activation == "relu"
    columns = b.shape[-1]
    made = None
    if road.worth(a.size * columns, LEAST_VECTOR if 1 in (columns, a.shape[-2]) else LEAST):
        made = _generated(a, b, bias, relu, out)
    if made is None:
        made = a.dot(b) if a.ndim == 2 == b.ndim else np.matmul(a, b)
        made = _finished(made, bias, relu)
    if out is None or made is out:
        return made
    out[...] = made
    return out


def _finished(made, bias, relu):
    """What NumPy adds to a product."""
    if bias is not None:
        made += bias
    if relu:
        np.maximum(made, 0, out=made)
    return made


def _generated(a, b, bias, relu, out):
    """The product by generated code, or None for dtypes, layouts and shapes that it does not take;
    `out` is used where it fits."""
    kind = a.dtype
    if b.dtype is not kind or not (kind is _FLOAT or kind is _DOUBLE):
        return None
    if a.__class__ is not np.ndarray or b.__class__ is not np.ndarray:
        return None
    depth, columns = b.shape[-2:]
    if a.shape[-1] != depth or not (a.size and b.size):
        return None
    if bias is not None and (
        bias.shape != (columns,) or bias.dtype is not kind or bias.strides[0] != kind.itemsize
    ):
        return None
    if b.ndim == 2 < a.ndim and a.flags.c_contiguous:  # one tall matrix
        made = _generated(a.reshape(-1, depth), b, bias, relu, None)
        return None if made is None else made.reshape(*a.shape[:-1], columns)
    leading = _NO_BATCH if a.ndim == 2 == b.ndim else _batch(a, b)
    if leading is None:
        return None
    shape = (*leading[0], a.shape[-2], columns)
    if out is None or out.shape != shape or out.dtype is not kind or not out.flags.c_contiguous:
        out = np.empty(shape, kind)
    size = kind.itemsize
    strides = (*a.strides[-2:], *b.strides[-2:])
    if any(stride % size for stride in strides):
        return None
    strides = tuple([stride // size for stride in strides])
    if shape[-2] == 1 or columns == 1:
        made = _by_vector(a, b, out, strides)
        if made is not None:
            return _finished(made, bias, relu)
    return _by_blocks(a, b, bias, relu, out, strides, leading)


def _by_blocks(a, b, bias, relu, out, strides, leading):
    _, outer, inner, steps = leading
    rows, depth = a.shape[-2:]
    columns, size = b.shape[-1], a.itemsize
    kernel, plan_of = _kernel(size)
    a_row, a_depth = strides[:2]
    if a_depth == 1:
        packs_a = columns >= _WIDE and depth >= _WIDE
    else:
        packs_a = a_row != 1 or a_depth > _WIDE
    slices = _SLICE if a_depth == 1 and not packs_a else _SHORT_SLICE
    plan = plan_of(rows, depth, columns, outer * inner, packs_a, slices, strides[3] != 1)
    sums, part_step = out, 0
    if plan.parts > 1:
        sums, part_step = np.empty((plan.parts, *out.shape), out.dtype), out.size
    is_last = plan.parts == 1
    scratch = plan.scratch if plan.tasks == 1 else _thread_count() * plan.scratch
    kernel(
        plan.tasks, a, b, sums, bias if is_last else None, np.empty(scratch + 64, np.uint8),
        rows, columns, depth, *strides, columns, inner, *steps, rows * columns,
        plan.block_rows, plan.block_columns, plan.slice, plan.part, part_step,
        plan.blocks, plan.together, int(packs_a), int(relu and is_last), plan.scratch,
    )  # fmt: skip
    if is_last:
        return out
    return _finished(np.add.reduce(sums, axis=0, out=out), bias, relu)


# Where packing A pays: contiguous rows in a product from this many columns and this depth on,
# contiguous columns further apart than this. Elsewhere it is read in place.
_WIDE = 512
# The depth for which B is packed at a time: C is gone over for each slice, but a panel should stay
# in the L1 cache, beside what is read of A.
_SLICE, _SHORT_SLICE = 512, 256

_NO_BATCH = ((), 1, 1, (0, 0, 0, 0))


def _batch(a, b):
    """Leading axes as (shape, outer, inner, steps in elements of a and b along both), or None where
    they are more than two that cannot be merged."""
    size = a.itemsize
    try:
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return None

    def steps(x):
        missing = len(shape) + 2 - x.ndim
        axes = zip(x.shape[:-2], x.strides[:-2], strict=True)
        return [0] * missing + [0 if length == 1 else stride for length, stride in axes]

    merged: list[list[int]] = []  # length, step of a, step of b
    for axis in zip(shape, steps(a), steps(b), strict=True):
        length, *both = axis
        if length == 1:
            continue
        if merged and merged[-1][1:] == [step * length for step in both]:
            merged[-1] = [merged[-1][0] * length, *both]
        else:
            merged.append([length, *both])
    if len(merged) > 2 or any(step % size for axis in merged for step in axis[1:]):
        return None
    merged = [[1, 0, 0]] * (2 - len(merged)) + merged
    (outer, a_outer, b_outer), (inner, a_inner, b_inner) = merged
    return shape, outer, inner, tuple(s // size for s in (a_outer, a_inner, b_outer, b_inner))


# ---------------------------------------------------------------- a matrix and a vector
_VECTOR_TASK = 1 << 16  # elements of a matrix that are worth a task: 5 to 10 us
_VECTOR_TASKS = 32


def _by_vector(a, b, out, strides):
    """The product where A is one row or B one column, into `out`; None for batches, and where the
    matrix has no contiguous rows."""
    if a.ndim > 2 or b.ndim > 2:
        return None
    a_row, a_depth, b_depth, b_column = strides
    (rows, depth), columns = a.shape, b.shape[1]
    if columns == 1:  # A is the matrix
        length, matrix, x, x_step = rows, a, b, b_depth
        along, across = (a_depth, a_row), (a_row, a_depth)
    else:
        length, matrix, x, x_step = columns, b, a, a_depth
        along, across = (b_depth, b_column), (b_column, b_depth)
    if along[0] == 1 == x_step:
        kernel, stride = _vector_kernel("dots", a.itemsize), along[1]
    elif across[0] == 1:
        kernel, stride = _vector_kernel("sums", a.itemsize), across[1]
    else:
        return None
    block, part, parts, tasks = _vector_plan(length, depth)
    y = out if parts == 1 else np.empty((parts, *out.shape), out.dtype)
    kernel(tasks, matrix, x, y, length, depth, stride, x_step, block, part)
    return out if parts == 1 else np.add.reduce(y, axis=0, out=out)


@lru_cache(4096)
def _vector_plan(length, depth):
    """(elements of a block, depth of a part, parts, tasks): the depth is cut where the result is
    short."""
    tasks = max(1, min(length * depth // _VECTOR_TASK, _VECTOR_TASKS))
    parts = max(1, min(tasks * 64 // length, depth // 512))
    part = -(-depth // parts)
    parts = -(-depth // part)
    block = -(-length * parts // tasks // 64) * 64
    return block, part, parts, -(-length // block) * parts


# ---------------------------------------------------------------- the kernels
@lru_cache(None)
def _kernel(size):
    """The kernel for elements of this size, and the function that cuts products for it."""
    from danlu.kernels.codegen.target import host
    from danlu.kernels.generated import matmul as writer
    from danlu.kernels.generated.matmul_plan import plan
    from danlu.kernels.runtime import launch

    type = _type(size)
    rows, vectors = host().block
    width = vectors * host().lanes(type)
    kernel = launch.kernel(("matmul", type.scalar), lambda: writer.write(type))

    def plan_of(*shape):
        return plan(rows, width, size, *shape)

    return kernel.call, plan_of


@lru_cache(None)
def _vector_kernel(name, size):
    from danlu.kernels.generated import matmul_vector as writer
    from danlu.kernels.runtime import launch

    type = _type(size)
    write = writer.write_dots if name == "dots" else writer.write_sums
    return launch.kernel((f"matmul_{name}", type.scalar), lambda: write(type)).call


def _type(size):
    from danlu.kernels.codegen.types import DOUBLE, FLOAT

    return FLOAT if size == 4 else DOUBLE


def _thread_count() -> int:
    from danlu.kernels.runtime import pool

    return pool.thread_count()
