"""Products of a matrix and a vector, which are bound by memory: the matrix is read once, in its
order.

Both kernels give y of `length` elements, sums over `depth`. A task computes `block` elements over
`part` of the depth; what several tasks add up goes into rows of y, `length` apart.
"""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I64, PTR, Type

__all__ = ["ARGUMENTS", "write_dots", "write_sums"]

# Rows of the matrix are contiguous and `stride` elements apart.
ARGUMENTS = ("matrix", "x", "y", "length", "depth", "stride", "x_step", "block", "part")
_ADDRESSES = 3
_UNROLLED = 8  # vectors of sums at a time


def write_dots(type: Type, target: targets.Target | None = None) -> str:
    """`y[i] = sum_k matrix[i, k] x[k]`, x contiguous."""
    lanes = (target or targets.host()).lanes(type)
    vector = type.vector(lanes)
    f, given, (row_block, part) = _begin(type)
    first, stop = row_block
    start, end = part
    stride = given["stride"]
    matrix, x = f.at(given["matrix"], start, type), f.at(given["x"], start, type)
    depth = end - start
    whole = depth - depth % lanes
    mask = f.mask_below(depth - whole, lanes)
    zero = f.broadcast(0.0, lanes, type)

    def dots(row, count):
        """Vectors whose lanes add up to the dot products of `count` rows."""
        rows = [f.at(matrix, (row + n) * stride, type) for n in range(count)]
        with f.loop(0, whole, lanes, carried=[zero] * count) as loop:
            factor = f.load(x, vector, loop.index)
            sums = zip(rows, loop.values, strict=True)
            loop.carry(*(f.fma(f.load(r, vector, loop.index), factor, v) for r, v in sums))
        factor = f.masked_load(x, mask, vector, 0, whole)
        sums = zip(rows, loop.results, strict=True)
        return [f.fma(f.masked_load(r, mask, vector, 0, whole), factor, v) for r, v in sums]

    full = stop - (stop - first) % lanes
    with f.loop(first, full, lanes) as loop:
        f.store(_lane_sums(f, dots(loop.index, lanes)), given["y"], loop.index)
    with f.loop(full, stop) as loop:
        [sums] = dots(loop.index, 1)
        f.store(f.fold_lanes(sums, lambda a, b: a + b), given["y"], loop.index)
    f.ret()
    return Module(f).text()


def _lane_sums(f: Function, vectors: list[Value]) -> Value:
    """The vector whose lane i is the sum of the lanes of the i-th vector: neighbours are added up
    in pairs of vectors."""
    lanes = vectors[0].type.lanes
    even, odd = range(0, 2 * lanes, 2), range(1, 2 * lanes, 2)
    while len(vectors) > 1:
        pairs = zip(vectors[0::2], vectors[1::2], strict=True)
        vectors = [f.shuffle(a, b, even) + f.shuffle(a, b, odd) for a, b in pairs]
    return vectors[0]


def write_sums(type: Type, target: targets.Target | None = None) -> str:
    """`y[i] = sum_k x[k] matrix[k, i]`, elements of x `x_step` apart."""
    lanes = (target or targets.host()).lanes(type)
    vector = type.vector(lanes)
    f, given, (column_block, part) = _begin(type)
    start, end = part
    zero = f.broadcast(0.0, lanes, type)

    def columns(place, count, load):
        """The sums of `count` vectors of columns from `place` on, of several rows at a time where
        there are few: additions that wait for each other would take four cycles each."""
        rows_at_once = _UNROLLED // 2 // count or 1

        def added(first_row, sums):
            made = []
            for n in range(len(sums) // count):
                row = f.at(given["matrix"], (first_row + n) * given["stride"] + place, type)
                x = f.load(given["x"], type, (first_row + n) * given["x_step"])
                factor = f.broadcast(x, lanes)
                for column, v in enumerate(sums[n * count : (n + 1) * count]):
                    made.append(f.fma(factor, load(row, lanes * column), v))
            return made

        whole = end - (end - start) % rows_at_once
        with f.loop(start, whole, rows_at_once, [zero] * (rows_at_once * count)) as loop:
            loop.carry(*added(loop.index, loop.values))
        sums = loop.results[:count]
        for n in range(count, len(loop.results)):
            sums[n % count] = sums[n % count] + loop.results[n]
        with f.loop(whole, end, carried=sums) as loop:
            loop.carry(*added(loop.index, loop.values))
        return loop.results

    first, stop = column_block
    for count in (_UNROLLED, 1):
        full = stop - (stop - first) % (count * lanes)
        with f.loop(first, full, count * lanes) as loop:
            sums = columns(loop.index, count, lambda row, n: f.load(row, vector, n))
            for n, v in enumerate(sums):
                f.store(v, given["y"], loop.index + lanes * n)
        first = full
    with f.when(f.compare("slt", first, stop)):
        mask = f.mask_below(stop - first, lanes)
        [v] = columns(first, 1, lambda row, n: f.masked_load(row, mask, vector, 0, n))
        f.masked_store(v, given["y"], mask, first)
    f.ret()
    return Module(f).text()


def _begin(type: Type):
    """The task's head: its arguments, and its ranges of elements of y and of the depth."""
    f = Function.task()
    arguments, index, _ = f.parameters
    given = {
        name: f.slot(arguments, number, PTR if number < _ADDRESSES else I64)
        for number, name in enumerate(ARGUMENTS)
    }
    blocks = (given["length"] + given["block"] - 1) / given["block"]
    number = index / blocks
    given["y"] = f.at(given["y"], number * given["length"], type)
    first, start = index % blocks * given["block"], number * given["part"]
    ranges = (
        (first, f.minimum(first + given["block"], given["length"])),
        (start, f.minimum(start + given["part"], given["depth"])),
    )
    return f, given, ranges
