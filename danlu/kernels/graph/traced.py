"""Arrays that record: NumPy code runs on them and leaves a graph behind.

A `Traced` array answers to NumPy's operators, ufuncs, methods and the functions of
`graph.functions` through the protocols NumPy has for that. Functions without a graph become calls
(`graph.calls`); what needs a value (`if x:`, `float(x)`) raises `Unsupported`: the caller then runs
NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from math import prod
from weakref import ref

import numpy as np

from danlu.kernels.graph import operations
from danlu.kernels.graph.nodes import (
    Graph,
    Node,
    Slot,
    Unsupported,
    View,
    dense,
    dtype_name,
    number_of,
)

__all__ = [
    "Traced", "apply", "convert", "lift", "reduce", "reshape", "trace", "transpose",
]  # fmt: skip

_FLOAT64 = np.dtype(np.float64)
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
_ARITHMETIC = frozenset(("add", "subtract", "multiply", "divide", "power", "negative", "absolute"))
# methods of arrays whose namesakes among NumPy's functions do something else, or that need values
_WITHOUT_GRAPH = frozenset((
    "sort", "partition", "resize", "put", "fill", "dump", "dumps", "byteswap", "setfield", "tofile",
))  # fmt: skip


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the graph. `weak` marks a Python float, which takes the dtype of what it meets.

    Attributes:
        base: the array that this one is a view of, itself none; None for other arrays.
        steps: how the view gets from there to here; None where that is not known.
        layout: the strides in elements that NumPy gives the array, None where they are not known.
        family: references to all arrays that look at the same values; None for one alone.
    """

    __slots__ = (
        "__weakref__", "_node", "_seen", "_whole", "_writes", "base", "family", "graph", "layout", "steps", "weak",
    )  # fmt: skip

    def __init__(self, graph: Graph, node: Node, weak: bool = False, layout=None):
        self.graph, self._node, self.weak = graph, node, weak
        self.layout = node.info.strides if node.op == "leaf" else layout
        self.base: Traced | None = None
        self.steps: tuple[Step, ...] | None = ()
        # how often the base was written to, and when this view was last brought up to date
        self._writes = self._seen = 0
        # of an argument of which parts were written: all of it
        self._whole: Node | None = None
        self.family: list[ref[Traced]] | None = None

    # ------------------------------------------------------------------ what arrays know
    @property
    def node(self) -> Node:
        """The values that the array holds here."""
        node = self._node
        if self.base is None and node.op != "leaf":
            return node
        return views.present(self)

    @property
    def relatives(self) -> Iterator[Traced]:
        """All living arrays that look at the same values, itself among them."""
        for each in self.family or [ref(self)]:
            array = each()
            if array is not None:
                yield array

    @property
    def _in_argument(self) -> bool:
        """Whether the array is an argument or looks at a part of one."""
        return self._node.op == "leaf" and self._node.info.slot.kind == "argument"

    @property
    def ordered(self) -> bool:
        """Whether the elements are known to lie in C order, as NumPy has them."""
        return self.layout is not None and views.is_dense(self.shape, self.layout)

    @property
    def flags(self) -> Flags:
        return Flags(self.ordered)

    @property
    def strides(self) -> tuple[int, ...]:
        if self.layout is None:
            raise Unsupported("the strides of an intermediate result")
        return tuple(stride * self.itemsize for stride in self.layout)

    @property
    def shape(self):
        return self._node.shape

    @property
    def dtype(self):
        return self._node.dtype

    @property
    def ndim(self) -> int:
        return len(self._node.shape)

    @property
    def size(self) -> int:
        return prod(self._node.shape)

    @property
    def itemsize(self) -> int:
        return self._node.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def T(self) -> Traced:
        return self.transpose()

    def __len__(self) -> int:
        return self._node.shape[0]

    def __array_namespace__(self, api_version=None):
        return np

    def __bool__(self):
        raise Unsupported("a decision by value")

    __float__ = __int__ = __index__ = __complex__ = __bool__

    @property
    def __array_interface__(self):
        raise Unsupported("the address of an array")

    __hash__ = object.__hash__  # by identity: comparing makes arrays

    def __array__(self, dtype=None, copy=None):
        raise Unsupported("a traced array as a plain one")

    # ------------------------------------------------------------------ NumPy's protocols
    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        from danlu.kernels.graph import functions

        if method == "at":
            return functions.accumulate(self.graph, ufunc, *inputs)
        if out is None:
            return functions.call_ufunc(self.graph, ufunc, method, inputs, kwargs)
        where = kwargs.pop("where", True)
        kwargs.pop("casting", None)  # assigning casts
        result = functions.call_ufunc(self.graph, ufunc, method, inputs, kwargs)
        if where is not True:  # elsewhere the output stays what it is
            result = np.where(where, result, out[0])
        return _written(out, result)

    def __array_function__(self, function, types, args, kwargs):
        from danlu.kernels.graph import functions

        return functions.call_function(self.graph, function, args, kwargs)

    def __getattr__(self, name):
        """Methods of arrays that are NumPy's functions of the same name."""
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"arrays have no attribute {name!r}")
        function = None if name in _WITHOUT_GRAPH else getattr(np, name, None)
        if function is None:
            raise Unsupported(f"{name} of an array")
        return function(self) if name in ("real", "imag") else partial(function, self)

    def record(self, name, *others):
        """A function of kernels/fused/functions.py, as one operation."""
        from danlu.kernels.graph import functions

        return functions.special(name, self, *others)

    # ------------------------------------------------------------------ methods of arrays
    def sum(self, axis=None, dtype=None, out=None, keepdims=False, **options):
        return self._reduced(np.add, axis, out, keepdims, dtype=dtype, **options)

    def prod(self, axis=None, dtype=None, out=None, keepdims=False, **options):
        return self._reduced(np.multiply, axis, out, keepdims, dtype=dtype, **options)

    def max(self, axis=None, out=None, keepdims=False, **options):
        return self._reduced(np.maximum, axis, out, keepdims, **options)

    def min(self, axis=None, out=None, keepdims=False, **options):
        return self._reduced(np.minimum, axis, out, keepdims, **options)

    def _reduced(self, ufunc, axis, out, keepdims, **options):
        from danlu.kernels.graph import functions

        if out is not None:
            raise Unsupported(f"{ufunc.__name__} with an output")
        options |= {"axis": axis, "keepdims": keepdims}
        return functions.call_ufunc(self.graph, ufunc, "reduce", (self,), options)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        if dtype is None and self.dtype.kind in "biu":
            dtype = _FLOAT64
        total = self.sum(axis, dtype, out, keepdims)
        return total / total.dtype.type(self.size // total.size)

    def astype(self, dtype, copy=True):
        if not copy and self.dtype == dtype:
            return self
        node = convert(self.graph, self.node, np.dtype(dtype))
        if node.op == "leaf":
            node = self.graph.map("copy", node.dtype, node)
        return Traced(self.graph, node, layout=dense(self.shape) if self.ordered else None)

    def copy(self, order="K"):
        node = self.graph.map("copy", self.dtype, self.node)
        if order == "C" and self.layout is None:  # asked for where NumPy may find it needless
            made = views.opaque(self, node)
            made.layout = dense(self.shape)
            return made
        ordered = self.ordered or order == "C"
        return Traced(self.graph, node, layout=dense(self.shape) if ordered else None)

    def reshape(self, *shape, copy=None):
        shape = shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape
        return reshape(self, tuple(shape) if not isinstance(shape, int) else (shape,), copy)

    def view(self, dtype=None):
        if dtype is not None and self.dtype != dtype:
            raise Unsupported(f"{self.dtype.name} read as {np.dtype(dtype).name}")
        return self

    def flatten(self):
        return self.reshape(-1).copy()

    def squeeze(self, axis=None):
        return self.look_at(View(f"squeeze {axis}", lambda x: np.squeeze(x, axis)))

    def transpose(self, *axes):
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        axes = tuple(axes) if axes else tuple(reversed(range(self.ndim)))
        return transpose(self, axes)

    def swapaxes(self, first, second):
        return np.swapaxes(self, first, second)

    def __getitem__(self, index):
        if _has_arrays(index):
            from danlu.kernels.graph import indexing

            return indexing.picked(self, index)
        return self.look_at(_item(index))

    def __setitem__(self, index, value):
        from danlu.kernels.graph import indexing

        value = lift(self.graph, value)
        if index is Ellipsis:
            views.assign(self, value)
        elif not _has_arrays(index):
            views.assign(self.look_at(_item(index)), value)
        else:
            views.assign(self, indexing.updated(self, index, value))

    def look_at(self, view: View) -> Traced:
        """A view, of which leaves know the strides."""
        return views.looked(self, Step("view", view))


class Flags:
    """What is known of an array's memory."""

    def __init__(self, c_contiguous: bool):
        self.c_contiguous, self.writeable = c_contiguous, True


def _has_arrays(index) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(each, (Traced, np.ndarray, list)) for each in parts)


