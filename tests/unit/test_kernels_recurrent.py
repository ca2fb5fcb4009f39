"""Generated recurrent layers against the NumPy text."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import danlu
from danlu.kernels import recurrent
from danlu.kernels.codegen import target as targets
from danlu.kernels.generated import recurrent as generated
from danlu.kernels.generated import recurrent_product, recurrent_steps
from danlu.kernels.generated.recurrent_cells import CELLS
from danlu.kernels.runtime import launch, machine, pool, road
from tests.unit.guarded import guarded

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
# T, B, I, H: single ones, less and more than a vector of units, odd ones, several tasks, several
# slices of the depth
SHAPES = [
    (1, 1, 1, 1), (3, 2, 4, 5), (6, 9, 3, 8), (4, 13, 20, 33), (20, 33, 16, 16), (2, 40, 10, 300),
]  # fmt: skip


class Layer:
    """A layer's arrays and its calls, of which `road` decides."""

    def __init__(self, name, steps, batch, inputs, hidden, sizes=None, seed=0, bias=True):
        rng = np.random.default_rng(seed)

        def draw(*shape):
            return rng.standard_normal(shape).astype(np.float32)

        self.name, self.sizes = name, sizes or (batch,) * steps
        rows, batch, width = sum(self.sizes), self.sizes[0], GATES[name] * hidden
        self.x, self.h0, self.c0 = draw(rows, inputs), draw(batch, hidden), draw(batch, hidden)
        self.w_ih = draw(width, inputs) / np.float32(inputs) ** 0.5
        self.w_hh = draw(width, hidden) / np.float32(hidden) ** 0.5
        self.b_ih, self.b_hh = (draw(width), draw(width)) if bias else (None, None)
        self.grads = draw(rows, hidden), draw(batch, hidden), draw(batch, hidden)

    def forward(self, reverse=False):
        weights = (self.w_ih, self.w_hh, self.b_ih, self.b_hh)
        if self.name == "lstm":
            states = (self.h0, self.c0)
            return recurrent.lstm(self.x, *states, *weights, None, self.sizes, reverse)
        if self.name == "gru":
            return recurrent.gru(self.x, self.h0, *weights, self.sizes, reverse)
        relu = self.name == "rnn_relu"
        return recurrent.rnn(self.x, self.h0, *weights, self.sizes, reverse, relu)

    def backward(self, results, reverse=False, needs_x=True):
        outputs, order = results[0], (self.sizes, reverse)
        if self.name == "lstm":
            arrays = (self.x, self.h0, self.c0, self.w_ih, self.w_hh, None, outputs, *results[3:])
            return recurrent.lstm_backward(self.grads, *arrays, *order, needs_x)
        arrays = (self.x, self.h0, self.w_ih, self.w_hh, outputs, *results[2:])
        if self.name == "gru":
            return recurrent.gru_backward(self.grads[:2], *arrays, *order, needs_x)
        relu = self.name == "rnn_relu"
        return recurrent.rnn_backward(self.grads[:2], *arrays, *order, relu, needs_x)


def assert_close(found, expected, tolerance=1e-5):
    """Equal but for rounding, relative to the largest number of each array."""
    assert len(found) == len(expected)
    for number, (each, other) in enumerate(zip(found, expected)):
        if other is None:
            assert each is None
            continue
        assert each.shape == other.shape and each.dtype == np.float32
        scale = np.abs(other[np.isfinite(other)]).max(initial=1e-6)
        np.testing.assert_allclose(
            each, other, rtol=0, atol=tolerance * scale, err_msg=f"result {number}"
        )


