"""Optimizers, and the schedules of their learning rates."""

from danlu.optim import lr_scheduler, swa_utils
from danlu.optim._adafactor import Adafactor
from danlu.optim._muon import Muon
from danlu.optim.adadelta import Adadelta
from danlu.optim.adagrad import Adagrad
from danlu.optim.adam import Adam
from danlu.optim.adamax import Adamax
from danlu.optim.adamw import AdamW
from danlu.optim.asgd import ASGD
from danlu.optim.lbfgs import LBFGS
from danlu.optim.nadam import NAdam
from danlu.optim.optimizer import Optimizer
from danlu.optim.radam import RAdam
from danlu.optim.rmsprop import RMSprop
from danlu.optim.rprop import Rprop
from danlu.optim.sgd import SGD
from danlu.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam", "lr_scheduler", "swa_utils",
]  # fmt: skip
