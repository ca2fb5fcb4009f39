"""Averages of a model's weights over training: stochastic weight averaging (SWA) and exponential
(EMA)."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy

from danlu.autograd.grad_mode import no_grad
from danlu.nn import Module
from danlu.optim.lr_scheduler.base import LRScheduler, one_per_group

__all__ = [
    "AveragedModel", "SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_avg_fn(decay: float = 0.999):
    """A function for `AveragedModel(avg_fn=...)`: ``decay * average + (1 - decay) * current``."""
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn():
    """A function for `AveragedModel(avg_fn=...)`: the mean of all weights seen."""

    @no_grad()
    def swa_update(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999):
    """As `get_ema_avg_fn`, in place on lists of tensors, for `AveragedModel(multi_avg_fn=...)`.

    Raises:
        ValueError: `decay` is outside [0, 1].
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param_list, current_param_list, num_averaged) -> None:
        for average, current in zip(ema_param_list, current_param_list):
            if average.is_floating_point() or average.is_complex():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn():
    """As `get_swa_avg_fn`, in place on lists of tensors, for `AveragedModel(multi_avg_fn=...)`."""

    @no_grad()
    def swa_update(averaged_param_list, current_param_list, num_averaged) -> None:
        weight = 1.0 / (float(num_averaged) + 1)
        for average, current in zip(averaged_param_list, current_param_list):
            if average.is_floating_point() or average.is_complex():
                average.lerp_(current, weight)
            else:
                average.copy_(average + (current - average) * weight)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose weights are a running average of the model's.

    Args:
        model: the model in training.
        device: where the copy lives. Default: where the model is.
        avg_fn: gives the new average from ``(average, current, number averaged)``.
        multi_avg_fn: does the same in place for lists of tensors. Default: the mean
            (`get_swa_multi_avg_fn`).
        use_buffers: average the buffers as well, instead of copying them.

    Raises:
        AssertionError: both functions are given.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization"
        (2018).

    Example:
        >>> import danlu as torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> average = torch.optim.swa_utils.AveragedModel(model)
        >>> for value in (1.0, 2.0):
        ...     _ = torch.nn.init.constant_(model.weight, value)
        ...     average.update_parameters(model)
        >>> average(torch.ones(1, 1)).item()
        1.5
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        import danlu

        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        counter = danlu.tensor(0, dtype=danlu.int64, device=device)
        self.register_buffer("n_averaged", counter)
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def update_parameters(self, model) -> None:
        """Take the model's present weights into the average; the first ones are copied."""
        with no_grad():
            self._update(model)

    def _update(self, model) -> None:
        averages, currents = list(self.module.parameters()), list(model.parameters())
        if self.use_buffers:
            averages += self.module.buffers()
            currents += model.buffers()
        averages = [average.detach() for average in averages]
        currents = [
            current.detach().to(average.device) for average, current in zip(averages, currents)
        ]
        if int(self.n_averaged) == 0:
            for average, current in zip(averages, currents):
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in zip(averages, currents):
                average.copy_(self.avg_fn(average, current, self.n_averaged.to(average.device)))
        else:
            self._update_lists(averages, currents)
        if not self.use_buffers:
            for kept, buffer in zip(self.module.buffers(), model.buffers()):
                kept.detach().copy_(buffer.detach().to(kept.device))
        self.n_averaged += 1

    def _update_lists(self, averages, currents) -> None:
        """Tensors of one device and dtype at a time, as the functions on lists expect."""
        update = self.multi_avg_fn or get_swa_multi_avg_fn()
        pairs = sorted(
            zip(averages, currents), key=lambda pair: (str(pair[0].device), str(pair[0].dtype))
        )
        for _, same in itertools.groupby(pairs, lambda pair: (pair[0].device, pair[0].dtype)):
            first, second = map(list, zip(*same))
            update(first, second, self.n_averaged.to(first[0].device))


def update_bn(loader, model, device=None) -> None:
    """Compute the running statistics of all batch normalisations anew, over one pass of the data.

    Args:
        loader: gives batches; of a list or tuple, the first part is the input.
        model: a model, usually an `AveragedModel`.
        device: where to move the inputs.
    """
    from danlu.nn.modules.batchnorm import _BatchNorm

    momenta = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None  # the mean of all batches
    with no_grad():
        for batch in loader:
            if isinstance(batch, (list, tuple)):
                batch = batch[0]
            model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Anneals the rates to a constant one, at which weights are averaged.

    Args:
        optimizer: whose rates to set.
        swa_lr: the constant rate, or a list with one for each group.
        anneal_epochs: epochs until it is reached. Default: 10.
        anneal_strategy: "cos" or "linear".
        last_epoch: the epoch to resume after. Default: -1.

    Raises:
        ValueError: an unknown strategy, or a negative number of epochs.

    Example:
        >>> import danlu as torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        >>> scheduler = torch.optim.swa_utils.SWALR(
        ...     optimizer, swa_lr=0.25, anneal_epochs=2, anneal_strategy="linear"
        ... )
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> scheduler.get_last_lr()
        [0.25]
    """

    def __init__(
        self, optimizer, swa_lr, anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):  # fmt: skip
        for group, lr in zip(optimizer.param_groups, one_per_group("swa_lr", optimizer, swa_lr)):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the way to the constant rate is done after a step."""
        part = max(0, min(1, step / max(1, self.anneal_epochs)))
        return part if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            final = group["swa_lr"]
            first = final if before == 1 else (group["lr"] - before * final) / (1 - before)
            rates.append(final * now + first * (1 - now))
        return rates
