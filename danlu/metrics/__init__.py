"""Metrics over many batches, in the manner of torchmetrics: `update`, `compute`, `reset`."""

from danlu.metrics.base import Metric, MetricCollection
from danlu.metrics.classification import IOU, Accuracy, ConfusionMatrix, F1Score, Precision, Recall
from danlu.metrics.ranking import AUC, KS
from danlu.metrics.regression import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanMetric,
    MeanSquaredError,
    R2Score,
)

AUROC = AUC

__all__ = [
    "AUC",
    "AUROC",
    "IOU",
    "KS",
    "Accuracy",
    "ConfusionMatrix",
    "F1Score",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetric",
    "MeanSquaredError",
    "Metric",
    "MetricCollection",
    "Precision",
    "R2Score",
    "Recall",
]
