"""Numbers that a compiled step reads anew at every run: learning rates, decays, step counts.

A formula computes with `Symbol`s as with floats, and is remembered as an expression over what is
read at run time. Where it decides by a number, the decision becomes a guard; where a number meets a
recording array, it becomes a float argument of the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isfinite
from numbers import Real
from typing import NamedTuple

import numpy as np

from danlu.compiler.texts import Scope, define, function_text
from danlu.kernels.graph.nodes import Unsupported
from danlu.kernels.graph.traced import Traced

__all__ = ["Functions", "Numbers", "Symbol", "Symbols"]


def _binary(sign: str, function: Callable):
    def forward(self, other):
        return self.symbols.combined(sign, function, self, other)

    def reflected(self, other):
        return self.symbols.combined(sign, function, other, self)

    return forward, reflected


def _unary(sign: str, function: Callable):
    def method(self):
        return self.symbols.combined(sign, function, self)

    return method


def _comparison(sign: str, function: Callable):
    def compare(self, other):
        return self.symbols.decided(sign, function, self, other)

    return compare


class Symbol:
    """A number of which the origin is known.

    It is no float: a function written in C would read the present value and forget the origin.
    `float()` gives the value only where a guard can hold it fast.

    Attributes:
        value: what it is now.
        name: the variable that holds it in generated code.
        sign, operands: how it is computed; an input has no sign, and the text that reads it for
            operand.
        moves: whether it changes from run to run by itself, as step counts do.
    """

    __slots__ = ("moves", "name", "operands", "sign", "symbols", "value")
    __array_ufunc__ = None  # arrays leave their operators to those here; NumPy's functions raise

    def __init__(self, symbols: Symbols, name: str, value: float, sign, operands, moves: bool):
        self.symbols, self.name, self.value = symbols, name, value
        self.sign, self.operands, self.moves = sign, operands, moves

    __add__, __radd__ = _binary("{} + {}", operator.add)
    __sub__, __rsub__ = _binary("{} - {}", operator.sub)
    __mul__, __rmul__ = _binary("{} * {}", operator.mul)
    __truediv__, __rtruediv__ = _binary("{} / {}", operator.truediv)
    __pow__, __rpow__ = _binary("{} ** {}", operator.pow)
    __neg__ = _unary("-{}", operator.neg)
    __abs__ = _unary("abs({})", operator.abs)
    __lt__ = _comparison("{} < {}", operator.lt)
    __le__ = _comparison("{} <= {}", operator.le)
    __gt__ = _comparison("{} > {}", operator.gt)
    __ge__ = _comparison("{} >= {}", operator.ge)
    __eq__ = _comparison("{} == {}", operator.eq)
    __ne__ = _comparison("{} != {}", operator.ne)

    def __hash__(self) -> int:
        return hash(self.name)

    def __bool__(self) -> bool:
        return self.symbols.decided("{} != {}", operator.ne, self, 0)

    def __float__(self) -> float:
        if self.moves:
            raise Unsupported("a step count as a plain number")
        self.symbols.decided("{} == {}", operator.eq, self, self.value)
        return float(self.value)

    def __array__(self, dtype=None, copy=None):
        raise Unsupported("a number of a formula as an array")

    def __index__(self) -> int:
        if float(self) != int(self.value):
            raise TypeError(f"{self.value} is no integer")
        return int(self.value)

    def __int__(self) -> int:
        return int(float(self))

    def __repr__(self) -> str:
        return f"Symbol({self.value!r}, {self.expression!r})"

    @property
    def expression(self) -> str:
        """Its text over inputs alone."""
        return _text(self, lambda each: each.expression if each.sign is None
                     else f"({each.expression})")  # fmt: skip

    def rounded(self, dtype) -> Symbol:
        """What an array of this dtype makes of it."""
        name = np.dtype(dtype).name
        if name == "float64":
            return self
        if name != "float32":
            raise Unsupported(f"numbers rounded to {name}")
        return self.symbols.combined("rounded({})", rounded, self)

    def traced(self) -> Traced:
        """It as a Python float of the graph."""
        return self.symbols.argument(self)


def rounded(number) -> float:
    """A number as float32 holds it."""
    return float(np.float32(number))


def _rounded_all(numbers):
    return np.float64(np.float32(numbers))


def _text(symbol: Symbol, look: Callable[[Symbol], str]) -> str:
    """How a symbol is computed, with `look` for its operands."""
    if symbol.sign is None:
        return symbol.operands[0]
    return symbol.sign.format(*(_operand(each, look) for each in symbol.operands))


def _operand(value, look) -> str:
    if isinstance(value, Symbol):
        return look(value)
    if not isinstance(value, int):
        value = float(value)  # NumPy's have another text
        if not isfinite(value):
            raise Unsupported(f"{value} in a formula")
    return f"({value!r})" if value < 0 else repr(value)


def _name_of(symbol: Symbol) -> str:
    return symbol.name


class Numbers:
    """State that is one number, though kept once a parameter: step counts, products of momenta.

    It answers to what formulas do with such an array: `item`, `[...] =` and `*=`.
    """

    __slots__ = ("dtype", "present", "start")

    def __init__(self, start: Symbol, dtype: np.dtype):
        self.start, self.dtype = start, dtype
        self.present: Symbol | float = start

    def item(self, index: int = 0):
        return self.present

    def __setitem__(self, index, value) -> None:
        if index is not Ellipsis:
            raise Unsupported("a number of one parameter alone")
        self.present = self._rounded(value)

    def __imul__(self, factor) -> Numbers:
        # an array rounds the factor first, and then the product
        self.present = self._rounded(self.present * self._rounded(factor))
        return self

    def _rounded(self, value):
        if isinstance(value, Symbol):
            return value.rounded(self.dtype)
        return float(np.asarray(value, self.dtype))


class Functions(NamedTuple):
    """Generated functions that read the inputs.

    Attributes:
        scalars: ``scalars()``: the float arguments of the next run, a tuple.
        table: ``table(steps)``: those of the next `steps` runs, float64 [steps, arguments], if
            nothing but step counts changes; fewer rows where a decision would fall otherwise.
    """

    scalars: Callable[[], tuple]
    table: Callable[[int], np.ndarray]


class _Decision(NamedTuple):
    sign: str
    operands: tuple
    outcome: bool

    def text(self, look: Callable[[Symbol], str], negation: str = "not ({})") -> str:
        text = self.sign.format(*(_operand(each, look) for each in self.operands))
        return text if self.outcome else negation.format(text)


def _after_the_trace(value, name):
    raise Unsupported("a number that a trace reads after its end")


class Symbols:
    """The symbols of one trace.

    Args:
        scalar: ``scalar(value, name)`` makes a float argument of the graph, which generated code
            finds in the variable `name`.
        names: where to put what the texts refer to; new ones by default.

    Attributes:
        names: what the texts refer to.
        arguments: the symbols that are arguments, in the order of the arguments.

    Example:
        >>> group, found = {"lr": 0.5, "weight_decay": 0}, []
        >>> symbols = Symbols(lambda value, name: found.append(value))
        >>> name = symbols.name(group, "group")
        >>> rate, decay = (symbols.input(f"{name}[{key!r}]", group[key]) for key in group)
        >>> if not decay:
        ...     symbols.argument(1 - rate / 2)
        >>> symbols.guards
        ["not (group0['weight_decay'] != 0)"]
        >>> group["lr"] = 1.5
        >>> found, symbols.functions().scalars()
        ([0.75], (0.25,))
    """

    def __init__(self, scalar: Callable[[float, str], Traced], names: Scope | None = None):
        self._scalar = scalar
        self.names = Scope() if names is None else names
        self.names["rounded"] = rounded
        self.arguments: dict[Symbol, Traced | None] = {}
        self._made: dict[tuple, Symbol] = {}
        self._decisions: dict[str, _Decision] = {}
        self._numbers: dict[int, Numbers] = {}

    def close(self) -> None:
        """Let go of the trace, which is over."""
        self._scalar = _after_the_trace
        self.arguments = dict.fromkeys(self.arguments)

    # ------------------------------------------------------------------ what is read
    def name(self, value, stem: str) -> str:
        """What generated code calls an object."""
        return self.names.of(value, stem)

    def input(self, text: str, value: float, moves: bool = False) -> Symbol:
        """A number that the expression `text` reads as a float at run time."""
        return self._make(None, (text,), float(value), moves)

    def numbers(self, array: np.ndarray) -> Numbers:
        """What is equal in an array of the state, read from its first element."""
        found = self._numbers.get(id(array))
        if found is None:
            text = f"{self.name(array, 'numbers')}.item(0)"
            start = self.input(text, array.item(0), moves=True)
            found = self._numbers[id(array)] = Numbers(start, array.dtype)
        return found

    # ------------------------------------------------------------------ computing
    def combined(self, sign: str, function: Callable, *operands):
        """A function of symbols and numbers, or of symbols and recording arrays."""
        if any(isinstance(each, Traced) for each in operands):
            return function(*(self.argument(each) if isinstance(each, Symbol) else each
                              for each in operands))  # fmt: skip
        if not all(isinstance(each, (Symbol, Real)) for each in operands):
            return NotImplemented
        value = function(*(_value(each) for each in operands))
        if not isinstance(value, float):
            raise Unsupported(f"the number {value} in a formula")
        moves = any(isinstance(each, Symbol) and each.moves for each in operands)
        return self._make(sign, operands, value, moves)

    def _make(self, sign, operands, value, moves) -> Symbol:
        key = (sign, *(_operand(each, _name_of) if sign else each for each in operands))
        found = self._made.get(key)
        if found is None:
            name = f"number{len(self._made)}"
            found = self._made[key] = Symbol(self, name, value, sign, operands, moves)
        return found

    def decided(self, sign: str, function: Callable, *operands) -> bool:
        """The outcome of a comparison, which has to be the same at every run."""
        if not all(isinstance(each, (Symbol, Real)) for each in operands):
            return NotImplemented
        outcome = bool(function(*(_value(each) for each in operands)))
        decision = _Decision(sign, operands, outcome)
        self._decisions.setdefault(decision.text(_expression_of), decision)
        return outcome

    def argument(self, symbol: Symbol) -> Traced:
        """A symbol as a float argument of the graph."""
        found = self.arguments.get(symbol)
        if found is None:
            found = self.arguments[symbol] = self._scalar(symbol.value, symbol.name)
        return found

    # ------------------------------------------------------------------ what a run needs
    @property
    def guards(self) -> list[str]:
        """The decisions that were taken, as expressions that hold now."""
        return list(self._decisions)

    def lines(self) -> list[str]:
        """Assignments that compute the arguments' variables."""
        return [f"{each.name} = {_text(each, _name_of)}" for each in self._needed(self.arguments)]

    def mark(self):
        """What `restore` needs to forget all decisions and changes after this."""
        return dict(self._decisions), {key: each.present for key, each in self._numbers.items()}

    def restore(self, mark) -> None:
        decisions, presents = mark
        self._decisions = decisions
        for key in list(self._numbers):
            if key in presents:
                self._numbers[key].present = presents[key]
            else:
                del self._numbers[key]

    def functions(self) -> Functions:
        """The functions that compute the arguments, for one run and for many."""
        arguments = "".join(f"{each.name}, " for each in self.arguments)
        text = function_text("scalars()", [*self.lines(), f"return ({arguments})"])
        scalars = self.compiled(text, "scalars")
        strides = {each.start: _stride(each) for each in self._numbers.values()}
        if None in strides.values():
            return Functions(scalars, self.compiled(self._loop(), "table"))
        table = self.compiled(self._columns(strides), "table", rounded=_rounded_all)
        return Functions(scalars, table)

    def compiled(self, text: str, name: str, **others) -> Callable:
        """The function that a text defines."""
        scope = {**self.names, "np": np, **others}
        define(text, scope)
        return scope[name]

    def _needed(self, wanted) -> list[Symbol]:
        """The wanted symbols and what they are computed from, in the order of their making."""
        found: set[Symbol] = set()
        stack = list(wanted)
        while stack:
            each = stack.pop()
            if each not in found:
                found.add(each)
                stack += [other for other in each.operands if isinstance(other, Symbol)]
        return [each for each in self._made.values() if each in found]

    def _moving(self) -> list[_Decision]:
        """The decisions that step counts may change."""
        return [each for each in self._decisions.values()
                if any(isinstance(other, Symbol) and other.moves for other in each.operands)]  # fmt: skip

    def _columns(self, strides: dict) -> str:
        """`table` on arrays with an element a run: step counts grow evenly."""
        decisions = self._moving()
        decided = [other for each in decisions for other in each.operands
                   if isinstance(other, Symbol)]  # fmt: skip
        lines = []
        for each in self._needed([*self.arguments, *decided]):
            text = _text(each, _name_of)
            if strides.get(each):
                text += f" + np.arange(steps) * {strides[each]!r}"
            lines.append(f"{each.name} = {text}")
        lines.append(f"rows = np.empty((steps, {len(self.arguments)}))")
        lines += [f"rows[:, {place}] = {each.name}" for place, each in enumerate(self.arguments)]
        if not decisions:
            return function_text("table(steps)", [*lines, "return rows"])
        held = " & ".join(f"({each.text(_name_of, 'np.logical_not({})')})" for each in decisions)
        lines += [f"held = np.append({held}, False)", "return rows[:held.argmin()]"]
        return function_text("table(steps)", lines)

    def _loop(self) -> str:
        """`table` run by run: numbers of a run follow from those of the run before."""
        carried = {each.start: each.present for each in self._numbers.values()}
        decisions = self._moving()
        wanted = [*self.arguments, *carried, *carried.values()]
        wanted += [other for each in decisions for other in each.operands]
        needed = self._needed([each for each in wanted if isinstance(each, Symbol)])
        once = [f"{each.name} = {_text(each, _name_of)}" for each in needed
                if each in carried or not each.moves]  # fmt: skip
        every = [f"{each.name} = {_text(each, _name_of)}" for each in needed
                 if each.moves and each not in carried]  # fmt: skip
        if decisions:
            held = " and ".join(each.text(_name_of) for each in decisions)
            every += [f"if not ({held}):", "    break"]
        every.append(f"rows.append(({''.join(f'{each.name}, ' for each in self.arguments)}))")
        before = ", ".join(each.name for each in carried)
        after = ", ".join(_operand(each, _name_of) for each in carried.values())
        every.append(f"{before} = {after}")
        lines = [*once, "rows = []", "for _ in range(steps):", *(f"    {each}" for each in every)]
        lines.append(f"return np.array(rows, np.float64).reshape(-1, {len(self.arguments)})")
        return function_text("table(steps)", lines)


def _expression_of(symbol: Symbol) -> str:
    return symbol.expression if symbol.sign is None else f"({symbol.expression})"


def _value(operand):
    return operand.value if isinstance(operand, Symbol) else operand


def _stride(numbers: Numbers) -> float | None:
    """By how much a run raises the numbers; None where it does something else with them."""
    total, each = 0, numbers.present
    while each is not numbers.start:
        if not isinstance(each, Symbol) or each.sign != "{} + {}":
            return None
        each, step = each.operands
        if isinstance(step, Symbol):
            return None
        total += step
    return total
