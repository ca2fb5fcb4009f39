"""Linear regression from tensors alone: a line, a cubic, and the progress of diabetes."""

from __future__ import annotations

import danlu as torch
from danlu import Tensor
from danlu.cli.tour import plots
from danlu.cli.tour.data import split, standardize, table
from danlu.cli.tour.lesson import Lesson, Outcome, Score


def fit_linear(X, Y, learning_rate, epochs, watch):
    """Stochastic gradient descent on the squared error, without layers or optimizers."""
    w = torch.zeros(X.shape[1], 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in watch(range(epochs)):
        for rows in torch.randperm(len(X)).split(20):
            loss = ((X[rows] @ w + b - Y[rows]) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                for parameter in (w, b):
                    parameter -= learning_rate * parameter.grad
                    parameter.grad.zero_()
            watch.step(loss)
    return w.detach(), b.detach()


def r_squared(Y: Tensor, predicted: Tensor) -> float:
    """The share of the variance that is explained: 1 - sum((y - p)²) / sum((y - mean(y))²)."""
    return (1 - ((Y - predicted) ** 2).sum() / ((Y - Y.mean()) ** 2).sum()).item()


def the_line() -> tuple[Tensor, Tensor]:
    """400 points of y = 2 x1 - 3 x2 + 10 with noise of deviation 2."""
    X = 10 * torch.rand(400, 2) - 5
    return X, X @ torch.tensor([[2.0], [-3.0]]) + 10 + torch.normal(0.0, 2.0, size=[400, 1])


def the_cubic() -> tuple[Tensor, Tensor]:
    """Points of y = x³ with noise, as the powers x, x², x³ of x in [-3, 3]."""
    x = torch.linspace(-3, 3, 600).unsqueeze(1)
    return torch.cat([x, x**2, x**3], dim=1), x**3 + 4 * torch.randn(600, 1)


def run(open_watch) -> Outcome:
    watches = {name: open_watch(name) for name in ("line", "cubic", "diabetes")}
    features, labels, _, _ = table("diabetes")
    sources = {
        "line": (*the_line(), "line (generated)", 0.94),
        "cubic": (*the_cubic(), "cubic (generated)", 0.72),
        "diabetes": (features, labels.unsqueeze(1), "diabetes", 0.40),
    }
    scores, held_out = [], {}
    for name, (X, Y, data, expected) in sources.items():
        X_train, Y_train, X_test, Y_test = split(X, Y)
        X_train, scaled = standardize(X_train, X_test)
        Y_train, _ = standardize(Y_train, Y_test)
        w, b = fit_linear(X_train, Y_train, learning_rate=0.01, epochs=30, watch=watches[name])
        held_out[name] = (X_test, Y_test, scaled @ w + b)
        scores.append(Score(data, "R²", 0.0, expected, watches[name]))
    return Outcome(scores, None)
