"""Recurrent layers over whole sequences, forward and backward: one where products are the work, and
one where calls are."""

from __future__ import annotations

from cases import case


def recurrent_step(torch, kind, size, layers, steps, batch):
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(size, size, layers)
    x = torch.randn(steps, batch, size)
    weights = list(layer.parameters())

    def step():
        for weight in weights:
            weight.grad = None
        layer(x)[0].sum().backward()

    return step


@case("LSTM, 2 layers x 128, sequence 64, batch 32, forward and backward", at_most=1.00)
def lstm_128(torch):
    return recurrent_step(torch, "LSTM", 128, 2, 64, 32)


@case("GRU, 2 layers x 128, sequence 64, batch 32, forward and backward")
def gru_128(torch):
    return recurrent_step(torch, "GRU", 128, 2, 64, 32)


@case("LSTM, 16 units, sequence 64, batch 8, forward and backward")
def lstm_16(torch):
    return recurrent_step(torch, "LSTM", 16, 1, 64, 8)
