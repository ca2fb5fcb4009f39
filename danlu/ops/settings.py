"""Settings of PyTorch that programs make and danlu answers."""

from __future__ import annotations

from typing import Any

from danlu.backend import dtypes

_PRECISIONS = ("highest", "high", "medium")
_DEBUG_MODES = {"default": 0, "warn": 1, "error": 2}
_chosen: dict[str, Any] = {"precision": "highest", "debug": 0, "warn_always": False}


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was last called with; danlu always multiplies in float32."""
    return _chosen["precision"]


def set_float32_matmul_precision(precision: str) -> None:
    """Allow less precise float32 products where the hardware has them: "highest", "high" or
    "medium".
    """
    if precision not in _PRECISIONS:
        raise RuntimeError(
            f"{precision} is not one of 'highest', 'high', or 'medium': choose one of them"
        )
    _chosen["precision"] = precision


def get_deterministic_debug_mode() -> int:
    """0 (default), 1 (warn) or 2 (error), as `set_deterministic_debug_mode` left it."""
    return _chosen["debug"]


def set_deterministic_debug_mode(debug_mode) -> None:
    """How to treat operations without a deterministic algorithm; danlu has none of these."""
    from danlu.ops.predicates import use_deterministic_algorithms

    mode = _DEBUG_MODES.get(debug_mode, debug_mode)
    if mode not in (0, 1, 2):
        raise RuntimeError(
            "invalid value for debug_mode, expected one of `default`, `warn`, `error` (or 0, 1, "
            "2), "
            f"but got {debug_mode}"
        )
    _chosen["debug"] = mode
    use_deterministic_algorithms(mode > 0)


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether operations without a deterministic algorithm warn instead of raising."""
    return _chosen["debug"] == 1


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was last called with."""
    return _chosen["warn_always"]


def set_warn_always(b: bool) -> None:
    """Kept for programs that call it: danlu leaves repetition to Python's warning filters."""
    _chosen["warn_always"] = bool(b)


def set_flush_denormal(mode: bool) -> bool:
    """Treat denormal numbers as 0; False, as NumPy has no such switch."""
    return False


def set_default_tensor_type(t) -> None:
    """Set the default dtype by an old tensor type: torch.DoubleTensor or "torch.DoubleTensor"."""
    from danlu.ops import legacy

    found = getattr(legacy, t.rsplit(".", 1)[-1], None) if isinstance(t, str) else t
    kind = getattr(found, "kind", found)
    if not isinstance(kind, dtypes.dtype):
        raise TypeError(f"invalid type object: {t!r}; use torch.set_default_dtype(torch.float64)")
    dtypes.set_default_dtype(kind)
