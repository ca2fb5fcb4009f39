"""How an operator is written once: forward and derivative over arrays; everything else follows.

`@operator` turns a function over arrays into the public function over Tensors, the method, the in-place method and
the tape's node. See docs/internals.md for what a definition may say."""

from __future__ import annotations

from types import FunctionType

import numpy as np

from danlu.autograd import anomaly
from danlu.autograd import engine as engine  # publishes Tensor.backward
from danlu.autograd.grad_mode import state
from danlu.autograd.node import LEAF, sequence
from danlu.backend import dtypes
from danlu.ops.promotion import cast_scalar, promoted_arrays, result_numpy_dtype
from danlu.ops.rules import Plan, node_class
from danlu.tensor import SHARED_ELEMENTS, Tensor, check_writable, publish_method, rebase_history, wrap

__all__ = ["REGISTRY", "Array", "Arrays", "Operator", "composite", "ns", "operator"]

REGISTRY: dict[str, Operator] = {}
NUMBERS = frozenset((float, int, bool, complex))

# Annotations of an operator's tensor parameters; they say nothing more than that.
Array = np.ndarray
Arrays = tuple

_new = Tensor.__new__
_ndarray = np.ndarray


def ns(x):
    """The namespace of numeric functions for `x`: NumPy's for arrays, danlu's operators for Tensors."""
    if x.__class__ is _ndarray:
        return np
    return x.__array_namespace__()


def _all_positional(fn):
    """The same function with its keyword-only parameters as positional ones: calls inside danlu pass all by position."""
    code = fn.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = fn.__kwdefaults__ or {}
    twin = FunctionType(
        code.replace(
            co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0
        ),
        fn.__globals__, fn.__name__,
        (*(fn.__defaults__ or ()), *[defaults[name] for name in names if name in defaults]),
        fn.__closure__,
    )  # fmt: skip
    return twin


class Operator:
    """All that is known of one operator. The public function carries it as its `.op`."""

    __slots__ = (
        "call", "defaults", "differentiable", "fn", "general", "is_list", "joint", "keyword_only",
        "name", "node", "node_name", "optional", "parameters", "per_input", "plans",
        "promote", "returns", "space", "tails", "tensors", "to_float", "view",
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
        if not {"out", "outs", "g", "needs"}.isdisjoint(self.parameters):
            raise TypeError(f"{self.name}: out, outs, g and needs mean something else in rules")
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
            raise TypeError(f"{self.name}() got an unexpected keyword argument '{next(iter(given))}'")
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


def _not_tensor(op, position, value):
    name = op.parameters[position]
    return TypeError(
        f"{op.name}(): argument '{name}' (position {position + 1}) must be Tensor, "
        f"not {type(value).__name__}"
    )


def fixes(arrays, originals):
    """What the engine must undo per input of a rule, whose gradients have the broadcast shape and the common dtype.

    Returns:
        None, or per input None or (shape before broadcasting or None, dtype before promotion or None).
    """
    shapes = [each.shape for each in originals if hasattr(each, "shape")]
    same_shape = shapes.count(shapes[0]) == len(shapes)
    if same_shape and arrays is originals:
        return None
    found = []
    for array, original in zip(arrays, originals):
        if not hasattr(original, "shape"):
            found.append(None)
            continue
        kind = None if original.dtype == array.dtype else original.dtype
        shape = None if same_shape else original.shape
        found.append(None if shape is None and kind is None else (shape, kind))
    return found


# ---------------------------------------------------------------- the three shapes of public functions
def _unary(op):
    fn = getattr(op.fn, "ufunc", op.fn)
    to_float = op.to_float
    differentiable = op.differentiable
    only = (True,)

    def call(input, *, out=None):
        try:
            array = input._array
        except AttributeError:
            raise _not_tensor(op, 0, input) from None
        original = array
        if to_float and array.dtype.kind in "biu":
            array = array.astype(dtypes.get_default_dtype().numpy)
        result = fn(array)
        if result.__class__ is not _ndarray:
            result = np.asarray(result)
        made = wrap(result)
        if differentiable:
            if input._view is not None:
                input._refresh()
            if input._requires_grad and state.grad and result.dtype.kind in "fcV":
                node = op.record(only, (input,), (array,), (), result, (made._writes,))
                if original is not array:
                    node.fix = fixes((array,), (original,))
                made._edge = (node, 0)
                made._requires_grad = True
        return made if out is None else write_out(out, made)

    return call


def _binary(op, dunder=False):
    """The public function, or Python's operator, which leaves operands it does not know to the other side."""
    fn = op.fn
    to_float = op.to_float
    differentiable = op.differentiable

    def call(input, other, *, out=None):
        try:
            a = input._array
            b = other if other.__class__ in NUMBERS else other._array
        except AttributeError:
            if dunder and not isinstance(other, (np.number, np.bool_, Tensor)):
                return NotImplemented
            return general(input, other, out=out)
        if b is other:
            kind = a.dtype.kind
            if kind != "f" or b.__class__ is complex:
                return general(input, other, out=out)
            result = fn(a, b)
        elif a.dtype is b.dtype and not (to_float and a.dtype.kind in "biu"):
            try:
                result = fn(a, b)
            except ValueError as error:
                raise _shape_error(a, b, error) from None
        else:
            return general(input, other, out=out)
        if result.__class__ is not _ndarray:
            result = np.asarray(result)
        made = wrap(result)
        if differentiable:
            if input._view is not None:
                input._refresh()
            if b is other:
                needs = (input._requires_grad, False)
            else:
                if other._view is not None:
                    other._refresh()
                needs = (input._requires_grad, other._requires_grad)
            if (needs[0] or needs[1]) and state.grad:
                node = op.record(
                    needs, (input, other), (a, b), (), result, (made._writes,)
                )
                if b is not other and a.shape != b.shape:
                    node.fix = [(a.shape, None), (b.shape, None)]
                made._edge = (node, 0)
                made._requires_grad = True
        return made if out is None else write_out(out, made)

    general = op.general
    return call


def _shape_error(a, b, error):
    """PyTorch's words for operands that do not broadcast."""
    if "broadcast" not in str(error):
        return error
    for back in range(1, min(a.ndim, b.ndim) + 1):
        m, n = a.shape[-back], b.shape[-back]
        if m != n and m != 1 and n != 1:
            at = max(a.ndim, b.ndim) - back
            return RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton "
                f"dimension {at}: their shapes are {list(a.shape)} and {list(b.shape)}"
            )
    return RuntimeError(str(error))


