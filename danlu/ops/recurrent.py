"""Recurrent layers: one operator per layer and direction, the stacks made of them, and the cells.

Backpropagation through time is written by hand for arrays. Where the gradient itself is to be
differentiated
(`create_graph=True`), the layer is written out step by step in ordinary operators and
differentiated as such.

Legend: T steps, B samples, R rows of all steps, L layers, D directions, H hidden units, S state
sent on."""

from __future__ import annotations

from danlu.kernels import recurrent as kernels
from danlu.ops.dropout import dropped
from danlu.ops.joining import cat, stack
from danlu.ops.registry import Array, operator
from danlu.tensor import Tensor

__all__ = [
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
]


# ------------------------------------------------------------------------------ one layer, one
# direction
@operator(method=False, name="LstmLayer")
def lstm_layer(
    input: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None,
    b_hh: Array | None, w_hr: Array | None, batch_sizes, reverse,
):  # fmt: skip
    """Outputs, last h and last c of an LSTM layer; then gates and cells, for the gradient."""
    return kernels.lstm(input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, reverse)


@lstm_layer.vjp
def _(needs, g, out, input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, reverse):
    if isinstance(input, Tensor):
        tensors = (input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr)
        return _written_out(_lstm_steps, needs, g[:3], tensors, batch_sizes, reverse)
    outputs, _, _, gates, cells = out
    *grads, bias, w_hr_grad = kernels.lstm_backward(
        g[:3], input, h0, c0, w_ih, w_hh, w_hr, outputs, gates, cells, batch_sizes, reverse,
        needs[0],
    )  # fmt: skip
    return (*grads, *_of_both(bias, needs[5:7]), w_hr_grad)


@operator(method=False, name="GruLayer")
def gru_layer(
    input: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None,
    batch_sizes, reverse,
):  # fmt: skip
    """Outputs and last h of a GRU layer; then gates and candidates, for the gradient."""
    return kernels.gru(input, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse)


@gru_layer.vjp
def _(needs, g, out, input, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse):
    if isinstance(input, Tensor):
        tensors = (input, h0, w_ih, w_hh, b_ih, b_hh)
        return _written_out(_gru_steps, needs, g[:2], tensors, batch_sizes, reverse)
    outputs, _, gates, candidates = out
    *grads, g_b_ih, g_b_hh = kernels.gru_backward(
        g[:2], input, h0, w_ih, w_hh, outputs, gates, candidates, batch_sizes, reverse, needs[0]
    )
    return (*grads, g_b_ih if needs[4] else None, g_b_hh if needs[5] else None)


@operator(method=False, name="RnnLayer")
def rnn_layer(
    input: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None,
    batch_sizes, reverse, relu,
):  # fmt: skip
    """Outputs and last h of an Elman layer."""
    return kernels.rnn(input, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, relu)


@rnn_layer.vjp
def _(needs, g, out, input, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, relu):
    if isinstance(input, Tensor):
        tensors = (input, h0, w_ih, w_hh, b_ih, b_hh)
        return _written_out(_rnn_steps, needs, g, tensors, batch_sizes, reverse, relu)
    *grads, bias = kernels.rnn_backward(
        g, input, h0, w_ih, w_hh, out[0], batch_sizes, reverse, relu, needs[0]
    )
    return (*grads, *_of_both(bias, needs[4:6]))


def _of_both(gradient, needs):
    """The gradient that both biases have, each in memory of its own: the engine adds to it where
    the layer is used again."""
    first, second = needs
    return gradient if first else None, gradient.copy() if second else None


# ------------------------------------------------------------------------------ written out
def _written_out(steps, needs, g, tensors, batch_sizes, reverse, *settings):
    """Gradients that can be differentiated again, from the layer in ordinary operators.

    The layer is computed from copies of its inputs, so that a gradient is that of this use alone,
    also
    where one input is a function of another.
    """
    from danlu.autograd import grad

    copies = [t.clone() if need else t for t, need in zip(tensors, needs)]
    results = steps(*copies, batch_sizes, reverse, *settings)
    used = [(result, each) for result, each in zip(results, g) if each is not None]
    found = grad(
        [result for result, _ in used],
        [each for each, need in zip(copies, needs) if need],
        [each for _, each in used],
        create_graph=True,
        allow_unused=True,
    )
    found = iter(found)
    return tuple([next(found) if need else None for need in needs])


def _run_steps(cell, projected, states, batch_sizes, reverse):
    """`cell` over the rows of each step; the outputs as rows, and the last states."""
    starts, start = [], 0
    for size in batch_sizes:
        starts.append(start)
        start += size
    order = range(len(batch_sizes))
    outputs: list = [None] * len(batch_sizes)
    for t in reversed(order) if reverse else order:
        size = batch_sizes[t]
        new = cell(projected[starts[t] : starts[t] + size], *[each[:size] for each in states])
        outputs[t] = new[0]
        states = [
            each if size == len(old) else cat((each, old[size:])) for each, old in zip(new, states)
        ]
    return (cat(outputs), *states)