def _item(index) -> View:
    """`x[index]` with a basic index."""
    parts = index if isinstance(index, tuple) else (index,)
    # with an Ellipsis, one element is a view as well, and no number
    parts = parts if Ellipsis in parts else (*parts, Ellipsis)
    return View(f"item {parts}", lambda x: x[parts])


def trace(function, arguments):
    """Run a function on traced arguments.

    Args:
        arguments: arrays and floats become values of the graph, anything else stays what it is.

    Returns:
        The graph, and what the function returned (Traced, a tuple of them, None).

    Raises:
        Unsupported: it did something that has no graph.
    """
    graph = Graph()
    traced: list = []
    for number, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            traced.append(Traced(graph, graph.leaf(argument, Slot("argument", number))))
        elif type(argument) is float:
            node = graph.make("scalar", (), _FLOAT64, (), number)
            traced.append(Traced(graph, node, weak=True))
        else:
            traced.append(argument)
    return graph, function(*traced)


def _written(out, result):
    """`ufunc(..., out=out)`."""
    if len(out) != 1 or not isinstance(out[0], Traced) or result.shape != out[0].shape:
        raise Unsupported("an output of another shape")
    return views.assign(out[0], result)


# ------------------------------------------------------------------------------ building nodes
def lift(graph: Graph, value) -> Traced:
    """Anything NumPy takes as an operand as a traced array."""
    if isinstance(value, Traced):
        if value.graph is not graph:
            raise Unsupported("arrays of two traces")
        return value
    if type(value) is float:
        return Traced(graph, graph.constant(value, _FLOAT64), weak=True)
    if isinstance(value, np.ndarray):
        return Traced(graph, _captured(graph, value))
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "biuf":
        raise Unsupported(f"an operand of type {type(value).__name__}")
    weak = type(value) in (int, bool)
    return Traced(graph, graph.constant(array[()], array.dtype), weak=weak)


