#!/usr/bin/env python3
"""Print the seconds that compiling a case's step costs in this process.

These are the calls until the first one that is answered by machine code alone, less the steps that
they take meanwhile: every eager one, which is the call's result, and the compiled one that is
compared with it. Eager steps come first, so that what they need is loaded. Whether machine code is
found on disk is up to DANLU_CACHE.

    DANLU_CACHE=/tmp/empty python benchmarks/compile_times.py mnist_cnn_step 2
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings

from cases import load
from cases.compiled import CALLS_TO_COMPILE

import danlu

STEPS = 5


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def usual_seconds(function) -> float:
    """Of a call that needs nothing new."""
    function()
    return statistics.median(seconds(function) for _ in range(STEPS))


def compile_seconds(step) -> float:
    """Seconds that `danlu.compile` adds to the first calls of a step."""
    eager = usual_seconds(step)
    made = danlu.compile(step)
    spent = 0.0
    for _ in range(CALLS_TO_COMPILE):
        took = seconds(made)
        stats = danlu.compiler.stats(made)
        if stats.compiled_calls:
            return spent - stats.eager_calls * eager - stats.traces * usual_seconds(made)
        spent += took
    raise RuntimeError(f"it does not run compiled: {'; '.join(stats.refusals)}")


def main() -> None:
    name, threads = sys.argv[1:]
    warnings.simplefilter("ignore")
    danlu.set_num_threads(int(threads))
    print(compile_seconds(load()[name].prepare(danlu)))


if __name__ == "__main__":
    main()
