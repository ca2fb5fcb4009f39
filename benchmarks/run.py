#!/usr/bin/env python3
"""Time danlu and torch alternately, and print medians and ratios.

Each side is one process that lives as long as the run, with the same number of threads. For every
benchmark the two are asked in turn, so that what disturbs the machine disturbs both; what is
printed are medians over the rounds. Compiled steps meet JAX as well, where the variable
JAX_PYTHON names a Python that has it.

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
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

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


class Rival(NamedTuple):
    """What danlu's measurement is divided by, and the most that the quotient may be."""

    module: str
    case: str
    at_most: float | None


# Case -> the most memory of its steps on danlu, divided by torch's.
PEAKS = {"resnet18_step": 1.10}
# Case -> the most memory of its steps compiled, divided by that of its steps as they are.
COMPILED_PEAKS = {"mnist_cnn_step": 1.00, "resnet18_step": 1.00, "gpt_step": 1.00}
# Label, danlu's case, the case of jax_side.py.
AGAINST_JAX = {
    "ring_step_sgd_jax": (
        "ring network, SGD, batch 100",
        "compiled_ring_step_sgd_100",
        Rival("jax", "ring_step_sgd", 0.20),
    ),
    "ring_step_adam_jax": (
        "ring network, Adam, batch 100",
        "compiled_ring_step_adam_100",
        Rival("jax", "ring_step_adam", 0.20),
    ),
    "ring_steps_sgd_jax": (
        "ring network, SGD, batch 100; of JAX every hundredth step is awaited",
        "compiled_ring_step_sgd_100",
        Rival("jax", "ring_steps_sgd", None),
    ),
    "ring_steps_adam_jax": (
        "ring network, Adam, batch 100; of JAX every hundredth step is awaited",
        "compiled_ring_step_adam_100",
        Rival("jax", "ring_steps_adam", None),
    ),
    "gpt_step_jax": (
        "small GPT, batch 16",
        "compiled_gpt_step",
        Rival("jax", "gpt_step", 0.90),
    ),
}
# Eager case -> label, the most seconds to compile its step with an empty cache of machine code, and
# with a full one.
COMPILE_TIMES = {
    "ring_step_adam_100": ("ring network, Adam, batch 100", 0.15, 0.02),
    "mnist_cnn_step": ("the tutorial's MNIST CNN, batch 128", 1.50, None),
    "resnet18_step": ("ResNet-18 on 32 x 32 images, batch 64", 5.00, 0.50),
    "gpt_step": ("small GPT, batch 16", None, None),
    "add_10": ("a sum of two tensors: what is loaded once a process", None, None),
}
COMPILE_ROUNDS = 3
BOTH_BACK_ENDS = ("ring_step_adam_100", "mnist_cnn_step")


def answer_of(program: str, *arguments, **environment: str) -> float:
    """The number that a program of this folder prints, in a process of its own."""
    command = [sys.executable, str(HERE / program), *map(str, arguments)]
    environment = {**os.environ, **environment}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise RuntimeError(result.stderr.strip().rpartition("\n")[2])
    return float(result.stdout)


