"""Steps of optimizers as part of a graph.

The formula of a `FormulaOptimizer` runs on recording arrays: small parameters of a group as one flat
array, as in `danlu.optim._bundles`, large ones by themselves. What a group says (rates, decays) and
what is counted (steps) are symbols, which every run reads anew; the state stays where the optimizer
keeps it, so that compiled and eager steps may follow one another in any order.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from numbers import Real
from typing import Any

import numpy as np

from danlu.compiler.overlay import NotReady, current, real
from danlu.compiler.symbolic import Numbers, Symbol, Symbols
from danlu.compiler.texts import function_text
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.traced import Traced
from danlu.optim import optimizer as hooks
from danlu.optim._bundles import JOINT_SIZE, Bundle
from danlu.optim._formula import FormulaOptimizer
from danlu.optim.optimizer import Optimizer
from danlu.optim.sgd import SGD
from danlu.tensor import Tensor

__all__ = ["MOST_ELEMENTS", "inline"]

# A graph saves a step its Python, about 20 us. Updates of more elements than these take several
# times that in either way, and every large array has a loop of its own to be compiled.
MOST_ELEMENTS = 1 << 17

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_STEPS = (FormulaOptimizer._step_group, SGD._step_group)


def inline(optimizer: Optimizer, session) -> None:
    """Record ``optimizer.step()``, as a whole or not at all.

    Args:
        session: the trace. Of it are used `graph`, `symbols`, `host_calls`, ``leaf(array)`` and
            ``guard(expression)``.

    Raises:
        NotReady: the state is not there yet.
        Unsupported: the step cannot be part of a graph.
    """
    graph, symbols = session.graph, session.symbols
    writes, mark = dict(graph.writes), symbols.mark()
    try:
        step = _Step(optimizer, session)
        step.record()
        step.finish()
    except (NotReady, Unsupported, TypeError) as error:
        graph.writes = writes
        symbols.restore(mark)
        if isinstance(error, TypeError):  # of what NumPy or Python cannot do with a symbol
            raise Unsupported(f"the formula of {type(optimizer).__name__}: {error}") from error
        raise


class _Group:
    """A parameter group whose numbers are symbols; what is looked at is guarded."""

    def __init__(self, group: dict, symbols: Symbols, guards: list[str]):
        self._group, self._symbols, self._guards = group, symbols, guards
        self._name = symbols.name(group, "group")

    def __getitem__(self, key):
        return self._seen(self._group[key], f"{self._name}[{key!r}]")

    def get(self, key, default=None):
        if key in self._group:
            return self[key]
        self._guards.append(f"{key!r} not in {self._name}")
        return default

    def _seen(self, value, text: str):
        if value is None or isinstance(value, bool):
            self._guards.append(f"{text} is {value}")
            return value
        if isinstance(value, str):
            self._guards.append(f"{text} == {value!r}")
            return value
        if isinstance(value, (tuple, list)):
            self._guards.append(f"len({text}) == {len(value)}")
            return tuple([self._seen(each, f"{text}[{place}]") for place, each in enumerate(value)])
        if isinstance(value, Tensor):
            value = _item(value)
        if not isinstance(value, Real):
            raise Unsupported(f"an option of type {type(value).__name__}")
        return self._symbols.input(f"float({text})", float(value))


def _item(tensor: Tensor) -> float:
    """A hyperparameter that is a tensor, as it is before the step that is traced."""
    array = real("_array", tensor)
    overlay = current()
    known = None if overlay is None else overlay.outside.get(id(tensor))
    touched = known is not None and known.traced is not None and known.traced.node.op != "leaf"
    if isinstance(array, Traced) or touched:
        raise Unsupported("an option that is computed in the step")
    return array.item()


class _Namespace:
    """NumPy's functions, which also take symbols."""

    def __getattr__(self, name: str):
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*args, out=None, **kwargs):
            args = [each.traced() if isinstance(each, Symbol) else each for each in args]
            if out is None:
                return function(*args, **kwargs)
            out[...] = function(*args, **kwargs)
            return out

        return call


_namespace = _Namespace()


class _Joint:
    """Arrays of the graph as one array to compute with, and the way back.

    Attributes:
        values: the array; a flat one for several.
    """

    def __init__(self, leaves: list[Traced]):
        self._leaves = leaves
        self.values = leaves[0].copy() if len(leaves) == 1 else _flat(leaves)
        self._before = self.values.node

    def store(self) -> None:
        """Put the values, where they are others by now, back to where they came from."""
        values = self.values
        if values.node is self._before:
            return
        if len(self._leaves) == 1:
            self._leaves[0][...] = values
            return
        start = 0
        for leaf in self._leaves:
            stop = start + leaf.size
            leaf[...] = values[start:stop].reshape(leaf.shape)
            start = stop


