"""Matrix products of floating-point arrays: on the kernels' threads from a measured size on, block
by block by BLAS or by generated code, and by NumPy below it and for all else."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from danlu.kernels.graph.library import states
from danlu.kernels.runtime import road

__all__ = ["LEAST", "matmul"]

_FLOAT, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
# Multiplications from which kernels pay, the choice itself included. Sums of less than 16 products,
# and results as narrow, leave most of a tile idle: there BLAS holds out for longer.
LEAST, _LEAST_NARROW, _NARROW = 1 << 18, 1 << 20, 16


def _like_product(a, b, bias=None, activation=None, out=None):
    if len(a.shape) < 2 or len(b.shape) < 2 or a.dtype != b.dtype or a.shape[-1] != b.shape[-2]:
        return None
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (*batch, a.shape[-2], b.shape[-1]), a.dtype


@states(_like_product)
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
    vector = columns == 1 or a.shape[-2] == 1
    narrow = not vector and min(columns, a.shape[-1]) < _NARROW
    if road.worth(a.size * columns, _LEAST_NARROW if narrow else LEAST):
        made = _by_kernel(a, b, bias, relu, out)
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


def _by_kernel(a, b, bias, relu, out):
    """The product by a kernel, or None for dtypes, layouts and shapes that none takes; `out` is
    used where it fits."""
    kind = a.dtype
    if b.dtype is not kind or not (kind is _FLOAT or kind is _DOUBLE):
        return None
    if a.__class__ is not np.ndarray or b.__class__ is not np.ndarray:
        return None
    if bias is not None and (
        bias.dtype is not kind or bias.shape != b.shape[-1:] or bias.strides[0] != kind.itemsize
    ):
        return None
    way = _way(a.shape, a.strides, b.shape, b.strides, kind.itemsize)
    if way is None:
        return None
    if out is None or out.shape != way.shape or out.dtype is not kind or not out.flags.c_contiguous:
        out = np.empty(way.shape, kind)
    scratch = ()
    if way.scratch:
        count = 1 if way.tasks == 1 else _most_threads()
        scratch = (np.empty(count * way.scratch + 64, np.uint8),)
    if way.is_vector:
        sums = out if way.parts == 1 else np.empty((way.parts, *way.shape), kind)
        matrix, x = (a, b) if way.is_column else (b, a)
        way.kernel(way.tasks, matrix, x, sums, *way.numbers)
    elif way.parts == 1:
        way.kernel(way.tasks, a, b, out, bias, int(relu), *way.numbers, *scratch)
        return out
    else:
        sums = np.empty((way.parts, *way.shape), kind)
        way.kernel(way.tasks, a, b, sums, None, 0, *way.numbers, *scratch)
    if sums is not out:
        np.add.reduce(sums, axis=0, out=out)
    return _finished(out, bias, relu)


# ---------------------------------------------------------------- the choice
class _Way(NamedTuple):
    """How products of certain shapes and strides are computed.

    Attributes:
        kernel, tasks: the callable, and how often its task runs.
        shape: of the result.
        parts: results that are added up.
        numbers: the kernel's arguments behind the arrays and the switch for ReLU.
        scratch: bytes of memory for one thread.
        is_vector, is_column: whether one operand is a vector, and whether that is B.
    """

    kernel: Callable
    tasks: int
    shape: tuple[int, ...]
    parts: int
    numbers: tuple[int, ...]
    scratch: int = 0
    is_vector: bool = False
    is_column: bool = False


class _Product(NamedTuple):
    """A batch of products; strides and steps count elements.

    Attributes:
        shape: of the result.
        rows, depth, columns: of the matrices.
        strides: a_row, a_depth, b_depth, b_column.
        outer, inner: lengths of two leading axes.
        steps: of A along both, then of B.
    """

    shape: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    strides: tuple[int, ...]
    outer: int
    inner: int
    steps: tuple[int, ...]


@lru_cache(4096)
def _way(a_shape, a_strides, b_shape, b_strides, size) -> _Way | None:
    """The fastest way, or None where no kernel takes these arrays."""
    product = _described(a_shape, a_strides, b_shape, b_strides, size)
    if product is None:
        return None
    if product.rows == 1 or product.columns == 1:
        found = _by_vector(product, size)
        if found is not None:
            return found
    return _by_blas(product, size) or _by_blocks(product, size)


def _described(a_shape, a_strides, b_shape, b_strides, size) -> _Product | None:
    """None for what no kernel takes: shapes that do not fit, empty arrays, strides that are no
    multiples of an element, and leading axes that are more than two which cannot be merged."""
    rows, depth = a_shape[-2:]
    columns = b_shape[-1]
    if b_shape[-2] != depth or 0 in a_shape or 0 in b_shape:
        return None
    if any(stride % size for stride in (*a_strides, *b_strides)):
        return None
    a_steps, b_steps = (
        [stride // size for stride in strides] for strides in (a_strides, b_strides)
    )
    shape, merged = _batch(a_shape[:-2], a_steps[:-2], b_shape[:-2], b_steps[:-2])
    if shape is None:
        return None
    shape = (*shape, rows, columns)
    if len(merged) == 1 and merged[0][2] == 0 and merged[0][1] == rows * a_steps[-2]:
        rows, merged = rows * merged[0][0], []  # one tall matrix
    if len(merged) > 2:
        return None
    (outer, *outer_steps), (inner, *inner_steps) = [[1, 0, 0]] * (2 - len(merged)) + merged
    steps = tuple(step for pair in zip(outer_steps, inner_steps, strict=True) for step in pair)
    strides = (*a_steps[-2:], *b_steps[-2:])
    return _Product(shape, rows, depth, columns, strides, outer, inner, steps)


def _batch(a_shape, a_steps, b_shape, b_steps):
    """The shape of the leading axes and, after merging what can be, their (length, step of a, step
    of b); (None, None) where they do not fit."""
    try:
        shape = np.broadcast_shapes(a_shape, b_shape)
    except ValueError:
        return None, None

    def spread(lengths, steps):
        missing = [0] * (len(shape) - len(lengths))
        axes = zip(lengths, steps, strict=True)
        return missing + [0 if length == 1 else step for length, step in axes]

    merged: list[list[int]] = []
    for length, *both in zip(
        shape, spread(a_shape, a_steps), spread(b_shape, b_steps), strict=True
    ):
        if length == 1:
            continue
        if merged and merged[-1][1:] == [step * length for step in both]:
            merged[-1] = [merged[-1][0] * length, *both]
        else:
            merged.append([length, *both])
    return shape, merged


# ---------------------------------------------------------------- blocks
# Where BLAS is faster than our blocks: from this depth on, and from so many multiplications times
# bytes on. With A in rows the two are within 5 % up to 512 a side, and 1024 a side takes BLAS 10 to
# 20 % less; with A in columns, which we have to pack, 512 a side takes it 10 % less.
_DEEP, _LARGE, _LARGE_TURNED = 48, 1 << 30, 1 << 25


def _by_blas(product: _Product, size) -> _Way | None:
    """By BLAS, where it takes the layouts and is faster."""
    _, rows, depth, columns, strides, outer, inner, _ = product
    large = _LARGE if strides[1] == 1 else _LARGE_TURNED
    if depth < _DEEP or rows * depth * columns * size < large:
        return None
    a_row, a_depth, b_depth, b_column = strides
    if not (_is_blas_matrix(a_row, a_depth, rows, depth)
            and _is_blas_matrix(b_depth, b_column, depth, columns)):  # fmt: skip
        return None
    kernel = _blas_kernel(size)
    if kernel is None:
        return None
    from danlu.kernels.generated.matmul_plan import blas_cut

    cut = blas_cut(rows, depth, columns, outer * inner)
    return _Way(kernel, cut.tasks, product.shape, cut.parts, _numbers(product, cut))


def _is_blas_matrix(row_step, column_step, rows, columns) -> bool:
    """Whether one of the strides is 1, and the other one leads from line to line."""
    return (column_step == 1 and columns <= row_step < _LONGEST) or (
        row_step == 1 and rows <= column_step < _LONGEST
    )


_LONGEST = 1 << 31  # of BLAS libraries with short integers


def _by_blocks(product: _Product, size) -> _Way:
    """By generated code."""
    _, rows, depth, columns, strides, outer, inner, _ = product
    kernel, plan = _block_kernel(size)
    a_row, a_depth = strides[:2]
    if a_depth == 1:
        packs_a = columns >= _WIDE and depth >= _WIDE
    else:
        packs_a = a_row != 1 or a_depth > _WIDE
    slices = _SLICE if a_depth == 1 and not packs_a else _SHORT_SLICE
    cut, slice, scratch = plan(
        rows, depth, columns, outer * inner, packs_a, slices, strides[3] != 1
    )
    numbers = (*_numbers(product, cut), slice, int(packs_a), scratch)
    return _Way(kernel, cut.tasks, product.shape, cut.parts, numbers, scratch)


# Where packing A pays: contiguous rows in a product from this many columns and this depth on,
# contiguous columns further apart than this. Elsewhere it is read in place.
_WIDE = 512
# The depth for which B is packed at a time: C is gone over for each slice, but a panel should stay
# in the L1 cache, beside what is read of A.
_SLICE, _SHORT_SLICE = 512, 256


def _numbers(product: _Product, cut) -> tuple[int, ...]:
    """What both kernels of blocks are told behind the arrays and ReLU."""
    return (
        product.rows, product.columns, product.depth, *product.strides,
        product.inner, *product.steps,
        cut.block_rows, cut.block_columns, cut.part, cut.row_blocks, cut.column_blocks, cut.parts,
        math.prod(product.shape), cut.blocks, cut.together,
    )  # fmt: skip


# ---------------------------------------------------------------- a matrix and a vector
_VECTOR_TASK = 1 << 16  # elements of a matrix that are worth a task: 5 to 10 us
_VECTOR_TASKS = 32


def _by_vector(product: _Product, size) -> _Way | None:
    """Where A is one row or B one column; None for batches, and where the matrix has no contiguous
    rows."""
    if product.outer * product.inner > 1:
        return None
    a_row, a_depth, b_depth, b_column = product.strides
    is_column = product.columns == 1
    if is_column:  # A is the matrix
        length, x_step, along, across = product.rows, b_depth, a_depth, a_row
    else:
        length, x_step, along, across = product.columns, a_depth, b_depth, b_column
    if along == 1 == x_step:
        kernel, stride = _vector_kernel("dots", size), across
    elif across == 1:
        kernel, stride = _vector_kernel("sums", size), along
    else:
        return None
    block, part, parts, tasks = _vector_cut(length, product.depth)
    numbers = (length, product.depth, stride, x_step, block, part)
    return _Way(kernel, tasks, product.shape, parts, numbers, 0, True, is_column)


def _vector_cut(length, depth):
    """(elements of a block, depth of a part, parts, tasks): the depth is cut where the result is
    short."""
    tasks = max(1, min(length * depth // _VECTOR_TASK, _VECTOR_TASKS))
    parts = max(1, min(tasks * 64 // length, depth // 512))
    part = -(-depth // parts)
    parts = -(-depth // part)
    block = -(-length * parts // tasks // 64) * 64
    return block, part, parts, -(-length // block) * parts


# ---------------------------------------------------------------- the kernels
@cache
def _blas_kernel(size):
    """The kernel whose blocks are BLAS's, or None where none is known."""
    from danlu.kernels.runtime import blas, launch

    type = _type(size)
    integer = blas.integers(type)
    if integer is None:
        return None
    from danlu.kernels.generated import matmul_blas as writer

    key = ("matmul_blas", type.scalar, integer.scalar)
    return launch.kernel(key, lambda: writer.write(type, integer)).call


@cache
def _block_kernel(size):
    """The generated kernel for elements of this size, and what cuts products for it."""
    from danlu.kernels.codegen.target import host
    from danlu.kernels.generated import matmul as writer
    from danlu.kernels.generated import products
    from danlu.kernels.generated.matmul_plan import plan
    from danlu.kernels.runtime import launch

    type = _type(size)
    rows, vectors = host().block
    width = vectors * host().lanes(type)
    products.load(type)
    kernel = launch.kernel(("matmul", type.scalar), lambda: writer.write(type))
    return kernel.call, lambda *shape: plan(rows, width, size, *shape)


@cache
def _vector_kernel(name, size):
    from danlu.kernels.generated import matmul_vector as writer
    from danlu.kernels.runtime import launch

    type = _type(size)
    write = writer.write_dots if name == "dots" else writer.write_sums
    return launch.kernel((f"matmul_{name}", type.scalar), lambda: write(type)).call


def _type(size):
    from danlu.kernels.codegen.types import DOUBLE, FLOAT

    return FLOAT if size == 4 else DOUBLE


@cache
def _most_threads() -> int:
    from danlu.kernels.runtime import pool

    return pool.MAX_THREADS
