"""The public functions of operators: what happens between a Tensor going in and a Tensor coming out.

Three shapes of them share the work by how much they must look at: one tensor, two operands, anything. These are the
hottest lines of danlu: measure `benchmarks/run.py --only 'add|ring'` before and after any change."""

from __future__ import annotations

import numpy as np

from danlu.autograd.grad_mode import state
from danlu.backend import conversions, dtypes
from danlu.kernels.fused.elementwise import call as on_all_threads
from danlu.ops.messages import not_tensor, scalar_name, translated
from danlu.ops.promotion import promoted_arrays
from danlu.tensor import Tensor, wrap

__all__ = ["LARGE", "NUMBERS", "arrays_of", "binary", "fixes", "general", "unary", "write_out"]

NUMBERS = frozenset((float, int, bool, complex))
# Elements from which on a function of NumPy's is looked up among the generated ones.
LARGE = 1 << 15
_ndarray = np.ndarray


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


def unary(op):
    fn = getattr(op.fn, "ufunc", op.fn)
    to_float = op.to_float
    differentiable = op.differentiable
    only = (True,)

    def call(input, *, out=None):
        try:
            array = input._array
        except AttributeError:
            raise not_tensor(op, 0, input) from None
        original = array
        if to_float and array.dtype.kind in "biu":
            array = array.astype(dtypes.get_default_dtype().numpy)
        try:
            if array.size < LARGE or op.ufunc is None or array.dtype.kind != "f":
                result = fn(array)
            else:
                result = on_all_threads(op.ufunc, array)
        except TypeError as error:
            raise translated(op, (array,), error) from None
        if result.__class__ is not _ndarray:
            result = conversions.as_array(result)
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

    def use(function):
        nonlocal fn
        fn = function

    op.users.append(use)
    return call


def binary(op, dunder=False):
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
            try:
                if a.size < LARGE or op.ufunc is None:
                    result = fn(a, b)
                else:
                    result = on_all_threads(op.ufunc, a, b)
            except TypeError as error:
                raise translated(op, (a, b), error) from None
        elif a.dtype is b.dtype and not (to_float and a.dtype.kind in "biu"):
            try:
                if a.size < LARGE or op.ufunc is None or a.dtype.kind != "f":
                    result = fn(a, b)
                else:
                    result = on_all_threads(op.ufunc, a, b)
            except (ValueError, TypeError) as error:
                raise translated(op, (a, b), error) from None
        else:
            return general(input, other, out=out)
        if result.__class__ is not _ndarray:
            result = conversions.as_array(result)
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
                node = op.record(needs, (input, other), (a, b), (), result, (made._writes,))
                if b is not other and a.shape != b.shape:
                    node.fix = [(a.shape, None), (b.shape, None)]
                made._edge = (node, 0)
                made._requires_grad = True
        return made if out is None else write_out(out, made)

    def use(function):
        nonlocal fn
        fn = function

    general = op.general
    op.users.append(use)
    return call


def arrays_of(op, tensors):
    """The arrays of an operator's tensors where some are None or numbers, and the tensors that can be recorded."""
    arrays, tracked = [], []
    for i, t in enumerate(tensors):
        if isinstance(t, Tensor):
            arrays.append(t._array)
            tracked.append(t)
            continue
        if isinstance(t, (np.number, np.bool_)):
            t = t.item()
        if (t is None and not op.is_list and op.optional[i]) or (
            op.promote and t.__class__ in NUMBERS
        ):
            arrays.append(t)
            tracked.append(None)
        else:
            raise not_tensor(op, 0 if op.is_list else i, t)
    return arrays, tracked


def general(op):
    fn = op.fn
    count = op.tensors
    promote = op.promote
    returns = op.returns
    tails = op.tails
    is_list = op.is_list
    differentiable = op.differentiable
    is_view = op.view
    may_lack = True in op.optional
    required = [i for i, optional in enumerate(op.optional) if not optional]

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
            if may_lack:
                arrays = [None if t is None else t._array for t in tensors]
                for i in required:
                    if arrays[i] is None:
                        raise not_tensor(op, i, None)
            else:
                arrays = [t._array for t in tensors]
        except AttributeError:
            arrays, tensors = arrays_of(op, tensors)
        originals = arrays
        if promote is not None:
            arrays = promoted_arrays(arrays, op.to_float)
        try:
            result = fn(arrays, *params) if is_list else fn(*arrays, *params)
        except (ValueError, TypeError) as error:
            raise translated(op, arrays, error) from None
        if result.__class__ is _ndarray:
            made = wrap(result)
            many = False
        elif result.__class__ is tuple or result.__class__ is list:
            result = tuple(
                [
                    each if each.__class__ is _ndarray else conversions.as_array(each)
                    for each in result
                ]
            )
            made = tuple([wrap(each) for each in result])
            many = True
        else:
            result = conversions.as_array(result)
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
                    node = op.record(
                        needs, tensors, arrays, params, result, [t._writes for t in made]
                    )
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

    def use(function):
        nonlocal fn
        fn = function

    quick = len(op.parameters) > 2 or not promote  # others come here with what is not quick
    (op.users if quick else op.plain_users).append(use)
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
