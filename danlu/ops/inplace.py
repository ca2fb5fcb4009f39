"""In-place forms of functions that are no single operator."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import dtypes
from danlu.ops.registry import scalar_name
from danlu.tensor import check_writable, publish_method, rebase_history, wrap


def publish_inplace(function, name=None):
    """Publish `Tensor.<name>_`, which computes `function` and writes the result over the tensor."""

    def in_place(self, *args, **kwargs):
        return replace(self, function, args, kwargs)

    in_place.__name__ = (name or function.__name__) + "_"
    in_place.__doc__ = f"In-place version of `{name or function.__name__}`."
    publish_method(in_place.__name__, in_place)


def replace(self, function, args, kwargs):
    """Compute `function(self, ...)` and write it over `self`, with its history."""
    if state.grad:
        check_writable(self)
    before = self
    if self.requires_grad and state.grad:
        before = wrap(self._array.copy())  # the rules may save it, and it is about to be overwritten
        before._edge, before._requires_grad = self._edge, True
    made = function(before, *args, **kwargs)
    if made._array.shape != self._array.shape:
        raise RuntimeError(
            f"output with shape {list(self._array.shape)} doesn't match the broadcast shape "
            f"{list(made._array.shape)}"
        )
    if not dtypes.can_cast(made.dtype, self.dtype):
        raise RuntimeError(
            f"result type {scalar_name(made.dtype)} can't be cast to the desired output type "
            f"{scalar_name(self.dtype)}"
        )
    np.copyto(self._array, made._array, casting="unsafe")
    self._writes[0] += 1
    if made._requires_grad:
        rebase_history(self, made._edge[0])
    return self
