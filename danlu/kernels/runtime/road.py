"""Which road a numeric function takes: NumPy's, or generated machine code.

`DANLU_KERNELS` chooses: `auto` (the default) generates where it was measured to pay, `numpy` never,
`native` always, whatever the size (for tests). Without a fitting llvmlite everything is NumPy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["MODES", "enabled", "forced", "mode", "reason", "worth"]

MODES = ("auto", "numpy", "native")
# The spelling of LLVM's IR changes between releases; the kernels are written for this one.
LLVMLITE = "0.50"

_mode: str | None = None
_factor = 0.0


def worth(work: int, least: int) -> bool:
    """Whether `work` (elements, multiplications, ...) is enough for generated code that pays from
    `least` (at least 1) on."""
    if _mode is None:
        _choose(os.environ.get("DANLU_KERNELS", "auto"))
    return work >= least * _factor


def enabled() -> bool:
    """Whether code is generated at all."""
    return mode() != "numpy"


def mode() -> str:
    """The road in use: a name of MODES."""
    if _mode is None:
        _choose(os.environ.get("DANLU_KERNELS", "auto"))
    return _mode  # type: ignore[return-value]


@contextlib.contextmanager
def forced(name: str) -> Iterator[None]:
    """Take this road inside a `with` block, for tests and measurements."""
    before = mode()
    _choose(name)
    try:
        yield
    finally:
        _choose(before)


def reason() -> str | None:
    """Why nothing is generated, and what to do about it; None when code is generated."""
    if os.environ.get("DANLU_KERNELS") == "numpy":
        return "DANLU_KERNELS=numpy"
    version = _llvmlite()
    if version is None:
        return "llvmlite is not installed: pip install 'danlu[compile]'"
    if not version.startswith(LLVMLITE + "."):
        return (
            f"llvmlite {version} is installed, {LLVMLITE} is needed: pip install 'danlu[compile]'"
        )
    return None


def _choose(name: str) -> None:
    global _mode, _factor
    if name not in MODES:
        raise ValueError(f"DANLU_KERNELS is one of {', '.join(MODES)}, not {name!r}")
    if name != "numpy" and reason() is not None:
        name = "numpy"
    _mode = name
    _factor = {"auto": 1.0, "numpy": float("inf"), "native": 0.0}[name]


def _llvmlite() -> str | None:
    from importlib import metadata

    try:
        return metadata.version("llvmlite")
    except metadata.PackageNotFoundError:
        return None
