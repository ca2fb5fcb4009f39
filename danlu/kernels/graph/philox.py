"""Philox4x32-10 as instructions: four random words of 32 bits for every block number and key
(Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, 2011)."""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import I32, I64
from danlu.kernels.fused.functions import PHILOX_FACTORS, PHILOX_ROUNDS, PHILOX_STEPS

__all__ = ["in_turn", "words"]

_LOW = 0xFFFFFFFF


def words(f: Function, blocks: Value, key: Value) -> tuple[Value, ...]:
    """The four words of each block, in the low halves of 64 bits.

    Args:
        blocks: numbers of blocks, i64 of any lane count.
        key: an i64.
    """
    lanes = blocks.type.lanes
    zero = f.value(0, blocks.type)
    # 32 bits in lanes of 64: what the processor multiplies, and both halves of the product stay
    state = [blocks & _LOW, f.op("lshr", blocks, 32), zero, zero]
    keys = [key & _LOW, f.op("lshr", key, 32)]
    for number in range(PHILOX_ROUNDS):
        high, low = [], []
        for factor, part in zip(PHILOX_FACTORS, (state[0], state[2]), strict=True):
            product = part * factor
            high.append(f.op("lshr", product, 32))
            low.append(product & _LOW)
        # masked here, where it is used, so that LLVM sees that the upper halves are 0
        first, second = (
            f.broadcast((each + step * number) & _LOW, lanes)
            for each, step in zip(keys, PHILOX_STEPS, strict=True)
        )
        state = [high[1] ^ state[1] ^ first, low[1], high[0] ^ state[3] ^ second, low[0]]
    return tuple(state)


def in_turn(f: Function, four: tuple[Value, ...]) -> Value:
    """The words of all blocks one after the other, as i32."""
    blocks = four[0].type.lanes
    # two words fill 64 bits, the first of them the low half
    pairs = [four[i] | (four[i + 1] << 32) for i in (0, 2)]
    if blocks == 1:
        both = f.insert(f.value(0, I64.vector(2)), pairs[0], 0)
        both = f.insert(both, pairs[1], 1)
    else:
        order = [lane for block in range(blocks) for lane in (block, blocks + block)]
        both = f.shuffle(pairs[0], pairs[1], order)
    return f.bitcast(both, I32.vector(4 * blocks))
