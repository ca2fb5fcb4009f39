#!/usr/bin/env python3
"""Print the most memory, in bytes, that training steps of a case take beyond what was resident
before the first one.

    python benchmarks/peak.py resnet18_step danlu 2
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from cases import load

STEPS = 3


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the most so far) of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    name, module_name, threads = sys.argv[1:]
    module = importlib.import_module(module_name)
    module.set_num_threads(int(threads))
    step = load()[name].prepare(module)
    before = resident("VmRSS")
    for _ in range(STEPS):
        step()
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main()
