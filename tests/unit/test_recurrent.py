"""Recurrent layers by their equations, and their gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu.nn.utils import rnn as sequences


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights_of(layer):
    return [each.detach().numpy() for each in layer.parameters()]


def test_lstm_equations():
    danlu.manual_seed(0)
    layer = danlu.nn.LSTM(3, 4, dtype=danlu.float64)
    w_ih, w_hh, b_ih, b_hh = weights_of(layer)
    x = danlu.randn(5, 2, 3, dtype=danlu.float64)
    h = c = np.zeros((2, 4))
    outputs, (last_h, last_c) = layer(x)
    for step, output in zip(x.numpy(), outputs.detach().numpy()):
        i, f, g, o = np.split(step @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(output, h)
    np.testing.assert_allclose(last_h[0].detach().numpy(), h)
    np.testing.assert_allclose(last_c[0].detach().numpy(), c)


def test_gru_equations():
    danlu.manual_seed(0)
    layer = danlu.nn.GRU(3, 4, dtype=danlu.float64)
    w_ih, w_hh, b_ih, b_hh = weights_of(layer)
    x = danlu.randn(5, 2, 3, dtype=danlu.float64)
    h = np.zeros((2, 4))
    for step, output in zip(x.numpy(), layer(x)[0].detach().numpy()):
        r, z, n = np.split(step @ w_ih.T + b_ih, 3, axis=1)
        from_r, from_z, from_n = np.split(h @ w_hh.T + b_hh, 3, axis=1)
        z = sigmoid(z + from_z)
        h = (1 - z) * np.tanh(n + sigmoid(r + from_r) * from_n) + z * h
        np.testing.assert_allclose(output, h)


def difference(run, parameter, epsilon=1e-6):
    """The derivative of `run()` with respect to every element of a parameter."""
    array = parameter.detach().numpy()
    found = np.empty_like(array)
    for place in np.ndindex(*array.shape):
        kept = array[place]
        array[place] = kept + epsilon
        above = run()
        array[place] = kept - epsilon
        found[place] = (above - run()) / (2 * epsilon)
        array[place] = kept
    return found


@pytest.mark.parametrize("lengths", [(3, 3), (3, 1)])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("LSTM", {"bidirectional": True}),
        ("LSTM", {"proj_size": 2}),
        ("GRU", {"bidirectional": True}),
        ("RNN", {"num_layers": 2}),
        ("RNN", {"nonlinearity": "relu"}),
    ],
    ids=str,
)
def test_gradients_are_differences(kind, settings, lengths):
    danlu.manual_seed(1)
    layer = getattr(danlu.nn, kind)(2, 3, dtype=danlu.float64, **settings)
    x = danlu.randn(3, 2, 2, dtype=danlu.float64).requires_grad_()

    def loss():
        packed = sequences.pack_padded_sequence(x, lengths)
        output, state = layer(packed)
        states = state if isinstance(state, tuple) else (state,)
        return output.data.sin().sum() + sum((each * each).sum() for each in states)

    loss().backward()
    for parameter in (x, *layer.parameters()):
        expected = difference(lambda: loss().item(), parameter)
        np.testing.assert_allclose(parameter.grad.numpy(), expected, atol=1e-8)


def test_packed_rows_are_the_padded_batch_without_padding():
    danlu.manual_seed(0)
    layer = danlu.nn.LSTM(3, 4, bidirectional=True)
    items = [danlu.randn(n, 3) for n in (2, 5, 3)]
    output, (h, _) = layer(sequences.pack_sequence(items, enforce_sorted=False))
    for number, (item, got) in enumerate(zip(items, sequences.unpack_sequence(output))):
        alone, (h_alone, _) = layer(item)
        np.testing.assert_allclose(got.detach().numpy(), alone.detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(
            h[:, number].detach().numpy(), h_alone.detach().numpy(), atol=1e-6
        )


def test_dropout_acts_between_layers_in_training_alone():
    layer = danlu.nn.GRU(2, 3, num_layers=2, dropout=1.0)
    x = danlu.ones(4, 1, 2)
    layer.train()
    first = layer(x)[0]
    assert danlu.equal(first, layer(x * 2)[0])  # nothing of the input passes
    layer.eval()
    assert not danlu.equal(layer(x)[0], layer(x * 2)[0])


def test_one_layer_learns_to_remember_the_first_element():
    danlu.manual_seed(0)
    layer, head = danlu.nn.LSTM(1, 8), danlu.nn.Linear(8, 1)
    optimizer = danlu.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    x = danlu.randn(6, 32, 1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((head(layer(x)[0][-1]) - x[0]) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_an_lstm_without_its_cell_state_is_explained():
    with pytest.raises(TypeError, match=r"tuple \(h_0, c_0\), but got a Tensor of size"):
        danlu.nn.LSTM(3, 4)(danlu.zeros(5, 2, 3), danlu.zeros(1, 2, 4))


def test_wrong_features_name_what_was_expected():
    with pytest.raises(RuntimeError, match="Expected 3, got 4") as caught:
        danlu.nn.LSTM(3, 4)(danlu.zeros(5, 2, 4))
    notes = "\n".join(getattr(caught.value, "__notes__", [str(caught.value)]))
    assert "input_size=3" in notes


def test_padding_round_trip():
    items = [danlu.tensor([1, 2, 3]), danlu.tensor([4])]
    padded = sequences.pad_sequence(items, batch_first=True, padding_value=9)
    assert padded.tolist() == [[1, 2, 3], [4, 9, 9]]
    packed = sequences.pack_padded_sequence(padded, [3, 1], batch_first=True)
    again, lengths = sequences.pad_packed_sequence(packed, batch_first=True, padding_value=9)
    assert danlu.equal(again, padded)
    assert lengths.tolist() == [3, 1]


def test_lengths_are_checked():
    x = danlu.zeros(3, 2, 1)
    with pytest.raises(RuntimeError, match="decreasing order"):
        sequences.pack_padded_sequence(x, [1, 3])
    with pytest.raises(RuntimeError, match="at most the input's 3 steps"):
        sequences.pack_padded_sequence(x, [4, 3])
    with pytest.raises(ValueError, match="total_length=1"):
        sequences.pad_packed_sequence(sequences.pack_padded_sequence(x, [3, 3]), total_length=1)
