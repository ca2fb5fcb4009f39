"""From a traced graph to a launch: which arrays there are, and the calls in their order.

A launch is a small Python function written for one signature. Its text is the plan of the memory:

    def launch(a0):
        n5 = empty((4096, 1024), float32)
        k0(64, g0, empty(4608 * threads, uint8), a0, n5)
        return n5
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import prod
from typing import Any

import numpy as np

from danlu.kernels.graph import operations
from danlu.kernels.graph.calls import filled, fresh, named, settled, text_of
from danlu.kernels.graph.fuse import Nest, fuse
from danlu.kernels.graph.hasten import hastened
from danlu.kernels.graph.layout import Laid, Sums, lay_out
from danlu.kernels.graph.library import outcome
from danlu.kernels.graph.nodes import (
    ELSEWHERE,
    SOURCES,
    VIEWS,
    Graph,
    Leaf,
    Node,
    Slot,
    Unsupported,
    dense,
    dtype_name,
    is_elementwise,
    number_of,
)
from danlu.kernels.graph.postpone import Renewal, delayed, postpone, renewed
from danlu.kernels.graph.program import Program
from danlu.kernels.graph.simplify import compact, simplify
from danlu.kernels.graph.storage import Storage, base_of, in_order
from danlu.kernels.graph.traced import Traced, trace
from danlu.kernels.graph.uses import Uses
from danlu.kernels.runtime import launch as launches
from danlu.kernels.runtime import pool

__all__ = ["Plan", "compiled", "plan", "plan_graph"]


class Plan:
    """A traced call, ready to run.

    Attributes:
        graph: the simplified graph.
        steps: its nests and what is done between them, in order.
        laid: nest -> its layout.
        kernels: nest -> its compiled kernel.
        source: the text of `launch`.
        launch: the function.
        names: what the text refers to.
        written: numbers of the arguments that are updated in place.
        may_give_up: whether a launch may raise Unsupported, before it has updated anything.
        dtypes: those of the values that it computes.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.steps: list[Nest | Node] = []
        self.laid: dict[Nest, Laid] = {}
        self.kernels: dict[Nest, launches.Kernel] = {}
        self.source = ""
        self.names: dict[str, object] = {}
        self.launch: Any = None
        self.written: tuple[int, ...] = ()
        self.may_give_up = False
        self.dtypes = {node.dtype for node in graph.nodes}

    @contextmanager
    def poisoned(self) -> Iterator[None]:
        """New arrays hold NaN (all bits set): a launch that reads what it has not written shows
        it."""
        self.names["empty"] = _poisoned
        try:
            yield
        finally:
            self.names["empty"] = np.empty


def _poisoned(shape, dtype=np.float64) -> np.ndarray:
    made = np.empty(shape, dtype)
    made.reshape(-1).view(np.uint8).fill(255)
    return made


def compiled(program: Program) -> launches.Kernel:
    """The kernel of a program, from memory, from the disk, or written now."""

    def write():
        from danlu.kernels.codegen.target import host
        from danlu.kernels.graph.emit import text

        return text(program, host())

    return launches.kernel(("fused", program), write)


def plan(function, arguments) -> Plan:
    """Trace a function and compile what it does.

    Raises:
        Unsupported: something in it is left to NumPy.
    """
    graph, returned = trace(function, arguments)
    many = isinstance(returned, (tuple, list))
    results = list(returned) if many else [returned]
    if returned is None:
        results = []
    if not all(each is None or (isinstance(each, Traced) and not each.weak) for each in results):
        raise Unsupported("a result that is no array")
    nodes = [None if each is None else each.node for each in results]
    made = plan_graph(graph, nodes, arguments, many)
    called = [each for each in made.graph.externs if not made.laid]
    if called and all(_is_numpys(each.function) or not each.is_fresh for each in called):
        raise Unsupported(called[0].name)  # NumPy alone is faster
    return made


