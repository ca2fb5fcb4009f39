"""Metrics: values by hand, what is inferred, and what is refused."""

from __future__ import annotations

import math

import pytest

import danlu
from danlu import metrics
from danlu.metrics import Accuracy


def tensor(*args, **kwargs):
    return danlu.tensor(*args, **kwargs)


class TestAccuracyReads:
    def test_binary_probabilities(self):
        value = Accuracy()(tensor([0.2, 0.7, 0.6, 0.4]), tensor([0, 1, 0, 0]))
        assert value.item() == pytest.approx(0.75)

    def test_binary_logits_as_soon_as_one_leaves_the_unit_interval(self):
        value = Accuracy()(tensor([0.2, 3.0, -1.0]), tensor([1.0, 1.0, 0.0]))
        assert value.item() == 1.0

    def test_logits_of_earlier_batches_that_looked_like_probabilities(self):
        accuracy = Accuracy()
        accuracy.update(tensor([0.2, 0.3]), tensor([1.0, 1.0]))
        assert accuracy.compute().item() == 0.0
        accuracy.update(tensor([-2.0]), tensor([0.0]))
        assert accuracy.compute().item() == 1.0

    def test_from_logits_settles_it(self):
        scores, labels = tensor([0.2, 0.3]), tensor([1.0, 1.0])
        assert Accuracy(from_logits=True)(scores, labels).item() == 1.0
        assert Accuracy(from_logits=False)(scores, labels).item() == 0.0

    def test_rounding_above_one_is_still_a_probability(self):
        value = Accuracy()(tensor([1.0 + 1e-7, 0.3]), tensor([1.0, 0.0]))
        assert value.item() == 1.0

    def test_columns(self):
        value = Accuracy()(tensor([[0.2], [0.7]]), tensor([[0.0], [1.0]]))
        assert value.item() == 1.0

    def test_class_scores(self):
        scores = tensor([[0.1, 2.0, -1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        assert Accuracy()(scores, tensor([1, 0, 1])).item() == pytest.approx(2 / 3)

    def test_class_scores_of_images(self):
        scores = danlu.zeros(2, 3, 4, 5)
        scores[:, 1] = 1.0
        labels = danlu.ones(2, 4, 5, dtype=danlu.int64)
        labels[0] = 2
        assert Accuracy()(scores, labels).item() == 0.5

    def test_labels_against_labels(self):
        assert Accuracy()(tensor([3, 1, 2]), tensor([3, 1, 0])).item() == pytest.approx(2 / 3)

    def test_booleans(self):
        value = Accuracy()(tensor([True, False]), tensor([True, True]))
        assert value.item() == 0.5

    def test_tasks_of_torchmetrics(self):
        scores, labels = tensor([[0.1, 0.9], [0.8, 0.2]]), tensor([1, 1])
        assert Accuracy(task="multiclass", num_classes=2)(scores, labels).item() == 0.5
        several = tensor([[0.9, 0.1, 0.8], [0.2, 0.9, 0.1]])
        truth = tensor([[1, 0, 0], [0, 1, 1]])
        assert Accuracy(task="multilabel", num_labels=3)(several, truth).item() == pytest.approx(
            4 / 6
        )
        per_label = Accuracy(task="multilabel", num_labels=3, average="none")(several, truth)
        assert per_label.tolist() == [1.0, 1.0, 0.0]

    def test_top_k(self):
        scores = tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
        labels = tensor([0, 1, 2])
        assert Accuracy(top_k=2)(scores, labels).item() == pytest.approx(2 / 3)
        assert Accuracy()(scores, labels).item() == pytest.approx(1 / 3)

    def test_ignore_index(self):
        scores, labels = tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), tensor([0, -100, 0])
        assert Accuracy(ignore_index=-100)(scores, labels).item() == 0.5
        value = Accuracy(ignore_index=-1)(tensor([0.9, 0.2, 0.9]), tensor([1, -1, 0]))
        assert value.item() == 0.5

    def test_half_precision(self):
        scores = tensor([0.25, 0.75], dtype=danlu.float16)
        assert Accuracy()(scores, tensor([0, 1])).item() == 1.0


class TestAccuracyRefuses:
    @pytest.mark.parametrize(
        ("shape", "target_shape", "repair"),
        [
            ((4, 1), (4,), "preds.squeeze(1)"),
            ((4,), (4, 1), "target.squeeze(1)"),
            ((4, 3), (4, 1), "target.squeeze(1)"),
            ((4,), (5,), "must be the same"),
        ],
    )
    def test_shapes(self, shape, target_shape, repair):
        labels = danlu.zeros(*target_shape, dtype=danlu.int64)
        with pytest.raises(ValueError) as error:
            Accuracy().update(danlu.zeros(*shape), labels)
        assert repair in str(error.value)
        assert str(shape) in str(error.value) and str(target_shape) in str(error.value)

    def test_one_hot_or_multilabel(self):
        with pytest.raises(ValueError, match='task="multilabel"'):
            Accuracy()(danlu.zeros(4, 3), danlu.zeros(4, 3))

    def test_regression_targets(self):
        with pytest.raises(ValueError, match=r"contain 2\.5.*MeanAbsoluteError"):
            Accuracy()(tensor([0.1, 0.2]), tensor([1.0, 2.5]))

    def test_label_out_of_range(self):
        with pytest.raises(ValueError, match="label 3 at position 1 .*3 classes"):
            Accuracy()(danlu.zeros(2, 3), tensor([0, 3]))

    def test_change_of_kind(self):
        accuracy = Accuracy()
        accuracy.update(tensor([0.3]), tensor([1]))
        with pytest.raises(ValueError, match="reads as multiclass, earlier ones as binary"):
            accuracy.update(danlu.zeros(2, 3), tensor([0, 1]))

    def test_arguments(self):
        with pytest.raises(ValueError, match="task must be one of"):
            Accuracy(task="binery")
        with pytest.raises(ValueError, match="average must be"):
            Accuracy(average="mean")
        with pytest.raises(ValueError, match="threshold"):
            Accuracy(threshold=1.5)
        with pytest.raises(ValueError, match="scores of 3 classes"):
            Accuracy(num_classes=4)(danlu.zeros(2, 3), tensor([0, 1]))


class TestClassCounts:
    scores = [0.9, 0.8, 0.3, 0.6, 0.2]
    labels = [1, 0, 1, 1, 0]

    @pytest.mark.parametrize(
        ("metric", "expected"),
        [(metrics.Precision, 2 / 3), (metrics.Recall, 2 / 3), (metrics.F1Score, 2 / 3)],
    )
    def test_binary(self, metric, expected):
        assert metric()(tensor(self.scores), tensor(self.labels)).item() == pytest.approx(expected)

    def test_nothing_to_divide_by_is_zero(self):
        scores, labels = tensor([0.1, 0.2]), tensor([0, 0])
        for metric in (metrics.Precision(), metrics.Recall(), metrics.F1Score()):
            assert metric(scores, labels).item() == 0.0

    def test_confusion_matrix(self):
        matrix = metrics.ConfusionMatrix()
        matrix.update(tensor([0, 1]), tensor([0, 0]))
        matrix.update(tensor([2, 2]), tensor([2, 1]))
        assert matrix.compute().tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
        assert matrix.compute().dtype == danlu.int64

    def test_confusion_matrix_normalized(self):
        preds, labels = tensor([0, 1, 1, 1]), tensor([0, 0, 1, 1])
        by_row = metrics.ConfusionMatrix(normalize="true")(preds, labels)
        assert by_row.tolist() == [[0.5, 0.5], [0.0, 1.0]]
        assert metrics.ConfusionMatrix(normalize="all")(preds, labels).sum().item() == 1.0

    def test_iou_leaves_out_absent_classes(self):
        scores = danlu.zeros(1, 4, 2, 2)
        scores[:, 0] = 1.0
        labels = danlu.zeros(1, 2, 2, dtype=danlu.int64)
        labels[0, 0, 0] = 1
        value = metrics.IOU(num_classes=4)(scores, labels)
        assert value.item() == pytest.approx((3 / 4 + 0) / 2)

    def test_iou_prints_classes_on_request(self, capsys):
        metrics.IOU(if_print=True)(tensor([0, 1]), tensor([0, 1]))
        assert capsys.readouterr().out == "IOU per class: [1.0, 1.0]\n"


class TestRanking:
    def test_ties_count_half(self):
        assert metrics.AUC()(tensor([0.5, 0.5]), tensor([0, 1])).item() == 0.5

    def test_batches_make_no_difference(self):
        auc = metrics.AUC()
        auc.update(tensor([0.1, 0.4]), tensor([0, 0]))
        auc.update(tensor([0.35, 0.8]), tensor([1, 1]))
        assert auc.compute().item() == pytest.approx(0.75)

    def test_logits_and_probabilities_alike(self):
        logits, labels = tensor([-3.0, 1.0, -1.0, 5.0]), tensor([0, 0, 1, 1])
        for metric in (metrics.AUC, metrics.KS):
            assert metric()(logits, labels).item() == metric()(logits.sigmoid(), labels).item()

    def test_one_class_is_undefined(self):
        with pytest.warns(UserWarning, match="without negative samples"):
            assert math.isnan(metrics.AUC()(tensor([0.1, 0.4]), tensor([1, 1])).item())

    def test_refuses(self):
        with pytest.raises(ValueError, match="NaN"):
            metrics.AUC()(tensor([0.1, math.nan]), tensor([0, 1]))
        with pytest.raises(ValueError, match="labels from 0 to 1, got 2 at position 1"):
            metrics.AUC()(tensor([0.1, 0.3]), tensor([0, 2]))
        with pytest.raises(ValueError, match=r"preds\.squeeze"):
            metrics.AUC()(danlu.zeros(4, 1), danlu.zeros(4))

    def test_auroc_is_auc(self):
        assert metrics.AUROC is metrics.AUC


class TestRegression:
    preds, target = [1.0, 2.0, 4.0], [1.0, 4.0, 1.0]

    @pytest.mark.parametrize(
        ("metric", "expected"),
        [
            (metrics.MeanAbsoluteError(), 5 / 3),
            (metrics.MeanSquaredError(), 13 / 3),
            (metrics.MeanSquaredError(squared=False), math.sqrt(13 / 3)),
            (metrics.MeanAbsolutePercentageError(), (0 + 0.5 + 3) / 3),
            (metrics.R2Score(), 1 - 13 / 6),
        ],
    )
    def test_by_hand(self, metric, expected):
        assert metric(tensor(self.preds), tensor(self.target)).item() == pytest.approx(expected)

    def test_r2_of_columns(self):
        preds = tensor([[1.0, 1.0], [2.0, 2.0]])
        target = tensor([[1.0, 2.0], [2.0, 1.0]])
        assert metrics.R2Score(multioutput="raw_values")(preds, target).tolist() == [1.0, -3.0]
        assert metrics.R2Score()(preds, target).item() == -1.0

    def test_r2_far_from_zero(self):
        target = tensor([1e8 + k for k in range(8)], dtype=danlu.float64)
        preds = target + tensor([0.5, -0.5] * 4, dtype=danlu.float64)
        r2 = metrics.R2Score()
        for part in (slice(0, 3), slice(3, 8)):
            r2.update(preds[part], target[part])
        assert r2.compute().item() == pytest.approx(1 - 2 / 42, rel=1e-6)

    def test_r2_needs_two_samples(self):
        with pytest.raises(ValueError, match="two samples"):
            metrics.R2Score()(tensor([1.0]), tensor([1.0]))

    def test_shapes_that_would_broadcast(self):
        for metric in (metrics.MeanAbsoluteError(), metrics.MeanSquaredError(), metrics.R2Score()):
            with pytest.raises(ValueError, match=r"write `preds\.squeeze\(1\)`"):
                metric.update(danlu.zeros(4, 1), danlu.zeros(4))


class TestProtocol:
    def test_forward_gives_the_batch_and_compute_all(self):
        mae = metrics.MeanAbsoluteError()
        assert mae(tensor([1.0]), tensor([0.0])).item() == 1.0
        assert mae(tensor([3.0]), tensor([0.0])).item() == 3.0
        assert mae.compute().item() == 2.0
        mae.reset()
        assert math.isnan(mae.compute().item())

    def test_a_refused_batch_leaves_no_trace(self):
        mae = metrics.MeanAbsoluteError()
        mae.update(tensor([1.0]), tensor([0.0]))
        with pytest.raises(ValueError, match="shape"):
            mae(tensor([1.0, 2.0]), tensor([0.0]))
        assert mae.compute().item() == 1.0

    @pytest.mark.parametrize("name", [n for n in metrics.__all__ if not n.startswith("Metric")])
    def test_contract(self, name):
        metric = getattr(metrics, name)()
        assert isinstance(metric, danlu.nn.Module)
        assert not list(metric.parameters()) and not metric.state_dict()
        if name in ("AUC", "AUROC", "KS"):
            args = tensor([0.1, 0.9]), tensor([0, 1])
        else:
            args = tensor([1.0, 0.0]), tensor([1.0, 0.0])
        first = metric(*args)
        assert isinstance(first, danlu.Tensor) and not first.requires_grad
        twin = metric.clone()
        metric.reset()
        assert danlu.equal(twin.compute(), first)
        metric.update(*args)
        assert danlu.equal(metric.compute(), first)
        assert metric.to("cpu") is metric

    def test_predictions_that_require_gradients(self):
        preds = tensor([0.2, 0.7], requires_grad=True)
        assert Accuracy()(preds, tensor([0, 1])).item() == 1.0

    def test_mean_metric(self):
        mean = metrics.MeanMetric()
        mean.update(tensor([1.0, 2.0]))
        mean.update(6.0, weight=2)
        assert mean.compute().item() == pytest.approx(15 / 4)

    def test_own_metric_with_tensor_and_list_state(self):
        class Collected(metrics.Metric):
            def __init__(self):
                super().__init__()
                self.add_state("total", default=danlu.tensor(0.0), dist_reduce_fx="sum")
                self.add_state("seen", default=[], dist_reduce_fx="cat")

            def update(self, preds, target):
                self.total += preds.sum()
                self.seen.append(target)

            def compute(self):
                return self.total + danlu.cat(self.seen).sum()

        metric = Collected()
        assert metric(tensor([1.0]), tensor([2.0])).item() == 3.0
        assert metric(tensor([1.0]), tensor([3.0])).item() == 4.0
        assert metric.compute().item() == 7.0
        metric.reset()
        assert metric.total.item() == 0.0 and metric.seen == []

    def test_state_declarations_are_checked(self):
        with pytest.raises(ValueError, match="identifier"):
            metrics.Metric().add_state("not a name", 0)
        with pytest.raises(ValueError, match="empty"):
            metrics.Metric().add_state("items", [1])


class TestCollection:
    def test_names(self):
        both = metrics.MetricCollection(
            {"a": metrics.MeanAbsoluteError(), "b": metrics.MeanMetric()}
        )
        assert list(both.keys()) == ["a", "b"]
        listed = metrics.MetricCollection(
            [metrics.MeanAbsoluteError(), metrics.MeanSquaredError()], prefix="val_"
        )
        values = listed(tensor([3.0]), tensor([1.0]))
        assert list(values) == ["val_MeanAbsoluteError", "val_MeanSquaredError"]
        assert [value.item() for value in values.values()] == [2.0, 4.0]

    def test_clone_and_reset(self):
        one = metrics.MetricCollection(metrics.MeanAbsoluteError())
        one.update(tensor([3.0]), tensor([1.0]))
        twin = one.clone(prefix="train_")
        one.reset()
        assert twin.compute()["train_MeanAbsoluteError"].item() == 2.0
        assert math.isnan(one.compute()["MeanAbsoluteError"].item())

    def test_refuses(self):
        with pytest.raises(ValueError, match="two metrics are named"):
            metrics.MetricCollection([metrics.KS(), metrics.KS()])
        with pytest.raises(ValueError, match="takes metrics"):
            metrics.MetricCollection({"x": danlu.nn.ReLU()})
