"""Adamax: Adam with the largest gradient in place of the second moment."""

from __future__ import annotations

from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_betas,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["Adamax"]


class Adamax(FormulaOptimizer):
    r"""Adam by the infinity norm.

    .. math::
        m = \beta_1 m + (1 - \beta_1) g, \qquad u = \max(\beta_2 u, |g| + \epsilon), \qquad
        p = p - \frac{\gamma}{1 - \beta_1^t} \frac m u

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`. Default: 2e-3.
        betas: :math:`(\beta_1, \beta_2)`, each in [0, 1). Default: (0.9, 0.999).
        eps: :math:`\epsilon \ge 0`. Default: 1e-8.
        weight_decay: times the weights, added to the gradient. Default: 0.
        maximize: ascend instead.
        foreach, differentiable, capturable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), section 7.

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.Adamax([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    _group_defaults = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *,
        maximize=False, differentiable=False, capturable=False,
    ):  # fmt: skip
        check_rate(lr)
        check_not_negative(eps=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                "capturable": capturable,
            },
        )  # fmt: skip

    def start(self, param, group):
        return {
            "step": self._scalar(param, 0.0),
            "exp_avg": zeros_like(param),
            "exp_inf": zeros_like(param),
        }

    def update(self, group, bundle):
        xp, exp_avg, exp_inf = bundle.xp, bundle.state["exp_avg"], bundle.state["exp_inf"]
        beta1, beta2 = group["betas"]
        grad = bundle.decayed_grad(group["weight_decay"])
        bundle.lerp_(exp_avg, grad, 1 - beta1)
        xp.multiply(exp_inf, bundle.constant(beta2), exp_inf)
        size = xp.abs(grad, bundle.more)
        xp.maximum(exp_inf, xp.add(size, bundle.constant(group["eps"]), size), out=exp_inf)
        rate = as_number(group["lr"]) / (1 - beta1**bundle.step)
        bundle.addcdiv_(bundle.param, exp_avg, exp_inf, -rate)
