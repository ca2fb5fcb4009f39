"""What the high-level API shares: printing, tables, seeds."""

from __future__ import annotations

import contextlib
import sys
import time

import danlu

_COLORS = {
    "black": 30,
    "red": 31,
    "green": 32,
    "yellow": 33,
    "blue": 34,
    "purple": 35,
    "cyan": 36,
    "white": 37,
}
_DISPLAYS = {
    "plain": 0,
    "highlight": 1,
    "underline": 4,
    "shine": 5,
    "inverse": 7,
    "invisible": 8,
}


def say(text="", *, quiet=False, end="\n"):
    """Prints `text`, unless `quiet`. All that `danlu.keras` prints goes through here.

    Characters that the terminal's encoding lacks become ``?`` instead of an error.
    """
    if quiet:
        return
    try:
        print(text, end=end, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        print(str(text).encode(encoding, "replace").decode(encoding), end=end, flush=True)


def colorful(obj, color="red", display_type="plain"):
    """`obj` as text in a terminal's colour.

    Args:
        obj: anything; its `str` is used.
        color: black, red (default), green, yellow, blue, purple, cyan or white.
        display_type: plain (default), highlight, underline, shine, inverse or invisible.

    Raises:
        ValueError: for another colour or display type.

    Example::

        >>> from danlu.keras.utils import colorful
        >>> colorful("done", "green")
        '\\x1b[0;32mdone\\x1b[0m'
    """
    for value, known in ((color, _COLORS), (display_type, _DISPLAYS)):
        if value not in known:
            raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return f"\033[{_DISPLAYS[display_type]};{_COLORS[color]}m{obj}\033[0m"


def emphasis(text):
    """`text` between angle brackets, in red where the output shows colours."""
    text = f"<<<<<< {text} >>>>>>"
    shows_colors = in_notebook() or (sys.stdout is not None and sys.stdout.isatty())
    return colorful(text) if shows_colors else text


def now():
    """The local date and time, as logs print it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def printlog(info):
    """Prints a rule with the time, then `info`."""
    say("\n" + "=" * 80 + now())
    say(f"{info}\n")


def seed_everything(seed=42, *, quiet=False):
    """Seeds danlu, NumPy and Python's `random`, and tells so; returns the seed.

    Args:
        seed: from 0 to 2**32 - 1. Default: 42
        quiet: print nothing. Default: False

    Raises:
        ValueError: for a seed outside that range.

    Example::

        >>> import danlu as torch
        >>> from danlu.keras.utils import seed_everything
        >>> seed_everything(7)
        Global seed set to 7
        7
        >>> first = torch.rand(3)
        >>> _ = seed_everything(7, quiet=True)
        >>> bool((torch.rand(3) == first).all())
        True
    """
    import random

    import numpy

    seed = int(seed)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be from 0 to 2**32 - 1, got {seed}")
    random.seed(seed)
    numpy.random.seed(seed)
    danlu.manual_seed(seed)
    say(f"Global seed set to {seed}", quiet=quiet)
    return seed


def text_table(header, rows):
    """A table with a frame of ``+``, ``-`` and ``|`` and centred cells, as text.

    Example::

        >>> from danlu.keras.utils import text_table
        >>> print(text_table(["epoch", "loss"], [[1, 0.5]]))
        +-------+------+
        | epoch | loss |
        +-------+------+
        |   1   | 0.5  |
        +-------+------+
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    lines = [
        "|".join(["", *(_centred(c, w + 2) for c, w in zip(row, widths, strict=True)), ""])
        for row in cells
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _centred(text, width):
    """`text` in the middle of `width`; an odd blank goes to the right."""
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)


@contextlib.contextmanager
def evaluating(module):
    """A block in which `module` is in eval mode and no gradients are recorded.

    Afterwards every submodule is in the mode that it was in before.
    """
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        with danlu.no_grad():
            yield
    finally:
        for each, training in modes:
            each.training = training


def in_notebook():
    """Whether the code runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def compact(value):
    """A number for a progress line: four decimals, scientific outside [1e-4, 1e5)."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e5 else f"{value:.4e}"
