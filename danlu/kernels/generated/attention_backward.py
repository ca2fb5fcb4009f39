"""The gradients of attention, from the weights that are computed again block by block
(FlashAttention-2, Dao 2023).

With P = exp(Q K^T * scale + mask - log_sums), d = rowsum(grad_out * out) and
D = P * (grad_out V^T - d) * scale, the gradients are D K, D^T Q and P^T grad_out. Where there are
heads enough, one unit of work is all three of a head; else some units are rows of grad_q and others
rows of grad_k and grad_v, so that no two tasks add to the same numbers.

Legend: L target positions (rows), S source positions (keys), E features, F features of values.
"""

from __future__ import annotations

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen import vector_math
from danlu.kernels.codegen.function import Function
from danlu.kernels.codegen.types import I1, I64, PTR, VOID, Type
from danlu.kernels.generated.attention import read_arguments, scores_at
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

__all__ = ["ADDRESSES", "INTEGERS", "scratch_elements", "write"]

ADDRESSES = ("q", "k", "v", "mask", "out", "grad_out", "log_sums", "grad_q", "grad_k", "grad_v",
             "scratch")  # fmt: skip
INTEGERS = (
    *(f"{name}_{axis}"
      for name in ("q", "k", "v", "out", "grad_out", "grad_q", "grad_k", "grad_v", "mask")
      for axis in ("batch", "head", "row")),
    "heads", "rows", "keys", "features", "value_features",
    "causal",  # whether row i sees keys up to i alone
    "row_chunk",  # rows of grad_q of a unit, or 0: one unit is everything of a head
    "key_chunk",  # rows of grad_k and grad_v of a unit
    "scratch_size",  # elements for one thread
    "units", "together",  # how many pieces of work there are, and how many a task does
)  # fmt: skip


def scratch_elements(type: Type, target: targets.Target, features: int, value_features: int,
                     rows: int) -> int:  # fmt: skip
    """How many numbers a thread needs scratch memory for."""
    width, height = panel_width(type, target), block_rows(target)
    wide, value_wide = round_up(features, width), round_up(value_features, width)
    by_key = KEYS * (2 * wide + value_wide + 2 * height)
    return by_key + height * (wide + value_wide) + round_up(rows, width) + width


def write(type: Type, target: targets.Target | None = None) -> str:
    """The IR of the gradients of attention on arrays of this type."""
    target = target or targets.host()
    made = module(type, target)
    made.add(_row_products(type, target.lanes(type)))
    made.add(_differentials(type, target.lanes(type)))
    made.add(_gradients(type, target))
    made.add(_unit())
    made.add(task(ADDRESSES, INTEGERS))
    return made.text()


