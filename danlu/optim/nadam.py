"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_betas,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["NAdam"]


class NAdam(FormulaOptimizer):
    r"""Adam that looks ahead by a momentum :math:`\mu_t` which grows towards :math:`\beta_1`.

    .. math::
        \mu_t &= \beta_1 (1 - \tfrac12 0.96^{t \psi}), \qquad
            m = \beta_1 m + (1 - \beta_1) g, \qquad v = \beta_2 v + (1 - \beta_2) g^2 \\
        \hat m &= \frac{\mu_{t+1} m}{1 - \prod_{i \le t+1} \mu_i}
            + \frac{(1 - \mu_t) g}{1 - \prod_{i \le t} \mu_i}, \qquad
        p = p - \gamma \frac{\hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`. Default: 2e-3.
        betas: :math:`(\beta_1, \beta_2)`, each in [0, 1). Default: (0.9, 0.999).
        eps: :math:`\epsilon \ge 0`. Default: 1e-8.
        weight_decay: times the weights, added to the gradient. Default: 0.
        momentum_decay: :math:`\psi \ge 0`. Default: 4e-3.
        decoupled_weight_decay: shrink the weights apart from the gradient, as AdamW does.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.NAdam([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.8944, -1.8944], requires_grad=True)
    """

    _scalars = ("step", "mu_product")
    _group_defaults = {
        "maximize": False, "foreach": None, "capturable": False, "differentiable": False,
        "decoupled_weight_decay": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False,
        differentiable=False,
    ):  # fmt: skip
        check_rate(lr)
        check_not_negative(eps=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize, "foreach": foreach, "capturable": capturable,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def start(self, param, group):
        return {
            "step": self._scalar(param, 0.0), "mu_product": self._scalar(param, 1.0),
            "exp_avg": zeros_like(param), "exp_avg_sq": zeros_like(param),
        }  # fmt: skip

    def update(self, group, bundle):
        xp, param, grad, state = bundle.xp, bundle.param, bundle.grad, bundle.state
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        (beta1, beta2), step, psi = group["betas"], bundle.step, group["momentum_decay"]
        lr, weight_decay = as_number(group["lr"]), group["weight_decay"]
        if weight_decay:
            if group["decoupled_weight_decay"]:
                xp.multiply(param, bundle.constant(1 - lr * weight_decay), param)
            else:
                grad = bundle.decayed_grad(weight_decay)
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * psi))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * psi))
        state["mu_product"] *= mu
        mu_product = state["mu_product"].item(0)
        bundle.lerp_(exp_avg, grad, 1 - beta1)
        bundle.average_square_(exp_avg_sq, grad, beta2)
        root = xp.divide(exp_avg_sq, 1 - beta2**step, bundle.more)
        xp.sqrt(root, root)
        xp.add(root, bundle.constant(group["eps"]), root)
        bundle.addcdiv_(param, grad, root, -lr * (1.0 - mu) / (1.0 - mu_product))
        bundle.addcdiv_(param, exp_avg, root, -lr * mu_next / (1.0 - mu_product * mu_next))