def _translated(op, arrays, error):
    """NumPy's complaint about shapes or axes, in PyTorch's type and words."""
    if isinstance(error, np.exceptions.AxisError):
        return dimension_error(error.axis, error.ndim)
    if op.promote is not None and len(arrays) == 2 and all(hasattr(a, "shape") for a in arrays):
        return _shape_error(*arrays, error)
    return error


def dimension_error(dim: int, ndim: int) -> IndexError:
    """The error for a dimension that a tensor does not have."""
    most = max(ndim, 1)
    return IndexError(
        f"Dimension out of range (expected to be in range of [{-most}, {most - 1}], but got {dim})"
    )


def _arrays_of(op, tensors):
    """The arrays of an operator's tensors where some are None or numbers, and the tensors that can be recorded."""
    arrays, tracked = [], []
    for i, t in enumerate(tensors):
        if isinstance(t, Tensor):
            arrays.append(t._array)
            tracked.append(t)
            continue
        if isinstance(t, (np.number, np.bool_)):
            t = t.item()
        if t is None and not op.is_list and op.optional[i] or op.promote and t.__class__ in NUMBERS:
            arrays.append(t)
            tracked.append(None)
        else:
            raise _not_tensor(op, 0 if op.is_list else i, t)
    return arrays, tracked


def _general(op):
    fn = op.fn
    count = op.tensors
    promote = op.promote
    returns = op.returns
    tails = op.tails
    is_list = op.is_list
    differentiable = op.differentiable
    is_view = op.view

    def call(*args, **kwargs):
        out = None
        if kwargs or len(args) not in tails:
            args, out = op.bind(args, kwargs)
        else:
            args += tails[len(args)]
        if is_list:
            tensors = tuple(args[0])
            params = args[1:]
        else:
            tensors = args[:count]
            params = args[count:]
        try:
            arrays = [t._array for t in tensors]
        except AttributeError:
            arrays, tensors = _arrays_of(op, tensors)
        originals = arrays
        if promote is not None:
            arrays = promoted_arrays(arrays, op.to_float)
        try:
            result = fn(arrays, *params) if is_list else fn(*arrays, *params)
        except ValueError as error:
            raise _translated(op, arrays, error) from None
        if result.__class__ is _ndarray:
            made = wrap(result)
            many = False
        elif result.__class__ is tuple or result.__class__ is list:
            result = tuple([each if each.__class__ is _ndarray else np.asarray(each) for each in result])
            made = tuple([wrap(each) for each in result])
            many = True
        else:
            result = np.asarray(result)
            made = wrap(result)
            many = False
        if is_view:
            _mark_views(made if many else (made,), tensors[0])
        if differentiable and state.grad:
            needs = tuple(
                [
                    t is not None and (t._requires_grad if t._view is None else t.requires_grad)
                    for t in tensors
                ]
            )
            if True in needs:
                if many:
                    outs = made
                    node = op.record(needs, tensors, arrays, params, result, [t._writes for t in made])
                    node.outputs = len(made)
                else:
                    outs = (made,)
                    node = op.record(needs, tensors, arrays, params, result, (made._writes,))
                if promote is not None:
                    node.fix = fixes(arrays, originals)
                for number, each in enumerate(outs):
                    if each._array.dtype.kind in "fcV":
                        each._edge = (node, number)
                        each._requires_grad = True
        if many and returns is not None:
            made = returns(made)
        return made if out is None else write_out(out, made)

    return call


