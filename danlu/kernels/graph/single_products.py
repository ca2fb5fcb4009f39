"""Small matrix products with their accumulators in registers, in one of three forms: vectors along
the columns of the result, along its rows, or along the depth."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from danlu.kernels.codegen.function import Value
from danlu.kernels.codegen.types import I64
from danlu.kernels.graph.nodes import dense, dtype_name
from danlu.kernels.graph.operations import from_memory, load_type
from danlu.kernels.graph.single_body import Body, Key, Scope
from danlu.kernels.graph.single_memory import Place
from danlu.kernels.graph.single_nests import identity_axes, may_repeat
from danlu.kernels.graph.single_rows import PlaceWriter
from danlu.kernels.graph.single_steps import Step

__all__ = ["ProductWriter"]

_ROWS = 8  # accumulators of a block, each with an operand of its own
_UNROLLED = 32  # multiplications of a block that are written out
_DOTS = (4, 2)  # the block of sums along the depth
_FOLD = 7.0  # instructions that add up the lanes of one such sum
_TURN = 1.5  # instructions that copy one element to another order


class ProductWriter(PlaceWriter):
    """Writes matrix products."""

    def product(self, step: Step) -> None:
        """Write a product and what follows it in registers."""
        node = step.product
        assert node is not None
        rank = len(node.shape)
        body = Body(self, step.members, self.plan.inline)
        axes = identity_axes(node.shape)
        form = self._form(node)
        row, column = rank - 2, rank - 1
        lane = {"columns": column, "rows": row, "depth": None}[form]
        stores: list[tuple[Key, Place]] = []
        for member in step.members:
            places = self.destinations(member)
            if member in self.plan.stored and not places:
                places = [self._laid_out_product(member, lane)]
            if places:
                self.places[member] = places[0]
            if places or member is node:
                key = body.want(member, axes)
                stores += [(key, place) for place in places]
        given = Key(node, axes)
        a, b = node.args
        if form == "depth":
            a_place, b_place = self.turned(a, len(a.shape) - 1), self.turned(b, len(b.shape) - 2)
        elif form == "columns":
            a_place, b_place = self.place(a), self.turned(b, len(b.shape) - 1)
        else:
            a_place, b_place = self.turned(a, len(a.shape) - 2), self.place(b)
        scope = Scope(lane, self.lanes)
        self.evaluate(body, scope, set())
        writer = _Product(self, node, body, stores, given, a_place, b_place, form)
        writer.run(scope)

    def _laid_out_product(self, node, lane) -> Place:
        if lane is None:
            return self.temporary(node, dense(node.shape), prod(node.shape), None)
        return self.laid_out(node, lane, [lane])

    def _form(self, node) -> str:
        """The form that takes the least instructions, copies of operands included."""
        a, b = node.args
        (m, depth), n = a.shape[-2:], b.shape[-1]
        count = prod(node.shape[:-2])
        lanes = self.lanes

        def copied(operand, axis):
            axis += len(operand.shape)
            return 0 if self.is_turned(operand, axis) else prod(operand.shape) * _TURN

        prices = {
            "depth": count * m * n * (-(-depth // lanes) + _FOLD) + copied(a, -1) + copied(b, -2),
        }
        if n > 1:
            prices["columns"] = count * m * depth * -(-n // lanes) + copied(b, -1)
        if m > 1:
            prices["rows"] = count * n * depth * -(-m // lanes) + copied(a, -2)
        return min(prices, key=lambda form: prices[form])


class _Product:
    """One product being written."""

    def __init__(self, writer, node, body, stores, given, a: Place, b: Place, form: str):
        self.writer, self.f, self.lanes = writer, writer.f, writer.lanes
        self.node, self.body, self.stores, self.given = node, body, stores, given
        self.form, self.kind = form, load_type(dtype_name(node.dtype))
        rank = len(node.shape)
        self.row, self.column = rank - 2, rank - 1
        self.depth = a.shape[-1]
        self.a, self.b = a, b
        # batch axis -> stride
        self.a_steps = _leading(a, rank)
        self.b_steps = _leading(b, rank)

    def run(self, scope: Scope) -> None:
        self._batch(scope, 0, set())

    def _batch(self, scope, axis, entered) -> None:
        if axis < self.row:
            if self.node.shape[axis] == 1:
                self._batch(scope, axis + 1, entered)
                return
            with self.f.loop(0, self.node.shape[axis]) as loop:
                inside = scope.inner(axis, loop.index)
                entered = entered | {axis}
                self.writer.evaluate(self.body, inside, entered)
                self._batch(inside, axis + 1, entered)
            return
        if self.form == "depth":
            self._blocks(scope, self.row, _DOTS[0], lambda inner, height:
                         self._blocks(inner, self.column, _DOTS[1], lambda deepest, width:
                                      self._dots(deepest, height, width)))  # fmt: skip
            return
        lane, other = (self.row, self.column)[:: 1 if self.form == "rows" else -1]

        def blocks(inside):
            self.writer.evaluate(self.body, inside, {*entered, lane})
            rows = _block_height(self.node.shape[other])
            self._blocks(inside, other, rows, lambda deep, height:
                         self._sums(deep, other, height))  # fmt: skip

        self._vectors(scope, lane, blocks)

    def _vectors(self, scope, lane, inwards) -> None:
        f, lanes, size = self.f, self.lanes, self.node.shape[lane]
        if self._rounds(lane):
            size = -(-size // lanes) * lanes
        elif size > lanes and size % lanes and self._may_repeat():
            # the last vector starts within the one before: no code for a shorter one
            with f.loop(0, -(-size // lanes) * lanes, lanes) as loop:
                start = f.minimum(loop.index, f.value(size - lanes, I64))
                inwards(scope.inner(lane, start, lanes))
            return
        whole = size // lanes * lanes
        if whole == lanes:
            inwards(scope.inner(lane, 0, lanes))
        elif whole:
            with self.f.loop(0, whole, lanes) as loop:
                inwards(scope.inner(lane, loop.index, lanes))
        if size > whole:
            inwards(scope.inner(lane, whole, size - whole))

    def _may_repeat(self) -> bool:
        read = {self.a.base, self.b.base}
        return may_repeat(self.body, self.stores) and not any(
            place.base in read for _, place in self.stores
        )

    def _rounds(self, lane) -> bool:
        """Whether the lanes behind the last element may be computed and stored as well."""
        vector = self.a if self.form == "rows" else self.b
        if not vector.is_scratch or self.node.shape[lane] == 1:
            return False
        for op in self.body.ops.values():
            if lane in op.along and op.kind not in ("given", "map", "put", "iota"):
                if op.kind != "load" or op.steps.get(lane) not in (0, 1):
                    return False
                if op.steps[lane] == 1 and not op.place.is_scratch:
                    return False
        return all(place.padded == lane for _, place in self.stores)

    def _blocks(self, scope, axis, height, write: Callable[[Scope, int], None]) -> None:
        """`write(scope at the first row, rows)` for blocks of rows, and for the rest."""
        size = self.node.shape[axis]
        height = min(height, size)
        whole = size // height * height
        if whole == height:
            write(scope.inner(axis, 0), height)
        else:
            with self.f.loop(0, whole, height) as loop:
                write(scope.inner(axis, loop.index), height)
        if size > whole:
            write(scope.inner(axis, whole), size - whole)

    # ------------------------------------------------------------------ operands
    def _start(self, scope, place: Place, steps, axis_steps) -> Value:
        """The address of an operand's element for the indices of the scope, at depth 0."""
        return self.f.at(
            self.writer.base(place), scope.offset(self.f, {**steps, **axis_steps}), self.kind
        )

    def _element(self, address, index) -> Value:
        value = self.f.load(address, self.kind, index)
        return from_memory(self.f, self.writer.target, value, dtype_name(self.node.dtype))

    def _vector(self, address, index, place, valid) -> Value:
        return self.writer.read(self.f.at(address, index, self.kind), place, 1, valid)

    def _multiplied(self, total, x, y) -> Value:
        if total is None:
            return x * y
        return self.f.fma(x, y, total) if x.type.is_float else x * y + total

    # ------------------------------------------------------------------ forms
    def _sums(self, scope, other, height) -> None:
        """A block whose vectors lie along the rows or columns."""
        f, lanes = self.f, self.lanes
        if self.form == "rows":
            vector, scalar, lane = self.a, self.b, self.row
            vectors = self._start(scope, vector, self.a_steps, {lane: vector.strides[-2]})
            scalars = self._start(scope, scalar, self.b_steps, {other: scalar.strides[-1]})
            vector_step, scalar_step, apart = (
                vector.strides[-1], scalar.strides[-2], scalar.strides[-1]
            )  # fmt: skip
        else:
            vector, scalar, lane = self.b, self.a, self.column
            vectors = self._start(scope, vector, self.b_steps, {lane: vector.strides[-1]})
            scalars = self._start(scope, scalar, self.a_steps, {other: scalar.strides[-2]})
            vector_step, scalar_step, apart = (
                vector.strides[-2], scalar.strides[-1], scalar.strides[-2]
            )  # fmt: skip

        def turn(k, totals):
            along = self._vector(vectors, f.arithmetic("*", k, vector_step), vector, scope.valid)
            base = f.at(scalars, f.arithmetic("*", k, scalar_step), self.kind)
            found = []
            for number, total in enumerate(totals):
                single = f.broadcast(self._element(base, number * apart), lanes)
                found.append(self._multiplied(total, along, single))
            return found

        totals = self._over_depth(self.depth, 1, height, turn, None)
        for number, total in enumerate(totals):
            self._finish(scope, {other: number}, total)

    def _dots(self, scope, height, width) -> None:
        """A block of sums along the depth."""
        f, lanes = self.f, self.lanes
        a = self._start(scope, self.a, self.a_steps, {self.row: self.a.strides[-2]})
        b = self._start(scope, self.b, self.b_steps, {self.column: self.b.strides[-1]})
        whole = self.depth // lanes * lanes
        count = height * width

        def turn(k, totals, valid=lanes):
            rows = [self._full(a, number * self.a.strides[-2], k, self.a, valid)
                    for number in range(height)]  # fmt: skip
            columns = [self._full(b, number * self.b.strides[-1], k, self.b, valid)
                       for number in range(width)]  # fmt: skip
            pairs = [(row, column) for row in rows for column in columns]
            return [self._multiplied(total, *pair) for total, pair in zip(totals, pairs)]

        totals: list = [None] * count
        if whole:
            totals = self._over_depth(whole, lanes, count, turn, None)
        if self.depth > whole:
            totals = turn(whole, totals, self.depth - whole)
        for place, total in enumerate(totals):
            value = f.fold_lanes(total, lambda x, y: x + y)
            self._finish(scope, {self.row: place // width, self.column: place % width}, value)

    def _full(self, address, start, k, place, valid) -> Value:
        """A vector along the depth with zeros behind its end."""
        f = self.f
        at = f.arithmetic("+", k, start)
        value = self._vector(address, at, place, valid)
        if valid < self.lanes and place.is_scratch:
            value = f.select(f.mask_below(valid, self.lanes), value, f.value(0, value.type))
        return value

    def _over_depth(self, depth, step, count, turn, first) -> list[Value]:
        """The totals after all of the depth; short ones are written out."""
        totals: list = [None] * count
        if depth // step * count <= _UNROLLED or depth <= step:
            for k in range(0, depth, step):
                totals = turn(k, totals)
            return totals
        totals = turn(0, totals)
        with self.f.loop(step, depth, step, carried=totals) as loop:
            loop.carry(*turn(loop.index, loop.values))
        return loop.results

    def _finish(self, scope, moved: dict[int, int], total) -> None:
        """Compute what follows one accumulator, and store it."""
        f, writer = self.f, self.writer
        inside = scope
        for axis, number in moved.items():
            if number:
                inside = inside.moved(axis, f.arithmetic("+", scope.index[axis], number))
        inside = inside.inner()
        if prod(self.node.shape) == 1:
            writer.scalars[self.node] = total
        inside.values[self.given] = total
        writer.evaluate(self.body, inside)
        for key, place in self.stores:
            writer.store(inside, inside.values[key], place)


def _leading(place: Place, rank: int) -> dict[int, int]:
    missing = rank - len(place.shape)
    return {
        axis + missing: step
        for axis, (size, step) in enumerate(zip(place.shape[:-2], place.strides[:-2])) if size != 1
    }  # fmt: skip


def _block_height(size: int) -> int:
    """Rows of a block: all, or so many that few are left over."""
    if size <= _ROWS:
        return size
    return max(range(4, _ROWS + 1), key=lambda height: (size % height == 0, height))
