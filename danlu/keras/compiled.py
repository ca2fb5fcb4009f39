"""Steps of `fit` as machine code.

A step that is compiled is the same computation as an eager one: `danlu.compile` refuses what it
cannot be sure of and compares the first run of every program with an eager one. Where the data lies in
memory and a program has one function for the whole step, the batches of an epoch run in one call.
"""

from __future__ import annotations

from danlu.compiler.function import Compiled
from danlu.keras.trainer import StepRunner
from danlu.tensor import wrap
from danlu.utils.data._iterators import GatheringIterator

__all__ = ["AFTER", "MODES", "CompiledStep", "check_mode", "describe", "may_be_compiled"]

MODES = ("auto", True, False)
# Steps that "auto" runs eagerly first: tracing and compiling cost as much as some hundred steps of a
# small network. A number and not a time, so that equal runs stay equal.
AFTER = 50
# batches of one native call: what a progress bar, and Ctrl-C, wait for
_AT_ONCE = 512


def check_mode(mode) -> None:
    """Refuse values that `fit(compile=...)` does not take.

    Raises:
        ValueError: for them.
    """
    if not any(mode is each for each in MODES):
        raise ValueError(f"compile must be 'auto', True or False, got {mode!r}")


def _train_function(net, loss_fn, learn):
    def step(features, labels):
        preds = net(features)
        loss = loss_fn(preds, labels)
        learn(loss)
        return preds, loss

    return step


def _validation_function(net, loss_fn):
    def step(features, labels):
        preds = net(features)
        return preds, loss_fn(preds, labels)

    return step


def _nothing() -> None:
    """What copies and files keep of a compiled step."""


def may_be_compiled(runner) -> bool:
    """Whether a runner's step is the one that this module knows, on whole batches on the CPU."""
    accelerator = runner.accelerator
    return (
        type(runner).__call__ is StepRunner.__call__
        and accelerator.gradient_accumulation_steps == 1
        and accelerator.mixed_precision == "no"
        and accelerator.device.type == "cpu"
    )


class CompiledStep:
    """The step of one stage of a `KerasModel`, over all its epochs.

    Args:
        runner: the `StepRunner` whose step it is.
        mode: ``"auto"`` or True.

    Attributes:
        function: the compiled function, of (features, labels) to (predictions, loss).
    """

    def __init__(self, runner, mode):
        self.parts, self.mode = self.parts_of(runner), mode
        if runner.stage == "train" and runner._learns:
            function = _train_function(runner.net, runner.loss_fn, runner.learn)
        else:
            function = _validation_function(runner.net, runner.loss_fn)
        self.function = Compiled(function, name=f"the {runner.stage} step", warns=mode is True)
        self._waits = AFTER if mode == "auto" else 0

    def __reduce__(self):
        return _nothing, ()  # a copy of the model makes a step of its own network

    @staticmethod
    def parts_of(runner) -> tuple:
        """What the step is made of: another of them needs another step."""
        return (runner.net, runner.loss_fn, runner.optimizer, runner.lr_scheduler, runner.clip,
                runner._learns, runner.accelerator.gradient_accumulation_steps)  # fmt: skip

    def serves(self, runner, mode) -> bool:
        """Whether this is the step of a runner."""
        return mode == self.mode and all(
            mine is its for mine, its in zip(self.parts, self.parts_of(runner))
        )

    def __call__(self, features, labels):
        if self._waits:
            self._waits -= 1
            return self.function._function(features, labels)
        return self.function(features, labels)

    def rest(self, batches):
        """Run the batches that are left of an epoch, some hundred in a native call.

        Yields:
            (predictions, labels, losses) of so many batches: arrays with an axis of batches in
            front. Batches that it cannot take stay in `batches`.
        """
        if self._waits or not isinstance(batches, GatheringIterator):
            return
        while self.function.programs:
            taken = batches.take(_AT_ONCE)
            if taken is None:
                return
            tensors, order, indices = taken
            found = self._run(tensors, order)
            if found is None:
                batches.give_back(indices)
                return
            yield found

    def _run(self, tensors, order):
        """The batches of `order`, as `rest` yields them; None where no program takes them."""
        if len(tensors) != 2:
            return None
        first = tuple([wrap(tensor._array.take(order[0], 0)) for tensor in tensors])
        program = self.function.program_of(first, {})
        rows = [tensor._array for tensor in tensors]
        if program is None or not program.repeats or order.min() < 0:
            return None
        if order.max() >= min(map(len, rows)) or not all(x.flags.c_contiguous for x in rows):
            return None
        found = program.repeat(first, {}, rows, order)
        if found is None:
            return None
        preds, losses = found
        self.function.compiled_calls += len(order)
        return preds, rows[1].take(order, 0), losses


def describe(steps) -> str:
    """How the steps of a fit ran, in a few words; empty for steps that no one asked to compile."""
    said = []
    for step in filter(None, steps):
        function = step.function
        if function.refusals:
            said.append(f"{function._name} ran eagerly: {function.refusals[-1]}")
        elif function.compiled_calls:
            said.append(f"{function._name} ran compiled")
    return "; ".join(said)
