"""Table look-up and its transpose, the sum of rows by index."""

from __future__ import annotations

from danlu.kernels import embedding as kernels
from danlu.ops.checks import scalar_type
from danlu.ops.registry import Array, ns, operator


def check_indices(indices, rows, what="embedding"):
    """Refuse indices that are no integers or name no row of a table of `rows` rows.

    Raises:
        RuntimeError: neither int64 nor int32.
        IndexError: negative, or `rows` and above.
    """
    if indices.dtype.kind != "i" or indices.dtype.itemsize < 4:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got torch.{scalar_type(indices)}Tensor instead (while checking "
            f"arguments for {what}): write indices.long()"
        )
    # negative indices are huge as unsigned numbers: one reduction finds both ends
    unsigned = indices.view(f"u{indices.dtype.itemsize}")
    if unsigned.size and int(unsigned.max()) >= rows:
        xp = ns(indices)
        wrong = (indices < 0) | (indices >= rows)
        position = tuple(int(each[0]) for each in xp.nonzero(xp.atleast_1d(wrong)))
        value = int(xp.atleast_1d(indices)[position])
        raise IndexError(
            f"index out of range in self: index {value} at position "
            f"{position[0] if len(position) == 1 else position} of the input, but the table has "
            f"{rows} rows (0 to {rows - 1})"
        )


@operator(method=False, name="Embedding")
def embedding_rows(weight: Array, indices: Array, padding_idx, scale_grad_by_freq):
    """weight[indices]; the row `padding_idx` (-1 for none) learns nothing."""
    check_indices(indices, weight.shape[0])
    return kernels.gather_rows(weight, indices)


@embedding_rows.vjp
def _(g, weight_shape, indices, padding_idx, scale_grad_by_freq):
    rows = weight_shape[0]
    return sum_rows.on(g, indices, rows, padding_idx, scale_grad_by_freq), None


@operator(method=False, name="EmbeddingDense")
def sum_rows(values: Array, indices: Array, rows, padding_idx, scale_grad_by_freq):
    """A table of `rows` rows, each the sum (or the mean) of the values whose index names it."""
    table = kernels.sum_rows(values, indices, rows)
    if scale_grad_by_freq:
        xp = ns(values)
        counts = xp.maximum(xp.bincount(indices.reshape(-1), minlength=rows), 1)
        table /= counts.astype(table.dtype).reshape((-1,) + (1,) * (table.ndim - 1))
    if padding_idx >= 0:
        table[padding_idx] = 0
    return table


@sum_rows.vjp
def _(g, indices, padding_idx, scale_grad_by_freq):
    return transposed_sum_rows.on(g, indices, padding_idx, scale_grad_by_freq), None


@operator(method=False)
def transposed_sum_rows(table: Array, indices: Array, padding_idx, scale_grad_by_freq):
    """The transpose of `sum_rows`: each index's row, divided by its frequency, zero at
    `padding_idx`."""
    xp = ns(table)
    values = kernels.gather_rows(table, indices)
    extra = (1,) * (table.ndim - 1)
    if scale_grad_by_freq:
        counts = xp.bincount(indices.reshape(-1), minlength=table.shape[0])[indices]
        values = values / counts.astype(table.dtype).reshape(indices.shape + extra)
    if padding_idx >= 0:
        values = xp.where((indices == padding_idx).reshape(indices.shape + extra), 0, values)
    return values


@transposed_sum_rows.vjp
def _(g, table_shape, indices, padding_idx, scale_grad_by_freq):
    return sum_rows.on(g, indices, table_shape[0], padding_idx, scale_grad_by_freq), None
