"""How a matrix product is cut into blocks and tasks, which follows from its shape alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from danlu.kernels.generated.matmul import GROUP

__all__ = ["Cut", "blas_cut", "plan"]


class Cut(NamedTuple):
    """Attributes:
    block_rows, block_columns: of C in a block.
    part, parts: depth of a block, and how many such results are added up.
    row_blocks, column_blocks, blocks: how many blocks there are along C, and in all.
    together, tasks: how many blocks a task computes, and how many tasks there are.
    """

    block_rows: int
    block_columns: int
    part: int
    parts: int
    row_blocks: int
    column_blocks: int
    blocks: int
    together: int
    tasks: int


# Costs are in multiplications, of which a core does 45,000 a us.
_TASK_WORK = 1 << 19  # that are worth a task: 10 us
_PART = 512  # shortest depth of a task
_BLOCKS = 1, 2, 4, 8, 16, 32, 64  # rows and columns of a block, in units
_MOST_PARTS = 64
# Machines that a product is cut for: threads, and how much they count. Cutting into eight blocks
# instead of four then may cost 2.5 % of the time, which is more than it does from 1024 a side on.
_MACHINES = (1, 3), (2, 3), (4, 1), (8, 1)
_ADD = 24  # to add up an element of a part, which one thread does alone


# ---------------------------------------------------------------- blocks by BLAS
# What OpenBLAS takes beside the multiplications, fitted to products of 32 to 2048 a side on one
# thread of a Zen 3 (2 % off on average, 8 % at worst): to pack an element of A and of B, to go over
# an element of C for every slice of the depth, and to begin. Packing counts for a third more than
# was fitted, since blocks of one product were measured to take 1 to 3 % more than that.
_BLAS_A, _BLAS_B, _BLAS_UPDATE, _BLAS_BEGIN = 6, 8, 8, 60_000
_BLAS_SLICE = 384
_BLAS_UNIT = 8  # a block's rows and columns are multiples of it, as register tiles are
_BLAS_BLOCKS = 1, 2, 3, 4, 6, 8, 16  # along C


def blas_cut(rows: int, depth: int, columns: int, batch: int) -> Cut:
    """The cheapest way to cut a product into blocks that BLAS computes."""

    def cost(cut: Cut) -> float:
        rows, columns, part = cut.block_rows, cut.block_columns, cut.part
        packing = (_BLAS_A * rows + _BLAS_B * columns) * part
        updates = _BLAS_UPDATE * rows * columns * -(-part // _BLAS_SLICE)
        return rows * columns * part + packing + updates + _BLAS_BEGIN

    lengths = (
        {-(-length // (_BLAS_UNIT * blocks)) * _BLAS_UNIT for blocks in _BLAS_BLOCKS}
        for length in (rows, columns)
    )
    return _cheapest(_cuts(rows, depth, columns, batch, *lengths), rows * columns * batch, cost)


# ---------------------------------------------------------------- generated blocks
# To pack an element of A, of B by turning squares or by copying, or a row of B; to go over an
# element of C once more; to begin a block.
_PACK, _TURN, _COPY, _ROW, _UPDATE, _BEGIN = 24, 8, 6, 400, 6, 20_000
_PACKED_BYTES = 160 << 10  # of A in a block, which should stay in the L2 cache


def plan(
    tile_rows, width, size, rows, depth, columns, batch, packs_a, longest, turns_b
) -> tuple[Cut, int, int]:
    """The cheapest of some hundred ways to cut.

    Args:
        tile_rows, width: of a register tile.
        size: bytes of an element.
        rows, depth, columns, batch: of the product.
        packs_a: whether A is packed.
        longest: the longest depth for which B is packed at a time.
        turns_b: whether packing B means turning it.

    Returns:
        the cut, the depth for which B is packed at a time, and the bytes of scratch for one thread.
    """

    def slice_of(cut: Cut) -> int:
        return min(cut.part, -(-cut.part // -(-cut.part // longest) // 8) * 8)

    def cost(cut: Cut) -> float:
        rows, columns, part = cut.block_rows, cut.block_columns, cut.part
        packing = (_TURN * columns if turns_b else _COPY * columns + _ROW) * part
        if packs_a:
            packing += _PACK * rows * part
        updates = -(-part // slice_of(cut)) * _UPDATE * rows * columns
        return rows * columns * part + packing + updates + _BEGIN

    row_lengths = _lengths(rows, tile_rows)
    if packs_a:
        most = _PACKED_BYTES // (longest * size)
        row_lengths = [length for length in row_lengths if length <= most]
    cuts = _cuts(rows, depth, columns, batch, row_lengths, _lengths(columns, width))
    best = _cheapest(cuts, rows * columns * batch, cost)
    slice, packed = slice_of(best), best.block_rows if packs_a else 0
    scratch = (2 * width + slice * (min(GROUP * width, best.block_columns) + packed)) * size
    return best, slice, scratch + 63 & ~63


# ---------------------------------------------------------------- both
def _lengths(length: int, unit: int) -> list[int]:
    """Lengths of blocks: nearly equal ones of at most some number of units."""
    most = -(-length // unit)
    return sorted({-(-most // -(-most // units)) * unit for units in _BLOCKS})


def _cuts(
    rows: int,
    depth: int,
    columns: int,
    batch: int,
    row_lengths: Iterable[int],
    column_lengths: Collection[int],
) -> Iterator[Cut]:
    """All cuts into blocks of such lengths, and into 1, 2, 4, ... parts of the depth."""
    for block_rows in row_lengths:
        for block_columns in column_lengths:
            row_blocks, column_blocks = -(-rows // block_rows), -(-columns // block_columns)
            most = min(depth // _PART, _MOST_PARTS // (row_blocks * column_blocks * batch))
            for doubled in range(max(1, most).bit_length()):
                part = -(-depth // (8 << doubled)) * 8 if doubled else depth
                parts = -(-depth // part)
                blocks = batch * row_blocks * column_blocks * parts
                work = block_rows * block_columns * part
                together = max(1, min(_TASK_WORK // work, blocks))
                yield Cut(
                    block_rows, block_columns, part, parts, row_blocks, column_blocks, blocks,
                    together, -(-blocks // together),
                )  # fmt: skip


def _cheapest(cuts: Iterable[Cut], elements: int, block_cost: Callable[[Cut], float]) -> Cut:
    """What takes the least time, summed over the machines, for so many elements of C."""

    def cost(cut: Cut) -> float:
        task = block_cost(cut) * cut.together
        adding = _ADD * elements * cut.parts if cut.parts > 1 else 0
        return sum(
            count * (-(-cut.tasks // threads) * task + adding) for threads, count in _MACHINES
        )

    return min(cuts, key=cost)
