"""Adadelta: steps in units of the parameters, without a learning rate to tune."""

from __future__ import annotations

from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["Adadelta"]


class Adadelta(FormulaOptimizer):
    r"""Steps by the ratio of two running root mean squares.

    .. math::
        v &= \rho v + (1 - \rho) g^2, \qquad \Delta = g \sqrt{u + \epsilon} / \sqrt{v + \epsilon} \\
        u &= \rho u + (1 - \rho) \Delta^2, \qquad p = p - \gamma \Delta

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: :math:`\gamma \ge 0`. Default: 1.0.
        rho: :math:`\rho` in [0, 1]. Default: 0.9.
        eps: :math:`\epsilon \ge 0`. Default: 1e-6.
        weight_decay: times the weights, added to the gradient. Default: 0.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.Adadelta([w])
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.9968, -1.9968], requires_grad=True)
    """

    _group_defaults = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *,
        capturable=False, maximize=False, differentiable=False,
    ):  # fmt: skip
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
                "maximize": maximize, "capturable": capturable, "foreach": foreach,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def start(self, param, group):
        step = self._scalar(param, 0.0)
        return {"step": step, "square_avg": zeros_like(param), "acc_delta": zeros_like(param)}

    def update(self, group, bundle):
        xp, state, rho = bundle.xp, bundle.state, group["rho"]
        square_avg, acc_delta, eps = state["square_avg"], state["acc_delta"], group["eps"]
        grad = bundle.decayed_grad(group["weight_decay"])
        bundle.average_square_(square_avg, grad, rho)
        root = xp.add(square_avg, bundle.constant(eps), bundle.work)
        xp.sqrt(root, root)
        delta = xp.add(acc_delta, bundle.constant(eps), bundle.more)
        xp.sqrt(delta, delta)
        xp.divide(delta, root, delta)
        xp.multiply(delta, grad, delta)
        bundle.average_square_(acc_delta, delta, rho)
        bundle.add_(bundle.param, delta, -as_number(group["lr"]))
