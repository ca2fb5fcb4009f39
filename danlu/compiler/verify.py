"""The first run of a program, beside an eager one from the same state.

The compiled code runs on copies of what it would write to; then the function itself runs, and is the
one whose results count. Equal random streams and results equal up to rounding let the program pass.
"""

from __future__ import annotations

from math import gcd

import numpy as np

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
_MOST_COMPARED = 1 << 16  # elements of an array


class Differs(Exception):
    """Compiled and eager code disagree."""


def compare(program: Program, eager, args, kwargs):
    """What `eager()` returns, after the program was tried on copies.

    Raises:
        Differs: with the eager result as its second argument.
    """
    arguments = program.arguments(args, kwargs)
    copies = {number: _copy(arguments[number]) for number in program.written}
    before = {number: _sample(arguments[number]) for number in program.written}
    streams = {each: each.state_bytes() for each in program.generators}
    derivative, tangents, slopes = program.derivative, [], []
    try:
        found = program.back_end.launch(
            *[copies.get(number, each) for number, each in enumerate(arguments)]
        )
        if derivative is not None:
            tangents, slopes = derivative.try_out(arguments, found)
    except Exception as error:
        for each, state in streams.items():
            each.set_state_bytes(state)
        # what is wrong with the arguments themselves is said by eager code
        raise Differs(f"{type(error).__name__}: {error}", eager()) from error
    slopes = [None if each is None else (each.shape, _sample(each)) for each in slopes]
    # all that is compared later: eager code is not to need more memory than it does alone
    found = [(each.shape, _sample(each)) for each in found]
    after = {number: _sample(each) for number, each in copies.items()}
    del copies
    drawn = {each: each.state_bytes() for each in streams}
    for each, state in streams.items():
        each.set_state_bytes(state)
    returned = eager()
    try:
        if any(not np.array_equal(drawn[each], each.state_bytes()) for each in drawn):
            raise Differs("other random numbers")
        _compare_results(program, found, returned)
        _compare_updates(arguments, before, after)
        if derivative is not None:
            _compare_derivative(derivative.eager(returned, tangents), slopes)
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


def _sample(array: np.ndarray) -> np.ndarray:
    """The elements of an array that are compared, as a new flat array: some of every row and
    column, as the step between them has no divisor in common with a length."""
    step = -(-array.size // _MOST_COMPARED) if array.size else 1
    while gcd(step, array.size) > 1:
        step += 1
    return array.reshape(-1)[::step].copy()


def _compare_results(program, found, returned) -> None:
    grads = []
    for tensor, number in program.grads:
        if number is not None and tensor is not None:
            if tensor._grad is None:
                raise Differs("a gradient that eager code does not leave")
            grads.append((tensor._grad._array, found[number]))
    _compare_gradients(grads)
    expected = [each for _, each in leaves(returned, "r")[0] if isinstance(each, Tensor)]
    if len(expected) != len(program.outputs):
        raise Differs("other results")
    for tensor, number in zip(expected, program.outputs):
        if number is not None:
            _agree("a result", tensor._array, found[number], 0.0)


def _compare_derivative(eager, compiled) -> None:
    if eager is None:
        raise Differs("gradients where eager code gives none")
    if any((one is None) != (other is None) for one, other in zip(eager, compiled, strict=True)):
        raise Differs("gradients of other tensors")
    _compare_gradients([pair for pair in zip(eager, compiled) if pair[0] is not None])


def _compare_gradients(grads) -> None:
    greatest = max((_greatest(sample) for _, (_, sample) in grads), default=0.0)
    for eager, compiled in grads:
        _agree("a gradient", eager, compiled, _VANISHING * greatest)


def _agree(what, eager, compiled, least) -> None:
    shape, compiled = compiled
    if eager.shape != shape or eager.dtype != compiled.dtype:
        raise Differs(f"{what} of shape {shape}, {compiled.dtype}: {eager.shape}, {eager.dtype}")
    eager = _sample(eager)
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


def _compare_updates(arguments, before, after) -> None:
    """What was written in place: the steps that eager and compiled code made."""
    flipped = elements = 0
    for number, compiled in after.items():
        eager = _sample(arguments[number])
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
