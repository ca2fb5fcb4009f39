"""Watching a function run: what it does besides computing, and what it depends on.

Compiled code repeats what a function did to tensors, and nothing else. So while the function is
traced, a profiler looks at every call that its Python code makes: one that has effects is refused
before it happens. Writes that make no call are found afterwards, by comparing the state with what
it was (`compiler.state`), and undone, so that the call can be repeated eagerly.
"""

from __future__ import annotations

import builtins
import dis
import gc
import os
import sys
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from danlu.compiler.bytecode import Names, line_of_change, names_of
from danlu.compiler.definitions import ClassState
from danlu.compiler.function import Compiled
from danlu.compiler.guards import Guards
from danlu.compiler.kinds import Refused
from danlu.compiler.places import ModuleState, Place
from danlu.compiler.profiler import resume
from danlu.compiler.purity import (
    DANLU,
    EFFECTFUL,
    LIBRARY,
    MUTABLE_TYPES,
    NUMPY,
    OWN,
    PLAIN,
    PURE_NUMPY,
    REFUSED_STDLIB,
    USER,
    is_pure,
    kind_of,
    state_readers,
)
from danlu.compiler.state import State
from danlu.nn.modules import _hooks
from danlu.nn.modules.module import Module
from danlu.optim import optimizer
from danlu.tensor import Tensor

__all__ = ["Observer", "Refused"]

_GENERATES = 0x20 | 0x80 | 0x200  # flags of generators, coroutines, asynchronous generators
_RESUME = dis.opmap.get("RESUME")


class _Stop(BaseException):
    """Leaves the watched function; not an Exception, which the function could catch."""


