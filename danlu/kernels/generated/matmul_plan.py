"""How a matrix product is cut into tasks and blocks, which follows from its shape alone."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from danlu.kernels.generated.matmul import GROUP

__all__ = ["Plan", "plan"]


class Plan(NamedTuple):
    """Attributes:
    block_rows, block_columns: of C in a block.
    slice: depth for which B is packed at a time.
    part, parts: depth of a block, and how many such results are added up.
    blocks, together, tasks: how many blocks, how many a task computes, and how many tasks.
    scratch: bytes for one thread.
    """

    block_rows: int
    block_columns: int
    slice: int
    part: int
    parts: int
    blocks: int
    together: int
    tasks: int
    scratch: int


# What a plan costs, in multiplications (a core does 45,000 a us): to pack an element of A, or of B by turning
# squares or by copying, to go over an element of C once more, to begin a block.
_PACK, _TURN, _COPY, _ROW, _UPDATE, _BEGIN = 24, 8, 6, 400, 6, 20_000
_TASK_WORK = 1 << 19  # multiplications that are worth a task: 10 us
_PART = 512  # shortest depth of a task
_PACKED_BYTES = 160 << 10  # of A in a block, which should stay in the L2 cache
_BLOCKS = 1, 2, 4, 8, 16, 32, 64  # rows and columns of a block, in tiles
_MOST_PARTS = 64
_THREADS = 1, 2, 4, 8  # machines that a plan is made for


@lru_cache(4096)
def plan(tile_rows, width, size, rows, depth, columns, batch, packs_a, slices, turns_b) -> Plan:
    """The cheapest of some hundred ways to cut.

    Args:
        tile_rows, width: of a register tile.
        size: bytes of an element.
        rows, depth, columns, batch: of the product.
        packs_a: whether A is packed.
        slices: the longest depth for which B is packed at a time.
        turns_b: whether packing B means turning it.
    """
    found = []
    for block_rows in _cuts(rows, tile_rows):
        if packs_a and block_rows * slices * size > _PACKED_BYTES:
            continue
        for block_columns in _cuts(columns, width):
            blocks = batch * -(-rows // block_rows) * -(-columns // block_columns)
            parts = 1
            while parts == 1 or (parts * _PART <= depth and parts * blocks <= _MOST_PARTS):
                part = depth if parts == 1 else -(-depth // parts // 8) * 8
                count = -(-depth // part)
                made = _cut(block_rows, block_columns, part, count, blocks * count, slices)
                found.append((_cost(made, packs_a, turns_b), made))
                parts *= 2
    best = min(found)[1]
    packed = best.block_rows if packs_a else 0
    scratch = (2 * width + best.slice * (min(GROUP * width, best.block_columns) + packed)) * size
    return best._replace(scratch=scratch + 63 & ~63)


def _cuts(length, unit):
    """Sizes of blocks, nearly equal ones of at most some number of units."""
    most = -(-length // unit)
    return sorted({-(-most // -(-most // units)) * unit for units in _BLOCKS})


def _cut(block_rows, block_columns, part, parts, blocks, longest) -> Plan:
    slice = min(part, -(-part // -(-part // longest) // 8) * 8)
    together = max(1, min(_TASK_WORK // (block_rows * block_columns * part), blocks))
    tasks = -(-blocks // together)
    return Plan(block_rows, block_columns, slice, part, parts, blocks, together, tasks, 0)


def _cost(cut: Plan, packs_a, turns_b) -> float:
    """Multiplications, or what takes as long, that the machines would have time for."""
    rows, columns, part = cut.block_rows, cut.block_columns, cut.part
    block = rows * columns * part + _BEGIN
    block += (_TURN * columns if turns_b else _COPY * columns + _ROW) * part
    if packs_a:
        block += _PACK * rows * part
    passes = -(-part // cut.slice) + (4 if cut.parts > 1 else 0)
    block += passes * _UPDATE * rows * columns
    task = block * cut.together
    return sum(-(-cut.tasks // threads) * threads * task for threads in _THREADS)
