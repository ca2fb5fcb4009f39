"""`danlu.compile`: a function that runs as machine code where that is the same computation."""

from __future__ import annotations

import functools
import gc
import sys
import threading
import warnings
import weakref
from types import FrameType
from typing import Any

from danlu.compiler import overlay
from danlu.compiler.arguments import arguments_of
from danlu.compiler.program import MISS, Program, assemble
from danlu.compiler.session import Session
from danlu.compiler.structure import leaves
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.runtime import road
from danlu.tensor import Tensor

__all__ = ["CompileWarning", "Compiled", "Refusal", "is_compiling", "living", "trace"]

SIZES = 2  # sizes of the arguments of one function that have machine code of their own
NOTE_AFTER = 8  # traces of one function
MOST_TRACES = 64
MOST_ONCE = 4096  # kinds of calls that are remembered without a trace
# traces of calls that look alike, but for state that changes from call to call
MOST_ALIKE = 8
ATTEMPTS = 4
# what a recording array says where a number was wanted
_OF_VALUES = frozenset((
    "item of an array", "tolist of an array", "a decision by value", "a traced array as a plain one",
    "the address of an array",
))  # fmt: skip
_RESTLESS = "state that it reads changes from call to call"


living: weakref.WeakSet[Compiled] = weakref.WeakSet()


def is_compiling() -> bool:
    """Whether the code that asks is being traced by `danlu.compile`."""
    return overlay.current() is not None


class CompileWarning(UserWarning):
    """A compiled function runs eagerly, or is traced often."""


class Refusal(Exception):
    """Why a call is not compiled.

    Attributes:
        reason, where: what it does that compiled code cannot, and the line that does it.
        attempts: how many calls of the kind may end so before they are no longer traced: 1 where
            every one would, 2 where something is made once and kept, more where an optimizer
            begins.
    """

    def __init__(self, reason: str, where: str = "", attempts: int = 1):
        super().__init__(reason, where)
        self.reason, self.where, self.attempts = reason, where, attempts


class Compiled:
    """What `danlu.compile` makes of a function: call it like the function.

    Attributes:
        traces: how many programs were made.
        compiled_calls, eager_calls: how calls were answered.
        refusals: why calls ran eagerly, each reason once.
        programs: the programs, the last made first.
    """

    def __init__(
        self, function, fullgraph: bool = False, name: str | None = None, warns: bool = True,
        dynamic: bool = False,
    ):  # fmt: skip
        functools.update_wrapper(self, function, updated=())
        self._function, self._fullgraph, self._warns = function, fullgraph, warns
        self._dynamic = dynamic
        self._name = name or getattr(function, "__qualname__", type(function).__name__)
        self._runs: tuple = ()
        self._lock = threading.RLock()
        self._refused: dict[Any, int] = {}
        # what calls have in common -> their traces, and the compiled calls when the last was made
        self._alike: dict[Any, tuple[int, int]] = {}
        self._once: set = set()  # kinds of calls that have come once, after `NOTE_AFTER` traces
        self._noted = False
        self.programs: list[Program] = []
        self.traces = self.compiled_calls = self.eager_calls = 0
        self.refusals: list[str] = []
        living.add(self)

    def __call__(self, *args, **kwargs):
        if overlay._active is not None and overlay.current() is not None:
            return self._function(*args, **kwargs)  # part of what is being traced
        try:
            for run in self._runs:
                result = run(args, kwargs)
                if result is not MISS:
                    self.compiled_calls += 1
                    return result
        except Unsupported as error:  # a shape that depends on values after all
            self._give_up(args, kwargs, error)
        return self._missed(args, kwargs)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self):
        # programs hold on to the tensors they were made for: a copy makes its own
        return Compiled, (
            self._function,
            self._fullgraph,
            self._name,
            self._warns,
            self._dynamic,
        )

    def __repr__(self) -> str:
        return f"<compiled {self._name}>"

    def reset(self) -> None:
        """Forget all programs."""
        with self._lock:
            self._runs, self.programs = (), []
            self._refused.clear()
            self._alike.clear()
            self._once.clear()

    def explain(self) -> str:
        """The programs as text, and why calls ran eagerly."""
        parts = [f"{self._name}: {self.traces} traces, {self.compiled_calls} compiled calls, "
                 f"{self.eager_calls} eager calls"]  # fmt: skip
        parts += [f"eager: {each}" for each in self.refusals]
        for program in self.programs:
            parts += [f"run by {type(program.back_end).__name__}", program.source]
            parts.append(getattr(program.back_end, "source", "one native function"))
        return "\n".join(parts)

    def program_of(self, args, kwargs) -> Program | None:
        """The program that would run a call."""
        return next((each for each in self.programs if each.holds(args, kwargs)), None)

    # ------------------------------------------------------------------ calls without a program
    def _missed(self, args, kwargs):
        if not road.enabled():
            return self._eager(args, kwargs)
        with self._lock:
            key = _signature(args, kwargs)
            if key is None or self._refused.get(key, 0) >= ATTEMPTS:
                return self._eager(args, kwargs)
            if self.traces > NOTE_AFTER and self._is_first(key):
                return self._eager(args, kwargs)
            program = None
            try:
                program = self._traced(key, args, kwargs)
            except Refusal as refusal:
                self._refuse(key, refusal)
            if program is None:  # errors of the call are to have no context of ours
                return self._eager(args, kwargs)
            return self._first_run(program, key, args, kwargs)

    def _is_first(self, key) -> bool:
        """Whether no call of the kind has come before: of many kinds, most may not come again, as
        where a text grows by a word a call."""
        if key in self._alike or key in self._once:
            return False
        if len(self._once) >= MOST_ONCE:
            self._once.clear()
        self._once.add(key)
        return True

    def _give_up(self, args, kwargs, error) -> None:
        """Run calls of this kind eagerly from now on."""
        with self._lock:
            self.reset()
            self._refuse(_signature(args, kwargs), Refusal(str(error)))

    def _eager(self, args, kwargs):
        self.eager_calls += 1
        return self._function(*args, **kwargs)

    def _first_run(self, program, key, args, kwargs):
        from danlu.compiler.verify import Differs, compare

        differs = None
        try:
            returned = compare(program, lambda: self._eager(args, kwargs), args, kwargs)
        except Differs as error:
            differs, returned = error.args
        if not program.stands(args, kwargs):  # it has moved what the trace was made for
            self._refuse(key, Refusal(_RESTLESS, attempts=ATTEMPTS))
            return returned
        if differs is not None:
            self._refuse(key, Refusal(f"its compiled form gave {differs}"))
            return returned
        self.traces += 1
        self._refused.pop(key, None)
        self.programs.insert(0, program)
        self._runs = (program.run, *self._runs)[:MOST_TRACES]
        del self.programs[MOST_TRACES:]
        traces, answered = self._alike.get(key, (0, 0))
        if self.compiled_calls - answered > 2 * MOST_ALIKE:  # what changes does so now and then
            traces = 0
        self._alike[key] = traces + 1, self.compiled_calls
        if traces + 1 >= MOST_ALIKE:
            self._refuse(key, Refusal(_RESTLESS))
        elif self.traces > NOTE_AFTER and not self._noted:
            self._noted = True
            self._warn(
                f"{self._name} was traced {self.traces} times, for as many shapes or states of "
                "what it reads; new ones are traced when they come again from now on"
            )
        return returned

    def _refuse(self, key, refusal: Refusal) -> None:
        """Note an attempt to trace a call of this kind; the last one is told."""
        self._refused[key] = self._refused.get(key, 0) + 1
        if self._refused[key] >= refusal.attempts:
            self._refused[key] = ATTEMPTS
            self._say_refused(refusal)

    def _traced(self, key, args, kwargs) -> Program:
        sizes = [*self._alike]
        of_any_size = self._dynamic or (len(sizes) >= SIZES and key not in sizes[:SIZES])
        return trace(self._function, args, kwargs, of_any_size)

    # ------------------------------------------------------------------ what the user is told
    def _say_refused(self, refusal: Refusal) -> None:
        text = refusal.reason + (f" ({refusal.where})" if refusal.where else "")
        if self._fullgraph:
            raise RuntimeError(f"fullgraph=True, but {self._name} cannot be compiled: {text}")
        if text not in self.refusals:
            self.refusals.append(text)
            self._warn(f"{self._name} runs eagerly: {text}")

    def _warn(self, text: str) -> None:
        if not self._warns:
            return
        warnings.warn(f"danlu.compile: {text}", CompileWarning, stacklevel=_depth())


