"""`VLog`: progress, plot and history for a training loop of one's own."""

from __future__ import annotations

from danlu.keras.checks import check_mode
from danlu.keras.plots import LivePlot
from danlu.keras.progress import VisProgress


class VLog:
    """Shows progress and a plot of a loop that is not `fit`, and keeps its history.

    Args:
        epochs: how many the loop will run.
        monitor_metric: the column of `log_epoch` that is plotted. Default: ``"val_loss"``
        monitor_mode: whether its best is the ``"min"`` (default) or the ``"max"``.
        save_path: file of the plot, or None. Default: ``"history.png"``
        figsize: in inches. Default: (6, 4)
        bar: show progress. Default: True
        quiet: print nothing. Default: False

    Raises:
        ValueError: for another mode.

    Example::

        >>> from danlu.keras import VLog
        >>> log = VLog(2, monitor_metric="train_loss", save_path=None, bar=False)
        >>> log.log_start()
        >>> for epoch in range(2):
        ...     log.log_step({"train_loss": 1.0})
        ...     log.log_epoch({"train_loss": 1.0 / (epoch + 1)})
        >>> log.log_end()
           epoch  train_loss
        0      1         1.0
        1      2         0.5
    """

    def __init__(
        self,
        epochs,
        monitor_metric="val_loss",
        monitor_mode="min",
        save_path="history.png",
        figsize=(6, 4),
        bar=True,
        quiet=False,
    ):
        self.mode = check_mode(monitor_mode)
        self.epochs, self.monitor = epochs, monitor_metric
        self.history, self.epoch, self.best_epoch = {}, 0, None
        self._step = 0
        self._progress = VisProgress() if bar and not quiet else None
        self._plot = LivePlot(figsize, save_path, quiet) if save_path is not None else None

    def log_start(self):
        """Call before the first epoch."""
        self.history, self.epoch, self.best_epoch, self._step = {}, 0, None, 0
        if self._progress is not None:
            self._progress.on_fit_start(self)
        if self._plot is not None:
            self._plot.start()

    def log_step(self, info, training=True):
        """Call after each batch, with its values by name; `training` tells it from validation."""
        self._step += 1
        if self._progress is not None and self._progress.due():
            self._progress.refresh("train" if training else "val", self._step, None, info)

    def log_epoch(self, info):
        """Call after each epoch, with its values by name.

        Raises:
            ValueError: if the monitored metric is not among them.
        """
        if self.monitor not in info:
            raise ValueError(
                f"monitor_metric={self.monitor!r} is not among the logged values: {', '.join(info)}"
            )
        self.epoch += 1
        self._step = 0
        for name, value in {"epoch": self.epoch, **info}.items():
            self.history.setdefault(name, []).append(value)
        values = [v if v == v else None for v in self.history[self.monitor]]
        known = [v for v in values if v is not None]
        if known:
            best = min(known) if self.mode == "min" else max(known)
            self.best_epoch = self.history["epoch"][values.index(best)]
        if self._progress is not None:
            self._progress.on_validation_epoch_end(self)
        if self._plot is not None:
            self._plot.update(self.history, self.monitor, self.mode, self.epochs)

    def log_end(self):
        """Call after the last epoch; returns the history as a pandas DataFrame."""
        import pandas

        if self._progress is not None:
            self._progress.on_fit_end(self)
        if self._plot is not None:
            self._plot.update(self.history, self.monitor, self.mode, last=True)
        return pandas.DataFrame(self.history)
