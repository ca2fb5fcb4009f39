"""The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998) as vectors, and the frame of every
kernel that turns its words into numbers.

The words before tempering obey one recurrence, x[i + 624] = f(x[i], x[i + 1], x[i + 397]). It is
written into a buffer that goes on without wrapping round, so that a vector of 16 words is three
loads and nine operations (0.2 ns a word; one at a time they take 2 to 3), and numbers
that take several words find them side by side wherever the state stood. Tempering is left to the
conversions, which are independent of each other: while one thread goes on with the recurrence,
the others convert the words of the chunk before.
"""

from __future__ import annotations

from collections.abc import Callable

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.types import I32, I64, PTR, VOID

__all__ = ["ARGUMENTS", "PADDING", "STATE_WORDS", "TURN", "module", "tempered"]

STATE_WORDS = 624
_SHIFTED_BY = 397
_UPPER, _TWIST = 0x80000000, 0x9908B0DF
# Words of a turn of the recurrence's loop: 624 = 39 * 16, and no fewer than a vector.
TURN = 16
# Conversions read whole vectors, the last one so many words beyond the end at most.
PADDING = 64
# Slots before the conversion's own: state, buffer; words of a chunk, numbers, slices of a chunk.
ARGUMENTS = 5


def tempered(f: Function, words: Value) -> Value:
    """The stream's words from the state's."""
    words = words ^ f.op("lshr", words, 11)
    words = words ^ ((words << 7) & 0x9D2C5680)
    words = words ^ ((words << 15) & 0xEFC60000)
    return words ^ f.op("lshr", words, 18)


def _copy(f, source, source_index, target, target_index=0):
    """624 words from one place to another that it does not overlap."""
    vector = I32.vector(TURN)
    with f.loop(0, STATE_WORDS, TURN) as loop:
        words = f.load(source, vector, loop.index + source_index)
        f.store(words, target, loop.index + target_index)


def _twist() -> Function:
    """Go on with the recurrence for `count` words, a multiple of TURN, behind the 624 at
    `words`."""
    f = Function("twist", [("words", PTR), ("count", I64)], internal=True, noinline=True)
    words, count = f.parameters
    vector = I32.vector(TURN)
    with f.loop(0, count, TURN) as loop:
        following = f.load(words, vector, loop.index + 1)
        mixed = ((f.load(words, vector, loop.index) ^ following) & _UPPER) ^ following
        odd = (following << 31) >> 31
        fresh = f.load(words, vector, loop.index + _SHIFTED_BY) ^ f.op("lshr", mixed, 1)
        f.store(fresh ^ (odd & _TWIST), words, loop.index + STATE_WORDS)
    f.ret()
    return f


# What the tasks of one chunk share: addresses of the kernel's arguments, of the chunk's words and
# of the next chunk's buffer; words of a chunk, words to make for the next one, number that the
# chunk begins with, numbers of the chunk, numbers of a slice.
_ALL, _WORDS, _BUFFER, _NEXT, _CHUNK, _MADE, _FIRST, _COUNT, _SLICE = range(9)


def _step(words_each: int) -> Function:
    """Task 0 makes the words of the next chunk, the others convert slices of this one."""
    f = Function("step", [("shared", PTR), ("index", I64), ("thread", I64)], internal=True)
    shared, index, _ = f.parameters
    with f.when(f.compare("eq", index, 0)):
        made = f.slot(shared, _MADE, I64)
        with f.when(f.compare("sgt", made, 0)):
            following = f.slot(shared, _NEXT)
            _copy(f, f.slot(shared, _BUFFER), f.slot(shared, _CHUNK, I64), following)
            f.call("twist", VOID, following, made)
    with f.when(f.compare("ne", index, 0)):
        size = f.slot(shared, _SLICE, I64)
        begin = (index - 1) * size
        count = f.minimum(size, f.slot(shared, _COUNT, I64) - begin)
        with f.when(f.compare("sgt", count, 0)):
            words = f.at(f.slot(shared, _WORDS), begin * words_each, I32)
            first = f.slot(shared, _FIRST, I64) + begin
            f.call("convert", VOID, f.slot(shared, _ALL), words, first, count)
    f.ret()
    return f


