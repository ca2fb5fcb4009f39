"""Logistic regression: breast cancer, malignant or benign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import danlu as torch
from danlu import Tensor, nn
from danlu.cli.tour import plots
from danlu.cli.tour.data import split, standardize, table
from danlu.cli.tour.lesson import Lesson, Outcome, Score, Watch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fit_logistic(X, Y, watch):
    """One linear layer whose output is the logit of class 1."""
    model = nn.Linear(X.shape[1], 1)
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3)
    for _ in watch(range(300)):
        optimizer.zero_grad()
        loss = loss_fn(model(X), Y)
        loss.backward()
        optimizer.step()
        watch.step(loss)
    return model


def draw(
    model: nn.Linear, logits: Tensor, labels: Tensor, names: list[str], watch: Watch
) -> Figure:
    figure, axes = plots.panels((1.15, 1.1, 0.9))
    bins = torch.linspace(-12, 12, 33).tolist()
    for number, (label, color) in enumerate(
        (("malignant", plots.CINNABAR), ("benign", plots.JADE))
    ):
        values = logits[labels == number].clamp(-12, 12).tolist()
        axes[0].hist(values, bins=bins, color=color, alpha=0.85, label=label, rwidth=0.92)
    axes[0].axvline(0, color=plots.INK, linewidth=1.2)
    axes[0].set(
        title="Held-out patients", xlabel="logit: < 0 malignant, > 0 benign", ylabel="patients"
    )
    axes[0].legend()
    weights = model.weight.detach()[0]
    strongest = weights.abs().topk(10).indices.flip(0)
    colors = [plots.JADE if w > 0 else plots.CINNABAR for w in weights[strongest].tolist()]
    axes[1].barh(
        [names[i] for i in strongest.tolist()],
        weights[strongest].tolist(),
        color=colors,
        height=0.7,
    )
    axes[1].axvline(0, color=plots.INK, linewidth=1)
    axes[1].set(title="The ten strongest weights")
    axes[1].grid(visible=False, axis="y")
    plots.loss_curve(axes[2], {"": watch.losses})
    return figure


def run(open_watch) -> Outcome:
    watch = open_watch("breast cancer")
    features, labels, names, _ = table("breast_cancer")
    X, Y, X_test, Y_test = split(features, labels)
    X, X_test = standardize(X, X_test)
    model = fit_logistic(X, Y.float().unsqueeze(1), watch)
    with torch.no_grad():
        logits = model(X_test)[:, 0]
    accuracy = ((logits > 0) == (Y_test == 1)).float().mean().item()
    score = Score("breast cancer", "accuracy", accuracy, 0.94, watch)
    return Outcome([score], draw(model, logits, Y_test, names, watch))


LESSON = Lesson(
    name="logistic",
    title="Logistic regression",
    about=(
        "Mid level: a layer, a loss and an optimizer. Thirty measurements of cell nuclei tell "
        "benign from malignant tumours."
    ),
    code=(fit_logistic,),
    run=run,
)
