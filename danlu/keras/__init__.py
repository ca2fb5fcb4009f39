"""The high-level API: networks that fit, evaluate and predict, in the manner of torchkeras."""

from danlu.keras import callbacks, metrics, plots, utils
from danlu.keras.kerasmodel import KerasModel
from danlu.keras.model import Model
from danlu.keras.plots import plot_metric
from danlu.keras.summary import summary
from danlu.keras.trainer import EpochRunner, StepRunner
from danlu.keras.vlog import VLog
from danlu.version import __version__

__all__ = [
    "EpochRunner",
    "KerasModel",
    "Model",
    "StepRunner",
    "VLog",
    "__version__",
    "callbacks",
    "metrics",
    "plot_metric",
    "plots",
    "summary",
    "utils",
]
