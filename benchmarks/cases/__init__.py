"""The benchmarks, each written once as a function of the module to time: real torch, or danlu.

A case prepares its data and returns what is timed: a function of no arguments, or that function and
how many units (epochs, say) one call of it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One benchmark.

    `at_most` is the ratio danlu/torch that the project promises, None where it promises nothing.
    `against` names another case: then danlu's time is divided by danlu's own time in that case, and
    torch is not asked.
    """

    name: str
    label: str
    prepare: Callable[[Any], Any]
    at_most: float | None = None
    against: str | None = None


CASES: dict[str, Case] = {}


def case(
    label: str, at_most: float | None = None, against: str | None = None
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the decorated function as a benchmark under its name."""

    def register(prepare: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = prepare.__name__
        if name in CASES:
            raise ValueError(f"two benchmarks are named {name!r}")
        CASES[name] = Case(name, label, prepare, at_most, against)
        return prepare

    return register


def load() -> dict[str, Case]:
    """All cases of this folder, by name, in the order of the files."""
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        import_module(f"cases.{path.stem}")
    return CASES
