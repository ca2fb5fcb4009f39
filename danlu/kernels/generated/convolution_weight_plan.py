"""What the gradient of a convolution's weight computes, tile by tile.

It is a sum over pixels of products between the input and the result's gradient. One of the two
gives the lanes of the register tiles, and is written as pixels of one panel each; the other gives
the scalars, one plane a row, and is read in place:

- lanes over input channels, rows over output channels, one list of pixels a tap of the kernel;
- lanes over output channels, rows over (input channel, tap), one list of pixels for all: for few
  input channels. The input has its padding then.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from danlu.kernels.generated.convolution_plan import TASKS, Settings, reads
from danlu.kernels.generated.convolution_tiles import cover

__all__ = ["Reduction", "by_entries", "by_taps"]

# Pixels that a tile sums up before the next tile gets them: 256 pixels of a panel of 16 are half of
# a first level cache of 32 KB, and loading and storing the sums costs a fiftieth.
PIXELS = 256
# What all partial sums may take together.
PARTIAL_BYTES = 1 << 23
# With few taps a task takes several panels, if their pixels fit into a second level cache: scalars
# are read once for all of them (a 1 x 1 convolution of 256 channels takes half the time).
PANELS_PER_TASK = 8
FEW_TAPS = 3
PIXELS_BYTES = 1 << 18
# Row tiles that go over all taps before the next ones: 48 planes of 256 pixels are 48 KB.
TILES = 8


class Reduction(NamedTuple):
    """The tables of one shape, all of int32.

    Attributes:
        together: images whose pixels are at hand at a time.
        chunk, chunks: images of one partial sum, and how many partial sums there are.
        panels: of a task.
        blocks: (first list, lists) each, of pixels that are done before the next: those for
            `together` images, then those for what is left over.
        whole, rest: how many blocks of each.
        lists: (shift, first step, steps, first scalar, first vector) each.
        steps: (scalar, vector) each, relative to the list's first.
        sections: (rows, first tile, tiles) each.
        tiles: the table of `convolution_tiles.cover`.
        rows: of all tiles.
        shifts: how many separate sums every row has.
    """

    together: int
    chunk: int
    chunks: int
    panels: int
    blocks: np.ndarray
    whole: int
    rest: int
    lists: np.ndarray
    steps: np.ndarray
    sections: np.ndarray
    tiles: np.ndarray
    rows: int
    shifts: int


def by_taps(
    settings: Settings, images: int, outputs: int, group_outputs: int, panels: int, rows: int,
    width: int,
) -> Reduction:  # fmt: skip
    """Lanes over the input's channels, rows over the `group_outputs` planes of the gradient.

    Args:
        settings: of the convolution.
        images, outputs: of the gradient.
        panels: how many panels the input's channels fill.
        rows, width: of a register tile.
    """
    sizes, positions = settings.sizes, settings.positions
    area, plane = math.prod(positions), math.prod(sizes)
    leading, *others = reads(settings)

    def pairs(start, stop, tap, count):
        where, at = _reading(leading, tap[0], slice(start, stop))
        places = [(where + start, at)] + [
            _reading(dimension, t) for dimension, t in zip(others, tap[1:], strict=True)
        ]
        scalars = np.arange(count) * (outputs * area)
        vectors = np.arange(count) * plane
        for n, (where, at) in enumerate(places):
            scalars = np.add.outer(scalars, where * math.prod(positions[n + 1 :])).ravel()
            vectors = np.add.outer(vectors, at * math.prod(sizes[n + 1 :])).ravel()
        return scalars, vectors * width

    return _reduction(
        positions, plane, images, panels, pairs, list(np.ndindex(*settings.kernel)),
        np.arange(group_outputs) * area, rows, width,
    )  # fmt: skip


def by_entries(
    settings: Settings, images: int, channels: int, groups: int, panels: int, rows: int, width: int
) -> Reduction:
    """Lanes over the gradient's channels, rows over the channels and taps of the padded input.

    Args:
        settings: of the convolution of the padded input.
        images, channels, groups: of the input.
        panels: how many panels the gradient's channels fill.
        rows, width: of a register tile.
    """
    sizes, positions = settings.sizes, settings.positions
    area, plane = math.prod(positions), math.prod(sizes)
    steps = [math.prod(sizes[n + 1 :]) for n in range(len(sizes))]

    def pairs(start, stop, _, count):
        scalars = np.arange(count) * (channels * plane)
        spans = [np.arange(start, stop), *map(np.arange, positions[1:])]
        for span, s, step in zip(spans, settings.stride, steps, strict=True):
            scalars = np.add.outer(scalars, span * (s * step)).ravel()
        inner = area // positions[0]
        within = np.arange(start * inner, stop * inner)
        vectors = np.add.outer(np.arange(count) * area, within).ravel()
        return scalars, vectors * width

    offsets = np.arange(channels // groups) * plane
    for k, d, step in zip(settings.kernel, settings.dilation, steps, strict=True):
        offsets = np.add.outer(offsets, np.arange(k) * (d * step)).ravel()
    return _reduction(positions, area, images, panels, pairs, [None], offsets, rows, width)


def _reading(dimension, tap, among=slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Which of some positions read a tap, and where."""
    (where,) = np.nonzero(dimension.valid[among, tap])
    return where, dimension.source[among, tap][where]


