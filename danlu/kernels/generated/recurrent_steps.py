"""A recurrent layer over a whole sequence in one call, and its gradients.

A task owns a block of samples through all steps: samples do not look at each other, so no thread
waits for another. The rows of all steps stand one under the other; what belongs to a step, in the
order in which the layer reads, is a line of `table`: the first row and their number, then the same
of the step before (no row before the first).
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import FLOAT, I64, PTR, VOID
from danlu.kernels.generated.recurrent_cells import CELLS, Place
from danlu.kernels.generated.recurrent_product import Panels, read

__all__ = ["BACKWARD", "COLUMN_VECTORS", "FORWARD", "write_backward", "write_forward"]

# Arguments in the order of the call; arrays are of float, `table` of int64.
FORWARD = {
    "gates": PTR,  # (R, G*H) in: the inputs' product; out: the gates
    "bias": PTR,  # (biases*H)
    "weights": PTR,  # packed
    "outputs": PTR,  # (R, H); with Elman's network the same array as gates
    "kept": PTR,  # (R, H)
    "h": PTR, "c": PTR,  # (B, H) states
    "sums": PTR,  # scratch, (tasks * block, numbers in a row of a panel)
    "table": PTR, "steps": I64, "batch": I64, "hidden": I64, "block": I64,
}  # fmt: skip
BACKWARD = {
    "grads": PTR, "grads_row": I64,  # of the outputs, and how far apart rows are
    "gates": PTR, "kept": PTR, "outputs": PTR,  # of the forward call
    "before": PTR, "initial": PTR,  # the states c or h after each step, and the first one
    "weights": PTR,  # packed
    "products": PTR,  # out: gradients of the products with h, (R, G*H)
    "inputs": PTR,  # out: those of the products with x where they differ
    "bias": PTR,  # out: sums of every task, (tasks, biases*H), zero before
    "dh": PTR,  # (B, H rounded up to whole panels), zero beyond H
    "dc": PTR,  # (B, H)
    "table": PTR, "steps": I64, "batch": I64, "hidden": I64, "block": I64,
}  # fmt: skip
_COLUMNS_OF_TABLE = 4
# of the panels in the backward product, which has no gates to keep together
COLUMN_VECTORS = 2


def _begin(cell, layout: dict) -> tuple[Function, SimpleNamespace]:
    """The task, with what it reads of its arguments and of the sizes."""
    f = Function.task()
    a = SimpleNamespace(**dict(zip(layout, read(f, layout), strict=True)))
    a.gate = [0, *(a.hidden * number for number in range(1, cell.gates))]
    a.width = a.hidden * cell.gates
    a.first = f.parameters[1] * a.block
    a.end = f.minimum(a.first + a.block, a.batch)
    return f, a


def _over_units(f: Function, a: SimpleNamespace, width: int, write: Callable) -> None:
    """`write(panel, None)` for whole panels of `width` units, `write(panel, rest)` for the last
    one if it has fewer."""
    whole = a.hidden / width
    with f.loop(0, whole) as loop:
        write(loop.index, None)
    rest = a.hidden - whole * width
    with f.when(f.compare("sgt", rest, 0)):
        write(whole, rest)


def write_forward(name: str, target: Target) -> str:
    """The IR of all steps of a layer of the cells of this name."""
    cell = CELLS[name]
    panels = Panels(target, cell.vectors)
    f, a = _begin(cell, FORWARD)
    lanes, width = target.float_lanes, panels.width
    units = width // cell.gates
    sums = f.at(a.sums, a.first * width, FLOAT)
    own_h = f.at(a.h, a.first * a.hidden, FLOAT)

    def step(row: Value, count: Value) -> None:
        def panel(number: Value, rest: Value | None) -> None:
            def over_samples(write: Callable) -> None:
                """`write(place, lanes of the sums)` for every vector of units of each sample."""
                with f.loop(0, count) as loop:
                    sample = a.first + loop.index
                    for offset in range(0, units, lanes):
                        mask = None if rest is None else f.mask_below(rest - offset, lanes)
                        at = Place(f, lanes, row + sample, sample, number * units + offset, mask)
                        places = range(offset, width, units)
                        write(at, [loop.index * width + place for place in places])

            def begin(at: Place, places: list[Value]) -> None:
                for value, place in zip(cell.begin(f, at, a), places, strict=True):
                    f.store(value, sums, place)
                # Rows of samples lie too far apart to be foreseen: without asking for the next
                # panel's a layer takes 5 to 10% longer.
                inputs = at.address(a.gates, at.row, a.width)
                for gate in a.gate:
                    f.prefetch(f.at(inputs, gate + units, FLOAT))

            def advance(at: Place, places: list[Value]) -> None:
                cell.forward(f, at, a, [f.load(sums, at.vector, place) for place in places])

            weights = f.at(a.weights, number * (a.hidden * width), FLOAT)
            over_samples(begin)
            panels.multiply(f, own_h, a.hidden, count, weights, a.hidden, sums, f.value(width, I64))
            over_samples(advance)

        _over_units(f, a, units, panel)
        # the next step's product reads h while outputs are written
        outputs = f.at(a.outputs, (row + a.first) * a.hidden, FLOAT)
        _copy(f, outputs, own_h, count * a.hidden)

    with f.loop(0, a.steps) as loop:
        line = f.at(a.table, loop.index * _COLUMNS_OF_TABLE, I64)
        count = f.minimum(a.end, f.load(line, I64, 1)) - a.first
        with f.when(f.compare("sgt", count, 0)):
            step(f.load(line, I64), count)
    f.ret()
    module = Module()
    panels.define(module)
    module.add(f)
    return module.text()


def write_backward(name: str, target: Target) -> str:
    """The IR of all steps of the gradient of such a layer, from the last to the first."""
    cell = CELLS[name]
    panels = Panels(target, COLUMN_VECTORS)
    f, a = _begin(cell, BACKWARD)
    lanes = target.float_lanes
    padded = (a.hidden + (panels.width - 1)) / panels.width * panels.width
    own_bias = f.at(a.bias, f.parameters[1] * (a.hidden * cell.biases), FLOAT)

    def gradients(row: Value, line: Value, sample: Value) -> None:
        """Of the products at one step of one sample; what is left for h goes to dh."""
        grads = f.at(a.grads, (row + sample) * a.grads_row, FLOAT)
        if cell.needs_before:
            inside = f.compare("slt", sample, f.load(line, I64, 3))
            before = f.select(
                inside,
                f.at(a.before, (f.load(line, I64, 2) + sample) * a.hidden, FLOAT),
                f.at(a.initial, sample * a.hidden, FLOAT),
            )

        def vector(number: Value, rest: Value | None) -> None:
            unit = number * lanes
            mask = None if rest is None else f.mask_below(rest, lanes)
            at = Place(f, lanes, row + sample, sample, unit, mask)
            place = at.address(a.dh, sample, padded)
            d = at.load(place) + at.load(f.at(grads, unit, FLOAT))
            state = at.load(f.at(before, unit, FLOAT)) if cell.needs_before else None
            found, left = cell.backward(f, at, a, d, state)
            at.store(f.value(0.0, at.vector) if left is None else left, place)
            bias = f.at(own_bias, unit, FLOAT)
            for value, offset in zip(found, [*a.gate, a.width]):
                at.store(at.load(bias, offset) + value, bias, offset)

        _over_units(f, a, lanes, vector)

    def product(row: Value, count: Value) -> None:
        """dh += products @ w_hh."""
        products = f.at(a.products, (row + a.first) * a.width, FLOAT)
        own_dh = f.at(a.dh, a.first * padded, FLOAT)
        with f.loop(0, padded / panels.width) as loop:
            weights = f.at(a.weights, loop.index * (a.width * panels.width), FLOAT)
            dh = f.at(own_dh, loop.index * panels.width, FLOAT)
            panels.multiply(f, products, a.width, count, weights, a.width, dh, padded)

    with f.loop(0, a.steps) as loop:
        line = f.at(a.table, (a.steps - 1 - loop.index) * _COLUMNS_OF_TABLE, I64)
        row = f.load(line, I64)
        count = f.minimum(a.end, f.load(line, I64, 1)) - a.first
        with f.when(f.compare("sgt", count, 0)):
            with f.loop(a.first, a.first + count) as samples:
                gradients(row, line, samples.index)
            product(row, count)
    f.ret()
    module = Module()
    panels.define(module)
    module.add(f)
    return module.text()


def _copy(f: Function, source: Value, target: Value, count: Value) -> None:
    """`count` floats from one array to another."""
    f.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    length = count * FLOAT.bytes
    f.write(
        f"call {VOID} @llvm.memcpy.p0.p0.i64({target.typed}, {source.typed}, {length.typed}, "
        "i1 false)"
    )
