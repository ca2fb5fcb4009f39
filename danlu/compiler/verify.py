"""The first run of a program, beside an eager one from the same state.

The compiled code runs on copies of what it would write to; then the function itself runs, and is the
one whose results count. Equal random streams and results equal up to rounding let the program pass.
"""

from __future__ import annotations

import numpy as np

from danlu.backend.random import default_generator
from danlu.compiler.program import Program
from danlu.compiler.structure import leaves
from danlu.tensor import Tensor

__all__ = ["Differs", "compare"]

# Of a result's norm: what sums in another order may differ by after many layers. One ReLU that
# rounding puts on its other side changes gradients of a ResNet by 0.6 % of their greatest element.
_TOLERANCE = {"float64": 1e-7, "float32": 1e-2, "float16": 3e-2, "bfloat16": 6e-2}
# gradients that vanish but for rounding are told by the greatest gradient
_VANISHING = 1e-5
# of all elements that an optimizer changed: steps by the sign of vanishing gradients
_FLIPPED = 0.05


class Differs(Exception):
    """Compiled and eager code disagree."""


def compare(program: Program, eager, args, kwargs):
    """What `eager()` returns, after the program was tried on copies.

    Raises:
        Differs: with `returned`, the eager result, as its second argument.
    """
    session = program.session
    arguments = program.arguments(args, kwargs)
    written = sorted({leaf.info.slot.number for leaf in session.graph.writes})
    copies = {number: _copy(arguments[number]) for number in written}
    before = {number: _copy(arguments[number]) for number in written}
    stream = default_generator.state_bytes() if program.draws else None
    found = program.back_end.launch(
        *[copies.get(number, each) for number, each in enumerate(arguments)]
    )
    drawn = None
    if stream is not None:
        drawn = default_generator.state_bytes()
        default_generator.set_state_bytes(stream)
    returned = eager()
    try:
        if drawn is not None and not np.array_equal(drawn, default_generator.state_bytes()):
            raise Differs("other random numbers")
        _compare_results(program, found, returned)
        _compare_updates(arguments, before, copies)
    except Differs as error:
        raise Differs(str(error), returned) from None
    return returned


def _copy(array: np.ndarray) -> np.ndarray:
    """The same elements in memory of the same layout."""
    made = np.empty_like(array)
    if made.strides != array.strides:
        low, high = np.lib.array_utils.byte_bounds(array)
        memory = np.empty(high - low, np.uint8)
        offset = array.__array_interface__["data"][0] - low
        made = np.ndarray(array.shape, array.dtype, memory, offset, array.strides)
    made[...] = array
    return made


def _compare_results(program, found, returned) -> None:
    grads = []
    for known, number in program.grads:
        if number is not None:
            tensor = known.tensor if known.path is None else None
            if tensor is not None:
                grad = tensor._grad
                if grad is None:
                    raise Differs("a gradient that eager code does not leave")
                grads.append((grad._array, found[number]))
    greatest = max((_greatest(array) for array, _ in grads), default=0.0)
    for eager, compiled in grads:
        _agree("a gradient", eager, compiled, _VANISHING * greatest)
    expected = [each for _, each in leaves(returned, "r")[0] if isinstance(each, Tensor)]
    if len(expected) != len(program.outputs):
        raise Differs("other results")
    for tensor, number in zip(expected, program.outputs):
        if number is not None:
            _agree("a result", tensor._array, found[number], 0.0)


def _agree(what, eager, compiled, least) -> None:
    if eager.shape != compiled.shape or eager.dtype != compiled.dtype:
        raise Differs(
            f"{what} of shape {compiled.shape}, {compiled.dtype}: {eager.shape}, {eager.dtype}"
        )
    if eager.dtype.kind in "biu":
        if not np.array_equal(eager, compiled):
            raise Differs(f"{what} of integers")
        return
    tolerance = _TOLERANCE.get(eager.dtype.name, 1e-7)
    eager, compiled = _wide(eager), _wide(compiled)
    finite = np.isfinite(eager)
    if not np.array_equal(finite, np.isfinite(compiled)):
        raise Differs(f"{what} that is infinite or no number elsewhere")
    eager, compiled = eager[finite], compiled[finite]
    error, norm = np.linalg.norm(compiled - eager), np.linalg.norm(eager)
    if error > tolerance * norm + least * eager.size**0.5:
        raise Differs(f"{what} that is {error / max(norm, 1e-30):.2g} of its norm away")


def _wide(array):
    return array.astype(np.float64) if array.dtype.kind in "fV" else array


def _greatest(array) -> float:
    finite = np.abs(_wide(array))
    finite = finite[np.isfinite(finite)]
    return float(finite.max()) if finite.size else 0.0


def _compare_updates(arguments, before, copies) -> None:
    """What was written in place: the steps that eager and compiled code made."""
    flipped = elements = 0
    for number, compiled in copies.items():
        eager = arguments[number]
        if eager.dtype.kind in "biu":
            if not np.array_equal(eager, compiled):
                raise Differs("integers written in place")
            continue
        with np.errstate(all="ignore"):
            steps = _wide(eager) - _wide(before[number])
            others = _wide(compiled) - _wide(before[number])
        rounding = np.finfo(np.float32).eps * 8 if eager.dtype.itemsize == 4 else 1e-9
        if eager.dtype.itemsize < 4:
            rounding = 1e-2
        tolerance = 1e-2 * _greatest(steps) + rounding * _greatest(before[number])
        wrong = ~np.isclose(steps, others, rtol=0, atol=tolerance, equal_nan=True)
        flipped += int(wrong.sum())
        elements += eager.size
        if _greatest(others) > 3 * _greatest(steps) + tolerance:
            raise Differs("an update in place of another size")
    if flipped > _FLIPPED * elements + 8:
        raise Differs(f"{flipped} of {elements} elements written in place")