def _depth() -> int:
    """How far up the code is that is not danlu's, for warnings to point at."""
    frame: FrameType | None = sys._getframe(1)
    depth = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("danlu."):
        frame, depth = frame.f_back, depth + 1
    return depth


def _signature(args, kwargs):
    """What calls that look alike have in common; None for arguments that tell nothing."""
    found: list = []
    for path, value in leaves((args, kwargs), "a")[0]:  # structures that differ have other paths
        if isinstance(value, Tensor):
            array = value._array
            found.append((path, array.shape, array.dtype, array.strides, value._requires_grad))
        else:
            found.append((path, type(value), id(value)))
    return tuple(found)


def trace(function, args, kwargs, of_any_size: bool = False) -> Program:
    """Trace a call of a function, changing nothing.

    Args:
        of_any_size: make machine code that serves other sizes as well.

    Raises:
        Refusal: it is not to be compiled, or not yet.
    """
    from danlu.compiler.differentiable import differentiate
    from danlu.compiler.operators import operators_on_traced
    from danlu.compiler.steps import steps_in_trace
    from danlu.compiler.watch import Observer, Refused

    session = Session(of_any_size)
    observer = Observer(function)

    def call():
        lines, checks = arguments_of(args, kwargs, session)
        returned = observer.run(args, kwargs)
        return lines, checks, returned, differentiate(session, returned)

    contexts = [operators_on_traced(), steps_in_trace(session)]
    collects = gc.isenabled()
    gc.disable()  # a trace makes much and leaves little: a fifth of its time
    try:
        lines, checks, returned, differentiated = session.run(call, contexts)
        for expression in observer.guards().expressions(session.names):
            session.guard(expression)
        return assemble(session, returned, lines, checks, differentiated)
    except overlay.NotReady as error:
        raise Refusal(str(error), attempts=ATTEMPTS) from None
    except Refused as error:
        raise Refusal(error.reason, error.where, 1 if error.lasting else 2) from None
    except Unsupported as error:
        reason = str(error)
        if reason in _OF_VALUES:
            reason = "it asks for the value of a tensor (.item(), float(), if, print, .numpy())"
        raise Refusal(reason, observer.where) from error
    except Exception as error:
        # what the function raises is raised by the eager call that follows
        raise Refusal(f"{type(error).__name__} while tracing: {error}", observer.where) from error
    finally:
        if collects:
            gc.enable()
