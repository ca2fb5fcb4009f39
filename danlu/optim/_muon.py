"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

import math

from danlu.backend.dtypes import bfloat16
from danlu.optim._formula import FormulaOptimizer, as_number, zeros_like
from danlu.tensor import Tensor

__all__ = ["Muon"]


class Muon(FormulaOptimizer):
    r"""Steps along the orthogonal factor of the momentum, for the weight matrices of hidden layers.

    .. math::
        b = \mu b + (1 - \mu) g, \qquad O \approx U V^T \text{ of } b = U S V^T, \qquad
        p = (1 - \gamma \lambda) p - \gamma' O

    :math:`O` comes from ``ns_steps`` Newton-Schulz iterations :math:`X \leftarrow a X + (b A + c
    A^2) X`, :math:`A = X X^T`, in bfloat16. Biases, embeddings and output layers are left to AdamW.

    Args:
        params: matrices, ``(name, matrix)`` pairs, or dicts that define groups.
        lr: :math:`\gamma \ge 0`. Default: 1e-3.
        weight_decay: :math:`\lambda \ge 0`, decoupled. Default: 0.1.
        momentum: :math:`\mu \ge 0`. Default: 0.95.
        nesterov: look one step of momentum ahead. Default: True.
        ns_coefficients: :math:`(a, b, c)`. Default: (3.4445, -4.775, 2.0315).
        eps: smallest norm to divide by. Default: 1e-7.
        ns_steps: iterations, fewer than 100. Default: 5.
        adjust_lr_fn: how :math:`\gamma'` follows from :math:`\gamma` and the shape (A, B):
            "original" (the default), :math:`\gamma \sqrt{\max(1, A / B)}`; "match_rms_adamw",
            :math:`0.2 \gamma \sqrt{\max(A, B)}`.

    Raises:
        ValueError: a hyperparameter is out of range, or a parameter is not a matrix.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).

    Example:
        >>> import danlu as torch
        >>> layer = torch.nn.Linear(4, 3, bias=False)
        >>> optimizer = torch.optim.Muon(layer.parameters(), lr=0.1)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
    """

    _scalars = ()
    _elementwise = False

    def __init__(
        self, params, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True,
        ns_coefficients=(3.4445, -4.775, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None,
    ):  # fmt: skip
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= lr:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not 0.0 <= momentum:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported; "
                "use 'original' or 'match_rms_adamw'"
            )
        super().__init__(
            params,
            {
                "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{param.size()}; leave it to another optimizer"
                    )

    def start(self, param, group):
        if param.dtype.kind == "c":
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": zeros_like(param)}

    def update(self, group, bundle):
        xp, param, grad = bundle.xp, bundle.param, bundle.grad
        buffer, momentum = bundle.state["momentum_buffer"], group["momentum"]
        bundle.lerp_(buffer, grad, 1 - momentum)
        direction = buffer
        if group["nesterov"]:
            direction = bundle.more
            direction[...] = grad
            bundle.lerp_(direction, buffer, momentum)
        change = orthogonalized(
            xp, direction, group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        lr = as_number(group["lr"])
        xp.multiply(param, 1 - lr * group["weight_decay"], param)
        rows, columns = param.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        else:
            ratio = math.sqrt(max(1, rows / columns))
        xp.subtract(param, change * (lr * ratio), param)


def orthogonalized(xp, matrix, coefficients, steps: int, eps: float):
    """The orthogonal factor of a matrix, by Newton-Schulz iterations rounded to bfloat16.

    The coefficients have a steep slope at zero, so small singular values grow fast and all end near
    1."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients

    def rounded(x):
        return x.astype(bfloat16.numpy).astype(xp.float32)

    x = rounded(matrix)
    wide = x.shape[0] <= x.shape[1]
    if not wide:
        x = x.T  # the smaller Gram matrix
    x = rounded(x / max(float(rounded(xp.linalg.vector_norm(x))), eps))
    for _ in range(steps):
        gram = rounded(xp.matmul(x, x.T))
        x = rounded(a * x + xp.matmul(rounded(b * gram + c * xp.matmul(gram, gram)), x))
    return (x if wide else x.T).astype(matrix.dtype)
