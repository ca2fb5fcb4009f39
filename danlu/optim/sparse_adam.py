"""Adam that touches only the rows which a sparse gradient names."""

from __future__ import annotations

import math

from danlu.autograd.grad_mode import enable_grad
from danlu.optim._formula import as_number, check_betas, zeros_like
from danlu.optim.optimizer import Optimizer, hooked
from danlu.tensor import Tensor, wrap

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    r"""Adam for sparse gradients, such as those of ``nn.Embedding(..., sparse=True)``.

    Moments and weights of entries that a gradient leaves out stay as they are; otherwise the
    formula of :class:`Adam`, with :math:`\epsilon` added before the bias correction.

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dicts that define groups.
        lr: the learning rate, above 0. Default: 1e-3.
        betas: coefficients of the running moments, each in [0, 1). Default: (0.9, 0.999).
        eps: above 0. Default: 1e-8.
        maximize: ascend instead.

    Raises:
        ValueError: a hyperparameter is out of range, or a parameter is sparse or complex.
        RuntimeError: in ``step``, if a gradient is dense.

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.SparseAdam([w], lr=0.1)
        >>> (w**2).sum().backward()
        >>> optimizer.step()
        Traceback (most recent call last):
        ...
        RuntimeError: SparseAdam does not support dense gradients, please consider Adam instead
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        for problem, need in (("is_sparse", "requires dense"), ("is_complex", "needs real")):
            found = [
                [number, place]
                for number, group in enumerate(self.param_groups)
                for place, param in enumerate(group["params"])
                if (param.is_complex() if problem == "is_complex" else param.is_sparse)
            ]
            if found:
                raise ValueError(
                    f"{problem[3:].title()} params at indices {found}: "
                    f"SparseAdam {need} parameter tensors"
                )

    @hooked
    def step(self, closure=None):
        """Update the entries that the gradients name.

        Args:
            closure: a function that computes the loss anew and returns it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                if not grad.is_sparse:
                    raise RuntimeError(
                        "SparseAdam does not support dense gradients, please consider Adam instead"
                    )
                self._update(group, param, grad.coalesce())
        return loss

    def _update(self, group: dict, param, grad) -> None:
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"] = wrap(zeros_like(param._array))
            state["exp_avg_sq"] = wrap(zeros_like(param._array))
        state["step"] += 1
        rows, values = tuple(grad.indices()._array), grad.values()._array
        if group.get("maximize"):
            values = -values
        exp_avg, exp_avg_sq = state["exp_avg"]._array, state["exp_avg_sq"]._array
        (beta1, beta2), step = group["betas"], state["step"]
        mean, square = exp_avg[rows], exp_avg_sq[rows]
        mean = exp_avg[rows] = mean + (1 - beta1) * (values - mean)
        square = exp_avg_sq[rows] = square + (1 - beta2) * (values**2 - square)
        rate = as_number(group["lr"]) * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        param._array[rows] -= rate * (mean / (square**0.5 + group["eps"]))
        param._writes[0] += 1
