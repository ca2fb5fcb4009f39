"""Adafactor: Adam's second moment of a matrix, kept as one row and one column."""

from __future__ import annotations

from danlu.optim._formula import FormulaOptimizer, as_number, check_rate, zeros_like

__all__ = ["Adafactor"]


class Adafactor(FormulaOptimizer):
    r"""Adaptive steps with memory for :math:`n + m` instead of :math:`n m` numbers a matrix.

    .. math::
        R &= R + t^{\beta} (\overline{G^2}_{\text{rows}} - R), \qquad
            C = C + t^{\beta} (\overline{G^2}_{\text{columns}} - C) \\
        U &= G / \sqrt{R C / \overline R}, \qquad
            \alpha = \max(\epsilon_2, \mathrm{rms}(p)) \min(\gamma, 1 / \sqrt t) \\
        p &= p - \alpha\, U / \max(1, \mathrm{rms}(U) / d)

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: :math:`\gamma \ge 0`, an upper bound of the relative step size. Default: 1e-2.
        beta2_decay: :math:`\beta \le 0`. Default: -0.8.
        eps: :math:`(\epsilon_1, \epsilon_2)`; None stands for the dtype's epsilon. Default: (None,
            1e-3).
        d: clips the update, at least 1. Default: 1.0.
        weight_decay: decoupled, as in AdamW. Default: 0.
        maximize: ascend instead.
        foreach: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.
        RuntimeError: a parameter is complex.

    Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost"
        (2018).

    Example:
        >>> import danlu as torch
        >>> w = torch.ones(2, 2, requires_grad=True)
        >>> optimizer = torch.optim.Adafactor([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w[0, 0]
        tensor(0.9000, grad_fn=<SelectBackward0>)
    """

    _elementwise = False
    _group_defaults = {"foreach": None}

    def __init__(
        self, params, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, *,
        foreach=None, maximize=False,
    ):  # fmt: skip
        check_rate(lr)
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
                "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
            },
        )  # fmt: skip

    def start(self, param, group):
        if param.dtype.kind == "c":
            raise RuntimeError("Adafactor does not support complex parameters")
        state = {"step": self._scalar(param, 0.0)}
        if param.ndim > 1:
            state["row_var"] = zeros_like(param[..., :1])
            state["col_var"] = zeros_like(param[..., :1, :])
        else:
            state["variance"] = zeros_like(param)
        return state

    def update(self, group, bundle):
        xp, param, grad, state, step = (
            bundle.xp, bundle.param, bundle.grad, bundle.state, bundle.step,
        )  # fmt: skip
        lr, (eps1, eps2) = as_number(group["lr"]), group["eps"]
        if eps1 is None:
            eps1 = float(xp.finfo(param.dtype).eps)
        norm, share = xp.linalg.vector_norm, step ** group["beta2_decay"]
        rate = max(eps2, float(norm(param)) / param.size**0.5) * min(lr, 1 / step**0.5)
        if group["weight_decay"]:
            xp.multiply(param, 1 - lr * group["weight_decay"], param)
        if grad.ndim > 1:
            rows, columns = state["row_var"], state["col_var"]
            move(rows, norm(grad, axis=-1, keepdims=True) ** 2 / grad.shape[-1], share)
            move(columns, norm(grad, axis=-2, keepdims=True) ** 2 / grad.shape[-2], share)
            variance = xp.matmul(rows, columns)
            variance /= xp.maximum(xp.mean(rows, axis=-2, keepdims=True), eps1)
        else:
            move(state["variance"], grad * grad, share)
            variance = state["variance"]
        change = grad / xp.sqrt(xp.maximum(variance, eps1 * eps1))
        clip = max(1.0, float(norm(change)) / (change.size**0.5 * group["d"]))
        bundle.add_(param, change, -rate / clip)


def move(average, value, weight: float) -> None:
    """``average += weight * (value - average)``, exact at a weight of 1."""
    if weight < 0.5:
        average += weight * (value - average)
    else:
        average[...] = value - (1 - weight) * (value - average)
