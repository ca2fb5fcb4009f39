"""Stochastic gradient descent."""

from __future__ import annotations

from danlu.kernels import optimizers
from danlu.ops.registry import ns
from danlu.optim._formula import (
    FormulaOptimizer,
    as_number,
    check_fused,
    check_rate,
)  # fmt: skip

__all__ = ["SGD"]


class SGD(FormulaOptimizer):
    r"""Stochastic gradient descent, with momentum if asked for.

    .. math::
        g &= \nabla f(p) + \lambda p \\
        b &= \mu b + (1 - \tau) g \qquad (b = g \text{ in the first step}) \\
        p &= p - \gamma b, \qquad \text{with Nesterov's momentum}\ p - \gamma (g + \mu b)

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`, a number or a tensor of one element. Default:
            1e-3.
        momentum: :math:`\mu \ge 0`. Default: 0.
        dampening: :math:`\tau`. Default: 0.
        weight_decay: :math:`\lambda \ge 0`, added to the gradient. Default: 0.
        nesterov: look one step of momentum ahead; asks for momentum without dampening.
        maximize: ascend instead.
        foreach, differentiable, fused: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning"
        (2013).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (w**2).sum().backward()
        ...     optimizer.step()
        >>> w
        tensor([ 0.4600, -0.9200], requires_grad=True)
    """

    _scalars = ()
    _group_defaults = {
        "nesterov": False, "maximize": False, "foreach": None, "differentiable": False,
        "fused": False,
    }  # fmt: skip

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *,
        maximize=False, foreach=None, differentiable=False, fused=None,
    ):  # fmt: skip
        check_rate(lr)
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_fused(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening,
                "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
                "foreach": foreach, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip

    def _step_group(self, number: int, group: dict) -> None:
        if group["momentum"] or self._fuses():
            super()._step_group(number, group)
            return
        # There is nothing to remember: the gradient goes straight into the parameter.
        lr, weight_decay = as_number(group["lr"]), as_number(group["weight_decay"])
        if group["maximize"]:
            lr, weight_decay = -lr, -weight_decay
        dtype = rate = None
        updated = 0
        for param in group["params"]:
            if param._grad is not None:
                array, grad = param._array, param._grad._array
                if array.dtype is not dtype:
                    dtype = array.dtype
                    # An array of the same dtype multiplies in half the time of a Python number.
                    rate = lr if dtype.kind == "c" else ns(array).asarray(lr, dtype=dtype)
                if weight_decay:
                    grad = grad + weight_decay * array
                array -= rate * grad
                param._writes[0] += 1
                updated += array.size
        optimizers.spend(updated)

    def _entry(self, param, group):
        # Without momentum a checkpoint has no entries, as PyTorch's.
        return super()._entry(param, group) if group["momentum"] else self.state.get(param, {})

    def start(self, param, group):
        return {}  # the first gradient itself begins the momentum

    def update(self, group, bundle):
        xp, state, momentum = bundle.xp, bundle.state, as_number(group["momentum"])
        grad = bundle.decayed_grad(as_number(group["weight_decay"]))
        if not momentum:
            bundle.add_(bundle.param, grad, -as_number(group["lr"]))
            return
        buffer = state.get("momentum_buffer")
        if buffer is None:
            buffer = state["momentum_buffer"] = grad.copy()
        else:
            xp.multiply(buffer, bundle.constant(momentum), buffer)
            bundle.add_(buffer, grad, 1 - group["dampening"])
        if group["nesterov"]:
            ahead = xp.multiply(buffer, bundle.constant(momentum), bundle.more)
            buffer = xp.add(grad, ahead, ahead)
        bundle.add_(bundle.param, buffer, -as_number(group["lr"]))

    def fused_state(self, group):
        return ("momentum_buffer",) if group["momentum"] else ()

    def fused_update(self, group, bundle):
        optimizers.sgd(
            bundle.tables,
            bundle.gradients(),
            lr=as_number(group["lr"]),
            momentum=as_number(group["momentum"]),
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            weight_decay=as_number(group["weight_decay"]),
            maximize=group["maximize"],
        )
