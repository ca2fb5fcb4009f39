"""Metrics of predicted classes."""

from __future__ import annotations

import danlu
from danlu.metrics.base import result
from danlu.metrics.counting import ClassMetric, ratio


class Accuracy(ClassMetric):
    r"""The share of predictions that are right.

    Reads logits, probabilities and labels, binary and multi-class, from dtypes and shapes; refuses
    what is ambiguous.

    Args:
        task: ``"binary"``, ``"multiclass"``, ``"multilabel"``, or None (default) to infer it.
        threshold: the probability from which a binary prediction is positive. Default: 0.5
        num_classes: if given, checked against the scores.
        average: over classes: ``"micro"`` (default; every sample counts alike), ``"macro"`` (every
            class), ``"weighted"``, ``"none"`` (one value a class).
        top_k: a multi-class prediction is right if the label is among the `top_k` highest scores.
            Default: 1
        num_labels: for ``"multilabel"``, as `num_classes`.
        ignore_index: samples with this label are left out.
        from_logits: whether binary scores are logits; None (default): they are, once one lies
            outside [0, 1].

    Shape:
        preds :math:`(N)` or :math:`(N, 1, ...)` with target of the same shape, or preds :math:`(N,
        C, ...)` with integer target :math:`(N, ...)`.

    Raises:
        ValueError: for shapes that do not fit, such as (N, 1) with (N,), ambiguous ones, and
            targets that are no labels.

    Example::

        >>> import danlu as torch
        >>> accuracy = torch.metrics.Accuracy()
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        tensor(0.5000)
        >>> torch.metrics.Accuracy()(torch.tensor([-2.0, 3.0, 0.4]), torch.tensor([0.0, 1.0, 1.0]))
        tensor(1.)
    """

    def __init__(
        self,
        task=None,
        threshold=0.5,
        num_classes=None,
        average="micro",
        *,
        top_k=1,
        num_labels=None,
        ignore_index=None,
        from_logits=None,
    ):
        super().__init__(
            task,
            threshold,
            num_classes,
            average,
            num_labels=num_labels,
            ignore_index=ignore_index,
            from_logits=from_logits,
        )
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        if top_k > 1 and average != "micro":
            raise ValueError('Accuracy(top_k > 1) is defined for average="micro" alone')
        self.top_k = top_k

    def _update_multiclass(self, preds, target):
        if self.top_k > 1 and preds.ndim == target.ndim + 1:
            preds = _promote_hits(preds, target, self.top_k)
        super()._update_multiclass(preds, target)

    def _score(self):
        counts = self._counts()
        if self.kind == "binary" or self.average == "micro":
            right = counts.diagonal(axis1=-2, axis2=-1).sum()
            return right / counts.sum() if counts.sum() else float("nan")
        if self.kind == "multilabel":
            right = counts.diagonal(axis1=-2, axis2=-1).sum(-1) / counts.sum((-2, -1))
            return right if self.average in ("none", None) else right.mean()
        return self._average(lambda tp, fp, fn: ratio(tp, tp + fn), *self._outcomes())


def _promote_hits(scores, target, top_k):
    """Scores in which the label's class is the highest wherever it was among the `top_k`."""
    xp = scores.__array_namespace__()
    label = xp.expand_dims(target.clip(0, scores.shape[1] - 1), 1)
    own = xp.take_along_axis(scores, label, axis=1)
    rank = (scores > own).sum(1, keepdims=True)
    promoted = scores.copy()
    xp.put_along_axis(promoted, label, xp.where(rank < top_k, xp.inf, own), axis=1)
    return promoted


class Precision(ClassMetric):
    r"""The share of positive predictions that are right, :math:`TP / (TP + FP)`; 0 where there are
    none.

    Arguments, shapes and errors are `Accuracy`'s, without `top_k`.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.Precision()(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 1]))
        tensor(0.5000)
    """

    def _score(self):
        return self._average(lambda tp, fp, fn: ratio(tp, tp + fp), *self._outcomes())


