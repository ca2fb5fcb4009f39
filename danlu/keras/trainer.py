"""One step and one epoch of training or validation."""

from __future__ import annotations

import math
import time

import danlu
from danlu import nn
from danlu.keras.accelerator import Accelerator, to_device
from danlu.metrics import Metric
from danlu.tensor import Tensor, wrap

_END = object()
_NOT_A_PAIR = (
    "a batch must be a pair (features, labels), got {what}; for other batches subclass "
    "`KerasModel.StepRunner` and define `__call__(self, batch)`"
)


class StepRunner:
    """One batch: forward, loss, and in training backward and optimizer step.

    `KerasModel.StepRunner` may be replaced. A replacement is constructed at the start of every
    epoch with the arguments below and called with every batch; it returns two dicts, the losses
    (averaged over the epoch) and values of the batch (the last one is kept), both named with the
    prefix ``"train_"`` or ``"val_"``.

    Args:
        net, loss_fn, metrics_dict, optimizer, lr_scheduler: as given to `KerasModel`.
        accelerator: the run's `Accelerator`.
        stage: ``"train"`` or ``"val"``; puts the network into the mode of that stage.
        clip: greatest norm of all gradients together; None (default) leaves them as they are.
        compiled: None, or the `CompiledStep` that runs the step.
        options: the other keyword arguments of `KerasModel`.

    Example:
        >>> import danlu as torch
        >>> from danlu.keras import KerasModel, StepRunner
        >>> class OfOneTensor(StepRunner):  # of an autoencoder: the features are the labels
        ...     def __call__(self, batch):
        ...         return super().__call__((batch, batch))
        >>> class Autoencoder(KerasModel):
        ...     StepRunner = OfOneTensor
        >>> model = Autoencoder(torch.nn.Linear(3, 3), torch.nn.MSELoss())
        >>> list(model.evaluate([torch.zeros(4, 3)], quiet=True))
        ['val_loss']
    """

    def __init__(
        self,
        net,
        loss_fn,
        accelerator=None,
        stage="train",
        metrics_dict=None,
        optimizer=None,
        lr_scheduler=None,
        clip=None,
        compiled=None,
        **options,
    ):
        self.net, self.loss_fn, self.stage = net, loss_fn, stage
        self.metrics_dict = metrics_dict
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.accelerator = Accelerator() if accelerator is None else accelerator
        self.clip, self.options = clip, options
        self._loss_name = f"{stage}_loss"
        self._learns = stage == "train" and optimizer is not None
        self._full_precision = self.accelerator.mixed_precision == "no"
        self._feed = MetricFeed(metrics_dict or {})
        self.compiled = compiled
        net.train(stage == "train")

    def __call__(self, batch):
        features, labels = pair(batch)
        if self.compiled is not None:
            preds, loss = self.compiled(features, labels)
            self._feed.add(preds, labels)
            return {self._loss_name: wrap(loss._array)}, {}
        if self._full_precision:
            preds = self.net(features)
            loss = self.loss_fn(preds, labels)
        else:
            with self.accelerator.autocast():
                preds = self.net(features)
                loss = self.loss_fn(preds, labels)
        if self._learns:
            self.learn(loss)
        self._feed.add(preds, labels)
        return {self._loss_name: wrap(loss._array)}, {}

    def learn(self, loss):
        """Backward, and the step of optimizer and scheduler where the gradients are complete.

        The scheduler steps with every optimizer step, except `ReduceLROnPlateau`, which `fit` steps
        every epoch.
        """
        self.accelerator.backward(loss)
        if not self.accelerator.sync_gradients:
            return
        if self.clip is not None:
            self.accelerator.clip_grad_norm_(self.net.parameters(), self.clip)
        self.optimizer.step()
        if self.lr_scheduler is not None and not steps_on_plateau(self.lr_scheduler):
            self.lr_scheduler.step()
        self.optimizer.zero_grad()

    def rest(self, batches):
        """Runs what is left of an epoch in as few calls as it takes, where the step is compiled.

        Yields:
            The losses of so many batches, as lists by name.
        """
        if self.compiled is None:
            return
        for preds, labels, losses in self.compiled.rest(batches):
            self._feed.take(preds, labels)
            yield {self._loss_name: losses.tolist()}

    def metric_values(self):
        """The value of every metric over the epoch, by prefixed name; resets them."""
        self._feed.flush()
        return epoch_metrics(self.metrics_dict, self.stage)


