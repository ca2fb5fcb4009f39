"""Loop nests of a small graph, all sizes known: along which axis vectors lie, how the temporaries
are laid out for that, and the loops."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from danlu.kernels.codegen.types import DOUBLE, I32, I64
from danlu.kernels.graph.nodes import Node, Unsupported, dense, dtype_name
from danlu.kernels.graph.operations import combine, identity, value_type
from danlu.kernels.graph.single_body import Body, Key, Op, Scope, Vectors
from danlu.kernels.graph.single_memory import Base, Place, Scratch
from danlu.kernels.graph.single_steps import Plan, Step

__all__ = ["Nest", "NestWriter", "identity_axes", "may_repeat"]

# Additions to one lane from which a float sum is kept in double: NumPy's pairwise sums are as exact.
_LONG_SUM = 64
# What an element costs that does not lie next to the one before, in vector instructions.
_APART = 1.5
# Additions in a body from which a second one for the last lanes costs more to compile than it saves.
_LONG_BODY = 16
_FOLD = 6  # the lanes of one vector


def identity_axes(shape) -> tuple[int | None, ...]:
    """The axes of the domain itself."""
    return tuple(None if size == 1 else axis for axis, size in enumerate(shape))


class Nest:
    """Loops and what is done in them.

    Attributes:
        sizes: axis -> its length; of axes that are walked as one, of their last one.
        merged: the other ones of those.
        stores: (key, place): what the body writes.
        sums: (reduction, key of what it reduces).
        lane: the axis of the vectors, or None.
        action: what else the body does, from its scope.
        overlaps: whether the last vector starts within the one before: no code for a shorter one.
        rounded: whether the lanes behind the last element may be computed and stored as well.
    """

    def __init__(self, body: Body, shape, reduced: tuple[int, ...] = ()):
        self.body, self.shape, self.reduced = body, shape, frozenset(reduced)
        self.sizes = {axis: size for axis, size in enumerate(shape) if size != 1}
        self.merged: dict[int, list[int]] = {axis: [axis] for axis in self.sizes}
        self.stores: list[tuple[Key, Place]] = []
        self.sums: list[tuple[Node, Key]] = []
        self.lane: int | None = None
        self.action: Callable[[Scope], None] | None = None
        self.rounded = self.overlaps = False

    def fixed(self) -> list[tuple[dict[int, int], bool]]:
        """(strides, whether they are written) of what lies in memory already."""
        found = [(op.steps, False) for op in self.body.ops.values() if op.kind == "load"]
        return found + [(place.steps, True) for _, place in self.stores]

    def merge(self, outside: list[dict[int, int]]) -> None:
        """Walk over neighbouring axes as one where everything lies accordingly."""
        apart = self.body.read_at()
        accesses = [steps for steps, _ in self.fixed()] + outside
        axes = list(self.sizes)
        for axis, following in zip(reversed(axes[:-1]), reversed(axes[1:])):
            if axis in apart or following in apart:
                continue
            if (axis in self.reduced) != (following in self.reduced):
                continue
            width = self.shape[following]
            if all(steps.get(axis, 0) == steps.get(following, 0) * width for steps in accesses):
                # the pair goes by the last axis of its group
                last = next(each for each, group in self.merged.items() if following in group)
                self.sizes[last] *= self.sizes.pop(axis)
                self.merged[last] = [axis, *self.merged[last]]
                del self.merged[axis]

    def choose_lane(self, lanes: int) -> None:
        """The axis along which the least instructions are needed."""
        accesses = self.fixed()
        work = self.body.price() + len(self.sums)
        total = prod(self.sizes.values())
        best = None
        for axis, size in self.sizes.items():
            price = float(work)
            for steps, written in accesses:
                step = steps.get(axis, 0)
                if step > 1 or step < 0 or (step == 0 and written):
                    price += lanes * _APART
                elif step:
                    price += 1
            price += sum(
                lanes * _APART for op in self.body.ops.values()
                if op.kind in ("gather", "take") and axis in op.along
            )  # fmt: skip
            price *= total // size * -(-size // lanes)
            if axis in self.reduced:
                kept = prod(n for a, n in self.sizes.items() if a not in self.reduced)
                price += _FOLD * kept * len(self.sums)
            if best is None or price <= best:
                best, self.lane = price, axis

    def repeats(self, lanes: int) -> bool:
        """Whether elements may be computed twice, and a second body would cost more."""
        if self.lane is None or self.rounded or self.sizes[self.lane] < lanes:
            return False
        return self.body.price() >= _LONG_BODY and may_repeat(self.body, self.stores)

    def rounds(self, sums: list[Place]) -> bool:
        """Whether all vectors may be whole ones."""
        lane = self.lane
        if lane is None or lane in self.reduced:
            return False
        for op in self.body.ops.values():
            if lane not in op.along:
                continue
            if op.kind in ("gather", "take"):
                return False
            if op.kind == "load" and op.steps.get(lane, 0) != 0:
                if op.steps[lane] != 1 or not op.place.is_scratch:
                    return False
        return all(place.padded == lane for _, place in self.stores) and all(
            place.padded == lane for place in sums
        )


def may_repeat(body: Body, stores: list[tuple[Key, Place]]) -> bool:
    """Whether nothing is read that is written."""
    written = {place.base for _, place in stores}
    return not any(op.place is not None and op.place.base in written for op in body.ops.values())


class NestWriter(Vectors):
    """Writes loop nests, and knows where everything lies.

    Args:
        table: (kind, number) of an array -> its place among the pointers.
    """

    def __init__(self, f, target, plan: Plan, table: dict[tuple[str, int], int], floats):
        super().__init__(f, target, floats)
        self.plan, self.table = plan, table
        self.scratch = Scratch(8 * self.lanes)
        self.places: dict[Node, Place] = {}
        self.wanted: dict[Node, list[Place]] = {}
        self._lent: dict[Node, list[tuple[int, int]]] = {}
        self._turned: dict[tuple[Node | None, Place, int], Place] = {}
        self._parts = {
            part: (whole, number)
            for whole in plan.nodes if whole.op == "concatenate"
            for number, part in enumerate(whole.args)
        }  # fmt: skip

    # ------------------------------------------------------------------ places
    def place(self, node: Node) -> Place:
        """Where a value lies that is in memory."""
        found = self.places.get(node)
        if found is None:
            found = self.places[node] = self._found(node)
        return found

    def _found(self, node) -> Place:
        if node.op == "leaf":
            slot, offset, strides = node.info
            start = Base("table", self.table[slot.kind, slot.number])
            return Place(start, node.dtype, node.shape, offset, strides)
        if node.op == "concatenate":
            return self.temporary(node, dense(node.shape), prod(node.shape), None)
        if node.op not in ("copy", "transpose", "reshape", "view"):
            raise Unsupported(f"{node.op} in memory")
        base = self.place(node.args[0])
        if node.op == "copy":
            return base.broadcast(node.shape)
        if node.op == "transpose":
            padded = None if base.padded is None else node.info.index(base.padded)
            strides = tuple(base.strides[axis] for axis in node.info)
            return base._replace(shape=node.shape, strides=strides, padded=padded)
        look = _reshaping(node.shape) if node.op == "reshape" else node.info.look
        found = base.seen(look)
        if found is None:
            found = self._arranged(node.args[0], base, dense(base.shape), None).seen(look)
        if found is None:
            raise Unsupported("a view that copies")
        return found

    def temporary(self, node: Node, strides, count: int, padded) -> Place:
        """A place in the scratch block, free again after the last use of a computed node."""
        made = Place(Base("scratch", 0), node.dtype, node.shape, 0, tuple(strides), padded)
        start = self.scratch.take(count * made.bytes)
        base = self.plan.in_memory(node)
        if base.op != "leaf":  # copies of arguments serve all views of them
            self._lent.setdefault(base, []).append((start, count * made.bytes))
        return made._replace(base=Base("scratch", start))

    def release(self, nodes) -> None:
        """These values were read for the last time."""
        for node in nodes:
            for start, count in self._lent.pop(node, ()):
                self.scratch.give(start, count)

    def laid_out(self, node: Node, lane: int | None, merged: list[int]) -> Place:
        """A new place with the lane axis innermost, with room for whole vectors; in C order where
        that axis is short."""
        length = prod(node.shape[axis] for axis in merged)
        if lane is None or node.shape[lane] == 1 or length < 2 * self.lanes:
            return self.temporary(node, dense(node.shape), prod(node.shape), None)
        return self._inside(node, lane, merged)

    def _inside(self, node, lane, merged) -> Place:
        """A new place with the lane axis innermost."""
        shape = node.shape
        strides, step = [0] * len(shape), 1
        for axis in reversed(merged):
            strides[axis] = step
            step *= shape[axis]
        step = -(-step // self.lanes) * self.lanes
        for axis in reversed(range(len(shape))):
            if axis not in merged:
                strides[axis] = step
                step *= shape[axis]
        return self.temporary(node, strides, step, lane)

    def turned(self, node: Node, axis: int) -> Place:
        """A place of the node with neighbours along this axis: its own, or that of a copy."""
        place = self.place(node)
        if place.strides[axis] == 1 or place.shape[axis] == 1:
            return place
        key = self._turned_key(node, place, axis)
        if key not in self._turned:
            self._turned[key] = self._arranged(node, place, None, axis)
        return self._turned[key]

    def is_turned(self, node: Node, axis: int) -> bool:
        place = self.place(node)
        beside = place.strides[axis] == 1 or place.shape[axis] == 1
        return beside or self._turned_key(node, place, axis) in self._turned

    def _turned_key(self, node, place, axis):
        """Views of one argument share their copies; scratch memory holds one value after another."""
        base = self.plan.in_memory(node)
        return None if base.op == "leaf" else base, place, axis

    def _arranged(self, node, place, strides, lane) -> Place:
        """A copy of what lies in a place."""
        axes = identity_axes(place.shape)
        body = Body(self, (), self.plan.inline)
        key = Key(node, axes)
        body.ops[key] = Op("load", (), place, frozenset(place.steps), place.steps)
        nest = Nest(body, place.shape)
        if strides is None:
            target = self._inside(node, lane, [lane])
            nest.lane = lane
        else:
            target = self.temporary(node, strides, prod(place.shape), None)
        nest.stores.append((key, target))
        if nest.lane is None:
            nest.choose_lane(self.lanes)
        nest.rounded = nest.rounds([])
        self.run(nest, [])
        return target

    def destinations(self, node: Node) -> list[Place]:
        """Places outside of the scratch block, or within concatenations, that hold a value."""
        found = list(self.wanted.get(node, ()))
        if node in self._parts:
            whole, number = self._parts[node]
            before = sum(each.shape[whole.info] for each in whole.args[:number])
            found.append(self.place(whole).part(whole.info, before, node.shape))
        return found

    # ------------------------------------------------------------------ a nest
    def nest(self, step: Step) -> None:
        """Write a loop nest."""
        body = Body(self, step.members, self.plan.inline)
        nest = Nest(body, step.domain, step.axes or ())
        axes = identity_axes(step.domain)
        waiting: list[tuple[Node, Key]] = []
        for node in step.members:
            if node.op == "reduce":
                nest.sums.append((node, body.want(node.args[0], axes)))
                continue
            places = self.destinations(node)
            if places or node in self.plan.stored:
                key = body.want(node, axes)
                nest.stores += [(key, place) for place in places]
                if places:
                    self.places[node] = places[0]
                else:
                    waiting.append((node, key))
        for node, place in step.finals:
            nest.stores.append((body.want(node, axes), place))
        sums = {node: self.destinations(node) for node, _ in nest.sums}
        outside = [place.steps for places in sums.values() for place in places]
        if not (nest.stores or waiting or nest.sums):
            return  # all members are computed in later steps
        nest.merge(outside)
        nest.choose_lane(self.lanes)
        lane = nest.lane
        merged = [] if lane is None else nest.merged[lane]
        for node, key in waiting:
            self.places[node] = self.laid_out(node, lane, merged)
            nest.stores.append((key, self.places[node]))
        for node, places in sums.items():
            if node in self.plan.stored and not places:
                kept = None if lane in nest.reduced else lane
                places.append(self.laid_out(node, kept, merged))
            if places:
                self.places[node] = places[0]
        nest.rounded = nest.rounds([place for places in sums.values() for place in places])
        nest.overlaps = nest.repeats(self.lanes)
        self.run(nest, list(sums.values()))

    def run(self, nest: Nest, sums: list[list[Place]]) -> None:
        """Write the loops of a nest."""
        lane, reduced = nest.lane, nest.reduced
        kept = [axis for axis in nest.sizes if axis not in reduced and axis != lane]
        inner = [axis for axis in nest.sizes if axis in reduced and axis != lane]
        at_end = lane is None or lane in reduced
        order = [*kept, *inner, lane] if at_end else [*kept, lane, *inner]
        order = [axis for axis in order if axis is not None]
        scope = Scope(lane, self.lanes)
        for group in nest.merged.values():
            scope.index.update(dict.fromkeys(group[:-1], 0))
        first = len(order) - sum(axis in reduced for axis in order)
        self._walk(nest, sums, order, 0, first if nest.sums else -1, scope, set(), None)

    def _walk(self, nest, sums, order, depth, first, scope, entered, totals) -> Any:
        """The loops from one axis inwards; totals are those of the reductions."""
        f = self.f
        self.evaluate(nest.body, scope, entered)
        if depth == first and totals is None:
            begin = self._nothing(nest)
            found = self._walk(nest, sums, order, depth, first, scope, entered, begin)
            self._sum_up(nest, sums, scope, found)
            return None
        if depth == len(order):
            for key, place in nest.stores:
                self.store(scope, scope.values[key], place)
            if nest.action is not None:
                nest.action(scope)
            return self._added(nest, scope, totals)
        axis = order[depth]
        size, entered = nest.sizes[axis], entered | set(nest.merged[axis])

        def inwards(index, valid, values, known=0):
            inside = scope.inner(axis, index, valid)
            inside.known = known
            return self._walk(nest, sums, order, depth + 1, first, inside, entered, values)

        if axis != nest.lane:
            with f.loop(0, size, carried=totals or ()) as loop:
                found = inwards(loop.index, None, loop.values if totals else totals)
                loop.carry(*(found or ()))
            return loop.results if totals else None
        lanes = self.lanes
        if nest.overlaps:
            with f.loop(0, -(-size // lanes) * lanes, lanes, carried=totals or ()) as loop:
                start = f.minimum(loop.index, f.value(size - lanes, I64))
                values = loop.values if totals else totals
                loop.carry(*(inwards(start, lanes, values, loop.index - start) or ()))
            return loop.results if totals else None
        if nest.rounded:
            size = -(-size // lanes) * lanes
        whole = size // lanes * lanes
        if whole == lanes:
            totals = inwards(0, lanes, totals)
        elif whole:
            with f.loop(0, whole, lanes, carried=totals or ()) as loop:
                found = inwards(loop.index, lanes, loop.values if totals else totals)
                loop.carry(*(found or ()))
            totals = loop.results if totals else None
        if size > whole:
            totals = inwards(whole, size - whole, totals)
        return totals

    # ------------------------------------------------------------------ reductions
    def _total_type(self, nest, node):
        type = value_type(dtype_name(node.dtype))
        count = prod(nest.sizes[axis] for axis in nest.sizes if axis in nest.reduced)
        if nest.lane in nest.reduced:
            count //= self.lanes
        if node.info[0] == "sum" and type.scalar == "float" and count > _LONG_SUM:
            return DOUBLE
        return type

    def _nothing(self, nest):
        made = []
        for node, _ in nest.sums:
            start = identity(node.info[0], dtype_name(node.dtype))
            made.append(self.f.value(start, self._total_type(nest, node).vector(self.lanes)))
        return made

    def _added(self, nest, scope, totals):
        if totals is None:
            return None
        f, found = self.f, []
        for (node, key), total in zip(nest.sums, totals):
            kind, name = node.info[0], dtype_name(node.dtype)
            value = scope.values[key]
            if value.type.lanes == 1:
                value = f.broadcast(value, self.lanes)
            value = f.convert(value, total.type.element())
            if nest.lane in nest.reduced and (scope.valid < self.lanes or nest.overlaps):
                nothing = f.value(identity(kind, name), value.type)
                value = f.select(self._new_lanes(scope), value, nothing)
            found.append(combine(f, kind, name, total, value))
        return found

    def _new_lanes(self, scope):
        """The lanes that are elements and were not in the vector before."""
        f = self.f
        if isinstance(scope.known, int):
            return f.mask_below(scope.valid, self.lanes)
        known = f.broadcast(f.convert(scope.known, I32), self.lanes)
        return f.compare("uge", f.lane_numbers(self.lanes), known)

    def _sum_up(self, nest, sums, scope, totals) -> None:
        """Store the results of reductions."""
        f = self.f
        for (node, _), total, places in zip(nest.sums, totals, sums):
            kind, name = node.info[0], dtype_name(node.dtype)
            if nest.lane in nest.reduced:
                total = f.fold_lanes(total, lambda a, b, k=kind, n=name: combine(f, k, n, a, b))
            total = f.convert(total, value_type(name))
            if prod(node.shape) == 1:
                self.scalars[node] = total
            for place in places:
                self.store(scope, total, place)


def _reshaping(shape):
    return lambda array: np.reshape(array, shape, copy=False)
