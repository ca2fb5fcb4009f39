"""What a convolution computes, tile by tile: tables that its kernels follow.

Along every dimension each output position reads some taps of the kernel, each at a source position.
This says all about stride, padding, dilation and direction: the same tables drive a convolution and
its adjoint, the gradient of the input. Positions that read the same taps form a class; pixels of
one class, of one image or of several, share register tiles, and taps outside the image cost
nothing.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from danlu.kernels.generated.convolution_tiles import cover, split

__all__ = ["TASKS", "Gather", "Reads", "Settings", "gather", "reads", "rows_of_tap"]

# What a task keeps at hand, and so how many images or rows it takes. Of its source: half of a
# second level cache of 512 KB; the other half holds a panel of weights. When planes are read in
# place, of its results: half of a first level cache, for with few channels they are most of the
# traffic.
SOURCE_BYTES = 1 << 18
RESULT_BYTES = 1 << 14
# Pixels of so many channels (or a multiple) get a cache line between them, and packed weights of so
# many a row between taps: what is a power of two apart shares few places in a cache (a 1 x 1
# convolution of 1024 channels is 5% slower).
CROWDED_CHANNELS = 256
CACHE_LINE = 16
# Tasks to aim for: eight for each of two threads, so that an uneven end costs a sixteenth.
TASKS = 16


class Settings(NamedTuple):
    """The spatial side of a convolution (`adjoint`: of the gradient of its input).

    Attributes:
        sizes, positions: of the source and of the result.
        before: padding in front.
    """

    sizes: tuple[int, ...]
    positions: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    dilation: tuple[int, ...]
    adjoint: bool = False


class Reads(NamedTuple):
    """What the positions of a result read along one dimension.

    Attributes:
        taps: the taps, in the order of the columns of the others: sources ascend.
        valid: whether position p reads tap `taps[n]`.
        source: where it does.
    """

    taps: np.ndarray
    valid: np.ndarray
    source: np.ndarray


def reads(settings: Settings) -> list[Reads]:
    """What is read along every dimension.

    >>> first, = reads(Settings((4,), (3,), (2,), (2,), (1,), (1,)))
    >>> first.source.tolist(), first.valid.tolist()
    ([[-1, 0], [1, 2], [3, 4]], [[False, True], [True, True], [True, False]])
    """
    *dimensions, adjoint = settings
    found = []
    for size, positions, kernel, stride, before, dilation in zip(*dimensions, strict=True):
        taps, places = np.arange(kernel), np.arange(positions)[:, None]
        if adjoint:
            taps = taps[::-1]
            reached = places + before - taps * dilation
            source, valid = reached // stride, reached % stride == 0
        else:
            source, valid = places * stride + taps * dilation - before, True
        found.append(Reads(taps, valid & (source >= 0) & (source < size), source))
    return found


class Gather(NamedTuple):
    """The tables of a convolution or of its adjoint, all of int32.

    Attributes:
        tasks: (first image, images, first output, outputs, first pixel, pixels, first section,
            sections, first panel, panels) each; outputs and pixels are counted along an image's
            plane.
        sections: (rows, first tile, tiles, first step, steps) each.
        tiles: the table of `convolution_tiles.cover`.
        steps: the lists of `convolution_tiles`, one behind the other.
        pixel_floats: between two pixels.
        source_floats, result_floats: of scratch memory a thread.
    """

    tasks: np.ndarray
    sections: np.ndarray
    tiles: np.ndarray
    steps: np.ndarray
    pixel_floats: int
    source_floats: int
    result_floats: int


def gather(
    settings: Settings, images: int, channels: int, groups: int, panels: int, in_place: bool,
    rows: int, width: int,
) -> Gather:  # fmt: skip
    """The tables of one shape.

    Args:
        images, channels, groups: the source's.
        panels: how many panels (the lanes of a register tile) the outputs fill.
        in_place: the source's planes are read as they are, else pixels with all channels together.
        rows, width: of a register tile.
    """
    sizes, positions = settings.sizes, settings.positions
    inner, inner_source = math.prod(positions[1:]), math.prod(sizes[1:])
    if in_place:
        filled = math.prod(positions) * width * 4 / RESULT_BYTES
    else:
        filled = math.prod(sizes) * channels * 4 / SOURCE_BYTES
    pixel_floats = channels if channels % CROWDED_CHANNELS else channels + CACHE_LINE
    tap_rows = rows_of_tap(channels // groups)
    together, band = _cut(positions[0], images, filled)
    if settings.adjoint:  # then all bands but those at the borders read alike
        band = -(-band // settings.stride[0]) * settings.stride[0]
    builder = _Builder(settings, channels, groups, pixel_floats, tap_rows, in_place, rows, width)
    leading, *others = reads(settings)
    bands = []
    for start in range(0, positions[0], band):
        valid, source = (table[start : start + band] for table in leading[1:])
        inside = source[valid]
        low, high = (int(inside.min()), int(inside.max()) + 1) if inside.size else (0, 0)
        bands.append((start, Reads(leading.taps, valid, source - low), low, high))
    cuts = max(1, min(panels, TASKS // (len(bands) * -(-images // together))))
    tasks = []
    for first in range(0, images, together):
        count = min(together, images - first)
        for start, part, low, high in bands:
            pixels = (high - low) * inner_source
            sections = builder.sections([part, *others], count, pixels)
            panel = 0
            for panels_of_task in split(panels, -(-panels // cuts)):
                where = start * inner, len(part.valid) * inner, low * inner_source, pixels
                tasks.append((first, count, *where, *sections, panel, panels_of_task))
                panel += panels_of_task
    most_pixels = max(high - low for _, _, low, high in bands) * inner_source
    return Gather(
        np.array(tasks, np.int32),
        np.array(builder.rows_of_sections, np.int32),
        np.concatenate(builder.tables),
        np.array(builder.steps or [[0, 0, 0]], np.int32),
        pixel_floats,
        0 if in_place else together * most_pixels * pixel_floats,
        together * band * inner * width,
    )


def rows_of_tap(inner: int) -> int:
    """Rows of packed weights from one tap to the next, for so many channels of a group."""
    return inner if inner % CROWDED_CHANNELS else inner + 1


def _cut(positions: int, images: int, filled: float) -> tuple[int, int]:
    """How many images a task takes together, and how many positions of the first dimension, when
    one image fills so much of the memory that a task may have."""
    together = max(1, min(int(1 / filled), images // TASKS, 8))
    turns = -(-images // together)
    # half as many bands as would fill the tasks: rows at their edges are copied twice
    bands = max(math.ceil(filled), -(-TASKS // turns) // 2, 1)
    return together, -(-positions // min(bands, positions))


class _Builder:
    """Collects sections, tiles and steps, each kind of band and each class once."""

    def __init__(self, settings, channels, groups, pixel_floats, tap_rows, in_place, rows, width):
        sizes, kernel = settings.sizes, settings.kernel
        self.plane = math.prod(sizes)
        self.strides = [math.prod(sizes[n + 1 :]) for n in range(len(sizes))]
        self.tap_strides = [math.prod(kernel[n + 1 :]) for n in range(len(kernel))]
        # packed weights have their taps in the order of ascending sources
        self.last_tap = math.prod(kernel) - 1 if settings.adjoint else None
        self.channels, self.inner = channels, channels // groups
        self.in_place, self.rows, self.width = in_place, rows, width
        self.tap_floats = tap_rows * width
        self.pixel_step = 1 if in_place else pixel_floats
        self.steps: list[list[int]] = []
        self.tables: list[np.ndarray] = []
        self.rows_of_sections: list[tuple[int, ...]] = []
        self._tiles = 0
        self._known_steps: dict = {}
        self._known_sections: dict = {}

    def sections(self, dimensions, images, pixels) -> tuple[int, int]:
        """First section and number of sections for these reads, relative to the first pixel."""
        part = dimensions[0]
        key = part.valid.tobytes(), (part.source * part.valid).tobytes(), images, pixels
        if key not in self._known_sections:
            image_step = self.channels * self.plane if self.in_place else (pixels * self.pixel_step)
            first = len(self.rows_of_sections)
            classes = [_classes(dimension) for dimension in dimensions]
            positions = [len(dimension.valid) for dimension in dimensions]
            places = [math.prod(positions[n + 1 :]) for n in range(len(positions))]
            area = math.prod(positions)
            for parts in itertools.product(*classes):
                steps = self._steps(tuple(part[0] for part in parts))
                sources, outs = np.arange(images) * image_step, np.arange(images) * area
                for (_, where, base), stride, place in zip(
                    parts, self.strides, places, strict=True
                ):
                    sources = np.add.outer(sources, base * (stride * self.pixel_step)).ravel()
                    outs = np.add.outer(outs, where * place).ravel()
                self._cover(steps, sources, outs * self.width)
            self._known_sections[key] = first, len(self.rows_of_sections) - first
        return self._known_sections[key]

    def _cover(self, steps, sources, outs) -> None:
        """Tiles over the pixels of one class."""
        sections, table = cover(sources, outs, self.rows)
        for rows, tiles in sections:
            self.rows_of_sections.append((rows, self._tiles, tiles, *steps))
            self._tiles += tiles
        self.tables.append(table)

    def _steps(self, taps) -> tuple[int, int]:
        """First step and number of steps of a class: its taps, times the channels of a group."""
        if taps not in self._known_steps:
            runs: list[list[int]] = []
            for combination in itertools.product(*taps):
                tap = sum(t * s for (t, _), s in zip(combination, self.tap_strides, strict=True))
                tap = tap if self.last_tap is None else self.last_tap - tap
                place = sum(at * s for (_, at), s in zip(combination, self.strides, strict=True))
                run = [place * self.pixel_step, tap * self.tap_floats, self.inner]
                if runs and self._follows(runs[-1], run):
                    runs[-1][2] += self.inner
                else:
                    runs.append(run)
            if self.in_place:
                runs = [
                    [place + c * self.plane, weight + c * self.width]
                    for place, weight, _ in runs
                    for c in range(self.inner)
                ]
            self._known_steps[taps] = len(self.steps), len(runs)
            self.steps += runs
        return self._known_steps[taps]

    def _follows(self, before, run) -> bool:
        length = before[2]
        return (
            not self.in_place
            and run[0] == before[0] + length
            and run[1] == before[1] + length * self.width
        )


def _classes(dimension: Reads) -> list:
    """Positions by the taps that they read: (taps with sources relative to the first, positions,
    first sources)."""
    found = []
    # one 64-bit number a position (with more taps, the slower way to sort rows)
    bits = np.packbits(dimension.valid, axis=1)
    if bits.shape[1] <= 8:
        bits = np.pad(bits, ((0, 0), (0, 8 - bits.shape[1]))).view(np.uint64)
    axis = 0 if bits.shape[1] > 1 else None
    _, firsts, members = np.unique(bits, axis=axis, return_index=True, return_inverse=True)
    for number, kind in enumerate(dimension.valid[firsts]):
        (where,) = np.nonzero(members.ravel() == number)
        sources = dimension.source[where][:, kind]
        base = sources[:, 0] if kind.any() else np.zeros(len(where), np.int64)
        relative = (sources[0] - base[0]).tolist()
        found.append((tuple(zip(dimension.taps[kind].tolist(), relative)), where, base))
    return found
