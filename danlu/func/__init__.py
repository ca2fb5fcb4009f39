"""Functions that make functions: derivatives, batches, and modules as functions of their
parameters."""

from __future__ import annotations

from danlu.func.batching import stack_module_state, vmap
from danlu.func.derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp
from danlu.nn.utils.stateless import functional_call

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip
