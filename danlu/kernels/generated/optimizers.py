"""Machine code for the steps of optimizers: one pass over every parameter, its gradient and state.

Each formula does the operations that the optimizers of `danlu.optim` do with NumPy, in the same
order and each rounded for itself, nothing fused: both roads give the same bits, so a training run
may change roads at any step. It costs nothing, for a step waits for memory (Adam moves 28 bytes a
number). Memory is read before it is written, so plain stores are right: their lines are in the
cache already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from danlu.kernels.codegen.function import Function, Module, Value
from danlu.kernels.codegen.target import Target, host
from danlu.kernels.codegen.types import FLOAT, I64, PTR

__all__ = ["COLUMNS", "RULES", "Numbers", "Rule", "text"]

# A piece of a tensor in the table: number of its gradient, its first element, its elements, the
# address of its values; then the addresses of its states.
COLUMNS = ("grad", "start", "count", "param")


class Numbers(NamedTuple):
    """What a formula works with: vectors of one place of a parameter, and hyperparameters.

    Attributes:
        function: where instructions are written.
        scalars: the hyperparameters by name, in every lane.
        param, grad: values and gradient.
        states: what the optimizer remembers, by name.
    """

    function: Function
    scalars: dict[str, Value]
    param: Value
    grad: Value
    states: dict[str, Value]


class Rule(NamedTuple):
    """An optimizer.

    Attributes:
        scalars, states: the names that its formula asks for, in the order of a call.
        formula: gives the new values and the new states.
    """

    scalars: tuple[str, ...]
    states: tuple[str, ...]
    formula: Callable[[Numbers], tuple[Value, dict[str, Value]]]


def text(rule: Rule, target: Target | None = None) -> str:
    """The IR of `task`: update the pieces of a table from `starts[index]` to `starts[index + 1]`.

    Its arguments: starts, pieces, the scalars of the rule, the gradients.
    """
    target = host() if target is None else target
    lanes = target.float_lanes
    vector = FLOAT.vector(lanes)
    f = Function.task()
    arguments, index, _ = f.parameters
    starts, pieces = f.slot(arguments, 0), f.slot(arguments, 1)
    scalars = {
        name: f.broadcast(f.slot(arguments, 2 + number, FLOAT), lanes)
        for number, name in enumerate(rule.scalars)
    }
    gradients = f.at(arguments, 2 + len(rule.scalars), I64)
    width = len(COLUMNS) + len(rule.states)

    def update(mask: Value | None, place: Value, param: Value, grad: Value, states) -> None:
        def load(pointer):
            if mask is None:
                return f.load(pointer, vector, place)
            return f.masked_load(pointer, mask, vector, 0, place)

        def store(value, pointer):
            if mask is None:
                f.store(value, pointer, place)
            else:
                f.masked_store(value, pointer, mask, place)

        before = {name: load(pointer) for name, pointer in states.items()}
        value, after = rule.formula(Numbers(f, scalars, load(param), load(grad), before))
        store(value, param)
        for name, pointer in states.items():
            store(after[name], pointer)

    first, last = f.load(starts, I64, index), f.load(starts, I64, index + 1)
    with f.loop(first, last) as loop:
        row = f.at(pieces, loop.index * width, I64)
        number, start, count = (f.load(row, I64, column) for column in range(3))
        param = f.load(row, PTR, 3)
        states = {
            name: f.load(row, PTR, len(COLUMNS) + place) for place, name in enumerate(rule.states)
        }
        grad = f.at(f.load(gradients, PTR, number), start, FLOAT)
        whole = count & -lanes
        with f.loop(0, whole, lanes) as turn:
            update(None, turn.index, param, grad, states)
        with f.when(f.compare("slt", whole, count)):
            update(f.mask_below(count - whole, lanes), whole, param, grad, states)
    f.ret()
    return Module(f).text()


# ---------------------------------------------------------------- the formulas
def _direction(n: Numbers, maximize: bool, decay: bool) -> Value:
    """The gradient to descend along, with weight decay."""
    grad = -n.grad if maximize else n.grad
    return grad + n.param * n.scalars["decay"] if decay else grad


def _lerp(average: Value, value: Value, weight: Value, near: bool) -> Value:
    """`average + weight * (value - average)`; not `near`: from the other end, by 1 - weight."""
    way = (value - average) * weight
    return average + way if near else value - way


def _average_square(n: Numbers, average: Value, value: Value) -> Value:
    return average * n.scalars["keep"] + value * n.scalars["take"] * value


def _sqrt(n: Numbers, value: Value) -> Value:
    return n.function.intrinsic("sqrt", value)


def sgd(maximize: bool, decay: bool, momentum: bool, nesterov: bool) -> Rule:
    """Stochastic gradient descent."""

    def formula(n):
        grad, rate = _direction(n, maximize, decay), n.scalars["rate"]
        if not momentum:
            return n.param + grad * rate, {}
        buffer = n.states["momentum_buffer"] * n.scalars["momentum"] + grad * n.scalars["take"]
        ahead = grad + buffer * n.scalars["momentum"] if nesterov else buffer
        return n.param + ahead * rate, {"momentum_buffer": buffer}

    if momentum:
        return Rule(("rate", "decay", "momentum", "take"), ("momentum_buffer",), formula)
    return Rule(("rate", "decay"), (), formula)


def adam(maximize: bool, decay: bool, decoupled: bool, amsgrad: bool, near: bool) -> Rule:
    """Adam, AdamW (`decoupled`), and their variants with the largest second moment (`amsgrad`)."""

    def formula(n):
        param, grad = n.param, _direction(n, maximize, decay and not decoupled)
        if decay and decoupled:
            param = param * n.scalars["decay"]
        mean = _lerp(n.states["exp_avg"], grad, n.scalars["weight"], near)
        square = largest = _average_square(n, n.states["exp_avg_sq"], grad)
        states = {"exp_avg": mean, "exp_avg_sq": square}
        if amsgrad:
            largest = n.function.intrinsic("maximum", n.states["max_exp_avg_sq"], square)
            states["max_exp_avg_sq"] = largest
        denominator = _sqrt(n, largest) / n.scalars["correction"] + n.scalars["eps"]
        return param + mean * n.scalars["rate"] / denominator, states

    states = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if amsgrad else 2]
    scalars = ("rate", "correction", "eps", "weight", "keep", "take", "decay")
    return Rule(scalars, states, formula)


def adagrad(maximize: bool, decay: bool) -> Rule:
    """Adagrad."""

    def formula(n):
        grad = _direction(n, maximize, decay)
        total = n.states["sum"] + grad * grad
        step = grad * n.scalars["rate"] / (_sqrt(n, total) + n.scalars["eps"])
        return n.param + step, {"sum": total}

    return Rule(("rate", "eps", "decay"), ("sum",), formula)


def rmsprop(maximize: bool, decay: bool, centered: bool, momentum: bool, near: bool) -> Rule:
    """RMSprop, with the variance instead of the mean square if `centered`."""

    def formula(n):
        grad, rate = _direction(n, maximize, decay), n.scalars["rate"]
        variance = square = _average_square(n, n.states["square_avg"], grad)
        states = {"square_avg": square}
        if centered:
            mean = _lerp(n.states["grad_avg"], grad, n.scalars["weight"], near)
            variance = square - mean * mean
            states["grad_avg"] = mean
        root = _sqrt(n, variance) + n.scalars["eps"]
        if not momentum:
            return n.param + grad * rate / root, states
        buffer = n.states["momentum_buffer"] * n.scalars["momentum"] + grad / root
        states["momentum_buffer"] = buffer
        return n.param + buffer * rate, states

    states = ["square_avg"] + ["grad_avg"] * centered + ["momentum_buffer"] * momentum
    scalars = ("rate", "eps", "keep", "take", "weight", "decay", "momentum")
    return Rule(scalars, tuple(states), formula)


RULES: dict[str, Callable[..., Rule]] = {
    "sgd": sgd, "adam": adam, "adagrad": adagrad, "rmsprop": rmsprop,
}  # fmt: skip
