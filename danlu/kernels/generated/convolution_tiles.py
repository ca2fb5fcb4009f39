"""The innermost loops of convolution: one register tile of a product of scalars and vectors.

A tile accumulates a row of one or two vectors for each of its scalars: every step multiplies one
scalar a row with the same vectors. Where the scalars of a row begin is an offset of its own, so the
rows of a tile may be any pixels (or channels); which steps there are is a list, so a tile does only
what lies inside the image. The list has one of two forms:

- runs, (scalar offset, vector offset, length): both sides are read on from there, scalars one by
  one, vectors row by row. For long runs.
- pairs, (scalar offset, vector offset): one entry a step. For few channels, and for reductions over
  pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT, I32, I64, PTR, VOID

__all__ = ["Tile", "call_tiles", "cover", "offset", "tile_functions", "tile_shape"]


class Tile(NamedTuple):
    """A register tile: `rows` (at most) of `vectors` registers of `lanes` numbers."""

    rows: int
    vectors: int
    lanes: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes


def tile_shape(target, channels: int) -> Tile:
    """The tile for so many channels in the lanes.

    Two registers a row halve the broadcasts a multiplication and are a quarter faster; one register
    a row wins where a quarter or more of the lanes would be empty.
    """
    rows, vectors = target.block
    lanes = target.float_lanes
    if channels < 2 * vectors * lanes and (channels - 1) % (vectors * lanes) < lanes:
        return Tile(_NARROW_ROWS, 1, lanes)
    return Tile(rows, vectors, lanes)


# Of one register each: enough sums to hide the latency of a multiplication and a load a sum.
_NARROW_ROWS = 12


def offset(f: Function, table: Value, index=0) -> Value:
    """An entry of a table of 32-bit numbers."""
    return f.convert(f.load(table, I32, index), I64)


def split(count: int, most: int) -> list[int]:
    """`count` as a sum of as few nearly equal parts of at most `most` as possible.

    >>> split(32, 6)
    [6, 6, 5, 5, 5, 5]
    """
    parts = -(-count // most)
    return [count // parts + (n < count % parts) for n in range(parts)] if parts else []


def cover(scalars: np.ndarray, places: np.ndarray, most: int) -> tuple[list, np.ndarray]:
    """Tiles of at most `most` rows over these scalars and places of results.

    Returns:
        (rows, tiles) of those with equally many rows, in order, and the tiles' table: where the
        scalars of every row begin, then where its result goes. The last tile may do its last row
        twice.
    """
    number = len(scalars)
    if number <= _EVERY_NUMBER:
        counts = np.array(split(number, most), np.int64)
    else:
        unit = 1 if most <= _EVERY_NUMBER else 2
        counts = np.array(split(-(-number // unit), most // unit), np.int64) * unit
    chosen = (np.cumsum(counts) - counts)[:, None] + np.arange(most)
    chosen = np.minimum(chosen, number - 1)
    sections = [(int(rows), int((counts == rows).sum())) for rows in np.unique(counts)[::-1]]
    return sections, np.concatenate([scalars[chosen], places[chosen]], 1).astype(np.int32)


def _numbers_of_rows(most: int) -> list[int]:
    """The numbers of rows for which there are functions."""
    return [n for n in range(1, most + 1) if n <= _EVERY_NUMBER or n % 2 == 0]


# Above so many rows there are functions for even numbers only: they compile in two thirds of the
# time.
_EVERY_NUMBER = 6


def tile_functions(tile: Tile, form: str, accumulate: bool) -> list[Function]:
    """`tiles1`, `tiles2`, ...: by the number of rows; each does a section of the table.

    Args:
        form: "runs" or "pairs".
        accumulate: start from what is in the output, else from one row for all.
    """
    return [_tile(tile, rows, form, accumulate) for rows in _numbers_of_rows(tile.rows)]


def _tile(tile: Tile, rows: int, form: str, accumulate: bool) -> Function:
    f = Function(
        f"tiles{rows}",
        [("table", PTR), ("tiles", I64), ("scalars", PTR), ("vectors", PTR), ("steps", PTR),
         ("count", I64), ("start", PTR), ("out", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    table, tiles, scalars, vectors, steps, count, start, out = f.parameters
    lanes, width = tile.lanes, tile.width
    vector = FLOAT.vector(lanes)
    columns = range(0, width, lanes)

    def step(sources, sums, scalar_index, vector_index):
        place = f.at(vectors, vector_index, FLOAT)
        factors = [f.load(place, vector, c) for c in columns]
        following = []
        for row, source in enumerate(sources):
            scalar = f.broadcast(f.load(source, FLOAT, scalar_index), lanes)
            following += [
                f.fma(scalar, factor, sums[row * len(factors) + n])
                for n, factor in enumerate(factors)
            ]
        return following

    with f.loop(0, tiles) as by_tile:
        entry = f.at(table, by_tile.index * (2 * tile.rows), I32)
        sources = [f.at(scalars, offset(f, entry, n), FLOAT) for n in range(rows)]
        places = [f.at(out, offset(f, entry, tile.rows + n), FLOAT) for n in range(rows)]
        starts = places if accumulate else [start] * rows
        sums = [f.load(begin, vector, c) for begin in starts for c in columns]
        if form == "pairs":
            with f.loop(0, count, carried=sums) as loop:
                pair = f.at(steps, loop.index * 2, I32)
                loop.carry(*step(sources, loop.values, offset(f, pair), offset(f, pair, 1)))
            sums = loop.results
        else:
            with f.loop(0, count, carried=sums) as by_run:
                run = f.at(steps, by_run.index * 3, I32)
                first, vector_first, length = (offset(f, run, n) for n in range(3))
                with f.loop(0, length, carried=by_run.values) as loop:
                    k = loop.index
                    loop.carry(*step(sources, loop.values, first + k, vector_first + k * width))
                by_run.carry(*loop.results)
            sums = by_run.results
        for row, place in enumerate(places):
            for n, c in enumerate(columns):
                f.store(sums[row * tile.vectors + n], place, c)
    f.ret()
    return f


def call_tiles(f: Function, tile: Tile, rows: Value, *operands: Value) -> None:
    """Call the function for so many rows."""
    for number in reversed(_numbers_of_rows(tile.rows)):
        with f.when(f.compare("eq", rows, number)):
            f.call(f"tiles{number}", VOID, *operands)
