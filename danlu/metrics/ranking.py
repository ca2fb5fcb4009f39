"""Metrics of how well scores order samples: logits and probabilities give the same."""

from __future__ import annotations

import warnings

from danlu.metrics.base import Metric, array_of, result, shape_mismatch


class _RankMetric(Metric):
    """Gathers scores and 0/1 targets, and sorts them once in `compute`."""

    higher_is_better = True
    rows_decide = True

    def __init__(self, task=None, num_classes=None):
        super().__init__()
        if task not in (None, "binary", "multiclass"):
            raise ValueError(f'task must be "binary", "multiclass" or None, got {task!r}')
        self.task, self.num_classes = task, num_classes
        self.add_state("scores", [])
        self.add_state("targets", [])

    def update(self, preds, target):
        name = type(self).__name__
        scores, target = array_of(preds), array_of(target)
        multiclass = (
            scores.ndim == 2 == target.ndim + 1 and scores.shape[1] > 1 and self.task != "binary"
        )
        if multiclass:
            if scores.shape[0] != target.shape[0]:
                raise shape_mismatch(name, scores, target)
            classes = scores.shape[1]
        elif scores.shape != target.shape or self.task == "multiclass":
            raise shape_mismatch(name, scores, target)
        else:
            classes = 2
            scores, target = scores.reshape(-1), target.reshape(-1)
        wrong = (target != target.astype("int64")) | (target < 0) | (target >= classes)
        if wrong.any():
            position = int(wrong.argmax())
            raise ValueError(
                f"{name}: targets must be labels from 0 to {classes - 1}, got "
                f"{target[position]:g} at position {position}"
            )
        if scores.dtype.kind == "f" and (scores != scores).any():
            raise ValueError(f"{name}: a score is NaN, which has no place in an order")
        self.scores.append(scores.copy())
        self.targets.append(target.astype("int64"))

    def _curve_value(self, hit_rates, false_alarm_rates):
        """The value from the two rates above every distinct score, highest score first."""
        raise NotImplementedError

    def _binary(self, scores, positive):
        """The value for 0/1 targets, NaN (with a warning) if only one of the two occurs."""
        xp = scores.__array_namespace__()
        positives = int(positive.sum())
        if positives in (0, positive.size):
            missing = "negative" if positives else "positive"
            warnings.warn(
                f"{type(self).__name__} is undefined without {missing} samples: the value is nan",
                stacklevel=4,
            )
            return float("nan")
        order = xp.argsort(
            -scores if scores.dtype.kind == "f" else -scores.astype("int64"), kind="stable"
        )
        scores, positive = scores[order], positive[order]
        last_of_ties = xp.concat([scores[1:] != scores[:-1], xp.ones(1, dtype=bool)])
        above = xp.arange(1, scores.size + 1)[last_of_ties]
        hits = xp.cumsum(positive)[last_of_ties]
        zero = xp.zeros(1)
        hit_rates = xp.concat([zero, hits / positives])
        false_alarm_rates = xp.concat([zero, (above - hits) / (positive.size - positives)])
        return self._curve_value(hit_rates, false_alarm_rates)

    def compute(self):
        if not self.scores:
            return result(float("nan"))
        xp = self.scores[0].__array_namespace__()
        scores, targets = xp.concat(self.scores), xp.concat(self.targets)
        if scores.ndim == 1:
            return result(self._binary(scores, targets))
        classes = scores.shape[1]
        return result(
            sum(self._binary(scores[:, c], (targets == c).astype("int64")) for c in range(classes))
            / classes
        )


class AUC(_RankMetric):
    r"""Area under the ROC curve: the probability that a random positive is scored above a random
    negative, ties half.

    Exact, by sorting. For C classes, the mean over one-against-the-rest.

    Args:
        task: ``"binary"``, ``"multiclass"`` or None (default) to infer it.
        num_classes: accepted for compatibility with torchmetrics; read from the scores.

    Shape:
        preds and target the same, or preds :math:`(N, C)` with integer target :math:`(N)`.

    Raises:
        ValueError: for shapes that do not fit, targets that are no labels, and NaN scores.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.AUC()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.7500)
    """

    def _curve_value(self, hit_rates, false_alarm_rates):
        steps = false_alarm_rates[1:] - false_alarm_rates[:-1]
        return float((steps * (hit_rates[1:] + hit_rates[:-1]) / 2).sum())


class KS(_RankMetric):
    r"""Kolmogorov-Smirnov statistic, :math:`\max_s |F_{pos}(s) - F_{neg}(s)|`: how far apart the
    scores of both classes lie.

    Arguments, shapes and errors are `AUC`'s.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.KS()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.5000)
    """

    def _curve_value(self, hit_rates, false_alarm_rates):
        return float(abs(hit_rates - false_alarm_rates).max())
