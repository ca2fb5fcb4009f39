"""Jacobians, Hessians and their products with vectors, of functions of Tensors.

Everything here is reverse mode. A product of the Jacobian with a vector on its right, J v, is the
derivative of the vector-Jacobian product u -> u J in the direction v (the "double backward trick",
Townsend 2017)."""

from __future__ import annotations

from danlu.autograd import grad as differentiate
from danlu.autograd.grad_mode import enable_grad
from danlu.ops.creation import ones_like, zeros_like
from danlu.ops.joining import stack
from danlu.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

OUTPUTS = "outputs of the user-provided function"


# ---------------------------------------------------------------- what came in and what goes out
def _tensors(value, name: str, function: str):
    """Whether `value` was a tuple, and the tensors in it."""
    many = isinstance(value, tuple)
    values = value if many else (value,)
    for i, each in enumerate(values):
        if not isinstance(each, Tensor):
            place = f"value at index {i}" if many else f"given {name}"
            raise TypeError(
                f"The {name} given to {function} must be either a Tensor or a tuple of Tensors but "
                f"the {place} has type {type(each)}."
            )
    return many, values


def _like(result: tuple, many: bool):
    return result if many else result[0]


def _prepared(inputs, create_graph: bool, need_graph: bool = True) -> tuple:
    """The inputs as starting points of a new graph, still joined to their own history if that is to
    be differentiated."""
    return tuple(
        each.view_as(each) if create_graph and each.requires_grad
        else each.detach().requires_grad_(need_graph)
        for each in inputs
    )  # fmt: skip


def _finished(results: tuple, create_graph: bool) -> tuple:
    return results if create_graph else tuple(each.detach() for each in results)


def _check_vector(v, others, many: bool) -> None:
    if len(v) != len(others):
        if many:
            raise RuntimeError(
                f"v is a tuple of invalid length: should be {len(others)} but got {len(v)}."
            )
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (each, other) in enumerate(zip(v, others)):
        if each.shape != other.shape:
            entry = f"Entry {i} in " if many else ""
            raise RuntimeError(
                f"{entry}v has invalid size: should be {other.shape} but got {each.shape}."
            )


def _vector(v, others, many: bool, function: str, needed_for: str) -> tuple:
    """The vector to multiply with; without one, a single one for a single number."""
    if v is None:
        if len(others) != 1 or others[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if {needed_for}")
        return (ones_like(others[0]),)
    v = _tensors(v, "v", function)[1]
    _check_vector(v, others, many)
    return v


_SINGLE_INPUT = "the input to the user-provided function is a single Tensor with a single element."
_SINGLE_OUTPUT = "the user-provided function returns a single Tensor with a single element."

_NOT_DIFFERENTIABLE = {
    "outputs": (
        "Output {} of the user-provided function does not require gradients. The outputs must be "
        "computed in a differentiable manner from the input when running in strict mode."
    ),
    "gradients": (
        "The gradient with respect to input {} is independent of the inputs of the user-provided "
        "function. This is not allowed in strict mode."
    ),
    "jacobian": (
        "While computing the hessian, found that the jacobian of the user-provided function with "
        "respect to input {} is independent of the input. This is not allowed in strict mode. You "
        "should ensure that your function is twice differentiable and that the jacobian depends "
        "on the inputs (this would be violated by a linear function for example)."
    ),
    "hessian": (
        "The hessian of the user-provided function with respect to input {} is independent of the "
        "input. This is not allowed in strict mode. You should ensure that your function is "
        "thrice differentiable and that the hessian depends on the inputs."
    ),
}
_UNUSED = {
    "vjp": "The output of the user-provided function is independent of input {}. ",
    "jvp": (
        "The gradient with respect to the input is independent of entry {} in the grad_outputs "
        "when using the double backward trick to compute forward mode gradients. "
    ),
    "vhp": "The jacobian of the user-provided function is independent of input {}. ",
    "hvp": (
        "The hessian of the user-provided function is independent of entry {} in the "
        "grad_jacobian: the double backward trick cannot replace forward mode here. "
    ),
}


def _require_recorded(tensors, kind: str, strict: bool) -> None:
    """Under `strict`, refuse results that do not depend on what they are to be differentiated
    by."""
    if not strict:
        return
    for i, each in enumerate(tensors):
        if each is None:
            raise RuntimeError(_UNUSED["vjp"].format(i) + "This is not allowed in strict mode.")
        if not each.requires_grad:
            raise RuntimeError(_NOT_DIFFERENTIABLE[kind].format(i))


def _filled(gradients, references, kind: str, strict: bool, create_graph: bool) -> tuple:
    """The gradients, with zeros where there is none."""
    filled = []
    for i, (gradient, reference) in enumerate(zip(gradients, references)):
        if gradient is None:
            if strict:
                raise RuntimeError(_UNUSED[kind].format(i) + "This is not allowed in strict mode.")
            gradient = zeros_like(reference)
        elif strict and create_graph and not gradient.requires_grad:
            what = "hessian" if kind in ("vhp", "hvp") else "jacobian"
            raise RuntimeError(
                f"The {what} of the user-provided function is independent of input {i}. This is "
                "not allowed in strict mode when create_graph=True."
            )
        filled.append(gradient)
    return tuple(filled)


def _gradients(outputs, inputs, vectors=None, *, create_graph=False, retain_graph=None) -> tuple:
    """`danlu.autograd.grad` that returns None instead of raising where nothing depends on the
    inputs."""
    vectors = vectors or (None,) * len(outputs)
    recorded = [
        pair for pair in zip(outputs, vectors) if pair[0] is not None and pair[0].requires_grad
    ]
    if not recorded:
        return (None,) * len(inputs)
    outputs, vectors = zip(*recorded)
    return differentiate(
        outputs, inputs, vectors,
        create_graph=create_graph, retain_graph=retain_graph, allow_unused=True,
    )  # fmt: skip


def _scalar(outputs, many: bool, function: str) -> None:
    if many:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {function} should contain a single "
            "element"
        )


