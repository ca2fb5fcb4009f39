"""What a lesson of the tour is made of: the run that is watched, its scores and its picture."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from danlu.keras.utils import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECONDS_BETWEEN_REFRESHES = 0.1
_BAR_WIDTH = 20
_REPORTS = 4  # lines a run writes where there is no terminal to redraw one


class Watch:
    """Watches one training run: counts its steps, keeps its losses and shows how far it is.

    Call it on the epochs and tell it every step. As a callback of `KerasModel.fit` it does so by
    itself.

        >>> watch = Watch("line", show=False)
        >>> for epoch in watch(range(2)):
        ...     for loss in (4.0, 2.0):
        ...         watch.step(loss)
        >>> watch.steps, watch.losses
        (4, [3.0, 3.0])
    """

    def __init__(self, title: str, show: bool = True):
        self.title, self.show = title, show
        self.losses: list[float] = []  # the mean over each epoch
        self.steps, self.seconds = 0, 0.0
        self._epoch_losses: list[float] = []
        self._epochs = 0
        self._next_refresh = 0.0

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds else 0.0

    def __call__(self, epochs: Iterable[int]) -> Iterator[int]:
        epochs = list(epochs)
        self._epochs = len(epochs)
        start = time.perf_counter()
        for epoch in epochs:
            yield epoch
            self.seconds = time.perf_counter() - start
            self._end_epoch(sum(self._epoch_losses) / max(len(self._epoch_losses), 1))
            self._epoch_losses.clear()

    def step(self, loss: Any) -> None:
        """Count one optimizer step and keep its loss, a number or a tensor with one element."""
        self.steps += 1
        self._epoch_losses.append(float(loss))

    def on_fit_start(self, model: Any) -> None:
        self._epochs = model.epochs
        self._start = time.perf_counter()

    def on_train_batch_end(self, model: Any) -> None:
        self.steps += 1

    def on_validation_epoch_end(self, model: Any) -> None:
        self.seconds = time.perf_counter() - self._start
        self._end_epoch(model.history["train_loss"][-1])

    def on_fit_end(self, model: Any) -> None:
        """Early stopping ends a run before its last epoch: tell how far it came."""
        if len(self.losses) < self._epochs:
            self._epochs = len(self.losses)
            self._write(last=True)

    def _end_epoch(self, loss: float) -> None:
        self.losses.append(loss)
        last = len(self.losses) == self._epochs
        if not self.show:
            return
        if sys.stdout.isatty():
            if last or time.monotonic() >= self._next_refresh:
                self._next_refresh = time.monotonic() + _SECONDS_BETWEEN_REFRESHES
                self._write(last)
        elif last or len(self.losses) % max(self._epochs // _REPORTS, 1) == 0:
            self._write(last)

    def _write(self, last: bool) -> None:
        if not self.show:
            return
        done, total = len(self.losses), self._epochs
        filled = _BAR_WIDTH * done // total
        text = (
            f"  {self.title:<24} {'█' * filled}{'░' * (_BAR_WIDTH - filled)} "
            f"epoch {done:>{len(str(total))}}/{total}  loss {self.losses[-1]:.4f}"
        )
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            say("\r\033[K" + text[: width - 1], end="\n" if last else "")
        else:
            say(text)


class Score(NamedTuple):
    """What a model reached on data that it was not trained on, and what it has to reach."""

    data: str
    metric: str
    value: float
    expected: float
    watch: Watch
    lower_is_better: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is good enough; NaN is not."""
        if self.lower_is_better:
            return self.value <= self.expected
        return self.value >= self.expected

    def cells(self) -> tuple[str, ...]:
        """The score as the columns of the table after the model's name."""
        return (
            self.data,
            f"{self.metric} {self.value:.3f}",
            f"{self.watch.seconds:.2f}",
            f"{self.watch.steps_per_second:,.0f}",
            f"{'≤' if self.lower_is_better else '≥'} {self.expected:.2f}",
            "yes" if self.met else "NO",
        )


HEADINGS = ("model", "data", "final metric", "seconds", "steps/s", "expected", "met")


class Outcome(NamedTuple):
    """What a lesson ends with."""

    scores: list[Score]
    figure: Figure


class Lesson(NamedTuple):
    """A model of the tour.

    Attributes:
        name: what `--only` and the files are called.
        title: the model, in a few words.
        about: what it shows, in a sentence or two.
        code: the functions and classes to show as its code.
        run: trains the model; called with a function that makes a `Watch` for each data set.
    """

    name: str
    title: str
    about: str
    code: tuple[Any, ...]
    run: Callable[[Callable[[str], Watch]], Outcome]