def _share(f, shared, values: dict):
    for number, value in values.items():
        f.store(value, f.at(shared, number, I64))


def _task(words_each: int, ordered: bool) -> Function:
    f = Function.task()
    arguments, _, _ = f.parameters
    state, buffer = f.slot(arguments, 0), f.slot(arguments, 1)
    chunk, number, slices = (f.slot(arguments, n, I64) for n in range(2, ARGUMENTS))
    shared = f.stack(I64, 9)
    step = Value(f, "@step", PTR)
    _copy(f, state, 0, buffer)
    used = f.convert(f.load(state, I32, STATE_WORDS), I64)
    # New words come by the 624, and not before they are asked for: so the state is always the one
    # that a generator of single words leaves.
    total = used + number * words_each
    blocks = (f.maximum(total - STATE_WORDS, 0) + (STATE_WORDS - 1)) / STATE_WORDS
    fresh = blocks * STATE_WORDS

    def at_once():
        f.call("twist", VOID, buffer, fresh)
        f.call("convert", VOID, arguments, f.at(buffer, used, I32), f.value(0, I64), number)
        return [f.at(buffer, fresh, I32)]

    def in_chunks():
        f.call("twist", VOID, buffer, chunk)
        other = f.at(buffer, chunk + (STATE_WORDS + PADDING), I32)
        chunks, of_chunk = (fresh + chunk - 1) / chunk, chunk / words_each
        _share(f, shared, {_ALL: arguments, _CHUNK: chunk})
        with f.loop(0, chunks, carried=[buffer, other]) as loop:
            present, following = loop.values
            first = loop.index * of_chunk
            made = f.minimum(chunk, fresh - (loop.index + 1) * chunk)
            # The last chunk has as many more numbers as the state had words left, or fewer than any
            # where the words were rounded up to a whole block.
            last = f.compare("slt", made, 1)
            left = f.maximum(number - first, 0)
            count = f.minimum(f.select(last, number, of_chunk), left)
            size = ((count + slices - 1) / slices + (TURN - 1)) & -TURN
            words = f.at(present, used, I32)
            _share(f, shared, {_WORDS: words, _BUFFER: present, _NEXT: following, _MADE: made,
                               _FIRST: first, _COUNT: count, _SLICE: size})  # fmt: skip
            if ordered:
                for task in range(2):
                    f.call("step", VOID, shared, *(f.value(n, I64) for n in (task, 0)))
            else:
                f.call("danlu_parallel", VOID, step, shared, slices + 1)
            loop.carry(following, present)
        return [f.at(loop.results[1], fresh - (chunks - 1) * chunk, I32)]

    (block,) = f.either(f.compare("sle", fresh, chunk), at_once, in_chunks)
    with f.when(f.compare("sgt", fresh, 0)):
        _copy(f, block, 0, state)
    f.store(f.convert(total - fresh, I32), state, STATE_WORDS)
    f.ret()
    return f


def module(
    words_each: int,
    convert: Callable[[Function, Value, Value, Value, Value], None],
    ordered: bool = False,
) -> Module:
    """A kernel that draws numbers of `words_each` words (a divisor of 16) each.

    Slots: the generator's state, 624 words and how many of them are used, an i32; a buffer of
    `chunk + 624 + PADDING` words, two of them where the numbers take more than `chunk` new words;
    words of a chunk, a multiple of 16 and at least 624; how many numbers; into how many slices the
    numbers of a chunk are cut; then those of the conversion.

    Args:
        convert: `convert(f, arguments, words, first, count)` writes the code for `count` numbers,
            of which number `first` is made of the untempered words at the address `words`.
        ordered: the numbers are converted one after the other, on one thread, in one slice.
    """
    names = ("arguments", PTR), ("words", PTR), ("first", I64), ("count", I64)
    f = Function("convert", names, internal=True, noinline=True)
    convert(f, *f.parameters)
    f.ret()
    return Module(_twist(), f, _step(words_each), _task(words_each, ordered))
