"""Rows of a table by index, and their transpose: the sum of rows by index.

Indices are integers that are known to name rows.
"""

from __future__ import annotations

import numpy as np

from danlu.kernels.graph.library import node
from danlu.kernels.runtime import road

__all__ = ["gather_rows", "sum_rows"]

_FLOAT32 = np.dtype("float32")
# Bytes from which machine code pays: one thread of it copies as fast as NumPy, two faster.
_LEAST_GATHERED = 1 << 20
# NumPy sorts the indices: 20 us for any number of them, where machine code takes 5.
_LEAST_SUMMED = 256


@node(like=lambda table, indices: ((*indices.shape, *table.shape[1:]), table.dtype))
def gather_rows(table, indices):
    """`table[indices]`, rows of any shape."""
    if (
        table.__class__ is np.ndarray
        and indices.__class__ is np.ndarray
        and table.size
        and indices.size
        and road.worth(indices.size * (table.nbytes // len(table)), _LEAST_GATHERED)
        and table.flags.c_contiguous
        and table.nbytes // len(table) % 4 == 0  # one row may have any stride
        and indices.dtype.char in "ilq"
    ):
        from danlu.kernels.generated import embedding

        return embedding.gather_rows(table, indices)
    return table.take(indices, axis=0)


def _like_table(values, indices, rows):
    return (rows, *values.shape[len(indices.shape) :]), values.dtype


@node(like=_like_table)
def sum_rows(values, indices, rows):
    """A table of `rows` rows, each the sum of the `values` whose index names it, in their order."""
    if (
        values.__class__ is np.ndarray
        and indices.__class__ is np.ndarray
        and road.worth(values.size, _LEAST_SUMMED)
        and values.dtype == _FLOAT32
        and values.size
        and indices.dtype.char in "ilq"
    ):
        from danlu.kernels.generated import embedding

        return embedding.sum_rows(values, indices, rows)
    xp = values.__array_namespace__()
    shape = values.shape[indices.ndim :]
    flat = indices.reshape(-1)
    table = xp.zeros((rows, *shape), dtype=values.dtype)
    if flat.size:
        # sorted, every row's values lie side by side: one pass adds them up
        order = flat.argsort(kind="stable")
        ordered = flat[order]
        changes = ordered[1:] != ordered[:-1]
        starts = xp.concat((xp.zeros(1, dtype="int64"), xp.flatnonzero(changes) + 1))
        sums = xp.add.reduceat(values.reshape(flat.size, *shape)[order], starts, axis=0)
        table[ordered[starts]] = sums
    return table
