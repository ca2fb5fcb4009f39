"""The ring network of the tutorials, three times: low, mid and high level."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import danlu as torch
from danlu import Tensor, nn
from danlu.cli.tour import plots
from danlu.cli.tour.data import split
from danlu.cli.tour.lesson import Lesson, Outcome, Score
from danlu.keras import KerasModel
from danlu.metrics import Accuracy
from danlu.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPECTED = 0.88  # where the rings overlap, the best boundary there is reaches 0.93
DATA = "rings (generated)"


def low_level(X, Y, watch):
    """A 2-4-8-1 network of plain tensors, trained by subtracting gradients."""
    w1, b1 = torch.randn(2, 4), torch.zeros(4)
    w2, b2 = torch.randn(4, 8), torch.zeros(8)
    w3, b3 = torch.randn(8, 1), torch.zeros(1)
    parameters = [p.requires_grad_() for p in (w1, b1, w2, b2, w3, b3)]

    def predict(x):
        x = torch.relu(x @ w1 + b1)
        x = torch.relu(x @ w2 + b2)
        return torch.sigmoid(x @ w3 + b3)

    for _ in watch(range(20)):
        for rows in torch.randperm(len(X)).split(20):
            p, y = predict(X[rows]).clamp(1e-7, 1 - 1e-7), Y[rows]
            loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
            loss.backward()
            with torch.no_grad():
                for parameter in parameters:
                    parameter -= 0.05 * parameter.grad
                    parameter.grad.zero_()
            watch.step(loss)
    return predict


class RingNet(nn.Module):
    """The same network of layers; it ends in a logit."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 4)
        self.fc2 = nn.Linear(4, 8)
        self.fc3 = nn.Linear(8, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)


def mid_level(X, Y, watch):
    """Layers, a loss, an optimizer and a data loader, in a loop of one's own."""
    net = RingNet()
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(X, Y), batch_size=40, shuffle=True)
    for _ in watch(range(20)):
        for features, labels in loader:
            optimizer.zero_grad()
            loss = loss_fn(net(features), labels)
            loss.backward()
            optimizer.step()
            watch.step(loss)
    return net


def high_level(X, Y, watch):
    """The whole loop in one call: batches, metrics, validation and the best weights."""
    net = RingNet()
    model = KerasModel(
        net,
        loss_fn=nn.BCEWithLogitsLoss(),
        metrics_dict={"acc": Accuracy()},
        optimizer=torch.optim.Adam(net.parameters(), lr=0.01),
    )
    history = model.fit(
        (X, Y), validation_split=0.2, batch_size=50, epochs=30, patience=8,
        monitor="val_acc", mode="max", callbacks=[watch], plot=False, quiet=True, ckpt_path=None,
    )  # fmt: skip
    return model, history


def the_rings() -> tuple[Tensor, Tensor]:
    """2000 points of each ring: radius 5 (class 1) and 8 (class 0), both with deviation 1."""
    radius = torch.cat([torch.normal(5.0, 1.0, size=[2000]), torch.normal(8.0, 1.0, size=[2000])])
    angle = 2 * pi * torch.rand(4000)
    X = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return X, torch.cat([torch.ones(2000, 1), torch.zeros(2000, 1)])


def accuracy(probability: Tensor, Y: Tensor) -> float:
    return ((probability > 0.5) == (Y > 0.5)).float().mean().item()


def draw_rings(axes, probability, X: Tensor, Y: Tensor, reached: float) -> None:
    reach = (-11.0, 11.0, -11.0, 11.0)
    plots.field(axes, probability, reach)
    inner = Y[:, 0] > 0.5
    for rows, color in ((inner, plots.CINNABAR), (inner.logical_not(), plots.JADE)):
        axes.scatter(*X[rows].T, s=7, color=color, alpha=0.8, linewidth=0)
    axes.set(
        title=f"Held-out points, {reached:.1%} right", xlim=reach[:2], ylim=reach[2:],
        xlabel="x₁", ylabel="x₂", xticks=range(-10, 11, 5), yticks=range(-10, 11, 5),
    )  # fmt: skip


def draw(probability, X: Tensor, Y: Tensor, score: Score) -> Figure:
    figure, axes = plots.panels((1, 1.25), height=4.6)
    draw_rings(axes[0], probability, X, Y, score.value)
    plots.loss_curve(axes[1], {"": score.watch.losses})
    return figure


def draw_history(axes, history) -> None:
    from matplotlib.ticker import MaxNLocator

    for column, label, color in (
        ("train_acc", "training", plots.CINNABAR),
        ("val_acc", "validation", plots.JADE),
    ):
        axes.plot(history["epoch"], history[column], color=color, linewidth=1.8, label=label)
    best = history["val_acc"].idxmax()
    axes.plot(
        history["epoch"][best], history["val_acc"][best], "*", color=plots.GOLD, markersize=15,
        markeredgecolor=plots.INK, markeredgewidth=0.6, label="best weights",
    )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set(title="The history that fit returns", xlabel="epoch", ylabel="accuracy")
    axes.legend()


def run_low(open_watch) -> Outcome:
    X, Y, X_test, Y_test = split(*the_rings())
    watch = open_watch("rings")
    predict = low_level(X, Y, watch)
    score = Score(DATA, "accuracy", accuracy(predict(X_test), Y_test), EXPECTED, watch)
    return Outcome([score], draw(predict, X_test, Y_test, score))


def run_mid(open_watch) -> Outcome:
    X, Y, X_test, Y_test = split(*the_rings())
    watch = open_watch("rings")
    net = mid_level(X, Y, watch)

    def predict(x):
        return torch.sigmoid(net(x))

    score = Score(DATA, "accuracy", accuracy(predict(X_test), Y_test), EXPECTED, watch)
    return Outcome([score], draw(predict, X_test, Y_test, score))


def run_high(open_watch) -> Outcome:
    X, Y, X_test, Y_test = split(*the_rings())
    watch = open_watch("rings")
    model, history = high_level(X, Y, watch)
    reached = model.evaluate((X_test, Y_test), quiet=True)["val_acc"]
    score = Score(DATA, "accuracy", reached, EXPECTED, watch)
    figure, axes = plots.panels((1, 1.25), height=4.6)
    draw_rings(axes[0], lambda x: torch.sigmoid(model.predict(x)), X_test, Y_test, reached)
    draw_history(axes[1], history)
    return Outcome([score], figure)


LESSONS = (
    Lesson(
        name="rings-low",
        title="Ring network, low level",
        about="A network of plain tensors: it is a function, and training is arithmetic.",
        code=(low_level,),
        run=run_low,
    ),
    Lesson(
        name="rings-mid",
        title="Ring network, mid level",
        about="The same network of layers, with a loss, an optimizer and a data loader.",
        code=(RingNet, mid_level),
        run=run_mid,
    ),
    Lesson(
        name="rings-high",
        title="Ring network, high level",
        about="The same layers in a KerasModel, whose fit is the loop and returns its history.",
        code=(high_level,),
        run=run_high,
    ),
)