def _flat(arrays: list) -> Any:
    return np.concatenate([each.reshape(-1) for each in arrays])


class _TracedBundle(Bundle):
    """A bundle whose arrays record."""

    __slots__ = ()

    def __init__(self, param: Traced, grad: Traced, state: dict, step, maximize: bool):
        self.xp, self.step = _namespace, step
        self.param, self.state = param, state
        self._own_grad, self.work, self.more = (_scratch(param) for _ in range(3))
        self.grad = np.negative(grad, self._own_grad) if maximize else grad

    def constant(self, number):
        return number.traced() if isinstance(number, Symbol) else number


def _scratch(like: Traced) -> Traced:
    graph = like.graph
    zero = graph.constant(0, like.dtype)
    return Traced(graph, graph.make("copy", (zero,), like.dtype, like.shape))


class _Step:
    """One step of an optimizer."""

    def __init__(self, optimizer: Optimizer, session):
        self.optimizer, self.session, self.symbols = optimizer, session, session.symbols
        self.name = self.symbols.name(optimizer, "optimizer")
        self.guards: list[str] = []
        self.unpacked: list[str] = []  # assignments before the guards
        self.members: list[Tensor] = []  # parameters with gradients
        # what is written when the whole step is known to be possible
        self.joints: list[_Joint] = []
        self.counts: list[tuple[Numbers, list[Traced]]] = []

    def record(self) -> None:
        """Record the updates of all groups."""
        self._check()
        optimizer = self.optimizer
        groups = optimizer.param_groups
        name = self.symbols.name(groups, "groups")
        self.guards += [f"{self.name}.param_groups is {name}", f"len({name}) == {len(groups)}"]
        found = []
        for number, group in enumerate(groups):
            self._guard_members(f"{name}[{number}]", group)
            params = [param for param in group["params"] if param._grad is not None]
            found.append((_Group(group, self.symbols, self.guards), params))
            self.members += params
        shared = Counter(id(real("_writes", param)) for param in self.members)
        if max(shared.values(), default=1) > 1:
            raise Unsupported("parameters that share memory")
        if sum(param._array.size for param in self.members) > MOST_ELEMENTS:
            raise Unsupported("more parameters than pay in a graph")
        for seen, params in found:
            if seen.get("differentiable"):
                raise Unsupported("a differentiable step")
            for members in self._counted_alike(params):
                self._update(seen, members)
        self._guard_state()

    def finish(self) -> None:
        """Write the new values, hand over the guards, and count the writes."""
        for joint in self.joints:
            joint.store()
        for numbers, leaves in self.counts:
            value = numbers.present
            for leaf in leaves if value is not numbers.start else ():
                leaf[...] = value.traced() if isinstance(value, Symbol) else value
        symbols = self.symbols
        conditions = " and ".join(dict.fromkeys([*self.guards, *symbols.guards]))
        lines = ["try:", *(f"    {each}" for each in self.unpacked), f"    return {conditions}",
                 "except Exception:", "    return False"]  # fmt: skip
        unchanged = symbols.compiled(function_text("unchanged()", lines), "unchanged")
        name = symbols.name(unchanged, "unchanged")
        self.session.guard(f"{name}()")
        for param in self.members:
            param._writes[0] += 1

    # ------------------------------------------------------------------ what must stay
    def _check(self) -> None:
        optimizer, kind = self.optimizer, type(self.optimizer)
        if self.session.host_calls:  # a scheduler's, say: numbers are read before all of them
            raise Unsupported("a step after what is called in Python")
        if not isinstance(optimizer, FormulaOptimizer) or kind._step_group not in _STEPS:
            raise Unsupported(f"{kind.__name__}, which is no formula")
        if not kind.update.__module__.startswith("danlu.optim."):
            raise Unsupported(f"{kind.__name__}, whose formula may read anything")
        own = step = vars(optimizer).get("step")
        if step is not None:
            # a scheduler's mark that there was a step, which the first one leaves
            if not hasattr(step, "_wrapped_by_lr_sched"):
                raise Unsupported("an optimizer with another step")
            if not getattr(optimizer, "_opt_called", False):
                raise NotReady("a scheduler waits for the first step")
            step = step.__wrapped__
        if (step or kind.step) is not FormulaOptimizer.step:
            raise Unsupported(f"{kind.__name__}, which has a step of its own")
        kept = self.symbols.name(own, "step")
        self.guards.append(f"{self.name}.__dict__.get('step') is {kept}")
        self._guard_hooks()

    def _guard_hooks(self) -> None:
        """The hooks, which the trace runs around the step, stay those that they are."""
        own = [(f"{self.name}.{each}", getattr(self.optimizer, each)) for each in _HOOKS]
        tables = own + [
            (self.symbols.name(table, "hooks"), table)
            for table in (hooks._global_step_pre_hooks, hooks._global_step_post_hooks)
        ]
        if not any(table for _, table in tables):
            self.guards.append(f"not ({' or '.join(text for text, _ in tables)})")
        for text, table in tables if any(table for _, table in tables) else ():
            kept = self.symbols.name([*table.values()], "hooks")
            self.guards.append(f"[*{text}.values()] == {kept}")

    def _guard_members(self, text: str, group: dict) -> None:
        name, params = self.symbols.name(group, "group"), group["params"]
        found = self.symbols.name(params, "params")
        self.guards += [
            f"{text} is {name}", f"{name}['params'] is {found}", f"len({found}) == {len(params)}",
            *(f"{found}[{place}] is {self.symbols.name(param, 'param')}"
              for place, param in enumerate(params)),
        ]  # fmt: skip

    def _guard_state(self) -> None:
        """The state lies where it did. Asking for each array by itself takes 30 ns, half of what
        it takes with `map`."""
        state, named = self.optimizer.state, self.symbols.name
        name = named(state, "state")
        self.guards.append(f"{self.name}.state is {name}")
        if not state:
            self.guards.append(f"not {name}")
            return
        places = range(len(state))
        self.unpacked = [
            f"{''.join(f'key{place}, ' for place in places)} = {name}",
            f"{''.join(f'entry{place}, ' for place in places)} = {name}.values()",
        ]
        members = set(map(id, self.members))
        for place, (key, entry) in enumerate(state.items()):
            self.guards += [f"key{place} is {named(key, 'param')}",
                            f"entry{place} is {named(entry, 'held')}"]  # fmt: skip
            if id(key) not in members:
                continue
            self.guards.append(f"len(entry{place}) == {len(entry)}")
            for item, value in entry.items():
                text = f"entry{place}[{item!r}]"
                if isinstance(value, Tensor):
                    text, value = f"{text}._array", real("_array", value)
                self.guards.append(f"{text} is {named(value, 'array')}")

    # ------------------------------------------------------------------ updates
    def _counted_alike(self, params: list) -> list[list]:
        """The parameters of a group with their state, those together whose counts are equal."""
        together: dict = {}
        for param in params:
            entry = self.optimizer.state.get(param, {})
            numbers = [entry.get(each) for each in self.optimizer._scalars]
            if not all(isinstance(each, Tensor) for each in numbers):
                raise NotReady("a parameter without state")
            counts = tuple([_memory(each).item() for each in numbers])
            together.setdefault(counts, []).append((param, entry))
        return list(together.values())

    def _update(self, group: _Group, members: list) -> None:
        counts = {each: self._numbers(each, members) for each in self.optimizer._scalars}
        step: Symbol | float = 0
        if "step" in counts:
            step = counts["step"][0].present + 1
            counts["step"][0].present = step
        numbers = {each: found for each, (found, _) in counts.items()}
        before = {each: found.present for each, found in numbers.items()}
        for lot in self._lots(members):
            for each, present in before.items():  # every lot makes the same step
                numbers[each].present = present
            try:
                self._update_lot(group, lot, numbers, step)
            except KeyError as error:
                raise NotReady(f"a parameter without the state {error}") from None
        self.counts += counts.values()

    def _numbers(self, name: str, members: list) -> tuple[Numbers, list[Traced]]:
        """The equal numbers of the state `name`, and the memory they lie in."""
        together: dict = {}  # their order does not matter
        for _, entry in members:
            array = _memory(entry[name])
            together.setdefault(id(array.base), []).append(array)
        pieces = _pieces(list(chain.from_iterable(together.values())))
        numbers = self.symbols.numbers(pieces[0])
        first = self.symbols.name(pieces[0], "numbers")
        for piece in pieces:
            text = self.symbols.name(piece, "numbers")
            if piece.size > 1:
                self.guards.append(f"{text}.tolist().count({first}.item(0)) == {piece.size}")
            elif piece is not pieces[0]:
                self.guards.append(f"{text}.item(0) == {first}.item(0)")
        return numbers, [self.session.leaf(piece) for piece in pieces]

    def _lots(self, members: list) -> list[list]:
        """Parameters that are updated as one array."""
        together: dict = {}
        for place, (param, entry) in enumerate(members):
            array = param._array
            if array.dtype not in _DTYPES:  # eager code rounds narrow ones after each operation
                raise Unsupported(f"parameters of {array.dtype}")
            if not array.size:
                continue
            small = self.optimizer._elementwise and array.size <= JOINT_SIZE
            key = (array.dtype, *sorted(entry)) if small else place
            together.setdefault(key, []).append((param, entry))
        return list(together.values())

    def _update_lot(self, group: _Group, lot: list, counts: dict, step) -> None:
        grads = [_gradient(param, param._grad) for param, _ in lot]
        is_flat = len(lot) > 1
        param = _Joint([param._array for param, _ in lot])
        states = {name: self._state(name, lot) for name in self._names(lot)}
        state = {**counts, **{name: joint.values for name, joint in states.items()}}
        known = state.keys() | ()
        bundle = _TracedBundle(
            param.values, _flat(grads) if is_flat else grads[0], state, step,
            bool(group.get("maximize", False)),
        )  # fmt: skip
        self.optimizer.update(group, bundle)  # type: ignore[arg-type]
        if bundle.state.keys() != known:
            raise NotReady("state that begins with a step")
        self.joints += [param, *states.values()]

    def _names(self, lot: list) -> list[str]:
        """The state that is an array like the parameter, or of any form for a parameter alone."""
        param, entry = lot[0]
        return [
            name for name, value in entry.items()
            if name not in self.optimizer._scalars
            and isinstance(value, Tensor)
            and (len(lot) == 1 or _memory(value).shape == param._array.shape)
        ]  # fmt: skip

    def _state(self, name: str, lot: list) -> _Joint:
        """The state `name` of some parameters, neighbours in memory as one piece."""
        runs: list[list] = []  # [the array that they lie in, from, to]
        for _, entry in lot:
            array = _memory(entry[name])
            home, start = _home(array)
            if runs and runs[-1][0] is home and runs[-1][2] == start:
                runs[-1][2] += array.size
            else:
                runs.append([home, start, start + array.size])
        pieces = [self.session.leaf(home) for home, _, _ in runs]
        for place, (home, start, stop) in enumerate(runs):
            if stop - start < home.size:
                pieces[place] = pieces[place][start:stop]
        if len(lot) == 1:
            pieces = [pieces[0].reshape(array.shape)]
        return _Joint(pieces)