def _captured(graph, array):
    """An array that the code got from elsewhere: `np.arange` is counted, others are kept."""
    if array.ndim == 0:
        return graph.constant(array[()], array.dtype)
    longest = max(array.shape)
    if array.dtype.kind in "iu" and array.size == longest:
        axis = array.shape.index(longest)
        if np.array_equal(array.reshape(-1), np.arange(longest)):
            return graph.make("iota", (), array.dtype, array.shape, axis)
    if _is_one_number(array):
        number = graph.constant(array.reshape(-1)[0], array.dtype)
        return graph.make("copy", (number,), array.dtype, array.shape)
    if array.flags.writeable:  # the trace keeps what it holds now
        array = array.copy(order="K")
    graph.arrays.append(array)
    return graph.leaf(array, Slot("array", len(graph.arrays) - 1))


def _is_one_number(array) -> bool:
    """Whether all elements are equal to the last bit, as of zeros and ones."""
    if array.size == 0 or array.dtype.kind not in "biufV" or array.itemsize > 8:
        return False
    bits = array if array.dtype.kind in "biu" else array.view(f"u{array.itemsize}")
    return bool((bits == bits[(0,) * bits.ndim]).all())


def convert(graph: Graph, node: Node, dtype: np.dtype) -> Node:
    """`astype`; numbers are converted now."""
    if node.dtype == dtype:
        return node
    if node.op == "constant":
        return graph.constant(number_of(node), dtype)
    try:
        operations.check("convert", dtype_name(dtype), (dtype_name(node.dtype),))
    except Unsupported:
        from danlu.kernels.graph.calls import call_out

        return call_out(graph, np.astype, (Traced(graph, node), dtype), {}).node
    return graph.make("convert", (node,), dtype, node.shape)


def _weak_type(operand: Traced):
    """What NumPy's promotion sees: a dtype, or the type of a Python number."""
    if not operand.weak:
        return operand.dtype
    return {"f": float, "i": int, "b": bool}[operand.dtype.kind]


