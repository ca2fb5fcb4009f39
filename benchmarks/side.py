"""One side of the benchmarks: a process with one of the two modules loaded, which times cases on
request.

Reads the name of a case a line on standard input, and answers each with one line of JSON: the
seconds that a unit of the case took just now, or what went wrong.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
import warnings

from cases import load

WARM_UP_SECONDS = 0.2


class Stopwatch:
    """Times one case; the first call prepares it and finds how many calls fill a sample."""

    def __init__(self, case, module, sample_seconds):
        prepared = case.prepare(module)
        self.run, self.units = prepared if isinstance(prepared, tuple) else (prepared, 1)
        self.run()
        calls, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < WARM_UP_SECONDS:
            self.run()
            calls += 1
        self.calls = max(1, round(calls * sample_seconds / elapsed))

    def sample(self):
        """Seconds a unit."""
        run = self.run
        gc.collect()
        started = time.perf_counter()
        for _ in range(self.calls):
            run()
        return (time.perf_counter() - started) / (self.calls * self.units)


def serve(cases, module, answers, sample_seconds):
    """Answer the requests on standard input until it ends."""
    stopwatches = {}
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in stopwatches:
                stopwatches[name] = Stopwatch(cases[name], module, sample_seconds)
            answer = {"seconds": stopwatches[name].sample()}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main():
    module_name, threads, sample_seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115  for what cases print
    warnings.simplefilter("ignore")
    module = importlib.import_module(module_name)
    module.set_num_threads(threads)
    serve(load(), module, answers, sample_seconds)


if __name__ == "__main__":
    main()
