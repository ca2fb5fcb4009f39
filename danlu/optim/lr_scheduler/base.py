"""The base class of learning-rate schedulers."""

from __future__ import annotations

import functools
import types
import warnings
import weakref

from danlu.optim.optimizer import Optimizer
from danlu.tensor import Tensor

__all__ = ["LRScheduler"]

_EPOCH = (
    "scheduler.step(epoch) is deprecated: call scheduler.step() without an argument. With an "
    "epoch, the "
    "closed form of the schedule is used where there is one."
)
_OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
    "initialization. "
    "Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`."
)
_WRONG_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite "
    "order: "
    "`optimizer.step()` before `lr_scheduler.step()`; otherwise the first value of the schedule is "
    "skipped."
)
_GET_LR = "To get the last learning rate computed by the scheduler, please use `get_last_lr()`."
_NO_INITIAL_LR = (
    "param 'initial_lr' is not specified in param_groups[{number}] when resuming scheduler with "
    "last_epoch >= 0. Load the optimizer's state_dict first, or leave last_epoch out in a fresh "
    "run."
)


def values_of(optimizer: Optimizer, key: str) -> list:
    """An option of all groups, tensors copied."""
    values = [group[key] for group in optimizer.param_groups]
    return [value.clone() if isinstance(value, Tensor) else value for value in values]


def set_option(group: dict, key: str, value) -> None:
    """Set an option of a group; a tensor keeps its identity."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def one_per_group(name: str, optimizer: Optimizer, value) -> list:
    """A value of every group: the list given, if it is as long as the groups are many, or copies of
    one."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * count
    elif len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {count}."
        )
    return [item.clone() if isinstance(item, Tensor) else item for item in value]


def check_optimizer(optimizer) -> None:
    """Refuse what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def saved_function(function):
    """What a state_dict keeps of a function: the attributes of a callable object, nothing of a def
    or lambda."""
    return None if isinstance(function, types.FunctionType) else function.__dict__.copy()


def _note_steps(optimizer: Optimizer) -> None:
    """Make `optimizer.step` leave a mark, for the warning about the order of calls."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    step = optimizer.step.__func__  # type: ignore[attr-defined]
    reference = weakref.ref(optimizer)  # the wrapper lives in the optimizer: no cycle

    @functools.wraps(step)
    def noted(*args, **kwargs):
        optimizer = reference()
        optimizer._opt_called = True
        return step(optimizer, *args, **kwargs)

    noted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = noted  # type: ignore[method-assign]


class LRScheduler:
    """Sets the learning rate of every parameter group, once an epoch (or whenever ``step`` is
    called).

    A subclass defines ``get_lr()``, which returns the new rates; it finds the number of the epoch
    in ``self.last_epoch`` and the first rates in ``self.base_lrs``.

    Args:
        optimizer: whose rates to set.
        last_epoch: the epoch to resume after; -1 begins.

    Raises:
        TypeError: `optimizer` is none.
        KeyError: resuming, and the optimizer does not know its initial rates.

    Example:
        >>> import danlu as torch
        >>> class Halving(torch.optim.lr_scheduler.LRScheduler):
        ...     def get_lr(self):
        ...         return [lr * 0.5**self.last_epoch for lr in self.base_lrs]
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> scheduler = Halving(optimizer)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.05]
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(_NO_INITIAL_LR.format(number=number))
        self.base_lrs = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over what ``state_dict()`` returned. Load the optimizer's state as well, it holds
        the rates."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list:
        """The rates that the last ``step`` set, one per group."""
        return self._last_lr

    def get_lr(self) -> list:
        """The rates of ``self.last_epoch``, one per group; called by ``step``."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch; call it after ``optimizer.step()``."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(_OVERRIDDEN, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(_WRONG_ORDER, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(_EPOCH, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        compute = self.get_lr
        if epoch is None:
            self.last_epoch += 1
        else:
            self.last_epoch = epoch
            compute = getattr(self, "_get_closed_form_lr", compute)
        self._set_rates(compute)

    def _set_rates(self, compute) -> None:
        self._get_lr_called_within_step = True
        try:
            rates = compute()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, rates):
            set_option(group, "lr", lr)
        self._last_lr = values_of(self.optimizer, "lr")

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(_GET_LR, UserWarning, stacklevel=3)

    def _scaled(self, factor: float) -> list:
        """The present rates times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _unchanged(self) -> list:
        return values_of(self.optimizer, "lr")
