"""Recurrent cells: one step of a recurrent layer."""

from __future__ import annotations

import math

from danlu.nn import init
from danlu.nn.modules.module import Module
from danlu.nn.parameter import Parameter
from danlu.ops import recurrent
from danlu.ops.creation import empty, zeros

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What `RNNCell`, `LSTMCell` and `GRUCell` share: the parameters of one step.

    Example:
        >>> import danlu as torch
        >>> torch.nn.RNNCellBase(2, 3, bias=False, num_chunks=4).weight_ih.shape
        torch.Size([12, 2])
    """

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            if bias:
                setattr(self, name, Parameter(empty(rows, device=device, dtype=dtype)))
            else:
                self.register_parameter(name, None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw new parameters."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _batched(self, input, states, names):
        """Input and states with a batch axis, zeros for states that are None, and whether there was
        one."""
        title = type(self).__name__
        for value, name in ((input, "input"), *zip(states, names)):
            if value is not None and value.ndim not in (1, 2):
                raise ValueError(
                    f"{title}: Expected {name} to be 1D or 2D, got {value.ndim}D instead"
                )
        batched = input.ndim == 2
        if not batched:
            input = input.unsqueeze(0)
        made = []
        for each in states:
            if each is None:
                each = zeros(
                    input.shape[0], self.hidden_size, dtype=input.dtype, device=input.device
                )
            elif not batched and each.ndim == 1:
                each = each.unsqueeze(0)
            made.append(each)
        return input, made, batched

    @property
    def _weights(self):
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _expected(self):
        return f"(N, input_size={self.input_size}) or (input_size={self.input_size})"


class RNNCell(RNNCellBase):
    """One step of Elman's network.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        bias: whether there are biases; default True.
        nonlinearity: "tanh" (default) or "relu".
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (N, input_size), h (N, hidden_size) -> (N, hidden_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.RNNCell(2, 3)(torch.ones(4, 2)).shape
        torch.Size([4, 3])
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(
        self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        input, (h,), batched = self._batched(input, (hx,), ("hidden",))
        if self.nonlinearity == "tanh":
            new = recurrent.rnn_tanh_cell(input, h, *self._weights)
        elif self.nonlinearity == "relu":
            new = recurrent.rnn_relu_cell(input, h, *self._weights)
        else:
            raise RuntimeError(
                f"Unknown nonlinearity: {self.nonlinearity}: expected 'tanh' or 'relu'"
            )
        return new if batched else new.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of an LSTM.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        bias: whether there are biases; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (N, input_size), (h, c) of (N, hidden_size) -> (h', c') of (N, hidden_size), or the same
        without N

    Example:
        >>> import danlu as torch
        >>> h, c = torch.nn.LSTMCell(2, 3)(torch.ones(4, 2))
        >>> h.shape, c.shape
        (torch.Size([4, 3]), torch.Size([4, 3]))
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        states = (None, None) if hx is None else tuple(hx)
        input, states, batched = self._batched(input, states, ("hx[0]", "hx[1]"))
        new = recurrent.lstm_cell(input, states, *self._weights)
        return tuple(new) if batched else tuple(each.squeeze(0) for each in new)


class GRUCell(RNNCellBase):
    """One step of a GRU.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        bias: whether there are biases; default True.
        device: of the parameters.
        dtype: of the parameters; default the default dtype.

    Shape:
        (N, input_size), h (N, hidden_size) -> (N, hidden_size), or the same without N

    Example:
        >>> import danlu as torch
        >>> torch.nn.GRUCell(2, 3)(torch.ones(4, 2)).shape
        torch.Size([4, 3])
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        input, (h,), batched = self._batched(input, (hx,), ("hidden",))
        new = recurrent.gru_cell(input, h, *self._weights)
        return new if batched else new.squeeze(0)
