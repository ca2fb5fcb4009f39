"""Adam: gradient descent with a step size for every weight, from running moments of its
gradient."""

from __future__ import annotations

from danlu.kernels import optimizers
from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_betas,
    check_fused,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip
from danlu.tensor import Tensor

__all__ = ["Adam"]


class Adam(FormulaOptimizer):
    r"""Adaptive moment estimation.

    .. math::
        m &= \beta_1 m + (1 - \beta_1) g, \qquad v = \beta_2 v + (1 - \beta_2) g^2 \\
        p &= p - \gamma \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`, a number or a tensor of one element. Default:
            1e-3.
        betas: :math:`(\beta_1, \beta_2)`, each in [0, 1). Default: (0.9, 0.999).
        eps: :math:`\epsilon \ge 0`, against division by zero. Default: 1e-8.
        weight_decay: times the weights, added to the gradient. Default: 0.
        amsgrad: divide by the largest :math:`v` so far.
        maximize: ascend instead.
        decoupled_weight_decay: shrink the weights apart from the gradient; this is :class:`AdamW`.
        foreach, capturable, differentiable, fused: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.Adam([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    _group_defaults = {
        "amsgrad": False, "maximize": False, "foreach": None, "capturable": False,
        "differentiable": False, "decoupled_weight_decay": False, "fused": None,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *,
        foreach=None, maximize=False, capturable=False, differentiable=False, fused=None,
        decoupled_weight_decay=False,
    ):  # fmt: skip
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        check_rate(lr)
        check_not_negative(eps=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        if len({Tensor if isinstance(beta, Tensor) else type(beta) for beta in betas}) > 1:
            raise ValueError("betas must be either both floats or both Tensors")
        check_fused(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
                "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable, "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def start(self, param, group):
        zeros = zeros_like(param)
        state = {"step": self._scalar(param, 0.0), "exp_avg": zeros, "exp_avg_sq": zeros.copy()}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros.copy()
        return state

    def update(self, group, bundle):
        xp, param, grad, state = bundle.xp, bundle.param, bundle.grad, bundle.state
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        lr, weight_decay = as_number(group["lr"]), group["weight_decay"]
        beta1, beta2 = map(as_number, group["betas"])
        if weight_decay:
            if group["decoupled_weight_decay"]:
                xp.multiply(param, bundle.constant(1 - lr * weight_decay), param)
            else:
                grad = bundle.decayed_grad(weight_decay)
        bundle.lerp_(exp_avg, grad, 1 - beta1)
        bundle.average_square_(exp_avg_sq, grad, beta2)
        if group["amsgrad"]:
            exp_avg_sq = xp.maximum(
                state["max_exp_avg_sq"], exp_avg_sq, out=state["max_exp_avg_sq"]
            )
        denominator = xp.sqrt(exp_avg_sq, bundle.more)
        xp.divide(denominator, (1 - beta2**bundle.step) ** 0.5, denominator)
        xp.add(denominator, bundle.constant(group["eps"]), denominator)
        bundle.addcdiv_(param, exp_avg, denominator, -lr / (1 - beta1**bundle.step))

    def fused_state(self, group):
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]

    def fused_update(self, group, bundle):
        optimizers.adam(
            bundle.tables,
            bundle.gradients(),
            step=bundle.step,
            lr=as_number(group["lr"]),
            betas=map(as_number, group["betas"]),
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
        )
