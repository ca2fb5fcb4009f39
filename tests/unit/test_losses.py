"""Losses without PyTorch: values by hand, numeric derivatives, and messages that name the
repair."""

from __future__ import annotations

import math

import numpy as np
import pytest

import danlu
import danlu.nn.functional as F
from danlu import nn


def test_values_by_hand():
    x, y = danlu.tensor([1.0, 2.0]), danlu.tensor([0.0, 4.0])
    assert F.mse_loss(x, y).item() == 2.5
    assert F.mse_loss(x, y, reduction="sum").item() == 5.0
    assert F.mse_loss(x, y, reduction="none").tolist() == [1.0, 4.0]
    assert F.l1_loss(x, y).item() == 1.5
    assert F.smooth_l1_loss(x, y).item() == 1.0
    assert F.huber_loss(x, y, delta=0.5).item() == (0.375 + 0.875) / 2
    logits = danlu.tensor([[0.0, math.log(3.0)]])
    assert F.cross_entropy(logits, danlu.tensor([1])).item() == pytest.approx(math.log(4 / 3))
    assert F.binary_cross_entropy_with_logits(
        danlu.tensor([0.0]), danlu.tensor([1.0])
    ).item() == pytest.approx(math.log(2))


def test_losses_of_extreme_logits_are_finite():
    x = danlu.tensor([1000.0, -1000.0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, danlu.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad.tolist() == [0.0, 0.0]
    assert F.cross_entropy(danlu.tensor([[1000.0, 0.0]]), danlu.tensor([1])).item() == 1000.0


CLASSES = danlu.tensor([2, 0, 1])
BINARY = danlu.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], dtype=danlu.float64)
LOSSES = {
    "mse": lambda x: F.mse_loss(x, BINARY),
    "huber": lambda x: F.huber_loss(x, BINARY),
    "logits": lambda x: F.binary_cross_entropy_with_logits(x, BINARY),
    "cross entropy": lambda x: F.cross_entropy(x, CLASSES),
    "cross entropy of all": lambda x: F.cross_entropy(x, CLASSES, reduction="none").sum(),
    "weighted": lambda x: F.cross_entropy(x, CLASSES, BINARY[0] + 1, reduction="sum"),
    "ignored": lambda x: F.cross_entropy(x, CLASSES, ignore_index=0),
    "smoothed": lambda x: F.cross_entropy(x, CLASSES, label_smoothing=0.1),
    "nll": lambda x: F.nll_loss(x * x, CLASSES),
}


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives(name):
    call = LOSSES[name]
    array = np.random.default_rng(5).normal(size=(3, 3))

    def gradient(each):
        x = danlu.from_numpy(each).requires_grad_(True)
        return danlu.autograd.grad(call(x), x)[0].numpy()

    x = danlu.from_numpy(array).requires_grad_(True)
    (first,) = danlu.autograd.grad(call(x), x, create_graph=True)
    (second,) = danlu.autograd.grad((first * first).sum(), x)
    step = 1e-6
    for index in np.ndindex(array.shape):
        above, below = array.copy(), array.copy()
        above[index] += step
        below[index] -= step
        slope = (float(call(danlu.from_numpy(above))) - float(call(danlu.from_numpy(below)))) / (
            2 * step
        )
        curve = ((gradient(above) ** 2).sum() - (gradient(below) ** 2).sum()) / (2 * step)
        assert float(first.detach()[index]) == pytest.approx(slope, abs=1e-6)
        assert float(second[index]) == pytest.approx(curve, abs=1e-6)


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_a_column_against_a_vector_warns_with_the_repair(function):
    with pytest.warns(UserWarning, match=r"target.unsqueeze\(1\)"):
        assert function(danlu.ones(3, 1), danlu.ones(3)).item() == 0.0
    with pytest.warns(UserWarning, match=r"target.squeeze\(1\)"):
        function(danlu.ones(3), danlu.ones(3, 1))


@pytest.mark.parametrize("function", [F.binary_cross_entropy, F.binary_cross_entropy_with_logits])
def test_a_column_against_a_vector_is_refused_with_the_repair(function):
    with pytest.raises(ValueError, match=r"target.unsqueeze\(1\)"):
        function(danlu.full((3, 1), 0.5), danlu.ones(3))
    with pytest.raises(ValueError, match=r"target.squeeze\(1\)"):
        function(danlu.full((3,), 0.5), danlu.ones(3, 1))


MESSAGES = [
    (danlu.tensor([0, 5, 1]), IndexError, "Target 5 is out of bounds.*position 1.*3 classes"),
    (danlu.tensor([0, 1, -1]), IndexError, "Target -1 is out of bounds.*position 2.*0 and 2"),
    (danlu.tensor([0.0, 1.0, 2.0]), RuntimeError,
     r"expected scalar type Long but found Float.*\.long\(\)"),
    (danlu.tensor([0, 1]), ValueError, r"input batch_size \(3\) to match target batch_size \(2\)"),
    (danlu.tensor([[0], [1], [2]]), RuntimeError, r"target.squeeze\(1\)"),
    (danlu.tensor([[0, 1], [1, 0], [0, 1]]), RuntimeError, r"argmax\(1\)"),
    (danlu.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]]), RuntimeError,
    r"target.float\(\)|argmax\(1\)"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "error", "words"), MESSAGES)
def test_messages_about_classes(target, error, words):
    with pytest.raises(error, match=words):
        F.cross_entropy(danlu.ones(3, 3), target)


def test_probabilities_out_of_range_are_named():
    with pytest.raises(RuntimeError, match="between 0 and 1.*between -1 and 2.*sigmoid"):
        F.binary_cross_entropy(danlu.tensor([-1.0, 2.0]), danlu.ones(2))


def test_weights_are_state_and_follow_the_module():
    loss = nn.CrossEntropyLoss(danlu.tensor([1.0, 2.0]))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype is danlu.float64
    assert list(nn.BCEWithLogitsLoss(pos_weight=danlu.ones(2)).state_dict()) == ["pos_weight"]


def test_printed_losses_and_their_nodes():
    x = danlu.zeros(1, 2, requires_grad=True)
    assert type(F.cross_entropy(x, danlu.tensor([0])).grad_fn).__name__ == "NllLossBackward0"
    assert type(F.mse_loss(x, danlu.ones(1, 2)).grad_fn).__name__ == "MseLossBackward0"
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
    assert repr(nn.MSELoss()) == "MSELoss()"


def test_ctc_counts_alignments():
    # two steps, one label: the alignments are (label, label), (blank, label), (label, blank)
    log_probs = danlu.zeros(2, 1, 2).log_softmax(2)
    loss = F.ctc_loss(log_probs, danlu.tensor([[1]]), (2,), (1,))
    assert loss.item() == pytest.approx(-math.log(3 / 4))
    impossible = F.ctc_loss(log_probs, danlu.tensor([[1, 1]]), (2,), (2,), reduction="none")
    assert impossible.item() == math.inf
