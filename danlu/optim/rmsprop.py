"""RMSprop: steps divided by the root of the mean squared gradient."""

from __future__ import annotations

from danlu.kernels import optimizers
from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["RMSprop"]


class RMSprop(FormulaOptimizer):
    r"""Gradient descent by root mean square.

    .. math::
        v &= \alpha v + (1 - \alpha) g^2, \qquad
            \tilde v = v - \bar g^2 \text{ if centered, else } v \\
        b &= \mu b + g / (\sqrt{\tilde v} + \epsilon), \qquad p = p - \gamma b

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`. Default: 1e-2.
        alpha: :math:`\alpha`, how slowly the mean square moves. Default: 0.99.
        eps: :math:`\epsilon \ge 0`. Default: 1e-8.
        weight_decay: times the weights, added to the gradient. Default: 0.
        momentum: :math:`\mu \ge 0`. Default: 0.
        centered: divide by an estimate of the gradient's standard deviation.
        maximize: ascend instead.
        capturable, foreach, differentiable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is negative.

    Source: Hinton, "Neural Networks for Machine Learning", lecture 6; centered: Graves,
    "Generating Sequences With Recurrent Neural Networks" (2013).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.RMSprop([w], lr=0.01)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    _group_defaults = {
        "momentum": 0, "centered": False, "foreach": None, "maximize": False,
        "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
        capturable=False, foreach=None, maximize=False, differentiable=False,
    ):  # fmt: skip
        check_rate(lr)
        check_not_negative(eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable,
            },
        )  # fmt: skip

    def start(self, param, group):
        state = {"step": self._scalar(param, 0.0), "square_avg": zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)
        return state

    def update(self, group, bundle):
        xp, state, alpha = bundle.xp, bundle.state, group["alpha"]
        grad = bundle.decayed_grad(group["weight_decay"])
        bundle.average_square_(state["square_avg"], grad, alpha)
        variance = state["square_avg"]
        if group["centered"]:
            mean = state["grad_avg"]
            bundle.lerp_(mean, grad, 1 - alpha)
            variance = xp.subtract(variance, xp.multiply(mean, mean, bundle.work), bundle.more)
        root = xp.sqrt(variance, bundle.more)
        xp.add(root, bundle.constant(group["eps"]), root)
        lr, momentum = as_number(group["lr"]), group["momentum"]
        if momentum > 0:
            buffer = state["momentum_buffer"]
            xp.multiply(buffer, bundle.constant(momentum), buffer)
            bundle.addcdiv_(buffer, grad, root, 1.0)
            bundle.add_(bundle.param, buffer, -lr)
        else:
            bundle.addcdiv_(bundle.param, grad, root, -lr)

    def fused_state(self, group):
        names = ["square_avg"]
        if group["centered"]:
            names.append("grad_avg")
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        return tuple(names)

    def fused_update(self, group, bundle):
        optimizers.rmsprop(
            bundle.tables,
            bundle.gradients(),
            lr=as_number(group["lr"]),
            alpha=group["alpha"],
            eps=group["eps"],
            momentum=group["momentum"],
            centered=group["centered"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
        )
