"""`danlu bench`: the benchmarks against PyTorch, which lie beside the package in the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run `benchmarks/run.py` of the repository with `arguments`, and return its exit status."""
    script = Path(__file__).parents[2] / "benchmarks" / "run.py"
    if not script.is_file():
        print(
            "danlu bench: the benchmarks are part of the repository, not of the package;\n"
            "in a clone of it, write: pip install -e '.[test]' && danlu bench",
            file=sys.stderr,
        )
        return 2
    return subprocess.call([sys.executable, str(script), *arguments])
