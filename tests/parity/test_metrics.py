"""Metrics against scikit-learn, and against the formulas written in torch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
reference = pytest.importorskip("sklearn.metrics")

import danlu  # noqa: E402
from danlu import metrics  # noqa: E402

BATCHES = 5


def fed(metric, preds, target):
    """The value of a metric that got the rows in several batches."""
    for p, y in zip(np.array_split(preds, BATCHES), np.array_split(target, BATCHES), strict=True):
        metric.update(danlu.tensor(p), danlu.tensor(y))
    return metric.compute().numpy()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def binary(rng):
    labels = rng.integers(0, 2, 300)
    scores = (labels + rng.normal(0, 1.5, 300)).round(1).astype("float32")
    return scores, labels


@pytest.fixture
def multiclass(rng):
    labels = rng.integers(0, 4, 300)
    scores = rng.normal(0, 1, (300, 4)).astype("float32")
    scores[np.arange(300), labels] += 0.7
    return scores, labels


def test_binary_classes(binary):
    scores, labels = binary
    positive = scores > 0
    assert fed(metrics.Accuracy(), scores, labels) == pytest.approx(
        reference.accuracy_score(labels, positive)
    )
    for metric, score in (
        (metrics.Precision, reference.precision_score),
        (metrics.Recall, reference.recall_score),
        (metrics.F1Score, reference.f1_score),
    ):
        assert fed(metric(), scores, labels) == pytest.approx(score(labels, positive))
    np.testing.assert_array_equal(
        fed(metrics.ConfusionMatrix(), scores, labels), reference.confusion_matrix(labels, positive)
    )


def test_binary_probabilities_are_the_same(binary):
    scores, labels = binary
    probabilities = torch.tensor(scores).sigmoid().numpy()
    for metric in (metrics.Accuracy, metrics.Precision, metrics.Recall, metrics.F1Score):
        assert fed(metric(), scores, labels) == fed(metric(), probabilities, labels)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "none"])
def test_multiclass(multiclass, average):
    scores, labels = multiclass
    predicted = scores.argmax(1)
    how = None if average == "none" else average
    for metric, score in (
        (metrics.Precision, reference.precision_score),
        (metrics.Recall, reference.recall_score),
        (metrics.F1Score, reference.f1_score),
    ):
        expected = score(labels, predicted, average=how)
        np.testing.assert_allclose(
            fed(metric(average=average), scores, labels), expected, rtol=1e-6
        )
        np.testing.assert_allclose(
            fed(metric(average=average), predicted, labels), expected, rtol=1e-6
        )


def test_multiclass_accuracy(multiclass):
    scores, labels = multiclass
    predicted = scores.argmax(1)
    expected = (torch.tensor(scores).argmax(1) == torch.tensor(labels)).double().mean().item()
    assert fed(metrics.Accuracy(), scores, labels) == pytest.approx(expected)
    assert fed(metrics.Accuracy(average="macro"), scores, labels) == pytest.approx(
        reference.balanced_accuracy_score(labels, predicted)
    )
    for k in (2, 3):
        assert fed(metrics.Accuracy(top_k=k), scores, labels) == pytest.approx(
            reference.top_k_accuracy_score(labels, scores, k=k)
        )


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "none"])
def test_multilabel(rng, average):
    labels = rng.integers(0, 2, (200, 3))
    scores = (labels + rng.normal(0, 1, (200, 3)) - 0.5).astype("float32")
    how = None if average == "none" else average
    for metric, score in (
        (metrics.Precision, reference.precision_score),
        (metrics.Recall, reference.recall_score),
        (metrics.F1Score, reference.f1_score),
    ):
        value = fed(metric(task="multilabel", num_labels=3, average=average), scores, labels)
        np.testing.assert_allclose(value, score(labels, scores > 0, average=how), rtol=1e-6)
    np.testing.assert_array_equal(
        fed(metrics.ConfusionMatrix(task="multilabel"), scores, labels),
        reference.multilabel_confusion_matrix(labels, scores > 0),
    )


@pytest.mark.parametrize("normalize", ["true", "pred", "all"])
def test_normalized_confusion_matrix(multiclass, normalize):
    scores, labels = multiclass
    np.testing.assert_allclose(
        fed(metrics.ConfusionMatrix(normalize=normalize), scores, labels),
        reference.confusion_matrix(labels, scores.argmax(1), normalize=normalize),
        rtol=1e-6,
    )


def test_iou(multiclass):
    scores, labels = multiclass
    assert fed(metrics.IOU(), scores, labels) == pytest.approx(
        reference.jaccard_score(labels, scores.argmax(1), average="macro")
    )


def test_auc_and_ks(binary):
    scores, labels = binary
    assert fed(metrics.AUC(), scores, labels) == pytest.approx(
        reference.roc_auc_score(labels, scores)
    )
    hits_rate, false_rate, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    expected = np.abs(hits_rate - false_rate).max()
    assert fed(metrics.KS(), scores, labels) == pytest.approx(expected)


def test_auc_of_several_classes(multiclass):
    scores, labels = multiclass
    probabilities = torch.tensor(scores).double().softmax(1).numpy()
    assert fed(metrics.AUC(), probabilities, labels) == pytest.approx(
        reference.roc_auc_score(labels, probabilities, multi_class="ovr")
    )


@pytest.mark.parametrize("shape", [(100,), (100, 1), (100, 3)])
def test_regression(rng, shape):
    target = rng.normal(3, 1, shape).astype("float32")
    preds = (target + rng.normal(0, 0.5, shape)).astype("float32")
    for metric, score in (
        (metrics.MeanAbsoluteError(), reference.mean_absolute_error),
        (metrics.MeanSquaredError(), reference.mean_squared_error),
        (metrics.MeanSquaredError(squared=False), lambda y, p: np.sqrt(np.mean((y - p) ** 2.0))),
        (metrics.MeanAbsolutePercentageError(), reference.mean_absolute_percentage_error),
        (metrics.R2Score(), reference.r2_score),
    ):
        assert fed(metric, preds, target) == pytest.approx(score(target, preds), rel=1e-5)


def test_errors_as_torch_computes_them(rng):
    preds, target = rng.normal(0, 1, (2, 64)).astype("float32")
    expected = torch.nn.functional.l1_loss(torch.tensor(preds), torch.tensor(target)).item()
    assert fed(metrics.MeanAbsoluteError(), preds, target) == pytest.approx(expected, rel=1e-6)
