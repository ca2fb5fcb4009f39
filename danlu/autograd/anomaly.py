"""Anomaly mode: find the operation whose backward makes NaN, and show where its forward was
called."""

from __future__ import annotations

__all__ = ["check", "detect_anomaly", "note_forward_call", "set_detect_anomaly", "state"]


class _State:
    __slots__ = ("check_nan", "on")

    def __init__(self):
        self.on = False
        self.check_nan = False


state = _State()


def note_forward_call(node) -> None:
    """Keep the traceback of the call that makes `node`, down to where danlu begins."""
    import traceback
    from os.path import dirname

    frames = traceback.extract_stack()
    inside = dirname(dirname(__file__))
    while frames and frames[-1].filename.startswith(inside):
        frames.pop()
    node.metadata["forward call"] = "".join(frames.format())


def check(node, results) -> None:
    """Raise RuntimeError if a gradient that `node` returned holds NaN."""
    import numpy as np

    for number, result in enumerate(results):
        if result is None:
            continue
        array = getattr(result, "_array", result)
        if np.asarray(array).dtype.kind in "fc" and np.isnan(array).any():
            where = node.metadata.get("forward call", "")
            raise RuntimeError(
                f"Function '{node.name()}' returned nan values in its {number}th output."
                + (f"\nIts forward was called here:\n{where}" if where else "")
            )


class detect_anomaly:
    """Inside the block, `backward` raises RuntimeError at the first node that returns NaN.

    The message shows the traceback of the forward call that made the node.

    Args:
        check_nan: look for NaN at all; False only keeps the tracebacks.

    Example:
        >>> import danlu as torch
        >>> x = torch.zeros(1, requires_grad=True)
        >>> with torch.autograd.detect_anomaly():
        ...     (x.sqrt() * 0).sum().backward()
        Traceback (most recent call last):
        RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output...
    """

    def __init__(self, check_nan: bool = True):
        self._before = (state.on, state.check_nan)
        self._mode = (True, check_nan)

    def __enter__(self) -> None:
        self._before = (state.on, state.check_nan)
        state.on, state.check_nan = self._mode

    def __exit__(self, *exception) -> None:
        state.on, state.check_nan = self._before


class set_detect_anomaly(detect_anomaly):
    """Switch anomaly mode on or off at once; as a context manager, until the block ends."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self._before = (state.on, state.check_nan)
        self._mode = (mode, mode and check_nan)
        state.on, state.check_nan = self._mode

    def __enter__(self) -> None:
        pass
