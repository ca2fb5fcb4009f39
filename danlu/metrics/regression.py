"""Metrics of predicted numbers."""

from __future__ import annotations

from danlu.metrics.base import Metric, array_of, quotient, result, shape_mismatch


def _same_shape(metric, preds, targets):
    preds, targets = array_of(preds), array_of(targets)
    if preds.shape != targets.shape:
        raise shape_mismatch(type(metric).__name__, preds, targets)
    return preds, targets


class _MeanError(Metric):
    """The mean of an error that each element has by itself."""

    higher_is_better = False
    rows_decide = True

    def __init__(self):
        super().__init__()
        self.add_state("error_sum", 0.0)
        self.add_state("total", 0)

    def _errors(self, preds, targets):
        raise NotImplementedError

    def update(self, preds, target):
        preds, target = _same_shape(self, preds, target)
        self.error_sum += float(self._errors(preds, target).sum(dtype="float64"))
        self.total += preds.size

    def compute(self):
        return result(quotient(self.error_sum, self.total))


class MeanAbsoluteError(_MeanError):
    r"""Mean absolute error, :math:`\frac 1 n \sum_i |\hat y_i - y_i|`.

    Shape:
        preds and target: the same shape, any.

    Raises:
        ValueError: if the shapes differ.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.MeanAbsoluteError()(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
        tensor(1.)
    """

    def _errors(self, preds, targets):
        return abs(preds - targets)


class MeanSquaredError(_MeanError):
    r"""Mean squared error, :math:`\frac 1 n \sum_i (\hat y_i - y_i)^2`, or its root.

    Args:
        squared: False gives the root (RMSE). Default: True

    Shape:
        preds and target: the same shape, any.

    Raises:
        ValueError: if the shapes differ.

    Example::

        >>> import danlu as torch
        >>> root = torch.metrics.MeanSquaredError(squared=False)
        >>> root(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 1.0]))
        tensor(2.1213)
    """

    def __init__(self, squared=True):
        super().__init__()
        self.squared = squared

    def _errors(self, preds, targets):
        difference = preds - targets
        return difference * difference

    def compute(self):
        mean = quotient(self.error_sum, self.total)
        return result(mean if self.squared else mean**0.5)


class MeanAbsolutePercentageError(_MeanError):
    r"""Mean absolute percentage error, :math:`\frac 1 n \sum_i |\hat y_i - y_i| / \max(|y_i|,
    \epsilon)`, as a fraction.

    :math:`\epsilon = 1.17 \cdot 10^{-6}`, as in torchmetrics.

    Shape:
        preds and target: the same shape, any.

    Raises:
        ValueError: if the shapes differ.

    Example::

        >>> import danlu as torch
        >>> error = torch.metrics.MeanAbsolutePercentageError()
        >>> error(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
        tensor(0.2500)
    """

    def _errors(self, preds, targets):
        return abs(preds - targets) / abs(targets).clip(1.17e-6, None)


class R2Score(Metric):
    r"""Coefficient of determination, :math:`R^2 = 1 - \sum_i (y_i - \hat y_i)^2 / \sum_i (y_i -
    \bar y)^2`.

    Args:
        multioutput: for targets of several columns, ``"uniform_average"`` (default) is the mean
            over columns, ``"raw_values"`` one score a column.

    Shape:
        preds and target: :math:`(N)` or :math:`(N, D)`, the same.

    Raises:
        ValueError: if the shapes differ or have more than two dimensions; in `compute` for fewer
            than two samples.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.R2Score()(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0]))
        tensor(0.7857)
    """

    higher_is_better = True
    rows_decide = True

    def __init__(self, multioutput="uniform_average"):
        super().__init__()
        if multioutput not in ("uniform_average", "raw_values"):
            raise ValueError(
                f'multioutput must be "uniform_average" or "raw_values", got {multioutput!r}'
            )
        self.multioutput = multioutput
        for name in ("residual", "mean", "spread"):
            self.add_state(name, 0.0)
        self.add_state("total", 0)

    def update(self, preds, target):
        preds, target = _same_shape(self, preds, target)
        if preds.ndim not in (1, 2):
            raise ValueError(f"R2Score takes shapes (N,) and (N, D), got {tuple(preds.shape)}")
        if not preds.size:
            return
        preds, target = preds.astype("float64"), target.astype("float64")
        self.residual = self.residual + ((target - preds) ** 2).sum(axis=0)
        # The spread around the mean is merged batch by batch (Chan, Golub and LeVeque): a running
        # sum of squares would lose all digits where the mean is far from zero.
        rows, mean = target.shape[0], target.mean(axis=0)
        shift, total = mean - self.mean, self.total + rows
        spread = ((target - mean) ** 2).sum(axis=0)
        self.spread = self.spread + spread + shift**2 * (self.total * rows / total)
        self.mean = self.mean + shift * (rows / total)
        self.total = total

    def compute(self):
        if self.total < 2:
            raise ValueError(f"R2Score needs at least two samples, got {self.total}")
        # A constant target is perfectly predicted or not at all: 1 or 0 instead of 0/0 or -inf, as
        # in scikit-learn.
        constant = self.spread == 0
        score = 1 - self.residual / (self.spread + constant)
        score = score * ~constant + constant * (self.residual == 0)
        return result(score if self.multioutput == "raw_values" else score.mean())


class MeanMetric(Metric):
    """The weighted mean of values, such as a loss per batch.

    Shape:
        value: any; weight: broadcastable to it.

    Example::

        >>> import danlu as torch
        >>> mean = torch.metrics.MeanMetric()
        >>> mean.update(1.0)
        >>> mean.update(torch.tensor([4.0]), weight=2)
        >>> mean.compute()
        tensor(3.)
    """

    def __init__(self):
        super().__init__()
        self.add_state("weighted_sum", 0.0)
        self.add_state("weight_sum", 0.0)

    def update(self, value, weight=1.0):
        value = array_of(value).astype("float64")
        weight = array_of(weight).astype("float64") + 0 * value
        self.weighted_sum += float((value * weight).sum())
        self.weight_sum += float(weight.sum())

    def compute(self):
        return result(quotient(self.weighted_sum, self.weight_sum))
