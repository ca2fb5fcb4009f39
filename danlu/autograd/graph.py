"""Looking at the tape and hooking into it: nodes, edges, hooks on several gradients at once."""

from __future__ import annotations

from typing import NamedTuple

from danlu.autograd.grad_mode import state
from danlu.autograd.node import LEAF, AccumulateGrad, Node, edge_of
from danlu.tensor import Tensor

__all__ = [
    "GradientEdge", "Node", "get_gradient_edge", "increment_version", "register_multi_grad_hook",
]  # fmt: skip


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor arrives: input number `output_nr` of `node`."""

    node: Node | AccumulateGrad
    output_nr: int


def get_gradient_edge(tensor) -> GradientEdge:
    """The edge along which the gradient of `tensor` flows.

    Raises:
        RuntimeError: the tensor does not require gradients.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> torch.autograd.graph.get_gradient_edge(x * 2).node.name()
        'MulBackward0'
    """
    edge = edge_of(tensor)
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    target, number = edge
    return (
        GradientEdge(AccumulateGrad(target), 0) if number == LEAF else GradientEdge(target, number)
    )


def increment_version(tensor) -> None:
    """Say that a tensor's memory was written to by other means, so that a stale saved value is
    noticed.

    Args:
        tensor: a Tensor or an iterable of Tensors.

    Example:
        >>> import danlu as torch
        >>> x = torch.ones(2)
        >>> x.numpy()[0] = 5.0
        >>> torch.autograd.graph.increment_version(x)
    """
    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        each._writes[0] += 1


class _Handles:
    """The handles of several hooks, removed together."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Take all the hooks away."""
        for each in self.handles:
            each.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.remove()


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Call `fn` when the gradients of several tensors have been computed in one backward pass.

    Args:
        tensors: the tensors; all must require gradients.
        fn: with mode "all", called at the end of the pass with a list of the gradients, None for
            tensors that got
            none; with mode "any", called with the first gradient that arrives.
        mode: "all" or "any". Default: "all".

    Returns:
        A handle with `remove()`.

    Raises:
        ValueError: another mode.

    Example:
        >>> import danlu as torch
        >>> a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> handle = torch.autograd.graph.register_multi_grad_hook([a, b], print)
        >>> (a * 2 + b).sum().backward()
        [tensor([2., 2.]), tensor([1., 1.])]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = tuple(tensors)
    this_pass = _Pass()

    def hook_of(position):
        def hook(gradient):
            new = this_pass.enter(len(tensors))
            if mode == "all":
                this_pass.gradients[position] = gradient
                if new:
                    state.after_backward.append(lambda: fn(this_pass.leave()))
            elif new:
                state.after_backward.append(this_pass.leave)
                fn(gradient)

        return hook

    return _Handles(each.register_hook(hook_of(i)) for i, each in enumerate(tensors))


class _Pass:
    """The gradients that came in the running backward pass, which is known by its list of final
    calls."""

    def __init__(self):
        self.calls: list | None = None
        self.gradients: list = []

    def enter(self, count: int) -> bool:
        """Whether this is the first gradient of the running pass."""
        if state.after_backward is None:
            state.after_backward = []
        if self.calls is state.after_backward:
            return False
        self.calls, self.gradients = state.after_backward, [None] * count
        return True

    def leave(self) -> list:
        """Forget the pass; returns the gradients that came."""
        gradients, self.calls, self.gradients = self.gradients, None, []
        return gradients
