"""Softmax classification: three kinds of iris, three vineyards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import danlu as torch
from danlu import Tensor, nn
from danlu.cli.tour import plots
from danlu.cli.tour.data import split, standardize, table
from danlu.cli.tour.lesson import Lesson, Outcome, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fit_softmax(X, labels, classes, watch):
    """One linear layer with an output per class, and the cross entropy of their softmax."""
    model = nn.Linear(X.shape[1], classes)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in watch(range(200)):
        optimizer.zero_grad()
        loss = loss_fn(model(X), labels)
        loss.backward()
        optimizer.step()
        watch.step(loss)
    return model


def draw_petals(
    axes: Axes, X: Tensor, labels: Tensor, predicted: Tensor, classes: list[str]
) -> None:
    """The flowers by the size of their petals; rings mark the ones taken for another kind."""
    length, width = X[:, 2], X[:, 3]
    for number, (name, color) in enumerate(zip(classes, plots.CLASSES)):
        of_kind = labels == number
        axes.scatter(
            length[of_kind], width[of_kind], s=42, color=color, alpha=0.85, linewidth=0, label=name
        )
    wrong = predicted != labels
    if wrong.any():
        axes.scatter(
            length[wrong], width[wrong], s=120, facecolor="none", edgecolor=plots.INK,
            linewidth=1.3, label="mistaken",
        )  # fmt: skip
    axes.set(title="Held-out irises", xlabel="petal length, cm", ylabel="petal width, cm")
    axes.legend(loc="upper left")


def run(open_watch) -> Outcome:
    figure, axes = plots.panels((1.15, 1, 1))
    scores, losses = [], {}
    for data, expected in (("iris", 0.90), ("wine", 0.93)):
        watch = open_watch(data)
        features, labels, _, classes = table(data)
        X, Y, X_test, Y_test = split(features, labels)
        scaled, scaled_test = standardize(X, X_test)
        model = fit_softmax(scaled, Y, len(classes), watch)
        with torch.no_grad():
            predicted = model(scaled_test).argmax(dim=1)
        reached = (predicted == Y_test).float().mean().item()
        scores.append(Score(data, "accuracy", reached, expected, watch))
        losses[data] = watch.losses
        if data == "iris":
            draw_petals(axes[0], X_test, Y_test, predicted, classes)
        else:
            names = [name.replace("class_", "vineyard ") for name in classes]
            plots.confusion(axes[1], Y_test, predicted, names, "Held-out wines")
    plots.loss_curve(axes[2], losses)
    return Outcome(scores, figure)


LESSON = Lesson(
    name="softmax",
    title="Softmax classification",
    about=(
        "Mid level: one layer for three classes. Four measurements name the iris, thirteen the "
        "vineyard that a wine comes from."
    ),
    code=(fit_softmax,),
    run=run,
)