def _mark_views(made, base):
    """Results that share memory with the input share its version and remember their base."""
    for each in made:
        array, source = each._array, base._array
        owner = array.base
        if array is source or (owner is not None and (owner is source or owner is source.base)):
            each._writes = base._writes
            each._view = base if base._view is None else base._view
            each._generation = base._writes[1]


def write_out(out, made):
    """Write results into the tensors given as `out=`, resizing them as PyTorch does.

    Raises:
        RuntimeError: the result cannot be cast to out's dtype, or gradients are being recorded.
    """
    if made.__class__ is not Tensor:
        if len(out) != len(made):
            raise TypeError(f"out= takes {len(made)} tensors, got {len(out)}")
        pairs = [write_out(*pair) for pair in zip(out, made)]
        return type(made)(pairs)
    if out.__class__ is tuple and len(out) == 1:
        out = out[0]
    if state.grad and (made._requires_grad or out._requires_grad):
        raise RuntimeError(
            "out=... arguments don't support automatic differentiation, but one of the arguments requires "
            "grad. Assign the result instead, or call under torch.no_grad()."
        )
    if not dtypes.can_cast(made.dtype, out.dtype):
        raise RuntimeError(
            f"result type {scalar_name(made.dtype)} can't be cast to the desired output type "
            f"{scalar_name(out.dtype)}"
        )
    if out._array.shape == made._array.shape:
        np.copyto(out._array, made._array, casting="unsafe")
    else:
        out._array = made._array.astype(out._array.dtype)
    out._writes[0] += 1
    return out


_SCALAR_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


def scalar_name(kind) -> str:
    """The word PyTorch's messages use for a dtype: Float, Long, ..."""
    return _SCALAR_NAMES.get(kind.name, kind.name.title())


# ---------------------------------------------------------------- in place
def _kept(written, arrays, tensors, with_first):
    """The inputs of an in-place call, with copies of those that the write will change, each in its place of the graph."""
    arrays, tensors = list(arrays), list(tensors)
    for i, tensor in enumerate(tensors):
        if tensor is None or tensor._writes is not written._writes or not (i or with_first):
            continue
        if arrays[i] is tensor._array:
            arrays[i] = arrays[i].copy()
        stand_in = wrap(arrays[i])
        stand_in._edge = tensor._edge or (tensor, LEAF)
        tensors[i] = stand_in
    return arrays, tensors


def _is_weak(array, number) -> bool:
    """Whether NumPy's operators take this number without changing the array's dtype."""
    return array.dtype.kind == "f" and number.__class__ in (float, int)