def _is_numpys(function) -> bool:
    module = getattr(function, "__module__", None) or ""
    return isinstance(function, np.ufunc) or module.split(".")[0] == "numpy"


def plan_graph(graph: Graph, results, arguments, many: bool = True) -> Plan:
    """Compile a traced graph.

    Args:
        graph: as it was traced; its writes are done after everything that reads what they change.
        results: the nodes to return, each as a new array, or None for None.
        arguments: the arrays and floats that the graph was traced on.
        many: whether a launch returns a tuple, also of one result.

    Raises:
        Unsupported: something in it is left to NumPy.
    """
    wanted = [node for node in results if node is not None]
    if not wanted and not graph.writes:
        raise Unsupported("no results")
    nodes = [_computed(graph, node) for node in wanted]
    graph.writes = {leaf: _computed(graph, value) for leaf, value in graph.writes.items()}
    if graph.externs:
        from danlu.kernels.graph.products import expand

        graph, nodes = expand(graph, nodes)
    graph, nodes = simplify(graph, nodes)
    nodes = [_computed(graph, node) for node in nodes]  # what was folded to numbers is stored too
    graph.writes = {leaf: _computed(graph, value) for leaf, value in graph.writes.items()}
    if graph.externs:
        from danlu.kernels.graph.epilogues import fold

        graph, nodes = compact(*fold(graph, nodes))
    for node in graph.nodes:
        if is_elementwise(node):
            _check(node.op, node.dtype, *(each.dtype for each in node.args))
        elif node.op not in ELSEWHERE and node.op != "leaf":  # which calls may read as well
            _check("copy", node.dtype)
        if 0 in node.shape and not _may_be_empty(graph, node):
            raise Unsupported("no elements")
    graph.writes = dict(_in_shape(graph, *write) for write in graph.writes.items())
    kept = iter(nodes)
    nodes = [None if each is None else next(kept) for each in results]
    return _Planner(graph, nodes, arguments, many).run()


def _may_be_empty(graph, node) -> bool:
    """Whether no loop is asked for: calls may take empty arrays, and return some among others."""
    if node.op == "extern":
        return graph.externs[node.info].many
    return node.op == "leaf"


@cache
def _check(op, dtype, *operands) -> None:
    """Whether an operation can be generated; else Unsupported."""
    operations.check(op, dtype_name(dtype), tuple(map(dtype_name, operands)))


def _computed(graph, node):
    """A node that is stored: not a source itself, but a copy of it."""
    if node.op in SOURCES:
        return graph.make("copy", (node,), node.dtype, node.shape)
    return node


def _in_shape(graph, leaf, value):
    """A write of a reshaped value as one of the value, where the leaf can be looked at so."""
    while value.op == "reshape":
        shape = value.args[0].shape
        found = graph.view(leaf, lambda array, shape=shape: np.reshape(array, shape, copy=False))
        if found is None:
            break
        leaf, value = found, value.args[0]
    if value.op in ELSEWHERE:  # loops copy it, several of one shape together
        with suppress(Unsupported):
            _check("copy", value.dtype)
            value = graph.make("copy", (value,), value.dtype, value.shape)
    return leaf, value


