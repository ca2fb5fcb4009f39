"""Schedules that go up and down, and the momentum against them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from danlu.optim.lr_scheduler.base import (
    LRScheduler,
    check_optimizer,
    one_per_group,
    saved_function,
    set_option,
)  # fmt: skip

__all__ = ["CyclicLR", "OneCycleLR"]


class _WithMomentum(LRScheduler):
    """A schedule that may move the momentum (or Adam's first beta) too."""

    def _begin_momentum(self, base_momentum, max_momentum, last_epoch: int) -> None:
        defaults = self.optimizer.defaults
        if "momentum" not in defaults and "betas" not in defaults:
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled; "
                f"{type(self.optimizer).__name__} has neither: pass cycle_momentum=False"
            )
        self.use_beta1 = "betas" in defaults
        lowest = one_per_group("base_momentum", self.optimizer, base_momentum)
        highest = one_per_group("max_momentum", self.optimizer, max_momentum)
        if last_epoch == -1:
            for group, low, high in zip(self.optimizer.param_groups, lowest, highest):
                self._set_momentum(group, high)
                group["max_momentum"], group["base_momentum"] = high, low
        self._momentum_bounds = lowest, highest

    def _set_momentum(self, group: dict, momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class CyclicLR(_WithMomentum):
    """Up and down between two rates, batch after batch.

    Call ``step`` after every batch. Momentum moves the other way.

    Args:
        optimizer: whose rates to set.
        base_lr: the lower rate, or a list with one for each group.
        max_lr: the upper rate of the first cycle, or a list.
        step_size_up: steps from the lower to the upper rate. Default: 2000.
        step_size_down: steps down again. Default: `step_size_up`.
        mode: "triangular"; "triangular2", which halves the height every cycle; "exp_range", which
            scales it by ``gamma ** step``.
        gamma: Default: 1.0.
        scale_fn: an own scale of the height in [0, 1]; `mode` is ignored then.
        scale_mode: whether `scale_fn` gets the number of the "cycle" or of "iterations".
        cycle_momentum: whether momentum (Adam's first beta) moves too. Default: True.
        base_momentum, max_momentum: its bounds. Default: 0.8 and 0.9.
        last_epoch: the step to resume after. Default: -1.

    Raises:
        ValueError: an unknown mode, or an optimizer without momentum.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017).

    Example:
        >>> import danlu as torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
        >>> scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 0.4, step_size_up=2)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates += scheduler.get_last_lr()
        ...     optimizer.step()
        ...     scheduler.step()
        >>> rates
        [0.0, 0.2, 0.4, 0.2, 0.0]
    """

    def __init__(
        self, optimizer, base_lr, max_lr, step_size_up: int = 2000,
        step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn=None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum=0.8, max_momentum=0.9, last_epoch: int = -1,
    ):  # fmt: skip
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = one_per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs):
                set_option(group, "lr", lr)
        self.max_lrs = one_per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                f"mode is invalid and scale_fn is None: {mode!r} is none of 'triangular', "
                "'triangular2', 'exp_range'"
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._choose_scale()
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._begin_momentum(base_momentum, max_momentum, last_epoch)
            self.base_momentums, self.max_momentums = self.__dict__.pop("_momentum_bounds")
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _choose_scale(self) -> None:
        if self._scale_fn_custom is None:
            scales: dict[str, Callable[[float], float]] = {
                "triangular": _full_height,
                "triangular2": _halving_height,
                "exp_range": functools.partial(pow, self.gamma),
            }
            self._scale_fn_ref = scales[self.mode]
            self.scale_mode = "iterations" if self.mode == "exp_range" else "cycle"

    def scale_fn(self, x) -> float:
        """The scale of the height in cycle (or at step) `x`."""
        scale = self._scale_fn_ref if self._scale_fn_custom is None else self._scale_fn_custom
        return scale(x)

    def get_lr(self) -> list:
        self._warn_outside_step()
        position = self.last_epoch / self.total_size
        cycle = math.floor(1 + position)
        x = 1.0 + position - cycle
        up = x <= self.step_ratio
        height = x / self.step_ratio if up else (x - 1) / (self.step_ratio - 1)
        when = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.cycle_momentum:
            bounds = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums)
            for group, low, high in bounds:
                self._set_momentum(group, high - (high - low) * height * self.scale_fn(when))
        return [
            low + (high - low) * height * self.scale_fn(when)
            for low, high in zip(self.base_lrs, self.max_lrs)
        ]

    def state_dict(self) -> dict:
        """Everything but the optimizer; of `scale_fn`, the attributes of a callable object."""
        state = super().state_dict()
        state.pop("_scale_fn_ref", None)
        own = state["_scale_fn_custom"]
        state["_scale_fn_custom"] = None if own is None else saved_function(own)
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over what ``state_dict()`` returned; `scale_fn` stays, with the saved attributes."""
        state = dict(state_dict)
        saved = state.pop("_scale_fn_custom")
        if saved is not None:
            self._scale_fn_custom.__dict__.update(saved)
        super().load_state_dict(state)
        self._choose_scale()


def _full_height(cycle: float) -> float:
    return 1.0


def _halving_height(cycle: float) -> float:
    return 1 / 2.0 ** (cycle - 1)


class OneCycleLR(_WithMomentum):
    """Once up to a high rate and down to almost nothing, in a number of steps known beforehand.

    Call ``step`` after every batch. Momentum moves the other way.

    Args:
        optimizer: whose rates to set.
        max_lr: the upper rate, or a list with one for each group.
        total_steps: steps in all; or give `epochs` and `steps_per_epoch`.
        pct_start: the part of the steps that go up. Default: 0.3.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum (Adam's first beta) moves too. Default: True.
        base_momentum, max_momentum: its bounds. Default: 0.85 and 0.95.
        div_factor: `max_lr` over the first rate. Default: 25.
        final_div_factor: the first rate over the last. Default: 1e4.
        three_phase: come down to the first rate in as many steps as it went up, then to the last.
        last_epoch: the step to resume after. Default: -1.

    Raises:
        ValueError: no number of steps, an argument out of range, an optimizer without momentum, or
            more steps than announced.

    Source: Smith and Topin, "Super-Convergence" (2018).

    Example:
        >>> import danlu as torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
        >>> scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=10)
        >>> round(scheduler.get_last_lr()[0], 6), optimizer.param_groups[0]["momentum"]
        (0.02, 0.95)
    """

    def __init__(
        self, optimizer, max_lr, total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos",
        cycle_momentum: bool = True, base_momentum=0.85, max_momentum=0.95,
        div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
        last_epoch: int = -1,
    ):  # fmt: skip
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        max_lrs = one_per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, max_lrs):
                group["initial_lr"], group["max_lr"] = lr / div_factor, lr
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._begin_momentum(base_momentum, max_momentum, last_epoch)
            del self._momentum_bounds
        super().__init__(optimizer, last_epoch)

    def _between(self, start, end, part: float):
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)
        return (end - start) * part + start

    def get_lr(self) -> list:
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        begin = 0.0
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            begin = phase["end_step"]
        part = (step - begin) / (phase["end_step"] - begin)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, self._between(*ends, part))
        return rates


def _total_steps(total_steps, epochs, steps_per_epoch) -> int:
    if total_steps is not None:
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return epochs * steps_per_epoch


def _phases(total_steps: int, pct_start: float, three_phase: bool) -> list[dict]:
    """The last step of each phase, and the options of a group between which it goes."""
    up = float(pct_start * total_steps) - 1
    rows = [(up, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
    if three_phase:
        down = float(2 * pct_start * total_steps) - 2
        rows.append((down, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
        rows.append((total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
    else:
        rows.append((total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
    names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    return [dict(zip(names, row)) for row in rows]
