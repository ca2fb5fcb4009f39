"""The models of `danlu tour` train alike, compiled and not."""

from __future__ import annotations

import pytest

import danlu as torch
from danlu import nn
from danlu.cli.tour.digits import DigitNet
from danlu.cli.tour.linear import the_cubic, the_line
from danlu.cli.tour.rings import RingNet, the_rings
from danlu.cli.tour.series import PASSENGERS, WINDOW, Forecaster
from danlu.cli.tour.text import TextNet
from danlu.metrics import Accuracy
from tests.unit.compiling import copied, differences, recorded

pytest.importorskip("llvmlite")


class ByHand:
    """What the lessons without optimizers do: subtract gradients."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr = parameters, lr

    def step(self):
        with torch.no_grad():
            for parameter in self.parameters:
                parameter -= self.lr * parameter.grad
                parameter.grad.zero_()

    def zero_grad(self):
        pass

    def state_dict(self):
        return {}


def shuffled(X, Y, size, count):
    """The first batches of an epoch; the last one is smaller."""
    rows = torch.randperm(len(X)).split(size)[:count]
    return [(X[r], Y[r]) for r in rows[:-1]] + [(X[rows[-1][:-3]], Y[rows[-1][:-3]])]


def linear(data=the_line):
    X, Y = data()
    w = torch.zeros(X.shape[1], 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    batches = shuffled(X, Y, 20, 8)
    return lambda x: x @ w + b, lambda p, y: ((p - y) ** 2).mean(), ByHand((w, b), 0.01), batches


def cubic():
    return linear(the_cubic)


def logistic():
    X = torch.randn(120, 30)
    model = nn.Linear(30, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3)
    batches = [(X, (X.sum(1, keepdim=True) > 0).float())] * 6
    return model, nn.BCEWithLogitsLoss(), optimizer, batches


def rings_low():
    X, Y = the_rings()
    w1, b1 = torch.randn(2, 4), torch.zeros(4)
    w2, b2 = torch.randn(4, 8), torch.zeros(8)
    w3, b3 = torch.randn(8, 1), torch.zeros(1)
    parameters = [p.requires_grad_() for p in (w1, b1, w2, b2, w3, b3)]

    def predict(x):
        x = torch.relu(x @ w1 + b1)
        x = torch.relu(x @ w2 + b2)
        return torch.sigmoid(x @ w3 + b3)

    def loss_fn(p, y):
        p = p.clamp(1e-7, 1 - 1e-7)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    return predict, loss_fn, ByHand(parameters, 0.05), shuffled(X, Y, 20, 8)


def rings_mid():
    net = RingNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-4)
    return net, nn.BCEWithLogitsLoss(), optimizer, shuffled(*the_rings(), 40, 8)


def softmax():
    X, Y = torch.randn(90, 13), torch.arange(90) % 3
    model = nn.Linear(13, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, eps=1e-4)
    return model, nn.CrossEntropyLoss(), optimizer, [(X, Y)] * 6


def digits():
    net = DigitNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3, eps=1e-3)
    X, Y = torch.rand(64, 1, 8, 8), torch.arange(64) % 10
    return net, nn.CrossEntropyLoss(), optimizer, shuffled(X, Y, 16, 4)


def series():
    passengers = torch.tensor(PASSENGERS, dtype=torch.float32).flatten().log()
    x = torch.stack([passengers[i : i + WINDOW] for i in range(60)]).unsqueeze(2)
    net = Forecaster()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-4)
    return net, nn.MSELoss(), optimizer, [(x, passengers[WINDOW : WINDOW + 60, None])] * 5


def text():
    net = TextNet(50)
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, eps=1e-3)
    X, Y = torch.randint(0, 50, (48, 24)), (torch.arange(48) % 2).float().unsqueeze(1)
    return net, nn.BCEWithLogitsLoss(), optimizer, shuffled(X, Y, 12, 4)


MODELS = (linear, cubic, logistic, rings_low, rings_mid, softmax, digits, series, text)


def lesson(make):
    """A model's training step, its batches over two epochs, and its state."""
    torch.manual_seed(1)
    model, loss_fn, optimizer, batches = make()

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def look():
        if isinstance(model, nn.Module):
            return copied([model.state_dict(), optimizer.state_dict()])
        return copied(optimizer.parameters)

    return step, batches * 2, look


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_lesson_trains_alike(make):
    step, batches, look = lesson(make)
    expected, _ = recorded(step, *batches)
    state = look()
    step, batches, look = lesson(make)
    compiled = torch.compile(step)
    found, told = recorded(compiled, *batches)
    assert not told
    assert not differences(found, expected, "float32")
    assert not differences(look(), state, "float32")
    stats = torch.compiler.stats(compiled)
    assert stats.compiled_calls >= len(batches) - 4


def scheduled(make):
    """A lesson whose learning rate falls along a cosine, as that of the digits does."""
    step, batches, look = lesson(make)
    optimizer = step.__closure__[step.__code__.co_freevars.index("optimizer")].cell_contents
    return step, batches, look, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)


@pytest.mark.parametrize("make", [rings_mid, softmax, digits], ids=lambda make: make.__name__)
def test_a_schedule_is_followed_without_new_traces(make):
    results = []
    for transform in (lambda step: step, torch.compile):
        step, batches, look, scheduler = scheduled(make)
        step = transform(step)
        for x, y in batches:
            loss = step(x, y)
            scheduler.step()
        results.append([copied(loss), look(), scheduler.get_last_lr()])
    assert not differences(results[1], results[0], "float32")
    stats = torch.compiler.stats(step)
    assert not stats.refusals and stats.traces <= 2


def test_accuracy_is_counted_beside_a_compiled_step():
    results = []
    for transform in (lambda step: step, torch.compile):
        torch.manual_seed(1)
        net, loss_fn, optimizer, batches = rings_mid()
        metric = Accuracy()

        def step(x, y):
            logits = net(x)
            loss = loss_fn(logits, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach(), logits.detach()

        step = transform(step)
        for x, y in batches * 2:
            _, logits = step(x, y)
            metric.update(logits, y)
        results.append(float(metric.compute()))
    assert results[0] == results[1]


@torch.no_grad()
def forecast(net, series, months):
    for _ in range(months):
        series = torch.cat([series, net(series[-WINDOW:].reshape(1, -1, 1))[0]])
    return series[-months:]


def test_a_forecast_of_a_growing_series():
    torch.manual_seed(1)
    net, months = Forecaster(), torch.tensor(PASSENGERS, dtype=torch.float32).flatten().log()
    compiled = torch.compile(forecast)
    for _ in range(3):
        assert torch.allclose(compiled(net, months, 12), forecast(net, months, 12), atol=1e-4)
    stats = torch.compiler.stats(compiled)
    assert not stats.refusals and stats.compiled_calls == 2
