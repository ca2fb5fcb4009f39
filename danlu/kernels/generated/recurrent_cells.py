"""What recurrent cells compute from the product of h and the weights, and its derivatives.

A cell is written for one vector of hidden units of one sample at one step; `recurrent_steps` writes
the loops around it, and names the arrays. `begin` gives what the sums of the products with h begin
with, `forward` goes on from the sums.
"""

from __future__ import annotations

from types import SimpleNamespace

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT
from danlu.kernels.codegen.vector_math import apply

__all__ = ["CELLS", "Place"]


class Place:
    """A vector of hidden units of one sample at one step.

    Attributes:
        row: of the arrays over all steps.
        sample: row of the arrays of states.
        unit: the first hidden unit.
        mask: of the units that there are; None where there are all.
    """

    def __init__(
        self, f: Function, lanes: int, row: Value, sample: Value, unit, mask: Value | None
    ):
        self.f, self.vector, self.mask = f, FLOAT.vector(lanes), mask
        self.row, self.sample, self.unit = row, sample, unit

    def address(self, array: Value, row: Value, width) -> Value:
        """Of the units in a row of an array whose rows are `width` numbers wide."""
        return self.f.at(array, row * width + self.unit, FLOAT)

    def load(self, address: Value, offset=0) -> Value:
        if self.mask is None:
            return self.f.load(address, self.vector, offset)
        return self.f.masked_load(address, self.mask, self.vector, index=offset)

    def store(self, value: Value, address: Value, offset=0) -> None:
        if self.mask is None:
            self.f.store(value, address, offset)
        else:
            self.f.masked_store(value, address, self.mask, offset)


def _inputs_and_biases(f: Function, at: Place, a: SimpleNamespace, gates) -> list[Value]:
    """The inputs' products with the biases on top, for gates given by their offsets."""
    inputs, biases = at.address(a.gates, at.row, a.width), f.at(a.bias, at.unit, FLOAT)
    return [at.load(inputs, gate) + at.load(biases, gate) for gate in gates]


class Lstm:
    """``c' = f*c + i*g``, ``h' = o*tanh(c')``; i, f and o are sigmoids, g a tanh.

    Keeps the gates (i, f, g, o) and, as `kept`, the cells c'.
    """

    gates, vectors, biases = 4, 4, 4
    needs_before = True  # c

    def begin(self, f: Function, at: Place, a: SimpleNamespace) -> list[Value]:
        return _inputs_and_biases(f, at, a, a.gate)

    def forward(self, f: Function, at: Place, a: SimpleNamespace, sums: list[Value]) -> None:
        i, forget, g, o = values = [
            apply(f, "tanh" if name == "g" else "sigmoid", total)
            for name, total in zip("ifgo", sums)
        ]
        gates = at.address(a.gates, at.row, a.width)
        for value, gate in zip(values, a.gate):
            at.store(value, gates, gate)
        state = at.address(a.c, at.sample, a.hidden)
        c = f.fma(forget, at.load(state), i * g)
        at.store(c, state)
        at.store(c, at.address(a.kept, at.row, a.hidden))
        at.store(o * apply(f, "tanh", c), at.address(a.outputs, at.row, a.hidden))

    def backward(self, f: Function, at: Place, a: SimpleNamespace, d: Value, before):
        gates = at.address(a.gates, at.row, a.width)
        i, forget, g, o = (at.load(gates, gate) for gate in a.gate)
        squashed = apply(f, "tanh", at.load(at.address(a.kept, at.row, a.hidden)))
        state = at.address(a.dc, at.sample, a.hidden)
        d_cell = f.fma(d * o, 1.0 - squashed * squashed, at.load(state))
        at.store(d_cell * forget, state)
        gradients = [
            d_cell * g * (i - i * i),
            d_cell * before * (forget - forget * forget),
            d_cell * i * (1.0 - g * g),
            d * squashed * (o - o * o),
        ]
        products = at.address(a.products, at.row, a.width)
        for gradient, gate in zip(gradients, a.gate):
            at.store(gradient, products, gate)
        return gradients, None


class Gru:
    """``n = tanh(x_n + r*p_n)``, ``h' = (1 - z)*n + z*h``; r and z are sigmoids.

    Keeps the gates (r, z, n) and, as `kept`, p_n, the product of h for n with its bias. There are
    four biases: of r, z, x_n and p_n.
    """

    gates, vectors, biases = 3, 3, 4
    needs_before = True  # h

    def begin(self, f: Function, at: Place, a: SimpleNamespace) -> list[Value]:
        product = at.load(f.at(a.bias, at.unit, FLOAT), a.width)
        return [*_inputs_and_biases(f, at, a, a.gate[:2]), product]

    def forward(self, f: Function, at: Place, a: SimpleNamespace, sums: list[Value]) -> None:
        r, z = (apply(f, "sigmoid", total) for total in sums[:2])
        product = sums[2]
        gates = at.address(a.gates, at.row, a.width)
        biases = f.at(a.bias, at.unit, FLOAT)
        from_x = at.load(gates, a.gate[2]) + at.load(biases, a.gate[2])
        n = apply(f, "tanh", f.fma(r, product, from_x))
        for value, gate in zip((r, z, n), a.gate):
            at.store(value, gates, gate)
        at.store(product, at.address(a.kept, at.row, a.hidden))
        h = at.load(at.address(a.h, at.sample, a.hidden))
        at.store(f.fma(z, h - n, n), at.address(a.outputs, at.row, a.hidden))

    def backward(self, f: Function, at: Place, a: SimpleNamespace, d: Value, before):
        gates = at.address(a.gates, at.row, a.width)
        r, z, n = (at.load(gates, gate) for gate in a.gate)
        product = at.load(at.address(a.kept, at.row, a.hidden))
        d_n = d * (1.0 - z) * (1.0 - n * n)
        d_z = d * (before - n) * (z - z * z)
        d_r = d_n * product * (r - r * r)
        d_product = d_n * r
        for array, last in ((a.products, d_product), (a.inputs, d_n)):
            place = at.address(array, at.row, a.width)
            for value, gate in zip((d_r, d_z, last), a.gate):
                at.store(value, place, gate)
        return [d_r, d_z, d_n, d_product], d * z


class Elman:
    """``h' = tanh(x + p)``, or relu. Keeps nothing: the outputs are enough."""

    gates, vectors, biases = 1, 2, 1
    needs_before = False

    def __init__(self, relu: bool):
        self.relu = relu

    def begin(self, f: Function, at: Place, a: SimpleNamespace) -> list[Value]:
        return _inputs_and_biases(f, at, a, a.gate)

    def forward(self, f: Function, at: Place, a: SimpleNamespace, sums: list[Value]) -> None:
        if self.relu:
            value = f.select(f.compare("olt", sums[0], 0.0), 0.0, sums[0])  # NaN stays
        else:
            value = apply(f, "tanh", sums[0])
        at.store(value, at.address(a.outputs, at.row, a.hidden))

    def backward(self, f: Function, at: Place, a: SimpleNamespace, d: Value, before):
        output = at.load(at.address(a.outputs, at.row, a.hidden))
        if self.relu:
            slope = f.select(f.compare("ogt", output, 0.0), f.value(1.0, output.type), 0.0)
        else:
            slope = 1.0 - output * output
        gradient = d * slope
        at.store(gradient, at.address(a.products, at.row, a.width))
        return [gradient], None


CELLS = {
    "lstm": Lstm(), "gru": Gru(), "rnn_tanh": Elman(False), "rnn_relu": Elman(True),
}  # fmt: skip
