"""L-BFGS: a quasi-Newton method with limited memory."""

from __future__ import annotations

from danlu.autograd.grad_mode import enable_grad
from danlu.ops.registry import ns
from danlu.optim._formula import as_number, check_rate
from danlu.optim._line_search import strong_wolfe
from danlu.optim.optimizer import Optimizer, hooked
from danlu.tensor import Tensor, wrap

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    r"""Steps :math:`-H g` with an approximate inverse Hessian :math:`H` built from the last
    gradients.

    One ``step`` makes up to ``max_iter`` iterations and calls the closure at least once in each.

    Args:
        params: parameters, in one group.
        lr: length of a step, or the first trial of the line search. Default: 1.
        max_iter: iterations a step. Default: 20.
        max_eval: evaluations of the closure a step. Default: ``max_iter * 5 // 4``.
        tolerance_grad: ends when no gradient is larger. Default: 1e-7.
        tolerance_change: ends when parameters or loss change less. Default: 1e-9.
        history_size: pairs of steps and gradient differences that are kept. Default: 100.
        line_search_fn: None or "strong_wolfe". Default: None.

    Raises:
        ValueError: several parameter groups, or a negative learning rate.
        RuntimeError: in ``step``, if the line search is unknown.

    Source: Nocedal and Wright, "Numerical Optimization", algorithms 7.4, 3.5 and 3.6.

    Example:
        >>> import danlu as torch
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = ((w - 3) ** 2).sum()
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item()
        29.0
        >>> torch.allclose(w, torch.tensor(3.0))
        True
    """

    def __init__(
        self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
        history_size=100, line_search_fn=None,
    ):  # fmt: skip
        check_rate(lr)
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                "history_size": history_size, "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    # ------------------------------------------------------------ parameters as one line
    @property
    def _params(self) -> list:
        return self.param_groups[0]["params"]

    def _flat_grad(self):
        xp = ns(self._params[0]._array)
        parts = []
        for param in self._params:
            array = param._array
            part = xp.zeros_like(array) if param._grad is None else param._grad._array
            part = part.reshape(-1)
            parts.append(part.view(part.real.dtype) if part.dtype.kind == "c" else part)
        return xp.concatenate(parts)

    def _move(self, length, direction) -> None:
        """Add ``length * direction`` to the parameters."""
        start = 0
        for param in self._params:
            array = param._array
            complex_ = array.dtype.kind == "c"
            size = array.size * (2 if complex_ else 1)
            part = length * direction[start : start + size]
            array += (part.view(array.dtype) if complex_ else part).reshape(array.shape)
            param._writes[0] += 1
            start += size

    def _evaluate(self, closure, origin: list, length, direction) -> tuple:
        """Loss and gradient at ``origin + length * direction``; the parameters return to
        `origin`."""
        self._move(length, direction)
        loss = float(closure())
        grad = self._flat_grad()
        for param, array in zip(self._params, origin):
            param._array[...] = array
            param._writes[0] += 1
        return loss, grad

    # ------------------------------------------------------------ the step
    @hooked
    def step(self, closure):
        """Minimize for up to ``max_iter`` iterations.

        Args:
            closure: a function that clears the gradients, computes the loss, calls ``backward`` and
                returns the loss.

        Returns:
            The loss before the step.
        """

        def recorded():
            with enable_grad():
                return closure()

        group = self.param_groups[0]
        search = group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise RuntimeError(
                f"only 'strong_wolfe' is supported, but line_search_fn is {search!r}"
            )
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = recorded()
        state["func_evals"] += 1
        grad = self._flat_grad()
        if abs(grad).max() <= group["tolerance_grad"]:
            return first_loss
        memory = _unwrapped(state)
        self._iterate(recorded, group, state, memory, float(first_loss), grad)
        state.update(_wrapped(memory))
        return first_loss

    def _iterate(self, closure, group, state, memory, loss: float, grad) -> None:
        tolerance, lr, evaluations = group["tolerance_change"], as_number(group["lr"]), 1
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                direction = -grad
                memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
                length = min(1.0, 1.0 / abs(grad).sum()) * lr
            else:
                direction = self._direction(memory, grad, group["history_size"])
                length = lr
            before = loss
            slope = grad @ direction
            memory.update(d=direction, t=length, prev_flat_grad=grad.copy(), prev_loss=before)
            if slope > -tolerance:
                return
            used = 0
            if group["line_search_fn"] is not None:
                origin = [param._array.copy() for param in self._params]
                loss, grad, length, used = strong_wolfe(
                    lambda t, d=direction, x=origin: self._evaluate(closure, x, t, d),
                    length, direction, loss, grad, slope, group["max_eval"] - evaluations,
                )  # fmt: skip
                memory["t"] = length
                self._move(length, direction)
            else:
                self._move(length, direction)
                if iteration != group["max_iter"]:
                    loss, grad, used = float(closure()), self._flat_grad(), 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or abs(grad).max() <= group["tolerance_grad"]
                or abs(direction * length).max() <= tolerance
                or abs(loss - before) < tolerance
            ):
                return

    @staticmethod
    def _direction(memory: dict, grad, history_size: int):
        """``-H grad`` by the two-loop recursion, after the last step has gone into the history."""
        changes, steps, inverses = memory["old_dirs"], memory["old_stps"], memory["ro"]
        change = grad - memory["prev_flat_grad"]
        step = memory["d"] * memory["t"]
        curvature = change @ step
        if curvature > 1e-10:
            if len(changes) == history_size:
                for history in (changes, steps, inverses):
                    history.pop(0)
            changes.append(change)
            steps.append(step)
            inverses.append(1.0 / curvature)
            memory["H_diag"] = curvature / (change @ change)
        weights = memory.setdefault("al", [None] * history_size)
        direction = -grad
        for number in reversed(range(len(changes))):
            weights[number] = (steps[number] @ direction) * inverses[number]
            direction -= weights[number] * changes[number]
        direction = direction * memory["H_diag"]
        for number, (change, step) in enumerate(zip(changes, steps)):
            direction += (weights[number] - (change @ direction) * inverses[number]) * step
        return direction


def _unwrapped(state: dict) -> dict:
    """The state as arrays and numbers."""
    memory: dict = {}
    for name, value in state.items():
        if isinstance(value, list):
            memory[name] = [item._array if isinstance(item, Tensor) else item for item in value]
        else:
            memory[name] = value._array if isinstance(value, Tensor) else value
    return {key: value for key, value in memory.items() if key not in ("func_evals", "n_iter")}


def _wrapped(memory: dict) -> dict:
    """Arrays and numbers as the tensors and lists of a state."""

    def tensor(value):
        if value is None or (isinstance(value, (int, float)) and not hasattr(value, "dtype")):
            return value
        return wrap(ns(memory["d"]).asarray(value))

    return {
        name: [tensor(item) for item in value] if isinstance(value, list) else tensor(value)
        for name, value in memory.items()
    }