def _reduction(positions, plane, images, panels, pairs, taps, row_offsets, rows, width):
    area, shifts = math.prod(positions), len(taps)
    inner = area // positions[0]
    together = max(1, min(images, PIXELS // area))
    band = positions[0] if together > 1 else max(1, PIXELS // inner)
    panels_per_task = 1
    if shifts <= FEW_TAPS:
        fitting = PIXELS_BYTES // (together * plane * width * 4)
        panels_per_task = max(1, min(PANELS_PER_TASK, panels, fitting))
    partial = panels * shifts * len(row_offsets) * width * 4
    turns = -(-images // together)
    wanted = -(-TASKS // -(-panels // panels_per_task))
    chunk = -(-turns // min(wanted, turns, max(1, PARTIAL_BYTES // partial))) * together
    collected = _Lists()
    counts = []
    for count in (together, images % together):
        before = len(collected.blocks)
        for start in range(0, positions[0], band) if count else ():
            stop = min(start + band, positions[0])
            collected.block(
                (shift, *pairs(start, stop, tap, count)) for shift, tap in enumerate(taps)
            )
        counts.append(len(collected.blocks) - before)
    count = len(row_offsets)
    kinds, tiles = cover(row_offsets, np.arange(count) * width, rows)
    first, sections = 0, []
    for tile_rows, number in kinds:
        starts = range(0, number, TILES)
        sections += [(tile_rows, first + n, min(TILES, number - n)) for n in starts]
        first += number
    return Reduction(
        together, chunk, -(-images // chunk), panels_per_task,
        np.array(collected.blocks, np.int32), *counts,
        np.array(collected.lists, np.int32).reshape(-1, 5),
        np.concatenate([*collected.steps, np.zeros((1, 2), np.int32)]),
        np.array(sections, np.int32), tiles, count, shifts,
    )  # fmt: skip


class _Lists:
    """Collects blocks of lists of steps, each list of steps once."""

    def __init__(self):
        self.blocks: list[tuple[int, int]] = []
        self.lists: list[tuple[int, ...]] = []
        self.steps: list[np.ndarray] = []
        self._known: dict[bytes, int] = {}
        self._total = 0

    def block(self, lists) -> None:
        """A block of (shift, scalars, vectors); what is empty is left out."""
        before = len(self.lists)
        for shift, scalars, vectors in lists:
            if len(scalars):
                first = int(scalars[0]), int(vectors[0])
                table = np.stack([scalars - first[0], vectors - first[1]], 1).astype(np.int32)
                self.lists.append((shift, self._place(table), len(table), *first))
        self.blocks.append((before, len(self.lists) - before))

    def _place(self, table) -> int:
        place = self._known.setdefault(table.tobytes(), self._total)
        if place == self._total:
            self.steps.append(table)
            self._total += len(table)
        return place
