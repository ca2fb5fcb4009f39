"""What a loop computes at one index: values in the order of computation, each with the axes of the
domain that it changes along, so that it is computed outside of the loops over the others."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from danlu.kernels.codegen.function import Function, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import DOUBLE, I64, PTR
from danlu.kernels.graph import operations
from danlu.kernels.graph.fuse import cost
from danlu.kernels.graph.nodes import VIEWS, Node, dtype_name, number_of
from danlu.kernels.graph.operations import from_memory, load_type, to_memory, value_type
from danlu.kernels.graph.single_memory import Base, Place
from danlu.kernels.graph.single_steps import renames

__all__ = ["Body", "Key", "Op", "Scope", "Vectors", "resolved"]

# for each axis of a node the axis of the domain that it follows; None where it has length 1
Axes = tuple[int | None, ...]


class Key(NamedTuple):
    """A node as it is seen from a domain."""

    node: Node
    axes: Axes


class Op(NamedTuple):
    """How a value is computed.

    Attributes:
        kind: "number", "scalar", "load", "iota", "given" (set by the loops), "gather", "take", "put",
            or "map".
        args: of what.
        place: what is loaded, or picked from.
        along: the domain's axes that it changes along.
        steps: axis of the domain -> stride, of what is loaded.
    """

    kind: str
    args: tuple[Key, ...]
    place: Any  # a Place
    along: frozenset[int]
    steps: dict[int, int]


class Body:
    """The ops of a loop's body.

    Args:
        memory: what tells where nodes lie: `place(node)`.
        members: nodes that are computed here.
    """

    def __init__(self, memory, members, is_inline):
        self.memory, self.members, self.is_inline = memory, members, is_inline
        self.ops: dict[Key, Op] = {}

    def want(self, node: Node, axes: Axes) -> Key:
        """The key of a value, which is computed from here on."""
        node, axes = resolved(node, axes, self.is_inline)
        key = Key(node, axes)
        if key not in self.ops:
            op = self._op(node, axes)  # its operands come first
            self.ops[key] = op
        return key

    def _op(self, node, axes) -> Op:
        along = frozenset(axis for axis in axes if axis is not None)
        if node.op in ("constant", "scalar", "iota"):
            kind = "number" if node.op == "constant" else node.op
            return Op(kind, (), None, along, {})
        if not along and node in self.memory.scalars:
            return Op("given", (), None, along, {})
        inline = self.is_inline(node)
        is_view = node.op in VIEWS or node.op in ("leaf", "concatenate")
        if node.op == "product" and node in self.members:
            return Op("given", (), None, along, {})
        if is_view or node.op == "reduce" or not (inline or node in self.members):
            place = self.memory.place(node)
            return Op("load", (), place, along, _steps(place.strides, axes))
        if node.op == "gather":
            place = self.memory.place(node.args[0])
            index = self.want(node.args[1], axes)
            return Op("gather", (index,), place, along, _steps(place.strides, axes))
        if node.op == "take":
            place = self.memory.place(node.args[0])
            rank = len(node.args[1].shape)
            index = self.want(node.args[1], axes[:rank])
            steps = _steps(place.strides[1:], axes[rank:])
            return Op("take", (index,), place, along, steps)
        args = tuple(self.want(each, _of_operand(each, axes)) for each in node.args)
        return Op("put" if node.op == "put" else "map", args, None, along, {})

    def price(self) -> int:
        return sum(cost(key.node) for key in self.ops)

    def read_at(self) -> set[int]:
        """Axes by whose number elements are computed or picked: these loops stay on their own."""
        found: set[int] = set()
        for op in self.ops.values():
            if op.kind in ("iota", "gather", "take", "put"):
                found |= op.along
        return found


def resolved(node: Node, axes: Axes, is_inline) -> tuple[Node, Axes]:
    """The node that a renaming one shows, and its axes."""
    while renames(node) and is_inline(node):
        base = node.args[0]
        if prod(base.shape) == 1:
            axes = (None,) * len(base.shape)
        elif node.op == "copy":
            axes = _of_operand(base, axes)
        elif node.op == "transpose":
            turned: list[int | None] = [None] * len(axes)
            for axis, source in enumerate(node.info):
                turned[source] = axes[axis]
            axes = tuple(turned)
        else:
            wide = iter([axis for axis, size in zip(axes, node.shape) if size != 1])
            axes = tuple(None if size == 1 else next(wide) for size in base.shape)
        node = base
    return node, tuple(None if n == 1 else axis for n, axis in zip(node.shape, axes))


def _of_operand(operand: Node, axes: Axes) -> Axes:
    """Axes of a broadcast operand."""
    missing = len(axes) - len(operand.shape)
    aligned = axes[missing:]
    return tuple(None if n == 1 else axis for n, axis in zip(operand.shape, aligned))


def _steps(strides, axes) -> dict[int, int]:
    return {axis: step for axis, step in zip(axes, strides, strict=False) if axis is not None}


# ------------------------------------------------------------------------------ at one index
class Scope:
    """What is known at a place in the loops.

    Attributes:
        index: axis of the domain -> its index there, a Value or an int; of the lane axis, of the
            first lane.
        lane: the axis along which vectors lie, or None.
        valid: the lanes that are elements.
        known: the first lanes that were in the vector before, a Value or 0.
        values: of ops.
    """

    __slots__ = ("_offsets", "index", "known", "lane", "valid", "values")

    def __init__(self, lane: int | None, valid: int):
        self.index: dict[int, Any] = {}
        self.values: dict[Key, Value] = {}
        self._offsets: dict[tuple, Any] = {}
        self.lane, self.valid = lane, valid
        self.known: Any = 0

    def inner(self, axis=None, index=None, valid=None) -> Scope:
        """The scope of a loop over one more axis."""
        made = Scope(self.lane, self.valid if valid is None else valid)
        made.index, made.values, made.known = dict(self.index), dict(self.values), self.known
        made._offsets = dict(self._offsets)
        if axis is not None:
            made.index[axis] = index
        return made

    def moved(self, axis, index) -> Scope:
        """The scope at another index of an axis; values that change along it are not known."""
        made = Scope(self.lane, self.valid)
        made.index = {**self.index, axis: index}
        made.values = {
            key: value for key, value in self.values.items() if axis not in key.axes
        }  # fmt: skip
        return made

    def offset(self, f: Function, steps: dict[int, int]):
        """The number of the element at the index, for these strides."""
        key = tuple(sorted((axis, step) for axis, step in steps.items() if step))
        found = self._offsets.get(key)
        if found is None:
            found = 0
            for axis, step in key:
                found = f.arithmetic("+", found, f.arithmetic("*", self.index[axis], step))
            self._offsets[key] = found
        return found


class Vectors:
    """Reading, computing and writing vectors.

    Args:
        f: the function being written; its parameters are (table, scalars, scratch).
        floats: argument -> its place among the scalars.
    """

    def __init__(self, f: Function, target: Target, floats: dict[int, int]):
        self.f, self.target, self.floats = f, target, floats
        self.lanes = target.float_lanes
        self.scalars: dict[Node, Value] = {}  # single numbers, known from here on
        self._bases: dict[tuple, Value] = {}
        self._first = f.reserve_line()
        self._head: list[str] = []

    def finish(self) -> None:
        """Write what comes before everything else."""
        self.f.fill_line(self._first, "\n".join(self._head))

    def base(self, place: Place) -> Value:
        """The address of the first element of a place."""
        key = place.base, place.offset * place.bytes
        if key not in self._bases:
            self._bases[key] = self._pointer(*key)
        return self._bases[key]

    def _pointer(self, base: Base, offset: int) -> Value:
        name = f"%p{len(self._bases)}"
        if base.kind == "scratch":
            start = f"%{base.kind}"
            offset += base.number
        else:
            whole = (base, 0)
            if offset and whole not in self._bases:
                self._bases[whole] = self._pointer(base, 0)
                name = f"%p{len(self._bases)}"
            if not offset:
                at = f"{name}.at"
                self._head.append(f"  {at} = getelementptr ptr, ptr %table, i64 {base.number}")
                self._head.append(f"  {name} = load ptr, ptr {at}, align 8")
                return self.f.named(name, PTR)
            start = self._bases[whole].name
        self._head.append(f"  {name} = getelementptr i8, ptr {start}, i64 {offset}")
        return self.f.named(name, PTR)

    # ------------------------------------------------------------------ ops
    def evaluate(self, body: Body, scope: Scope, entered: set[int] | None = None) -> None:
        """Compute what changes along no other axes than these (None: everything)."""
        for key, op in body.ops.items():
            if key in scope.values or (entered is not None and not op.along <= entered):
                continue
            if not all(each in scope.values for each in op.args):  # waits for what is given
                continue
            found = None if op.along else self.scalars.get(key.node)
            if found is None and op.kind != "given":
                found = self._computed(key, op, scope)
                if not op.along:
                    self.scalars[key.node] = found
            if found is not None:
                scope.values[key] = found

    def _computed(self, key: Key, op: Op, scope: Scope) -> Value:
        f, node = self.f, key.node
        name = dtype_name(node.dtype)
        if op.kind == "number":
            return f.value(number_of(node), value_type(name))
        if op.kind == "scalar":
            return f.load(f.named("%scalars", PTR), DOUBLE, self.floats[node.info])
        if op.kind == "load":
            return self.load(scope, op.place, op.steps)
        if op.kind == "iota":
            return self._counted(node, key.axes[node.info], scope)
        if op.kind == "gather":
            return self._picked(node, key, op, scope, node.info)
        if op.kind == "take":
            return self._picked(node, key, op, scope, 0)
        if op.kind == "put":
            return self._put(key, op, scope)
        values = [scope.values[each] for each in op.args]
        names = tuple(dtype_name(each.node.dtype) for each in op.args)
        values = self.aligned(values, op.args)
        return operations.write(f, self.target, node.op, name, names, values)

    def aligned(self, values, keys=()):
        """Values of one lane count; numbers are written as vectors at once."""
        lanes = max(each.type.lanes for each in values)
        if lanes == 1:
            return values
        made = []
        for place, value in enumerate(values):
            if value.type.lanes == 1:
                node = keys[place].node if keys else None
                if node is not None and node.op == "constant":
                    value = self.f.value(number_of(node), value.type.vector(lanes))
                else:
                    value = self.f.broadcast(value, lanes)
            made.append(value)
        return made

    def _counted(self, node, axis, scope):
        """The index along an axis as a number of the node's dtype."""
        f = self.f
        type = value_type(dtype_name(node.dtype))
        index = f.value(0 if axis is None else scope.index[axis], I64)
        if axis is None or axis != scope.lane:
            return f.convert(index, type)
        lanes = self.lanes
        wide = f.broadcast(index, lanes) + f.lane_numbers(lanes, I64)
        return f.convert(wide, type)

    def _put(self, key, op, scope):
        """A row with one element in the place of another."""
        f = self.f
        x, index, value = (scope.values[each] for each in op.args)
        number = op.args[1].node
        index = f.convert(index, I64, signed=number.dtype.kind != "u")
        index = f.select(f.compare("slt", index, 0), index + key.node.shape[1], index)
        axis = key.axes[1]
        here = f.value(0 if axis is None else scope.index[axis], I64)
        if axis is not None and axis == scope.lane:
            here = f.broadcast(here, self.lanes) + f.lane_numbers(self.lanes, I64)
        index, here = self.aligned([index, here])
        chosen = f.compare("eq", here, index)
        return f.select(*self.aligned([chosen, value, x]))

    def _picked(self, node, key, op, scope, axis):
        """Elements at places that indices tell: beyond the ends, the last ones; negative indices
        count from the end."""
        f, place = self.f, op.place
        index = scope.values[op.args[0]]
        source = op.args[0].node
        index = f.convert(index, I64, signed=source.dtype.kind != "u")
        length = place.shape[axis]
        index = f.select(f.compare("slt", index, 0), index + length, index)
        index = f.intrinsic("smin", f.intrinsic("smax", index, 0), length - 1)
        steps = dict(op.steps)
        if node.op == "gather":
            steps.pop(key.axes[axis], None)
        start = scope.offset(f, steps)
        pointer, kind = self.base(place), load_type(dtype_name(node.dtype))
        rest = steps.get(scope.lane, 0) if scope.lane is not None else 0
        if index.type.lanes == 1:
            first = index * place.strides[axis] + start
            return self.read(f.at(pointer, first, kind), place, rest, scope.valid)
        vector = f.value(0, kind.vector(self.lanes))
        for lane in range(scope.valid):
            each = f.extract(index, lane) * place.strides[axis] + start
            element = f.load(pointer, kind, each + lane * rest if rest else each)
            vector = f.insert(vector, element, lane)
        return from_memory(f, self.target, vector, dtype_name(node.dtype))

    # ------------------------------------------------------------------ memory
    def load(self, scope: Scope, place: Place, steps: dict[int, int]) -> Value:
        """An element, or a vector along the lane axis where the place changes along it."""
        f, kind = self.f, load_type(dtype_name(place.dtype))
        rest = steps.get(scope.lane, 0) if scope.lane is not None else 0
        address = f.at(self.base(place), scope.offset(f, steps), kind)
        return self.read(address, place, rest, scope.valid)

    def read(self, address: Value, place: Place, rest: int, valid: int) -> Value:
        """A vector of elements that lie `rest` apart, of which the first `valid` are wanted; one
        element where `rest` is 0."""
        f, kind = self.f, load_type(dtype_name(place.dtype))
        V = kind.vector(self.lanes)
        if rest == 0:
            value = f.load(address, kind)
        elif rest == 1 and (valid == self.lanes or place.is_scratch):
            value = f.load(address, V)
        elif rest == 1 and kind.bytes >= 4 and self.target.masks:
            value = f.masked_load(address, f.mask_below(valid, self.lanes), V)
        else:
            value = self._gathered(address, kind, rest, valid)
        return from_memory(f, self.target, value, dtype_name(place.dtype))

    def _gathered(self, address, kind, rest, count):
        f = self.f
        vector = f.value(0, kind.vector(self.lanes))
        for lane in range(count):
            vector = f.insert(vector, f.load(address, kind, lane * rest), lane)
        return vector

    def store(self, scope: Scope, value: Value, place: Place) -> None:
        """Write an element, or the vector's lanes that are elements."""
        f, steps = self.f, place.steps
        rest = steps.get(scope.lane, 0) if scope.lane is not None else 0
        kind = load_type(dtype_name(place.dtype))
        address = f.at(self.base(place), scope.offset(f, steps), kind)
        self.write(address, place, rest, scope.valid, value)

    def write(self, address: Value, place: Place, rest: int, valid: int, value: Value) -> None:
        """Write the first `valid` lanes to elements that lie `rest` apart."""
        f, name = self.f, dtype_name(place.dtype)
        if rest and value.type.lanes == 1:
            value = f.broadcast(value, self.lanes)
        value = to_memory(f, self.target, value, name)
        if rest == 0 or (rest == 1 and (valid == self.lanes or place.padded is not None)):
            f.store(value, address)
        elif rest == 1:
            self._store_pieces(value, address, valid)
        else:
            kind = value.type.element()
            for lane in range(valid):
                f.store(f.extract(value, lane), f.at(address, lane * rest, kind))

    def _store_pieces(self, value, address, count):
        """The first lanes in pieces of 2**n: masked stores are slow where they are not native."""
        f, place = self.f, 0
        kind = value.type.element()
        while place < count:
            size = 1 << ((count - place).bit_length() - 1)
            if size == 1:
                part = f.extract(value, place)
            else:
                part = f.shuffle(value, None, range(place, place + size))
            f.store(part, f.at(address, place, kind))
            place += size