class Observer:
    """Runs a function once, watching.

    Args:
        function: a function, method, module, or any other callable object.

    Attributes:
        where: after an exception, the innermost line of the user's code that it went through.

    Example:
        >>> from danlu.compiler.watch import Observer
        >>> scale = 2.0
        >>> observer = Observer(lambda x: x * scale)
        >>> observer.run((3.0,), {})
        6.0
        >>> from danlu.compiler.watch import Refused
        >>> try:
        ...     Observer(lambda x: print(x)).run((3.0,), {})
        ... except Refused as refused:
        ...     refused.reason
        'print is called'
    """

    def __init__(self, function) -> None:
        self.where = ""
        self._function = function
        self._state = State()
        self._refused: Refused | None = None
        self._kinds: dict[int, str] = {}
        self._codes: list[CodeType] = []  # keeps the ids in use
        self._ran: list[tuple[CodeType, Names]] = []  # the user's
        self._inner: set[int] = set()  # code of functions that running functions define
        self._watched: set[int] = set()
        self._entered: set[int] = set()
        self._generators: dict[int, Any] = {}
        self._made: dict[int, Module] = {}  # modules made by the call
        self._written: dict[tuple[int, str], str] = {}
        self._importing: Any = None
        self._handlers: dict[int, Any] = {
            id(method.__code__): handler
            for method, handler in (
                (Module.__init__, self._module_made),
                (Module.__setstate__, self._module_made),
                (Module.__setattr__, self._module_written),
                (Module.__delattr__, self._module_written),
                (Module.register_parameter, self._module_written),
                (Module.register_buffer, self._module_written),
                (Module._store_module, self._module_written),
                (_hooks._register, self._hook_registered),
                (optimizer._register, self._hook_registered),
            )
        }
        self._handlers.update({id(code): self._state_read for code in state_readers()})
        self._kinds.update(dict.fromkeys(self._handlers, OWN))

    def run(self, args: tuple, kwargs: dict):
        """Call the function, watching.

        Raises:
            Refused: it does what compiled code would not repeat. Python state is as it was before.
        """
        root = self._root()
        self._state.where = f"{root.co_filename}:{root.co_firstlineno}" if root else ""
        self._state.visit(self._function)
        self._state.visit((*args, *kwargs.values()), argument=True)
        profiler, collects = sys.getprofile(), gc.isenabled()
        gc.disable()  # what it finalizes would seem to be called by the function
        sys.setprofile(self._profiler())
        try:
            result = self._function(*args, **kwargs)
        except _Stop:
            assert self._refused is not None
        except BaseException as error:
            self.where = self._where_raised(error)
            if self._refused is None:
                resume(profiler)
                self._undo()
                raise
        finally:
            resume(profiler)
            if collects:
                gc.enable()
        refused = self._undo()
        if self._refused is not None:
            raise self._refused from None
        if refused is not None:
            raise refused
        return result

    def guards(self) -> Guards:
        """The conditions under which another run would do the same."""
        places = [place for place in self._state.places.values() if place.guarded]
        return Guards(places, list(self._state.modules.values()))

    def _root(self) -> CodeType | None:
        """The code of the function, which is the user's also if danlu has defined it."""
        function = self._function
        while isinstance(function, (partial, Compiled)):
            function = function.func if isinstance(function, partial) else function._function
        holder = getattr(function, "__self__", None)
        if isinstance(function, MethodType):
            function = function.__func__
        elif not isinstance(function, FunctionType) and not isinstance(function, Module):
            holder, function = function, vars(type(function)).get("__call__")
        if not isinstance(function, FunctionType):
            return None
        code = function.__code__
        wraps = hasattr(function, "__wrapped__")
        generated = kind_of(code, function.__globals__.get("__name__") or "") is LIBRARY
        of_danlu = not wraps and not isinstance(holder, Module) and (holder or function.__closure__)
        if generated or of_danlu:
            self._kinds[id(code)] = USER
            self._handlers[id(code)] = self._user_call
            self._watched.add(id(code))
            if holder is not None:
                self._state.look_into(holder)
        return code

    # ------------------------------------------------------------------ the profiler
    def _profiler(self):
        handlers, watched = self._handlers, self._watched
        classify, called = self._classify, self._called

        def profile(frame, event, argument):
            # 0.25 microseconds for a call that is nobody's business, half of them CPython's
            try:
                if event == "call":
                    code = frame.f_code
                    try:
                        handler = handlers[id(code)]
                    except KeyError:
                        handler = classify(code, frame)
                    if handler is not None:
                        handler(frame)
                elif event == "c_call" and id(frame.f_code) in watched:
                    called(frame, argument)
            except Refused as refused:
                self._refused = refused
                raise _Stop from None

        self._profile = profile
        return profile

    def _until_imported(self, frame, event, argument) -> None:
        """The profiler while a module is being imported: what its code does is done once."""
        if event == "return" and frame is self._importing:
            sys.setprofile(self._profile)

    def _import(self, frame) -> None:
        self._importing = frame
        sys.setprofile(self._until_imported)

    def _classify(self, code: CodeType, frame):
        self._codes.append(code)
        kind = kind_of(code, frame.f_globals.get("__name__") or "")
        self._kinds[id(code)] = kind
        handler: Any = None
        if kind in (USER, LIBRARY):
            self._watched.add(id(code))
            handler = self._user_call if kind is USER else self._library_call
        elif kind is PLAIN and code.co_name == "_find_and_load":
            handler = self._import
        elif code.co_filename.startswith(NUMPY):
            handler = self._numpy_call
        elif code.co_filename.removeprefix(DANLU).replace(os.sep, "/").startswith(EFFECTFUL):
            handler = self._effectful_call
        self._handlers[id(code)] = handler
        return handler

    # ------------------------------------------------------------------ calls of Python functions
    def _user_call(self, frame) -> None:
        code = frame.f_code
        if code.co_flags & _GENERATES:
            self._generator_call(frame)
        if id(code) in self._entered:
            return
        self._enter(frame, guarded=True)
        if not code.co_flags & _GENERATES:
            self._handlers[id(code)] = None

    def _library_call(self, frame) -> None:
        if not self._is_users(frame.f_back):
            return
        module = (frame.f_globals.get("__name__") or "").partition(".")[0]
        if module in REFUSED_STDLIB:
            raise Refused(f"{module} is used", self._where(frame))
        if id(frame.f_code) not in self._entered:
            self._enter(frame, guarded=False)

    def _numpy_call(self, frame) -> None:
        if not self._is_users(frame.f_back):
            return
        code = frame.f_code
        pure = code.co_name in PURE_NUMPY or code.co_filename.endswith("getlimits.py")
        if not pure or any(isinstance(v, (Tensor, np.ndarray)) for v in frame.f_locals.values()):
            raise Refused(f"NumPy in compiled code: {code.co_name}", self._where(frame))

    def _effectful_call(self, frame) -> None:
        if self._is_users(frame.f_back):
            raise Refused(f"{frame.f_code.co_name} is called", self._where(frame))

    def _state_read(self, frame) -> None:
        if self._is_users(frame.f_back):
            raise Refused(f"{frame.f_code.co_name} is read", self._where(frame))

    def _generator_call(self, frame) -> None:
        started = (
            frame.f_lasti < 0
            if _RESUME is None
            else not frame.f_code.co_code[frame.f_lasti + 1] & 3
        )
        if started:
            self._generators[id(frame)] = frame
        elif id(frame) not in self._generators:
            raise Refused("a generator from outside is advanced", self._where(frame))

    def _enter(self, frame, guarded: bool) -> None:
        """Take in what code names that runs for the first time."""
        code, names = frame.f_code, names_of(frame.f_code)
        self._entered.add(id(code))
        self._ran.append((code, names))
        self._inner.update(id(each) for each in code.co_consts if isinstance(each, CodeType))
        where = f"{code.co_filename}:{code.co_firstlineno}" if guarded else self._where(frame)
        self._state.where = where
        self._refuse_by_name(code, names, frame.f_globals)
        if not self._state.functions_of(code):
            self._find_functions(frame)
        self._state.enter(code, names, frame.f_globals, guarded)

    def _refuse_by_name(self, code: CodeType, names: Names, variables: dict) -> None:
        """Refuse what makes no call that a profiler sees."""
        for name, line in names.handed_on.items():
            function = variables.get(name, getattr(builtins, name, None))
            if type(function) is BuiltinFunctionType and not is_pure(function):
                raise Refused(f"{name} is handed on", f"{code.co_filename}:{line}")
        drawn = names.attributes.get("random")
        if drawn is not None and any(variables.get(name) is np for name in names.globals):
            raise Refused("random numbers of NumPy", f"{code.co_filename}:{drawn}")

    def _find_functions(self, frame) -> None:
        """Find the function that a frame runs, where nothing that was visited has led to it."""
        code: CodeType = frame.f_code
        if code.co_argcount:
            instance = frame.f_locals.get(code.co_varnames[0])
            for cls in (instance if isinstance(instance, type) else type(instance)).__mro__:
                method = vars(cls).get(code.co_name)
                method = getattr(method, "__func__", method)
                while method is not None:  # decorated ones lead to what they decorate
                    if getattr(method, "__code__", None) is code:
                        self._state.method(cls, code.co_name)
                        return
                    method = getattr(method, "__wrapped__", None)
        if id(code) not in self._inner:
            for function in gc.get_referrers(code):
                if type(function) is FunctionType and function.__code__ is code:
                    self._state.visit(function, code.co_name)

    # ------------------------------------------------------------------ calls of C functions
    def _called(self, frame, function) -> None:
        if is_pure(function) or (function is hash and frame.f_code.co_name == "__hash__"):
            return
        if self._kinds[id(frame.f_code)] is LIBRARY and not self._is_users(frame):
            return
        owner = getattr(function, "__self__", None)
        name = function.__name__
        if isinstance(owner, MUTABLE_TYPES):
            place = self._state.containers.get(id(owner))
            if place is None:
                return  # the call has made it
            raise Refused(f"{place} is changed by {name}", self._where(frame))
        if owner is not None and not isinstance(owner, ModuleType):
            name = f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"
            module = type(owner).__module__
        else:
            module = getattr(function, "__module__", None) or ""
            if module not in ("builtins", ""):
                name = f"{module}.{name}"
        if module.startswith("numpy"):
            raise Refused(f"NumPy in compiled code: {name}", self._where(frame))
        raise Refused(f"{name} is called", self._where(frame))

    # ------------------------------------------------------------------ modules
    def _module_made(self, frame) -> None:
        module = frame.f_locals["self"]
        if id(module) not in self._state.modules:
            self._made[id(module)] = module

    def _module_written(self, frame) -> None:
        module, name = frame.f_locals["self"], frame.f_locals["name"]
        if id(module) not in self._made:
            self._state.module(module)
            self._written.setdefault((id(module), name), self._where(frame))

    def _hook_registered(self, frame) -> None:
        table = frame.f_locals["table"]
        if not any(table is each for m in self._made.values() for each in vars(m).values()):
            raise Refused("a hook is registered", self._where(frame))

    # ------------------------------------------------------------------ lines
    def _is_users(self, frame) -> bool:
        """Whether a frame is the user's, or a library's that works for the user."""
        while frame is not None:
            kind = self._kinds.get(id(frame.f_code))
            if kind is USER:
                return True
            if kind in (None, OWN):
                return False
            frame = frame.f_back
        return False

    def _where(self, frame) -> str:
        while frame is not None:
            if self._kinds.get(id(frame.f_code)) is USER:
                return f"{frame.f_code.co_filename}:{frame.f_lineno}"
            frame = frame.f_back
        return self._state.where

    def _line_of_change(self, place: Place) -> str:
        return line_of_change(place.kind, place.label, self._ran) or self._state.where

    def _where_raised(self, error: BaseException) -> str:
        where, traceback = "", error.__traceback__
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if self._kinds.get(id(code)) is USER:
                where = f"{code.co_filename}:{traceback.tb_lineno}"
            traceback = traceback.tb_next
        return where

    # ------------------------------------------------------------------ after the call
    def _undo(self) -> Refused | None:
        """Put back what the call has changed; the refusal that this means, if anything."""
        changed = self._state.changes()
        refused = self._refusal(changed[0]) if changed else None
        for place in changed:
            place.restore()
        return refused

    def _refusal(self, place: Place) -> Refused:
        if isinstance(place, ModuleState):
            name = place.changes()[0]
            where = self._written.get((id(place.holder), name)) or next(
                (line for (module, _), line in self._written.items() if module == id(place.holder)),
                None,
            )
            reason = f"the attribute {name} of a {type(place.holder).__name__} is changed"
            return Refused(reason, where or self._line_of_change(place), False)
        if isinstance(place, ClassState):
            place.label = place.changes()[0]
        return Refused(f"{place} is changed", self._line_of_change(place), False)