def apply(graph: Graph, ufunc, inputs) -> Traced:
    """A ufunc called on operands of which at least one is traced, inside the loops.

    Raises:
        Unsupported: it cannot be generated.
    """
    operands = [lift(graph, each) for each in inputs]
    name = ufunc.__name__
    *types, result = _typed(ufunc, tuple([_weak_type(each) for each in operands]))
    nodes = [convert(graph, each.node, dtype) for each, dtype in zip(operands, types)]
    # arithmetic of Python floats gives Python floats; functions of them give NumPy's
    weak = name in _ARITHMETIC and all(each.weak for each in operands)
    node = graph.map(name, result, *nodes)
    ordered = all(not each._node.shape or each.ordered for each in operands)
    return Traced(graph, node, weak, dense(node.shape) if ordered else None)


@cache
def _typed(ufunc, kinds) -> tuple:
    """The dtypes that a ufunc computes with on operands of these kinds, and that of its result:
    what it takes to find them is most of the time of a trace.

    Raises:
        Unsupported: it cannot be generated.
    """
    name = ufunc.__name__
    if ufunc.nout != 1 or ufunc.signature is not None:
        raise Unsupported(name)
    if all(isinstance(kind, type) for kind in kinds):  # arithmetic of Python floats
        types = (_FLOAT64,) * (len(kinds) + 1)
        if ufunc.resolve_dtypes((*types[1:], None))[-1] != _FLOAT64:
            raise Unsupported(f"{name} of Python floats")
    else:
        try:
            types = ufunc.resolve_dtypes((*kinds, None))
        except TypeError as error:
            raise Unsupported(str(error)) from None
    *inputs, result = types
    operations.check(name, dtype_name(result), tuple(map(dtype_name, inputs)))
    return types


def reduce(
    graph, name, operand, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True
) -> Traced:
    """`ufunc.reduce` inside the loops.

    Raises:
        Unsupported: it cannot be generated.
    """
    if out is not None or where is not True or initial is not None or name not in _REDUCTIONS:
        raise Unsupported(f"{name}.reduce with out, initial or where")
    kind = _REDUCTIONS[name]
    node = operand.node
    axes = tuple(range(operand.ndim)) if axis is None else axis
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    axes = tuple(sorted(each % operand.ndim for each in axes))
    if kind in ("sum", "prod"):
        if dtype is None and node.dtype.kind in "biu":
            dtype = np.uint64 if node.dtype.kind == "u" else np.int64
        if dtype is not None:
            node = convert(graph, node, np.dtype(dtype))
    operations.check("copy", dtype_name(node.dtype), ())
    kept = tuple(1 if i in axes else size for i, size in enumerate(operand.shape))
    # an axis of length 1 has nothing to reduce
    wide = tuple(each for each in axes if operand.shape[each] != 1)
    if wide:
        node = graph.make("reduce", (node,), node.dtype, kept, (kind, wide))
    elif node.op == "leaf":  # the result is no view
        node = graph.map("copy", node.dtype, node)
    result = Traced(graph, node, layout=dense(kept) if operand.ordered else None)
    if keepdims:
        return result
    shape = tuple(size for i, size in enumerate(operand.shape) if i not in axes)
    return reshape(result, shape)


def reshape(x: Traced, shape, copy=None) -> Traced:
    """`x.reshape(shape)` without a copy in between.

    Args:
        copy: False where the result is sure to share memory.
    """
    if -1 in shape:
        known = -prod(shape)
        if not known:
            raise Unsupported(f"reshape of {x.shape} to {shape}")
        shape = tuple(x.size // known if size == -1 else size for size in shape)
    if prod(shape) != x.size:
        raise Unsupported(f"reshape of {x.shape} to {shape}")
    if shape == x.shape:
        return x
    return views.looked(x, Step("reshape", shape), is_view=copy is False)


def transpose(x: Traced, axes) -> Traced:
    """`np.transpose(x, axes)`."""
    return views.looked(x, Step("transpose", tuple(axis % x.ndim for axis in axes)))


from danlu.kernels.graph import views  # noqa: E402 - its functions take Traced arrays
from danlu.kernels.graph.views import Step  # noqa: E402