class EpochRunner:
    """Runs a step over all batches and returns what the history records of the epoch.

    Args:
        steprunner: called with every batch, as `StepRunner` describes.
        quiet: show no progress. Default: False

    Attributes:
        progress: None, or what shows it (see `VisProgress` and `BatchBars`).
        after_batch: None, or a function called after every batch; the epoch ends when it returns
            True.

    Example:
        >>> import danlu as torch
        >>> from danlu.keras import EpochRunner, StepRunner
        >>> step = StepRunner(torch.nn.Identity(), torch.nn.MSELoss(), stage="val")
        >>> zeros, twos = torch.zeros(3), torch.full((3,), 2.0)
        >>> EpochRunner(step)([(zeros, zeros), (zeros, twos)])
        {'val_loss': 2.0}
    """

    def __init__(self, steprunner, quiet=False):
        self.steprunner, self.quiet = steprunner, quiet
        self.stage = getattr(steprunner, "stage", "train")
        self.progress = self.after_batch = None

    def __call__(self, dataloader):
        step, after_batch = self.steprunner, self.after_batch
        progress = None if self.quiet else self.progress
        clock = time.monotonic
        losses, values = RunningMeans(), {}
        total = length_of(dataloader)
        with danlu.set_grad_enabled(self.stage == "train"):
            batches = iter(self.batches(dataloader))
            done = 0
            while True:
                if after_batch is None and getattr(step, "compiled", None) is not None:
                    for many in step.rest(batches):
                        losses.add_many(many)
                        done = losses.count
                        if progress is not None and clock() >= progress.next_refresh:
                            progress.refresh(self.stage, done, total, losses.means())
                batch = next(batches, _END)
                if batch is _END:
                    break
                done += 1
                batch_losses, batch_values = step(batch)
                losses.add(batch_losses)
                if batch_values:
                    values = batch_values
                if progress is not None and clock() >= progress.next_refresh:
                    progress.refresh(self.stage, done, total, losses.means())
                if after_batch is not None and after_batch():
                    break
        if not losses.count:
            raise ValueError(f"the {self.stage} data holds no batch")
        log = losses.means()
        log.update((name, number(value)) for name, value in values.items())
        log = {**log, **self.metric_values(), **self.learning_rate()}
        if progress is not None:
            progress.end_pass(losses.count, log)
        return log

    def batches(self, dataloader):
        """The batches on the run's device; tells the accelerator which completes the gradients."""
        accelerator = getattr(self.steprunner, "accelerator", None)
        if accelerator is None:
            return dataloader
        if accelerator.device.type != "cpu":
            dataloader = (to_device(batch, accelerator.device) for batch in dataloader)
        if accelerator.gradient_accumulation_steps > 1 and self.stage == "train":
            return _accumulated(dataloader, accelerator)
        return dataloader

    def metric_values(self):
        """The metrics over the epoch, from the step runner's `metric_values` if it has that."""
        own = getattr(self.steprunner, "metric_values", None)
        if own is not None:
            return own()
        return epoch_metrics(getattr(self.steprunner, "metrics_dict", None), self.stage)

    def learning_rate(self):
        """The first group's learning rate after the last step, in training."""
        optimizer = getattr(self.steprunner, "optimizer", None)
        if self.stage != "train" or optimizer is None:
            return {}
        return {"lr": float(optimizer.param_groups[0]["lr"])}


def _accumulated(batches, accelerator):
    """`batches`, with `sync_gradients` True on every n-th and on the last."""
    every = accelerator.gradient_accumulation_steps
    coming = iter(batches)
    batch = next(coming, None)
    count = 0
    while batch is not None:
        following = next(coming, None)
        count += 1
        accelerator.sync_gradients = count % every == 0 or following is None
        yield batch
        batch = following
    accelerator.sync_gradients = True


class RunningMeans:
    """Means of losses over batches; a value is kept as it came until a mean is asked for."""

    _KEPT = 256

    def __init__(self):
        self.count = 0
        self._sums, self._counts, self._pending = {}, {}, []

    def add(self, losses):
        """Takes one batch's losses, a dict of tensors or numbers."""
        self.count += 1
        self._pending.append(losses)
        if len(self._pending) >= self._KEPT:
            self._settle()

    def add_many(self, losses):
        """Takes the losses of several batches, a dict of lists of numbers."""
        self._settle()
        for name, values in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + sum(values)
            self._counts[name] = self._counts.get(name, 0) + len(values)
        self.count += len(values)

    def _settle(self):
        pending, self._pending = self._pending, []
        for name in dict.fromkeys(name for losses in pending for name in losses):
            values = [number(losses[name]) for losses in pending if name in losses]
            self._sums[name] = self._sums.get(name, 0.0) + sum(values)
            self._counts[name] = self._counts.get(name, 0) + len(values)

    def means(self):
        """The mean of every loss so far, each batch with the same weight."""
        self._settle()
        return {name: total / self._counts[name] for name, total in self._sums.items()}


