"""Derivatives checked against finite differences.

The central difference (f(x + e) - f(x - e)) / 2e of every input element gives one row of the
Jacobian; one backward pass per output element gives one column. Complex numbers count as two real
ones: PyTorch's gradient of a real L with respect to z is dL/dRe(z) + i dL/dIm(z), so both sides of
the comparison are real matrices."""

from __future__ import annotations

import warnings

import numpy as np

from danlu.autograd import grad as differentiate
from danlu.autograd.grad_mode import enable_grad
from danlu.tensor import Tensor, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative is wrong: raised by `gradcheck` and `gradgradcheck`."""


def _differentiable(values) -> tuple:
    values = values if isinstance(values, (tuple, list)) else (values,)
    return tuple(each for each in values if isinstance(each, Tensor) and each.requires_grad)


def _as_tuple(values) -> tuple:
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


# ---------------------------------------------------------------- real coordinates of tensors
def _coordinates(tensor) -> int:
    return tensor._array.size * (2 if tensor._array.dtype.kind == "c" else 1)


def _flat(array) -> np.ndarray:
    """The elements as a real vector of double precision; a complex element gives two neighbours."""
    array = np.ascontiguousarray(array).reshape(-1)
    if array.dtype.kind == "c":
        return array.astype(np.complex128).view(np.float64)
    return array.astype(np.float64)


def _like(vector, reference) -> Tensor:
    """A real vector as a tensor of the shape and dtype of `reference`: the inverse of `_flat`."""
    array = reference._array
    if array.dtype.kind == "c":
        vector = vector.view(np.complex128)
    return wrap(vector.reshape(array.shape).astype(array.dtype))


def _unit(reference, index: int) -> Tensor:
    vector = np.zeros(_coordinates(reference))
    vector[index] = 1
    return _like(vector, reference)


# ---------------------------------------------------------------- the two Jacobians
def _values(func, inputs) -> tuple:
    """All tensor outputs as arrays that no later call overwrites."""
    return tuple(
        each._array.copy() for each in _as_tuple(func(*inputs)) if isinstance(each, Tensor)
    )


def _difference(func, inputs, target, direction, eps: float) -> list:
    """The derivative of each output along `direction` in the space of `target`, numerically."""
    before = target._array.copy()
    step = (_like(direction, target)._array * eps).astype(before.dtype)
    try:
        target._array[...] = before + step
        above = _values(func, inputs)
        target._array[...] = before - step
        below = _values(func, inputs)
    finally:
        target._array[...] = before
    return [
        _flat(a - b) / (2 * eps) if a.dtype.kind in "fcV" else None for a, b in zip(above, below)
    ]


def _gradients(output, inputs, vector) -> tuple:
    return differentiate(output, inputs, vector, retain_graph=True, allow_unused=True)


class _Check:
    """One call of gradcheck: the function, its inputs, and how exact the derivatives must be."""

    def __init__(self, func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes):
        self.func, self.inputs = func, inputs
        self.wanted = _differentiable(inputs)
        self.eps, self.atol, self.rtol, self.nondet_tol = eps, atol, rtol, nondet_tol
        self.check_grad_dtypes = check_grad_dtypes

    def run(self, fast: bool) -> None:
        outputs = [each for each in _as_tuple(self.func(*self.inputs)) if isinstance(each, Tensor)]
        if not any(each.requires_grad for each in outputs):
            self._check_constant()
            return
        (self._check_projected if fast else self._check_whole)(outputs)

    def _check_constant(self) -> None:
        for target in self.wanted:
            for index in range(_coordinates(target)):
                direction = _flat(_unit(target, index)._array)
                for change in _difference(self.func, self.inputs, target, direction, self.eps):
                    if change is not None and np.abs(change).max(initial=0) > self.atol:
                        raise GradcheckError("Numerical gradient for function expected to be zero")

    def _check_whole(self, outputs) -> None:
        numerical = [
            [
                _difference(
                    self.func, self.inputs, target, _flat(_unit(target, i)._array), self.eps
                )
                for i in range(_coordinates(target))
            ]
            for target in self.wanted
        ]
        for number, output in enumerate(outputs):
            if not output.requires_grad:
                continue
            analytical, repeated = self._analytical(output), self._analytical(output)
            for i, (first, second) in enumerate(zip(analytical, repeated)):
                rows = [row[number] for row in numerical[i]]
                expected = np.stack(rows) if rows else np.zeros(first.shape)
                if not self._close(first, expected):
                    raise GradcheckError(
                        f"Jacobian mismatch for output {number} with respect to input {i},\n"
                        f"numerical:{wrap(expected)}\nanalytical:{wrap(first)}\n"
                    )
                self._check_repeatable(first, second)

    def _check_projected(self, outputs) -> None:
        """One random direction on each side: a wrong Jacobian is found almost surely, at the cost
        of two calls."""
        random = np.random.default_rng(0)

        def direction(tensor):
            vector = random.standard_normal(_coordinates(tensor))
            return vector / max(np.linalg.norm(vector), 1e-30)

        vectors = [direction(each) for each in outputs]
        for i, target in enumerate(self.wanted):
            along = direction(target)
            changes = _difference(self.func, self.inputs, target, along, self.eps)
            for number, output in enumerate(outputs):
                if not output.requires_grad:
                    continue
                first, second = (
                    self._row(output, target, _like(vectors[number], output)) @ along
                    for _ in range(2)
                )
                expected = vectors[number] @ changes[number]
                if not self._close(first, expected):
                    raise GradcheckError(
                        f"Jacobian mismatch for output {number} with respect to input {i},\n"
                        f"numerical:{expected}\nanalytical:{first}\n"
                        "These are projections on random vectors (fast_mode=True); fast_mode=False "
                        "shows the whole "
                        "Jacobian."
                    )
                self._check_repeatable(first, second)

    def _row(self, output, target, vector) -> np.ndarray:
        (gradient,) = _gradients(output, (target,), vector)
        return self._plain(gradient, target)

    def _plain(self, gradient, target) -> np.ndarray:
        """A gradient as a real vector.

        Raises:
            GradcheckError: it has another shape or dtype than its input.
        """
        if gradient is None:
            return np.zeros(_coordinates(target))
        if gradient.shape != target.shape:
            raise GradcheckError("Analytical gradient has incorrect size")
        if gradient.dtype is not target.dtype:
            if self.check_grad_dtypes:
                raise GradcheckError("Gradient has dtype mismatch")
            return _flat(gradient._array.astype(target._array.dtype))
        return _flat(gradient._array)

    def _analytical(self, output) -> list:
        """Per input: derivatives, one row per input coordinate, one column per output
        coordinate."""
        columns: list[list] = [[] for _ in self.wanted]
        for index in range(_coordinates(output)):
            found = _gradients(output, self.wanted, _unit(output, index))
            for i, (gradient, target) in enumerate(zip(found, self.wanted)):
                columns[i].append(self._plain(gradient, target))
        return [
            np.stack(column, axis=1) if column else np.zeros((_coordinates(target), 0))
            for column, target in zip(columns, self.wanted)
        ]

    def _close(self, found, expected) -> bool:
        return np.allclose(found, expected, rtol=self.rtol, atol=self.atol, equal_nan=False)

    def _check_repeatable(self, first, second) -> None:
        if np.abs(first - second).max(initial=0) > self.nondet_tol:
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and "
                "grad_output multiple times gives different values, although analytical gradient "
                "matches numerical gradient. The tolerance for nondeterminism was "
                f"{self.nondet_tol}."
            )

    def check_scaled_by_output_gradient(self) -> None:
        """A gradient of zero at the outputs must give zero at the inputs."""
        outputs = _differentiable(self.func(*self.inputs))
        if not outputs:
            return
        zeros = tuple(_like(np.zeros(_coordinates(each)), each) for each in outputs)
        for gradient in differentiate(outputs, self.wanted, zeros, allow_unused=True):
            if gradient is not None and gradient._array.any():
                raise GradcheckError("backward not multiplied by grad_output")

    def check_missing_gradients(self) -> None:
        """`backward` must cope with outputs that received no gradient: each one alone gets some."""
        outputs = _differentiable(self.func(*self.inputs))
        for skipped in range(len(outputs) if len(outputs) > 1 else 0):
            used = [each for i, each in enumerate(outputs) if i != skipped]
            vectors = [_like(np.ones(_coordinates(each)), each) for each in used]
            try:
                differentiate(used, self.wanted, vectors, retain_graph=True, allow_unused=True)
            except Exception as error:
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads: with no "
                    f"gradient for output {skipped} it raised {type(error).__name__}: {error}"
                ) from error


def _check_inputs(inputs) -> None:
    if not _differentiable(inputs):
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, "
            "but none of them have requires_grad=True."
        )
    for i, each in enumerate(inputs):
        if not (isinstance(each, Tensor) and each.requires_grad):
            continue
        if each._array.dtype not in (np.float64, np.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or "
                "complex. This check will likely fail if all the inputs are not of double "
                "precision floating point or complex. ",
                UserWarning,
                stacklevel=4,
            )
        if any(
            step == 0 and size > 1 for step, size in zip(each._array.strides, each._array.shape)
        ):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs "
                "that are non-overlapping to be able to compute the numerical gradients "
                "correctly. You should call .contiguous on the input before passing it to "
                "gradcheck."
            )


def _refuse_forward_mode(**options) -> None:
    for name, asked in options.items():
        if asked:
            raise NotImplementedError(
                f"{name}=True checks forward-mode derivatives, which danlu does not have: leave it "
                "out"
            )


@enable_grad()
def gradcheck(
    func, inputs, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0,
    check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
    check_batched_forward_grad=False, check_forward_ad=False, check_backward_ad=True,
    fast_mode=False, masked=None,
):  # fmt: skip
    """Compare the gradients of `func` with central differences: |analytical - numerical| <= atol +
    rtol |numerical|.

    Args:
        func: takes the inputs, returns a Tensor or a tuple of Tensors; it must be a function of its
            inputs alone.
        inputs: a Tensor or a tuple; those that require gradients are checked and should be float64
            or complex128.
        eps: half the width of the difference. Default: 1e-6.
        atol, rtol: how much the two may differ. Defaults: 1e-5, 1e-3.
        raise_exception: raise on a mismatch; otherwise return False. Default: True.
        nondet_tol: how much two equal backward passes may differ. Default: 0.
        check_undefined_grad: also give gradients to some of the outputs only. Default: True.
        check_grad_dtypes: a gradient's dtype must be its input's. Default: False.
        check_batched_grad, masked: accepted for PyTorch's sake.
        fast_mode: compare one random projection of the Jacobian instead of all of it. Default:
            False.

    Returns:
        True; or False on a mismatch with `raise_exception=False`.

    Raises:
        GradcheckError: a derivative is wrong.
        ValueError: no input requires gradients.

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.gradcheck(torch.exp, (x,))
        True
    """
    _refuse_forward_mode(
        check_forward_ad=check_forward_ad, check_batched_forward_grad=check_batched_forward_grad
    )
    inputs = _as_tuple(inputs)
    try:
        _check_inputs(inputs)
        check = _Check(func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes)
        check.run(fast_mode)
        if check_backward_ad:
            check.check_scaled_by_output_gradient()
        if check_undefined_grad:
            check.check_missing_gradients()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


@enable_grad()
def gradgradcheck(
    func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3,
    gen_non_contig_grad_outputs=False, raise_exception=True, nondet_tol=0.0,
    check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
    check_fwd_over_rev=False, check_rev_over_rev=True, fast_mode=False, masked=False,
):  # fmt: skip
    """`gradcheck` of the gradients of `func`, with respect to the inputs and to the gradients of
    the outputs.

    Args:
        grad_outputs: the gradients of the outputs; random ones if None.
        gen_non_contig_grad_outputs: make these random ones with gaps in memory. Default: False.
        eps, atol, rtol, raise_exception, nondet_tol, check_undefined_grad, fast_mode: see
            `gradcheck`.

    Returns:
        True; or False on a mismatch with `raise_exception=False`.

    Raises:
        GradcheckError: a second derivative is wrong.

    Example:
        >>> import danlu as torch
        >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.gradgradcheck(torch.exp, (x,))
        True
    """
    _refuse_forward_mode(check_fwd_over_rev=check_fwd_over_rev)
    inputs = _as_tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*inputs))
        vectors = _random_gradients(outputs, gen_non_contig_grad_outputs)
    else:
        vectors = _as_tuple(grad_outputs)

    def gradients(*values):
        given, vectors = values[: len(inputs)], values[len(inputs) :]
        wanted = _differentiable(given)
        outputs = _differentiable(func(*given))
        found = differentiate(outputs, wanted, vectors, create_graph=True, allow_unused=True)
        return tuple(each for each in found if each is not None)

    return gradcheck(
        gradients, (*inputs, *vectors), eps=eps, atol=atol, rtol=rtol,
        raise_exception=raise_exception, nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        fast_mode=fast_mode,
    )  # fmt: skip


def _random_gradients(outputs, with_gaps: bool) -> tuple:
    """Gradients for the outputs, from a stream of their own: checking must not move the default
    generator."""
    random = np.random.default_rng(0)
    made = []
    for each in outputs:
        vector = _like(random.standard_normal(_coordinates(each)), each)._array
        if with_gaps and vector.ndim:
            spread = np.zeros((*vector.shape, 2), dtype=vector.dtype)
            spread[..., 0] = vector
            vector = spread[..., 0]
        made.append(wrap(vector).requires_grad_())
    return tuple(made)