# ---------------------------------------------------------------- products with vectors
@enable_grad()
def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of `func` and the product of a vector with its Jacobian: v J.

    Args:
        func: takes the inputs, returns a Tensor or a tuple of Tensors.
        inputs: a Tensor or a tuple of Tensors.
        v: a vector of the outputs' shapes. Default: 1, for an output of one element.
        create_graph: record the computation, to differentiate the product again. Default: False.
        strict: raise where an output does not depend on an input, instead of returning zeros.
            Default: False.

    Returns:
        (outputs, product); the product is shaped like the inputs.

    Raises:
        TypeError: inputs, outputs or `v` are not Tensors.
        RuntimeError: `v` does not fit the outputs; or see `strict`.

    Example:
        >>> import danlu as torch
        >>> torch.autograd.functional.vjp(lambda x: x * x, torch.tensor([1.0, 3.0]), torch.ones(2))
        (tensor([1., 9.]), tensor([2., 6.]))
    """
    many_in, inputs = _tensors(inputs, "inputs", "vjp")
    inputs = _prepared(inputs, create_graph)
    many_out, outputs = _tensors(func(*inputs), OUTPUTS, "vjp")
    _require_recorded(outputs, "outputs", strict)
    vectors = _vector(v, outputs, many_out, "vjp", _SINGLE_OUTPUT)
    found = _gradients(outputs, inputs, vectors, create_graph=create_graph)
    product = _filled(found, inputs, "vjp", strict, create_graph)
    return (
        _like(_finished(outputs, create_graph), many_out),
        _like(_finished(product, create_graph), many_in),
    )


@enable_grad()
def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of `func` and the product of its Jacobian with a vector: J v.

    Args:
        func: takes the inputs, returns a Tensor or a tuple of Tensors.
        inputs: a Tensor or a tuple of Tensors.
        v: a vector of the inputs' shapes. Default: 1, for an input of one element.
        create_graph: record the computation, to differentiate the product again. Default: False.
        strict: raise where an output does not depend on an input, instead of returning zeros.
            Default: False.

    Returns:
        (outputs, product); the product is shaped like the outputs.

    Raises:
        TypeError: inputs, outputs or `v` are not Tensors.
        RuntimeError: `v` does not fit the inputs; or see `strict`.

    Example:
        >>> import danlu as torch
        >>> torch.autograd.functional.jvp(lambda x: x * x, torch.tensor([1.0, 3.0]), torch.ones(2))
        (tensor([1., 9.]), tensor([2., 6.]))
    """
    many_in, inputs = _tensors(inputs, "inputs", "jvp")
    inputs = _prepared(inputs, create_graph)
    vectors = _vector(v, inputs, many_in, "jvp", _SINGLE_INPUT)
    many_out, outputs = _tensors(func(*inputs), OUTPUTS, "jvp")
    _require_recorded(outputs, "outputs", strict)
    # u J is linear in u: where it is differentiated does not matter
    u = tuple(zeros_like(each).requires_grad_() for each in outputs)
    through = _gradients(outputs, inputs, u, create_graph=True)
    _require_recorded(through, "gradients", strict)
    found = _gradients(through, u, vectors, create_graph=create_graph)
    product = _filled(found, outputs, "jvp", strict, create_graph)
    return (
        _like(_finished(outputs, create_graph), many_out),
        _like(_finished(product, create_graph), many_out),
    )


