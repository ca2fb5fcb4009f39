"""Averaged stochastic gradient descent."""

from __future__ import annotations

from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_not_negative,
    check_rate,
    zeros_like,
)  # fmt: skip

__all__ = ["ASGD"]


class ASGD(FormulaOptimizer):
    r"""Gradient descent that also keeps the average of the weights, as ``state[p]["ax"]``.

    .. math::
        p &= (1 - \lambda \eta) p - \eta g, \qquad a = a + \mu (p - a) \\
        \eta &= \gamma / (1 + \lambda \gamma t)^\alpha, \qquad \mu = 1 / \max(1, t - t_0)

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: :math:`\gamma \ge 0`. Default: 1e-2.
        lambd: :math:`\lambda`. Default: 1e-4.
        alpha: :math:`\alpha`. Default: 0.75.
        t0: the step :math:`t_0` at which averaging begins. Default: 1e6.
        weight_decay: times the weights, added to the gradient. Default: 0.
        maximize: ascend instead.
        foreach, differentiable, capturable: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is negative.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.ASGD([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.8000, -1.6000], requires_grad=True)
    """

    _scalars = ("step", "eta", "mu")
    _group_defaults = {
        "foreach": None, "maximize": False, "differentiable": False, "capturable": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None,
        maximize=False, differentiable=False, capturable=False,
    ):  # fmt: skip
        check_rate(lr)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                "capturable": capturable,
            },
        )  # fmt: skip

    def start(self, param, group):
        return {
            "step": self._scalar(param, 0.0), "eta": self._scalar(param, as_number(group["lr"])),
            "mu": self._scalar(param, 1.0), "ax": zeros_like(param),
        }  # fmt: skip

    def update(self, group, bundle):
        xp, param, state = bundle.xp, bundle.param, bundle.state
        lr, lambd = as_number(group["lr"]), group["lambd"]
        eta, mu, average = state["eta"].item(0), state["mu"].item(0), state["ax"]
        grad = bundle.decayed_grad(group["weight_decay"])
        xp.multiply(param, 1 - lambd * eta, param)
        bundle.add_(param, grad, -eta)
        if mu != 1:
            difference = xp.subtract(param, average, bundle.work)
            xp.add(average, xp.multiply(difference, mu, difference), average)
        else:
            average[...] = param
        eta = lr / (1 + lambd * lr * bundle.step) ** group["alpha"]
        # Loaded numbers have the parameters' dtype; new ones are rounded as those of a fresh state.
        state["eta"][...] = self._scalar(param, eta)
        state["mu"][...] = self._scalar(param, 1 / max(1, bundle.step - group["t0"]))