class _Planner:
    def __init__(self, graph, results, arguments, many):
        self.graph, self.results, self.many = graph, results, many
        self.arguments = arguments
        self.plan = Plan(graph)
        self.storage = Storage(graph, arguments)
        self.names = self.storage.names
        self.names.update(threads=pool.MAX_THREADS, fresh=fresh, settled=settled, in_order=in_order)
        self.names["__name__"] = f"{__name__}.launch"  # whose NumPy warnings danlu filters
        self.memory = self.storage.memory
        self.combinations = 0

    def run(self) -> Plan:
        graph, plan, storage = self.graph, self.plan, self.storage
        values = list(graph.writes.values())
        wanted = [base_of(node) for node in [*self.results, *values] if node is not None]
        plan.steps = fuse(graph, wanted)
        postpone(graph, plan.steps, wanted)
        plan.steps = delayed(hastened(graph, plan.steps, wanted))
        plan.steps = renewed(graph, plan.steps, wanted)
        self._look_at_calls()
        self.parts = {
            part: (step, number)
            for step in plan.steps if isinstance(step, Node) and step.op == "concatenate"
            for number, part in enumerate(step.args)
        }  # fmt: skip
        self.returned = {base_of(node) for node in self.results if node is not None}
        self.counts = {
            prod(node.args[0].shape) // prod(node.shape)
            for node in graph.nodes if node.op == "reduce"
        }  # fmt: skip
        uses = self.uses = Uses(graph, plan.steps, [*self.results, *values], self.last_unsure)
        for number, step in enumerate(plan.steps):
            if isinstance(step, Nest):
                self._nest(number, step)
            else:
                self._between(number, step)
            self._release(number, step)
        for leaf, value in graph.writes.items():
            if leaf not in uses.targets.get(value, ()):
                storage.line(f"{storage.look(leaf)}[...] = {storage.look(value)}")
        self._return()
        parameters = ", ".join(f"a{n}" for n in range(len(self.arguments)))
        body = "\n    ".join(storage.text())
        plan.source = f"def launch({parameters}):\n    {body}\n"
        plan.names = self.names
        exec(plan.source, plan.names)
        plan.launch = plan.names["launch"]
        plan.written = tuple({leaf.info.slot.number for leaf in graph.writes})
        return plan

    def _return(self) -> None:
        """Every result is an array of its own."""
        seen, outcome = set(), []
        for node in self.results:
            text = "None" if node is None else self.storage.look(node)
            if node is not None:
                base = base_of(node)
                text += ".copy()" if base in seen else ""
                seen.add(base)
            outcome.append(text)
        if self.many:
            outcome = [f"({''.join(each + ', ' for each in outcome)})"]
        if outcome:
            self.storage.line(f"return {outcome[0]}")

    def _look_at_calls(self) -> None:
        """Find the last call that may give up: until then NumPy needs the old arguments."""
        steps = self.plan.steps
        called = [(number, self.graph.externs[step.info]) for number, step in enumerate(steps)
                  if isinstance(step, Node) and step.op == "extern"]  # fmt: skip
        unsure = [number for number, call in called if not call.is_fresh]
        self.plan.may_give_up = bool(unsure)
        self.last_unsure = max(unsure, default=-1)

    # ------------------------------------------------------------------ steps
    def _nest(self, number, nest) -> None:
        storage = self.storage
        stores: list[tuple[Node, Leaf | None]] = []
        if isinstance(nest, Renewal):
            storage.forget(nest.node)
        for node in nest.members:
            if nest.ends(node):
                continue
            direct = [leaf.info for leaf in self.uses.targets.get(node, ())]
            if node in self.parts and node not in self.memory:
                self.memory[node] = self._place(node)
                direct.append(self.memory[node])
            stores += [(node, leaf) for leaf in direct]
            read_later = self.uses.last_use.get(node, -1) > number
            if node not in self.memory and (
                read_later
                or (node in self.uses.kept and not (direct and node not in self.returned))
            ):
                stores.append((node, None))
        memory = {each: storage.locate(each) for each in self._read(nest)}
        laid = lay_out(nest, memory, stores, self.counts)
        self.plan.laid[nest] = laid
        kernel = self.plan.kernels[nest] = compiled(laid.program)
        place = f"{len(self.plan.kernels) - 1}"
        dying = self._may_take_over(number, nest)
        addresses = []
        for slot in laid.slots:
            if isinstance(slot, Slot):
                addresses.append(storage.slot_name(slot))
            elif slot in laid.sums:
                addresses.append(self._sums_array(slot, laid, nest))
            else:
                addresses.append(self._result_array(slot, laid, nest, dying))
        self._launch(kernel, laid, f"k{place}", f"g{place}", addresses)
        self._combine(laid, nest)

    def _read(self, nest):
        """The members' operands that are in memory."""
        found = {arg for node in nest.members for arg in node.args if arg not in nest.members}
        found.update(node.args[0] for node in nest.members if node.op == "gather")
        return [node for node in found if node.op == "leaf" or node.op not in SOURCES]

    def _launch(self, kernel, laid, name, geometry, addresses) -> None:
        self.names[name], self.names[geometry] = kernel.call, laid.geometry
        scratch = "None"
        if laid.scratch:  # one task runs on the calling thread, which is number 0
            factor = "" if laid.tasks == 1 else " * threads"
            scratch = f"empty({laid.scratch}{factor}, uint8)"
        arguments = [str(laid.tasks), geometry, scratch, *addresses]
        arguments += [f"a{number}" for number in laid.scalars]
        self.storage.line(f"{name}({', '.join(arguments)})")

    def _may_take_over(self, number, nest) -> list[Node]:
        """Values that a nest of one pass reads for the last time, each element where it may be
        replaced."""
        if "row" in nest.kinds.values() or any(n.op in ("gather", "put") for n in nest.members):
            return []
        outside = self.uses.outside[number]
        read = Counter(map(base_of, outside))
        return [
            node for node in self.uses.dying.get(number, ())
            if read[node] == 1 and node in outside and node in self.storage.owned
        ]  # fmt: skip

    def _result_array(self, node, laid, nest, dying) -> str:
        """An array for a value: one that dies here, or a new one."""
        skip = len(nest.domain) - len(node.shape)
        order = [axis - skip for axis in laid.order if axis >= skip]
        wide = [axis for axis in order if node.shape[axis] != 1]
        for each in dying:
            if (each.dtype, each.shape, node.shape) == (node.dtype, node.shape, nest.domain):
                strides = self.memory[each].strides
                if wide == sorted(wide, key=lambda axis: -strides[axis]):
                    dying.remove(each)
                    return self.storage.take_over(node, each)
        return self.storage.make(node, order)

    # ------------------------------------------------------------------ sums over tasks
    def _sums_array(self, node, laid, nest) -> str:
        """Where the tasks put their sums; the sum of a single one is the value."""
        sums, kind = laid.sums[node], nest.kinds[node]
        if prod(_sizes(sums, kind)) == prod(sums.shape) and node.dtype.itemsize > 2:
            skip = len(nest.domain) - len(node.shape)
            return self.storage.make(node, [axis - skip for axis in sums.axes])
        dtype = np.dtype(np.float32) if node.dtype.itemsize == 2 else node.dtype
        name = f"p{node.number}"
        self.storage.scratch(name, _sizes(sums, kind), dtype)
        return name

    def _combine(self, laid, nest) -> None:
        """Put the tasks' sums together, in their order: by a loop nest for all of one size."""
        waiting: dict[tuple, list[Node]] = {}
        for node, sums in laid.sums.items():
            if node not in self.memory:
                kind = nest.kinds[node]
                waiting.setdefault((_sizes(sums, kind), kind), []).append(node)
        for (sizes, kind), nodes in waiting.items():
            axis = len(sizes) - 1 if kind == "split" else 0
            adding, memory = Nest(sizes), {}
            stores: list[tuple[Node, Leaf | None]] = []
            adding.columns = (axis,) if sizes[axis] > 1 else None
            for node in nodes:
                source, total = self._adding(adding, node, laid.sums[node].kind, axis)
                memory[source] = source.info
                skip = len(nest.domain) - len(node.shape)
                self.storage.make(node, [each - skip for each in laid.sums[node].axes])
                stores.append((total, Leaf(Slot("node", node.number), 0, dense(total.shape))))
            combined = lay_out(adding, memory, stores, set())
            number = self.combinations = self.combinations + 1
            addresses = [self.storage.slot_name(slot) for slot in combined.slots]
            kernel = compiled(combined.program)
            self._launch(kernel, combined, f"s{number}", f"o{number}", addresses)
            for node in nodes:
                self.storage.free_scratch(f"p{node.number}")

    def _adding(self, nest, node, kind, axis):
        """The array of a value's sums and the node that adds them up, a member of the nest."""
        dtype = np.dtype(np.float32) if node.dtype.itemsize == 2 else node.dtype
        lies = Leaf(Slot("sums", node.number), 0, dense(nest.domain))
        source = total = self.graph.make("leaf", (), dtype, nest.domain, lies)
        if nest.columns is not None:
            shape = tuple(1 if i == axis else n for i, n in enumerate(nest.domain))
            total = self.graph.make("reduce", (source,), dtype, shape, (kind, (axis,)))
            nest.kinds[total] = "row"
            nest.members[total] = None
        if dtype != node.dtype:
            total = self.graph.make("convert", (total,), node.dtype, total.shape)
            nest.members[total] = None
        return source, total

    # ------------------------------------------------------------------ calls
    def _between(self, number, node) -> None:
        if node.op in VIEWS:
            self.storage.locate(node)
        elif node.op != "concatenate":  # whose parts are in their places
            self._call(number, node)

    def _call(self, number, node) -> None:
        """A call, or one of its results."""
        source = node.args[0] if node.op == "result" else node
        call = self.graph.externs[source.info]
        text, over = f"r{source.number}[{node.info}]", None
        if node.op == "extern":
            text = text_of(call, node, self._operand, self.names)
            if call.many:
                self.storage.hold(node, f"r{node.number}", text)
                return
            over = self.uses.replaced(number, node, call)
            over = over if over in self.storage.owned else None
            if over is not None:
                text = f"{text[:-1]}, over=True)"
        order = self._order_of(node, source, call)
        helper = settled if not call.is_fresh else fresh if order is None else in_order
        given = f"{text}, {node.shape}, {self.storage.dtype(node.dtype)}"
        if order is not None:
            given += f", {order}"
        if not call.is_fresh:
            given += "".join(f", {self._operand(arg, False)}" for arg in source.args
                             if arg.shape == node.shape)  # fmt: skip
        self.storage.returned(node, f"{helper.__name__}({given})", order, over)

    def _order_of(self, node, source, call):
        """The axes of a result as they lie in memory, where a call states that."""
        if not call.is_fresh:
            return None
        stated = outcome(call.function, filled(call.args, source.args),
                         filled(call.kwargs, source.args))  # fmt: skip
        if node.op == "result" and stated is not None:
            stated = stated[node.info]
        return None if stated is None or len(stated) < 3 else stated[2]

    def _operand(self, node, weak) -> str:
        """What a call gets: an array, or a Python float."""
        if node.op == "scalar":
            return f"a{node.info}"
        if node.op == "constant":
            number = node.dtype.type(number_of(node))
            return named(self.names, "v", number.item() if weak else number)
        if node.op == "iota":
            counted = np.arange(node.shape[node.info], dtype=node.dtype).reshape(node.shape)
            return named(self.names, "v", counted)
        text = self.storage.look(node)
        return f"{text}.item()" if weak else text

    def _place(self, part) -> Leaf:
        """Where a part of a concatenation lies, whose array is made for the first of them."""
        whole, number = self.parts[part]
        if whole not in self.memory:
            self.storage.make(whole)
        slot, _, strides = self.memory[whole]
        before = sum(each.shape[whole.info] for each in whole.args[:number])
        return Leaf(slot, before * strides[whole.info], strides)

    def _release(self, number, step) -> None:
        """Free what was read for the last time, and what nothing reads."""
        for node in self.uses.dying.get(number, ()):
            self.storage.free(node)
        if isinstance(step, Node) and step not in self.uses.last_use and step not in self.uses.kept:
            self.storage.free(step)


def _sizes(sums: Sums, kind: str) -> tuple[int, ...]:
    """The shape of an array of tasks' sums."""
    if kind == "split":
        return (*sums.shape, sums.tasks // prod(sums.shape))
    return (sums.tasks, *sums.shape)
