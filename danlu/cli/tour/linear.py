"""Linear regression from tensors alone: a line, a cubic, and the progress of diabetes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import danlu as torch
from danlu import Tensor
from danlu.cli.tour import plots
from danlu.cli.tour.data import split, standardize, table
from danlu.cli.tour.lesson import Lesson, Outcome, Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """600 points of y = x³ with noise up to 1.3, given as the powers x, x², x³."""
    x = torch.linspace(-3, 3, 600).unsqueeze(1)
    return torch.cat([x, x**2, x**3], dim=1), x**3 + 1.3 * torch.rand(600, 1)


def diabetes() -> tuple[Tensor, Tensor]:
    """Ten measurements of 442 patients, and how far their diabetes went within a year."""
    features, progress, _, _ = table("diabetes")
    return features, progress.unsqueeze(1)


def draw(results: dict[str, Any]) -> Figure:
    figure, axes = plots.panels((1, 1, 1))
    X, Y, predicted = results["line"]
    axes[0].scatter(predicted, Y, s=16, color=plots.JADE, alpha=0.75, linewidth=0)
    axes[0].axline((0, 0), slope=1, color=plots.INK, linewidth=1.2)
    axes[0].set(title="y = 2 x₁ - 3 x₂ + 10 + noise", xlabel="predicted y", ylabel="true y")
    X, Y, predicted = results["cubic"]
    x, order = X[:, 0].sort()
    axes[1].scatter(x, Y[order], s=13, color=plots.JADE, alpha=0.6, linewidth=0)
    axes[1].plot(x, predicted[order], color=plots.CINNABAR, linewidth=2)
    axes[1].set(title="y = x³ + noise, from x, x², x³", xlabel="x", ylabel="y")
    X, Y, predicted = results["diabetes"]
    axes[2].scatter(predicted, Y, s=16, color=plots.INDIGO, alpha=0.75, linewidth=0)
    axes[2].axline((150, 150), slope=1, color=plots.INK, linewidth=1.2)
    axes[2].set(
        title="Diabetes after one year", xlabel="predicted progress", ylabel="true progress"
    )
    return figure


def run(open_watch) -> Outcome:
    scores: list[Score] = []
    results: dict[str, Any] = {}
    for name, make, data, expected in (
        ("line", the_line, "line (generated)", 0.94),
        ("cubic", the_cubic, "cubic (generated)", 0.98),
        ("diabetes", diabetes, "diabetes", 0.40),
    ):
        watch = open_watch(name)
        X_train, Y_train, X_test, Y_test = split(*make())
        X_train, scaled = standardize(X_train, X_test)
        w, b = fit_linear(X_train, Y_train, learning_rate=0.02, epochs=60, watch=watch)
        results[name] = (X_test, Y_test, scaled @ w + b)
        scores.append(Score(data, "R²", r_squared(*results[name][1:]), expected, watch))
    return Outcome(scores, draw(results))


LESSON = Lesson(
    name="linear",
    title="Linear regression from tensors alone",
    about=(
        "Low level: two tensors, a loss, its gradients, and a subtraction. The same dozen lines "
        "find the plane of the tutorials, a cubic (a linear model of x, x², x³), and how diabetes "
        "progresses in the patients that were held out."
    ),
    code=(fit_linear,),
    run=run,
)
