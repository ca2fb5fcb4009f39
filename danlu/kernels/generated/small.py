"""Text of the array functions for small layers: affine map and its gradients, matrix product, relu,
arithmetic, losses. One thread, everything in the first caches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial

from danlu.kernels.codegen import target as targets
from danlu.kernels.codegen import vector_math
from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.types import FLOAT
from danlu.kernels.generated import small_rows
from danlu.kernels.generated.rows import round_up
from danlu.kernels.runtime import objects
from danlu.kernels.runtime.objects import ArrayFunction

__all__ = ["BINARY", "UNARY", "load", "modules"]

BINARY = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
UNARY = ("exp", "log", "tanh", "sigmoid", "sqrt", "square", "negative", "absolute")
# Multiplications of an affine map up to which one thread without packing is the fastest.
_PRODUCTS = 1 << 17
# Floats of the transposed weights, on the stack.
_WEIGHTS = 4096
# Elements of an elementwise function up to which a second thread gains nothing.
_ELEMENTS = small_rows.ELEMENTS
_ROWS = 4  # of a block of accumulators


def modules() -> dict[str, dict[str, Callable[..., Function]]]:
    """Module -> its functions by name and what writes each for a target; a module compiles in less
    than 0.1 s."""
    binary: dict[str, Callable[..., Function]] = {
        name: partial(_binary, name, symbol) for name, symbol in BINARY.items()
    }
    unary = {name: partial(_unary, name) for name in UNARY}
    smooth = ("exp", "log", "tanh", "sigmoid")
    return {
        "affine": {"affine": _affine, "product": _product},
        "affine gradients": {"affine_gradients": _affine_gradients},
        "rectifier": {"relu": _relu, "relu_gradient": _relu_gradient},
        "losses": {
            "logits_loss": _logits_loss, "logits_slope": _logits_slope,
            "squares_loss": _squares_loss, "squares_slope": _squares_slope,
        },
        "arithmetic": binary,
        "roots and signs": {name: unary[name] for name in UNARY if name not in smooth},
        "functions": {name: unary[name] for name in smooth},
        **small_rows.modules(),
    }  # fmt: skip


def _module_text(writers) -> str:
    return objects.text(*(write(targets.host()) for write in writers.values()))


def load(wanted: Mapping[Hashable, tuple[str, Callable]]) -> dict[Hashable, Callable] | None:
    """The Python callables of `objects.load`, from whichever modules have them."""
    found: dict[Hashable, Callable] = {}
    for module, writers in modules().items():
        mine = {label: pair for label, pair in wanted.items() if pair[0] in writers}
        if not mine:
            continue
        made = objects.load(("small", module), partial(_module_text, writers), mine)
        if made is None:
            return None
        found.update(made)
    return found


def _by_blocks(f: Function, count: Value, write) -> None:
    """`write(first, height)` for blocks of `_ROWS`, then one by one."""
    whole = count & -_ROWS
    with f.loop(0, whole, _ROWS) as loop:
        write(loop.index, _ROWS)
    with f.loop(whole, count) as loop:
        write(loop.index, 1)


def _affine(target) -> Function:
    """affine(x (M, K), w (N, K), b (N) or None) -> x w^T + b."""
    lanes = target.float_lanes
    V = FLOAT.vector(lanes)
    builder = ArrayFunction("affine", 3)
    f = builder.f
    transposed = f.stack(FLOAT, _WEIGHTS)
    start = f.stack(FLOAT, _WEIGHTS)
    x, (rows, inner) = builder.array(0, 2)
    w, (columns, w_inner) = builder.array(1, 2)
    builder.equal(inner, w_inner)
    width = round_up(columns, lanes)
    builder.at_most(width * inner, _WEIGHTS)
    builder.at_most(width, _WEIGHTS)
    builder.at_most(width * inner * rows, _PRODUCTS)

    def zero_start():
        with f.loop(0, width, lanes) as column:
            f.store(f.value(0.0, V), start, column.index)

    def bias_start():
        b, (length,) = builder.array(2, 1)
        builder.equal(length, columns)
        with f.loop(0, width, lanes) as column:
            mask = f.mask_below(columns - column.index, lanes)
            f.store(f.masked_load(b, mask, V, 0, column.index), start, column.index)

    f.either(builder.is_none(2), zero_start, bias_start)
    with f.loop(0, columns) as column, f.loop(0, inner) as k:
        weight = f.load(w, FLOAT, column.index * inner + k.index)
        f.store(weight, transposed, k.index * width + column.index)
    made, y = builder.new(rows, columns)

    def block(first_row: Value, height: int) -> None:
        with f.loop(0, width, lanes) as column:
            bias = f.load(start, V, column.index)
            with f.loop(0, inner, carried=[bias] * height) as k:
                weights = f.load(transposed, V, k.index * width + column.index)
                k.carry(*(
                    f.fma(f.broadcast(f.load(x, FLOAT, (first_row + r) * inner + k.index), lanes),
                          weights, k.values[r])
                    for r in range(height)
                ))  # fmt: skip
            mask = f.mask_below(columns - column.index, lanes)
            for r in range(height):
                place = (first_row + r) * columns + column.index
                f.masked_store(k.results[r], y, mask, place)

    _by_blocks(f, rows, block)
    return builder.finish(made)


def _affine_gradients(target) -> Function:
    """affine_gradients(g (M, N), x (M, K), w (N, K), for_x, for_w, for_b) -> the gradients asked
    for, None in the place of the others."""
    lanes = target.float_lanes
    V = FLOAT.vector(lanes)
    builder = ArrayFunction("affine_gradients", 6)
    f = builder.f
    g, (rows, columns) = builder.array(0, 2)
    x, (x_rows, inner) = builder.array(1, 2)
    w, (w_columns, w_inner) = builder.array(2, 2)
    builder.equal(rows, x_rows)
    builder.equal(columns, w_columns)
    builder.equal(inner, w_inner)
    builder.at_most(round_up(inner, lanes) * columns * rows, _PRODUCTS)

    def of_input():
        """g w, lanes along the inputs."""
        made, out = builder.new(rows, inner)
        with f.loop(0, inner, lanes) as k:
            mask = f.mask_below(inner - k.index, lanes)

            def block(first_row, height):
                with f.loop(0, columns, carried=[f.value(0.0, V)] * height) as column:
                    weights = f.masked_load(w, mask, V, 0, column.index * inner + k.index)
                    column.carry(*(
                        f.fma(_scalar(f, g, (first_row + r) * columns + column.index, lanes),
                              weights, column.values[r])
                        for r in range(height)
                    ))  # fmt: skip
                for r in range(height):
                    place = (first_row + r) * inner + k.index
                    f.masked_store(column.results[r], out, mask, place)

            _by_blocks(f, rows, block)
        return [made]

    def of_weight():
        """g^T x, lanes along the inputs, a sum over the rows."""
        made, out = builder.new(columns, inner)
        with f.loop(0, inner, lanes) as k:
            mask = f.mask_below(inner - k.index, lanes)

            def block(first_column, width):
                with f.loop(0, rows, carried=[f.value(0.0, V)] * width) as row:
                    inputs = f.masked_load(x, mask, V, 0, row.index * inner + k.index)
                    row.carry(*(
                        f.fma(_scalar(f, g, row.index * columns + first_column + n, lanes),
                              inputs, row.values[n])
                        for n in range(width)
                    ))  # fmt: skip
                for n in range(width):
                    place = (first_column + n) * inner + k.index
                    f.masked_store(row.results[n], out, mask, place)

            _by_blocks(f, columns, block)
        return [made]

    def of_bias():
        """The sum of g over its rows."""
        made, out = builder.new(columns)
        with f.loop(0, columns, lanes) as column:
            mask = f.mask_below(columns - column.index, lanes)
            with f.loop(0, rows, carried=[f.value(0.0, V)]) as row:
                values = f.masked_load(g, mask, V, 0, row.index * columns + column.index)
                row.carry(row.values[0] + values)
            f.masked_store(row.results[0], out, mask, column.index)
        return [made]

    results = [
        f.either(builder.truth(3 + place), gradient, lambda: [builder.none()])[0]
        for place, gradient in enumerate((of_input, of_weight, of_bias))
    ]
    return builder.finish(builder.pack(*results))


def _scalar(f: Function, pointer: Value, index: Value, lanes: int) -> Value:
    return f.broadcast(f.load(pointer, FLOAT, index), lanes)


def _over_elements(f: Function, count: Value, lanes: int, step, carried=()):
    """`step(index, load, store, values)` over whole vectors, then over the masked rest."""
    V = FLOAT.vector(lanes)
    whole = count & -lanes
    with f.loop(0, whole, lanes, carried=carried) as loop:
        loop.carry(*step(
            loop.index, lambda p: f.load(p, V, loop.index),
            lambda value, p: f.store(value, p, loop.index), loop.values, None,
        ))  # fmt: skip
    mask = f.mask_below(count - whole, lanes)
    return step(
        whole, lambda p: f.masked_load(p, mask, V, 0, whole),
        lambda value, p: f.masked_store(value, p, mask, whole), loop.results, mask,
    )  # fmt: skip


def _relu(target) -> Function:
    """relu(x) -> max(x, 0), NaN kept."""
    builder = ArrayFunction("relu", 1)
    f = builder.f
    x, _ = builder.array(0, None)
    count = builder.size(0)
    builder.at_most(count, _ELEMENTS)
    made, out = builder.new_like(0)

    def step(index, load, store, values, mask):
        value = load(x)
        store(f.select(f.compare("ole", value, 0.0), 0.0, value), out)
        return ()

    _over_elements(f, count, target.float_lanes, step)
    return builder.finish(made)


def _relu_gradient(target) -> Function:
    """relu_gradient(g, y) -> g where y is not <= 0, else 0."""
    builder = ArrayFunction("relu_gradient", 2)
    f = builder.f
    g, _ = builder.array(0, None)
    y, _ = builder.array(1, None)
    builder.same_shape(0, 1)
    count = builder.size(0)
    builder.at_most(count, _ELEMENTS)
    made, out = builder.new_like(0)

    def step(index, load, store, values, mask):
        store(f.select(f.compare("ole", load(y), 0.0), 0.0, load(g)), out)
        return ()

    _over_elements(f, count, target.float_lanes, step)
    return builder.finish(made)


def _logits_loss(target) -> Function:
    """logits_loss(x, t, None, None, "mean") -> the mean of max(x, 0) - x t + log(1 + exp(-|x|)), an
    array of no axes."""
    lanes = target.float_lanes
    V = FLOAT.vector(lanes)
    builder = ArrayFunction("logits_loss", 5)
    f = builder.f
    builder.none_expected(2)
    builder.none_expected(3)
    builder.text_expected(4, "mean")
    x, _ = builder.array(0, None)
    t, _ = builder.array(1, None)
    builder.same_shape(0, 1)
    count = builder.size(0)
    builder.at_most(count - 1, _ELEMENTS - 1)  # not of no elements

    def step(index, load, store, values, mask):
        value = load(x)
        tail = vector_math.apply(
            f, "log1p", vector_math.apply(f, "exp", -f.intrinsic("fabs", value))
        )
        above = f.select(f.compare("ole", value, 0.0), 0.0, value)
        loss = above - value * load(t) + tail
        if mask is not None:
            loss = f.select(mask, loss, 0.0)
        return (values[0] + loss,)

    (total,) = _over_elements(f, count, lanes, step, [f.value(0.0, V)])
    return builder.finish(_mean(builder, total, count))


def _mean(builder: ArrayFunction, total: Value, count: Value) -> Value:
    """An array of no axes: the sum of the lanes over the count."""
    f = builder.f
    made, out = builder.new()
    total = f.fold_lanes(total, lambda a, b: a + b)
    f.store(total / f.convert(count, FLOAT), out)
    return made


def _logits_slope(target) -> Function:
    """logits_slope(g, x, t, None, None, "mean") -> (sigmoid(x) - t) g / count: the gradient of
    `logits_loss`."""
    lanes = target.float_lanes
    builder = ArrayFunction("logits_slope", 6)
    builder.none_expected(3)
    builder.none_expected(4)
    builder.text_expected(5, "mean")
    f = builder.f
    g, _ = builder.array(0, 0)
    x, _ = builder.array(1, None)
    t, _ = builder.array(2, None)
    builder.same_shape(1, 2)
    count = builder.size(1)
    builder.at_most(count - 1, _ELEMENTS - 1)
    made, out = builder.new_like(1)
    scale = f.broadcast(f.load(g, FLOAT) * (1.0 / f.convert(count, FLOAT)), lanes)

    def step(index, load, store, values, mask):
        store((vector_math.apply(f, "sigmoid", load(x)) - load(t)) * scale, out)
        return ()

    _over_elements(f, count, lanes, step)
    return builder.finish(made)


def _squares_loss(target) -> Function:
    """squares_loss(x, t, "mean") -> the mean of (x - t)^2, an array of no axes."""
    lanes = target.float_lanes
    V = FLOAT.vector(lanes)
    builder = ArrayFunction("squares_loss", 3)
    f = builder.f
    builder.text_expected(2, "mean")
    x, _ = builder.array(0, None)
    t, _ = builder.array(1, None)
    builder.same_shape(0, 1)
    count = builder.size(0)
    builder.at_most(count - 1, _ELEMENTS - 1)

    def step(index, load, store, values, mask):
        difference = load(x) - load(t)
        return (f.fma(difference, difference, values[0]),)

    (total,) = _over_elements(f, count, lanes, step, [f.value(0.0, V)])
    return builder.finish(_mean(builder, total, count))


def _squares_slope(target) -> Function:
    """squares_slope(g, x, t, "mean") -> 2 (x - t) g / count."""
    lanes = target.float_lanes
    builder = ArrayFunction("squares_slope", 4)
    builder.text_expected(3, "mean")
    f = builder.f
    g, _ = builder.array(0, 0)
    x, _ = builder.array(1, None)
    t, _ = builder.array(2, None)
    builder.same_shape(1, 2)
    count = builder.size(1)
    builder.at_most(count - 1, _ELEMENTS - 1)
    made, out = builder.new_like(1)
    scale = f.broadcast(f.load(g, FLOAT) * (2.0 / f.convert(count, FLOAT)), lanes)

    def step(index, load, store, values, mask):
        store((load(x) - load(t)) * scale, out)
        return ()

    _over_elements(f, count, lanes, step)
    return builder.finish(made)


def _product(target) -> Function:
    """product(a (M, K), b (K, N)) -> a b, lanes along the columns."""
    lanes = target.float_lanes
    V = FLOAT.vector(lanes)
    builder = ArrayFunction("product", 2)
    f = builder.f
    a, (rows, inner) = builder.array(0, 2)
    b, (b_inner, columns) = builder.array(1, 2)
    builder.equal(inner, b_inner)
    builder.at_most(round_up(columns, lanes) * inner * rows, _PRODUCTS // 4)
    made, out = builder.new(rows, columns)

    def block(first_row: Value, height: int) -> None:
        with f.loop(0, columns, lanes) as column:
            mask = f.mask_below(columns - column.index, lanes)
            with f.loop(0, inner, carried=[f.value(0.0, V)] * height) as k:
                weights = f.masked_load(b, mask, V, 0, k.index * columns + column.index)
                k.carry(*(
                    f.fma(_scalar(f, a, (first_row + r) * inner + k.index, lanes), weights,
                          k.values[r])
                    for r in range(height)
                ))  # fmt: skip
            for r in range(height):
                f.masked_store(k.results[r], out, mask, (first_row + r) * columns + column.index)

    _by_blocks(f, rows, block)
    return builder.finish(made)


def _binary(name: str, symbol: str, target) -> Function:
    """name(a, b): arithmetic of two arrays of one shape, or of an array and a Python float."""
    lanes = target.float_lanes
    builder = ArrayFunction(name, 2)
    f = builder.f
    a, _ = builder.array(0, None)
    count = builder.size(0)
    builder.at_most(count, _ELEMENTS)

    def with_number():
        made, out = builder.new_like(0)
        number = f.broadcast(builder.float(1), lanes)

        def step(index, load, store, values, mask):
            store(f.arithmetic(symbol, load(a), number), out)
            return ()

        _over_elements(f, count, lanes, step)
        return [made]

    def with_array():
        b, _ = builder.array(1, None)
        builder.same_shape(0, 1)
        made, out = builder.new_like(0)

        def step(index, load, store, values, mask):
            store(f.arithmetic(symbol, load(a), load(b)), out)
            return ()

        _over_elements(f, count, lanes, step)
        return [made]

    (made,) = f.either(builder.is_float(1), with_number, with_array)
    return builder.finish(made)


def _unary(name: str, target) -> Function:
    """name(x): a function of vector mathematics, element by element."""
    builder = ArrayFunction(name, 1)
    f = builder.f
    x, _ = builder.array(0, None)
    count = builder.size(0)
    builder.at_most(count, _ELEMENTS)
    made, out = builder.new_like(0)

    def step(index, load, store, values, mask):
        store(vector_math.apply(f, name, load(x)), out)
        return ()

    _over_elements(f, count, target.float_lanes, step)
    return builder.finish(made)