@enable_grad()
def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of a scalar `func` and the product of a vector with its Hessian: v H.

    Args:
        func: takes the inputs, returns a Tensor of one element.
        inputs: a Tensor or a tuple of Tensors.
        v: a vector of the inputs' shapes. Default: 1, for an input of one element.
        create_graph: record the computation, to differentiate the product again. Default: False.
        strict: raise where the gradient does not depend on an input, instead of returning zeros.
            Default: False.

    Returns:
        (output, product); the product is shaped like the inputs.

    Raises:
        TypeError: inputs, outputs or `v` are not Tensors.
        RuntimeError: the output is not one element, or `v` does not fit the inputs; or see
            `strict`.

    Example:
        >>> import danlu as torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.ones(2)
        >>> torch.autograd.functional.vhp(lambda x: (x**3).sum(), x, v)
        (tensor(9.), tensor([ 6., 12.]))
    """
    many_in, inputs = _tensors(inputs, "inputs", "vhp")
    inputs = _prepared(inputs, create_graph)
    vectors = _vector(v, inputs, many_in, "vhp", _SINGLE_INPUT)
    output, jacobians = _scalar_gradient(func, inputs, "vhp", strict)
    found = _gradients(jacobians, inputs, vectors, create_graph=create_graph)
    product = _filled(found, inputs, "vhp", strict, create_graph)
    return _finished(output, create_graph)[0], _like(_finished(product, create_graph), many_in)


@enable_grad()
def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of a scalar `func` and the product of its Hessian with a vector: H v.

    The Hessian of a twice continuously differentiable function is symmetric, so `vhp` gives the
    same with less work.

    Args:
        func: takes the inputs, returns a Tensor of one element.
        inputs: a Tensor or a tuple of Tensors.
        v: a vector of the inputs' shapes. Default: 1, for an input of one element.
        create_graph: record the computation, to differentiate the product again. Default: False.
        strict: raise where the gradient does not depend on an input, instead of returning zeros.
            Default: False.

    Returns:
        (output, product); the product is shaped like the inputs.

    Raises:
        TypeError: inputs, outputs or `v` are not Tensors.
        RuntimeError: the output is not one element, or `v` does not fit the inputs; or see
            `strict`.

    Example:
        >>> import danlu as torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.ones(2)
        >>> torch.autograd.functional.hvp(lambda x: (x**3).sum(), x, v)
        (tensor(9.), tensor([ 6., 12.]))
    """
    many_in, inputs = _tensors(inputs, "inputs", "hvp")
    inputs = _prepared(inputs, create_graph)
    vectors = _vector(v, inputs, many_in, "hvp", _SINGLE_INPUT)
    output, jacobians = _scalar_gradient(func, inputs, "hvp", strict)
    u = tuple(zeros_like(each).requires_grad_() for each in inputs)
    through = _gradients(jacobians, inputs, u, create_graph=True)
    _require_recorded(through, "hessian", strict)
    found = _gradients(through, u, vectors, create_graph=create_graph)
    product = _filled(found, inputs, "hvp", strict, create_graph)
    return _finished(output, create_graph)[0], _like(_finished(product, create_graph), many_in)


def _scalar_gradient(func, inputs, function: str, strict: bool):
    many_out, outputs = _tensors(func(*inputs), OUTPUTS, function)
    _require_recorded(outputs, "outputs", strict)
    _scalar(outputs, many_out, function)
    jacobians = _gradients(outputs, inputs, create_graph=True)
    _require_recorded(jacobians, "jacobian", strict)
    return outputs, jacobians


# ---------------------------------------------------------------- whole matrices
def _check_strategy(strategy: str, vectorize: bool, create_graph: bool, strict: bool) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode", but got '
            f"{strategy!r}. Both give the same values."
        )
    if strategy == "forward-mode":
        if create_graph:
            raise NotImplementedError(
                "torch.autograd.functional.jacobian: `create_graph=True` and "
                '`strategy="forward-mode"` are not '
                "supported together (yet). Please either set `create_graph=False` or "
                '`strategy="reverse-mode"`.'
            )
        if strict:
            raise RuntimeError(
                'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` '
                "are not supported "
                'together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
            )
        if not vectorize:
            raise NotImplementedError(
                "Computing Jacobian using forward-AD or forward-over-reverse Hessian is "
                "only implemented for `vectorize=True`."
            )
    elif strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not "
            "supported together. Please either set `strict=False` or `vectorize=False`."
        )


