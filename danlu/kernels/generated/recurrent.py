"""The generated road of `danlu.kernels.recurrent`: float32, whole sequences, no projection.

What does not depend on the step before stays a matrix product over all rows; the steps of a layer
are one call.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from danlu.kernels.codegen import target as targets
from danlu.kernels.generated import recurrent_product, recurrent_steps
from danlu.kernels.generated.recurrent_cells import CELLS
from danlu.kernels.matmul import matmul
from danlu.kernels.runtime import launch

__all__ = ["gru", "gru_backward", "lstm", "lstm_backward", "rnn", "rnn_backward"]

# Samples of one task: 8 are 3 + 3 + 2 rows of the LSTM's tiles with 16 registers, 4 are 2 + 2.
# Weights beyond the L2 cache come from further away for every block, so that larger blocks pay
# where there are two of them.
_BLOCK, _SMALL_BLOCK, _LARGE_BLOCK, _LARGE_WEIGHTS = 8, 4, 16, 1 << 18
# multiplications that one thread does in about 50 us, and what a unit's nonlinearities count for
_SMALL, _UNIT = 2_000_000, 300


def _blocks(steps: int, batch: int, hidden: int, gates: int) -> tuple[int, int]:
    """How many tasks there are, and the samples of each, by the shape alone."""
    if steps * batch * hidden * (gates * hidden + _UNIT) < _SMALL:
        return 1, batch
    block = _BLOCK if batch >= 4 * _BLOCK else _SMALL_BLOCK
    if gates * hidden * hidden * 4 > _LARGE_WEIGHTS:
        block = max(block, min(_LARGE_BLOCK, batch // 2))
    return -(-batch // block), block


@lru_cache(maxsize=64)
def _table(batch_sizes: tuple, reverse: bool) -> np.ndarray:
    """The first row and the size of every step in the order of reading, then those of the step
    before it."""
    sizes = np.array(batch_sizes, dtype=np.int64)
    table = np.zeros((len(sizes), 4), dtype=np.int64)
    table[:, 1] = sizes
    np.cumsum(sizes[:-1], out=table[1:, 0])
    if reverse:
        table = table[::-1].copy()
    table[1:, 2:] = table[:-1, :2]
    return table


def _packed_gates(w_hh: np.ndarray, name: str, hidden: int) -> np.ndarray:
    """The weights as panels for h @ w_hh.T."""
    cell, target = CELLS[name], targets.host()
    width = cell.vectors * target.float_lanes
    panels = -(-hidden * cell.gates // width)
    kernel = launch.kernel(
        ("recurrent_pack_gates", cell.gates, cell.vectors),
        lambda: recurrent_product.write_pack_gates(cell.gates, cell.vectors, target),
    )
    packed = np.empty(panels * hidden * width, dtype=np.float32)
    kernel.call(panels, np.ascontiguousarray(w_hh), packed, hidden, hidden)
    return packed


def _packed_columns(w_hh: np.ndarray, hidden: int) -> tuple[np.ndarray, int]:
    """The weights as panels for g @ w_hh, and the width of all panels together."""
    target = targets.host()
    width = recurrent_steps.COLUMN_VECTORS * target.float_lanes
    panels = -(-hidden // width)
    kernel = launch.kernel(
        ("recurrent_pack_columns",),
        lambda: recurrent_product.write_pack_columns(recurrent_steps.COLUMN_VECTORS, target),
    )
    packed = np.empty(panels * len(w_hh) * width, dtype=np.float32)
    kernel.call(panels, np.ascontiguousarray(w_hh), packed, len(w_hh), hidden)
    return packed, panels * width


def _forward(name, gates, bias, w_hh, outputs, kept, h, c, batch_sizes, reverse) -> None:
    """All steps of a layer, in the arrays given; h and c go from the first to the last states."""
    cell = CELLS[name]
    batch, hidden = h.shape
    packed = _packed_gates(w_hh, name, hidden)
    steps = len(batch_sizes)
    tasks, block = _blocks(steps, batch, hidden, cell.gates)
    sums = np.empty(tasks * block * cell.vectors * targets.host().float_lanes, dtype=np.float32)
    kernel = launch.kernel(
        ("recurrent_forward", name),
        lambda: recurrent_steps.write_forward(name, targets.host()),
    )
    kernel.call(
        tasks, gates, bias, packed, outputs, kept, h, c, sums, _table(tuple(batch_sizes), reverse),
        steps, batch, hidden, block,
    )  # fmt: skip


def _backward(
    name, g_outputs, g_h, gates, kept, outputs, before, initial, w_hh, products, inputs, dc,
    batch_sizes, reverse,
):  # fmt: skip
    """Fill the gradients of the products of all steps.

    Returns:
        the gradient of the first h, and the sums of the gradients over all rows.
    """
    cell = CELLS[name]
    batch, hidden = batch_sizes[0], w_hh.shape[1]
    packed, padded = _packed_columns(w_hh, hidden)
    steps = len(batch_sizes)
    tasks, block = _blocks(steps, batch, hidden, cell.gates)
    sums = np.zeros((tasks, cell.biases * hidden), dtype=np.float32)
    dh = np.zeros((batch, padded), dtype=np.float32)
    if g_h is not None:
        dh[:, :hidden] = g_h
    if g_outputs is None:
        g_outputs, row = np.zeros(hidden, dtype=np.float32), 0
    else:
        if g_outputs.strides[1] != 4 or g_outputs.strides[0] % 4:
            g_outputs = np.ascontiguousarray(g_outputs)
        row = g_outputs.strides[0] // 4
    kernel = launch.kernel(
        ("recurrent_backward", name),
        lambda: recurrent_steps.write_backward(name, targets.host()),
    )
    kernel.call(
        tasks, g_outputs, row, gates, kept, outputs, before, initial, packed, products, inputs,
        sums, dh, dc, _table(tuple(batch_sizes), reverse), steps, batch, hidden, block,
    )  # fmt: skip
    dh = dh if padded == hidden else np.ascontiguousarray(dh[:, :hidden])
    return dh, sums.sum(axis=0) if tasks > 1 else sums[0]


def _state(array: np.ndarray) -> np.ndarray:
    """A copy to work in."""
    return np.array(array, order="C")


def _seed(gradient: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    return np.zeros_like(like, order="C") if gradient is None else _state(gradient)


def _bias(size: int, *biases: np.ndarray | None) -> np.ndarray:
    """The sum of the biases there are."""
    given = [each for each in biases if each is not None]
    total = given[0] if given else np.zeros(size, dtype=np.float32)
    for each in given[1:]:
        total = total + each
    return np.ascontiguousarray(total)


def _recurrent_weights_gradient(products, outputs, h0, batch_sizes, reverse) -> np.ndarray:
    """products.T @ (h before every row), without building the latter where lengths are equal."""
    batch, rows = batch_sizes[0], len(products)
    if batch_sizes[-1] != batch:
        from danlu.kernels.recurrent import previous

        return matmul(products.T, previous(outputs, h0, batch_sizes, reverse))
    first, later, earlier = slice(batch), slice(batch, rows), slice(rows - batch)
    if reverse:
        first, later, earlier = slice(rows - batch, rows), earlier, later
    gradient = matmul(products[first].T, h0)
    if rows > batch:
        gradient += matmul(products[later].T, outputs[earlier])
    return gradient


# ---------------------------------------------------------------------- the layers
def lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse):
    """As `danlu.kernels.recurrent.lstm`, without a projection."""
    hidden = c0.shape[1]
    gates = matmul(x, w_ih.T)
    outputs = np.empty((len(x), hidden), dtype=np.float32)
    cells = np.empty_like(outputs)
    h, c = _state(h0), _state(c0)
    bias = _bias(4 * hidden, b_ih, b_hh)
    _forward("lstm", gates, bias, w_hh, outputs, cells, h, c, batch_sizes, reverse)
    return outputs, h, c, gates, cells


def lstm_backward(
    grads, x, h0, c0, w_ih, w_hh, outputs, gates, cells, batch_sizes, reverse, needs_x
):  # fmt: skip
    """As `danlu.kernels.recurrent.lstm_backward`, without a projection."""
    g_outputs, g_h, g_c = grads
    products = np.empty_like(gates)
    dc = _seed(g_c, c0)
    dh, bias = _backward(
        "lstm", g_outputs, g_h, gates, cells, outputs, cells, np.ascontiguousarray(c0), w_hh,
        products, None, dc, batch_sizes, reverse,
    )  # fmt: skip
    recurrent = _recurrent_weights_gradient(products, outputs, h0, batch_sizes, reverse)
    dx = matmul(products, w_ih) if needs_x else None
    return dx, dh, dc, matmul(products.T, x), recurrent, bias, None


def gru(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse):
    """As `danlu.kernels.recurrent.gru`."""
    hidden = h0.shape[1]
    gates = matmul(x, w_ih.T)
    outputs = np.empty((len(x), hidden), dtype=np.float32)
    candidates = np.empty_like(outputs)
    h = _state(h0)
    bias = np.zeros(4 * hidden, dtype=np.float32)
    if b_ih is not None:
        bias[: 3 * hidden] = b_ih
    if b_hh is not None:
        bias[: 2 * hidden] += b_hh[: 2 * hidden]
        bias[3 * hidden :] = b_hh[2 * hidden :]
    _forward("gru", gates, bias, w_hh, outputs, candidates, h, None, batch_sizes, reverse)
    return outputs, h, gates, candidates


def gru_backward(
    grads, x, h0, w_ih, w_hh, outputs, gates, candidates, batch_sizes, reverse, needs_x
):  # fmt: skip
    """As `danlu.kernels.recurrent.gru_backward`."""
    g_outputs, g_h = grads
    hidden = h0.shape[1]
    products, inputs = np.empty_like(gates), np.empty_like(gates)
    dh, bias = _backward(
        "gru", g_outputs, g_h, gates, candidates, outputs, outputs, np.ascontiguousarray(h0), w_hh,
        products, inputs, None, batch_sizes, reverse,
    )  # fmt: skip
    recurrent = _recurrent_weights_gradient(products, outputs, h0, batch_sizes, reverse)
    dx = matmul(inputs, w_ih) if needs_x else None
    of_products = np.concatenate((bias[: 2 * hidden], bias[3 * hidden :]))
    return dx, dh, matmul(inputs.T, x), recurrent, bias[: 3 * hidden], of_products


def rnn(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, relu):
    """As `danlu.kernels.recurrent.rnn`."""
    outputs = matmul(x, w_ih.T)
    h = _state(h0)
    bias = _bias(outputs.shape[1], b_ih, b_hh)
    name = "rnn_relu" if relu else "rnn_tanh"
    _forward(name, outputs, bias, w_hh, outputs, None, h, None, batch_sizes, reverse)
    return outputs, h


def rnn_backward(grads, x, h0, w_ih, w_hh, outputs, batch_sizes, reverse, relu, needs_x):
    """As `danlu.kernels.recurrent.rnn_backward`."""
    g_outputs, g_h = grads
    products = np.empty_like(outputs)
    name = "rnn_relu" if relu else "rnn_tanh"
    dh, bias = _backward(
        name, g_outputs, g_h, None, None, outputs, None, None, w_hh, products, None, None,
        batch_sizes, reverse,
    )  # fmt: skip
    recurrent = _recurrent_weights_gradient(products, outputs, h0, batch_sizes, reverse)
    dx = matmul(products, w_ih) if needs_x else None
    return dx, dh, matmul(products.T, x), recurrent, bias