class Recall(ClassMetric):
    r"""The share of positives that are found, :math:`TP / (TP + FN)`; 0 where there are none.

    Arguments, shapes and errors are `Accuracy`'s, without `top_k`.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.Recall()(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 1, 1]))
        tensor(0.6667)
    """

    def _score(self):
        return self._average(lambda tp, fp, fn: ratio(tp, tp + fn), *self._outcomes())


class F1Score(ClassMetric):
    r"""The harmonic mean of precision and recall, :math:`2 TP / (2 TP + FP + FN)`; 0 where there
    are no positives.

    Arguments, shapes and errors are `Accuracy`'s, without `top_k`.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.F1Score()(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 1]))
        tensor(0.5000)
    """

    def _score(self):
        return self._average(lambda tp, fp, fn: ratio(2 * tp, 2 * tp + fp + fn), *self._outcomes())


class ConfusionMatrix(ClassMetric):
    """How often each class (rows) was predicted as each class (columns): (C, C), or (L, 2, 2) for L
    labels.

    Args:
        normalize: ``"true"`` divides by the row sums, ``"pred"`` by the column sums, ``"all"`` by
            the total; None (default) gives counts.

    The other arguments, shapes and errors are `Accuracy`'s, without `average` and `top_k`.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.ConfusionMatrix()(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
        tensor([[1, 1],
                [0, 1]])
    """

    higher_is_better = None

    def __init__(
        self,
        task=None,
        threshold=0.5,
        num_classes=None,
        normalize=None,
        *,
        num_labels=None,
        ignore_index=None,
        from_logits=None,
    ):
        super().__init__(
            task,
            threshold,
            num_classes,
            num_labels=num_labels,
            ignore_index=ignore_index,
            from_logits=from_logits,
        )
        axes = {"true": -1, "pred": -2, "all": (-2, -1)}
        if normalize not in (None, "none", *axes):
            raise ValueError(f'normalize must be "true", "pred", "all" or None, got {normalize!r}')
        self.normalize = normalize
        self._normalized_axes = axes.get(normalize)

    def compute(self):
        counts = self._counts()
        if counts is None:
            return result(float("nan"))
        if self._normalized_axes is None:
            return danlu.as_tensor(counts)
        return result(ratio(counts, counts.sum(self._normalized_axes, keepdims=True)))


class IOU(ClassMetric):
    r"""Mean intersection over union of the classes, :math:`TP / (TP + FP + FN)`, background
    included.

    Classes that neither occur nor are predicted do not count.

    Args:
        num_classes: if given, checked against the scores; 1 and 2 both mean binary where the scores
            have one channel.
        if_print: also print the value of each class in `compute`. Default: False

    Shape:
        preds :math:`(N, 1, H, W)` with target of the same shape, or preds :math:`(N, C, H, W)` with
        integer target :math:`(N, H, W)`.

    Raises:
        ValueError: as `Accuracy`.

    Example::

        >>> import danlu as torch
        >>> torch.metrics.IOU()(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]))
        tensor(0.5833)
    """

    def __init__(
        self,
        num_classes=None,
        if_print=False,
        *,
        task=None,
        threshold=0.5,
        ignore_index=None,
        from_logits=None,
    ):
        super().__init__(
            task,
            threshold,
            None if num_classes == 1 else num_classes,
            ignore_index=ignore_index,
            from_logits=from_logits,
        )
        self.if_print = if_print

    def _score(self):
        counts = self._counts()
        hit = counts.diagonal(axis1=-2, axis2=-1)
        union = counts.sum(-1) + counts.sum(-2) - hit
        per_class = ratio(hit, union)
        if self.if_print:
            print("IOU per class:", [round(float(value), 4) for value in per_class.reshape(-1)])
        return ratio(per_class.sum(), (union > 0).sum())