def _affine(x, weight, *biases):
    product = x @ weight.T
    for bias in biases:
        if bias is not None:
            product = product + bias
    return product


def _lstm_steps(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, reverse):
    def cell(row, h, c):
        i, f, g, o = (row + h @ w_hh.T).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h if w_hr is None else h @ w_hr.T), c

    return _run_steps(cell, _affine(x, w_ih, b_ih, b_hh), (h0, c0), batch_sizes, reverse)


def _gru_steps(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse):
    def cell(row, h):
        r, z, n = row.chunk(3, 1)
        product_r, product_z, product_n = _affine(h, w_hh, b_hh).chunk(3, 1)
        z = (z + product_z).sigmoid()
        n = (n + (r + product_r).sigmoid() * product_n).tanh()
        return (n + z * (h - n),)

    return _run_steps(cell, _affine(x, w_ih, b_ih), (h0,), batch_sizes, reverse)


def _rnn_steps(x, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, relu):
    def cell(row, h):
        new = row + h @ w_hh.T
        return (new.relu() if relu else new.tanh(),)

    return _run_steps(cell, _affine(x, w_ih, b_ih, b_hh), (h0,), batch_sizes, reverse)


# ------------------------------------------------------------------------------ kinds of layers
def _lstm_direction(x, states, weights, batch_sizes, reverse):
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    return lstm_layer(x, *states, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, reverse)[:3]


def _gru_direction(x, states, weights, batch_sizes, reverse):
    return gru_layer(x, *states, *weights[:4], batch_sizes, reverse)[:2]


def _tanh_direction(x, states, weights, batch_sizes, reverse):
    return rnn_layer(x, *states, *weights[:4], batch_sizes, reverse, False)


def _relu_direction(x, states, weights, batch_sizes, reverse):
    return rnn_layer(x, *states, *weights[:4], batch_sizes, reverse, True)


def _weight_sets(params, has_biases, projected):
    """The flat list of parameters as (w_ih, w_hh, b_ih, b_hh, w_hr) of each layer and direction."""
    size = 2 + 2 * bool(has_biases) + bool(projected)
    sets = []
    for start in range(0, len(params), size):
        part = list(params[start : start + size])
        biases = part[2:4] if has_biases else [None, None]
        sets.append((part[0], part[1], *biases, part[-1] if projected else None))
    return sets


def _stacked(direction, rows, batch_sizes, states, weights, dropout, train, bidirectional):
    """All layers over packed rows: the last layer's rows, and the last states of all layers."""
    directions = 1 + bool(bidirectional)
    finals = []
    for first in range(0, len(weights), directions):
        results = [
            direction(rows, [each[k] for each in states], weights[k], batch_sizes, k > first)
            for k in range(first, first + directions)
        ]
        rows = results[0][0] if directions == 1 else cat([each[0] for each in results], 1)
        finals += [each[1:] for each in results]
        if dropout and train and first + directions < len(weights):
            rows = dropped(rows, dropout)
    return rows, [stack(each) for each in zip(*finals)]


def _recurrent(direction, input, *args, name):
    """A stack over a padded batch (input, hx, params, ..., batch_first) or packed rows (data,
    batch_sizes, ...)."""
    packed = isinstance(args[2], (tuple, list))  # params; a padded call has them one place earlier
    if packed:
        batch_sizes, hx, params, has_biases, layers, dropout, train, bidirectional = args
        batch_first = False
    else:
        hx, params, has_biases, layers, dropout, train, bidirectional, batch_first = args
    states = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
    if input._array.dtype.itemsize == 2:
        return _in_float32(direction, input, args, packed, name)
    projected = name == "lstm" and states[0].shape[-1] != states[1].shape[-1]
    weights = _weight_sets(params, has_biases, projected)
    if len(weights) != layers * (1 + bool(bidirectional)):
        raise RuntimeError(
            f"{name}: expected parameters for {layers} layers"
            f"{' in two directions' if bidirectional else ''}, but got {len(weights)} sets"
        )
    if packed:
        sizes = tuple(batch_sizes.tolist())
        rows, finals = _stacked(
            direction, input, sizes, states, weights, dropout, train, bidirectional
        )
        return rows, *finals
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.shape[:2]
    if steps == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    rows = input.reshape(steps * batch, input.shape[2])
    rows, finals = _stacked(
        direction, rows, (batch,) * steps, states, weights, dropout, train, bidirectional
    )
    output = rows.reshape(steps, batch, rows.shape[1])
    return output.transpose(0, 1) if batch_first else output, *finals


