"""Text of the array functions for small arrays of scores: softmax and cross entropy along rows, and
sums of all elements.

NumPy takes 8 us for the sums of a hundred rows of eight, as it walks along each by itself; all of
these take 2 to 3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from danlu.kernels.codegen import vector_math
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT, I64
from danlu.kernels.runtime.objects import ArrayFunction

__all__ = ["ELEMENTS", "modules"]

ELEMENTS = 1 << 14  # up to which one thread is the fastest
_SUMMED = 1 << 12  # numbers whose sum four vectors hold with as few roundings as NumPy's pairs
_SUMS = 4


def modules() -> dict[str, dict[str, Callable[..., Function]]]:
    """Module -> its functions by name and what writes each for a target."""
    return {
        "softmax": {
            "softmax": partial(_softmax, "softmax", False),
            "log_softmax": partial(_softmax, "log_softmax", True),
        },
        "softmax gradients": {
            "softmax_backward": partial(_backward, "softmax_backward", False),
            "log_softmax_backward": partial(_backward, "log_softmax_backward", True),
        },
        "classes": {
            "cross_entropy": _cross_entropy,
            "cross_entropy_backward": _cross_entropy_backward,
        },
        "sums": {"total": partial(_sum, "total", False), "average": partial(_sum, "average", True)},
    }


def _sum(name, mean, target) -> Function:
    """total(x, None, False, None) -> the sum of all elements, an array of no axes; or their mean."""
    lanes = target.float_lanes
    V = FLOAT.vector(lanes)
    builder = ArrayFunction(name, 4)
    builder.none_expected(1)
    builder.false_expected(2)
    builder.none_expected(3)
    f = builder.f
    x, _ = builder.array(0, None)
    count = builder.size(0)
    builder.at_most(count - 1, _SUMMED - 1)  # not of no elements
    made, out = builder.new()
    step = _SUMS * lanes
    whole = count & -step
    with f.loop(0, whole, step, carried=[f.value(0.0, V)] * _SUMS) as loop:
        loop.carry(*(
            total + f.load(x, V, loop.index + place * lanes)
            for place, total in enumerate(loop.values)
        ))  # fmt: skip
    first, second, third, fourth = loop.results
    total = (first + second) + (third + fourth)
    with f.loop(whole, count, lanes, carried=[total]) as loop:
        mask = f.mask_below(count - loop.index, lanes)
        loop.carry(loop.values[0] + f.masked_load(x, mask, V, 0.0, loop.index))
    total = f.fold_lanes(loop.results[0], lambda a, b: a + b)
    f.store(total / f.convert(count, FLOAT) if mean else total, out)
    return builder.finish(made)


class _Rows:
    """The rows of an array of floats, along its last axis, which are walked along in vectors."""

    def __init__(self, builder: ArrayFunction, number: int, lanes: int, ndim: int | None = None):
        self.f, self.lanes = builder.f, lanes
        self.vector = FLOAT.vector(lanes)
        self.data, _ = builder.array(number, ndim)
        elements = builder.size(number)
        builder.at_most(elements - 1, ELEMENTS - 1)  # not of no elements
        self.length = builder.last(number)
        self.count = elements / self.length

    def walk(self, start: Value, step, first=()):
        """`step(place, mask, values)` for every vector of a row that begins at `start`."""
        f = self.f
        carried = [f.value(each, self.vector) for each in first]
        with f.loop(0, self.length, self.lanes, carried=carried) as loop:
            mask = f.mask_below(self.length - loop.index, self.lanes)
            loop.carry(*step(start + loop.index, mask, loop.values))
        return loop.results

    def load(self, place, mask, data=None, other=0.0) -> Value:
        return self.f.masked_load(data or self.data, mask, self.vector, other, place)

    def largest(self, start) -> Value:
        """The largest number of a row, in every lane."""
        f = self.f

        def larger(a, b):
            return f.select(f.compare("ogt", a, b), a, b)

        def step(place, mask, values):
            return (larger(self.load(place, mask, other=float("-inf")), values[0]),)

        (found,) = self.walk(start, step, [float("-inf")])
        return f.broadcast(f.fold_lanes(found, larger), self.lanes)

    def total(self, start, term) -> Value:
        """The sum of `term(place, mask)` along a row, in every lane; lanes beyond it must be 0."""
        f = self.f
        (found,) = self.walk(
            start, lambda place, mask, values: (values[0] + term(place, mask),), [0.0]
        )
        return f.broadcast(f.fold_lanes(found, lambda a, b: a + b), self.lanes)

    def powers(self, top, place, mask) -> Value:
        """exp(x - top), 0 beyond the row."""
        x = self.load(place, mask, other=float("-inf"))
        return vector_math.apply(self.f, "exp", x - top)


def _softmax(name, logarithm, target) -> Function:
    """softmax(x (..., C), -1) -> exp(x) / sum(exp(x)) along the rows, or its logarithm."""
    builder = ArrayFunction(name, 2)
    f, x = builder.f, _Rows(builder, 0, target.float_lanes)
    builder.last_axis_expected(1, 0)
    made, out = builder.new_like(0)

    def write(start, value):
        def step(place, mask, values):
            f.masked_store(value(place, mask), out, mask, place)
            return ()

        x.walk(start, step)

    with f.loop(0, x.count) as row:
        start = row.index * x.length
        top = x.largest(start)

        def power(place, mask, top=top):
            found = x.powers(top, place, mask)
            if not logarithm:
                f.masked_store(found, out, mask, place)
            return found

        total = x.total(start, power)
        if logarithm:
            shift = vector_math.apply(f, "log", total)
            write(start, lambda place, mask: x.load(place, mask) - top - shift)
        else:
            share = 1.0 / total
            write(start, lambda place, mask: x.load(place, mask, out) * share)
    return builder.finish(made)


def _backward(name, logarithm, target) -> Function:
    """softmax_backward(g (..., C), out (..., C), -1) -> g out - out sum(g out); of the logarithm
    g - exp(out) sum(g)."""
    builder = ArrayFunction(name, 3)
    f, g = builder.f, _Rows(builder, 0, target.float_lanes)
    builder.last_axis_expected(2, 0)
    values, _ = builder.array(1, None)
    builder.same_shape(0, 1)
    made, result = builder.new_like(0)

    def weighted(place, mask):
        found = g.load(place, mask)
        return found if logarithm else found * g.load(place, mask, values)

    with f.loop(0, g.count) as row:
        start = row.index * g.length
        total = g.total(start, weighted)

        def step(place, mask, carried, total=total):
            out = g.load(place, mask, values)
            factor = vector_math.apply(f, "exp", out) if logarithm else out
            f.masked_store(weighted(place, mask) - factor * total, result, mask, place)
            return ()

        g.walk(start, step)
    return builder.finish(made)


def _class(f: Function, numbers: Value, row: Value, classes: Value) -> Value:
    """The class number of a row, wrapped around."""
    number = f.load(numbers, I64, row) % classes
    return f.select(f.compare("slt", number, 0), number + classes, number)


def _cross_entropy(target) -> Function:
    """cross_entropy(rows (M, C), target (M)) -> losses (M), maxima (M, 1), logarithms of the sums of
    exponentials (M, 1), as kernels/fused/cross_entropy.py has them."""
    builder = ArrayFunction("cross_entropy", 2)
    f, x = builder.f, _Rows(builder, 0, target.float_lanes, 2)
    numbers, (count,) = builder.array(1, 1, "int64")
    builder.equal(count, x.count)
    losses, loss = builder.new(x.count)
    largest, tops = builder.new(x.count, 1)
    logs, totals = builder.new(x.count, 1)
    with f.loop(0, x.count) as row:
        start = row.index * x.length
        top = x.largest(start)
        total = x.total(start, lambda place, mask: x.powers(top, place, mask))
        log_total = f.extract(vector_math.apply(f, "log", total), 0)
        highest = f.extract(top, 0)
        picked = f.load(x.data, FLOAT, start + _class(f, numbers, row.index, x.length))
        f.store(log_total - (picked - highest), loss, row.index)
        f.store(highest, tops, row.index)
        f.store(log_total, totals, row.index)
    return builder.finish(builder.pack(losses, largest, logs))


def _cross_entropy_backward(target) -> Function:
    """cross_entropy_backward(rows (M, C), target (M), maxima (M, 1), logarithms (M, 1), share ()) ->
    (softmax(rows) - one-hot targets) share."""
    builder = ArrayFunction("cross_entropy_backward", 5)
    f, x = builder.f, _Rows(builder, 0, target.float_lanes, 2)
    numbers, (count,) = builder.array(1, 1, "int64")
    tops, (tops_count, tops_width) = builder.array(2, 2)
    logs, (logs_count, logs_width) = builder.array(3, 2)
    share, _ = builder.array(4, 0)
    for size in (count, tops_count, logs_count):
        builder.equal(size, x.count)
    for width in (tops_width, logs_width):
        builder.equal(width, f.value(1, I64))
    made, out = builder.new_like(0)
    part = f.load(share, FLOAT)
    with f.loop(0, x.count) as row:
        start = row.index * x.length
        top = f.broadcast(f.load(tops, FLOAT, row.index), x.lanes)
        log_total = f.broadcast(f.load(logs, FLOAT, row.index), x.lanes)
        factor = vector_math.apply(f, "exp", -log_total) * f.broadcast(part, x.lanes)

        def step(place, mask, carried, top=top, factor=factor):
            f.masked_store(x.powers(top, place, mask) * factor, out, mask, place)
            return ()

        x.walk(start, step)
        place = start + _class(f, numbers, row.index, x.length)
        f.store(f.load(out, FLOAT, place) - part, out, place)
    return builder.finish(made)
