"""A convolutional network over words: whose documentation is this sentence from?"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import danlu as torch
from danlu import Tensor, nn
from danlu.cli.tour import corpus, plots
from danlu.cli.tour.lesson import Lesson, Outcome, Score
from danlu.keras import KerasModel
from danlu.metrics import Accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class TextNet(nn.Module):
    """Words become vectors, filters look at three at a time, and the strongest answers count."""

    def __init__(self, words):
        super().__init__()
        self.embedding = nn.Embedding(words, 16, padding_idx=0)
        self.conv = nn.Conv1d(16, 32, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(32, 1)

    def forward(self, x):
        x = self.embedding(x).transpose(1, 2)  # (N, words) -> (N, 16, words)
        x = torch.relu(self.conv(x)).amax(dim=2)  # (N, 32)
        return self.linear(self.dropout(x))


def train_text(X, Y, words, watch):
    """Stops when the validation accuracy has not risen for three epochs."""
    net = TextNet(words)
    model = KerasModel(
        net,
        loss_fn=nn.BCEWithLogitsLoss(),
        metrics_dict={"acc": Accuracy()},
        optimizer=torch.optim.AdamW(net.parameters(), lr=4e-3),
    )
    model.fit(
        (X, Y), validation_split=0.15, batch_size=128, epochs=8, patience=3,
        monitor="val_acc", mode="max", callbacks=[watch], plot=False, quiet=True, ckpt_path=None,
    )  # fmt: skip
    return model


def draw_sentences(axes: Axes, texts: list[tuple[str, int]], probability: Tensor) -> None:
    """Eight sentences in the colour of their source, and where on the scale they were put."""
    fitting = torch.tensor([40 < len(sentence) < 95 for sentence, _ in texts])
    for place, wanted in enumerate(torch.linspace(0.02, 0.98, 8).tolist()):
        distance = torch.where(fitting, (probability - wanted).abs(), 1.0)
        i = int(distance.argmin())
        sentence, label = texts[i]
        shown = textwrap.fill(sentence.replace("`", ""), 52)
        p = probability[i].item()
        color = plots.CLASSES[1 - label]
        axes.plot([0.5, p], [place, place], color=color, linewidth=5, alpha=0.35)
        axes.plot(p, place, "o", color=color, markersize=9)
        axes.text(-0.06, place, shown, ha="right", va="center", fontsize=8.5, color=color)
    axes.axvline(0.5, color=plots.INK, linewidth=1)
    axes.set(title="Held-out sentences", xlim=(-0.04, 1.04), ylim=(-0.6, 7.6), yticks=[])
    axes.set_xticks([0, 0.5, 1], [corpus.NAMES[0], "undecided", corpus.NAMES[1]])
    axes.spines["left"].set_visible(False)


def run(open_watch) -> Outcome:
    watch = open_watch("documentation")
    train, test = corpus.read()
    numbers = corpus.vocabulary(train)
    X, Y = corpus.encode(train, numbers)
    order = torch.randperm(len(X))
    model = train_text(X[order], Y[order], len(numbers) + 2, watch)
    X_test, Y_test = corpus.encode(test, numbers)
    probability = torch.sigmoid(model.predict(X_test))[:, 0]
    predicted = (probability > 0.5).to(torch.int64)
    labels = Y_test[:, 0].to(torch.int64)
    reached = (predicted == labels).float().mean().item()
    figure, axes = plots.panels((2.1, 1), height=4.2)
    draw_sentences(axes[0], test, probability)
    title = f"{reached:.1%} of {len(test):,} right"
    plots.confusion(axes[1], labels, predicted, list(corpus.NAMES), title)
    return Outcome([Score("documentation", "accuracy", reached, 0.80, watch)], figure)


LESSON = Lesson(
    name="text",
    title="Text CNN",
    about=(
        "High level: sentences from the docstrings of the NumPy and scikit-learn on this machine, "
        "and the question whose they are. Files are held out whole, and the words that would give "
        "the answer away are taken out."
    ),
    code=(TextNet, train_text),
    run=run,
)
