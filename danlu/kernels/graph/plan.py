"""From a traced graph to a launch: which arrays there are, and the calls in their order.

A launch is a small Python function written for one signature. Its text is the plan of the memory:

    def launch(a0):
        n5 = empty((4096, 1024), float32)
        k0(64, g0, empty(4608 * threads, uint8), a0, n5)
        return n5
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from danlu.kernels.graph import operations
from danlu.kernels.graph.calls import fresh, named, settled, text_of
from danlu.kernels.graph.fuse import Nest, fuse
from danlu.kernels.graph.layout import Laid, lay_out
from danlu.kernels.graph.nodes import (
    ELSEWHERE,
    SOURCES,
    VIEWS,
    Graph,
    Leaf,
    Node,
    Slot,
    Unsupported,
    is_elementwise,
    number_of,
    overlap,
    window,
)
from danlu.kernels.graph.program import Program
from danlu.kernels.graph.simplify import simplify
from danlu.kernels.graph.traced import Traced, trace
from danlu.kernels.runtime import launch as launches
from danlu.kernels.runtime import pool

__all__ = ["Plan", "compiled", "plan", "plan_graph"]

_COMBINE = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


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
    return plan_graph(graph, nodes, arguments, many)


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
    graph, nodes = simplify(graph, nodes)
    if graph.externs:
        from danlu.kernels.graph.epilogues import fold

        graph, nodes = fold(graph, nodes)
    for node in graph.nodes:
        if is_elementwise(node):
            operations.check(node.op, node.dtype.name, tuple(a.dtype.name for a in node.args))
        elif node.op not in ELSEWHERE:
            operations.check("copy", node.dtype.name, ())
        if 0 in node.shape:
            raise Unsupported("no elements")
    kept = iter(nodes)
    nodes = [None if each is None else next(kept) for each in results]
    return _Planner(graph, nodes, arguments, many).run()


def _computed(graph, node):
    """A node that is stored: not a source itself, but a copy of it."""
    if node.op in SOURCES:
        return graph.make("copy", (node,), node.dtype, node.shape)
    return node


class _Planner:
    def __init__(self, graph, results, arguments, many):
        self.graph, self.results, self.many = graph, results, many
        self.arguments = arguments
        self.plan = Plan(graph)
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "empty": np.empty, "uint8": np.uint8, "threads": pool.MAX_THREADS,
        }  # fmt: skip
        self.memory: dict[Node, Leaf] = {
            node: node.info for node in graph.nodes if node.op == "leaf"
        }
        self.buffers: dict[Node, str] = {}
        self.free: list[tuple[tuple, str]] = []

    def run(self) -> Plan:
        graph, plan = self.graph, self.plan
        values = list(graph.writes.values())
        wanted = [_base(node) for node in [*self.results, *values] if node is not None]
        plan.steps = fuse(graph, wanted)
        called = [graph.externs[step.info] for step in plan.steps
                  if isinstance(step, Node) and step.op == "extern"]  # fmt: skip
        if called and not any(isinstance(step, Nest) for step in plan.steps):
            if not any(each.is_fresh for each in called):
                raise Unsupported(called[0].name)
        self.may_give_up = plan.may_give_up = any(not each.is_fresh for each in called)
        self.parts = {
            part: (step, number)
            for step in plan.steps if isinstance(step, Node) and step.op == "concatenate"
            for number, part in enumerate(step.args)
        }  # fmt: skip
        self.kept = set(wanted)
        self.counts = {
            prod(node.args[0].shape) // prod(node.shape)
            for node in graph.nodes if node.op == "reduce"
        }  # fmt: skip
        self.last_use = self._last_uses()
        targets = self._targets()
        for number, step in enumerate(plan.steps):
            if isinstance(step, Nest):
                self._nest(number, step, targets)
            else:
                self._between(step)
            self._release(number)
        for leaf, value in graph.writes.items():
            if (leaf, value) not in targets:
                self.lines.append(f"{self._look(leaf)}[...] = {self._look(value)}")
        outcome = ["None" if node is None else self._look(node) for node in self.results]
        if self.many:
            outcome = [f"({''.join(each + ', ' for each in outcome)})"]
        if outcome:
            self.lines.append(f"return {outcome[0]}")
        for number, array in enumerate(graph.arrays):
            self.names[f"c{number}"] = array
        parameters = ", ".join(f"a{n}" for n in range(len(self.arguments)))
        body = "\n    ".join(self.lines)
        plan.source = f"def launch({parameters}):\n    {body}\n"
        plan.names = self.names
        exec(plan.source, plan.names)
        plan.launch = plan.names["launch"]
        plan.written = tuple({leaf.info.slot.number for leaf in graph.writes})
        return plan

    # ------------------------------------------------------------------ what goes to memory
    def _outside(self, step):
        """Nodes that a step reads from memory."""
        if isinstance(step, Node):
            return set(step.args) - self.memory_sources
        found = set()
        for node in step.members:
            found.update(arg for arg in node.args if arg not in step.members)
            if node.op == "gather":
                found.add(node.args[0])
        return found - self.memory_sources

    def _last_uses(self):
        """Node -> the last step that reads it."""
        self.memory_sources = {node for node in self.graph.nodes if node.op in SOURCES}
        found: dict[Node, int] = {}
        for number, step in enumerate(self.plan.steps):
            for node in self._outside(step):
                while node is not None:
                    found[node] = number
                    node = node.args[0] if node.op in VIEWS else None
        return found

    def _targets(self):
        """Writes that go straight to their argument: where nothing reads it afterwards."""
        graph, found = self.graph, set()
        steps = self.plan.steps
        if self.may_give_up:  # then NumPy needs the arguments as they were
            return found
        for leaf, value in graph.writes.items():
            homes = [
                number for number, step in enumerate(steps)
                if isinstance(step, Nest) and value in step.members and not step.ends(value)
            ]  # fmt: skip
            if not homes or any(each is not leaf and overlap(each, leaf) for each in graph.writes):
                continue
            home = homes[0]
            one_pass = "row" not in steps[home].kinds.values()
            if one_pass and all(
                number < home or (number == home and arg is leaf and node.op != "gather")
                for number, node, arg in self._readers(leaf)
            ):
                found.add((leaf, value))
        return found

    def _readers(self, leaf):
        """Who reads the memory of a leaf: (step, node, operand)."""
        for number, step in enumerate(self.plan.steps):
            for node in step.members if isinstance(step, Nest) else (step,):
                for arg in node.args:
                    if arg.op == "leaf" and (arg is leaf or overlap(arg, leaf)):
                        yield number, node, arg

    # ------------------------------------------------------------------ steps
    def _nest(self, number, nest, targets) -> None:
        stores: list[tuple[Node, Leaf | None]] = []
        for node in nest.members:
            if nest.ends(node):
                continue
            direct = [leaf.info for leaf, value in targets if value is node]
            if node in self.parts:
                self.memory[node] = self._place(node)
                direct.append(self.memory[node])
            stores += [(node, leaf) for leaf in direct]
            read_later = self.last_use.get(node, -1) > number
            home = node not in self.memory
            if home and (
                read_later or (node in self.kept and not self._only_written(node, direct))
            ):
                stores.append((node, None))
        memory = {node: leaf for node, leaf in self.memory.items() if node not in nest.members}
        laid = lay_out(nest, memory, stores, self.counts)
        self.plan.laid[nest] = laid
        kernel = self.plan.kernels[nest] = compiled(laid.program)
        place = len(self.plan.kernels) - 1
        self.names[f"k{place}"], self.names[f"g{place}"] = kernel.call, laid.geometry
        addresses = []
        for slot in laid.slots:
            if isinstance(slot, Slot):
                addresses.append(self._slot_name(slot))
            elif slot in laid.sums:
                addresses.append(self._sums_buffer(slot, laid, nest))
            else:
                addresses.append(self._buffer(slot, laid, nest))
        scratch = "None"
        if laid.scratch:  # one task runs on the calling thread, which is number 0
            factor = "" if laid.tasks == 1 else " * threads"
            scratch = f"empty({laid.scratch}{factor}, uint8)"
        arguments = [str(laid.tasks), f"g{place}", scratch, *addresses]
        arguments += [f"a{number}" for number in laid.scalars]
        self.lines.append(f"k{place}({', '.join(arguments)})")
        for node in laid.sums:
            self._add_up(node, laid, nest)

    def _only_written(self, node, direct) -> bool:
        """Whether a value is wanted for nothing but the arguments it is written to."""
        return bool(direct) and all(
            each is None or _base(each) is not node for each in self.results
        )

    def _between(self, node) -> None:
        if node.op in VIEWS:
            base = self.graph.make("leaf", (), node.dtype, node.args[0].shape,
                                   self.memory[node.args[0]])  # fmt: skip
            look = {
                "reshape": lambda a: np.reshape(a, node.shape, copy=False),
                "transpose": lambda a: a.transpose(node.info),
            }.get(node.op) or node.info.look
            found = self.graph.view(base, look)
            if found is None:
                raise Unsupported("a reshape that copies")
            self.memory[node] = found.info
        elif node.op == "concatenate":
            return  # its parts are in their places
        else:
            self._call(node)

    def _call(self, node) -> None:
        """A call, or one of its results."""
        source = node.args[0] if node.op == "result" else node
        call = self.graph.externs[source.info]
        text = f"r{source.number}[{node.info}]"
        if node.op == "extern":
            text = text_of(call, node, self._operand, self.names)
            if call.many:
                self.lines.append(f"r{node.number} = {text}")
                return
        helper = fresh if call.is_fresh else settled
        self.names[helper.__name__] = helper
        given = f"{text}, {node.shape}, {self._dtype(node.dtype)}"
        if not call.is_fresh:
            given += "".join(f", {self._operand(arg, False)}" for arg in source.args
                             if arg.shape == node.shape)  # fmt: skip
        name = self.buffers[node] = f"n{node.number}"
        self.lines.append(f"{name} = {helper.__name__}({given})")
        self.memory[node] = Leaf(Slot("node", node.number), 0, _dense(node.shape))

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
        return f"{self._look(node)}.item()" if weak else self._look(node)

    def _place(self, part) -> Leaf:
        """Where a part of a concatenation lies, whose buffer is made for the first of them."""
        whole, number = self.parts[part]
        if whole not in self.memory:
            name = self.buffers[whole] = f"n{whole.number}"
            kind = self._dtype(whole.dtype)
            self.lines.append(f"{name} = empty({whole.shape}, {kind})")
            self.memory[whole] = Leaf(Slot("node", whole.number), 0, _dense(whole.shape))
        slot, _, strides = self.memory[whole]
        before = sum(each.shape[whole.info] for each in whole.args[:number])
        return Leaf(slot, before * strides[whole.info], strides)

    # ------------------------------------------------------------------ arrays
    def _dtype(self, dtype) -> str:
        self.names[dtype.name] = dtype
        return dtype.name

    def _buffer(self, node, laid, nest) -> str:
        """A new array for a value, or one that nothing needs any more."""
        skip = len(nest.domain) - len(node.shape)
        axes = [axis - skip for axis in laid.order if axis >= skip]
        wide = [axis for axis in axes if node.shape[axis] != 1]
        sizes = [node.shape[axis] for axis in wide]
        strides = list(_dense(node.shape))
        for axis, stride in zip(wide, _dense(sizes)):
            strides[axis] = stride
        self.memory[node] = Leaf(Slot("node", node.number), 0, tuple(strides))
        name = self.buffers[node] = f"n{node.number}"
        shape = node.shape
        sort = (node.dtype, shape, tuple(wide))
        for entry in self.free:
            if entry[0] == sort:
                self.free.remove(entry)
                self.lines.append(f"{name} = {entry[1]}")
                return name
        if wide == sorted(wide):
            self.lines.append(f"{name} = empty({shape}, {self._dtype(node.dtype)})")
        else:
            order = [*wide, *(axis for axis in range(len(shape)) if shape[axis] == 1)]
            permuted = tuple(shape[axis] for axis in order)
            back = tuple(int(axis) for axis in np.argsort(order))
            self.lines.append(
                f"{name} = empty({permuted}, {self._dtype(node.dtype)}).transpose({back})"
            )
        return name

    def _sums_buffer(self, node, laid, nest) -> str:
        sums = laid.sums[node]
        if nest.kinds[node] == "split":
            sizes = (*sums.shape, sums.tasks // prod(sums.shape))
        else:
            sizes = (sums.tasks, *sums.shape)
        dtype = np.dtype(np.float32) if node.dtype.itemsize == 2 else node.dtype
        self.lines.append(f"p{node.number} = empty({sizes}, {self._dtype(dtype)})")
        return f"p{node.number}"

    def _add_up(self, node, laid, nest) -> None:
        """Put the tasks' sums together, in their order."""
        kind, _, axes, shape = laid.sums[node]
        ufunc = _COMBINE[kind]
        self.names[ufunc.__name__] = ufunc
        axis = -1 if nest.kinds[node] == "split" else 0
        text = f"{ufunc.__name__}.reduce(p{node.number}, axis={axis}, keepdims=True)"
        if list(axes) != sorted(axes):
            back = tuple(int(each) for each in np.argsort(axes))
            text += f".reshape({shape}).transpose({back}).copy()"
        if node.dtype.itemsize == 2:
            text += f".astype({self._dtype(node.dtype)})"
        name = self.buffers[node] = f"n{node.number}"
        self.lines.append(f"{name} = {text}.reshape({node.shape})")
        self.memory[node] = Leaf(Slot("node", node.number), 0, _dense(node.shape))

    def _release(self, number) -> None:
        """Arrays that were read for the last time may be used again."""
        for node, name in list(self.buffers.items()):
            last = self.last_use.get(node)
            if last == number and node not in self.kept and node in self.memory:
                leaf = self.memory[node]
                wide = [axis for axis, n in enumerate(node.shape) if n != 1]
                wide.sort(key=lambda axis: -leaf.strides[axis])
                self.free.append(((node.dtype, node.shape, tuple(wide)), name))
                del self.buffers[node]

    def _slot_name(self, slot) -> str:
        letter = {"argument": "a", "array": "c", "node": "n"}[slot.kind]
        return f"{letter}{slot.number}"

    def _look(self, node) -> str:
        """A value in memory as an array of its shape."""
        if node.op == "reshape" and node not in self.memory:
            return f"{self._look(node.args[0])}.reshape({node.shape})"
        if node.op == "transpose" and node not in self.memory:
            return f"{self._look(node.args[0])}.transpose({node.info})"
        waiting = [node]
        while waiting[-1] not in self.memory:  # views of views that are results
            waiting.append(waiting[-1].args[0])
        for each in reversed(waiting[:-1]):
            self._between(each)
        leaf = self.memory[node]
        name = self._slot_name(leaf.slot)
        if leaf.slot.kind == "argument" and self._is_whole(node, leaf):
            return name
        if leaf.slot.kind == "node":
            base = next(each for each in self.graph.nodes if each.number == leaf.slot.number)
            if base.shape == node.shape and self.memory[base] == leaf:
                return name
            same_size = prod(base.shape) == prod(node.shape)
            dense = self.memory[base].strides == _dense(base.shape)
            if same_size and dense and leaf == Leaf(leaf.slot, 0, _dense(node.shape)):
                return f"{name}.reshape({node.shape})"
        self.names["part"] = _part
        return f"part({name}, {leaf.offset}, {node.shape}, {leaf.strides})"

    def _is_whole(self, node, leaf) -> bool:
        array = self.arguments[leaf.slot.number]
        strides = tuple(stride * array.dtype.itemsize for stride in leaf.strides)
        return leaf.offset == 0 and array.shape == node.shape and array.strides == strides


def _part(array, offset, shape, strides):
    """A view of the memory behind an array."""
    return window(array, Leaf(None, offset, strides), shape)


def _base(node: Node) -> Node:
    """The value that is stored for a node: of views, what they look at."""
    while node.op in VIEWS:
        node = node.args[0]
    return node


def _dense(shape) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
