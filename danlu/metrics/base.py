"""`Metric`, the protocol that every metric follows, and `MetricCollection`."""

from __future__ import annotations

import copy

import danlu
from danlu import nn
from danlu.tensor import Tensor


class Metric(nn.Module):
    """A value computed over many batches: `update` gathers, `compute` gives the value, `reset`
    starts anew.

    Calling a metric updates it and returns the value of that batch alone. What a metric has
    gathered is neither a parameter
    nor a buffer: it appears in no `state_dict()` and no optimizer sees it.

    To write one, name what is gathered with `add_state` and define `update` and `compute`.

    Example::

        >>> import danlu as torch
        >>> class LargestError(torch.metrics.Metric):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.add_state("largest", torch.tensor(0.0))
        ...     def update(self, preds, target):
        ...         self.largest = torch.maximum(self.largest, (preds - target).abs().max())
        ...     def compute(self):
        ...         return self.largest
        >>> metric = LargestError()
        >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
        >>> metric.compute()
        tensor(0.5000)
    """

    #: Whether a larger value is a better one; None where neither holds.
    higher_is_better: bool | None = None

    #: Whether the value depends on the rows alone, not on how they were cut into batches. A trainer
    #: may then hand over many batches in one `update`.
    rows_decide = False

    def __init__(self):
        super().__init__()
        self._initial_state = {}

    def add_state(self, name, default, dist_reduce_fx=None, persistent=False):
        """Declares the attribute `name`, which `reset` sets back to `default` (a tensor, a number
        or an empty list).

        Args:
            name: a Python identifier.
            default: the value before the first `update`.
            dist_reduce_fx, persistent: accepted for compatibility with torchmetrics; without
                effect.
        """
        if not name.isidentifier():
            raise ValueError(f"a state's name must be a Python identifier, got {name!r}")
        if isinstance(default, list) and default:
            raise ValueError(
                f"state {name!r}: a list must be empty at the start, got {len(default)} elements"
            )
        self._initial_state[name] = default
        setattr(self, name, _fresh(default))

    def update(self, *args, **kwargs):
        """Gathers one batch."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(preds, target)")

    def compute(self):
        """The value over everything gathered since the last `reset`; NaN if that is nothing."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute()")

    def reset(self):
        """Forgets everything gathered."""
        for name, default in self._initial_state.items():
            setattr(self, name, _fresh(default))

    def forward(self, *args, **kwargs):
        """Gathers one batch and returns its own value."""
        so_far = {name: getattr(self, name) for name in self._initial_state}
        try:
            self.reset()
            self.update(*args, **kwargs)
            value = self.compute()
        finally:
            for name, state in so_far.items():
                setattr(self, name, state)
        self.update(*args, **kwargs)
        return value

    def clone(self):
        """An independent copy, with what has been gathered so far."""
        return copy.deepcopy(self)

    def to(self, *args, **kwargs):
        """Moves gathered tensors to a device; what comes later follows the device of its batch."""
        for name in self._initial_state:
            state = getattr(self, name)
            if isinstance(state, Tensor):
                setattr(self, name, state.to(*args, **kwargs))
            elif isinstance(state, list):
                setattr(
                    self,
                    name,
                    [s.to(*args, **kwargs) if isinstance(s, Tensor) else s for s in state],
                )
        return super().to(*args, **kwargs)


def _fresh(default):
    if isinstance(default, Tensor):
        return default.detach().clone()
    return [] if isinstance(default, list) else default


class MetricCollection(nn.ModuleDict):
    """Several metrics that are fed the same batches; values come back in one dict.

    Args:
        metrics: a dict of metrics by name, a sequence of metrics (named by their class), or one
            metric.
        prefix, postfix: put before and after every name in the results.

    Raises:
        ValueError: for two metrics of one name.

    Example::

        >>> import danlu as torch
        >>> from danlu.metrics import MeanAbsoluteError, MeanSquaredError, MetricCollection
        >>> metrics = MetricCollection([MeanAbsoluteError(), MeanSquaredError()])
        >>> metrics.update(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        >>> metrics.compute()
        {'MeanAbsoluteError': tensor(1.), 'MeanSquaredError': tensor(2.)}
    """

    def __init__(self, metrics, *more, prefix=None, postfix=None):
        super().__init__()
        self.prefix, self.postfix = prefix or "", postfix or ""
        self.add_metrics(metrics, *more)

    def add_metrics(self, metrics, *more):
        """Adds metrics, given as to the constructor."""
        if isinstance(metrics, Metric):
            metrics = [metrics]
        if not isinstance(metrics, dict):
            metrics = [(type(metric).__name__, metric) for metric in (*metrics, *more)]
        else:
            metrics = metrics.items()
        for name, metric in metrics:
            if not isinstance(metric, Metric):
                raise ValueError(
                    f"MetricCollection takes metrics, but {name!r} is a {type(metric).__name__}"
                )
            if name in self:
                raise ValueError(f"two metrics are named {name!r}; pass a dict to name them apart")
            self[name] = metric

    def _named(self, values):
        return {f"{self.prefix}{name}{self.postfix}": value for name, value in values}

    def forward(self, *args, **kwargs):
        """Updates every metric; returns their values on this batch."""
        return self._named((name, metric(*args, **kwargs)) for name, metric in self.items())

    def update(self, *args, **kwargs):
        """Updates every metric."""
        for metric in self.values():
            metric.update(*args, **kwargs)

    def compute(self):
        """The value of every metric, by name."""
        return self._named((name, metric.compute()) for name, metric in self.items())

    def reset(self):
        """Resets every metric."""
        for metric in self.values():
            metric.reset()

    def clone(self, prefix=None, postfix=None):
        """An independent copy, with another prefix or postfix if given."""
        twin = copy.deepcopy(self)
        twin.prefix = self.prefix if prefix is None else prefix
        twin.postfix = self.postfix if postfix is None else postfix
        return twin


def array_of(value):
    """The array behind a tensor or what `danlu.as_tensor` takes; 16-bit floats as float32."""
    array = value._array if isinstance(value, Tensor) else danlu.as_tensor(value)._array
    if array.dtype.itemsize == 2 and array.dtype.kind not in "iu":
        return array.astype("float32")
    return array


def result(value):
    """A metric's value as a 0-d (or one-entry-per-class) tensor of the default dtype."""
    return danlu.as_tensor(value).to(danlu.get_default_dtype())


def quotient(numerator, denominator):
    """`numerator / denominator` of two numbers, NaN where nothing was gathered."""
    return float(numerator) / float(denominator) if denominator else float("nan")


def shape_mismatch(metric, preds, targets):
    """The ValueError for predictions and targets of different shapes, with the repair."""
    given = f"{metric}: predictions have shape {tuple(preds.shape)}, targets {tuple(targets.shape)}"
    if preds.ndim == targets.ndim + 1 and preds.shape[1:2] == (1,):
        repair = "write `preds.squeeze(1)`, or `target.unsqueeze(1)`"
    elif targets.ndim == preds.ndim + 1 and targets.shape[1:2] == (1,):
        repair = "write `target.squeeze(1)`, or `preds.unsqueeze(1)`"
    elif targets.ndim == preds.ndim > 1 and targets.shape[1] == 1 and preds.shape[1] > 1:
        repair = "class labels have one dimension less than scores: write `target.squeeze(1)`"
    else:
        repair = "they must be the same"
    return ValueError(f"{given}; {repair}")
