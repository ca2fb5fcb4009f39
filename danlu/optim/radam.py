"""RAdam: Adam that waits until its second moment can be trusted."""

from __future__ import annotations

from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_betas,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["RAdam"]


class RAdam(FormulaOptimizer):
    r"""Rectified Adam.

    .. math::
        \rho_\infty &= \frac{2}{1 - \beta_2} - 1, \qquad
            \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t} \\
        p &= p - \gamma \hat m \cdot r_t / (\sqrt{\hat v} + \epsilon) \text{ if } \rho_t > 5,
            \text{ else } p - \gamma \hat m, \qquad
        r_t^2 = \frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)
        \rho_t}

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`. Default: 1e-3.
        betas: :math:`(\beta_1, \beta_2)`, each in [0, 1). Default: (0.9, 0.999).
        eps: :math:`\epsilon \ge 0`. Default: 1e-8.
        weight_decay: times the weights, added to the gradient. Default: 0.
        decoupled_weight_decay: shrink the weights apart from the gradient, as AdamW does.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.RAdam([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.8000, -1.6000], requires_grad=True)
    """

    _group_defaults = {
        "foreach": None, "maximize": False, "differentiable": False,
        "decoupled_weight_decay": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False,
        differentiable=False,
    ):  # fmt: skip
        check_rate(lr)
        check_not_negative(eps=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "maximize": maximize, "foreach": foreach, "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def start(self, param, group):
        return {
            "step": self._scalar(param, 0.0),
            "exp_avg": zeros_like(param),
            "exp_avg_sq": zeros_like(param),
        }

    def update(self, group, bundle):
        xp, param, grad = bundle.xp, bundle.param, bundle.grad
        exp_avg, exp_avg_sq = bundle.state["exp_avg"], bundle.state["exp_avg_sq"]
        (beta1, beta2), step = group["betas"], bundle.step
        lr, weight_decay = as_number(group["lr"]), group["weight_decay"]
        if weight_decay:
            if group["decoupled_weight_decay"]:
                xp.multiply(param, bundle.constant(1 - lr * weight_decay), param)
            else:
                grad = bundle.decayed_grad(weight_decay)
        bundle.lerp_(exp_avg, grad, 1 - beta1)
        bundle.average_square_(exp_avg_sq, grad, beta2)
        change = xp.divide(exp_avg, 1 - beta1**step, bundle.work)
        xp.multiply(change, lr, change)
        correction = 1 - beta2**step
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * step * beta2**step / correction
        if rho > 5.0:
            rectified = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            adaptive = xp.sqrt(exp_avg_sq, bundle.more)
            xp.add(adaptive, bundle.constant(group["eps"]), adaptive)
            xp.divide(correction**0.5, adaptive, adaptive)
            xp.multiply(change, adaptive, change)
            xp.multiply(change, rectified**0.5, change)
        xp.subtract(param, change, param)
