"""Attention without its matrix of scores: softmax(Q K^T * scale + mask) V over blocks of source
positions, with running maxima and sums (FlashAttention, Dao et al. 2022).

A unit of work is some target positions of one head. Per block of source positions it packs K^T and V
once; then blocks of target positions multiply, take exponentials in place and multiply again, all
within the caches.

Legend: L target positions (rows), S source positions (keys), E features, F features of values.
"""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen import vector_math
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import I1, I64, PTR, VOID, Type
from danlu.kernels.generated.attention_blocks import (
    KEYS,
    block_rows,
    module,
    panel_width,
    task,
)
from danlu.kernels.generated.matmul import scratch_of
from danlu.kernels.generated.matmul_packing import pack_panels
from danlu.kernels.generated.rows import round_up

__all__ = ["ADDRESSES", "INTEGERS", "read_arguments", "scratch_elements", "write"]

ADDRESSES = ("q", "k", "v", "mask", "out", "log_sums", "scratch")
# `x_batch`, `x_head`, `x_row`: strides in elements; the last axis of every array is contiguous.
INTEGERS = (
    *(f"{name}_{axis}" for name in ("q", "k", "v", "out", "mask")
      for axis in ("batch", "head", "row")),
    "heads", "rows", "keys", "features", "value_features",
    "causal",  # whether row i sees keys up to i alone
    "chunk",  # rows of a unit
    "scratch_size",  # elements for one thread
    "units", "together",  # how many pieces of work there are, and how many a task does
)  # fmt: skip


