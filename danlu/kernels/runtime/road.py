"""Which road a numeric function takes: NumPy's, or generated machine code.

`DANLU_KERNELS` chooses: `auto` (the default) generates where it was measured to pay, `numpy` never,
`native` always, whatever the size (for tests). Where code cannot be generated, for want of a
fitting llvmlite or because the system forbids it, everything is NumPy and `reason` says why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache

__all__ = ["MODES", "enabled", "forced", "mode", "ready", "reason", "worth"]

MODES = ("auto", "numpy", "native")
# The spelling of LLVM's IR changes between releases; the kernels are written for this one.
LLVMLITE = "0.50"

_FACTORS = {"auto": 1.0, "numpy": float("inf"), "native": 0.0}

_asked = os.environ.get("DANLU_KERNELS", "auto")
_mode: str | None = None  # chosen when work first comes that is worth it: finding out takes 60 ms
_factor = _FACTORS.get(_asked, 0.0)


def worth(work: int, least: int) -> bool:
    """Whether `work` (elements, multiplications, ...) is enough for generated code that pays from
    `least` (at least 1) on."""
    if work < least * _factor:
        return False
    if _mode is None:
        _choose(_asked)
    return work >= least * _factor


def enabled() -> bool:
    """Whether code is generated at all."""
    return mode() != "numpy"


def mode() -> str:
    """The road in use: a name of MODES."""
    if _mode is None:
        _choose(_asked)
    return _mode  # type: ignore[return-value]


def ready() -> bool:
    """Whether llvmlite is loaded, so that a further kernel costs little."""
    return _mode is not None and _mode != "numpy"


@contextlib.contextmanager
def forced(name: str) -> Iterator[None]:
    """Take this road inside a `with` block, for tests and measurements."""
    global _mode, _factor
    before = _mode, _factor
    _choose(name)
    try:
        yield
    finally:
        _mode, _factor = before


def reason() -> str | None:
    """Why nothing is generated, and what to do about it; None when code is generated."""
    return "DANLU_KERNELS=numpy" if _asked == "numpy" else _obstacle()


def _choose(name: str) -> None:
    global _mode, _factor
    if name not in MODES:
        raise ValueError(f"DANLU_KERNELS is one of {', '.join(MODES)}, not {name!r}")
    if name != "numpy" and _obstacle() is not None:
        name = "numpy"
    _mode, _factor = name, _FACTORS[name]


@cache
def _obstacle() -> str | None:
    """What keeps code from running here, found by running some."""
    if os.name != "posix":
        return "the kernels' threads need a POSIX system"
    try:
        import llvmlite
    except ImportError:
        return "llvmlite is not installed: pip install 'danlu[compile]'"
    version = llvmlite.__version__
    if not version.startswith(LLVMLITE + "."):
        return (
            f"llvmlite {version} is installed, {LLVMLITE} is needed: pip install 'danlu[compile]'"
        )
    try:
        from danlu.kernels.runtime import pool

        pool.ensure()
    except (ImportError, AttributeError, TypeError, OSError, RuntimeError) as error:
        return f"llvmlite does not work here: {error}"
    return None
