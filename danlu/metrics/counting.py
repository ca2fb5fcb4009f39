"""Reading predictions and labels, and counting pairs of them, for all metrics of classes."""

from __future__ import annotations

import math

from danlu.metrics.base import Metric, array_of, result, shape_mismatch

TASKS = ("binary", "multiclass", "multilabel")
AVERAGES = ("micro", "macro", "weighted", "none", None)

_TWO_READINGS = (
    "{metric}: predictions and targets both have shape {shape}, which may mean several labels per "
    'sample or scores and one-hot targets. Write {metric}(task="multilabel") for the first, pass '
    '`target.argmax(1)` for the second, or {metric}(task="binary") if every element is a yes/no '
    "answer of its own"
)
_NOT_CLASSES = (
    "{metric}: targets must be {expected}, but contain {value:g}. Write `(target > 0.5).long()` "
    "for soft labels; for a regression use MeanAbsoluteError or R2Score"
)


class ClassMetric(Metric):
    """Reads predictions and targets and counts pairs (target, prediction) in `confusion`.

    How they are read follows from dtypes and shapes, unless `task` says it:

    - equal shapes (N,) or (N, 1, ...), floating predictions: *binary*, scores of the positive
      class;
    - predictions (N, C, ...) with integer targets (N, ...): *multiclass*, scores of C classes;
    - equal shapes, integer predictions: *multiclass*, labels (*binary* for bool);
    - anything else is ambiguous or a mistake, and refused.

    Whether scores are logits or probabilities cannot be told while all lie in [0, 1]. Both readings
    are counted until one score lies outside, which settles it for everything gathered; `compute`
    takes scores that never left [0, 1] for probabilities.
    """

    higher_is_better: bool | None = True
    rows_decide = True

    def __init__(
        self,
        task=None,
        threshold=0.5,
        num_classes=None,
        average="micro",
        *,
        num_labels=None,
        ignore_index=None,
        from_logits=None,
    ):
        super().__init__()
        if task is not None and task not in TASKS:
            raise ValueError(
                f"task must be one of {', '.join(map(repr, TASKS))} or None, got {task!r}"
            )
        if average not in AVERAGES:
            raise ValueError(
                f'average must be "micro", "macro", "weighted" or "none", got {average!r}'
            )
        if not 0 < threshold < 1:
            raise ValueError(f"threshold is a probability between 0 and 1, got {threshold!r}")
        self.task, self.threshold, self.average = task, threshold, average
        self.num_classes = num_classes if task != "multilabel" else (num_labels or num_classes)
        self.ignore_index, self.from_logits = ignore_index, from_logits
        self._logit_threshold = math.log(threshold / (1 - threshold))
        self.add_state("kind", task)
        self.add_state("are_logits", from_logits)
        self.add_state("confusion", None)
        self.add_state("confusion_of_logits", None)

    def expect_logits(self, are_logits):
        """Says whether binary scores are logits, as `from_logits` does."""
        self.from_logits = self._initial_state["are_logits"] = self.are_logits = are_logits

    # ---- reading

    def update(self, preds, target):
        preds, target = array_of(preds), array_of(target)
        kind = self.task or self._infer_kind(preds, target)
        if self.kind is not None and self.kind != kind:
            raise ValueError(
                f"{type(self).__name__}: this batch reads as {kind}, earlier ones as {self.kind}; "
                "pass task="
            )
        self.kind = kind
        if kind == "multiclass":
            self._update_multiclass(preds, target)
        else:
            self._update_binary(preds, target, labels=1 if kind == "binary" else None)

    def _infer_kind(self, preds, target):
        if preds.ndim == target.ndim + 1 and preds.dtype.kind == "f" and preds.shape[1] > 1:
            return "multiclass"
        if preds.shape != target.shape:
            raise shape_mismatch(type(self).__name__, preds, target)
        if preds.dtype.kind in "iu":
            return "multiclass"
        if preds.ndim > 1 and preds.shape[1] > 1:
            raise ValueError(
                _TWO_READINGS.format(metric=type(self).__name__, shape=tuple(preds.shape))
            )
        return "binary"

    def _update_multiclass(self, preds, target):
        name, classes = type(self).__name__, self.num_classes
        if preds.ndim == target.ndim + 1 and preds.dtype.kind == "f":
            if (
                preds.shape[0] != target.shape[0]
                or preds.shape[2:] != target.shape[1:]
                or preds.shape[1] == 1
            ):
                raise shape_mismatch(name, preds, target)
            classes = preds.shape[1]
            if self.num_classes is not None and self.num_classes != classes:
                raise ValueError(
                    f"{name}(num_classes={self.num_classes}) got scores of {classes} classes"
                )
            predicted = preds.argmax(1)
        elif preds.shape == target.shape and preds.dtype.kind != "f":
            predicted = preds
        else:
            raise shape_mismatch(name, preds, target)
        xp = target.__array_namespace__()
        predicted, truth = predicted.reshape(-1), target.reshape(-1)
        if self.ignore_index is not None:
            kept = truth != self.ignore_index
            predicted, truth = predicted[kept], truth[kept]
        truth = _as_labels(name, truth, classes)
        if classes is None:
            predicted = _as_labels(name, predicted, None)
            classes = 1 + max(int(truth.max(initial=0)), int(predicted.max(initial=0)))
        elif preds.dtype.kind != "f":
            predicted = _as_labels(name, predicted, classes)
        counts = xp.bincount(truth * classes + predicted, minlength=classes * classes)
        self.confusion = _grown_sum(self.confusion, counts.reshape(classes, classes))

    def _update_binary(self, preds, target, labels):
        name = type(self).__name__
        if preds.shape != target.shape:
            raise shape_mismatch(name, preds, target)
        if labels is None:
            if preds.ndim < 2:
                raise ValueError(
                    f'{name}(task="multilabel") needs shape (N, L, ...), got {tuple(preds.shape)}'
                )
            labels = preds.shape[1]
            if self.num_classes not in (None, labels):
                raise ValueError(
                    f"{name}(num_labels={self.num_classes}) got {labels} labels per sample"
                )
            xp = preds.__array_namespace__()
            preds = xp.moveaxis(preds, 1, -1)
            target = xp.moveaxis(target, 1, -1)
        truth = target.reshape(-1)
        preds = preds.reshape(-1)
        label = None
        if labels > 1:
            label = truth.__array_namespace__().arange(truth.size) % labels
        if self.ignore_index is not None:
            kept = truth != self.ignore_index
            truth, preds = truth[kept], preds[kept]
            label = None if label is None else label[kept]
        truth = _as_labels(name, truth, 2)
        if preds.dtype.kind != "f":
            predicted = _as_labels(name, preds, 2)
            self.confusion = _grown_sum(self.confusion, _pairs(truth, predicted, label, labels))
            return
        if (
            self.are_logits is None
            and preds.size
            and (preds.min() < -1e-6 or preds.max() > 1 + 1e-6)
        ):
            self.are_logits = True
        if self.are_logits is not True:
            pairs = _pairs(truth, preds > self.threshold, label, labels)
            self.confusion = _grown_sum(self.confusion, pairs)
        if self.are_logits is not False:
            pairs = _pairs(truth, preds > self._logit_threshold, label, labels)
            self.confusion_of_logits = _grown_sum(self.confusion_of_logits, pairs)

    # ---- counting

    def _counts(self):
        """The confusion matrix: (C, C), or (L, 2, 2) for L labels; None before the first batch."""
        confusion = self.confusion_of_logits if self.are_logits else self.confusion
        if self.kind == "binary" and confusion is not None:
            return confusion.reshape(2, 2)
        return confusion

    def _outcomes(self):
        """True positives, false positives and false negatives, one entry a class."""
        counts = self._counts()
        if self.kind == "multiclass":
            hit = counts.diagonal()
            return hit, counts.sum(0) - hit, counts.sum(1) - hit
        return counts[..., 1, 1], counts[..., 0, 1], counts[..., 1, 0]

    def _average(self, score, hit, false_positive, false_negative):
        """`score(tp, fp, fn)` over classes; the macro average leaves out those that never occur."""
        if self.kind == "binary":
            return score(hit, false_positive, false_negative)
        if self.average == "micro":
            return score(hit.sum(), false_positive.sum(), false_negative.sum())
        scores = score(hit, false_positive, false_negative)
        if self.average in ("none", None):
            return scores
        support = hit + false_negative
        weights = support if self.average == "weighted" else (support + false_positive > 0)
        return ratio((scores * weights).sum(), weights.sum())

    def compute(self):
        if self._counts() is None:
            return result(float("nan"))
        return result(self._score())

    def _score(self):
        raise NotImplementedError


