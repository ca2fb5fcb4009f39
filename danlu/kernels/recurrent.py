"""Recurrent layers over whole sequences, one direction at a time, and backpropagation through time.

A sequence batch is packed: the rows of all steps stand one under the other, and step t owns
`batch_sizes[t]` of them, in an order of samples that ends earlier ones last. Equal lengths are the
case of equal sizes. All that does not depend on the step before (the inputs' products, the weights'
gradients, the factors of the chain rule) is computed for all rows at once.

The functions are the NumPy text; in float32, without a projection and unless the rows are few and
the weights many, the steps are one call of generated code (`danlu.kernels.generated.recurrent`).

Legend: R rows, B samples, I inputs, H hidden units, S state sent to the next step (H, or the
projection's size).
"""

from __future__ import annotations

import numpy as np

from danlu.kernels.graph.library import node
from danlu.kernels.runtime import road

# weights of h that each row of all steps must share for packing them to pay
_PACKED_PER_ROW = 1 << 15
_float32 = np.dtype(np.float32)


def _generated(x, w_hh, *arrays):
    """The module of generated code where these arrays go there, or None."""
    rows = len(x)
    if not road.worth(rows, max(1, w_hh.size // _PACKED_PER_ROW)) or rows == 0:
        return None
    for array in (x, w_hh, *arrays):
        if array is not None and (type(array) is not np.ndarray or array.dtype != _float32):
            return None
    from danlu.kernels.generated import recurrent

    return recurrent


def _spans(batch_sizes, reverse):
    """(start, stop, batch size) of every step's rows, in the order in which the layer reads
    them."""
    spans, start = [], 0
    for size in batch_sizes:
        spans.append((start, start + size, size))
        start += size
    return spans[::-1] if reverse else spans


def previous(rows, initial, batch_sizes, reverse):
    """For every row, the row of the same sample one step before; `initial` where there is none."""
    xp = rows.__array_namespace__()
    batch = batch_sizes[0]
    if batch_sizes[-1] == batch:
        if reverse:
            return xp.concat((rows[batch:], initial))
        return xp.concat((initial, rows[:-batch]))
    result = xp.empty_like(rows)
    state = initial.copy()
    for start, stop, size in _spans(batch_sizes, reverse):
        result[start:stop] = state[:size]
        state[:size] = rows[start:stop]
    return result


def _inputs_part(x, weight, *biases):
    product = x @ weight.T
    for bias in biases:
        if bias is not None:
            product += bias
    return product


def _seeded(gradient, like):
    """The gradient of a final state, in memory of its own; zeros where it got none."""
    xp = like.__array_namespace__()
    return xp.zeros_like(like) if gradient is None else gradient.copy()


def _like_lstm(x, h0, c0, *others):
    rows, hidden, kind = x.shape[0], c0.shape[1], x.dtype
    return [((rows, h0.shape[1]), kind), (h0.shape, kind), (c0.shape, kind),
            ((rows, 4 * hidden), kind), ((rows, hidden), kind)]  # fmt: skip


@node(like=_like_lstm)
def lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, reverse):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates), gates in the
    order i, f, g, o.

    ``c' = f*c + i*g``, ``h' = o*tanh(c')``, projected by `w_hr` if there is one (Sak et al. 2014).

    Returns:
        outputs (R, S), the last h (B, S) and c (B, H), and for the gradient the gates (R, 4H) and
        cells (R, H).
    """
    if w_hr is None and (generated := _generated(x, w_hh, h0, c0, w_ih, b_ih, b_hh)):
        return generated.lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse)
    xp = x.__array_namespace__()
    hidden = c0.shape[1]
    gates = _inputs_part(x, w_ih, b_ih, b_hh)
    # sigmoid(z) = tanh(z/2)/2 + 1/2, so one tanh serves all four gates
    scale = xp.full(4 * hidden, 0.5, dtype=gates.dtype)
    scale[2 * hidden : 3 * hidden] = 1
    shift = 1 - scale
    gates *= scale
    recurrent = (w_hh * scale[:, None]).T
    outputs = xp.empty((len(x), h0.shape[1]), dtype=gates.dtype)
    cells = xp.empty((len(x), hidden), dtype=gates.dtype)
    h, c = h0.copy(), c0.copy()
    for start, stop, size in _spans(batch_sizes, reverse):
        gate = gates[start:stop]
        gate += h[:size] @ recurrent
        xp.tanh(gate, out=gate)
        gate *= scale
        gate += shift
        cell = cells[start:stop]
        xp.multiply(gate[:, hidden : 2 * hidden], c[:size], out=cell)
        cell += gate[:, :hidden] * gate[:, 2 * hidden : 3 * hidden]
        output = gate[:, 3 * hidden :] * xp.tanh(cell)
        if w_hr is not None:
            output = output @ w_hr.T
        outputs[start:stop] = h[:size] = output
        c[:size] = cell
    return outputs, h, c, gates, cells


def _like_gradients(arrays, needs_x):
    made: list[tuple | None] = [(each.shape, each.dtype) for each in arrays]
    return made if needs_x else [None, *made[1:]]


def _like_lstm_operands(
    grads, x, h0, c0, w_ih, w_hh, w_hr, outputs, gates, cells, batch_sizes, reverse, needs_x=True
):  # fmt: skip
    made = _like_gradients((x, h0, c0, w_ih, w_hh), needs_x)
    bias = (w_ih.shape[:1], x.dtype)
    return [*made, bias, None if w_hr is None else (w_hr.shape, x.dtype)]


@node(like=_like_lstm_operands, at=1)
def lstm_backward(
    grads, x, h0, c0, w_ih, w_hh, w_hr, outputs, gates, cells, batch_sizes, reverse, needs_x=True
):  # fmt: skip
    """Gradients of `lstm` with respect to x, h0, c0, w_ih, w_hh, a bias and w_hr.

    grads: the gradients of outputs, last h and last c; None for those that got none.
    needs_x: False leaves out the gradient of x, for None.
    """
    arrays = (h0, c0, w_ih, outputs, gates, cells)
    if w_hr is None and (generated := _generated(x, w_hh, *arrays, *grads)):
        return generated.lstm_backward(
            grads, x, h0, c0, w_ih, w_hh, outputs, gates, cells, batch_sizes, reverse, needs_x
        )
    xp = x.__array_namespace__()
    hidden = c0.shape[1]
    g_outputs, g_h, g_c = grads
    before = previous(cells, c0, batch_sizes, reverse)
    i, f, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
    squashed = xp.tanh(cells)
    # each gate's share: its partner in the product, times the slope of its own nonlinearity
    shares = xp.empty((len(x), 4, hidden), dtype=gates.dtype)
    xp.multiply(g, i - i * i, out=shares[:, 0])
    xp.multiply(before, f - f * f, out=shares[:, 1])
    xp.multiply(i, 1 - g * g, out=shares[:, 2])
    xp.multiply(squashed, o - o * o, out=shares[:, 3])
    to_cell = o * (1 - squashed * squashed)
    g_gates = xp.empty((len(x), 4, hidden), dtype=gates.dtype)
    rows = g_gates.reshape(len(x), 4 * hidden)
    sent = xp.empty((len(x), h0.shape[1]), dtype=gates.dtype) if w_hr is not None else None
    dh, dc = _seeded(g_h, h0), _seeded(g_c, c0)
    for start, stop, size in reversed(_spans(batch_sizes, reverse)):
        d = dh[:size]
        if g_outputs is not None:
            d += g_outputs[start:stop]
        if w_hr is not None:
            sent[start:stop] = d
            d = d @ w_hr
        d_cell = dc[:size]
        d_cell += d * to_cell[start:stop]
        xp.multiply(d_cell[:, None], shares[start:stop, :3], out=g_gates[start:stop, :3])
        xp.multiply(d, shares[start:stop, 3], out=g_gates[start:stop, 3])
        dh[:size] = rows[start:stop] @ w_hh
        d_cell *= f[start:stop]
    w_hr_gradient = sent.T @ (o * squashed) if w_hr is not None else None
    recurrent = rows.T @ previous(outputs, h0, batch_sizes, reverse)
    dx = rows @ w_ih if needs_x else None
    return dx, dh, dc, rows.T @ x, recurrent, rows.sum(axis=0), w_hr_gradient


def _like_gru(x, h0, *others):
    rows, hidden, kind = x.shape[0], h0.shape[1], x.dtype
    return [((rows, hidden), kind), (h0.shape, kind), ((rows, 3 * hidden), kind),
            ((rows, hidden), kind)]  # fmt: skip


@node(like=_like_gru)
def gru(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse):
    """Gated recurrent units (Cho et al. 2014), gates in the order r, z, n.

    ``n = tanh(Wx + b + r*(Uh + d))``, ``h' = (1 - z)*n + z*h``: the reset gate is applied after the
    product.

    Returns:
        outputs (R, H), the last h (B, H), and for the gradient the gates (R, 3H) and the products
        Uh + d of n (R, H).
    """
    if generated := _generated(x, w_hh, h0, w_ih, b_ih, b_hh):
        return generated.gru(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse)
    xp = x.__array_namespace__()
    hidden = h0.shape[1]
    gates = _inputs_part(x, w_ih, b_ih)
    outputs = xp.empty((len(x), hidden), dtype=gates.dtype)
    candidates = xp.empty_like(outputs)
    recurrent = w_hh.T
    h = h0.copy()
    for start, stop, size in _spans(batch_sizes, reverse):
        state = h[:size]
        product = state @ recurrent
        if b_hh is not None:
            product += b_hh
        switches = gates[start:stop, : 2 * hidden]
        switches += product[:, : 2 * hidden]
        switches *= 0.5
        xp.tanh(switches, out=switches)
        switches *= 0.5
        switches += 0.5
        candidate = gates[start:stop, 2 * hidden :]
        candidates[start:stop] = product[:, 2 * hidden :]
        candidate += switches[:, :hidden] * product[:, 2 * hidden :]
        xp.tanh(candidate, out=candidate)
        state -= candidate
        state *= switches[:, hidden:]
        state += candidate
        outputs[start:stop] = state
    return outputs, h, gates, candidates


def _like_gru_operands(
    grads, x, h0, w_ih, w_hh, outputs, gates, candidates, batch_sizes, reverse, needs_x=True
):  # fmt: skip
    bias = (w_ih.shape[:1], x.dtype)
    return [*_like_gradients((x, h0, w_ih, w_hh), needs_x), bias, bias]


@node(like=_like_gru_operands, at=1)
def gru_backward(
    grads, x, h0, w_ih, w_hh, outputs, gates, candidates, batch_sizes, reverse, needs_x=True
):  # fmt: skip
    """Gradients of `gru` with respect to x, h0, w_ih, w_hh, b_ih and b_hh.

    grads: the gradients of outputs and last h; None for those that got none.
    needs_x: False leaves out the gradient of x, for None.
    """
    if generated := _generated(x, w_hh, h0, w_ih, outputs, gates, candidates, *grads):
        return generated.gru_backward(
            grads, x, h0, w_ih, w_hh, outputs, gates, candidates, batch_sizes, reverse, needs_x
        )
    xp = x.__array_namespace__()
    hidden = h0.shape[1]
    g_outputs, g_h = grads
    before = previous(outputs, h0, batch_sizes, reverse)
    r, z, n = (gates[:, k * hidden : (k + 1) * hidden] for k in range(3))
    to_z = (before - n) * (z - z * z)
    to_n = (1 - z) * (1 - n * n)
    to_r = to_n * candidates * (r - r * r)
    shares = xp.stack((to_r, to_z, to_n * r), axis=1)  # of the products with h
    g_products = xp.empty((len(x), 3, hidden), dtype=gates.dtype)
    rows = g_products.reshape(len(x), 3 * hidden)
    totals = xp.empty((len(x), hidden), dtype=gates.dtype)
    dh = _seeded(g_h, h0)
    for start, stop, size in reversed(_spans(batch_sizes, reverse)):
        d = dh[:size]
        if g_outputs is not None:
            d += g_outputs[start:stop]
        totals[start:stop] = d
        xp.multiply(d[:, None], shares[start:stop], out=g_products[start:stop])
        d *= z[start:stop]
        d += rows[start:stop] @ w_hh
    g_inputs = rows.copy()
    xp.multiply(totals, to_n, out=g_inputs[:, 2 * hidden :])
    return (
        g_inputs @ w_ih if needs_x else None,
        dh,
        g_inputs.T @ x,
        rows.T @ before,
        g_inputs.sum(axis=0),
        rows.sum(axis=0),
    )


@node(like=lambda x, h0, *others: [((x.shape[0], h0.shape[1]), x.dtype), (h0.shape, x.dtype)])
def rnn(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, relu):
    """Elman's network (1990): ``h' = tanh(Wx + b + Uh + d)``, or relu in place of tanh.

    Returns:
        outputs (R, H) and the last h (B, H).
    """
    if generated := _generated(x, w_hh, h0, w_ih, b_ih, b_hh):
        return generated.rnn(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, relu)
    xp = x.__array_namespace__()
    outputs = _inputs_part(x, w_ih, b_ih, b_hh)
    recurrent = w_hh.T
    h = h0.copy()
    for start, stop, size in _spans(batch_sizes, reverse):
        output = outputs[start:stop]
        output += h[:size] @ recurrent
        if relu:
            xp.maximum(output, 0, out=output)
        else:
            xp.tanh(output, out=output)
        h[:size] = output
    return outputs, h


def _like_rnn_operands(
    grads, x, h0, w_ih, w_hh, outputs, batch_sizes, reverse, relu, needs_x=True
):  # fmt: skip
    made = _like_gradients((x, h0, w_ih, w_hh), needs_x)
    return [*made, (w_ih.shape[:1], x.dtype)]


@node(like=_like_rnn_operands, at=1)
def rnn_backward(
    grads, x, h0, w_ih, w_hh, outputs, batch_sizes, reverse, relu, needs_x=True
):  # fmt: skip
    """Gradients of `rnn` with respect to x, h0, w_ih, w_hh and a bias.

    grads: the gradients of outputs and last h; None for those that got none.
    needs_x: False leaves out the gradient of x, for None.
    """
    if generated := _generated(x, w_hh, h0, w_ih, outputs, *grads):
        return generated.rnn_backward(
            grads, x, h0, w_ih, w_hh, outputs, batch_sizes, reverse, relu, needs_x
        )
    xp = x.__array_namespace__()
    g_outputs, g_h = grads
    slopes = (outputs > 0).astype(outputs.dtype) if relu else 1 - outputs * outputs
    rows = xp.empty_like(outputs)
    dh = _seeded(g_h, h0)
    for start, stop, size in reversed(_spans(batch_sizes, reverse)):
        d = dh[:size]
        if g_outputs is not None:
            d += g_outputs[start:stop]
        xp.multiply(d, slopes[start:stop], out=rows[start:stop])
        dh[:size] = rows[start:stop] @ w_hh
    recurrent = rows.T @ previous(outputs, h0, batch_sizes, reverse)
    dx = rows @ w_ih if needs_x else None
    return dx, dh, rows.T @ x, recurrent, rows.sum(axis=0)
