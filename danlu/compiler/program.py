"""From a finished trace to a Python function that checks its guards and runs the machine code.

The function's text is made for one trace:

    def run(args, kwargs, asks=0):
        x0 = args[0]
        if not (x0.__class__ is Tensor and x0._array.shape == (100, 2) and ... and epoch[0] == 7):
            return MISS
        if asks:
            return [a1, a2, x0._array]
        r = launch(a1, a2, x0._array)
        w0[0] += 1
        t1._grad = wrap(r[1])
        return wrap(r[0])
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

import numpy as np

from danlu.autograd import grad_mode
from danlu.autograd.node import BACKWARD_TWICE, Node, sequence
from danlu.backend import dtypes
from danlu.compiler.arguments import BY_VALUE
from danlu.compiler.back_ends import executable
from danlu.compiler.overlay import Outside, is_inside, real
from danlu.compiler.random import generators_of
from danlu.compiler.session import Session, comes_from_elsewhere
from danlu.compiler.structure import build
from danlu.compiler.texts import define, function_text
from danlu.kernels.graph.nodes import Node as Value
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.tensor import Tensor, wrap

__all__ = ["MISS", "Program", "assemble"]

MISS: Any = object()
_LARGE = 1 << 14  # bytes that are worth the moment it takes to free them early
# What a call of the function asks for: one text for all saves a millisecond of compiling it.
_RUN, _HOLDS, _STANDS = range(3)


class Program:
    """A trace that can be run.

    Attributes:
        run: `run(args, kwargs)`; MISS where a guard does not hold.
        settle: `settle(n)`: what n runs leave behind besides arrays written in place, gradients
            and results.
        source: their text.
        back_end: what runs the graph, a `Plan` or a `Single`.
        sources: the expressions of its arguments.
        symbols: the numbers among them.
        written: the numbers of the arguments that are written in place.
        generators: where random numbers are drawn from.
        derivative: of results that can be differentiated, a `Differentiated`, or None.
        calls_host: whether Python functions are called at the end of a run.
        grads: (tensor or None for one that comes with a call, number of the result or None) of the
            gradients that a run leaves.
        outputs: the number of the result per tensor that is returned; None for those from outside.
    """

    def __init__(self, texts: dict[str, str], scope: dict, session: Session, back_end, grads,
                 outputs, derivative):  # fmt: skip
        self._texts, self._scope = texts, scope
        self.back_end, self.grads, self.outputs = back_end, grads, outputs
        self.sources, self.symbols = session.sources, session.symbols
        self.written = sorted({leaf.info.slot.number for leaf in session.graph.writes})
        self.generators = generators_of(session.graph)
        self.calls_host = bool(session.host_calls)
        self.derivative = derivative
        self.symbols.close()

    def __getattr__(self, name):
        """A function of the text: compiled when first asked for."""
        text = self.__dict__.get("_texts", {}).get(name)
        if text is None:
            raise AttributeError(name)
        define(text, self._scope)
        made = self.__dict__[name] = self._scope[name]
        return made

    def holds(self, args, kwargs) -> bool:
        """Whether the guards hold for a call."""
        return self.run(args, kwargs, _HOLDS) is not MISS

    def stands(self, args, kwargs) -> bool:
        """Whether they hold but for gradients, which a run leaves or takes away itself."""
        return self.run(args, kwargs, _STANDS) is not MISS

    def arguments(self, args, kwargs) -> list:
        """What the back end is called with; MISS where `stands` says no."""
        return self.run(args, kwargs, _STANDS)

    @property
    def source(self) -> str:
        """The text of the functions."""
        return "".join(self._texts.values())

    @cached_property
    def _functions(self):
        return self.symbols.functions()

    @property
    def repeats(self) -> bool:
        """Whether many runs can be one native call."""
        return (
            hasattr(self.back_end, "epoch")
            and not self.calls_host
            and None not in self.outputs
            and all(number is None for _, number in self.grads)
        )

    def repeat(self, args, kwargs, rows, order):
        """Run once per row of `order`, in one native call.

        Args:
            args, kwargs: of the first run; its tensors are rows that were gathered.
            rows: an array per tensor argument, of which `order[n]` says the rows of run n.
            order: int64 [runs, rows of a batch], within the arrays.

        Returns:
            An array [runs, ...] per tensor that the function returns; None, and nothing was done,
            where the runs cannot be one call.
        """
        scalars = self._functions.table(len(order))
        if len(scalars) < len(order):
            return None
        arguments = self.arguments(args, kwargs)
        gathered = {
            number: rows[place]
            for place in range(len(rows))
            for number, source in enumerate(self.sources)
            if source == f"x{place}._array"
        }
        try:
            found = self.back_end.epoch(arguments, gathered, order, scalars, self.outputs)
        except Unsupported:  # a call in Python needs what the runs change
            return None
        self.settle(len(order))
        return [found[number] for number in self.outputs]


class _Assembler:
    def __init__(self, session: Session, returned, lines, checks):
        self.session, self.returned = session, returned
        self.lines, self.checks = lines, checks
        self.results: list[Value] = []
        self.numbers: dict[Value, int] = {}
        self.names: dict[str, Any] = {"MISS": MISS, "wrap": wrap}
        self.of_gradients: list[str] = []  # guards that a run itself may break
        self.effects: list[str] = []
        self.grads: list = []
        self.outputs: list[int | None] = []
        self.made: dict[int, str] = {}
        self.arrays: set[int] = set()
        self.owners: dict[int, list] = {}
        self.given: dict[int, Any] = {}

    def result(self, traced: Traced) -> int:
        """The number of a value among the results."""
        if traced.weak:
            raise Unsupported("a Python number that depends on tensors")
        if _looks_at_argument(traced):
            raise Unsupported("a result that shares memory with a tensor from outside")
        for other in traced.relatives:
            if other is not traced and id(other) in self.arrays:
                raise Unsupported("results that share memory")
        self.arrays.add(id(traced))
        return self.number_of(traced.node)

    def number_of(self, node: Value) -> int:
        """The number of a node among the results."""
        if node not in self.numbers:
            self.numbers[node] = len(self.results)
            self.results.append(node)
        return self.numbers[node]

    # ------------------------------------------------------------------ effects
    def host_calls(self) -> None:
        """Steps that run in Python, each with the gradients that it is to find."""
        for place, (function, args, kwargs, gradients) in enumerate(self.session.host_calls):
            for known, value in gradients:
                self.gradient(known, value)
            self.session.names[f"host{place}"] = function
            given = [self.host_argument(each) for each in args]
            given += [f"{key}={self.host_argument(each)}" for key, each in kwargs.items()]
            self.effects.append(f"host{place}({', '.join(given)})")

    def gradient(self, known: Outside, value) -> None:
        """Leave a tensor from outside with a gradient, unless it was."""
        if self.given.get(id(known), MISS) is not value:
            self.given[id(known)] = value
            self.effects.append(f"{self.outside(known)}._grad = {self.tensor(value)}")

    def checked(self) -> list[str]:
        """The beginning of the function, which ends where guards do not hold."""
        lasting = [*self.checks, *self.session.guards]
        if self.of_gradients:
            lasting.append(f"(asks == {_STANDS} or ({_joined(self.of_gradients)}))")
        return [
            "try:", *[f"    {line}" for line in self.lines], f"    if not ({_joined(lasting)}):",
            "        return MISS",
            "except Exception:", "    return MISS",  # something that was read is no longer there
        ]  # fmt: skip

    def dropped(self) -> list[str]:
        """Forget large gradients that a run replaces unread: before it makes the new ones."""
        return [
            f"{self.outside(known)}._grad = None"
            for known in self.session.overlay.outside.values()
            if "_grad" in known.changed and not known.grad_seen and known.array.nbytes >= _LARGE
        ]

    def host_argument(self, value) -> str:
        if isinstance(value, Tensor):
            return self.tensor(value)
        return self.session.names.of(value, "v")

    def gradients(self) -> None:
        """The gradients that tensors from outside are left with."""
        for known in list(self.session.overlay.outside.values()):
            changed = dict(known.changed)
            if "_grad" in changed:
                value = changed.pop("_grad")
                if comes_from_elsewhere(known) and value is not None:
                    raise Unsupported("a backward pass that reaches operations outside")
                self.gradient(known, value)
                number = None if value is None or not is_inside(value) else self.numbers.get(
                    real("_array", value).node
                )  # fmt: skip
                self.grads.append((known.tensor if known.path is None else None, number))
            for slot, value in changed.items():
                if real(slot, known.tensor) is not value:
                    raise Unsupported(f"a tensor from outside changes its {slot.strip('_')}")
            if known.grad_seen:
                present = real("_grad", known.tensor) is not None
                word = "is not" if present else "is"
                self.of_gradients.append(f"{self.outside(known)}._grad {word} None")

    def outside(self, known: Outside) -> str:
        if known.path is not None:
            return known.path
        return self.session.overlay.name(known.tensor)

    def tensor(self, value) -> str:
        """The expression of a tensor that a run leaves behind or returns."""
        if value is None:
            return "None"
        if not is_inside(value):
            return self.outside(self.session.overlay.of(value))
        if real("_view", value) is not None and not is_inside(real("_view", value)):
            raise Unsupported("a result that is a view of a tensor from outside")
        name = self.made.get(id(value))
        if name is None:
            name = self.made[id(value)] = f"y{len(self.made)}"
            number = self.result(real("_array", value))
            versions = real("_writes", value)
            # equal values are one node, but not one memory
            shared = self.owners.setdefault(number, versions) is versions
            array = f"r[{number}]" if shared else f"r[{number}].copy()"
            self.effects.append(f"{name} = wrap({array})")
        return name

    # ------------------------------------------------------------------ what is returned
    def output(self, value) -> str:
        if isinstance(value, Tensor):
            name = self.returned_name(value)
            if is_inside(value):
                if real("_requires_grad", value):
                    self.history(name, value)
            return name
        if type(value) in BY_VALUE or isinstance(value, type):
            return self.session.names.of(value, "v")
        raise Unsupported(f"a result of type {type(value).__name__}")

    def returned_name(self, value) -> str:
        """The name of a tensor that the function returns."""
        inside = is_inside(value)
        if inside and type(value) is not Tensor:
            raise Unsupported(f"a result of type {type(value).__name__}")
        self.outputs.append(self.result(real("_array", value)) if inside else None)
        return self.tensor(value)

    def history(self, name, value) -> None:
        """A result whose graph was used up by a backward pass still says so."""
        self.effects.append(f"{name}._requires_grad = True")
        edge = real("_edge", value)
        if edge is not None:
            node = _used_up(edge[0].name())()
            node.seq, node.hooks, node.next = sequence(), None, ()
            self.names[f"n{name}"] = node
            self.effects.append(f"{name}._edge = (n{name}, {edge[1]})")

    def keep_apart(self) -> None:
        """Guard that arguments of the call share no memory with what a run writes."""
        session = self.session
        written = {leaf.info.slot.number for leaf in session.graph.writes}
        inputs = {number: source for number, source in enumerate(session.sources)
                  if source.startswith("x") and source.endswith("._array")}  # fmt: skip
        kept = frozenset(
            id(_root(session.arguments[number])) for number in written if number not in inputs
        )
        if kept:
            session.names.update(apart=_apart, kept=kept)
            self.checks += [f"apart({source}, kept)" for source in inputs.values()]
        for number in written & inputs.keys():
            session.names["overlap"] = np.may_share_memory
            self.checks += [f"not overlap({inputs[number]}, {source})"
                            for other, source in inputs.items() if other != number]  # fmt: skip

    # ------------------------------------------------------------------ the text
    def run(self, differentiated) -> Program:
        session = self.session
        outcome = None
        if differentiated is None:
            outcome = build(self.returned, self.output)
        self.host_calls()
        self.gradients()
        if differentiated is not None:
            outcome = differentiated.outcome(self)
        written = [f"{session.names.of(versions, 'w')}[0] += {count}"
                   for versions, count in session.written()]  # fmt: skip
        _refuse_overlaps(session)
        self.keep_apart()
        back_end = executable(session.graph, self.results, session.arguments, session.of_any_size)
        self.checks += [f"grad_state.grad is {grad_mode.state.grad}"]
        self.checks.append("default_dtype() is dtype")
        names = {
            **self.names, **session.names, "launch": back_end.launch,
            "grad_state": grad_mode.state, "default_dtype": dtypes.get_default_dtype,
            "dtype": dtypes.get_default_dtype(), "Tensor": Tensor,
        }  # fmt: skip
        prepare = session.symbols.lines()
        given = ", ".join(session.sources)
        cleared = [f"{self.outside(known)}._grad = None"
                   for known in session.overlay.outside.values()
                   if known.changed.get("_grad", self) is None]  # fmt: skip
        functions = {
            f"run(args, kwargs, asks={_RUN})": [
                *self.checked(), *prepare, "if asks:", f"    return [{given}]", *self.dropped(),
                f"r = launch({given})", *self.effects, *written, f"return {outcome}",
            ],
            "settle(n)": [*[f"{each} * n" for each in written], *cleared, "return"],
        }  # fmt: skip
        texts = {
            head.partition("(")[0]: function_text(head, each) for head, each in functions.items()
        }
        scope = {**names, "__name__": __name__}
        return Program(texts, scope, session, back_end, self.grads, self.outputs, differentiated)


def _root(array):
    """What owns the memory of an array."""
    while array.__class__ is np.ndarray and array.base is not None:
        array = array.base
    return array


def _apart(array, roots) -> bool:
    """Whether the memory of an array belongs to none of these owners, by their ids."""
    while array.base is not None:
        array = array.base
        if array.__class__ is not np.ndarray:
            break
    return id(array) not in roots


def _looks_at_argument(traced: Traced) -> bool:
    node = traced._node
    return node.op == "leaf" and node.info.slot.kind == "argument"


def _joined(conditions) -> str:
    return " and ".join(dict.fromkeys(conditions)) or "True"


def assemble(session: Session, returned, lines, checks, differentiated=None) -> Program:
    """The program of a finished trace.

    Raises:
        Unsupported: its effects or results cannot be had from compiled code.
    """
    return _Assembler(session, returned, lines, checks).run(differentiated)


class _UsedUp(Node):
    """What is left of a node after a backward pass."""

    __slots__ = ()

    def apply(self, g):
        raise RuntimeError(BACKWARD_TWICE)

    apply_recorded = apply


@cache
def _used_up(name: str) -> type:
    return type(name, (_UsedUp,), {"__slots__": ()})


def _refuse_overlaps(session) -> None:
    """Arguments that share memory, one of which is written."""
    written = {leaf.info.slot.number for leaf in session.graph.writes}
    bounds = sorted(
        (*np.lib.array_utils.byte_bounds(array), number)
        for number, array in enumerate(session.arguments)
        if isinstance(array, np.ndarray) and array.size
    )
    end, together = 0, False
    for low, high, number in bounds:
        if low >= end:
            together = number in written
        elif together or number in written:
            raise Unsupported("tensors that share memory, one of which is written to")
        end = max(end, high)
