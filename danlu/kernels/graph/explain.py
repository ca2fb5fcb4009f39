"""What becomes of a kernel, for people to read."""

from __future__ import annotations

import time
from math import prod
from typing import Any

import numpy as np

from danlu.kernels.graph.fuse import Nest
from danlu.kernels.graph.nodes import Node, Unsupported
from danlu.kernels.graph.plan import Plan, plan
from danlu.kernels.runtime import road

__all__ = ["explain"]

_ROUNDS = 5


def explain(function, *arguments) -> str:
    """The graph, the loops, the memory and the machine code of a call, with times.

    Args:
        function: a `@kernel`, or plain NumPy code.
        arguments: arrays and numbers as for a call; arrays that it updates in place are updated.

    Returns:
        A text; where nothing can be generated, the reason.

    Example:
        >>> import numpy as np
        >>> from danlu.kernels import explain
        >>> print(explain(lambda x: x * 2 + 1, np.zeros(1000, dtype=np.float32)))  # doctest: +SKIP
        graph
          %0 = leaf() argument 0, offset 0, strides (1,): float32[1000]
          ...
    """
    function = getattr(function, "__wrapped__", function)
    if not road.enabled():
        return f"NumPy runs this: {road.reason() or 'DANLU_KERNELS=numpy'}"
    try:
        made = plan(function, arguments)
    except Unsupported as error:
        return f"NumPy runs this: {error} cannot be generated"
    made.launch(*arguments)  # fills the caches
    lines = ["graph", *(f"  {_line(node, made.graph)}" for node in made.graph.nodes)]
    for leaf, value in made.graph.writes.items():
        lines.append(f"  argument {leaf.info.slot.number} = %{value.number}")
    lines += ["", "loops"]
    seconds = _times(made, arguments)
    for number, nest in enumerate(each for each in made.steps if isinstance(each, Nest)):
        lines += _described(number, nest, made, seconds[f"k{number}"])
    lines += [f"  {name}: called; {seconds[name] * 1e6:.1f} us a call" for name in _called(made)]
    lines += ["", "memory", *_memory(made, arguments)]
    lines += ["", "launch", *(f"  {line}" for line in made.source.splitlines())]
    return "\n".join(lines)


def _line(node, graph):
    if node.op != "extern":
        return str(node)
    name = graph.externs[node.info].name
    return str(node).replace("extern(", f"call of {name}(").replace(f") {node.info}:", "):")


def _called(made) -> list[str]:
    """The names of the functions that a launch calls between the loops."""
    functions = [made.graph.externs[step.info].function for step in made.steps
                 if isinstance(step, Node) and step.op == "extern"]  # fmt: skip
    return [name for name, value in made.names.items() if any(value is f for f in functions)]


def _described(number, nest, made, seconds):
    laid, kernel = made.laid[nest], made.kernels[nest]
    program, known = laid.program, laid.program.geometry()
    rows = [int(laid.geometry[known["row", d]]) for d in range(program.rows)]
    columns = [int(laid.geometry[known["column", d]]) for d in range(program.columns)]
    cut = "columns" if program.split else "rows"
    vectors = "the columns, rows in tiles" if program.lane == "tile" else f"the {program.lane}"
    passes = "pass" if program.passes() == 1 else "passes"
    yield (
        f"  k{number}: rows {rows}, columns {columns}, {program.passes()} {passes}, vectors along "
        f"{vectors}, {laid.tasks} tasks of {int(laid.geometry[0])} {cut}"
    )
    for op_number, op in enumerate(program.ops):
        place = ("column" if op.by_column else "row" if op.by_row else "once") + f", {op.stage}"
        operands = ", ".join(f"${each}" for each in op.args)
        info = "" if op.info is None else f" {op.info}"
        info += f" #{op.access}" if op.access >= 0 else ""
        kept = " kept" if op_number in program.kept else ""
        yield f"    ${op_number} = {op.op}({operands}){info}: {op.dtype} ({place}){kept}"
    for value, access in program.stores:
        yield f"    store ${value} to {laid.slots[program.accesses[access].pointer]}"
    for each in program.sums:
        yield f"    {each.kind} over tasks of ${each.value}"
    code = kernel.code
    origin = "loaded" if code.cached else "compiled"
    yield (
        f"    machine code: {code.size} bytes, {origin} in {code.seconds * 1e3:.1f} ms; "
        f"scratch {laid.scratch} bytes a thread; {seconds * 1e6:.1f} us a call"
    )


def _times(made: Plan, arguments) -> dict[str, float]:
    """The best time of each kernel, and of each function called, of a launch."""
    best: dict[str, float] = {}

    def timed(name, call):
        def run(*given, **named):
            start = time.perf_counter()
            result = call(*given, **named)
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - start)
            return result

        return run

    names: dict[str, Any] = dict(made.names)
    for number, kernel in enumerate(made.kernels.values()):
        names[f"k{number}"] = timed(f"k{number}", kernel.call)
    names.update((name, timed(name, names[name])) for name in _called(made))
    exec(made.source, names)
    for _ in range(_ROUNDS):
        names["launch"](*arguments)
    return best


def _memory(made: Plan, arguments):
    arrays = [each for each in arguments if isinstance(each, np.ndarray)]
    yield f"  arguments {sum(each.nbytes for each in arrays)} bytes"
    allocated = 0
    for laid in made.laid.values():
        for slot in laid.slots:
            if slot in laid.sums:
                sums = laid.sums[slot]
                allocated += sums.tasks * prod(sums.shape) * slot.dtype.itemsize
            elif not isinstance(slot, tuple):
                allocated += prod(slot.shape) * slot.dtype.itemsize
    yield f"  results and temporaries {allocated} bytes, arrays used again counted each time"