def scratch_elements(type: Type, target: targets.Target, features: int, value_features: int,
                     chunk: int) -> int:  # fmt: skip
    """How many numbers a thread needs scratch memory for."""
    width = panel_width(type, target)
    wide = round_up(features, width) + round_up(value_features, width)
    return KEYS * (wide + block_rows(target)) + 2 * round_up(chunk, width) + width


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR of attention on arrays of this type."""
    target = target or targets.host()
    made = module(type, target)
    made.add(_weights(type, target.lanes(type)))
    made.add(_finish(type, target.lanes(type)))
    made.add(_unit(type, target))
    made.add(task(ADDRESSES, INTEGERS))
    return made.text()


def read_arguments(f: Function, arguments: Value, addresses, integers, type: Type):
    """Arguments by name: addresses, integers, and last the scale."""
    given = {name: f.slot(arguments, n, PTR) for n, name in enumerate(addresses)}
    first = len(addresses)
    given |= {name: f.slot(arguments, first + n, I64) for n, name in enumerate(integers)}
    given["scale"] = f.slot(arguments, first + len(integers), type)
    return given


def scores_at(f: Function, place, mask_row, has_mask, scale, seen, column, vector: Type):
    """A vector of scores times scale plus mask, minus infinity where `column` reaches `seen`."""
    lanes = vector.lanes
    visible = f.mask_below(seen - column, lanes)
    value = f.load(place, vector, column) * scale
    [value] = f.either(
        has_mask,
        lambda: [value + f.masked_load(mask_row, visible, vector, 0, column)],
        lambda: [value],
    )
    lowest = f.broadcast(float("-inf"), lanes, vector.element())
    return f.select(visible, value, lowest), visible


def _weights(type: Type, lanes: int) -> Function:
    """From scores of a block to unnormalized weights, in place, with the rows' running maxima and
    sums; what was summed up for smaller maxima is scaled down."""
    f = Function(
        "weights",
        [("rows", I64), ("columns", I64), ("scores", PTR), ("scale", type), ("mask", PTR),
         ("mask_row", I64), ("seen", I64), ("seen_step", I64), ("maxima", PTR), ("sums", PTR),
         ("out", PTR), ("out_row", I64), ("features", I64), ("is_first", I1)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    (rows, columns, scores, scale, mask, mask_row, seen, seen_step, maxima, sums, out, out_row,
     features, is_first) = f.parameters  # fmt: skip
    vector = type.vector(lanes)
    lowest = f.value(float("-inf"), type)
    scales = f.broadcast(scale, lanes)
    has_mask = f.compare("ne", mask, f.value(0, PTR))
    with f.loop(0, rows) as by_row:
        row = by_row.index
        place = f.at(scores, row * KEYS, type)
        visible = f.minimum(columns, seen + row * seen_step)
        row_mask = f.at(mask, row * mask_row, type)
        [before] = f.either(is_first, lambda: [lowest], lambda: [f.load(maxima, type, row)])
        with f.loop(0, columns, lanes, carried=[f.broadcast(before, lanes)]) as loop:
            value, _ = scores_at(f, place, row_mask, has_mask, scales, visible, loop.index, vector)
            f.store(value, place, loop.index)
            [largest] = loop.values
            loop.carry(f.select(f.compare("ogt", value, largest), value, largest))
        largest = f.fold_lanes(loop.results[0], lambda a, b: f.select(f.compare("ogt", a, b), a, b))
        # a row that sees nothing yet has the maximum minus infinity, and weights of 0
        origin = f.select(f.compare("oeq", largest, lowest), f.value(0.0, type), largest)
        origins = f.broadcast(origin, lanes)
        with f.loop(0, columns, lanes, carried=[f.broadcast(0.0, lanes, type)]) as loop:
            weight = vector_math.apply(f, "exp", f.load(place, vector, loop.index) - origins)
            f.store(weight, place, loop.index)
            loop.carry(loop.values[0] + weight)
        total = f.fold_lanes(loop.results[0], lambda a, b: a + b)
        f.store(largest, maxima, row)

        def first(total=total):
            return [total]

        def later(total=total, row=row, before=before, origin=origin):
            factor = vector_math.apply(f, "exp", before - origin)
            factors = f.broadcast(factor, lanes)
            out_place = f.at(out, row * out_row, type)
            with f.loop(0, features, lanes) as loop:
                inside = f.mask_below(features - loop.index, lanes)
                value = f.masked_load(out_place, inside, vector, 0, loop.index)
                f.masked_store(value * factors, out_place, inside, loop.index)
            return [f.load(sums, type, row) * factor + total]

        [total] = f.either(is_first, first, later)
        f.store(total, sums, row)
    f.ret()
    return f


def _finish(type: Type, lanes: int) -> Function:
    """Divide rows by their sums and keep log(sum exp(scores)), which the backward kernel needs. A
    row that saw nothing becomes 0, with a logarithm of infinity that makes its weights 0."""
    f = Function(
        "finish",
        [("rows", I64), ("features", I64), ("maxima", PTR), ("sums", PTR), ("out", PTR),
         ("out_row", I64), ("log_sums", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    rows, features, maxima, sums, out, out_row, log_sums = f.parameters
    vector = type.vector(lanes)
    with f.loop(0, rows) as by_row:
        row = by_row.index
        total = f.load(sums, type, row)
        is_blind = f.compare("oeq", total, 0.0)
        divisor = f.select(is_blind, f.value(1.0, type), total)
        factors = f.broadcast(f.value(1.0, type) / divisor, lanes)
        place = f.at(out, row * out_row, type)
        with f.loop(0, features, lanes) as loop:
            inside = f.mask_below(features - loop.index, lanes)
            value = f.masked_load(place, inside, vector, 0, loop.index)
            f.masked_store(value * factors, place, inside, loop.index)
        log_sum = f.load(maxima, type, row) + vector_math.apply(f, "log", divisor)
        f.store(f.select(is_blind, f.value(float("inf"), type), log_sum), log_sums, row)
    f.ret()
    return f


def _unit(type: Type, target: targets.Target) -> Function:
    """Some target positions of one head."""
    width, rows_at_once = panel_width(type, target), block_rows(target)
    f = Function.task("unit", internal=True)
    arguments, index, thread = f.parameters
    given = read_arguments(f, arguments, ADDRESSES, INTEGERS, type)
    rows, keys, features, value_features, chunk = (
        given[name] for name in ("rows", "keys", "features", "value_features", "chunk")
    )
    chunks = (rows + chunk - 1) / chunk
    head = index / chunks
    first_row = index % chunks * chunk
    count = f.minimum(rows - first_row, chunk)

    def array(name, row: Value | int = 0):
        offset = (
            head / given["heads"] * given[f"{name}_batch"]
            + head % given["heads"] * given[f"{name}_head"]
        )
        return f.at(given[name], offset + row * given[f"{name}_row"], type)

    q, out, k, v = array("q", first_row), array("out", first_row), array("k"), array("v")
    null = f.value(0, PTR)
    has_mask = f.compare("ne", given["mask"], null)
    mask = array("mask", first_row)
    scratch = scratch_of(f, given["scratch"], thread * given["scratch_size"] * type.bytes)
    maxima = scratch
    sums = f.at(maxima, round_up(chunk, width), type)
    packed_k = f.at(sums, round_up(chunk, width), type)
    packed_v = f.at(packed_k, round_up(features, width) * KEYS, type)
    scores = f.at(packed_v, round_up(value_features, width) * KEYS, type)

    causal = f.compare("ne", given["causal"], 0)
    keys = f.select(causal, f.minimum(keys, first_row + count), keys)
    yes = f.value(1, I1)
    with f.loop(0, keys, KEYS) as by_keys:
        key = by_keys.index
        length = f.minimum(keys - key, KEYS)
        is_first = f.compare("eq", key, 0)
        pack_panels(f, type, f.at(k, key * given["k_row"], type), f.value(1, I64),
               given["k_row"], length, features, packed_k)  # fmt: skip
        pack_panels(f, type, f.at(v, key * given["v_row"], type), given["v_row"],
               f.value(1, I64), value_features, length, packed_v)  # fmt: skip
        with f.loop(0, count, rows_at_once) as by_rows:
            row = by_rows.index
            height = f.minimum(count - row, rows_at_once)
            position = first_row + row - key  # of the block's first row, counted from its first key
            needed = f.select(causal, f.minimum(length, position + height), length)
            with f.when(f.compare("sgt", needed, 0)):
                out_place = f.at(out, row * given["out_row"], type)
                f.call("multiply", VOID, height, round_up(needed, width), features,
                       f.at(q, row * given["q_row"], type), given["q_row"], f.value(1, I64),
                       packed_k, features, scores, f.value(KEYS, I64), yes)  # fmt: skip
                block_mask = f.at(mask, row * given["mask_row"] + key, type)
                f.call("weights", VOID, height, needed, scores, given["scale"],
                       f.select(has_mask, block_mask, null), given["mask_row"],
                       f.select(causal, position + 1, needed), given["causal"],
                       f.at(maxima, row, type), f.at(sums, row, type), out_place,
                       given["out_row"], value_features, is_first)  # fmt: skip
                f.call("multiply", VOID, height, value_features, needed, scores,
                       f.value(KEYS, I64), f.value(1, I64), packed_v, length, out_place,
                       given["out_row"], is_first)  # fmt: skip
    log_sums = f.at(given["log_sums"], head * rows + first_row, type)
    f.call("finish", VOID, count, value_features, maxima, sums, out, given["out_row"], log_sums)
    f.ret()
    return f
