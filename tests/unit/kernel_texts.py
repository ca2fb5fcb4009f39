"""Kernels that tell what the pool did with them, and programs that run in a process of their own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

# slot 0: int32 cells; task i adds one to cell i, and the number of its thread to cell 4096 + i
COUNT = """
define void @task(ptr %arguments, i64 %index, i64 %thread) {
  %cells = load ptr, ptr %arguments
  %cell = getelementptr i32, ptr %cells, i64 %index
  %old = atomicrmw add ptr %cell, i32 1 monotonic
  %place = add i64 %index, 4096
  %other = getelementptr i32, ptr %cells, i64 %place
  %number = trunc i64 %thread to i32
  store i32 %number, ptr %other
  ret void
}
"""

# slot 0: cells, slot 1: how many tasks the inner function gets
NESTED = """
declare void @danlu_parallel(ptr, ptr, i64)
define internal void @inner(ptr %arguments, i64 %index, i64 %thread) {
  %cells = load ptr, ptr %arguments
  %cell = getelementptr i32, ptr %cells, i64 %index
  %old = atomicrmw add ptr %cell, i32 1 monotonic
  ret void
}
define void @task(ptr %arguments, i64 %index, i64 %thread) {
  %count_at = getelementptr i64, ptr %arguments, i64 1
  %count = load i64, ptr %count_at
  call void @danlu_parallel(ptr @inner, ptr %arguments, i64 %count)
  ret void
}
"""

# slot 0: microseconds to sleep
SLEEP = """
declare i32 @usleep(i32)
define void @task(ptr %arguments, i64 %index, i64 %thread) {
  %time = load i32, ptr %arguments
  %r = call i32 @usleep(i32 %time)
  ret void
}
"""

# slots: an int64 cell; an array, an int, a float, None
ARGUMENTS = """
define void @task(ptr %arguments, i64 %index, i64 %thread) {
  %out = load ptr, ptr %arguments
  %a1 = getelementptr i64, ptr %arguments, i64 1
  %array = load ptr, ptr %a1
  %first = load i64, ptr %array
  store i64 %first, ptr %out
  %a2 = getelementptr i64, ptr %arguments, i64 2
  %whole = load i64, ptr %a2
  %o1 = getelementptr i64, ptr %out, i64 1
  store i64 %whole, ptr %o1
  %a3 = getelementptr i64, ptr %arguments, i64 3
  %real = load double, ptr %a3
  %o2 = getelementptr i64, ptr %out, i64 2
  store double %real, ptr %o2
  %a4 = getelementptr i64, ptr %arguments, i64 4
  %none = load i64, ptr %a4
  %o3 = getelementptr i64, ptr %out, i64 3
  store i64 %none, ptr %o3
  ret void
}
"""

ROOT = Path(__file__).parents[2]


def in_a_process(text, **environment):
    """Run a program of its own, which must end well; what it prints."""
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    changed = {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(text)],
        env=os.environ | {"PYTHONPATH": places} | changed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
