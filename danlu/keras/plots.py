"""Plots of a training history."""

from __future__ import annotations

import importlib.util
import io
import os
import time

from danlu.keras.utils import in_notebook, say

_NO_MATPLOTLIB = "no plot: matplotlib is missing (pip install 'danlu[keras]')"


def plot_metric(dfhistory, metric):
    """Draws a column of a history over the epochs, training and validation.

    Args:
        dfhistory: what `fit` of `KerasModel` or of the older `Model` returns.
        metric: a name without prefix, such as ``"loss"``.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if the history has no such metric.
        ImportError: if matplotlib is missing.

    Example:
        >>> import pandas
        >>> from danlu.keras import plot_metric
        >>> history = pandas.DataFrame({"train_loss": [2.0, 1.0], "val_loss": [2.5, 1.5]})
        >>> plot_metric(history, "loss").axes[0].get_ylabel()
        'loss'
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot_metric needs matplotlib: pip install 'danlu[keras]'") from error
    columns = list(dfhistory.columns)
    train = f"train_{metric}" if f"train_{metric}" in columns else metric
    if train not in columns:
        raise ValueError(f"the history has no metric {metric!r}; its columns: {', '.join(columns)}")
    figure, axes = plt.subplots()
    _draw_curves(axes, dfhistory, train, f"val_{metric}")
    axes.set_title(f"Training and validation {metric}")
    axes.set_ylabel(metric)
    return figure


def draw_history(history, monitor, mode, epochs=None, figsize=(6, 4)):
    """A figure of the monitored metric, training and validation, with a star at the best epoch.

    Args:
        history: lists by column, as `KerasModel.history`.
        monitor, mode: as `fit` takes them.
        epochs: the right end of the axis; the epochs in the history if None.
        figsize: in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=figsize)
    axes = figure.add_subplot()
    metric = monitor.removeprefix("train_").removeprefix("val_")
    _draw_curves(axes, history, f"train_{metric}", f"val_{metric}")
    seen = [(value, epoch) for value, epoch in zip(history[monitor], history["epoch"], strict=True)]
    numbers = [pair for pair in seen if pair[0] == pair[0]]
    if numbers:
        pick = min if mode == "min" else max
        value, epoch = pick(numbers, key=lambda pair: pair[0])
        axes.plot(epoch, value, "r*", markersize=15)
        axes.set_title(f"best {monitor}={value:.4f} (@epoch {epoch})")
    axes.set_ylabel(metric)
    if epochs:
        axes.set_xlim(0, max(epochs, history["epoch"][-1]) + 1)
    return figure


def _draw_curves(axes, history, train, val):
    rows = len(history[train])
    epochs = history["epoch"] if "epoch" in history else range(1, rows + 1)
    axes.plot(epochs, history[train], "bo--", markersize=4, label=train)
    if val in history:
        axes.plot(epochs, history[val], "ro-", markersize=4, label=val)
    axes.set_xlabel("Epochs")
    axes.grid(alpha=0.3)
    axes.legend()


class LivePlot:
    """A figure that follows a history: live in a notebook, a PNG file at times and at the end
    elsewhere.

    Drawing takes a good tenth of a second, so it is done rarely enough to cost no more than a
    twentieth of the time.

    Args:
        figsize: in inches. Default: (6, 4)
        save_path: the PNG file, or None. Default: ``"history.png"``
        quiet: print nothing. Default: False
    """

    def __init__(self, figsize=(6, 4), save_path="history.png", quiet=False):
        self.figsize, self.save_path, self.quiet = figsize, save_path, quiet
        self._handle, self._next_draw, self._pause = None, 0.0, 0.0

    def start(self):
        """Begins a new figure."""
        self._handle = None
        self._pause = 0.5 if in_notebook() else 5.0
        self._next_draw = time.monotonic() + (0.0 if in_notebook() else self._pause)

    def update(self, history, monitor, mode, epochs=None, last=False):
        """Draws, if the time has come or `last` says that no more will follow."""
        if not history or not (last or time.monotonic() >= self._next_draw):
            return
        if importlib.util.find_spec("matplotlib") is None:
            say(_NO_MATPLOTLIB, quiet=self.quiet or not last)
            return
        start = time.monotonic()
        figure = draw_history(history, monitor, mode, epochs, self.figsize)
        if in_notebook():
            self._display(figure)
        if self.save_path is not None and (last or not in_notebook()):
            self._save(figure)
            say(
                f"plot of {monitor}: {os.path.abspath(self.save_path)}",
                quiet=self.quiet or not last,
            )
        end = time.monotonic()
        self._next_draw = end + max(self._pause, 20 * (end - start))

    def _save(self, figure):
        folder = os.path.dirname(self.save_path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        figure.savefig(self.save_path)

    def _display(self, figure):
        from IPython.display import Image, display

        png = io.BytesIO()
        figure.savefig(png, format="png")
        image = Image(png.getvalue())
        if self._handle is None:
            self._handle = display(image, display_id=True)
        else:
            self._handle.update(image)


class VisMetric:
    """Callback that plots the monitored metric during `fit`, see `LivePlot`.

    Args:
        figsize, save_path, quiet: as there.
    """

    def __init__(self, figsize=(6, 4), save_path="history.png", quiet=False):
        self.plot = LivePlot(figsize, save_path, quiet)

    def on_fit_start(self, model):
        self.plot.start()

    def on_validation_epoch_end(self, model):
        self.plot.update(model.history, model.monitor, model.mode, model.epochs)

    def on_fit_end(self, model):
        self.plot.update(model.history, model.monitor, model.mode, last=True)
