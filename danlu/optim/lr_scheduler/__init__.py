"""Schedules of learning rates."""

from danlu.optim.lr_scheduler.base import LRScheduler
from danlu.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from danlu.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from danlu.optim.lr_scheduler.cycle import CyclicLR, OneCycleLR
from danlu.optim.lr_scheduler.decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)  # fmt: skip
from danlu.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip

_LRScheduler = LRScheduler  # the name of old programs

for _name in __all__:  # printed and pickled by their public path
    globals()[_name].__module__ = __name__
