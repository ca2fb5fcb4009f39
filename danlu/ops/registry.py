"""How an operator is written once: forward and derivative over arrays; everything else follows.

`@operator` turns a function over arrays into the public function over Tensors, the method, the in-place method and
the tape's node. See docs/internals.md for what a definition may say."""

from __future__ import annotations

from functools import partial
from types import FunctionType

import numpy as np

from danlu.autograd import anomaly
from danlu.autograd.node import sequence
from danlu.backend.conversions import is_array
from danlu.kernels.fused import updates
from danlu.ops.calls import NUMBERS, binary, general, unary, write_out
from danlu.ops.inplace import in_place_call
from danlu.ops.messages import dimension_error, scalar_name
from danlu.ops.promotion import cast_scalar, result_numpy_dtype
from danlu.ops.return_types import return_type
from danlu.ops.rules import Plan, node_class
from danlu.tensor import Tensor, publish_method, wrap

__all__ = ["OPERATORS", "REGISTRY", "Array", "Arrays", "Operator", "composite", "ns", "operator"]

REGISTRY: dict[str, Operator] = {}
# Every operator, also where a later one took its name; `watchers` are called with new ones.
OPERATORS: list[Operator] = []
watchers: list = []

# Annotations of an operator's tensor parameters; they say nothing more than that.
Array = np.ndarray
Arrays = tuple

_ndarray = np.ndarray


def ns(x):
    """The namespace of numeric functions for `x`: NumPy's for arrays, danlu's operators for Tensors."""
    if x.__class__ is _ndarray:
        return np
    return x.__array_namespace__()


def _all_positional(fn):
    """The same function with its keyword-only parameters as positional ones: danlu passes all by position."""
    code = fn.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = fn.__kwdefaults__ or {}
    return FunctionType(
        code.replace(
            co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0
        ),
        fn.__globals__, fn.__name__,
        (*(fn.__defaults__ or ()), *[defaults[name] for name in names if name in defaults]),
        fn.__closure__,
    )  # fmt: skip


