"""The text of a small graph's machine code: `step`, which computes everything once, and `launch`,
the built-in function around it."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import DOUBLE, I8, I32, I64, PTR, VOID
from danlu.kernels.graph.nodes import Graph, Node, dense
from danlu.kernels.graph.simplify import simplify
from danlu.kernels.graph.single_body import Body, Scope
from danlu.kernels.graph.single_memory import Base, Place
from danlu.kernels.graph.single_nests import identity_axes
from danlu.kernels.graph.single_products import ProductWriter
from danlu.kernels.graph.single_steps import Plan, Step, lower

__all__ = ["Signature", "text"]

_DATA, _TYPE, _VALUE = 16, 8, 16  # where objects keep the address of the data, their type, a float


class Signature(NamedTuple):
    """What the launch takes and makes.

    Attributes:
        kinds: "array" or "float", of each argument.
        captured: how many arrays the graph refers to.
        early: number of a call -> that of its first array among those made before the launch.
        made: how many of these there are.
        results: shapes of the results.
    """

    kinds: tuple[str, ...]
    captured: int
    early: dict[int, int]
    made: int
    results: tuple[tuple[int, ...], ...]

    def table(self) -> dict[tuple[str, int], int]:
        """(kind, number) -> place among the pointers: arguments and arrays of calls in the order in
        which the launch gets them, arrays that the graph refers to, results."""
        arrays = [n for n, kind in enumerate(self.kinds) if kind == "array"]
        names = [("argument", n) for n in arrays]
        names += [("early", n) for n in range(self.made)]
        names += [("array", n) for n in range(self.captured)]
        names += [("result", n) for n in range(len(self.results))]
        return {name: place for place, name in enumerate(names)}

    def floats(self) -> dict[int, int]:
        """Argument -> place among the floats."""
        numbers = [n for n, kind in enumerate(self.kinds) if kind == "float"]
        return {n: place for place, n in enumerate(numbers)}


def text(graph: Graph, results: list[Node], signature: Signature, target: Target) -> str:
    """The IR of a graph.

    Raises:
        Unsupported: something in it is not generated.
    """
    graph, results = simplify(graph, results)
    graph, results = lower(graph, results, signature.early)
    step, size = _step(Plan(graph, results), signature, target)
    launch = _launch(signature)
    module = Module(step, launch)
    for number, shape in enumerate(signature.results):
        if shape:
            module.table(f"shape{number}", shape, I64)
    symbols = ("danlu_ndarray_type", "danlu_float_type", "danlu_type_error")
    head = [f"@{name} = external global i8" for name in symbols]
    head.append(f"@scratch_size = constant i64 {size}")
    head.append(f'@wrong = private constant [{len(_WRONG) + 1} x i8] c"{_WRONG}\\00"')
    return "\n".join(head) + "\n" + module.text()


_WRONG = "other arguments than those that the code was made for"


# ------------------------------------------------------------------------------ the computation
def _step(plan: Plan, signature: Signature, target: Target) -> tuple[Function, int]:
    """`step(table, scalars, scratch)`, and the bytes of the scratch block."""
    f = Function("step", [("table", PTR), ("scalars", PTR), ("scratch", PTR)], VOID)
    table = signature.table()
    writer = ProductWriter(f, target, plan, table, signature.floats())
    direct = plan.direct()
    finals: list[tuple[Node, Place]] = []
    written: list[tuple[Node, Place]] = []
    for number, node in enumerate(plan.results):
        place = Place(
            Base("table", table["result", number]), node.dtype, node.shape, 0, dense(node.shape)
        )
        if node in plan.home:
            writer.wanted.setdefault(node, []).append(place)
        elif node.op == "concatenate" and node not in writer.places:
            writer.places[node] = place
        else:
            finals.append((node, place))
    for leaf, value in plan.graph.writes.items():
        if direct.get(leaf) is value:
            writer.wanted.setdefault(value, []).append(writer.place(leaf))
        else:
            written.append((value, writer.place(leaf)))
    last: dict[Node, int] = {}
    for number, nodes in enumerate(plan.reads):
        for node in nodes:
            last[node] = number
    ending: dict[int, list[Node]] = {}
    for node, number in last.items():
        ending.setdefault(number, []).append(node)
    for number, step in enumerate(plan.steps):
        if step.product is None:
            writer.nest(step)
        elif step.product.op == "product":
            writer.product(step)
        elif step.product.op == "sum_rows":
            writer.sum_rows(step.product)
        else:
            writer.with_part(step.product)
        writer.release(ending.get(number, ()))
    _compute_numbers(writer, plan, [*finals, *written])
    for node, place in [*finals, *written]:
        final = Step(node.shape)
        final.finals.append((node, place))
        writer.nest(final)
    f.ret()
    writer.finish()
    return f, writer.scratch.size


def _compute_numbers(writer, plan, finals) -> None:
    """Single numbers are known before anything is written to arguments."""
    body = Body(writer, (), plan.inline)
    for node, _ in finals:
        if prod(node.shape) == 1:
            body.want(node, identity_axes(node.shape))
    writer.evaluate(body, Scope(None, writer.lanes), set())


# ------------------------------------------------------------------------------ the call
def _launch(signature: Signature) -> Function:
    """`launch(argument, ...)`: a METH_FASTCALL function. `self` is an array of addresses: of the
    scratch block, of the arrays that the graph refers to, and NumPy's numbers of the results'
    types."""
    f = Function("launch", [("self", PTR), ("given", PTR), ("number", I64)], PTR)
    given = f.parameters[1]
    kinds = (*signature.kinds, *("array",) * signature.made)
    table, floats = signature.table(), signature.floats()
    pointers = f.stack(PTR, max(1, len(table)))
    scalars = f.stack(DOUBLE, max(1, len(floats)))
    refused, failed = f.new_block(), f.new_block()

    def require(condition, otherwise):
        following = f.new_block()
        f.branch(condition, following, otherwise)
        f.begin(following)

    def field(thing: Value, offset: int, type):
        return f.load(f.at(thing, offset, I8), type)

    require(f.compare("eq", f.parameters[2], len(kinds)), refused)
    place = 0
    for number, kind in enumerate(kinds):
        thing = f.load(given, PTR, number)
        symbol = "@danlu_ndarray_type" if kind == "array" else "@danlu_float_type"
        require(f.compare("eq", field(thing, _TYPE, PTR), f.named(symbol, PTR)), refused)
        if kind == "array":
            f.store(field(thing, _DATA, PTR), pointers, place)
            place += 1
        else:
            f.store(field(thing, _VALUE, DOUBLE), scalars, floats[number])
    constants = field(f.parameters[0], _DATA, PTR)
    for number in range(signature.captured):
        f.store(f.load(constants, PTR, 1 + number), pointers, place)
        place += 1
    made = f.call("PyTuple_New", PTR, f.value(len(signature.results), I64))
    null, none = f.value(0, PTR), f.value(0, I32)
    missing = f.new_block()
    require(f.compare("ne", made, null), missing)
    for number, shape in enumerate(signature.results):
        kind_at = 1 + signature.captured + number
        kind_number = f.convert(f.load(constants, I64, kind_at), I32)
        sizes = f.named(f"@shape{number}", PTR) if shape else null
        array = f.call(
            "danlu_array_new", PTR, f.named("@danlu_ndarray_type", PTR), f.value(len(shape), I32),
            sizes, kind_number, null, null, none, none, null,
        )  # fmt: skip
        require(f.compare("ne", array, null), failed)
        f.call("PyTuple_SetItem", I32, made, f.value(number, I64), array)
        f.store(field(array, _DATA, PTR), pointers, place + number)
    f.call("step", VOID, pointers, scalars, f.load(constants, PTR, 0))
    f.ret(made)
    f.begin(refused)
    f.call("PyErr_SetString", VOID, f.load(f.named("@danlu_type_error", PTR), PTR),
           f.named("@wrong", PTR))  # fmt: skip
    f.ret(null)
    f.begin(failed)
    f.call("Py_DecRef", VOID, made)
    f.jump(missing)
    f.begin(missing)
    f.ret(null)
    return f
