"""What `importlib.metadata` reports for the packages that danlu stands for."""

from __future__ import annotations

import os
from importlib.metadata import Distribution
from pathlib import Path

import danlu
from danlu.compat.names import ROOTS


class AliasDistribution(Distribution):
    """A distribution without files: a name, a version and where danlu lies."""

    def __init__(self, root: str):
        self.root = root

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: {self.root}\nVersion: {ROOTS[self.root][1]}\n"
        return f"{self.root}\n" if filename == "top_level.txt" else None

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path(next(iter(danlu.__path__))).parent / path


def distribution(root: str) -> AliasDistribution:
    """The distribution named `root`, one of the packages that danlu stands for."""
    return AliasDistribution(root)