def _inplace(op, call):
    fn = op.fn
    promote = op.promote
    tails = op.tails

    def call_inplace(self, *args, **kwargs):
        try:
            target = self._array
        except AttributeError:
            raise _not_tensor(op, 0, self) from None
        recording = state.grad
        if recording:
            check_writable(self)
        if not kwargs and len(args) + 1 in tails:
            values = (self, *args, *tails[len(args) + 1])
        else:
            values, _ = op.bind((self, *args), kwargs)
        originals, tracked = _arrays_of(op, values[: op.tensors])
        params = values[op.tensors :]
        needs = (False,)
        if recording and op.differentiable:
            needs = tuple([t is not None and t.requires_grad for t in tracked])
        if promote and not (len(originals) == 2 and _is_weak(target, originals[1])):
            arrays = promoted_arrays(originals, op.to_float)
        else:
            arrays = originals
        record = True in needs
        if record and op.plan(needs).saves_arrays:
            arrays, tracked = _kept(self, arrays, tracked, op.plan(needs).saves_first)
        try:
            result = fn(*arrays, *params)
        except ValueError as error:
            raise _translated(op, arrays, error) from None
        if result.shape != target.shape:
            raise RuntimeError(
                f"output with shape {list(target.shape)} doesn't match the broadcast shape "
                f"{list(result.shape)}"
            )
        if result.dtype is not target.dtype:
            kind = dtypes.of_array(result)
            if not dtypes.can_cast(kind, self.dtype):
                raise RuntimeError(
                    f"result type {scalar_name(kind)} can't be cast to the desired output type "
                    f"{scalar_name(self.dtype)}"
                )
        try:
            np.copyto(target, result, casting="unsafe")
        except ValueError:
            raise RuntimeError(SHARED_ELEMENTS) from None
        self._writes[0] += 1
        if record:
            node = op.record(needs, tracked, arrays, params, target, (self._writes,))
            if promote is not None:
                node.fix = fixes(arrays, originals)
            rebase_history(self, node)
        return self

    call_inplace.__name__ = op.name + "_"
    call_inplace.__qualname__ = f"Tensor.{op.name}_"
    call_inplace.__doc__ = f"In-place version of `{op.name}`: writes the result into this tensor."
    return call_inplace


# ---------------------------------------------------------------- the decorators
def operator(
    fn=None, *, promote=None, inplace=False, method=True, space="", name=None, returns=None,
    view=False, differentiable=True,
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
    """

    def define(fn):
        names = tuple(returns) if returns else None
        op = Operator(
            fn, promote, return_type(fn.__name__, names, space) if names else None, view,
            differentiable, name, space,
        )  # fmt: skip
        op.general = _general(op)
        two_operands = op.tensors == 2 == len(op.parameters) and promote and not any(op.optional)
        if op.parameters == ("input",) and op.tensors == 1 and not op.view and not op.returns:
            call = _unary(op)
        elif two_operands:
            call = _binary(op)
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
            publish_method(each, _binary(op, dunder=True) if as_dunder else call)
        if inplace:
            publish_method(op.name + "_", _inplace(op, call))
            call.inplace = getattr(Tensor, op.name + "_")
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
    fn = op.fn

    def on(*args, **kwargs):
        first = args[0]
        if op.is_list:
            first = first[0]
        if isinstance(first, Tensor) or any(isinstance(each, Tensor) for each in args):
            return call(*[_lift(op, i, each) for i, each in enumerate(args)], **kwargs)
        return fn(*args, **kwargs)

    return on


def _lift(op, position, value):
    """A saved array among Tensors becomes a Tensor too."""
    if position < op.tensors and isinstance(value, np.ndarray):
        return wrap(value)
    return value


def composite(fn=None, *, method=False, inplace=False):
    """Publish a plain function over Tensors, also as a method (`method=True`, or other names)."""

    def define(fn):
        for each in _method_names(fn.__name__, method):
            publish_method(each, fn)
        return fn

    return define if fn is None else define(fn)


class _ReturnType(tuple):
    """A tuple of results with names, printed as PyTorch's return types."""

    __slots__ = ()
    _fields: tuple = ()
    _title = ""

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"torch.return_types.{self._title}(\n{fields})"

    def __reduce__(self):
        return (tuple, (tuple(self),))


def return_type(title: str, names: tuple, space: str = ""):
    """The named-tuple type that `title` returns, with fields `names`."""
    from operator import itemgetter

    title = f"{space}_{title}" if space else title
    body = {"__slots__": (), "_fields": names, "_title": title, "__module__": "torch.return_types"}
    body.update({name: property(itemgetter(i)) for i, name in enumerate(names)})
    return type(title, (_ReturnType,), body)


__all__ += [
    "NUMBERS", "cast_scalar", "dimension_error", "result_numpy_dtype", "return_type", "scalar_name",
    "write_out",
]  # fmt: skip


def elementwise(name, ufunc, doc, rule=None, *, promote="float", inplace=True, aliases=(), node=None):
    """Define an operator of one input whose body is a NumPy ufunc (called as such: no Python frame in between).

    CuPy's and danlu's traced arrays answer to NumPy's ufuncs through `__array_ufunc__`."""

    def body(input: Array):
        return ufunc(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    body.__module__ = "danlu"
    body.ufunc = ufunc
    op = operator(promote=promote, inplace=inplace, differentiable=rule is not None, name=node)(body)
    if rule is not None:
        op.vjp(rule)
    for alias in aliases:
        publish_method(alias, op)
        if inplace:
            publish_method(alias + "_", op.inplace)
    return op


__all__ += ["elementwise"]
