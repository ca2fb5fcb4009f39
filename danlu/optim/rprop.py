"""Rprop: steps by the sign of the gradient alone."""

from __future__ import annotations

from danlu.ops.registry import ns
from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["Rprop"]


class Rprop(FormulaOptimizer):
    r"""Resilient backpropagation, for full batches.

    Where a gradient keeps its sign, its step grows by :math:`\eta^+`; where it turns, the step
    shrinks by :math:`\eta^-` and is left out once; :math:`p = p - s \operatorname{sign}(g)`.

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the first step size. Default: 1e-2.
        etas: :math:`(\eta^-, \eta^+)`, below and above 1. Default: (0.5, 1.2).
        step_sizes: the smallest and the largest step. Default: (1e-6, 50).
        maximize: ascend instead.
        capturable, foreach, differentiable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Riedmiller and Braun, "A Direct Adaptive Method for Faster Backpropagation Learning"
        (1993).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.Rprop([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    _group_defaults = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *,
        capturable=False, foreach=None, maximize=False, differentiable=False,
    ):  # fmt: skip
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def start(self, param, group):
        size = as_number(group["lr"])
        if param.dtype.kind == "c":
            size = complex(size, size)
        return {
            "step": self._scalar(param, 0.0), "prev": zeros_like(param),
            "step_size": ns(param).full_like(param, size),
        }  # fmt: skip

    def update(self, group, bundle):
        xp, grad, previous = bundle.xp, bundle.grad, bundle.state["prev"]
        size, (shrink, grow) = bundle.state["step_size"], group["etas"]
        agreement = xp.multiply(grad, previous, bundle.work)
        turned = agreement < 0
        factor = xp.where(turned, shrink, xp.where(agreement > 0, grow, 1.0))
        xp.multiply(size, factor.astype(size.dtype), size)
        xp.clip(size, *group["step_sizes"], out=size)
        previous[...] = grad
        previous[turned] = 0
        change = xp.multiply(xp.sign(previous, bundle.work), size, bundle.work)
        xp.subtract(bundle.param, change, bundle.param)
