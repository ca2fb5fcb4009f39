"""What `fit` verifies before it trains: the monitored name, and the first batch."""

from __future__ import annotations

import math
import random
import warnings

import danlu
from danlu import nn
from danlu.keras.trainer import pair
from danlu.keras.utils import evaluating
from danlu.tensor import Tensor

_WOULD_BROADCAST = (
    "predictions have shape {preds} and labels {labels}: the loss would compare every prediction "
    "with every label. Write `{repair}`"
)
_CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss)
_ELEMENTWISE_LOSSES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_PROBABILITY_LOSSES = (nn.BCELoss, nn.BCEWithLogitsLoss)


def check_monitor(monitor, mode, metric_names, has_val_data, open_ended=False):
    """The name to monitor, after the check that the history will have it.

    Args:
        monitor: the name asked for; ``"val_loss"``, the default of `fit`, becomes ``"train_loss"``
            without validation data.
        mode: ``"min"`` or ``"max"``.
        metric_names: the keys of `metrics_dict`.
        has_val_data: whether there is validation data.
        open_ended: whether other names may come from a user's step runner, which only the first
            epoch can show.

    Raises:
        ValueError: for another mode, and for a name that the history will not have.
    """
    check_mode(mode)
    if not has_val_data and monitor == "val_loss":
        return "train_loss"
    stages = ("train", "val") if has_val_data else ("train",)
    valid = [f"{stage}_{name}" for stage in stages for name in ("loss", *metric_names)]
    if not has_val_data and monitor.startswith("val_"):
        raise ValueError(
            f"monitor={monitor!r} needs validation data: pass val_data, or monitor one of "
            f"{', '.join(valid)}"
        )
    if monitor not in valid and not open_ended:
        raise ValueError(f"monitor={monitor!r} is not recorded; valid names: {', '.join(valid)}")
    return monitor


def check_mode(mode):
    """`mode`, after the check that it is "min" or "max"."""
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
    return mode


class RandomStates:
    """The states of all random generators that training draws from, as plain values that can be
    saved.

    Args:
        *loaders: data loaders; generators of their own are included.
    """

    def __init__(self, *loaders):
        import numpy

        self._own = [g for g in map(_generator_of, loaders) if g is not None]
        name, keys, *rest = numpy.random.get_state()
        self.states = {
            "danlu": danlu.get_rng_state(),
            "python": random.getstate(),
            "numpy": (name, keys.tolist(), *rest),
            "loaders": [generator.get_state() for generator in self._own],
        }

    def restore(self, states=None):
        """Sets all generators back to how they were, or to `states` of an earlier run."""
        import numpy

        states = self.states if states is None else states
        danlu.set_rng_state(states["danlu"])
        version, inner, gauss = states["python"]
        random.setstate((version, tuple(inner), gauss))
        name, keys, *rest = states["numpy"]
        numpy.random.set_state((name, numpy.array(keys, dtype="uint32"), *rest))
        for generator, state in zip(self._own, states["loaders"], strict=False):
            generator.set_state(state)


def _generator_of(loader):
    generator = getattr(loader, "generator", None)
    if generator is None:
        generator = getattr(getattr(loader, "sampler", None), "generator", None)
    return generator


def checking_first(batches, check):
    """The batches of an epoch, after `check` has seen the first."""
    for position, batch in enumerate(batches):
        if position == 0:
            check(batch)
        yield batch


def check_batch(net, loss_fn, metrics, batch):
    """Runs one batch in eval mode, without gradients, and refuses what training would get silently
    wrong.

    Network, metrics and random generators are left as they were.

    Raises:
        TypeError: if the batch is not a pair.
        ValueError: for predictions and labels whose shapes broadcast, labels out of range, a loss
            that is not one number, and what the metrics refuse.
    """
    features, labels = pair(batch)
    random_states = RandomStates()
    try:
        with evaluating(net), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            preds = net(features)
            if isinstance(preds, Tensor) and isinstance(labels, Tensor):
                _check_labels(loss_fn, preds, labels)
                _check_shapes(loss_fn, preds, labels)
            loss = loss_fn(preds, labels)
            if loss.numel() != 1:
                raise ValueError(
                    f"the loss has shape {tuple(loss.shape)}, but training needs one number; "
                    "write reduction='mean', or take `.mean()`"
                )
            for metric in metrics.values():
                metric(preds, labels)
    finally:
        for metric in metrics.values():
            metric.reset()
        random_states.restore()


def _check_shapes(loss_fn, preds, labels):
    """Refuses (N, 1) with (N,), unless the loss function itself reshapes them."""
    given, wanted = tuple(preds.shape), tuple(labels.shape)
    if given == wanted or isinstance(loss_fn, _CLASS_LOSSES):
        return
    if given == (*wanted, 1):
        repair = "preds.squeeze(-1)` in the network, or `labels.unsqueeze(-1)"
    elif wanted == (*given, 1):
        repair = "labels.squeeze(-1)` in the data, or `preds.unsqueeze(-1)"
    else:
        return
    if isinstance(loss_fn, _ELEMENTWISE_LOSSES) or _compares_all_pairs(loss_fn, preds, labels):
        raise ValueError(_WOULD_BROADCAST.format(preds=given, labels=wanted, repair=repair))


def _compares_all_pairs(loss_fn, preds, labels):
    """Whether a loss ignores which label belongs to which prediction, or cannot be computed."""
    backwards = labels.flip(0)
    try:
        as_given = loss_fn(preds, labels).item()
        as_shuffled = loss_fn(preds, backwards).item()
    except (RuntimeError, ValueError):
        return True
    if bool((backwards == labels).all()):
        return False
    return math.isclose(as_given, as_shuffled, rel_tol=1e-5)


def _check_labels(loss_fn, preds, labels):
    """Refuses class labels outside the classes and probabilities outside [0, 1]."""
    if isinstance(loss_fn, _CLASS_LOSSES):
        if labels.is_floating_point():
            if labels.shape != preds.shape:
                raise ValueError(
                    f"{type(loss_fn).__name__} takes integer class labels, or class probabilities "
                    f"of the predictions' shape {tuple(preds.shape)}; got {labels.dtype} labels of "
                    f"shape {tuple(labels.shape)}. Write `labels.long()`"
                )
            return
        if labels.ndim == preds.ndim and labels.ndim > 1 and labels.shape[1] == 1:
            raise ValueError(
                f"class labels have shape {tuple(labels.shape)}, but {type(loss_fn).__name__} "
                f"takes {tuple(labels.shape[:1] + labels.shape[2:])}. Write `labels.squeeze(1)`"
            )
        classes = preds.shape[1] if preds.ndim > 1 else preds.shape[0]
        wrong = (labels < 0) | (labels >= classes)
        wrong = wrong & (labels != loss_fn.ignore_index)
        expected = f"0 to {classes - 1}, since the network predicts {classes} classes"
    elif isinstance(loss_fn, _PROBABILITY_LOSSES) and labels.is_floating_point():
        wrong = (labels < 0) | (labels > 1)
        expected = f"between 0 and 1 for {type(loss_fn).__name__}"
    else:
        return
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        shown = position[0] if len(position) == 1 else position
        raise ValueError(
            f"label {labels[position].item():g} at position {shown} of the first batch is out of "
            f"range: labels must be {expected}"
        )
