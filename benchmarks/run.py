#!/usr/bin/env python3
"""Time danlu and torch alternately, and print medians and ratios.

Each side is one process that lives as long as the run, with the same number of threads. For every
benchmark the two are asked in turn, so that what disturbs the machine disturbs both; what is
printed are medians over the rounds.

    python benchmarks/run.py
    python benchmarks/run.py --only 'ring|fit' --rounds 15 --json results.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from cases import load
from installation import first_seconds, installed_bytes

HERE = Path(__file__).resolve().parent
SIDES = ("danlu", "torch")
# Programs for a fresh process: label, program, the most of torch's time, the most of danlu's in s.
# The second one shows what loading at the first use puts off.
FIRST_PROGRAMS = {
    "import_time": ("import, in a fresh process", "import {0}", 0.20, 0.15),
    "import_and_first_tensor": (
        "import and the first sum, in a fresh process",
        "import {0}; {0}.tensor([1.0, 2.0]) + 1",
        0.20,
        None,
    ),
}


# Case -> the most of torch's memory that its steps may take.
PEAKS = {"resnet18_step": 1.1}


def peak_bytes(case: str, module: str, threads: int) -> int:
    """What benchmarks/peak.py finds, in a process of its own."""
    command = [sys.executable, str(HERE / "peak.py"), case, module, str(threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stdout)


class Side:
    """A process that times cases with one of the modules."""

    def __init__(self, module: str, threads: int, sample_seconds: float):
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
        self.module = module
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "side.py"), module, str(threads), str(sample_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def seconds(self, case: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(case + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            sys.exit(f"the {self.module} side ended in {case!r}, exit status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["seconds"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def alternately(rounds: int, measure_danlu, measure_other) -> tuple[list[float], list[float]]:
    """Measurements of both, one after the other in every round, each going first in every second
    round.
    """
    ours, others = [], []
    for number in range(rounds):
        if number % 2:
            others.append(measure_other())
            ours.append(measure_danlu())
        else:
            ours.append(measure_danlu())
            others.append(measure_other())
    return ours, others


def first_uses(program: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of a program in fresh processes, for danlu and for torch; `{0}` is the module."""
    with tempfile.TemporaryDirectory(prefix="danlu-bench-") as bytecode:
        for name in SIDES:
            first_seconds(program.format(name), bytecode)  # compiles the Python files
        return alternately(
            rounds,
            lambda: first_seconds(program.format("danlu"), bytecode),
            lambda: first_seconds(program.format("torch"), bytecode),
        )


def entry(label, unit, ours, others, other="torch", at_most=None, danlu_at_most=None) -> dict:
    danlu, reference = statistics.median(ours), statistics.median(others)
    ratio = danlu / reference
    met = (at_most is None or ratio <= at_most) and (
        danlu_at_most is None or danlu <= danlu_at_most
    )
    return {
        "label": label,
        "unit": unit,
        "danlu": danlu,
        other if other == "torch" else "reference": reference,
        "against": other,
        "ratio": ratio,
        "at_most": at_most,
        "met": met,
        "samples": {"danlu": ours, "other": others},
    }


def machine() -> dict:
    from danlu.cli.doctor import processor, usable_cores

    return {"processor": processor(), "cores": usable_cores(), "system": platform.platform()}


def versions() -> dict:
    from danlu.version import __version__

    packages = {name: metadata.version(name) for name in ("torch", "numpy")}
    return {"danlu": __version__, "python": platform.python_version(), **packages}


def measure(options) -> dict:
    """All chosen measurements by name."""
    chosen = [case for case in load().values() if re.search(options.only, case.name)]
    results = {}
    sides = {}
    if chosen:
        sides = {name: Side(name, options.threads, options.sample) for name in SIDES}
    for case in chosen:
        other_side = "danlu" if case.against else "torch"
        other_case = case.against or case.name
        try:
            ours, others = alternately(
                options.rounds,
                lambda name=case.name: sides["danlu"].seconds(name),
                lambda side=other_side, name=other_case: sides[side].seconds(name),
            )
        except RuntimeError as error:
            results[case.name] = {"label": case.label, "error": str(error), "met": False}
        else:
            against = case.against or "torch"
            results[case.name] = entry(case.label, "s", ours, others, against, case.at_most)
        print(row(case.name, results[case.name]), flush=True)
    for side in sides.values():
        side.close()
    for name, (label, program, ratio, most) in FIRST_PROGRAMS.items():
        if re.search(options.only, name):
            ours, others = first_uses(program, options.rounds)
            results[name] = entry(label, "s", ours, others, "torch", ratio, most)
            print(row(name, results[name]), flush=True)
    for case, most in PEAKS.items():
        name = f"{case}_peak"
        if re.search(options.only, name):
            ours, others = ([peak_bytes(case, side, options.threads)] for side in SIDES)
            label = f"{load()[case].label}: peak memory"
            results[name] = entry(label, "B", ours, others, "torch", most)
            print(row(name, results[name]), flush=True)
    if re.search(options.only, "installed_size"):
        ours, others = [installed_bytes("danlu")], [installed_bytes("torch")]
        results["installed_size"] = entry("installed, with dependencies", "B", ours, others)
        print(row("installed_size", results["installed_size"]), flush=True)
    return results


def quantity(value: float, unit: str) -> str:
    """Seconds or bytes in the unit that a reader expects: '12.3 us', '143 MB'."""
    steps = [(1, "s"), (1e-3, "ms"), (1e-6, "us")] if unit == "s" else [(1e9, "GB"), (1e6, "MB")]
    size, name = next(((size, name) for size, name in steps if value >= size), steps[-1])
    return f"{value / size:.3g} {name}"


def row(name: str, result: dict) -> str:
    if "error" in result:
        return f"{name:22} FAILED: {result['error']}"
    other = result.get("torch", result.get("reference"))
    promised = "" if result["at_most"] is None else f"  (at most {result['at_most']:.2f})"
    missed = "" if result["met"] else "  MISSED"
    return (
        f"{name:22} {quantity(result['danlu'], result['unit']):>10} "
        f"{quantity(other, result['unit']):>10}  {result['ratio']:6.3f}{promised}{missed}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="benchmarks whose name matches")
    parser.add_argument("--rounds", type=int, default=9, help="measurements a side (default: 9)")
    parser.add_argument("--threads", type=int, default=2, help="threads a side (default: 2)")
    parser.add_argument(
        "--sample",
        type=float,
        default=0.05,
        metavar="S",
        help="seconds a measurement (default: 0.05)",
    )
    parser.add_argument("--json", metavar="OUT", help="write everything to this file")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 where a promised ratio is missed"
    )
    options = parser.parse_args()
    # The danlu beside this folder is meant, installed or not.
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.path.insert(0, str(HERE.parent))
    print(f"{'benchmark':22} {'danlu':>10} {'torch':>10}   ratio")
    results = measure(options)
    if options.json:
        report = {
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "versions": versions(),
            "threads": options.threads,
            "rounds": options.rounds,
            "results": results,
        }
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    failed = [name for name, result in results.items() if "error" in result]
    missed = [name for name, result in results.items() if not result["met"]]
    return 1 if failed or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
