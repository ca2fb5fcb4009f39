"""The progress of a run: a bar on a terminal, HTML in a notebook, plain lines elsewhere; or a bar
for every pass over the data."""

from __future__ import annotations

import math
import shutil
import sys
import time

from danlu.keras.utils import compact, emphasis, in_notebook, printlog, say

_SECONDS_BETWEEN_REFRESHES = 0.2
_NARROWEST_BAR = 10
_CLEAR_LINE = "\r\x1b[2K"
_STYLE = """<style>
progress::-webkit-progress-bar {background-color: #CDCDCD; width: 100%;}
progress {background-color: #CDCDCD; color: #00BFFF;}
progress::-webkit-progress-value {background-color: #00BFFF !important;}
progress::-moz-progress-bar {background-color: #00BFFF !important;}
.progress-bar-interrupted, .progress-bar-interrupted::-webkit-progress-bar {background: #000000;}
</style>"""
_HTML = """<div>
  <progress value='{done}' class='{css}' max='{total}'
    style='width:300px; height:20px; vertical-align: middle;'></progress>
  {epochs}
  <br>
  {batches}
</div>"""


class VisProgress:
    """Shows how far `fit` is, at most five times a second.

    On a terminal one line is rewritten in place; in a notebook one display is updated; where the
    output is a file or a pipe every epoch gets a line.

    Example::

        >>> from danlu.keras.callbacks import VisProgress
        >>> VisProgress().text_bar(3, 4, width=8)
        '██████░░'
    """

    def __init__(self):
        self.next_refresh = math.inf
        self._epochs = self._epoch = self._finished = self._begin = 0
        self._batch_text = ""
        self._handle = None
        self._medium = None

    # ---- hooks

    def on_fit_start(self, model):
        self._medium = _medium()
        self._epochs, self._epoch, self._finished = model.epochs, model.epoch, 0
        self._begin = time.monotonic()
        self._batch_text, self._handle = "", None
        self.next_refresh = math.inf if self._medium == "lines" else self._begin

    def on_validation_epoch_end(self, model):
        self._epoch = model.epoch
        self._finished += 1
        if self._medium == "lines":
            say(self._line(model))
        elif time.monotonic() >= self.next_refresh or model.epoch == model.epochs:
            self._batch_text = f"[{_joined(model.history)}]"
            self._show()

    def on_fit_end(self, model):
        if self._medium == "lines":
            return
        if model.history:
            self._batch_text = f"[{_joined(model.history)}]"
        self._show(interrupted=self._epoch < model.epochs)
        if self._medium == "terminal":
            say()

    # ---- drawing

    def due(self):
        """Whether it is time for a `refresh`."""
        return time.monotonic() >= self.next_refresh

    def refresh(self, stage, done, total, losses):
        """Shows the batches of the running epoch; called when `next_refresh` has come."""
        shown = ", ".join(f"{name}={compact(value)}" for name, value in losses.items())
        share = f"{self.text_bar(done, total)}{100 * done / total:.2f}% " if total else ""
        self._batch_text = f"{share}[{done}/{total or '?'}] [{stage}: {shown}]"
        self._show()

    def end_pass(self, done, log):
        """Called after every pass over the data; the line of the epoch tells of all of them."""

    def text_bar(self, done, total, width=20):
        """A bar of `width` characters."""
        filled = int(width * done / total) if total else 0
        return "█" * filled + "░" * (width - filled)

    def _show(self, interrupted=False):
        self.next_refresh = time.monotonic() + _SECONDS_BETWEEN_REFRESHES
        if self._medium == "terminal":
            bar = self.text_bar(self._epoch, self._epochs)
            text = f"{bar} {self._epochs_text()} {self._batch_text}"
            say(_CLEAR_LINE + text[: shutil.get_terminal_size().columns - 1], end="")
            return
        from IPython.display import HTML, display

        css = "progress-bar-interrupted" if interrupted else ""
        html = HTML(
            _STYLE
            + _HTML.format(
                done=self._epoch,
                total=self._epochs,
                css=css,
                epochs=self._epochs_text(),
                batches=self._batch_text,
            )
        )
        if self._handle is None:
            self._handle = display(html, display_id=True)
        else:
            self._handle.update(html)

    def _epochs_text(self):
        """``89.00% [89/100] [03:30<00:26]``: epochs done, time spent and time left."""
        spent = time.monotonic() - self._begin
        left = "?"
        if self._finished:
            left = _clock(spent / self._finished * (self._epochs - self._epoch))
        share = 100 * self._epoch / self._epochs if self._epochs else 100
        return f"{share:.2f}% [{self._epoch}/{self._epochs}] [{_clock(spent)}<{left}]"

    def _line(self, model):
        """An epoch on a line of its own."""
        width = len(str(model.epochs))
        best = "  best" if model.best_epoch == model.epoch else ""
        return f"epoch {model.epoch:>{width}}/{model.epochs}  {_joined(model.history)}{best}"


