"""Modules of settings that nothing reads: PyTorch's programs write into them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["Settings", "keeps_settings"]

_MISSING = object()


class Settings(ModuleType):
    """A module that keeps what is written into it and changes nothing: all that danlu's compiler
    can be told are the arguments of `danlu.compile`."""

    @contextmanager
    def patch(self, *values: Any, **settings: Any) -> Iterator[None]:
        """Settings within a block: ``patch(name=value)``, or PyTorch's ``patch("name", value)`` and
        ``patch({"name": value})``.

        Example:
            >>> import danlu as torch
            >>> with torch._dynamo.config.patch(cache_size_limit=4):
            ...     torch._dynamo.config.cache_size_limit
            4
            >>> hasattr(torch._dynamo.config, "cache_size_limit")
            False
        """
        given = values[0] if len(values) == 1 else dict([values] if values else [])
        given = {**given, **settings}
        before = {name: vars(self).get(name, _MISSING) for name in given}
        vars(self).update(given)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is _MISSING:
                    vars(self).pop(name, None)
                else:
                    vars(self)[name] = value


def keeps_settings(name: str) -> None:
    """Make the module of this name one of settings."""
    sys.modules[name].__class__ = Settings
