"""Adagrad: steps that shrink with the sum of squared gradients."""

from __future__ import annotations

from danlu.kernels import optimizers
from danlu.ops.registry import ns
from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_fused,
    check_not_negative,
    check_rate,
)  # fmt: skip
from danlu.tensor import wrap

__all__ = ["Adagrad"]


class Adagrad(FormulaOptimizer):
    r"""Adaptive subgradient descent.

    .. math::
        s = s + g^2, \qquad p = p - \frac{\gamma}{1 + (t - 1) \eta} \frac{g}{\sqrt s + \epsilon}

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`. Default: 1e-2.
        lr_decay: :math:`\eta \ge 0`. Default: 0.
        weight_decay: times the weights, added to the gradient. Default: 0.
        initial_accumulator_value: :math:`s` at the beginning. Default: 0.
        eps: :math:`\epsilon \ge 0`. Default: 1e-10.
        maximize: ascend instead.
        foreach, differentiable, fused: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is negative.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning" (2011).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.Adagrad([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    _group_defaults = {
        "foreach": None, "maximize": False, "differentiable": False, "fused": None,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
        foreach=None, *, maximize=False, differentiable=False, fused=None,
    ):  # fmt: skip
        check_rate(lr)
        check_not_negative(
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        check_fused(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for param in group["params"]:
                for name, array in self.start(param._array, group).items():
                    self.state[param][name] = wrap(array)

    def share_memory(self) -> None:
        """Move the state into memory that other processes see."""
        for entry in self.state.values():
            entry["sum"].share_memory_()

    def start(self, param, group):
        value = self.defaults["initial_accumulator_value"]
        if param.dtype.kind == "c":
            value = complex(value, value)
        return {"step": self._scalar(param, 0.0), "sum": ns(param).full_like(param, value)}

    def update(self, group, bundle):
        xp, total = bundle.xp, bundle.state["sum"]
        grad = bundle.decayed_grad(group["weight_decay"])
        xp.add(total, xp.multiply(grad, grad, bundle.work), total)
        root = xp.sqrt(total, bundle.more)
        xp.add(root, bundle.constant(group["eps"]), root)
        rate = as_number(group["lr"]) / (1 + (bundle.step - 1) * group["lr_decay"])
        bundle.addcdiv_(bundle.param, grad, root, -rate)

    def fused_state(self, group):
        return ("sum",)

    def fused_update(self, group, bundle):
        optimizers.adagrad(
            bundle.tables,
            bundle.gradients(),
            rate=as_number(group["lr"]) / (1 + (bundle.step - 1) * group["lr_decay"]),
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
        )