@enable_grad()
def jacobian(
    func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"
):
    """The Jacobian of `func`: the derivative of every output element with respect to every input
    element.

    Args:
        func: takes the inputs, returns a Tensor or a tuple of Tensors.
        inputs: a Tensor or a tuple of Tensors.
        create_graph: record the computation, to differentiate the Jacobian again. Default: False.
        strict: raise where an output does not depend on an input, instead of returning zeros.
            Default: False.
        vectorize: accepted for PyTorch's sake; the rows are computed one after the other.
        strategy: "reverse-mode" or "forward-mode"; the values are the same, both are computed in
            reverse.

    Returns:
        For one output and one input a Tensor of the output's shape followed by the input's; a tuple
        over the inputs, over the outputs, or of tuples, where these are tuples.

    Raises:
        TypeError: inputs or outputs are not Tensors.
        RuntimeError: see `strict`.

    Example:
        >>> import danlu as torch
        >>> torch.autograd.functional.jacobian(lambda x: x * x, torch.tensor([1.0, 3.0]))
        tensor([[2., 0.],
                [0., 6.]])
    """
    _check_strategy(strategy, vectorize, create_graph, strict)
    many_in, inputs = _tensors(inputs, "inputs", "jacobian")
    inputs = _prepared(inputs, create_graph)
    many_out, outputs = _tensors(func(*inputs), OUTPUTS, "jacobian")
    _require_recorded(outputs, "outputs", strict)
    whole = tuple(
        _finished(_rows(output, number, inputs, create_graph, strict), create_graph)
        for number, output in enumerate(outputs)
    )
    return _like(tuple(_like(each, many_in) for each in whole), many_out)


def _rows(output, number, inputs, create_graph, strict) -> tuple:
    """The Jacobian of one output: a row per element, one backward pass each."""
    rows: list[list] = [[] for _ in inputs]
    for element in output.reshape(-1):
        found = _gradients((element,), inputs, create_graph=create_graph, retain_graph=True)
        for i, (gradient, reference) in enumerate(zip(found, inputs)):
            if strict and gradient is None:
                raise RuntimeError(
                    f"Output {number} of the user-provided function is independent of input {i}. "
                    "This is not allowed in strict mode."
                )
            if strict and create_graph and not gradient.requires_grad:
                raise RuntimeError(
                    f"The jacobian of the user-provided function is independent of input {i}. This "
                    "is not allowed in strict mode when create_graph=True."
                )
            rows[i].append(zeros_like(reference) if gradient is None else gradient)
    return tuple(
        (stack(column) if column else reference.new_zeros((0, *reference.shape)))
        .reshape((*output.shape, *reference.shape))
        for column, reference in zip(rows, inputs)
    )  # fmt: skip


@enable_grad()
def hessian(
    func, inputs, create_graph=False, strict=False, vectorize=False,
    outer_jacobian_strategy="reverse-mode",
):  # fmt: skip
    """The Hessian of a scalar `func`: its second derivatives.

    Args:
        func: takes the inputs, returns a Tensor of one element.
        inputs: a Tensor or a tuple of Tensors.
        create_graph: record the computation, to differentiate the Hessian again. Default: False.
        strict: raise where the gradient does not depend on an input, instead of returning zeros.
            Default: False.
        vectorize: accepted for PyTorch's sake; the rows are computed one after the other.
        outer_jacobian_strategy: "reverse-mode" or "forward-mode"; the values are the same.

    Returns:
        For one input a Tensor of the input's shape twice; else a tuple of tuples: `result[i][j]`
        holds the second derivatives with respect to inputs i and j.

    Raises:
        TypeError: inputs or outputs are not Tensors.
        RuntimeError: the output is not one element; or see `strict`.

    Example:
        >>> import danlu as torch
        >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    many_in, inputs = _tensors(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode", but got '
            f"{outer_jacobian_strategy!r}."
        )

    def gradient(*inputs):
        many_out, outputs = _tensors(func(*inputs), OUTPUTS, "hessian")
        _require_recorded(outputs, "outputs", strict)
        _scalar(outputs, many_out, "hessian")
        found = _gradients(outputs, inputs, create_graph=True)
        _require_recorded(found, "jacobian", strict)
        return _filled(found, inputs, "vjp", False, False)

    whole = jacobian(
        gradient, inputs, create_graph=create_graph, strict=strict, vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )  # fmt: skip
    return whole if many_in else whole[0][0]
