"""Steps of optimizers over many float32 arrays in one call of generated code.

The formulas in NumPy are those of `danlu.optim`; the generated ones give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.kernels.runtime import road

__all__ = ["Table", "adagrad", "adam", "fits", "rmsprop", "sgd", "spend", "tables", "worth"]

# Elements of a task: 15 us (SGD) to 50 us (Adam).
TASK = 1 << 15
# Gradients are arguments of the call, which takes 256.
MOST = 240
# Where generating pays: NumPy's Adam costs 5 ns an element and step more, and what 6000 elements
# cost for its calls. Loading llvmlite takes 60 ms, a further kernel 2 to 20.
CALLS = 6000
COLD, WARM = 12_000_000, 2_000_000

_FLOAT = np.dtype("float32")


_spent = 0


def spend(elements: int) -> None:
    """Note a step that updated so many elements with NumPy."""
    global _spent
    _spent += CALLS + elements


def worth() -> bool:
    """Whether what the process's optimizers have done with NumPy would have paid for loading a kernel:
    then it pays for what is to come."""
    return road.worth(_spent, WARM if road.ready() else COLD)


def fits(array) -> bool:
    """Whether generated code can update this array."""
    flags = array.flags
    return (
        type(array) is np.ndarray
        and array.dtype == _FLOAT
        and flags.c_contiguous
        and flags.writeable
    )


class Table:
    """Where arrays and their states lie, cut into tasks by size alone.

    Attributes:
        members: which of the gradients belong to it.
        tasks: how many tasks there are.
        starts, pieces: of what `generated.optimizers.text` reads.
    """

    __slots__ = ("_kept", "members", "pieces", "starts", "tasks")

    def __init__(self, members: slice, params: Sequence, states: Sequence[Sequence]):
        self.members, self._kept = members, (params, states)
        pieces: list[tuple] = []
        starts, free = [0], TASK
        for number, param in enumerate(params):
            addresses = [array.ctypes.data for array in (param, *states[number])]
            for start in range(0, param.size, TASK):
                count = min(TASK, param.size - start)
                if count > free:
                    starts.append(len(pieces))
                    free = TASK
                free -= count
                pieces.append((number, start, count, *(at + 4 * start for at in addresses)))
        starts.append(len(pieces))
        self.tasks = len(starts) - 1
        self.starts = np.array(starts, dtype=np.int64)
        self.pieces = np.array(pieces, dtype=np.int64).reshape(-1)


def tables(params: Sequence, states: Sequence[Sequence]) -> list[Table]:
    """Tables of arrays that `fits` accepts; `states` holds the states of each, in the order of the
    rule. They are good as long as the memory of all those arrays stays where it is."""
    return [
        Table(
            slice(first, first + MOST), params[first : first + MOST], states[first : first + MOST]
        )
        for first in range(0, len(params), MOST)
    ]


def _step(name: str, options: tuple, tables: list[Table], grads: list, scalars: tuple) -> None:
    call = _calls.get((name, options))
    if call is None or tables[0].tasks > 1:  # the number of threads may have changed
        call = _calls[name, options] = _loaded(name, options).call
    for table in tables:
        call(table.tasks, table.starts, table.pieces, *scalars, *grads[table.members])


# How to call a kernel by its name and options: asking for it costs as much as a step of 30 weights.
_calls: dict = {}


def _loaded(name: str, options: tuple):
    from danlu.kernels.runtime import launch

    def write() -> str:
        from danlu.kernels.generated import optimizers

        return optimizers.text(optimizers.RULES[name](*options))

    return launch.kernel((name, *options), write)


def sgd(
    tables, grads, *, lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0,
    maximize=False,
) -> None:  # fmt: skip
    """A step of SGD; `grads` are contiguous float32 arrays in the order of the tables, the state is
    (momentum_buffer), none without momentum."""
    options = maximize, weight_decay != 0, momentum != 0, nesterov
    scalars: tuple = -float(lr), float(weight_decay)
    if momentum:
        scalars += float(momentum), float(1 - dampening)
    _step("sgd", options, tables, grads, scalars)


def adam(
    tables, grads, *, step, lr, betas, eps, weight_decay=0.0, decoupled=False, amsgrad=False,
    maximize=False,
) -> None:  # fmt: skip
    """Step number `step` (from 1) of Adam, or of AdamW (`decoupled`); the state is (exp_avg,
    exp_avg_sq), and max_exp_avg_sq with `amsgrad`."""
    beta1, beta2 = betas
    weight, near = _weight(1 - beta1)
    options = maximize, weight_decay != 0, decoupled, amsgrad, near
    decay = 1 - lr * weight_decay if decoupled else weight_decay
    rate, correction = -lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    scalars = rate, correction, eps, weight, beta2, 1 - beta2, decay
    _step("adam", options, tables, grads, tuple(map(float, scalars)))


def adagrad(tables, grads, *, rate, eps, weight_decay=0.0, maximize=False) -> None:
    """A step of Adagrad; the state is (sum)."""
    options = maximize, weight_decay != 0
    _step("adagrad", options, tables, grads, (-float(rate), float(eps), float(weight_decay)))


def rmsprop(
    tables, grads, *, lr, alpha, eps, momentum=0.0, centered=False, weight_decay=0.0,
    maximize=False,
) -> None:  # fmt: skip
    """A step of RMSprop; the state is (square_avg), grad_avg if `centered`, momentum_buffer with
    momentum."""
    weight, near = _weight(1 - alpha)
    options = maximize, weight_decay != 0, centered, momentum > 0, near
    scalars = -lr, eps, alpha, 1 - alpha, weight, weight_decay, momentum
    _step("rmsprop", options, tables, grads, tuple(map(float, scalars)))


def _weight(weight: float) -> tuple[float, bool]:
    """What a linear interpolation multiplies with, and whether it starts from the near end."""
    near = abs(weight) < 0.5
    return (weight if near else 1 - weight), near
