"""The best weights of a run, and the state from which an interrupted run continues."""

from __future__ import annotations

import math
import os
import time

import danlu
from danlu.keras.checks import RandomStates
from danlu.keras.trainer import steps_on_plateau
from danlu.tensor import Tensor, wrap


def save_atomically(obj, path):
    """`danlu.save` that leaves the old file or the new one, never a part; makes missing folders."""
    path = os.fspath(path)
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    unfinished = f"{path}.{os.getpid()}.part"
    try:
        danlu.save(obj, unfinished)
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def copied_weights(net):
    """A copy of a network's state dict."""
    return _copied(net.state_dict())


class _LazyFile:
    """A file written at most once a second, less often where that is slow; none if path is None."""

    def __init__(self, path):
        self.path = path
        self._content = None
        self._next_write = time.monotonic() + 1.0

    def put(self, content):
        """Writes `content` now or later; `flush` makes sure."""
        self._content = None if self.path is None else content
        if time.monotonic() >= self._next_write:
            self.flush()

    def flush(self):
        """Writes what has not been written yet."""
        if self._content is None:
            return
        start = time.monotonic()
        save_atomically(self._content, self.path)
        self._content = None
        end = time.monotonic()
        self._next_write = end + max(1.0, 20 * (end - start))


class BestWeights:
    """Keeps the weights of the epoch with the best monitored value, in memory and in a file.

    The first of equal values is the best; NaN is never best. The optimizer's averages are kept with
    them, so that a later `fit` goes on from one moment and not from two.

    Args:
        net: the network.
        optimizer: its optimizer.
        path: the file of the best weights, or None.
        mode: ``"min"`` or ``"max"``.
    """

    def __init__(self, net, optimizer, path, mode):
        self.net, self.optimizer, self.mode = net, optimizer, mode
        self.value, self.epoch, self.weights, self.averages = None, None, None, None
        self._file = _LazyFile(path)

    def judge(self, epoch, value):
        """Whether `value` is a new best; if so, keeps the weights."""
        if math.isnan(value):
            return False
        if self.value is not None:
            better = value < self.value if self.mode == "min" else value > self.value
            if not better:
                return False
        self.value, self.epoch = value, epoch
        self.weights = copied_weights(self.net)
        self.averages = _copied(self.optimizer.state_dict()["state"])
        self._file.put(self.weights)
        return True

    def restore(self):
        """Puts the best weights back, if there are any, and the optimizer's averages with them; its
        options, such as the learning rate, stay."""
        if self.weights is None:
            return
        self.net.load_state_dict(self.weights)
        if not _put_back(self.optimizer.state_dict()["state"], self.averages):
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": self.averages})

    def flush(self):
        """Brings the file up to date."""
        self._file.flush()


def _put_back(state, kept) -> bool:
    """Write kept tensors over those of a state of the same form, whose memory others know (the
    optimizer's bundles, compiled steps); whether that could be done."""
    if state.keys() != kept.keys():
        return False
    pairs = []
    for number, entry in state.items():
        if entry.keys() != kept[number].keys():
            return False
        for name, value in entry.items():
            other = kept[number][name]
            if not (isinstance(value, Tensor) and isinstance(other, Tensor)):
                return False
            if value.shape != other.shape or value.dtype != other.dtype:
                return False
            pairs.append((value, other))
    with danlu.no_grad():
        for value, other in pairs:
            value.copy_(other)
    return True


class RunRecord:
    """The file from which `fit(resume=True)` continues: everything that the next epoch depends on.

    Args:
        path: the file.
        model: the `KerasModel`.
        best: its `BestWeights`.
        *loaders: the data loaders, whose generators are included.
    """

    def __init__(self, path, model, best, *loaders):
        self.path, self.model, self.best, self.loaders = path, model, best, loaders
        self._file = _LazyFile(path)

    def take(self, epoch):
        """Records the state after `epoch`."""
        model, best = self.model, self.best
        scheduler = model.lr_scheduler
        self._file.put(
            {
                "epoch": epoch,
                "history": {name: list(values) for name, values in model.history.items()},
                "net": copied_weights(model.net),
                "optimizer": _copied(model.optimizer.state_dict()),
                "lr_scheduler": None if scheduler is None else _copied(scheduler.state_dict()),
                "best": [best.value, best.epoch, best.weights, best.averages],
                "random": RandomStates(*self.loaders).states,
            }
        )

    def flush(self):
        """Brings the file up to date."""
        self._file.flush()

    def resume(self):
        """Restores the recorded state, if there is one; returns the last finished epoch, or 0."""
        if not os.path.exists(self.path):
            return 0
        model, best = self.model, self.best
        state = danlu.load(self.path, map_location="cpu")
        model.net.load_state_dict(state["net"])
        model.optimizer.load_state_dict(state["optimizer"])
        if model.lr_scheduler is not None and state["lr_scheduler"] is not None:
            model.lr_scheduler.load_state_dict(state["lr_scheduler"])
        best.value, best.epoch, best.weights, best.averages = state["best"]
        model.history.update(state["history"])
        RandomStates(*self.loaders).restore(state["random"])
        return state["epoch"]


def _copied(state):
    """A state dict with its tensors copied, since the next step writes into them."""
    if isinstance(state, Tensor):
        return wrap(state._array.copy())  # a small layer's in a third of clone()'s time
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_copied(value) for value in state)
    return state


def step_on_plateau(lr_scheduler, value):
    """Tells a `ReduceLROnPlateau` the epoch's monitored value."""
    if lr_scheduler is not None and steps_on_plateau(lr_scheduler):
        lr_scheduler.step(value)