def _joined(history):
    """The last row of a history as text."""
    return ", ".join(f"{n}={compact(v[-1])}" for n, v in history.items() if n != "epoch" and v)


def _clock(seconds):
    """Seconds as ``mm:ss`` or ``h:mm:ss``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def _medium():
    """Where progress goes: "notebook", "terminal" or "lines"."""
    if in_notebook():
        return "notebook"
    return "terminal" if sys.stdout is not None and sys.stdout.isatty() else "lines"


class BatchBars:
    """Prints a rule with the time, the epoch, a bar for its training and one for its validation,
    and a line when the monitored value is the best so far.

    On a terminal the bars grow, at most five times a second; elsewhere a bar is printed when it is
    full.

    Args:
        width: of the lines, in characters; more where the values need it. Default: 100

    Example::

        >>> from danlu.keras.progress import BatchBars
        >>> BatchBars(width=60).bar(8, 8, 1.1, {"val_mae": 1.5625, "val_loss": 3.89412})
        '100%|██████████| 8/8 [00:01<00:00,  7.27it/s, val_loss=3.89, val_mae=1.56]'
    """

    def __init__(self, width=100):
        self.width = width
        self._begin, self.next_refresh, self._live = 0.0, math.inf, False
        self.begin_pass()

    def begin_pass(self):
        """Starts the clock of the next bar."""
        self._live = sys.stdout is not None and sys.stdout.isatty()
        self._begin = time.monotonic()
        self.next_refresh = self._begin if self._live else math.inf

    def on_train_epoch_start(self, model):
        printlog(f"Epoch {model.epoch} / {model.epochs}")
        self.begin_pass()

    def on_validation_epoch_end(self, model):
        if model.best_epoch == model.epoch:
            say(emphasis(f"reach best {model.monitor} : {model.best_value}"))

    def refresh(self, stage, done, total, losses):
        """Shows how far the running pass is; called when `next_refresh` has come."""
        self.next_refresh = time.monotonic() + _SECONDS_BETWEEN_REFRESHES
        say(_CLEAR_LINE + self.bar(done, total, time.monotonic() - self._begin, losses), end="")

    def end_pass(self, done, log):
        """Prints the full bar with the values of the pass."""
        clear = _CLEAR_LINE if self._live else ""
        say(clear + self.bar(done, done, time.monotonic() - self._begin, log))
        self.begin_pass()

    def bar(self, done, total, seconds, log):
        """The bar as a line of `width` characters, or longer where the values take more."""
        rate = done / max(seconds, 1e-9)
        pace = f"{rate:5.2f}it/s" if rate >= 1 else f"{1 / rate:5.2f}s/it"
        left = _clock((total - done) / rate) if total else "?"
        values = "".join(f", {name}={_three_digits(log[name])}" for name in sorted(log))
        share = f"{100 * done / total:3.0f}%" if total else ""
        counts = f"{done}/{total or '?'} [{_clock(seconds)}<{left}, {pace}{values}]"
        room = max(self.width - len(share) - len(counts) - 3, _NARROWEST_BAR)
        filled = int(room * done / total) if total else 0
        return f"{share}|{'█' * filled}{' ' * (room - filled)}| {counts}"


def _three_digits(value):
    """A number with three significant digits, as progress bars print it."""
    return str(value) if isinstance(value, int) else f"{value:.3g}"
