"""Two hundred random training programs give the same eagerly and compiled, after every step."""

from __future__ import annotations

import warnings

import pytest

import danlu
from tests.unit.compiling import differences
from tests.unit.random_programs import STEPS, Run, program

pytest.importorskip("llvmlite")

from danlu.compiler import CompileWarning


def run(made, transform=lambda step: step):
    """What the loop got and the state it left, step by step, and the step that was called."""
    running = Run(made, danlu)
    running.step = transform(running.step)
    return [[running.advance(i), running.state()] for i in range(STEPS)], running.step


@pytest.mark.parametrize("seed", range(200))
def test_a_compiled_program_is_the_program(seed):
    made = program(seed)
    expected, _ = run(made)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found, compiled = run(made, danlu.compile)
    for i, (left, right) in enumerate(zip(found, expected)):
        wrong = differences(left, right, made.precision, f"step {i}")
        assert not wrong, "\n".join([*wrong[:6], made.source])
    stats = danlu.compiler.stats(compiled)
    told = [str(each.message) for each in caught if issubclass(each.category, CompileWarning)]
    assert not told and not stats.refusals, "\n".join([*told, made.source])
    assert stats.compiled_calls, made.source
