"""The first run of a program, beside an eager one from the same state.

The compiled code runs on copies of what it would write to; then the function itself runs, and is the
one whose results count. Equal random streams and results equal up to rounding let the program pass.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import numpy as np

from danlu.compiler.program import MISS, Program
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
# Where the comparison fails, it is made again, with allowance for what rounding does to the results:
# that is seen from arguments that are moved by some roundings, several times.
_EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
_ROUNDINGS, _TRIALS, _MARGIN = 4, 4, 8


class Differs(Exception):
    """Compiled and eager code disagree."""


class _Run(NamedTuple):
    """What a run of the compiled code gave, as (shape, sample) each.

    Attributes:
        results: of the launch.
        slopes: gradients for random gradients of the results, None for None.
        after: number of an argument -> what was written to it.
        tangents: those random gradients.
        drawn: generator -> its state behind the run.
    """

    results: list
    slopes: list
    after: dict
    tangents: list
    drawn: dict


def compare(program: Program, eager, args, kwargs):
    """What `eager()` returns, after the program was tried on copies.

    Raises:
        Differs: with the eager result as its second argument.
    """
    arguments = program.arguments(args, kwargs)
    if arguments is MISS:
        raise Differs("state that is not what it was", eager())
    before = {number: _sample(arguments[number]) for number in program.written}
    failed = ""
    try:
        run = _tried(program, arguments)
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    # what is wrong with the arguments themselves is said by eager code
    returned = eager()
    if failed:
        raise Differs(failed, returned)
    slopes = _slopes(program, returned, run)
    try:
        _agrees(program, arguments, before, run, returned, slopes, _NO_NOISE)
    except Differs as error:
        try:
            noise = _noise(program, arguments)
            _agrees(program, arguments, before, run, returned, slopes, noise)
        except Exception:
            raise Differs(str(error), returned) from None
    if program.derivative is not None:
        program.derivative.wanted = []  # tensors of this call may be among them
    return returned


def _tried(program, arguments) -> _Run:
    """Run compiled code on copies of what it writes to, as if nothing had been drawn."""
    copies = {number: _copy(arguments[number]) for number in program.written}
    given = [copies.get(number, each) for number, each in enumerate(arguments)]
    streams = {each: each.state_bytes() for each in program.generators}
    tangents, slopes = [], []
    try:
        with program.back_end.poisoned():
            found = program.back_end.launch(*given)
        if program.derivative is not None:
            tangents, slopes = program.derivative.try_out(given, found)
        drawn = {each: each.state_bytes() for each in streams}
    finally:
        for each, state in streams.items():
            each.set_state_bytes(state)
    # all that is compared later: eager code is not to need more memory than it does alone
    return _Run(
        [(each.shape, _sample(each)) for each in found],
        [None if each is None else (each.shape, _sample(each)) for each in slopes],
        {number: (each.shape, _sample(each)) for number, each in copies.items()},
        tangents, drawn,
    )  # fmt: skip


def _slopes(program, returned, run):
    """What eager code gives for `run.slopes`."""
    return [] if program.derivative is None else program.derivative.eager(returned, run.tangents)


def _agrees(program, arguments, before, run, returned, slopes, noise) -> None:
    if any(not np.array_equal(state, each.state_bytes()) for each, state in run.drawn.items()):
        raise Differs("other random numbers")
    found = (_TOLERANCE.get(dtype.name, 0.0) for dtype in program.back_end.dtypes)
    tolerance = max(found, default=0.0)
    _compare_results(program, run.results, returned, tolerance, noise)
    _compare_updates(arguments, before, run.after, noise)
    if program.derivative is not None:
        _compare_derivative(slopes, run.slopes, tolerance, noise)


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


class _Noise(NamedTuple):
    """How far values move, element by element, when the arguments change by some roundings."""

    results: dict
    slopes: dict
    after: dict


_NO_NOISE = _Noise({}, {}, {})


def _noise(program, arguments) -> _Noise:
    """What the compiled code makes of roundings of its arguments. Of sums that cancel to nothing, as
    the gradients behind a softmax whose outputs are added up, no digit is right on either side."""
    names = {dtype.name for dtype in program.back_end.dtypes}
    size = _ROUNDINGS * max((_EPSILON.get(name, 0.0) for name in names), default=0.0)
    random = np.random.default_rng(0)
    start = _tried(program, arguments)
    noise = _Noise({}, {}, {})
    for _ in range(_TRIALS):
        run = _tried(program, [_rounded(each, size, random) for each in arguments])
        pairs = (
            (noise.results, start.results, run.results),
            (noise.slopes, start.slopes, run.slopes),
            (noise.after, start.after, run.after),
        )
        for found, one, other in pairs:
            for place in one if isinstance(one, dict) else range(len(one)):
                if one[place] is not None:
                    moved = _moved(one[place][1], other[place][1])
                    found[place] = np.maximum(moved, found.get(place, 0.0))
    return noise


def _rounded(argument, size, random):
    if not isinstance(argument, np.ndarray) or argument.dtype.kind != "f":
        return argument
    made = _copy(argument)
    made[...] *= (1 + random.uniform(-size, size, made.shape)).astype(made.dtype)
    return made


def _moved(one, other) -> np.ndarray:
    if one.dtype.kind in "biu":
        return np.zeros(one.shape)
    with np.errstate(all="ignore"):
        distance = np.abs(_wide(one) - _wide(other))
    return np.where(np.isfinite(distance), distance, 0.0)


def _compare_results(program, found, returned, tolerance, noise) -> None:
    grads = []
    for tensor, number in program.grads:
        if number is not None and tensor is not None:
            if tensor._grad is None:
                raise Differs("a gradient that eager code does not leave")
            grads.append((tensor._grad._array, found[number], noise.results.get(number, 0.0)))
    _compare_gradients(grads, tolerance)
    expected = [each for _, each in leaves(returned, "r")[0] if isinstance(each, Tensor)]
    if len(expected) != len(program.outputs):
        raise Differs("other results")
    for tensor, number in zip(expected, program.outputs):
        if number is not None:
            own = noise.results.get(number, 0.0)
            _agree("a result", tensor._array, found[number], 0.0, tolerance, own)


def _compare_derivative(eager, compiled, tolerance, noise) -> None:
    if eager is None:
        raise Differs("gradients where eager code gives none")
    if any((one is None) != (other is None) for one, other in zip(eager, compiled, strict=True)):
        raise Differs("gradients of other tensors")
    grads = [(one, other, noise.slopes.get(place, 0.0))
             for place, (one, other) in enumerate(zip(eager, compiled)) if one is not None]  # fmt: skip
    _compare_gradients(grads, tolerance)


def _compare_gradients(grads, tolerance) -> None:
    greatest = max((_greatest(sample) for _, (_, sample), _ in grads), default=0.0)
    for eager, compiled, noise in grads:
        _agree("a gradient", eager, compiled, _VANISHING * greatest, tolerance, noise)


def _agree(what, eager, compiled, least, tolerance, noise) -> None:
    """Compare an array with the sample of another.

    Args:
        least: what an element may differ by in any case.
        tolerance: that of the narrowest numbers that something was computed with.
        noise: how far the elements of the sample move when the arguments are rounded.
    """
    shape, compiled = compiled
    if eager.shape != shape or eager.dtype != compiled.dtype:
        raise Differs(f"{what} of shape {shape}, {compiled.dtype}: {eager.shape}, {eager.dtype}")
    eager = _sample(eager)
    if eager.dtype.kind in "biu":
        if not np.array_equal(eager, compiled):
            raise Differs(f"{what} of integers")
        return
    tolerance = max(tolerance, _TOLERANCE.get(eager.dtype.name, 1e-7))
    eager, compiled = _wide(eager), _wide(compiled)
    with np.errstate(all="ignore"):
        error, norm = _norm(compiled - eager), _norm(eager)
    if not error < np.inf:  # infinite elements, or such as are no numbers
        finite = np.isfinite(eager)
        if not np.array_equal(finite, np.isfinite(compiled)):
            raise Differs(f"{what} that is infinite or no number elsewhere")
        noise = np.broadcast_to(noise, finite.shape)[finite]
        eager, compiled = eager[finite], compiled[finite]
        error, norm = _norm(compiled - eager), _norm(eager)
    allowed = tolerance * norm + least * eager.size**0.5
    if error > allowed and error > allowed + _MARGIN * _norm(np.broadcast_to(noise, eager.shape)):
        raise Differs(f"{what} that is {error / max(norm, 1e-30):.2g} of its norm away")


def _wide(array):
    return array.astype(np.float64) if array.dtype.kind in "fV" else array


def _norm(array) -> float:
    return float(np.vdot(array, array).real) ** 0.5


def _greatest(array) -> float:
    found = np.abs(_wide(array))
    greatest = found.max(initial=0.0)
    if not np.isfinite(greatest):
        greatest = found[np.isfinite(found)].max(initial=0.0)
    return float(greatest)


def _compare_updates(arguments, before, after, noise) -> None:
    """What was written in place: the steps that eager and compiled code made."""
    flipped = elements = 0
    for number, (_, compiled) in after.items():
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
        allowed = tolerance + _MARGIN * noise.after.get(number, 0.0)
        with np.errstate(all="ignore"):
            wrong = ~((np.abs(steps - others) <= allowed) | (steps == others))
            if wrong.any():
                wrong &= ~(np.isnan(steps) & np.isnan(others))
        flipped += int(wrong.sum())
        elements += eager.size
        if _greatest(others) > 3 * _greatest(steps) + tolerance:
            raise Differs("an update in place of another size")
    if flipped > _FLIPPED * elements + 8:
        raise Differs(f"{flipped} of {elements} elements written in place")