class Operator:
    """All that is known of one operator. The public function carries it as its `.op`."""

    __slots__ = (
        "call", "defaults", "differentiable", "fn", "general", "is_list", "joint", "keyword_only",
        "name", "node", "node_name", "optional", "parameters", "per_input", "plain_users", "plans",
        "promote", "returns", "space", "tails", "tensors", "to_float", "ufunc", "update", "users",
        "view",
    )  # fmt: skip

    def __init__(self, fn, promote, returns, view, differentiable, name, space):
        code = fn.__code__
        self.fn = _all_positional(fn) if code.co_kwonlyargcount else fn
        self.name = fn.__name__
        positional = code.co_varnames[: code.co_argcount]
        self.keyword_only = code.co_varnames[
            code.co_argcount : code.co_argcount + code.co_kwonlyargcount
        ]
        self.parameters = positional + self.keyword_only
        if not {"out", "outs", "out0", "out1", "out2", "g", "needs"}.isdisjoint(self.parameters):
            raise TypeError(f"{self.name}: out, g and needs mean something else in rules")
        notes = {key: str(note) for key, note in fn.__annotations__.items()}
        self.tensors = sum(notes.get(each, "").startswith("Array") for each in positional)
        self.optional = tuple("None" in notes.get(each, "") for each in positional[: self.tensors])
        self.is_list = self.tensors > 0 and notes[positional[0]].startswith("Arrays")
        defaults = dict(zip(positional[::-1], (fn.__defaults__ or ())[::-1]))
        defaults.update(fn.__kwdefaults__ or {})
        self.defaults = defaults
        self.promote = promote
        self.to_float = promote == "float"
        self.returns = returns
        self.view = view
        self.differentiable = differentiable
        self.node_name = name or "".join(part.title() for part in self.name.strip("_").split("_"))
        self.space = space
        self.node = None
        self.joint = None
        self.per_input = None
        self.plans: dict = {}
        # for large arrays: the NumPy function that the body is, and what does it in place
        self.ufunc = self.update = None
        # setters of the body that the public functions run; ops/quick.py puts machine code there
        self.users: list = []
        self.plain_users: list = []  # of those that machine code is not put into
        self.tails = self._tails()

    def _tails(self) -> dict:
        """Number of positional arguments -> the defaults that complete them, where there are all."""
        names = self.parameters
        tails: dict[int, tuple] = {len(names): ()}
        for count in range(len(names) - 1, -1, -1):
            if names[count] not in self.defaults:
                break
            tails[count] = (self.defaults[names[count]], *tails[count + 1])
        most = len(names) - len(self.keyword_only)
        return {count: tail for count, tail in tails.items() if count <= most}

    # ------------------------------------------------------------ derivative
    def vjp(self, rule):
        """Register one rule for all inputs (docs/internals.md says what it may name)."""
        self.joint = rule
        self.plans.clear()
        return rule

    def vjps(self, **rules):
        """Register one rule per input, by the input's name."""
        self.per_input = rules
        self.plans.clear()

    def plan(self, needs) -> Plan:
        """What to save and what to run when these inputs need gradients."""
        found = self.plans.get(needs)
        if found is None:
            if self.joint is None and self.per_input is None:
                raise NotImplementedError(f"derivative for {self.name} is not implemented")
            found = self.plans[needs] = Plan(self, needs)
            if self.node is None:
                self.node = node_class(self)
        return found

    # ------------------------------------------------------------ calling
    def bind(self, args, kwargs):
        """All parameters in order from a call, and `out`. Accepts `axis` for `dim`, `keepdims` for `keepdim`."""
        names = self.parameters
        if len(args) > len(names) - len(self.keyword_only):
            raise TypeError(
                f"{self.name}() takes {len(names) - len(self.keyword_only)} positional arguments "
                f"but {len(args)} were given"
            )
        values = list(args)
        out = None
        if kwargs:
            given = dict(kwargs)
            out = given.pop("out", None)
            for alias, name in _ALIASES:
                if alias in given and name in names and name not in given:
                    given[name] = given.pop(alias)
            if args and names[0] in given:
                raise TypeError(f"{self.name}() got multiple values for argument '{names[0]}'")
        else:
            given = {}
        for name in names[len(args) :]:
            if name in given:
                values.append(given.pop(name))
            elif name in self.defaults:
                values.append(self.defaults[name])
            else:
                raise TypeError(f"{self.name}() missing 1 required positional argument: '{name}'")
        if given:
            raise TypeError(
                f"{self.name}() got an unexpected keyword argument '{next(iter(given))}'"
            )
        return values, out

    def record(self, needs, tensors, arrays, params, out, outputs):
        """The node of a call; `outputs` are the version lists of its results."""
        plan = self.plans.get(needs) or self.plan(needs)
        node = _make_node(self.node)
        node.seq = sequence()
        node.hooks = None
        node.plan = plan
        node.fix = None
        node.outputs = 1
        plan.note(node, tensors, arrays, params, out, outputs)
        if anomaly.state.on:
            anomaly.note_forward_call(node)
        return node


_ALIASES = (
    ("axis", "dim"), ("keepdims", "keepdim"), ("dim", "axis"), ("axis", "dims"), ("dim", "dims"),
    ("x", "input"), ("x2", "other"), ("self", "input"),
)  # fmt: skip
_make_node = object.__new__


