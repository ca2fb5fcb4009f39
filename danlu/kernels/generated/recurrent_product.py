"""The product of a few rows with the recurrent weights, repeated at every step of a sequence.

Weights are packed once a call into panels of as many columns as the register tile is wide, the
rows of a panel one behind the other. A tile keeps its sums in registers: 3 samples x 4 vectors for
the gates of an LSTM with 16 registers, so that one panel gives all gates of a vector of units.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import FLOAT, I64, PTR, VOID

__all__ = ["Panels", "read", "write_pack_columns", "write_pack_gates"]

# registers that are not sums: a row of the panel or of broadcast numbers, and what is on its way
_OPERANDS = 4
# Rows of the highest tile, as many as blocks of samples mostly have: higher ones would fill 32
# registers, but eight sums are enough for the latency of the multiplications.
_HIGHEST = 8
# bytes of a panel that all tiles of a block go through before the next: half of an L1 cache
_SLICE = 16384


def read(f: Function, layout: dict) -> list[Value]:
    """The arguments of a task, by a layout of names and types in the order of the call."""
    return [f.slot(f.parameters[0], number, type) for number, type in enumerate(layout.values())]


class Panels:
    """Products with panels of one width, and the register tiles of all heights that they take.

    Attributes:
        vectors, width: of a panel, in vectors and in numbers.
        rows: of the highest tile.
    """

    def __init__(self, target: Target, vectors: int):
        self.lanes, self.vectors = target.float_lanes, vectors
        self.width = vectors * self.lanes
        self.rows = min(_HIGHEST, (target.registers - _OPERANDS) // vectors)
        self.slice = _SLICE // (self.width * FLOAT.bytes)

    def define(self, module: Module) -> None:
        """Put the functions into a module."""
        heights = range(1, self.rows + 1)
        for height in heights:
            module.add(self._tile(height))
        entries = ", ".join(f"ptr @tile_{height}" for height in heights)
        module.globals.append(f"@tiles = private constant [{self.rows} x ptr] [{entries}]")
        module.add(self._multiply())

    def multiply(self, f: Function, *arguments: Value) -> None:
        """out += a @ panel, for `count` (at least one) rows of `depth` numbers: call with a, how
        far its rows are apart, count, panel, depth, out, how far its rows are apart."""
        f.call("multiply", VOID, *arguments)

    def _multiply(self) -> Function:
        f = Function(
            "multiply",
            [("a", PTR), ("a_row", I64), ("count", I64), ("panel", PTR), ("depth", I64),
             ("out", PTR), ("out_row", I64)],
            internal=True,
            noinline=True,
        )  # fmt: skip
        a, a_row, count, panel, depth, out, out_row = f.parameters
        # Heights differ by one at most: 8 rows as 3 + 3 + 2 take 8/3 of the time of 3, but a tile
        # of a single row waits for its own sums.
        tiles = (count + (self.rows - 1)) / self.rows
        height, higher = count / tiles, count % tiles
        with f.loop(0, depth, self.slice) as part:
            weights = f.at(panel, part.index * self.width, FLOAT)
            length = f.minimum(depth - part.index, self.slice)
            with f.loop(0, tiles, carried=[f.at(a, part.index, FLOAT), out]) as loop:
                own = height + f.convert(f.compare("slt", loop.index, higher), I64)
                table = f.emit(f"getelementptr ptr, ptr @tiles, {(own - 1).typed}", PTR)
                tile = f.emit(f"load ptr, {table.typed}, align 8", PTR)
                a_place, out_place = loop.values
                arguments = (a_place, a_row, weights, length, out_place, out_row)
                f.write(f"call {VOID} {tile}({', '.join(each.typed for each in arguments)})")
                loop.carry(f.at(a_place, own * a_row, FLOAT), f.at(out_place, own * out_row, FLOAT))
        f.ret()
        return f

    def _tile(self, height: int) -> Function:
        """Sums of `height` rows in registers: one column of a against one row of the panel."""
        f = Function(
            f"tile_{height}",
            [("a", PTR), ("a_row", I64), ("panel", PTR), ("depth", I64), ("out", PTR),
             ("out_row", I64)],
            internal=True,
            noinline=True,
        )  # fmt: skip
        a, a_row, panel, depth, out, out_row = f.parameters
        vector = FLOAT.vector(self.lanes)
        a_rows = [f.at(a, a_row * row, FLOAT) for row in range(height)]
        places = [
            f.at(f.at(out, out_row * row, FLOAT), n * self.lanes, FLOAT)
            for row in range(height)
            for n in range(self.vectors)
        ]
        with f.loop(0, depth, carried=[f.load(place, vector) for place in places]) as loop:
            weights = f.at(panel, loop.index * self.width, FLOAT)

            def number(row: int) -> Value:
                return f.broadcast(f.load(a_rows[row], FLOAT, loop.index), self.lanes)

            def weight(n: int) -> Value:
                return f.load(weights, vector, n * self.lanes)

            loop.carry(*self._products(f, height, number, weight, loop.values))
        for place, total in zip(places, loop.results, strict=True):
            f.store(total, place)
        f.ret()
        return f

    def _products(self, f: Function, height: int, number, weight, sums: list[Value]) -> list[Value]:
        """The sums with one more product each. The operands of which there are fewer are loaded
        first and stay, the others come and go, so that all fit into the registers."""
        sums = list(sums)
        wide = height < self.vectors
        coming = weight if wide else number
        if wide:
            staying = [number(row) for row in range(height)]
        else:
            staying = [weight(n) for n in range(self.vectors)]
        for outer in range(max(height, self.vectors)):
            operand = coming(outer)
            for inner, other in enumerate(staying):
                place = inner * self.vectors + outer if wide else outer * self.vectors + inner
                sums[place] = f.fma(other, operand, sums[place])
        return sums


# ---------------------------------------------------------------------- packing
PACK = {"weights": PTR, "packed": PTR, "rows": I64, "columns": I64}


def write_pack_gates(gates: int, vectors: int, target: Target) -> str:
    """Panels of `w_hh.T` for h @ w_hh.T, one a task; `rows` are the hidden units of one gate.

    A panel holds, for every number of h, a vector of units of each gate, or with a single gate
    several vectors of units. Units beyond the last are copies of it, which nobody looks at.
    """
    f = Function.task()
    weights, packed, units, columns = read(f, PACK)
    panel = f.parameters[1]
    lanes, width = target.float_lanes, vectors * target.float_lanes
    packed = f.at(packed, panel * (columns * width), FLOAT)
    first = panel * (width // gates)
    for n in range(vectors):
        gate, offset = (n, 0) if gates > 1 else (0, n * lanes)
        rows = [
            f.at(weights, (f.minimum(first + (offset + lane), units - 1) + units * gate) * columns,
                 FLOAT)
            for lane in range(lanes)
        ]  # fmt: skip
        with f.loop(0, columns) as loop:
            vector = f.broadcast(f.load(rows[0], FLOAT, loop.index), lanes)
            for lane in range(1, lanes):
                vector = f.insert(vector, f.load(rows[lane], FLOAT, loop.index), lane)
            f.store(vector, packed, loop.index * width + n * lanes)
    f.ret()
    return Module(f).text()


def write_pack_columns(vectors: int, target: Target) -> str:
    """Panels of `w_hh` for g @ w_hh, one a task; columns beyond the last are zero."""
    f = Function.task()
    weights, packed, rows, columns = read(f, PACK)
    panel = f.parameters[1]
    lanes, width = target.float_lanes, vectors * target.float_lanes
    vector = FLOAT.vector(lanes)
    first = panel * width
    packed = f.at(packed, panel * (rows * width), FLOAT)
    masks = [f.mask_below(columns - first - n * lanes, lanes) for n in range(vectors)]
    with f.loop(0, rows) as loop:
        source = f.at(weights, loop.index * columns + first, FLOAT)
        for n, mask in enumerate(masks):
            values = f.masked_load(source, mask, vector, index=n * lanes)
            f.store(values, packed, loop.index * width + n * lanes)
    f.ret()
    return Module(f).text()