def _row_products(type: Type, lanes: int) -> Function:
    """The dot products of rows of two matrices."""
    f = Function(
        "row_products",
        [("rows", I64), ("columns", I64), ("a", PTR), ("a_row", I64), ("b", PTR), ("b_row", I64),
         ("result", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    rows, columns, a, a_row, b, b_row, result = f.parameters
    vector = type.vector(lanes)
    with f.loop(0, rows) as by_row:
        a_place = f.at(a, by_row.index * a_row, type)
        b_place = f.at(b, by_row.index * b_row, type)
        with f.loop(0, columns, lanes, carried=[f.broadcast(0.0, lanes, type)]) as loop:
            inside = f.mask_below(columns - loop.index, lanes)
            left = f.masked_load(a_place, inside, vector, 0, loop.index)
            right = f.masked_load(b_place, inside, vector, 0, loop.index)
            loop.carry(f.fma(left, right, loop.values[0]))
        total = f.fold_lanes(loop.results[0], lambda x, y: x + y)
        f.store(total, result, by_row.index)
    f.ret()
    return f


def _differentials(type: Type, lanes: int) -> Function:
    """In place, from scores to P and from grad_out V^T to D."""
    f = Function(
        "differentials",
        [("rows", I64), ("columns", I64), ("scores", PTR), ("products", PTR), ("scale", type),
         ("mask", PTR), ("mask_row", I64), ("seen", I64), ("seen_step", I64), ("log_sums", PTR),
         ("row_products", PTR)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    (rows, columns, scores, products, scale, mask, mask_row, seen, seen_step, log_sums,
     row_products) = f.parameters  # fmt: skip
    vector = type.vector(lanes)
    scales, zero = f.broadcast(scale, lanes), f.broadcast(0.0, lanes, type)
    has_mask = f.compare("ne", mask, f.value(0, PTR))
    with f.loop(0, rows) as by_row:
        row = by_row.index
        place, product_place = f.at(scores, row * KEYS, type), f.at(products, row * KEYS, type)
        visible = f.minimum(columns, seen + row * seen_step)
        row_mask = f.at(mask, row * mask_row, type)
        log_sum = f.broadcast(f.load(log_sums, type, row), lanes)
        row_product = f.broadcast(f.load(row_products, type, row), lanes)
        with f.loop(0, columns, lanes) as loop:
            column = loop.index
            score, inside = scores_at(f, place, row_mask, has_mask, scales, visible, column, vector)
            weight = vector_math.apply(f, "exp", score - log_sum)
            change = weight * (f.load(product_place, vector, column) - row_product) * scales
            f.store(f.select(inside, weight, zero), place, column)
            f.store(f.select(inside, change, zero), product_place, column)
    f.ret()
    return f


def _gradients(type: Type, target: targets.Target) -> Function:
    """What rows [first_row, last_row) and keys [first_key, last_key) of a head contribute, to
    grad_q or to grad_k and grad_v or to all."""
    width, rows_at_once = panel_width(type, target), block_rows(target)
    f = Function(
        "gradients",
        [("arguments", PTR), ("head", I64), ("thread", I64), ("first_row", I64),
         ("last_row", I64), ("first_key", I64), ("last_key", I64), ("wants_q", I1),
         ("wants_kv", I1)],
        internal=True,
        noinline=True,
    )  # fmt: skip
    arguments, head, thread, first_row, last_row, first_key, last_key, wants_q, wants_kv = (
        f.parameters
    )
    given = read_arguments(f, arguments, ADDRESSES, INTEGERS, type)
    features, value_features = given["features"], given["value_features"]
    sample, number = head / given["heads"], head % given["heads"]
    one, null, yes = f.value(1, I64), f.value(0, PTR), f.value(1, I1)
    stride = f.value(KEYS, I64)

    arrays = {
        name: f.at(
            given[name], sample * given[f"{name}_batch"] + number * given[f"{name}_head"], type
        )
        for name in ("q", "k", "v", "out", "grad_out", "grad_q", "grad_k", "grad_v", "mask")
    }

    def place(name, row):
        return f.at(arrays[name], row * given[f"{name}_row"], type)

    has_mask = f.compare("ne", given["mask"], null)
    causal = f.compare("ne", given["causal"], 0)
    log_sums = f.at(given["log_sums"], head * given["rows"], type)

    wide, value_wide = round_up(features, width), round_up(value_features, width)
    row_products = scratch_of(f, given["scratch"], thread * given["scratch_size"] * type.bytes)
    turned_k = f.at(row_products, round_up(given["rows"], width), type)
    turned_v = f.at(turned_k, wide * KEYS, type)
    packed_k = f.at(turned_v, value_wide * KEYS, type)
    packed_q = f.at(packed_k, wide * KEYS, type)
    packed_grad = f.at(packed_q, wide * rows_at_once, type)
    scores = f.at(packed_grad, value_wide * rows_at_once, type)
    products = f.at(scores, KEYS * rows_at_once, type)

    f.call(
        "row_products", VOID, last_row - first_row, value_features, place("grad_out", first_row),
        given["grad_out_row"], place("out", first_row), given["out_row"],
        f.at(row_products, first_row, type),
    )  # fmt: skip
    last_key = f.select(causal, f.minimum(last_key, last_row), last_key)
    with f.loop(first_key, last_key, KEYS) as by_keys:
        key = by_keys.index
        length = f.minimum(last_key - key, KEYS)
        pack_panels(f, type, place("k", key), one, given["k_row"], length, features, turned_k)
        pack_panels(
            f,
            type,
            place("v", key),
            one,
            given["v_row"],
            length,
            value_features,
            turned_v,
        )
        with f.when(wants_q):
            pack_panels(
                f,
                type,
                place("k", key),
                given["k_row"],
                one,
                features,
                length,
                packed_k,
            )
        # blocks of rows that end before the first key see nothing of these keys
        skipped = f.maximum(key - first_row, 0)
        begin = f.select(causal, first_row + skipped - skipped % rows_at_once, first_row)
        with f.loop(begin, last_row, rows_at_once) as by_rows:
            row = by_rows.index
            height = f.minimum(last_row - row, rows_at_once)
            is_first = f.compare("eq", row, begin)
            needed = f.select(causal, f.minimum(length, row + height - key), length)
            # the first block of rows sets what the others add to, also where it sees nothing
            needed = f.select(is_first & wants_kv, length, needed)
            covered = round_up(needed, width)
            f.call("multiply", VOID, height, covered, features, place("q", row), given["q_row"],
                   one, turned_k, features, scores, stride, yes)  # fmt: skip
            f.call("multiply", VOID, height, covered, value_features, place("grad_out", row),
                   given["grad_out_row"], one, turned_v, value_features, products, stride,
                   yes)  # fmt: skip
            block_mask = f.at(place("mask", row), key, type)
            f.call("differentials", VOID, height, needed, scores, products, given["scale"],
                   f.select(has_mask, block_mask, null), given["mask_row"],
                   f.select(causal, row - key + 1, needed), given["causal"],
                   f.at(log_sums, row, type), f.at(row_products, row, type))  # fmt: skip
            with f.when(wants_q):
                f.call("multiply", VOID, height, features, needed, products, stride, one, packed_k,
                       length, place("grad_q", row), given["grad_q_row"],
                       f.compare("eq", key, first_key))  # fmt: skip
            with f.when(wants_kv):
                pack_panels(f, type, place("q", row), given["q_row"], one, features, height,
                       packed_q)  # fmt: skip
                pack_panels(f, type, place("grad_out", row), given["grad_out_row"], one,
                       value_features, height, packed_grad)  # fmt: skip
                f.call("multiply", VOID, needed, features, height, products, one, stride, packed_q,
                       height, place("grad_k", key), given["grad_k_row"], is_first)  # fmt: skip
                f.call("multiply", VOID, needed, value_features, height, scores, one, stride,
                       packed_grad, height, place("grad_v", key), given["grad_v_row"],
                       is_first)  # fmt: skip
    f.ret()
    return f


def _unit() -> Function:
    """A head, or some rows of its gradients."""
    f = Function.task("unit", internal=True)
    arguments, index, thread = f.parameters

    def integer(name):
        return f.slot(arguments, len(ADDRESSES) + INTEGERS.index(name), I64)

    rows, keys, row_chunk, key_chunk = (
        integer(name) for name in ("rows", "keys", "row_chunk", "key_chunk")
    )
    no, yes, zero = f.value(0, I1), f.value(1, I1), f.value(0, I64)

    def whole_head():
        f.call("gradients", VOID, arguments, index, thread, zero, rows, zero, keys, yes, yes)

    def part_of_head():
        row_tasks = (rows + row_chunk - 1) / row_chunk
        tasks = row_tasks + (keys + key_chunk - 1) / key_chunk
        head, number = index / tasks, index % tasks

        def of_rows():
            first = number * row_chunk
            f.call("gradients", VOID, arguments, head, thread, first,
                   f.minimum(first + row_chunk, rows), zero, keys, yes, no)  # fmt: skip

        def of_keys():
            first = (number - row_tasks) * key_chunk
            f.call("gradients", VOID, arguments, head, thread, zero, rows, first,
                   f.minimum(first + key_chunk, keys), no, yes)  # fmt: skip

        f.either(f.compare("slt", number, row_tasks), of_rows, of_keys)

    f.either(f.compare("eq", row_chunk, 0), whole_head, part_of_head)
    f.ret()
    return f