class Side:
    """A process that times cases with one of the modules."""

    def __init__(self, module: str, threads: int, sample_seconds: float):
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
        program = [sys.executable, str(HERE / "side.py"), module]
        if module == "jax":
            program = [os.environ["JAX_PYTHON"], str(HERE / "jax_side.py")]
        self.module = module
        self.process = subprocess.Popen(
            [*program, str(threads), str(sample_seconds)],
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


def alone(label: str, seconds: list[float], at_most: float | None) -> dict:
    """A measurement that is divided by none."""
    danlu = statistics.median(seconds)
    return {
        "label": label,
        "unit": "s",
        "danlu": danlu,
        "at_most": at_most,
        "met": at_most is None or danlu <= at_most,
        "samples": {"danlu": seconds},
    }


def machine() -> dict:
    from danlu.cli.doctor import processor, usable_cores

    return {"processor": processor(), "cores": usable_cores(), "system": platform.platform()}


def jax_version() -> str | None:
    """The version of JAX that JAX_PYTHON has, None where there is none."""
    python = shutil.which(os.environ.get("JAX_PYTHON", ""))
    if python is None:
        return None
    command = [python, "-c", "import jax; print(jax.__version__)"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def versions(with_jax: bool) -> dict:
    from danlu.version import __version__

    packages = {name: metadata.version(name) for name in ("torch", "numpy")}
    if with_jax:
        packages["jax"] = jax_version() or ""
    return {"danlu": __version__, "python": platform.python_version(), **packages}


class Measurements:
    """The measurements that were asked for, by name, printed as they come."""

    def __init__(self, options):
        self.options = options
        self.results: dict[str, dict] = {}
        self.sides: dict[str, Side] = {}

    def run(self) -> dict[str, dict]:
        self.cases()
        self.against_jax()
        for side in self.sides.values():
            side.close()
        self.first_programs()
        self.compile_times()
        self.peaks()
        if self.wanted("installed_size"):
            ours, others = [installed_bytes("danlu")], [installed_bytes("torch")]
            self.add("installed_size", entry("installed, with dependencies", "B", ours, others))
        return self.results

    def wanted(self, name: str) -> bool:
        return re.search(self.options.only, name) is not None

    def add(self, name: str, result: dict) -> None:
        self.results[name] = result
        print(row(name, result), flush=True)

    def side(self, module: str) -> Side:
        if module not in self.sides:
            self.sides[module] = Side(module, self.options.threads, self.options.sample)
        return self.sides[module]

    def compare(self, name: str, label: str, case: str, rival: Rival, against: str) -> None:
        """Time danlu's case and its rival in turn."""
        try:
            ours, others = alternately(
                self.options.rounds,
                lambda: self.side("danlu").seconds(case),
                lambda: self.side(rival.module).seconds(rival.case),
            )
        except RuntimeError as error:
            self.add(name, {"label": label, "error": str(error), "met": False})
        else:
            self.add(name, entry(label, "s", ours, others, against, rival.at_most))

    def cases(self) -> None:
        for case in load().values():
            if self.wanted(case.name):
                module = "danlu" if case.against else "torch"
                rival = Rival(module, case.against or case.name, case.at_most)
                self.compare(case.name, case.label, case.name, rival, case.against or "torch")

    def against_jax(self) -> None:
        chosen = [name for name in AGAINST_JAX if self.wanted(name)]
        if chosen and jax_version() is None:
            print("not compared with JAX: JAX_PYTHON names no Python that has it", flush=True)
            return
        for name in chosen:
            self.compare(name, *AGAINST_JAX[name], against="JAX")

    def first_programs(self) -> None:
        for name, (label, program, ratio, most) in FIRST_PROGRAMS.items():
            if self.wanted(name):
                ours, others = first_uses(program, self.options.rounds)
                self.add(name, entry(label, "s", ours, others, "torch", ratio, most))

    def compile_times(self) -> None:
        chosen = [
            case
            for case in COMPILE_TIMES
            if self.wanted(f"{case}_compile_cold") or self.wanted(f"{case}_compile_warm")
        ]
        if not chosen:
            return
        with tempfile.TemporaryDirectory(prefix="danlu-bench-") as bytecode:
            for case in BOTH_BACK_ENDS:  # compiles the Python files
                self.compile_seconds(case, bytecode)
            for case in chosen:
                self.compile_time(case, bytecode)

    def compile_time(self, case: str, bytecode: str) -> None:
        """Each round begins with an empty cache of machine code, which its second process finds
        full."""
        label, most_cold, most_warm = COMPILE_TIMES[case]
        try:
            rounds = [self.compile_seconds(case, bytecode) for _ in range(COMPILE_ROUNDS)]
        except RuntimeError as error:
            self.add(f"{case}_compile_cold", {"label": label, "error": str(error), "met": False})
            return
        cold, warm = map(list, zip(*rounds))
        self.add(f"{case}_compile_cold", alone(label, cold, most_cold))
        self.add(f"{case}_compile_warm", alone(label, warm, most_warm))

    def compile_seconds(self, case: str, bytecode: str) -> tuple[float, float]:
        """Of a process with an empty cache of machine code, and of the next one with the same."""
        with tempfile.TemporaryDirectory(prefix="danlu-bench-") as cache:
            environment = {
                "DANLU_CACHE": cache,
                "PYTHONPYCACHEPREFIX": bytecode,
                "PYTHONDONTWRITEBYTECODE": "",
            }
            cold, warm = (
                answer_of("compile_times.py", case, self.options.threads, **environment)
                for _ in range(2)
            )
        return cold, warm

    def peaks(self) -> None:
        for case, most in PEAKS.items():
            self.peak(f"{case}_peak", case, ("danlu",), ("torch",), "torch", most)
        for case, most in COMPILED_PEAKS.items():
            self.peak(f"compiled_{case}_peak", case, ("danlu", "compiled"), ("danlu",), case, most)

    def peak(self, name, case, ours, other, against, at_most) -> None:
        """Compare what peak.py finds for two modules, given with their options."""
        if not self.wanted(name):
            return
        label = f"{load()[case].label}: peak memory"
        try:
            found = [
                answer_of("peak.py", case, module, self.options.threads, *options)
                for module, *options in (ours, other)
            ]
        except RuntimeError as error:
            self.add(name, {"label": label, "error": str(error), "met": False})
        else:
            self.add(name, entry(label, "B", found[:1], found[1:], against, at_most))


def quantity(value: float, unit: str) -> str:
    """Seconds or bytes in the unit that a reader expects: '12.3 us', '143 MB'."""
    steps = [(1, "s"), (1e-3, "ms"), (1e-6, "us")] if unit == "s" else [(1e9, "GB"), (1e6, "MB")]
    size, name = next(((size, name) for size, name in steps if value >= size), steps[-1])
    return f"{value / size:.3g} {name}"


def row(name: str, result: dict) -> str:
    if "error" in result:
        return f"{name:32} FAILED: {result['error']}"
    unit, limit = result["unit"], result["at_most"]
    missed = "" if result["met"] else "  MISSED"
    ours = f"{name:32} {quantity(result['danlu'], unit):>10}"
    if "ratio" not in result:
        promised = "" if limit is None else f"  (at most {quantity(limit, unit)})"
        return f"{ours}{promised}{missed}"
    other = quantity(result.get("torch", result.get("reference")), unit)
    promised = "" if limit is None else f"  (at most {limit:.2f})"
    return f"{ours} {other:>10}  {result['ratio']:6.3f}{promised}{missed}"


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
    print(f"{'benchmark':32} {'danlu':>10} {'other':>10}   ratio")
    results = Measurements(options).run()
    if options.json:
        report = {
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "versions": versions(with_jax=any(name in results for name in AGAINST_JAX)),
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