def _as_labels(metric, labels, classes):
    """Class labels as integers, after the check that they are 0 ... classes - 1."""
    integer = labels if labels.dtype.kind in "iu" else labels.astype("int64")
    if not labels.size:
        return integer
    expected = "0 and 1" if classes == 2 else "whole numbers from 0"
    if labels.dtype.kind == "f" and (fractional := integer != labels).any():
        raise ValueError(
            _NOT_CLASSES.format(metric=metric, expected=expected, value=labels[fractional][0])
        )
    wrong = integer < 0 if classes is None else (integer < 0) | (integer >= classes)
    if wrong.any():
        position = int(wrong.argmax())
        count = "" if classes is None else f" of {classes} classes"
        raise ValueError(
            f"{metric}: label {int(integer[position])} at position {position} is not one{count} "
            f"({'0 and up' if classes is None else f'0 to {classes - 1}'})"
        )
    return integer.astype("int64") if integer.dtype.itemsize < 8 else integer


def _pairs(truth, predicted, label, labels):
    """Counts of (label, truth, prediction), shape (labels, 2, 2)."""
    cell = 2 * truth + predicted
    if label is not None:
        cell = cell + 4 * label
    return truth.__array_namespace__().bincount(cell, minlength=4 * labels).reshape(labels, 2, 2)


def _grown_sum(total, counts):
    """The sum of two square count matrices, the smaller one padded with zeros."""
    if total is None:
        return counts
    if total.shape == counts.shape:
        return total + counts
    large, small = (total, counts) if total.shape[0] > counts.shape[0] else (counts, total)
    grown = large.copy()
    grown[: small.shape[0], : small.shape[1]] += small
    return grown


def ratio(numerator, denominator):
    """Elementwise quotient of counts, 0 where the denominator is 0."""
    return numerator / (denominator + (denominator == 0))