def _in_float32(direction, input, args, packed, name):
    """16-bit floats are computed in float32."""
    kind = input.dtype

    def wide(value):
        if isinstance(value, (tuple, list)):
            return [wide(each) for each in value]
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    results = _recurrent(direction, input.float(), *[wide(each) for each in args], name=name)
    return tuple([each.to(kind) for each in results])


def lstm(input, *args):
    """Long short-term memory over sequences, as `nn.LSTM` calls it.

    Args:
        input: (T, B, I), followed by (h0, c0), params, has_biases, num_layers, dropout, train,
            bidirectional, batch_first; or packed rows (R, I), followed by batch_sizes and the same
            without batch_first.

    Returns:
        outputs, last h (L*D, B, S) and last c (L*D, B, H).

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.LSTM(2, 3)
        >>> x, zeros = torch.zeros(4, 1, 2), torch.zeros(1, 1, 3)
        >>> weights = list(layer.parameters())
        >>> out, h, c = torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, True, False, False)
        >>> out.shape
        torch.Size([4, 1, 3])
    """
    return _recurrent(_lstm_direction, input, *args, name="lstm")


def gru(input, *args):
    """Gated recurrent units over sequences, as `nn.GRU` calls it; the arguments are those of
    `lstm`, with one state.

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.GRU(2, 3)
        >>> x, zeros = torch.zeros(4, 1, 2), torch.zeros(1, 1, 3)
        >>> torch.gru(x, zeros, list(layer.parameters()), True, 1, 0.0, True, False, False)[0].shape
        torch.Size([4, 1, 3])
    """
    return _recurrent(_gru_direction, input, *args, name="gru")


def rnn_tanh(input, *args):
    """Elman's network with tanh over sequences, as `nn.RNN` calls it; the arguments are those of
    `gru`."""
    return _recurrent(_tanh_direction, input, *args, name="rnn_tanh")


def rnn_relu(input, *args):
    """Elman's network with relu over sequences, as `nn.RNN` calls it; the arguments are those of
    `gru`."""
    return _recurrent(_relu_direction, input, *args, name="rnn_relu")


# ------------------------------------------------------------------------------ cells
def _check_cell(input, states, w_ih, w_hh, gates):
    hidden = w_hh.shape[1]
    if input.shape[-1] != w_ih.shape[1]:
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.shape[-1]} expected {w_ih.shape[1]}"
        )
    for number, each in enumerate(states):
        if input.shape[0] != each.shape[0]:
            raise RuntimeError(
                f"Input batch size {input.shape[0]} doesn't match hidden{number} batch size "
                f"{each.shape[0]}"
            )
        if each.shape[1] != hidden:
            raise RuntimeError(
                f"hidden{number} has inconsistent hidden_size: got {each.shape[1]}, expected "
                f"{hidden}"
            )
    if w_ih.shape[0] != gates * hidden or w_hh.shape[0] != gates * hidden:
        raise RuntimeError(
            f"expected weights of {gates}*{hidden} rows, but got {w_ih.shape[0]} and "
            f"{w_hh.shape[0]}"
        )


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM: the new (h, c).

    Example:
        >>> import danlu as torch
        >>> x, h = torch.zeros(1, 2), torch.zeros(1, 3)
        >>> torch.lstm_cell(x, (h, h), torch.ones(12, 2), torch.ones(12, 3))[0]
        tensor([[0., 0., 0.]])
    """
    _check_cell(input, hx, w_ih, w_hh, 4)
    sizes = (input.shape[0],)
    return lstm_layer(input, *hx, w_ih, w_hh, b_ih, b_hh, None, sizes, False)[1:3]


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a GRU: the new h.

    Example:
        >>> import danlu as torch
        >>> torch.gru_cell(torch.zeros(1, 2), torch.ones(1, 3), torch.ones(9, 2), torch.zeros(9, 3))
        tensor([[0.5000, 0.5000, 0.5000]])
    """
    _check_cell(input, (hx,), w_ih, w_hh, 3)
    return gru_layer(input, hx, w_ih, w_hh, b_ih, b_hh, (input.shape[0],), False)[1]


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of Elman's network with tanh: the new h."""
    _check_cell(input, (hx,), w_ih, w_hh, 1)
    return rnn_layer(input, hx, w_ih, w_hh, b_ih, b_hh, (input.shape[0],), False, False)[1]


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of Elman's network with relu: the new h.

    Example:
        >>> import danlu as torch
        >>> x, h = torch.ones(1, 2), torch.zeros(1, 1)
        >>> torch.rnn_relu_cell(x, h, torch.ones(1, 2), torch.ones(1, 1))
        tensor([[2.]])
    """
    _check_cell(input, (hx,), w_ih, w_hh, 1)
    return rnn_layer(input, hx, w_ih, w_hh, b_ih, b_hh, (input.shape[0],), False, True)[1]
