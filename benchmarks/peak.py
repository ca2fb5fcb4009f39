#!/usr/bin/env python3
"""Print the most memory, in bytes, that training steps of a case take beyond what was resident
before the first one.

The first steps are not counted: there a compiled one runs beside an eager one, once.

    python benchmarks/peak.py resnet18_step danlu 2
    python benchmarks/peak.py resnet18_step danlu 2 compiled
"""

from __future__ import annotations

import gc
import importlib
import re
import sys
import warnings
from pathlib import Path

from cases import load
from cases.compiled import call_until_compiled

STEPS = 3


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the most so far) of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak() -> None:
    """Let VmHWM begin anew (Linux's proc(5))."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    name, module_name, threads, *compiled = sys.argv[1:]
    warnings.simplefilter("ignore")
    module = importlib.import_module(module_name)
    module.set_num_threads(int(threads))
    step = load()[name].prepare(module)
    before = resident("VmRSS")
    if compiled:
        step = module.compile(step)
        call_until_compiled(module, step)
    step()
    gc.collect()
    module.cuda.empty_cache()
    forget_peak()
    for _ in range(STEPS):
        step()
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main()
