"""Nodes of the tape: what a recorded result remembers of how it was made.

A node's `next` holds one edge per input: None, `(node, output_number)` for a recorded input, or
`(leaf, LEAF)` for a leaf tensor, in whose `grad` the gradient ends."""

from __future__ import annotations

from itertools import count

__all__ = ["FREED", "LEAF", "AccumulateGrad", "Node", "edge_of", "sequence"]

LEAF = -1
FREED: tuple = ("freed",)
sequence = count().__next__

BACKWARD_TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you "
    "call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward "
    "through the graph a second time or if you need to access saved tensors after calling "
    "backward."
)


class Node:
    """One recorded operation; subclasses are named after it (`MulBackward0`) and know its
    derivative."""

    __slots__ = ("__weakref__", "_metadata", "hooks", "next", "seq")

    hooks: dict | None
    next: tuple
    seq: int

    outputs = 1

    def name(self) -> str:
        """The node's name, as PyTorch prints it."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple:
        """`(node, input_number)` per input, `(None, 0)` where no gradient goes."""
        return tuple(
            (None, 0) if edge is None else (AccumulateGrad(edge[0]), 0) if edge[1] == LEAF else edge
            for edge in self.next
        )

    @property
    def metadata(self) -> dict:
        """A dictionary for users' notes on this node."""
        try:
            return self._metadata
        except AttributeError:
            self._metadata: dict = {}
            return self._metadata

    def apply(self, g):
        """The gradients of the inputs from the gradient `g` of the output, on arrays."""
        raise NotImplementedError

    def apply_recorded(self, g):
        """The same on Tensors, so that the result can be differentiated again."""
        raise NotImplementedError

    def release(self) -> None:
        """Drop the saved arrays."""

    def output_hooks(self, number: int | str) -> OutputHooks:
        """The hooks on one output of this node, made at the first call."""
        if self.hooks is None:
            self.hooks = {}
        return self.hooks.setdefault(number, OutputHooks())

    def register_hook(self, hook):
        """Call `hook(grad_inputs, grad_outputs)` after this node has run; a tuple it returns
        replaces the former."""
        return Removable(self.output_hooks("post").functions, hook)

    def register_prehook(self, hook):
        """Call `hook(grad_outputs)` before this node runs; a tuple it returns replaces them."""
        return Removable(self.output_hooks("pre").functions, hook)


class OutputHooks:
    """Functions to call with the gradient of one output, and the tensor that keeps it
    (`retain_grad`)."""

    __slots__ = ("functions", "retained_by")

    def __init__(self):
        self.functions: dict = {}
        self.retained_by = None


_hook_ids = count().__next__


class Removable:
    """A handle that takes a hook away again, by `remove()` or at the end of a `with` block."""

    __slots__ = ("_hooks", "id")

    def __init__(self, hooks: dict, hook, *, first: bool = False):
        self._hooks = hooks
        self.id = _hook_ids()
        hooks[self.id] = hook
        if first:
            later = [key for key in hooks if key != self.id]
            for key in later:
                hooks[key] = hooks.pop(key)

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.remove()


class AccumulateGrad:
    """How a leaf appears in `next_functions`."""

    __slots__ = ("variable",)

    next_functions = ()

    def __init__(self, variable):
        self.variable = variable

    def name(self) -> str:
        """The node's name, as PyTorch prints it."""
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"

    def __eq__(self, other) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)


def edge_of(tensor):
    """Where the gradient of `tensor` goes: None if it needs none."""
    if tensor._view is not None:
        tensor._refresh()
    if not tensor._requires_grad:
        return None
    return tensor._edge or (tensor, LEAF)