def compare(layer, reverse=False, **options):
    with road.forced("numpy"):
        results = layer.forward(reverse)
        gradients = layer.backward(results, reverse, **options)
    with road.forced("native"):
        assert_close(layer.forward(reverse), results)
        assert_close(layer.backward(results, reverse, **options), gradients)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_numpy(name, shape, reverse):
    compare(Layer(name, *shape), reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("sizes", [(5, 4, 4, 1), (40, 39, 20, 8, 7, 1, 1), (2, 1)], ids=str)
def test_variable_lengths(name, sizes, reverse):
    compare(Layer(name, len(sizes), sizes[0], 6, 20, sizes), reverse)


@pytest.mark.parametrize("name", GATES)
def test_random_shapes(name):
    rng = np.random.default_rng(7)
    for seed in range(12):
        steps, batch, inputs, hidden = rng.integers(1, (9, 50, 30, 70)).tolist()
        sizes = tuple(sorted(rng.integers(1, batch + 1, steps).tolist(), reverse=True))
        compare(Layer(name, steps, batch, inputs, hidden, sizes, seed), bool(seed % 2))


@pytest.mark.parametrize("name", GATES)
def test_without_biases(name):
    compare(Layer(name, 3, 4, 5, 12, bias=False))


@pytest.mark.parametrize("name", GATES)
def test_gradients_that_are_missing(name):
    layer = Layer(name, 5, 6, 7, 12)
    outputs, h, c = layer.grads
    for grads in ((outputs, None, None), (None, h, None), (None, None, c)):
        layer.grads = grads
        compare(layer)
    layer.grads = outputs, h, c
    compare(layer, needs_x=False)


@pytest.mark.parametrize("name", GATES)
def test_layouts(name):
    """Arrays as views and transposes hand them over."""
    layer = Layer(name, 5, 6, 7, 12)
    outputs, h, c = layer.grads
    wide = np.concatenate((outputs, outputs), axis=1)
    layer.w_ih, layer.w_hh = np.asfortranarray(layer.w_ih), np.asfortranarray(layer.w_hh)
    layer.x, layer.h0 = np.asfortranarray(layer.x), np.asfortranarray(layer.h0)
    layer.c0 = np.concatenate((layer.c0, layer.c0))[::2]
    for grads in (
        wide[:, 12:],  # one direction's half
        np.asfortranarray(outputs),
        np.broadcast_to(np.float32(1), outputs.shape),
        np.broadcast_to(outputs[0], outputs.shape),
        outputs[::-1],
    ):
        layer.grads = grads, np.asfortranarray(h), c[:, ::-1]
        compare(layer)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("name", GATES)
@pytest.mark.filterwarnings("ignore")
def test_special_values_stay_with_their_sample(name, value):
    layer = Layer(name, 6, 20, 5, 19)
    layer.x[2 * 20 + 3, 1] = value
    layer.h0[7, 2] = value
    layer.c0[11, 18] = value
    with road.forced("numpy"):
        expected = layer.forward()
    with road.forced("native"):
        found = layer.forward()
    assert_close(found, expected)
    assert np.isfinite(found[0].reshape(6, 20, 19)[:, [0, 1, 2, 4, 5, 6, 8, 9, 10, 12]]).all()


def test_relu_of_what_is_no_number():
    layer = Layer("rnn_relu", 1, 3, 2, 4)
    layer.x[1] = np.nan
    with road.forced("native"):
        assert np.isnan(layer.forward()[0][1]).all()


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("shape", [(3, 5, 7, 13), (2, 9, 3, 35), (2, 1, 1, 1)], ids=str)
def test_touches_nothing_beside_the_arrays(name, shape, end):
    """All arrays of the calls lie at a forbidden page."""
    layer = Layer(name, *shape)
    cell, hidden = CELLS[name], shape[3]
    rows, batch = layer.x.shape[0], shape[1]

    def between(*shape):
        return guarded(np.zeros(shape, np.float32), end)

    layer.x, layer.w_ih, layer.w_hh = (
        guarded(each, end) for each in (layer.x, layer.w_ih, layer.w_hh)
    )
    layer.h0, layer.c0 = guarded(layer.h0, end), guarded(layer.c0, end)
    layer.b_ih, layer.b_hh = guarded(layer.b_ih, end), guarded(layer.b_hh, end)
    layer.grads = tuple(guarded(each, end) for each in layer.grads)
    with road.forced("native"):
        results = layer.forward()
        layer.backward(tuple(guarded(each, end) for each in results))
        # and what the calls write
        outputs, kept = between(rows, hidden), between(rows, hidden)
        gates = outputs if cell.gates == 1 else between(rows, cell.gates * hidden)
        order = (layer.sizes, False)
        bias = between(cell.biases * hidden)
        generated._forward(name, gates, bias, layer.w_hh, outputs, kept, layer.h0, layer.c0, *order)
        products, inputs = between(*gates.shape), between(*gates.shape)
        states = kept if name == "lstm" else outputs
        generated._backward(
            name, layer.grads[0], None, gates, kept, outputs, states, between(batch, hidden),
            layer.w_hh, products, inputs, between(batch, hidden), *order,
        )  # fmt: skip


@pytest.mark.parametrize("end", [True, False])
def test_packing_touches_nothing_beside_the_arrays(end):
    target = targets.host()
    rng = np.random.default_rng(0)
    for hidden in (1, 5, 13, 16, 31):
        for gates, vectors in ((4, 4), (3, 3), (1, 2)):
            weights = guarded(rng.standard_normal((gates * hidden, hidden)).astype(np.float32), end)
            width = vectors * target.float_lanes
            panels = -(-hidden * gates // width)
            packed = guarded(np.zeros((panels, hidden, width), np.float32), end)
            kernel = launch.kernel(
                ("recurrent_pack_gates", gates, vectors),
                lambda g=gates, v=vectors: recurrent_product.write_pack_gates(g, v, target),
            )
            kernel.call(panels, weights, packed, hidden, hidden)
            units = width // gates
            shown = packed.reshape(panels, hidden, gates, units).transpose(2, 0, 3, 1)
            shown = shown.reshape(gates, panels * units, hidden)[:, :hidden]
            np.testing.assert_array_equal(shown.reshape(weights.shape), weights)


@pytest.mark.parametrize("name", GATES)
def test_same_bits_with_any_number_of_threads(name):
    layer = Layer(name, 6, 50, 20, 48)
    assert generated._blocks(6, 50, 48, GATES[name])[0] > 4
    workers = pool.ensure()
    before = workers.threads
    found = []
    try:
        for count in (1, 2):
            workers.resize(count)
            with road.forced("native"):
                results = layer.forward()
                found.append((*results, *layer.backward(results)))
    finally:
        workers.resize(before)
    for one, two in zip(*found):
        if one is not None:
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "machine_names",
    [("x86_64-unknown-linux-gnu", "skylake-avx512"), ("aarch64-unknown-linux-gnu", "neoverse-n1")],
    ids=lambda names: names[1],
)
def test_compiles_for_other_machines(machine_names):
    target = targets.named(*machine_names)
    texts = [recurrent_product.write_pack_columns(recurrent_steps.COLUMN_VECTORS, target)]
    for name in ("lstm", "rnn_relu"):
        cell = CELLS[name]
        texts.append(recurrent_steps.write_forward(name, target))
        texts.append(recurrent_product.write_pack_gates(cell.gates, cell.vectors, target))
    texts.append(recurrent_steps.write_backward("gru", target))
    for text in texts:
        assert machine.emit_object(text, target)


# ---------------------------------------------------------------------- which road
def refuse(*args):
    raise AssertionError("generated code was asked")


def test_other_dtypes_and_projections_stay_with_numpy(monkeypatch):
    monkeypatch.setattr(generated, "lstm", refuse)
    layer = Layer("lstm", 2, 3, 4, 5)
    with road.forced("native"):
        with pytest.raises(AssertionError, match="was asked"):
            layer.forward()
        rng = np.random.default_rng(0)
        w_hr, w_hh = rng.random((2, 5), np.float32), rng.random((20, 2), np.float32)
        recurrent.lstm(
            layer.x, layer.h0[:, :2].copy(), layer.c0, layer.w_ih, w_hh, None, None, w_hr, (3, 3),
            False,
        )  # fmt: skip
        names = ("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh")
        for name in names:
            setattr(layer, name, getattr(layer, name).astype(np.float64))
        assert layer.forward()[0].dtype == np.float64


def test_few_rows_and_many_weights_stay_with_numpy(monkeypatch):
    """Packing a megabyte of weights for one row costs more than the product."""
    monkeypatch.setattr(generated, "gru", refuse)
    with road.forced("auto"):
        Layer("gru", 1, 1, 2, 512).forward()
        with pytest.raises(AssertionError, match="was asked"):
            Layer("gru", 1, 1, 2, 16).forward()


# ---------------------------------------------------------------------- whole layers
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("packed", [False, True])
def test_layers_on_both_roads(kind, packed):
    danlu.manual_seed(0)
    layer = getattr(danlu.nn, kind)(5, 9, num_layers=2, bidirectional=True, batch_first=True)
    x = danlu.randn(4, 7, 5)
    found = {}
    for name in ("numpy", "native"):
        data = x.clone().requires_grad_()
        given = data
        if packed:
            given = danlu.nn.utils.rnn.pack_padded_sequence(
                data, danlu.tensor([7, 5, 5, 2]), batch_first=True
            )
        layer.zero_grad()
        with road.forced(name):
            outputs, states = layer(given)
            rows = outputs.data if packed else outputs
            states = states if isinstance(states, tuple) else (states,)
            loss = (rows * rows.detach().cos()).sum()
            for each in states:
                loss = loss + each.sin().sum()
            loss.backward()
        tensors = [rows, *states, data.grad, *[each.grad for each in layer.parameters()]]
        found[name] = [each.detach().numpy() for each in tensors]
    assert_close(found["native"], found["numpy"])


def test_only_the_last_cells_are_used():
    layer = danlu.nn.LSTM(3, 4)
    with road.forced("native"):
        layer(danlu.randn(5, 2, 3))[1][1].sum().backward()
    assert all(each.grad is not None for each in layer.parameters())


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells_on_both_roads(kind):
    danlu.manual_seed(0)
    cell = getattr(danlu.nn, kind)(6, 11)
    x = danlu.randn(7, 6)
    found = {}
    for name in ("numpy", "native"):
        cell.zero_grad()
        with road.forced(name):
            state = cell(x)
            for _ in range(3):
                state = cell(x, state)
            h = state[0] if isinstance(state, tuple) else state
            (h * h).sum().backward()
        found[name] = [h.detach().numpy(), *[each.grad.numpy() for each in cell.parameters()]]
    assert_close(found["native"], found["numpy"])


@pytest.mark.parametrize("name", ["numpy", "native"])
@pytest.mark.parametrize("kind", ["LSTMCell", "RNNCell"])
def test_biases_of_a_cell_used_twice_get_the_same_gradient(kind, name):
    danlu.manual_seed(0)
    cell = getattr(danlu.nn, kind)(3, 4)
    x = danlu.randn(2, 3)
    with road.forced(name):
        state = cell(x, cell(x))
        (state[0] if isinstance(state, tuple) else state).sum().backward()
    np.testing.assert_array_equal(cell.bias_ih.grad.numpy(), cell.bias_hh.grad.numpy())
