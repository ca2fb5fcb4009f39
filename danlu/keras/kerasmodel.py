"""`KerasModel`: training, evaluation and prediction of a network in one line each."""

from __future__ import annotations

import os

import danlu
from danlu import nn
from danlu.keras import checks
from danlu.keras.accelerator import Accelerator, to_device
from danlu.keras.callbacks import WandbCallback
from danlu.keras.checkpoint import BestWeights, RunRecord, save_atomically, step_on_plateau
from danlu.keras.compiled import CompiledStep, check_mode, describe, may_be_compiled
from danlu.keras.data import as_loader, features_of, rows_of, split_validation
from danlu.keras.plots import VisMetric
from danlu.keras.progress import BatchBars, VisProgress
from danlu.keras.trainer import (
    EpochRunner,
    StepRunner,
    as_metrics,
    tell_metrics_the_scores,
)
from danlu.keras.utils import compact, emphasis, evaluating, say

_DEVICE_SIGNS = {"cpu": "🐌", "cuda": "⚡️"}
HOOKS = (
    "on_fit_start",
    "on_train_epoch_start",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_fit_end",
)


class KerasModel(nn.Module):
    """A network together with its loss, metrics and optimizer, and the loop that trains it.

    Args:
        net: the network.
        loss_fn: called as ``loss_fn(predictions, labels)``.
        metrics_dict: metrics by name; a metric is one of `danlu.metrics`, a module with `compute`
            and `reset`, or a plain function of (predictions, labels), averaged over the rows.
        optimizer: Default: ``Adam(net.parameters(), lr=3e-4)``
        lr_scheduler: steps after every optimizer step; a `ReduceLROnPlateau` after every epoch,
            with the monitored value.
        **kwargs: for the step runner; ``clip=1.0`` limits the norm of the gradients. Unlike
            torchkeras, which always clips to 1.0, the default leaves them as they are.

    Attributes:
        StepRunner, EpochRunner: classes that may be replaced, see there.
        history: the lists of the last `fit` by column.
        accelerator: its `device` is where batches and network go.
        stop_training: set to True (in a callback) to end `fit`.
        epoch, epochs, monitor, mode, best_epoch, best_value: where `fit` stands, for callbacks.
        compiled: which steps of the last `fit` ran as machine code, and why others did not.

    Example::

        >>> import danlu as torch
        >>> from danlu.keras import KerasModel
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 2)
        >>> y = x @ torch.tensor([[1.0], [2.0]])
        >>> net = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
        >>> model = KerasModel(net, torch.nn.MSELoss(), optimizer=optimizer)
        >>> history = model.fit((x, y), epochs=3, plot=False, quiet=True, ckpt_path=None)
        >>> list(history.columns)
        ['epoch', 'train_loss', 'lr']
        >>> model.predict(x).shape
        torch.Size([64, 1])
    """

    StepRunner, EpochRunner = StepRunner, EpochRunner

    def __init__(
        self, net, loss_fn, metrics_dict=None, optimizer=None, lr_scheduler=None, **kwargs
    ):
        super().__init__()
        if not isinstance(net, nn.Module):
            raise TypeError(f"net must be an nn.Module, got {type(net).__name__}")
        if not callable(loss_fn):
            raise TypeError(f"loss_fn must be callable, got {type(loss_fn).__name__}")
        self.net, self.loss_fn = net, loss_fn
        self.metrics_dict = as_metrics(metrics_dict)
        tell_metrics_the_scores(self.metrics_dict, loss_fn)
        self.optimizer = optimizer
        if optimizer is None:
            trainable = [p for p in net.parameters() if p.requires_grad]
            self.optimizer = danlu.optim.Adam(trainable, lr=3e-4)
        self.lr_scheduler = lr_scheduler
        self.step_options = kwargs
        self.accelerator = Accelerator()
        self.history, self.epoch, self.epochs = {}, 0, 0
        self.monitor, self.mode = "val_loss", "min"
        self.best_epoch = self.best_value = None
        self.ckpt_path, self.stop_training, self._out_of_patience = "checkpoint", False, False
        self.compiled, self._compile, self._compiled_steps = "", False, {}

    def forward(self, x):
        return self.net(x)

    def fit(
        self,
        train_data,
        val_data=None,
        epochs=10,
        ckpt_path="checkpoint",
        patience=5,
        monitor="val_loss",
        mode="min",
        callbacks=None,
        plot=True,
        wandb=False,
        quiet=None,
        mixed_precision="no",
        cpu=False,
        gradient_accumulation_steps=1,
        *,
        resume=False,
        restore_best=True,
        validation_split=0.0,
        batch_size=32,
        compile="auto",
    ):
        """Trains the network; returns the history as a pandas DataFrame.

        The columns are ``epoch, train_loss, train_<metric> ..., lr, val_loss, val_<metric> ...``:
        losses are means over batches, metrics those of the whole epoch, `lr` is the first group's
        after the epoch's last step. Interrupting it (Ctrl-C) returns the epochs so far. Before the
        first step the first batch is checked: shapes that would broadcast and labels out of range
        are refused.

        Args:
            train_data: a DataLoader or list of batches, a Dataset, or arrays ``(features,
                labels)``.
            val_data: the same, or None.
            epochs: how many to train at most. Default: 10
            ckpt_path: file of the best weights, replaced whole; None writes none. Default:
                ``"checkpoint"``
            patience: ends after so many epochs without a better value; None: never. Default: 5
            monitor: the column that tells the best epoch; without `val_data` the default is
                ``"train_loss"``.
            mode: whether the best is its ``"min"`` (default) or ``"max"``. NaN is never best; of
                equal values the first is.
            callbacks: objects with any of the methods in `danlu.keras.kerasmodel.HOOKS`, called as
                ``hook(model)``.
            plot: draw the monitored metric: live in a notebook, elsewhere into ``history.png`` at
                the end. Without it every pass over the data gets a bar. Default: True
            wandb: log to Weights & Biases; True, or the project's name. Default: False
            quiet: print nothing. Default: None, the same as False
            mixed_precision: ``"no"`` (default) or ``"bf16"``.
            cpu: stay on the CPU even if there is a GPU. Default: False
            gradient_accumulation_steps: batches to an optimizer step. Default: 1
            resume: continue the run recorded in ``<ckpt_path>.resume`` if there is one, and record
                this one there. A run that was interrupted and resumed gives the same as one that
                was not. Default: False
            restore_best: end on the best epoch's weights, and the optimizer's averages of that
                moment, not on the last one's. Default: True
            validation_split: fraction of the last rows of arrays to validate on. Default: 0.0
            batch_size: of arrays and datasets. Default: 32
            compile: run the steps as machine code: ``"auto"`` (default) after some eager steps,
                wherever `danlu.compile` takes them; True from the first step on, with a warning
                where it does not; False never. What became of it is printed at the end and kept in
                `compiled`.

        Raises:
            ValueError: for an unknown `monitor`, one that needs validation data, and a first batch
                that does not fit.
            TypeError: for data that is none of the above.
        """
        check_mode(compile)
        if validation_split:
            if val_data is not None:
                raise ValueError("pass val_data or validation_split, not both")
            train_data, val_data = split_validation(rows_of(train_data), validation_split)
        train_data = as_loader(train_data, name="train_data", batch_size=batch_size, shuffle=True)
        if val_data is not None:
            val_data = as_loader(val_data, name="val_data", batch_size=batch_size)
        own_step = self.StepRunner.__call__ is StepRunner.__call__
        self.monitor = checks.check_monitor(
            monitor, mode, self.metrics_dict, val_data is not None, open_ended=not own_step
        )
        if resume and ckpt_path is None:
            raise ValueError("resume=True needs a ckpt_path")
        self.mode, self.epochs, self.ckpt_path = mode, epochs, ckpt_path
        self._compile, self.compiled = compile, ""
        self.history, self.stop_training, self._out_of_patience = {}, False, False
        self.accelerator = Accelerator(mixed_precision, cpu, gradient_accumulation_steps)
        self.net.to(self.accelerator.device)
        device = self.accelerator.device.type
        say(emphasis(f"{_DEVICE_SIGNS.get(device, '🚀')} {device} is used"), quiet=quiet)

        callbacks = self._callbacks(callbacks, plot, wandb, quiet)
        best = BestWeights(self.net, self.optimizer, ckpt_path, mode)
        record = None
        self.epoch = 0
        if resume:
            record = RunRecord(f"{os.fspath(ckpt_path)}.resume", self, best, train_data, val_data)
            self.epoch = record.resume()
        self.best_epoch, self.best_value = best.epoch, best.value
        self._call(callbacks, "on_fit_start")
        try:
            self._run_epochs(train_data, val_data, callbacks, best, record, patience, own_step)
        except KeyboardInterrupt:
            say(f"\ninterrupted in epoch {self.epoch}", quiet=quiet)
        finally:
            for metric in self.metrics_dict.values():
                metric.reset()
            best.flush()
            if record is not None:
                record.flush()
        self._call(callbacks, "on_fit_end")
        if restore_best:
            best.restore()
        self.net.cpu()
        self.compiled = describe(self._compiled_steps.values()) if compile else ""
        self._tell_outcome(restore_best, quiet)
        return self._history_frame()

    def _run_epochs(self, train_data, val_data, callbacks, best, record, patience, own_step):
        """The epochs of `fit`, until they are done, stopped or without improvement."""
        for epoch in range(self.epoch + 1, self.epochs + 1):
            self.epoch = epoch
            self._call(callbacks, "on_train_epoch_start")
            first = own_step and not self.history
            log = {
                "epoch": epoch,
                **self._epoch("train", train_data, callbacks, first, self._compile),
            }
            self._call(callbacks, "on_train_epoch_end")
            if val_data is not None:
                log.update(self._epoch("val", val_data, callbacks, compile=self._compile))
            if self.monitor not in log:
                raise ValueError(
                    f"monitor={self.monitor!r} is not recorded; valid names: {', '.join(log)}"
                )
            for name, value in log.items():
                self.history.setdefault(name, []).append(value)
            best.judge(epoch, log[self.monitor])
            self.best_epoch, self.best_value = best.epoch, best.value
            step_on_plateau(self.lr_scheduler, log[self.monitor])
            self._call(callbacks, "on_validation_epoch_end")
            if record is not None:
                record.take(epoch)
            if self.stop_training:
                break
            if patience is not None and epoch - (best.epoch or 0) >= patience:
                self._out_of_patience = epoch < self.epochs
                break

    def _compile_step(self, step, mode):
        """Gives a step its compiled form, the one of the epochs before if it is the same step."""
        if not may_be_compiled(step):
            return
        known = self._compiled_steps.get(step.stage)
        if known is None or not known.serves(step, mode):
            known = self._compiled_steps[step.stage] = CompiledStep(step, mode)
        step.compiled = known

    def _epoch(self, stage, data, callbacks, check=False, compile=False):
        """One pass over `data`; returns what the history records of it."""
        step = self.StepRunner(
            net=self.net,
            loss_fn=self.loss_fn,
            accelerator=self.accelerator,
            stage=stage,
            metrics_dict=self.metrics_dict,
            optimizer=self.optimizer if stage == "train" else None,
            lr_scheduler=self.lr_scheduler if stage == "train" else None,
            **self.step_options,
        )
        if compile:
            self._compile_step(step, compile)
        runner = self.EpochRunner(step)
        shows = (VisProgress, BatchBars)
        runner.progress = next((c for c in callbacks if isinstance(c, shows)), None)
        hook = "on_train_batch_end" if stage == "train" else "on_validation_batch_end"
        if any(hasattr(callback, hook) for callback in callbacks):
            runner.after_batch = lambda: self._call(callbacks, hook) and stage == "train"
        return runner(_Checked(data, self) if check else data)

    def evaluate(self, val_data, quiet=False, batch_size=32):
        """The loss and every metric over `val_data`, as a dict of floats named ``val_loss``,
        ``val_<metric>``.

        Args:
            val_data: as `fit` takes it.
            quiet: do not print them after a bar. Default: False
            batch_size: of arrays and datasets. Default: 32
        """
        val_data = as_loader(val_data, name="val_data", batch_size=batch_size)
        self.net.to(self.accelerator.device)
        return self._epoch("val", val_data, () if quiet else [BatchBars(width=0)])

    def predict(self, data, batch_size=1024):
        """The network's output for every row, in eval mode and without gradients, as one tensor on
        the CPU.

        Args:
            data: features, or what `fit` takes; of a batch that is a tuple only the first element
                is used.
            batch_size: of arrays and datasets. Default: 1024

        Raises:
            ValueError: if there is no batch.
        """
        loader = as_loader(data, name="data", batch_size=batch_size)
        device = self.accelerator.device
        self.net.to(device)
        with evaluating(self.net):
            outputs = [self.net(to_device(features_of(b), device)).cpu() for b in loader]
        if not outputs:
            raise ValueError("the data holds no batch")
        return outputs[0] if len(outputs) == 1 else danlu.cat(outputs)

    def save_ckpt(self, ckpt_path="checkpoint", accelerator=None):
        """Writes the network's state dict to a file, whole or not at all."""
        save_atomically(self.net.state_dict(), ckpt_path)

    def load_ckpt(self, ckpt_path=None):
        """Loads the network's weights from a file written by `fit` or `save_ckpt`; by default the
        last fit's.

        Raises:
            FileNotFoundError: if there is none.
        """
        path = ckpt_path or self.ckpt_path or "checkpoint"
        if not os.path.exists(path):
            raise FileNotFoundError(f"no checkpoint at {path!r}; `fit` and `save_ckpt` write one")
        self.net.load_state_dict(danlu.load(path, map_location="cpu"))

    def _callbacks(self, callbacks, plot, wandb, quiet):
        """The callbacks of a run: the user's, and those that its arguments stand for."""
        callbacks = list(callbacks or ())
        for callback in callbacks:
            if not any(hasattr(callback, hook) for hook in HOOKS):
                raise TypeError(
                    f"callback {type(callback).__name__} has none of the methods {', '.join(HOOKS)}"
                )
        if plot and not any(isinstance(c, VisMetric) for c in callbacks):
            callbacks.insert(0, VisMetric(quiet=bool(quiet)))
        if not quiet and not any(isinstance(c, (VisProgress, BatchBars)) for c in callbacks):
            callbacks.insert(0, VisProgress() if plot else BatchBars())
        if wandb:
            callbacks.append(
                WandbCallback(project=wandb) if isinstance(wandb, str) else WandbCallback()
            )
        return callbacks

    def _call(self, callbacks, hook):
        """Calls a hook of every callback that has it; returns whether training shall stop."""
        for callback in callbacks:
            method = getattr(callback, hook, None)
            if method is not None:
                method(self)
        return self.stop_training

    def _tell_outcome(self, restored, quiet):
        """Says why `fit` ended and with which weights."""
        if not self.history:
            return
        if self.compiled:
            say(self.compiled, quiet=quiet)
        if self._out_of_patience:
            stale = self.epoch - (self.best_epoch or 0)
            text = f"{self.monitor} without improvement in {stale} epoch,early stopping"
            say(emphasis(text), quiet=quiet)
        if self.best_epoch is None:
            say(
                f"{self.monitor} was never a number: the last epoch's weights are kept", quiet=quiet
            )
        elif restored:
            say(
                f"best {self.monitor}={compact(self.best_value)} in epoch {self.best_epoch}; "
                "the network has its weights",
                quiet=quiet,
            )

    def _history_frame(self):
        import pandas

        return pandas.DataFrame(self.history)


class _Checked:
    """Data whose first batch is checked before it is trained on."""

    def __init__(self, data, model):
        self.data, self.model = data, model

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return checks.checking_first(self.data, self._check)

    def _check(self, batch):
        model = self.model
        batch = to_device(batch, model.accelerator.device)
        checks.check_batch(model.net, model.loss_fn, model.metrics_dict, batch)
