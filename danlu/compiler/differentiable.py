"""Compiled functions whose results are differentiated later, outside of them.

The trace goes on behind the function: a backward pass from its results, with gradients that are
arguments, records what the derivative computes. The graph is then cut in two, and a node on the
tape runs the second part when a real backward pass reaches it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.autograd.engine import run_backward
from danlu.autograd.node import BACKWARD_TWICE, LEAF, Node, edge_of, sequence
from danlu.compiler.overlay import is_inside, real
from danlu.compiler.partition import Later
from danlu.compiler.session import Session, is_freed
from danlu.compiler.structure import build, leaves
from danlu.kernels.graph.nodes import Slot, Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.tensor import Tensor

__all__ = ["CompiledBackward", "Differentiated", "differentiate", "history_of"]


class CompiledBackward(Node):
    """The derivative of a compiled function, as one machine-coded step.

    Attributes:
        part: the `Differentiated` it belongs to.
        saved: arrays kept from the forward call.
        versions: (version list, count) of the tensors that the derivative reads again.
    """

    __slots__ = ("part", "saved", "versions")

    part: Differentiated

    @property
    def outputs(self):  # type: ignore[override]
        return len(self.part.shapes)

    def apply(self, g):
        if self.saved is None:
            raise RuntimeError(BACKWARD_TWICE)
        for versions, count in self.versions:
            if versions[0] != count:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    "inplace operation after the compiled function that used it was called: write "
                    "to it after backward(), or to a clone()"
                )
        gradients = [g] if self.outputs == 1 else g
        gradients = [
            np.zeros(shape, dtype) if each is None else np.asarray(each, dtype, order="C")
            for each, (shape, dtype) in zip(gradients, self.part.shapes)
        ]
        found = self.part.launch(*self.saved, *gradients)
        return tuple(None if place is None else found[place] for place in self.part.places)

    def apply_recorded(self, g):
        raise RuntimeError(
            "a compiled function can be differentiated once: call the function without "
            "danlu.compile for create_graph=True"
        )

    def release(self) -> None:
        self.saved = None


class Differentiated:
    """The derivative of a trace.

    Attributes:
        wanted: the tensors from outside that get gradients, until the first run was compared.
        places: per tensor the number of the gradient among the results, or None.
        shapes: (shape, dtype) of the results that are differentiated.
        back_end: what runs the later part of the graph, on arguments (`given`) and results
            (`saved`) of the earlier and on the gradients of the results; made by `try_out`, which
            sees how the results lie in memory.
        launch: its function.
    """

    def __init__(self, session: Session, returned, roots, wanted, gradients, tangents):
        self.session, self.returned, self.roots, self.wanted = session, returned, roots, wanted
        tensors = _tensors(returned)
        self._numbers = [next(n for n, each in enumerate(tensors) if each is t) for t in roots]
        self.shapes = [(real("_array", t).shape, real("_array", t).dtype) for t in roots]
        nodes = [each.node for each in gradients if each is not None]
        order = iter(range(len(nodes)))
        self.places = [None if each is None else next(order) for each in gradients]
        self.part: Any = Later(session.graph, nodes, tangents)
        del session.arguments[tangents[0] :], session.sources[tangents[0] :]
        self.launch: Any = None
        self.back_end: Any = None
        self.given: list[int] = []
        self.saved: list[int] = []

    def outcome(self, assembler) -> str:
        """The expression of what the function returns, its results tied to the tape."""
        names: dict[int, str] = {}
        owners: dict[int, str] = {}  # results -> the tensors that hold their memory

        def output(value):
            if not isinstance(value, Tensor) or not is_inside(value):
                return assembler.output(value)
            name = names[id(value)] = assembler.returned_name(value)
            number = assembler.number_of(real("_array", value).node)
            if assembler.owners[number] is real("_writes", value):
                owners[number] = name
            return name

        text = build(self.returned, output)
        part, session = self.part, self.session
        self.given = part.given
        self.saved = saved = [assembler.number_of(node) for node in part.saved]
        del self.session
        given = [session.sources[number] for number in part.given]
        versions = []
        for known in session.overlay.outside.values():
            if known.traced is not None and self._reads(known, part.given):
                name = assembler.outside(known)
                versions.append(f"({name}._writes, {name}._writes[0])")
        versions += [f"({owners[number]}._writes, {owners[number]}._writes[0])"
                     for number in saved if number in owners]  # fmt: skip
        edges = [f"edge_of({assembler.outside(known)})" for known in self.wanted]
        assembler.names.update(
            CompiledBackward=CompiledBackward, sequence=sequence, part=self, edge_of=edge_of
        )
        lines = [
            "node = CompiledBackward()",
            "node.seq, node.hooks, node.part = sequence(), None, part",
            f"node.next = ({''.join(each + ', ' for each in edges)})",
            f"node.saved = ({''.join(each + ', ' for each in given)}"
            f"{''.join(f'r[{number}], ' for number in saved)})",
            f"node.versions = ({''.join(each + ', ' for each in versions)})",
        ]
        for number, tensor in enumerate(self.roots):
            name = names[id(tensor)]
            lines.append(f"{name}._edge, {name}._requires_grad = (node, {number}), True")
        assembler.effects += lines
        # what remains must not hold the tensors and arrays of the call that was traced
        self.wanted = [known.tensor for known in self.wanted]
        del self.returned, self.roots
        return text

    def try_out(self, arguments, found) -> tuple[list, list]:
        """Random gradients of the results, and the gradients that the derivative makes of them,
        one or None per tensor that is `wanted`.

        Args:
            arguments, found: of the launch of the trace, and its results.

        Raises:
            Unsupported: the later part cannot be generated.
        """
        from danlu.compiler.back_ends import executable

        noise = np.random.default_rng(0)
        tangents = [noise.standard_normal(shape).astype(dtype) for shape, dtype in self.shapes]
        given = [arguments[number] for number in self.given]
        given += [found[number] for number in self.saved]
        if self.launch is None:
            # results lie in memory as the loops that make them walk, the same in every launch
            graph, results = self.part.graph(given[len(self.given) :])
            self.back_end = executable(graph, results, [*given, *tangents])
            self.launch = self.back_end.launch
            self.part = None  # it holds the arrays of the call that was traced
        with self.back_end.poisoned():
            gradients = self.launch(*given, *tangents)
        return tangents, [None if place is None else gradients[place] for place in self.places]

    def eager(self, returned, tangents) -> list | None:
        """The same gradients from the graph of an eager call, which stays; None where it gives
        none."""
        tensors = _tensors(returned)
        if max(self._numbers) >= len(tensors):
            return None
        results = [tensors[number] for number in self._numbers]
        if any(each._edge is None for each in results):
            return None
        edges = [edge_of(tensor) for tensor in self.wanted]
        try:
            found = run_backward([each._edge for each in results], tangents, True, False, edges)
        except RuntimeError:  # what it needs was written to
            return None
        return [None if each is None else each._array for each in found]

    def _reads(self, known, given) -> bool:
        node = known.traced._node
        return node.op == "leaf" and node.info.slot.number in given


def _tensors(returned) -> list[Tensor]:
    return [each for _, each in leaves(returned, "returned")[0] if isinstance(each, Tensor)]


def history_of(returned) -> list[Tensor]:
    """The results that are part of a graph which no backward pass of the trace has used up."""
    found: list[Tensor] = []
    for value in _tensors(returned):
        if is_inside(value) and real("_requires_grad", value):
            if not is_freed(value) and all(value is not each for each in found):
                found.append(value)
    return found


def differentiate(session: Session, returned) -> Differentiated | None:
    """Record the derivative of what a traced function returned; None where nothing is to be
    differentiated.

    Raises:
        Unsupported: it cannot be told from what the function itself did.
    """
    roots = history_of(returned)
    if not roots:
        return None
    graph, overlay = session.graph, session.overlay
    if any("_grad" in known.changed for known in overlay.outside.values()):
        raise Unsupported("results that can be differentiated after a backward pass inside")
    wanted = [
        known for known in overlay.outside.values()
        if known.traced is not None and real("_requires_grad", known.tensor)
    ]  # fmt: skip
    if any(real("_hooks", known.tensor) for known in wanted):
        raise Unsupported("hooks on tensors whose gradients come later")
    starts, tangents = [], []
    for tensor in roots:
        array = tensor._array
        sample = np.zeros(array.shape, array.dtype)
        tangents.append(session.add_argument(sample, "None"))
        starts.append(Traced(graph, graph.leaf(sample, Slot("argument", tangents[-1]))))
    before = dict(graph.writes)
    found = run_backward(
        [tensor._edge for tensor in roots], starts, False, False,
        [(known.tensor, LEAF) for known in wanted],
    )  # fmt: skip
    if graph.writes != before:
        raise Unsupported("a backward pass that writes to tensors")
    gradients = [None if each is None else each._array for each in found]
    return Differentiated(session, returned, roots, wanted, gradients, tangents)
