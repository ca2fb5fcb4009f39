"""What an installation costs: the time of the first import, and the size on disk with all
dependencies.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

TIMED = "import time; start = time.perf_counter(); {0}; print(time.perf_counter() - start)"


def first_seconds(program: str, bytecode: str) -> float:
    """Seconds that a program takes in a fresh process, the start of Python not included.

    Compiled Python files are kept in the folder `bytecode`, so that a call after the first finds
    them, whatever the environment says about writing them elsewhere.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", TIMED.format(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(result.stdout)


def installed_bytes(package: str) -> int:
    """Bytes of the installed files of `package` and of everything it requires, compiled Python
    files left out.
    """
    return sum(own_bytes(name) for name in with_requirements(package))


def with_requirements(package: str) -> set[str]:
    """`package` and, transitively, the installed packages that it requires without any extra."""
    from packaging.requirements import Requirement

    found, waiting = set(), [package]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            requirements = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            if name != package:
                continue  # not needed on this machine
            requirements = [
                Requirement("numpy"),
                Requirement("ml_dtypes"),
            ]  # danlu in a source folder
        found.add(name)
        waiting += [
            requirement.name
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ]
    return found


def own_bytes(package: str) -> int:
    try:
        files = [Path(str(file.locate())) for file in metadata.files(package) or []]
    except metadata.PackageNotFoundError:
        files = []
    if not any(
        file.suffix == ".py" for file in files
    ):  # an editable installation lists none of its files
        spec = find_spec(package)
        if spec is not None:
            folders = spec.submodule_search_locations or []
            files = [file for folder in folders for file in Path(folder).rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
