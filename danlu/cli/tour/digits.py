"""A convolutional network that reads handwritten digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import danlu as torch
from danlu import Tensor, nn
from danlu.cli.tour import plots
from danlu.cli.tour.data import split, table
from danlu.cli.tour.lesson import Lesson, Outcome, Score
from danlu.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class DigitNet(nn.Module):
    """Two convolutions that halve the picture, and two linear layers."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # 8x8 -> 4x4
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # 4x4 -> 2x2
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    def forward(self, x):
        return self.classifier(self.features(x))


def train_digits(images, labels, watch):
    """Adam on the cross entropy, with a learning rate that falls along a cosine."""
    epochs = 20
    net = DigitNet()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    for _ in watch(range(epochs)):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            optimizer.step()
            watch.step(loss)
        scheduler.step()
    return net.eval()


def draw_samples(axes: Axes, images: Tensor, labels: Tensor, predicted: Tensor) -> None:
    """A sheet of digits under what the network read; the misread ones come first."""
    rows, columns, pitch = 6, 8, 11
    chosen = (predicted == labels).to(torch.int64).argsort(stable=True)[: rows * columns]
    sheet = torch.full((rows * pitch + 1, columns * pitch), float("nan"))
    for place, i in enumerate(chosen.tolist()):
        top, left = place // columns * pitch + 3, place % columns * pitch + 1
        sheet[top : top + 8, left : left + 8] = images[i, 0]
        right = predicted[i] == labels[i]
        text = str(int(predicted[i])) if right else f"{int(predicted[i])}, not {int(labels[i])}"
        axes.text(
            left + 3.5, top - 1.2, text, ha="center", fontsize=8.5, fontweight="bold",
            color=plots.JADE if right else plots.CINNABAR,
        )  # fmt: skip
    axes.imshow(sheet.numpy(), cmap="Greys", vmin=0, vmax=1)
    axes.set_anchor("NW")
    axes.set(title="Held-out digits and what was read", xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def run(open_watch) -> Outcome:
    watch = open_watch("digits")
    features, labels, _, classes = table("digits")
    images = features.reshape(-1, 1, 8, 8) / 16
    X, Y, X_test, Y_test = split(images, labels)
    net = train_digits(X, Y, watch)
    with torch.no_grad():
        predicted = net(X_test).argmax(dim=1)
    reached = (predicted == Y_test).float().mean().item()
    figure, axes = plots.panels((1.25, 1), height=4.7)
    draw_samples(axes[0], X_test, Y_test, predicted)
    plots.confusion(axes[1], Y_test, predicted, classes, f"{reached:.1%} of {len(Y_test)} right")
    return Outcome([Score("digits", "accuracy", reached, 0.94, watch)], figure)


LESSON = Lesson(
    name="digits",
    title="Digits CNN",
    about="Mid level: a convolutional network reads 8x8 pictures of handwritten digits.",
    code=(DigitNet, train_digits),
    run=run,
)
