"""Machine code in the place of NumPy for small arrays, in programs that train.

On ten numbers a call into NumPy takes longer than the arithmetic: 0.4 to 3 us against 0.1 to 0.3 of
a generated function that takes and returns arrays. The first backward pass loads those (60 ms, mostly
llvmlite's import) and puts them in the place of the bodies of the operators below; they call the old
body for all that they do not know: other dtypes, strides, sizes. Once and at a fixed moment, since
their last digits may differ from NumPy's: the same seed gives the same run, however long.
"""

from __future__ import annotations

from importlib import import_module

from danlu.kernels.runtime import road

__all__ = ["before_backward", "bodies", "replace", "restore"]

# Where the operators below are defined: they must exist before their bodies are replaced.
_MODULES = ("activation", "binary", "linear", "loss", "matmul", "pointwise", "reduction")
# Operator, by its name in the registry -> array function.
_LAYERS = {
    "nn.functional.linear": "affine",
    "_product": "product",
    "matmul": "product",
    "mm": "product",
    "relu": "relu",
    "relu_gradient": "relu_gradient",
    "nn.functional.binary_cross_entropy_with_logits": "logits_loss",
    "nn.functional.mse_loss": "squares_loss",
    "sum": "total",
    "mean": "average",
}
_ELEMENTWISE = {
    "plain_add": "add", "plain_sub": "subtract", "mul": "multiply", "true_divide": "divide",
    "exp": "exp", "log": "log", "tanh": "tanh", "sigmoid": "sigmoid", "sqrt": "sqrt",
    "square": "square", "neg": "negative", "abs": "absolute",
}  # fmt: skip
# (module, name in it) -> array function: parts of operators and of derivatives.
_FUNCTIONS = {
    ("danlu.ops.linear", "gradients"): "affine_gradients",
    ("danlu.ops.loss", "logits_slope"): "logits_slope",
    ("danlu.ops.loss", "squares_slope"): "squares_slope",
    **{
        (f"danlu.kernels.fused.{module}", name): name
        for module, names in {
            "softmax": "softmax softmax_backward log_softmax log_softmax_backward",
            "cross_entropy": "cross_entropy cross_entropy_backward",
        }.items()
        for name in names.split()
    },
}

_tried = False
_replaced = False


def before_backward() -> None:
    """The first backward pass of a program replaces the bodies."""
    global _tried
    if not _tried:
        _tried = True
        if road.mode() == "auto":
            replace()


def replace() -> bool:
    """Put the array functions in place; whether they are."""
    global _replaced
    if _replaced or not road.enabled():
        return _replaced
    from danlu.kernels.generated import small

    for module in _MODULES:
        import_module(f"danlu.ops.{module}")
    bodies: dict = {key: (name, _body(key)) for key, name in {**_LAYERS, **_ELEMENTWISE}.items()}
    parts: dict = {
        place: (name, getattr(import_module(place[0]), place[1]))
        for place, name in _FUNCTIONS.items()
    }
    functions: dict | None = small.load({**bodies, **parts})
    if functions is None:
        return False
    for place, function in functions.items():
        if place in parts:
            setattr(import_module(place[0]), place[1], function)
            _parts[place] = parts[place][1]
        else:
            _use(place, function)
    _replaced = True
    return True


def _body(key: str):
    """The function over arrays that an operator was defined with."""
    from danlu.ops.registry import REGISTRY

    fn = REGISTRY[key].fn
    return getattr(fn, "ufunc", fn)


def _use(key: str, function) -> None:
    from danlu.ops.registry import REGISTRY

    op = REGISTRY[key]
    bodies[op] = function
    for use in op.users:
        use(function)


def restore() -> None:
    """Put the NumPy bodies back, for tests and measurements."""
    global _replaced
    if not _replaced:
        return
    for key in (*_LAYERS, *_ELEMENTWISE):
        _use(key, _body(key))
    bodies.clear()
    for (module, attribute), function in _parts.items():
        setattr(import_module(module), attribute, function)
    _replaced = False


# Operator -> the body that its users run, where that was replaced.
bodies: dict = {}
_parts: dict = {}
