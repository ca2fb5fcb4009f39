"""Views and in-place writes: how the history of one reaches the other.

A view and its base share memory. When one of them is written to under recording, the base gets a
new node (`CopySlices` for writes through a view), and every other view finds its way back to the
base's new history the next time it is used (`AsStrided`). Where the view lies in the base is an
array of flat positions, which serves any combination of strides."""

from __future__ import annotations

import numpy as np

from danlu.autograd.node import Node, edge_of, sequence
from danlu.kernels.graph.library import node

__all__ = ["reattach", "rebase_view"]


def positions(view: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Where each element of `view` lies in `base.reshape(-1)`."""
    low, high = np.lib.array_utils.byte_bounds(base)
    size = base.itemsize
    if view.itemsize != size:
        raise RuntimeError(
            "an in-place write through a view of another dtype cannot be recorded: clone() the "
            "view first"
        )
    memory = np.full((high - low) // size, -1, dtype=np.int64)

    def placed(array):
        offset = (array.__array_interface__["data"][0] - low) // size
        strides = [step // size * memory.itemsize for step in array.strides]
        return np.lib.stride_tricks.as_strided(memory[offset:], array.shape, strides)

    placed(base)[...] = np.arange(base.size).reshape(base.shape)
    return placed(view).copy()


@node
def _spread(g, where, shape):
    """Zeros of `shape` with `g` added at the flat positions `where`."""
    total = np.zeros(int(np.prod(shape)), dtype=g.dtype)
    np.add.at(total, where, g)
    return total.reshape(shape)


class AsStridedBackward0(Node):
    """The node of a view that was attached anew to its base."""

    __slots__ = ("base_shape", "where")

    def apply(self, g):
        return (_spread(g, self.where, self.base_shape),)

    def apply_recorded(self, g):
        total = g.new_zeros(int(np.prod(self.base_shape)))
        return (put(total, self.where, g, accumulate=True).reshape(self.base_shape),)


class CopySlices(Node):
    """The node of a base after an in-place write, `inner`, through one of its views."""

    __slots__ = ("inner", "where")

    def name(self) -> str:
        return "torch::autograd::CopySlices"

    def apply(self, g):
        flat = g.reshape(-1)
        first, *others = self.inner.apply(flat[self.where])
        rest = flat.copy()
        rest[self.where] = 0 if first is None else first
        return (rest.reshape(g.shape), *others)

    def apply_recorded(self, g):
        from danlu.tensor import wrap

        where = wrap(self.where)
        flat = g.reshape(-1)
        first, *others = self.inner.apply_recorded(flat[where])
        if first is None:
            first = wrap(np.zeros(self.where.shape, dtype=g._array.dtype))
        return (put(flat, self.where, first, accumulate=False).reshape(g.shape), *others)

    def release(self) -> None:
        self.inner.release()


def put(flat, where, values, accumulate):
    """`flat` with `values` at the positions `where`, as a new Tensor."""
    from danlu.tensor import wrap

    return flat.index_put((wrap(where),), values, accumulate)


def reattach(view) -> None:
    """Give a view the history that its base has now."""
    base = view._view
    view._generation = view._writes[1]
    edge = edge_of(base)
    if edge is None:
        return
    node = AsStridedBackward0()
    node.seq = sequence()
    node.hooks = None
    node.next = (edge,)
    node.base_shape = base._array.shape
    node.where = positions(view._array, base._array)
    view._edge = (node, 0)
    view._requires_grad = True


def rebase_view(view, inner) -> None:
    """Record a write through a view: `inner` is the write's node, its first input the view before
    the write."""
    base = view._view
    node = CopySlices()
    node.seq = sequence()
    node.hooks = None
    node.next = (edge_of(base), *inner.next[1:])
    node.inner = inner
    node.where = positions(view._array, base._array)
    base._edge = (node, 0)
    base._requires_grad = True
    base._writes[1] += 1


__all__ += ["AsStridedBackward0", "CopySlices"]
