"""Steps of optimizers, schedulers and averages in a trace.

An optimizer whose formula can be recorded becomes part of the graph. What is Python all through, as a
scheduler is, or an optimizer with decisions of its own, is called after the machine code of every
run: a *host call*. Nothing may be computed behind one that depends on what it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from danlu.compiler.optimizers import inline
from danlu.compiler.overlay import NotReady, current
from danlu.compiler.profiler import unwatched
from danlu.compiler.session import Session
from danlu.kernels.graph.nodes import Unsupported
from danlu.nn.modules.lazy import LazyModuleMixin
from danlu.optim import optimizer as optimizers
from danlu.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from danlu.optim.swa_utils import AveragedModel

__all__ = ["steps_in_trace"]


@contextmanager
def steps_in_trace(session: Session) -> Iterator[None]:
    """Let a trace see the steps of optimizers, schedulers and averaged models of this thread."""

    def optimizer_step(step, optimizer, args, kwargs) -> bool:
        if current() is not session.overlay:
            return False
        if args or any(each is not None for each in kwargs.values()):
            raise Unsupported(f"{type(optimizer).__name__}.step with a closure")
        before, after = _hooks_of(optimizer)
        for hook in before:
            if hook(optimizer, (optimizer,), {}) is not None:
                raise Unsupported("a hook that replaces the arguments of a step")
        try:
            with unwatched():
                inline(optimizer, session)
        except Unsupported:
            if before or after:
                raise Unsupported("hooks on the step of an optimizer") from None
            session.host_call(type(optimizer).step, (optimizer,), {}, moves_tensors=True)
        for hook in after:
            hook(optimizer, (optimizer,), {})
        return True

    replaced: list[tuple[type, str, bool | None]] = [
        (cls, "step", False)
        for cls in (*_family(LRScheduler), *_family(ReduceLROnPlateau))
        if "step" in vars(cls)
    ]
    replaced.append((AveragedModel, "update_parameters", True))
    replaced.append((LazyModuleMixin, "has_uninitialized_params", None))
    kept = [(owner, name, vars(owner)[name]) for owner, name, _ in replaced]
    before = optimizers.in_trace
    optimizers.in_trace = optimizer_step
    try:
        for owner, name, moves in replaced:
            setattr(owner, name, _host_call(session, vars(owner)[name], moves))
        yield
    finally:
        optimizers.in_trace = before
        for owner, name, method in kept:
            setattr(owner, name, method)


def _family(cls) -> list[type]:
    found = [cls]
    for each in cls.__subclasses__():
        found += _family(each)
    return list(dict.fromkeys(found))


def _hooks_of(optimizer) -> tuple[list, list]:
    """The hooks before and after a step, in the order in which it calls them."""
    before, after = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    return (
        [*optimizers._global_step_pre_hooks.values(), *before.values()],
        [*after.values(), *optimizers._global_step_post_hooks.values()],
    )


def _host_call(session, method, moves_tensors):
    def call(*args, **kwargs):
        if current() is not session.overlay:
            return method(*args, **kwargs)
        if moves_tensors is None:
            if method(*args, **kwargs):
                raise NotReady("a lazy module gets its parameters")
            return False
        return session.host_call(method, args, kwargs, moves_tensors)

    return call