class MetricFeed:
    """Hands predictions and labels to metrics, many batches at once where the cut into batches does
    not matter.

    Updating a metric costs microseconds however few rows it gets, which a small network's step
    would feel.
    """

    _PENDING_BYTES = 4 * 2**20

    def __init__(self, metrics):
        self._lazy = [m for m in metrics.values() if getattr(m, "rows_decide", False)]
        self._prompt = [m for m in metrics.values() if not getattr(m, "rows_decide", False)]
        self._pending, self._bytes = [], 0

    def add(self, preds, labels):
        """Takes one batch."""
        for metric in self._prompt:
            metric.update(preds, labels) if isinstance(metric, Metric) else metric(preds, labels)
        if not self._lazy:
            return
        if not (isinstance(preds, Tensor) and isinstance(labels, Tensor)):
            self._update(preds, labels)
            return
        # Copies: a loader may fill the same memory with the next batch.
        self._keep(preds._array.copy(), labels._array.copy())

    def take(self, preds, labels):
        """Takes many batches, arrays with an axis of batches in front that nobody else changes."""
        for pair in zip(preds, labels) if self._prompt else ():
            given = [wrap(each) for each in pair]
            for metric in self._prompt:
                metric.update(*given) if isinstance(metric, Metric) else metric(*given)
        if self._lazy and preds.ndim > 1 < labels.ndim:
            self._keep(*[each.reshape(-1, *each.shape[2:]) for each in (preds, labels)])
        elif self._lazy:
            for pair in zip(preds, labels):
                self._keep(*pair)

    def _keep(self, preds, labels):
        self._pending.append((preds, labels))
        self._bytes += preds.nbytes + labels.nbytes
        if self._bytes > self._PENDING_BYTES:
            self.flush()

    def flush(self):
        """Updates the metrics with all batches taken so far."""
        pending, self._pending, self._bytes = self._pending, [], 0
        if not pending:
            return
        for preds, labels in _joined(pending):
            self._update(wrap(preds), wrap(labels))

    def _update(self, preds, labels):
        for metric in self._lazy:
            metric.update(preds, labels)


def _joined(pairs):
    """Pairs of arrays as one pair, if they are rows of the same kind; else as they are."""
    preds, labels = zip(*pairs, strict=True)
    try:
        alike = len({a.dtype for a in preds}) == len({a.dtype for a in labels}) == 1
        if alike and [*map(len, preds)] == [*map(len, labels)]:
            join = preds[0].__array_namespace__().concat
            return [(join(preds), join(labels))]
    except (TypeError, ValueError):
        # Scalars have no rows, and rows of different shapes do not join.
        pass
    return pairs


class FunctionMetric(Metric):
    """A metric made of a function of one batch: the mean of its values, weighted by rows."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.add_state("weighted_sum", 0.0)
        self.add_state("rows", 0)

    def update(self, preds, target):
        rows = len(target) if hasattr(target, "__len__") and getattr(target, "ndim", 1) else 1
        with danlu.no_grad():
            self.weighted_sum += number(self.function(preds, target)) * rows
        self.rows += rows

    def compute(self):
        return danlu.tensor(self.weighted_sum / self.rows if self.rows else math.nan)


def as_metrics(metrics_dict):
    """The metrics of a dict as modules by name; plain functions become `FunctionMetric`."""
    metrics = {}
    for name, metric in (metrics_dict or {}).items():
        if isinstance(metric, type):
            raise TypeError(
                f"metric {name!r} is the class {metric.__name__}; write {metric.__name__}()"
            )
        if isinstance(metric, nn.Module) and hasattr(metric, "compute"):
            metrics[name] = metric
        elif callable(metric):
            metrics[name] = FunctionMetric(metric)
        else:
            raise TypeError(
                f"metric {name!r} must be a metric or a function, got {type(metric).__name__}"
            )
    return nn.ModuleDict(metrics)


def tell_metrics_the_scores(metrics, loss_fn):
    """Tells metrics that would have to guess whether scores are logits or probabilities."""
    if isinstance(loss_fn, (nn.BCEWithLogitsLoss, nn.BCELoss)):
        for metric in metrics.values():
            if getattr(metric, "from_logits", False) is None:
                metric.expect_logits(isinstance(loss_fn, nn.BCEWithLogitsLoss))


def epoch_metrics(metrics_dict, stage):
    """The values of metrics as floats by prefixed name; resets them."""
    values = {}
    for name, metric in (metrics_dict or {}).items():
        values[f"{stage}_{name}"] = float(metric.compute())
        metric.reset()
    return values


def number(value):
    """A Python number from a tensor or array of one element, or from a number."""
    return value.item() if hasattr(value, "item") else value


def pair(batch):
    """The features and labels of a batch; TypeError if it is not a pair."""
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch
    what = type(batch).__name__
    if isinstance(batch, (tuple, list)):
        what += f" of {len(batch)} element" + "s" * (len(batch) != 1)
    raise TypeError(_NOT_A_PAIR.format(what=what))


def steps_on_plateau(lr_scheduler):
    """Whether a scheduler wants the monitored value, once an epoch."""
    return isinstance(lr_scheduler, danlu.optim.lr_scheduler.ReduceLROnPlateau)


def length_of(dataloader):
    """The number of batches, or None where it is unknown."""
    try:
        return len(dataloader)
    except TypeError:
        return None
