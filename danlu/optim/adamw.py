"""Adam whose weight decay is apart from the gradient."""

from __future__ import annotations

from danlu.optim.adam import Adam

__all__ = ["AdamW"]


class AdamW(Adam):
    r"""Adam with decoupled weight decay: :math:`p = p - \gamma \lambda p` before each step of
    :class:`Adam`.

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate :math:`\gamma \ge 0`, a number or a tensor of one element. Default:
            1e-3.
        betas: coefficients of the running moments, each in [0, 1). Default: (0.9, 0.999).
        eps: against division by zero. Default: 1e-8.
        weight_decay: :math:`\lambda \ge 0`. Default: 1e-2.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead.
        foreach, capturable, differentiable, fused: accepted; danlu has one implementation.

    Raises:
        ValueError: a hyperparameter is out of range.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([ 0.8900, -1.8800], requires_grad=True)
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
        maximize=False, foreach=None, capturable=False, differentiable=False, fused=None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
