"""Recurrent layers."""

from __future__ import annotations

import math
import numbers
import warnings

from danlu.nn import init
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.nn.utils.rnn import PackedSequence
from danlu.ops import recurrent
from danlu.ops.creation import empty, zeros
from danlu.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_FUNCTIONS = {
    "LSTM": recurrent.lstm,
    "GRU": recurrent.gru,
    "RNN_TANH": recurrent.rnn_tanh,
    "RNN_RELU": recurrent.rnn_relu,
}


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share: the parameters of all layers and directions, and the
    checks.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"; the other arguments are those of `LSTM`.

    Example:
        >>> import danlu as torch
        >>> torch.nn.RNNBase("GRU", 2, 3).weight_ih_l0.shape
        torch.Size([9, 2])
    """

    __constants__ = [
        "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
        "bidirectional", "proj_size",
    ]  # fmt: skip

    def __init__(
        self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
        dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(mode, dropout)
        # Names by layer and direction, under the name that PyTorch's whole-model files carry
        self._all_weights = []
        directions = 1 + bool(bidirectional)
        gate_size = _GATES[mode] * hidden_size
        sent = proj_size or hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else sent * directions
            shapes = {"weight_ih": (gate_size, inputs), "weight_hh": (gate_size, sent)}
            if bias:
                shapes.update(bias_ih=(gate_size,), bias_hh=(gate_size,))
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(list(names))
        self.reset_parameters()

    def _check_settings(self, mode, dropout):
        if (
            not isinstance(dropout, numbers.Number)
            or not 0 <= dropout <= 1
            or isinstance(dropout, bool)
        ):
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element "
                f"being zeroed, but got {dropout!r}"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                "dropout "
                f"expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={self.num_layers}",
                stacklevel=4,
            )
        for name in ("input_size", "hidden_size"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        for name in ("hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero, but got {getattr(self, name)}")
        if self.proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections, "
                f"but got {self.proj_size}"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size has to be smaller than hidden_size, but got {self.proj_size} and "
                f"{self.hidden_size}"
            )
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")

    def reset_parameters(self):
        """Draw new parameters."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Does nothing: PyTorch's cuDNN wants all weights in one piece of memory, danlu does
        not."""

    @property
    def _flat_weights(self):
        return [getattr(self, name) for names in self._all_weights for name in names]

    @property
    def all_weights(self):
        """The parameters, one list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def __getstate__(self):
        # PyTorch, which may read the file, expects the parameters as a list, too.
        names = [name for names in self._all_weights for name in names]
        lists = {"_flat_weights_names": names, "_flat_weights": self._flat_weights}
        return {**super().__getstate__(), **lists}

    def __setstate__(self, state):
        lists = ("_flat_weights_names", "_flat_weights")
        super().__setstate__({name: each for name, each in state.items() if name not in lists})

    # ------------------------------------------------------------ forward
    def forward(self, input, hx=None):
        weights = self._flat_weights
        packed = isinstance(input, PackedSequence)
        if packed:
            data, batch_sizes, order, back = input
            batch = int(batch_sizes[0])
            self._check_input(data, 2)
            batched = True
        else:
            if input.ndim not in (2, 3):
                raise ValueError(
                    f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D "
                    "instead"
                )
            batched = input.ndim == 3
            data, order, back = input, None, None
            if not batched:
                data = input.unsqueeze(0 if self.batch_first else 1)
            batch = data.shape[0 if self.batch_first else 1]
            self._check_input(data, 3)
        states = self._states(hx, data, batch, batched, order)
        passed = states if self.mode == "LSTM" else states[0]
        settings = (
            weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional
        )  # fmt: skip
        run = _FUNCTIONS[self.mode]
        if packed:
            output, *finals = run(data, batch_sizes, passed, *settings)
            output = PackedSequence(output, batch_sizes, order, back)
        else:
            output, *finals = run(data, passed, *settings, self.batch_first)
            if not batched:
                output = output.squeeze(0 if self.batch_first else 1)
                finals = [each.squeeze(1) for each in finals]
        if back is not None:
            finals = [each.index_select(1, back) for each in finals]
        return output, (tuple(finals) if self.mode == "LSTM" else finals[0])

    def _state_sizes(self):
        """The last dimension of each state."""
        sent = self.proj_size or self.hidden_size
        return (sent, self.hidden_size) if self.mode == "LSTM" else (sent,)

    def _states(self, hx, data, batch, batched, order):
        """The initial states, checked, batched, and in the order of the rows; zeros if there are
        none."""
        count = self.num_layers * (1 + bool(self.bidirectional))
        sizes = self._state_sizes()
        if hx is None:
            return tuple(
                zeros(count, batch, size, dtype=data.dtype, device=data.device) for size in sizes
            )
        if len(sizes) == 2:
            if not isinstance(hx, (tuple, list)) or len(hx) != 2:
                shown = (
                    f"a Tensor of size {list(hx.shape)}" if isinstance(hx, Tensor) else f"{hx!r}"
                )
                raise TypeError(f"LSTM: expected hx to be a tuple (h_0, c_0), but got {shown}")
            states, names = tuple(hx), ("hidden[0]", "hidden[1]")
        else:
            states, names = (hx,), ("hidden",)
        if any(each.ndim != 2 + batched for each in states):
            ranks = ", ".join(f"{each.ndim}-D" for each in states)
            word, rank = ("batched 3-D", "3-D") if batched else ("unbatched 2-D", "2-D")
            if len(states) == 2:
                raise RuntimeError(
                    f"For {word} input, hx and cx should also be {rank} but got ({ranks}) tensors"
                )
            raise RuntimeError(f"For {word} input, hx should also be {rank} but got {ranks} tensor")
        if not batched:
            states = tuple(each.unsqueeze(1) for each in states)
        for each, size, name in zip(states, sizes, names):
            expected = (count, batch, size)
            if tuple(each.shape) != expected:
                raise RuntimeError(f"Expected {name} size {expected}, got {list(each.shape)}")
        if order is not None:
            states = tuple(each.index_select(1, order) for each in states)
        return states

    def _check_input(self, data, rank):
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if data.dtype != dtype:
            raise ValueError(
                f"RNN input dtype ({data.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({data.dtype})"
            )
        if data.ndim != rank:
            raise RuntimeError(f"input must have {rank} dimensions, got {data.ndim}")
        if data.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {data.shape[-1]}"
            )

    # ------------------------------------------------------------ text
    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False),
            ("dropout", 0), ("bidirectional", False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text

    def _expected(self):
        inside = f"input_size={self.input_size}"
        lead = "(N, L" if self.batch_first else "(L, N"
        return f"{lead}, {inside}) or (L, {inside})"


class RNN(RNNBase):
    """Elman's network (1990): ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        num_layers: layers on top of each other; default 1.
        nonlinearity: "tanh" (default) or "relu".
        bias: whether there are biases; default True.
        batch_first: whether the batch is the first axis of input and output; default False.
        dropout: probability of zeroing outputs between layers, 0 to 1; default 0.
        bidirectional: whether a second network reads backwards; default False.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (L, N, input_size), h0 (num_layers*D, N, hidden_size) -> (L, N, D*hidden_size), h_n like h0;
        with batch_first (N, L, ...); without N for a single sequence. D is 2 if bidirectional, else
        1.

    Raises:
        ValueError: settings out of range, or another dtype than the weights'.
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> output, h = torch.nn.RNN(2, 3)(torch.ones(5, 1, 2))
        >>> output.shape, h.shape
        (torch.Size([5, 1, 3]), torch.Size([1, 1, 3]))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
        batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None, **unknown,
    ):  # fmt: skip
        _refuse_projection(unknown, "RNN")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with gates i, f, g, o.

    ``c' = f*c + i*g``, ``h' = o*tanh(c')``; i, f and o are sigmoids, g a tanh, of
    ``W_ih x + b_ih + W_hh h + b_hh``.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        num_layers: layers on top of each other; default 1.
        bias: whether there are biases; default True.
        batch_first: whether the batch is the first axis of input and output; default False.
        dropout: probability of zeroing outputs between layers, 0 to 1; default 0.
        bidirectional: whether a second network reads backwards; default False.
        proj_size: size to which h is projected (Sak et al. 2014), below hidden_size; default 0: it
            is not.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (L, N, input_size), (h0, c0) of (num_layers*D, N, hidden_size) -> (L, N, D*hidden_size),
        (h_n, c_n);
        with batch_first (N, L, ...); without N for a single sequence. D is 2 if bidirectional, else
        1.

    Raises:
        ValueError: settings out of range, or another dtype than the weights'.
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> output, (h, c) = torch.nn.LSTM(2, 3, batch_first=True)(torch.ones(1, 5, 2))
        >>> output.shape, h.shape
        (torch.Size([1, 5, 3]), torch.Size([1, 1, 3]))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, proj_size=0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014), with gates r, z and the candidate n.

    ``n = tanh(W_in x + b_in + r*(W_hn h + b_hn))``, ``h' = (1 - z)*n + z*h``; r and z are sigmoids.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        num_layers: layers on top of each other; default 1.
        bias: whether there are biases; default True.
        batch_first: whether the batch is the first axis of input and output; default False.
        dropout: probability of zeroing outputs between layers, 0 to 1; default 0.
        bidirectional: whether a second network reads backwards; default False.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (L, N, input_size), h0 (num_layers*D, N, hidden_size) -> (L, N, D*hidden_size), h_n like h0;
        with batch_first (N, L, ...); without N for a single sequence. D is 2 if bidirectional, else
        1.

    Raises:
        ValueError: settings out of range, or another dtype than the weights'.
        RuntimeError: shapes that do not fit.

    Example:
        >>> import danlu as torch
        >>> output, h = torch.nn.GRU(2, 3, num_layers=2)(torch.ones(5, 1, 2))
        >>> output.shape, h.shape
        (torch.Size([5, 1, 3]), torch.Size([2, 1, 3]))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, device=None, dtype=None, **unknown,
    ):  # fmt: skip
        _refuse_projection(unknown, "GRU")
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            0, device, dtype,
        )  # fmt: skip


def _refuse_projection(unknown, name):
    if "proj_size" in unknown:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    if unknown:
        raise TypeError(
            f"{name}.__init__() got an unexpected keyword argument '{next(iter(unknown))}'"
        )
