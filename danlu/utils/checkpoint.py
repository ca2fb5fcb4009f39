"""Trading computation for memory: parts of the forward pass are run again in the backward pass.

What a checkpointed function saved for its derivatives is dropped at once; when its gradient is
needed the function runs again, on the same inputs and from the same state of the random stream
(Chen et al. 2016, "Training deep nets with sublinear memory cost")."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

from danlu.autograd.engine import run_backward
from danlu.autograd.grad_mode import enable_grad, state
from danlu.autograd.node import BACKWARD_TWICE, LEAF, Node, sequence
from danlu.backend.random import default_generator
from danlu.tensor import Tensor

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function did something else than the first."""


def noop_context_fn():
    """Two context managers that do nothing."""
    return nullcontext(), nullcontext()


def checkpoint(
    function, *args, use_reentrant=None, context_fn=noop_context_fn, determinism_check="default",
    debug=False, early_stop=True, preserve_rng_state=True, **kwargs,
):  # fmt: skip
    """What ``function(*args, **kwargs)`` gives, without keeping its intermediate results for the
    backward pass.

    Gradients reach the arguments and whatever else the function uses, such as a module's
    parameters. Both of PyTorch's variants are accepted; danlu has one implementation, which does
    what either can do.

    Args:
        function: must compute the same from the same inputs. It runs a second time during
            ``backward``.
        use_reentrant: True refuses keyword arguments, as in PyTorch; pass it explicitly.
        context_fn: returns two context managers, for the first and for the second run.
        determinism_check, debug, early_stop: accepted for PyTorch's sake.
        preserve_rng_state: give the second run the random state of the first, so that dropout masks
            are equal. Default: True.

    Raises:
        CheckpointError: during ``backward``, if the second run used other tensors or returned other
            shapes.
        ValueError: keyword arguments or ``context_fn`` with ``use_reentrant=True``.

    Example:
        >>> import danlu as torch
        >>> from danlu.utils.checkpoint import checkpoint
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> checkpoint(lambda x: x * x * 3, x, use_reentrant=False).sum().backward()
        >>> x.grad
        tensor([ 6., 12.])
    """
    if use_reentrant is None:
        _warn_of_missing_variant("checkpoint")
    if use_reentrant is not False:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
    first_context, second_context = context_fn()
    if not state.grad:
        with first_context:
            return function(*args, **kwargs)
    random_state = default_generator.state_bytes() if preserve_rng_state else None
    start = sequence()
    with first_context:
        output = function(*args, **kwargs)
    results = _recorded_since(start, output)
    if results:
        node = _CheckpointNode(function, args, kwargs, second_context, random_state)
        node.attach(start, results)
    return output


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Run functions one after the other, keeping for the backward pass only what enters each
    segment.

    Args:
        functions: an ``nn.Sequential``, or a sequence of modules or functions of one argument.
        segments: the number of pieces; the last one is not checkpointed.
        input: what the first function gets.
        use_reentrant: see `checkpoint`.
        preserve_rng_state: see `checkpoint`. Default: True.

    Example:
        >>> import danlu as torch
        >>> from danlu.utils.checkpoint import checkpoint_sequential
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> checkpoint_sequential(net, 2, torch.ones(5, 3), use_reentrant=False).shape
        torch.Size([5, 1])
    """
    if use_reentrant is None:
        _warn_of_missing_variant("checkpoint_sequential")
        use_reentrant = True
    preserve_rng_state = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions)
    size = len(functions) // segments

    def chain(part):
        def run(value):
            for each in part:
                value = each(value)
            return value

        return run

    last = size * (segments - 1)
    for begin in range(0, last, size or 1):
        input = checkpoint(
            chain(functions[begin : begin + size]), input,
            use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state,
        )  # fmt: skip
    return chain(functions[last:])(input)


def _warn_of_missing_variant(name: str) -> None:
    warnings.warn(
        f"torch.utils.checkpoint.{name}: the use_reentrant parameter should be passed explicitly. "
        "use_reentrant=False is recommended; the default is use_reentrant=True.",
        UserWarning,
        stacklevel=3,
    )


def _tensors_in(value):
    """The tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors_in(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors_in(each)


def _recorded_since(start: int, output) -> list:
    """The output tensors that were recorded after `start`."""
    return [
        each for each in _tensors_in(output) if each.requires_grad and _is_inside(each._edge, start)
    ]


def _is_inside(edge, start: int) -> bool:
    return edge is not None and edge[1] != LEAF and edge[0].seq > start


def _segment(tensors, start: int):
    """The nodes recorded after `start` that `tensors` depend on, and the edges from them to what is
    older."""
    seen: dict = {}
    border: dict = {}
    waiting = [each._edge[0] for each in tensors]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen[node] = None
        for edge in node.next:
            if edge is None:
                continue
            if _is_inside(edge, start):
                waiting.append(edge[0])
            else:
                border[id(edge[0]), edge[1]] = edge
    return list(seen), border


class _Border(Node):
    """Stands, in the second run's graph, for a tensor that is older than the checkpoint: gradients
    stop here
    while the second run is differentiated, and pass through when its gradients are differentiated
    again."""

    __slots__ = ()

    def apply(self, g):
        return (g,)

    apply_recorded = apply


class _CheckpointNode(Node):
    """A whole checkpointed function as one node: its inputs are all the tensors that it used."""

    __slots__ = (
        "arguments", "context", "function", "keywords", "outputs", "random_state", "shapes",
        "title", "versions",
    )  # fmt: skip

    def __init__(self, function, arguments, keywords, context, random_state):
        self.function, self.arguments, self.keywords = function, arguments, keywords
        self.context, self.random_state = context, random_state
        self.hooks = None
        self.versions = [
            (each._writes, each._writes[0]) for each in _tensors_in((arguments, keywords))
        ]

    def attach(self, start: int, results) -> None:
        """Take the place of the graph behind `results`, which is dropped."""
        self.seq = sequence()
        self.next = tuple(_segment(results, start)[1].values())
        self.outputs = len(results)
        self.shapes = [each._array.shape for each in results]
        self.title = results[0]._edge[0].name()
        for number, each in enumerate(results):
            each._view = None
            each._edge = (self, number)

    def name(self) -> str:
        return self.title

    def apply(self, g):
        return self._differentiate(g, record=False)

    def apply_recorded(self, g):
        return self._differentiate(g, record=True)

    def release(self) -> None:
        self.function = self.arguments = self.keywords = None

    def _differentiate(self, g, record: bool):
        results, borders = self._run_again()
        pairs = [
            (each._edge, gradient)
            for each, gradient in zip(results, [g] if self.outputs == 1 else g)
            if gradient is not None
        ]
        edges, gradients = zip(*pairs)
        found = run_backward(edges, gradients, record, record, [(each, 0) for each in borders])
        if record:  # what was recorded now leads on to the older graph
            for border, edge in zip(borders, self.next):
                border.next = (edge,)
            return found
        return [None if each is None else each._array for each in found]

    def _run_again(self):
        """The function's outputs in a graph of their own, and the nodes at which that graph
        ends."""
        if self.function is None:
            raise RuntimeError(BACKWARD_TWICE)
        for version, count in self.versions:
            if version[0] != count:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    "inplace operation: an argument of a checkpointed function is at version "
                    f"{version[0]}; expected version {count} instead. The function cannot be run "
                    "again on it: clone() the argument before the write."
                )
        borders = [_new_border() for _ in self.next]
        start = sequence()
        random_now = default_generator.state_bytes()
        try:
            if self.random_state is not None:
                default_generator.set_state_bytes(self.random_state)
            with enable_grad(), self.context:
                output = self.function(*self.arguments, **self.keywords)
        finally:
            if self.random_state is not None:
                default_generator.set_state_bytes(random_now)
        results = _recorded_since(start, output)
        if [each._array.shape for each in results] != self.shapes:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values have different metadata than during "
                f"the forward pass: shapes {self.shapes} became "
                f"{[each._array.shape for each in results]}. The function must compute the same "
                "from the same inputs"
            )
        self._cut(results, start, borders)
        return results, borders

    def _cut(self, results, start: int, borders) -> None:
        """End the second run's graph at `borders` instead of the tensors that the function used."""
        nodes, used = _segment(results, start)
        known = {(id(target), number): i for i, (target, number) in enumerate(self.next)}
        if used.keys() - known.keys():
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was used in the "
                f"recomputation than in the forward pass: {len(known)} then, {len(used)} now. The "
                "function must compute the same each time"
            )
        for node in nodes:
            node.next = tuple(
                edge if edge is None or _is_inside(edge, start)
                else (borders[known[id(edge[0]), edge[1]]], 0)
                for edge in node.next
            )  # fmt: skip


def _new_border() -> _Border:
    border = _Border()
    border.seq, border.hooks, border.next = sequence(), None, ()
    return border