# ---------------------------------------------------------------- the decorators
def operator(
    fn=None, *, promote=None, inplace=False, method=True, space="", name=None, returns=None,
    view=False, differentiable=True, ufunc=None, update=None,
):  # fmt: skip
    """Define an operator from a function over arrays; returns the public function over Tensors.

    Args:
        promote: None, "same" (PyTorch's promotion over all tensors) or "float" (integers become floats too).
        inplace: publish `Tensor.<name>_` as well.
        method: publish `Tensor.<name>`; a string or a tuple of strings gives it other names.
        space: where the function lives ("nn.functional", "linalg"); "" is danlu itself.
        name: of the node, without `Backward0`.
        returns: names of the fields of a tuple of results.
        view: results share memory with the first input.
        differentiable: False if no gradient ever flows.
        ufunc: the NumPy function that the body calls on floating-point arrays; large ones then go to
            its generated form (kernels/fused/elementwise.py).
        update: changes a large array in place as the body would; a ufunc has that by itself.
    """

    def define(fn):
        names = tuple(returns) if returns else None
        op = Operator(
            fn, promote, return_type(fn.__name__, names, space) if names else None, view,
            differentiable, name, space,
        )  # fmt: skip
        op.ufunc, op.update = ufunc, update
        if ufunc is not None and update is None:
            op.update = partial(updates.update, ufunc)
        op.general = general(op)
        two_operands = op.tensors == 2 == len(op.parameters) and promote and not any(op.optional)
        if op.parameters == ("input",) and op.tensors == 1 and not op.view and not op.returns:
            call = unary(op)
        elif two_operands:
            call = binary(op)
        else:
            call = op.general
        op.call = call
        call.__name__ = fn.__name__
        call.__qualname__ = fn.__name__
        call.__doc__ = fn.__doc__
        call.__module__ = fn.__module__
        call.__wrapped__ = fn
        call.op = op
        call.vjp = op.vjp
        call.vjps = op.vjps
        call.on = _duck(op, call)
        REGISTRY[f"{space}.{op.name}" if space else op.name] = op
        for each in _method_names(op.name, method):
            as_dunder = two_operands and each.startswith("__")
            publish_method(each, binary(op, dunder=True) if as_dunder else call)
        if inplace:
            call.inplace = in_place_call(op)
            if method:
                publish_method(op.name + "_", call.inplace)
        OPERATORS.append(op)
        for watch in watchers:
            watch(op)
        return call

    return define if fn is None else define(fn)


def _method_names(name, method):
    if method is True:
        return (name,)
    if not method:
        return ()
    return (method,) if isinstance(method, str) else method


def _duck(op, call):
    """The operator for use inside rules: runs its body on arrays, records on Tensors."""
    fn = getattr(op.fn, "ufunc", op.fn)

    def use(function):
        nonlocal fn
        fn = function

    op.users.append(use)

    def on(*args, **kwargs):
        first = args[0]
        if op.is_list:
            first = first[0]
        for each in args if first.__class__ is _ndarray else (first, *args):
            if isinstance(each, Tensor):
                return call(*[_lift(op, i, each) for i, each in enumerate(args)], **kwargs)
        return fn(*args, **kwargs)

    return on


def _lift(op, position, value):
    """A saved array among Tensors becomes a Tensor too."""
    if position < op.tensors and is_array(value):
        return wrap(value)
    return value


def composite(fn=None, *, method=False):
    """Publish a plain function over Tensors, also as a method (`method=True`, or other names)."""

    def define(fn):
        for each in _method_names(fn.__name__, method):
            publish_method(each, fn)
        return fn

    return define if fn is None else define(fn)


__all__ += [
    "NUMBERS", "cast_scalar", "dimension_error", "result_numpy_dtype", "return_type", "scalar_name",
    "write_out",
]  # fmt: skip


def elementwise(
    name, ufunc, doc, rule=None, *, promote="float", inplace=True, aliases=(), node=None
):
    """Define an operator of one input whose body is a NumPy ufunc (called as such: no Python frame in between).

    CuPy's and danlu's traced arrays answer to NumPy's ufuncs through `__array_ufunc__`."""

    def body(input: Array):
        return ufunc(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    body.__module__ = "danlu"
    body.ufunc = ufunc
    op = operator(
        promote=promote, inplace=inplace, differentiable=rule is not None, name=node,
        ufunc=ufunc if isinstance(ufunc, np.ufunc) else None,
    )(body)  # fmt: skip
    if rule is not None:
        op.vjp(rule)
    for alias in aliases:
        publish_method(alias, op)
        if inplace:
            publish_method(alias + "_", op.inplace)
    return op


__all__ += ["elementwise"]