def _memory(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor of the state."""
    array = real("_array", tensor)
    if isinstance(array, Traced):
        raise Unsupported("state that is made in the step")
    return array


def _gradient(param: Tensor, grad: Tensor) -> Traced:
    array, like = grad._array, param._array
    if array.shape != like.shape:
        array = np.broadcast_to(array, like.shape)
    return array if array.dtype == like.dtype else array.astype(like.dtype)


def _pieces(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The same memory in as few arrays as can be: views that lie one after another and fill the
    array that they are views of are that array."""
    found: list[np.ndarray] = []
    while arrays:
        base = arrays[0].base
        count = 0 if base is None else _filling(base, arrays)
        found.append(base if count else arrays[0])  # type: ignore[arg-type]
        arrays = arrays[count or 1 :]
    return found


def _filling(base, arrays: list[np.ndarray]) -> int:
    """How many of the first of these arrays fill a flat one that they are views of; 0 for none."""
    if type(base) is not np.ndarray or base.ndim != 1 or not base.flags.c_contiguous:
        return 0
    start = end = _address(base)
    for count, array in enumerate(arrays, 1):
        fits = array.base is base and array.dtype == base.dtype and array.flags.c_contiguous
        if not fits or _address(array) != end:
            return 0
        end += array.nbytes
        if end == start + base.nbytes:
            return count
    return 0


def _home(array: np.ndarray) -> tuple[np.ndarray, int]:
    """The flat array that an array is a part of, and from where; others are their own."""
    base = array.base
    if type(base) is np.ndarray and base.ndim == 1 and base.dtype == array.dtype:
        if base.flags.c_contiguous and array.flags.c_contiguous:
            return base, (_address(array) - _address(base)) // array.itemsize
    return array, 0


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
