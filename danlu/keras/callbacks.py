"""Callbacks for `KerasModel.fit`: objects with any of the methods in
`danlu.keras.kerasmodel.HOOKS`.

Each gets the model, whose `history`, `epoch`, `epochs`, `monitor`, `best_epoch` and `net` tell
where training stands; setting its `stop_training` to True ends it.
"""

from __future__ import annotations

import os
from collections import deque

from danlu.keras.checkpoint import save_atomically
from danlu.keras.plots import VisMetric
from danlu.keras.progress import BatchBars, VisProgress
from danlu.keras.utils import compact, evaluating, now, say

__all__ = [
    "BatchBars",
    "EpochCheckpoint",
    "MiniLogCallback",
    "TensorBoardCallback",
    "VisDisplay",
    "VisMetric",
    "VisProgress",
    "WandbCallback",
]


def _last_row(model):
    """The values of the last epoch by column."""
    return {name: values[-1] for name, values in model.history.items()}


class MiniLogCallback:
    """Prints one line at every `log_freq`-th epoch.

    Args:
        log_freq: at least 1. Default: 1

    Raises:
        ValueError: for a smaller one.

    Example:
        >>> import danlu as torch
        >>> from danlu.keras import KerasModel
        >>> from danlu.keras.callbacks import MiniLogCallback
        >>> model = KerasModel(torch.nn.Linear(2, 1), torch.nn.MSELoss())
        >>> data = (torch.zeros(4, 2), torch.zeros(4, 1))
        >>> options = {"plot": False, "quiet": True, "ckpt_path": None}
        >>> history = model.fit(data, epochs=1, callbacks=[MiniLogCallback()], **options)
        20...: epoch=1, train_loss=..., lr=0.0003
    """

    def __init__(self, log_freq=1):
        if log_freq < 1:
            raise ValueError(f"log_freq must be at least 1, got {log_freq}")
        self.log_freq = log_freq

    def on_validation_epoch_end(self, model):
        if model.epoch % self.log_freq == 0:
            values = ", ".join(f"{name}={compact(v)}" for name, v in _last_row(model).items())
            say(f"{now()}: {values}")


class EpochCheckpoint:
    """Saves the weights of epochs, and deletes the oldest files beyond `max_ckpt`.

    Args:
        ckpt_dir: folder of the files ``checkpoint_epoch<n>.pt``. Default: ``"weights"``
        save_freq: every how many epochs. Default: 1
        max_ckpt: how many files to keep. Default: 10
    """

    def __init__(self, ckpt_dir="weights", save_freq=1, max_ckpt=10):
        if save_freq < 1 or max_ckpt < 1:
            raise ValueError(
                f"save_freq and max_ckpt must be at least 1, got {save_freq} and {max_ckpt}"
            )
        self.ckpt_dir, self.save_freq, self.max_ckpt = ckpt_dir, save_freq, max_ckpt
        self._kept = deque()

    def on_validation_epoch_end(self, model):
        if model.epoch % self.save_freq:
            return
        path = os.path.join(self.ckpt_dir, f"checkpoint_epoch{model.epoch}.pt")
        save_atomically(model.net.state_dict(), path)
        self._kept.append(path)
        if len(self._kept) > self.max_ckpt:
            os.remove(self._kept.popleft())


class VisDisplay:
    """Shows something about the model during training: calls ``display_fn(model)`` every few
    epochs.

    Args:
        display_fn: called with `model`, in eval mode and without gradients.
        model: passed to it; the `KerasModel` being trained if None.
        init_display: also before training. Default: True
        dis_period: every how many epochs. Default: 1
    """

    def __init__(self, display_fn, model=None, init_display=True, dis_period=1):
        if dis_period < 1:
            raise ValueError(f"dis_period must be at least 1, got {dis_period}")
        self.display_fn, self.model = display_fn, model
        self.init_display, self.dis_period = init_display, dis_period

    def _display(self, model):
        shown = model if self.model is None else self.model
        with evaluating(shown):
            self.display_fn(shown)

    def on_fit_start(self, model):
        if self.init_display:
            self._display(model)

    def on_validation_epoch_end(self, model):
        if model.epoch % self.dis_period == 0:
            self._display(model)


class TensorBoardCallback:
    """Logs the history, and on request the weights, for TensorBoard, and saves ``dfhistory.csv``
    beside them.

    Args:
        save_dir: Default: ``"runs"``
        model_name: a folder inside it. Default: ``"model"``
        log_weight: also histograms of the parameters. Default: False
        log_weight_freq: every how many epochs. Default: 5
    """

    def __init__(self, save_dir="runs", model_name="model", log_weight=False, log_weight_freq=5):
        self.save_dir, self.model_name = save_dir, model_name
        self.log_weight, self.log_weight_freq = log_weight, log_weight_freq
        self.log_path = self.writer = None

    def on_fit_start(self, model):
        from danlu.utils.tensorboard import SummaryWriter

        run = now().replace(" ", "_").replace(":", "-")
        self.log_path = os.path.join(self.save_dir, self.model_name, run)
        self.writer = SummaryWriter(self.log_path)
        self._log_weights(model, 0)

    def on_validation_epoch_end(self, model):
        row = _last_row(model)
        groups = {}
        for name, value in row.items():
            if name != "epoch":
                groups.setdefault(name.split("_", 1)[-1], {})[name] = value
        for group, values in groups.items():
            self.writer.add_scalars(group, values, model.epoch)
        if model.epoch % self.log_weight_freq == 0:
            self._log_weights(model, model.epoch)

    def on_fit_end(self, model):
        import pandas

        self._log_weights(model, model.epoch)
        self.writer.close()
        history = pandas.DataFrame(model.history)
        history.to_csv(os.path.join(self.log_path, "dfhistory.csv"), index=False)

    def _log_weights(self, model, epoch):
        if self.log_weight:
            for name, parameter in model.net.named_parameters():
                self.writer.add_histogram(name, parameter, epoch)


class WandbCallback:
    """Logs the history to Weights & Biases.

    Args:
        project: Default: the service's own.
        config: a dict of settings to log.
        name: of the run; the time if None.
        save_ckpt: also upload the best weights. Default: True
        save_code: also upload the code. Default: True

    Raises:
        ImportError: if the package wandb is missing.
    """

    def __init__(self, project=None, config=None, name=None, save_ckpt=True, save_code=True):
        try:
            import wandb
        except ImportError as error:
            raise ImportError("logging to Weights & Biases needs: pip install wandb") from error
        self._wandb = wandb
        self.project, self.config = project, config
        self.name, self.save_ckpt, self.save_code = name, save_ckpt, save_code

    def on_fit_start(self, model):
        self._wandb.init(
            project=self.project,
            config=self.config,
            name=self.name or now(),
            save_code=self.save_code,
        )

    def on_validation_epoch_end(self, model):
        self._wandb.log(_last_row(model))

    def on_fit_end(self, model):
        if self.save_ckpt and model.ckpt_path and os.path.exists(model.ckpt_path):
            artifact = self._wandb.Artifact("checkpoint", type="model")
            artifact.add_file(os.fspath(model.ckpt_path))
            self._wandb.log_artifact(artifact)
        self._wandb.finish()
