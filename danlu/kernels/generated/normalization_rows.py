"""What normalisation does with one row: statistics, sums with a gradient, and the two maps back.

Each writer gives a function of the module. A mean and a sum of squares are taken of at most 4096
numbers in the first cache, around their own mean and in float32, and join the others in double
(Chan, Golub and LeVeque 1983), so that neither a large mean nor a long row costs digits.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function
from danlu.kernels.codegen.types import DOUBLE, FLOAT, I64, PTR
from danlu.kernels.generated.rows import extent, in_blocks, load, store

__all__ = ["absorb", "absorb_products", "back", "inverse_deviation", "standardize"]

# Numbers whose mean is taken in float32: 16 KB, half a first cache.
_PIECE = 4096


def _sums(f, lanes, count, number, accumulate):
    """`number` sums over a row, each as one float.

    accumulate: `accumulate(sums, index, mask)` gives the sums with one vector more.
    """
    zero = f.broadcast(0.0, lanes, FLOAT)
    whole, many = count - count % lanes, count - count % (4 * lanes)
    # four sums side by side hide the four cycles that an addition takes
    with f.loop(0, many, 4 * lanes, carried=[zero] * (4 * number)) as loop:
        sums = []
        for part in range(4):
            values = loop.values[part * number : (part + 1) * number]
            sums += accumulate(values, loop.index + part * lanes, None)
        loop.carry(*sums)
    parts = [loop.results[part * number : (part + 1) * number] for part in range(4)]
    joined = [(a + b) + (c + d) for a, b, c, d in zip(*parts, strict=True)]
    with f.loop(many, whole, lanes, carried=joined) as loop:
        loop.carry(*accumulate(loop.values, loop.index, None))
    joined = loop.results

    def rest():
        return accumulate(joined, whole, f.mask_below(count - whole, lanes))

    joined = f.either(f.compare("slt", whole, count), rest, lambda: joined)
    return [f.fold_lanes(total, lambda a, b: a + b) for total in joined]


def absorb(target):
    """absorb(x, count, state): a row joins the (count, mean, sum of squared deviations) at
    `state`, three doubles."""
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function("absorb", [("x", PTR), ("count", I64), ("state", PTR)], internal=True,
                 noinline=True)  # fmt: skip
    x, count, state = f.parameters
    before = [f.load(state, DOUBLE, n) for n in range(3)]
    with f.loop(0, count, _PIECE, carried=before) as piece:
        length = f.minimum(count - piece.index, _PIECE)
        row = f.at(x, piece.index, FLOAT)
        new = f.convert(length, DOUBLE)
        inverse = f.value(1.0, DOUBLE) / new

        def add(sums, index, mask):
            return [sums[0] + load(f, row, vector, index, mask)]

        mean = f.convert(_sums(f, lanes, length, 1, add)[0], DOUBLE) * inverse
        around = f.broadcast(f.convert(mean, FLOAT), lanes)
        # around the rounded mean, by which the deviations are taken
        mean = f.convert(f.convert(mean, FLOAT), DOUBLE)

        def add_squares(sums, index, mask):
            apart = load(f, row, vector, index, mask) - around
            if mask is not None:
                apart = f.select(mask, apart, 0.0)
            return [sums[0] + apart, f.fma(apart, apart, sums[1])]

        off, squares = (f.convert(s, DOUBLE) for s in _sums(f, lanes, length, 2, add_squares))
        # the deviations add up to what rounding took off the mean
        off = off * inverse
        mean, squares = mean + off, squares - off * off * new
        known, old_mean, old_squares = piece.values
        total = known + new
        step = mean - old_mean
        share = new / total
        piece.carry(
            total, old_mean + step * share, old_squares + (squares + step * step * (known * share))
        )
    for n, value in enumerate(piece.results):
        f.store(value, state, n)
    f.ret()
    return f


def absorb_products(target):
    """absorb_products(g, x, count, mean, sums): adds the sums of g and of g (x - mean) to the two
    doubles at `sums`."""
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function(
        "absorb_products",
        [("g", PTR), ("x", PTR), ("count", I64), ("mean", FLOAT), ("sums", PTR)],
        internal=True, noinline=True,
    )  # fmt: skip
    g, x, count, mean, sums = f.parameters
    around = f.broadcast(mean, lanes)
    with f.loop(0, count, _PIECE, carried=[f.load(sums, DOUBLE, n) for n in range(2)]) as piece:
        length = f.minimum(count - piece.index, _PIECE)
        g_row, x_row = f.at(g, piece.index, FLOAT), f.at(x, piece.index, FLOAT)

        def add(sums, index, mask):
            g = load(f, g_row, vector, index, mask)
            apart = load(f, x_row, vector, index, mask) - around
            if mask is not None:
                apart = f.select(mask, apart, 0.0)
            return [sums[0] + g, f.fma(g, apart, sums[1])]

        new = [f.convert(each, DOUBLE) for each in _sums(f, lanes, length, 2, add)]
        piece.carry(*[old + each for old, each in zip(piece.values, new, strict=True)])
    for n, value in enumerate(piece.results):
        f.store(value, sums, n)
    f.ret()
    return f


def standardize(target):
    """standardize(x, out, count, mean, scale, shift): out = (x - mean) scale + shift."""
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function(
        "standardize",
        [("x", PTR), ("out", PTR), ("count", I64), ("mean", FLOAT), ("scale", FLOAT),
         ("shift", FLOAT)],
        internal=True, noinline=True,
    )  # fmt: skip
    x, out, count = f.parameters[:3]
    mean, scale, shift = (f.broadcast(each, lanes) for each in f.parameters[3:])

    def write(index, mask):
        apart = load(f, x, vector, index, mask) - mean
        store(f, f.fma(apart, scale, shift), out, index, mask)

    in_blocks(f, extent(f, count, lanes), write)
    f.ret()
    return f


def back(target):
    """back(g, x, dx, count, mean, slope, turn, shift): dx = slope g + turn (x - mean) + shift."""
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function(
        "back",
        [("g", PTR), ("x", PTR), ("dx", PTR), ("count", I64), ("mean", FLOAT), ("slope", FLOAT),
         ("turn", FLOAT), ("shift", FLOAT)],
        internal=True, noinline=True,
    )  # fmt: skip
    g, x, dx, count = f.parameters[:4]
    mean, slope, turn, shift = (f.broadcast(each, lanes) for each in f.parameters[4:])

    def write(index, mask):
        turned = f.fma(turn, load(f, x, vector, index, mask) - mean, shift)
        store(f, f.fma(slope, load(f, g, vector, index, mask), turned), dx, index, mask)

    in_blocks(f, extent(f, count, lanes), write)
    f.ret()
    return f


def inverse_deviation(f, squares, count, eps):
    """1 / sqrt(squares / count + eps), in double."""
    return f.value(1.0, DOUBLE) / f.intrinsic("sqrt", squares / count + eps)
