"""Recurrent layers, cells and packed sequences against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
import danlu.nn.utils.rnn

torch = pytest.importorskip("torch")

LIBS = (torch, danlu)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def same(expected, got, close=1e-9):
    assert len(expected) == len(got)
    for a, b in zip(expected, got):
        assert str(a.dtype)[6:] == str(b.dtype)[6:]
        assert tuple(a.shape) == tuple(b.shape)
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=close, atol=close)


def flat(result):
    """The tensors of (output, state) or (output, (h, c))."""
    output, state = result
    output = output.data if isinstance(output, tuple) else output
    return [output, *(state if isinstance(state, tuple) else (state,))]


def run(lib, layer, x, states=None, order=1):
    """Outputs, gradients and (order 2) gradients of gradients."""
    outs = flat(layer(x, states))
    leaves = [*layer.parameters()]
    for t in (x, *(states if isinstance(states, tuple) else (states,))):
        t = t.data if isinstance(t, tuple) else t
        if t is not None and t.requires_grad:
            leaves.append(t)
    total = sum((out * lib.tensor(draw(*out.shape, seed=k))).sum() for k, out in enumerate(outs))
    grads = lib.autograd.grad(total, leaves, create_graph=order == 2)
    found = [*outs, *grads]
    if order == 2:
        found += lib.autograd.grad(sum((g * g).sum() for g in grads), leaves)
    return found


SETTINGS = [
    ("LSTM", {}),
    ("LSTM", {"bidirectional": True, "num_layers": 2}),
    ("LSTM", {"batch_first": True, "bias": False}),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"bidirectional": True, "num_layers": 2, "bias": False}),
    ("RNN", {"num_layers": 2}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
]


def build(lib, kind, settings, inputs=4, hidden=5):
    lib.manual_seed(1)
    return getattr(lib.nn, kind)(inputs, hidden, dtype=lib.float64, **settings)


def states_of(lib, kind, settings, batch=3, hidden=5):
    count = settings.get("num_layers", 1) * (1 + settings.get("bidirectional", False))
    sent = settings.get("proj_size", hidden)
    h = lib.tensor(draw(count, batch, sent, seed=2)).requires_grad_()
    if kind != "LSTM":
        return h
    return h, lib.tensor(draw(count, batch, hidden, seed=3)).requires_grad_()


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=str)
def test_padded_batches(kind, settings, with_states):
    found = []
    for lib in LIBS:
        layer = build(lib, kind, settings)
        x = lib.tensor(draw(*((3, 6) if settings.get("batch_first") else (6, 3)), 4))
        states = states_of(lib, kind, settings) if with_states else None
        found.append(run(lib, layer, x.requires_grad_(), states))
    same(*found)


@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=str)
def test_packed_sequences(kind, settings, enforce_sorted):
    lengths = [5, 3, 3] if enforce_sorted else [3, 5, 1]
    found = []
    for lib in LIBS:
        layer = build(lib, kind, settings)
        x = lib.nn.utils.rnn.pack_padded_sequence(
            lib.tensor(draw(5, 3, 4)), lengths, enforce_sorted=enforce_sorted
        )
        found.append(run(lib, layer, x, states_of(lib, kind, settings)))
    same(*found)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=str)
def test_second_derivatives(kind, settings):
    found = []
    for lib in LIBS:
        layer = build(lib, kind, settings)
        x = lib.tensor(draw(*((3, 4) if settings.get("batch_first") else (4, 3)), 4))
        states = states_of(lib, kind, settings)
        found.append(run(lib, layer, x.requires_grad_(), states, order=2))
    same(*found, close=1e-8)


def test_second_derivatives_of_packed_sequences_where_one_input_depends_on_another():
    found = []
    for lib in LIBS:
        layer = build(lib, "GRU", {"bidirectional": True})
        data = lib.tensor(draw(5, 3, 4)).requires_grad_()
        h = data[:2, :, :1].expand(2, 3, 5) * 2
        packed = lib.nn.utils.rnn.pack_padded_sequence(data, [5, 3, 1])
        out, state = layer(packed, h)
        loss = out.data.sin().sum() + (state**2).sum()
        grads = lib.autograd.grad(loss, [data, *layer.parameters()], create_graph=True)
        found.append([*grads, *lib.autograd.grad(sum((g * g).sum() for g in grads), data)])
    same(*found)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_single_sequence(kind):
    found = []
    for lib in LIBS:
        layer = build(lib, kind, {"num_layers": 2})
        found.append(flat(layer(lib.tensor(draw(6, 4)))))
    same(*found)


def test_float32_and_dropout_between_layers():
    for lib in LIBS:
        layer = lib.nn.LSTM(4, 5, num_layers=2, dropout=0.5)
        out, _ = layer(lib.tensor(draw(6, 3, 4)).float())
        assert str(out.dtype)[6:] == "float32"
        layer.eval()
        first, second = (layer(lib.ones(2, 1, 4))[0].detach().numpy() for _ in range(2))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("GRUCell", {}), ("LSTMCell", {})],
    ids=str,
)
def test_cells(kind, options, bias):
    found, reprs = [], []
    for lib in LIBS:
        lib.manual_seed(0)
        cell = getattr(lib.nn, kind)(4, 5, bias=bias, dtype=lib.float64, **options)
        reprs.append((repr(cell), list(cell.state_dict())))
        x = lib.tensor(draw(3, 4)).requires_grad_()
        h = lib.tensor(draw(3, 5, seed=1)).requires_grad_()
        outs = cell(x, (h, h * 2) if kind == "LSTMCell" else h)
        outs = outs if isinstance(outs, tuple) else (outs,)
        total = sum((out * (k + 1)).sin().sum() for k, out in enumerate(outs))
        single = cell(x[0])
        single = single[0] if isinstance(single, tuple) else single
        grads = lib.autograd.grad(total, [x, h, *cell.parameters()])
        found.append([*outs, *grads, single])
    assert reprs[0] == reprs[1]
    same(*found)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=str)
def test_names_text_and_initial_weights(kind, settings):
    layers = []
    for lib in LIBS:
        lib.manual_seed(4)
        layers.append(getattr(lib.nn, kind)(4, 5, **settings))
    expected, got = layers
    assert repr(got) == repr(expected)
    assert list(got.state_dict()) == list(expected.state_dict())
    assert [len(each) for each in got.all_weights] == [len(each) for each in expected.all_weights]
    same(list(expected.parameters()), list(got.parameters()), close=1e-6)


def test_functional_forms():
    found = []
    for lib in LIBS:
        layer = build(lib, "LSTM", {"num_layers": 2})
        weights = list(layer.parameters())
        x = lib.tensor(draw(6, 3, 4))
        states = states_of(lib, "LSTM", {"num_layers": 2})
        padded = lib.lstm(x, states, weights, True, 2, 0.0, True, False, False)
        packed = lib.lstm(
            x.reshape(18, 4), lib.tensor([3] * 6), states, weights, True, 2, 0.0, True, False
        )
        gru = build(lib, "GRU", {})
        h = states_of(lib, "GRU", {})
        once = lib.gru(x, h, list(gru.parameters()), True, 1, 0.0, True, False, False)
        found.append([*padded, *packed, *once, lib.gru_cell(x[0], h[0], *gru.parameters())])
    same(*found)


def test_packing_and_padding():
    found = []
    for lib in LIBS:
        rnn = lib.nn.utils.rnn
        sequences = [lib.tensor(draw(n, 2, seed=n)).requires_grad_() for n in (2, 4, 1)]
        packed = rnn.pack_sequence(sequences, enforce_sorted=False)
        padded, lengths = rnn.pad_packed_sequence(
            packed, batch_first=True, padding_value=-1.0, total_length=6
        )
        left = rnn.pad_sequence(sequences, padding_value=2.0, padding_side="left")
        grads = lib.autograd.grad((padded * padded).sum() + left.sin().sum(), sequences)
        unpacked = [*rnn.unpack_sequence(packed), *rnn.unpad_sequence(padded, lengths, True)]
        assert isinstance(packed.double(), rnn.PackedSequence)
        found.append([*packed, padded, lengths, left, *grads, *unpacked])
    same(*found)


def test_packed_sequences_print_alike():
    texts = []
    for lib in LIBS:
        packed = lib.nn.utils.rnn.pack_sequence([lib.tensor([1, 2]), lib.tensor([3])])
        texts.append(repr(packed))
    assert texts[0] == texts[1]


def lstm(lib):
    return lib.nn.LSTM(3, 4)


ERRORS = {
    "features": lambda lib, z: lstm(lib)(z(5, 2, 4)),
    "rank": lambda lib, z: lstm(lib)(z(5, 2, 2, 3)),
    "h": lambda lib, z: lstm(lib)(z(5, 2, 3), (z(2, 2, 4), z(1, 2, 4))),
    "c": lambda lib, z: lstm(lib)(z(5, 2, 3), (z(1, 2, 4), z(1, 2, 5))),
    "h batch": lambda lib, z: lib.nn.GRU(3, 4)(z(5, 2, 3), z(1, 3, 4)),
    "h rank": lambda lib, z: lib.nn.GRU(3, 4)(z(5, 3), z(1, 3, 4)),
    "dtype": lambda lib, z: lstm(lib)(z(5, 2, 3).double()),
    "projection": lambda lib, z: lib.nn.LSTM(3, 4, proj_size=4),
    "projected gru": lambda lib, z: lib.nn.GRU(3, 4, proj_size=2),
    "hidden": lambda lib, z: lib.nn.LSTM(3, 0),
    "layers": lambda lib, z: lib.nn.LSTM(3, 4, 0),
    "dropout": lambda lib, z: lib.nn.LSTM(3, 4, dropout=2),
    "nonlinearity": lambda lib, z: lib.nn.RNN(3, 4, nonlinearity="foo"),
    "type": lambda lib, z: lib.nn.LSTM(3.0, 4),
    "empty": lambda lib, z: lstm(lib)(z(0, 2, 3)),
    "cell features": lambda lib, z: lib.nn.LSTMCell(3, 4)(z(2, 4)),
    "cell rank": lambda lib, z: lib.nn.LSTMCell(3, 4)(z(2, 2, 4)),
    "cell batch": lambda lib, z: lib.nn.GRUCell(3, 4)(z(2, 3), z(3, 4)),
    "cell hidden": lambda lib, z: lib.nn.GRUCell(3, 4)(z(2, 3), z(2, 5)),
    "unsorted": lambda lib, z: lib.nn.utils.rnn.pack_padded_sequence(z(5, 2, 3), [3, 5]),
    "zero length": lambda lib, z: lib.nn.utils.rnn.pack_padded_sequence(z(5, 2, 3), [5, 0]),
    "few lengths": lambda lib, z: lib.nn.utils.rnn.pack_padded_sequence(z(5, 2, 3), [5]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_same_errors(name):
    with pytest.raises(Exception) as expected:
        ERRORS[name](torch, torch.zeros)
    with pytest.raises(expected.type) as got:
        ERRORS[name](danlu, danlu.zeros)
    assert type(got.value) is expected.type
    assert str(got.value)[:20] == str(expected.value)[:20]
