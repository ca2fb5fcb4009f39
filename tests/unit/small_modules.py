"""The small modules that the tests of `nn.Module` share."""

from __future__ import annotations

import danlu
from danlu import nn


class Affine(nn.Module):
    """A small layer of the tests' own, with an expected shape to explain."""

    def __init__(self, inputs=2, outputs=3):
        super().__init__()
        self.inputs = inputs
        self.weight = nn.Parameter(danlu.ones(outputs, inputs))
        self.register_parameter("bias", None)
        self.register_buffer("steps", danlu.zeros(()))
        self.register_buffer("scratch", danlu.zeros(1), persistent=False)

    def forward(self, x):
        return x @ self.weight.T

    def extra_repr(self):
        return f"inputs={self.inputs}"

    def _expected(self):
        return f"(*, inputs={self.inputs})"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Affine(2, 3)
        self.blocks = nn.ModuleList([Affine(3, 3), Affine(3, 1)])

    def forward(self, x):
        return self.blocks[1](self.blocks[0](self.first(x)))
