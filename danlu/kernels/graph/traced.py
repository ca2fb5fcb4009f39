"""Arrays that record: NumPy code runs on them and leaves a graph behind.

A `Traced` array answers to NumPy's operators, ufuncs, methods and the functions of
`graph.functions` through the protocols NumPy has for that. Whatever has no graph, and everything
that needs a value (`if x:`,
`float(x)`), raises `Unsupported`: the caller then runs NumPy.
"""

from __future__ import annotations

from math import prod
from weakref import WeakSet

import numpy as np

from danlu.kernels.graph.nodes import Graph, Node, Slot, Unsupported, number_of

__all__ = ["Traced", "lift", "trace"]

_FLOAT64 = np.dtype(np.float64)
_BOOL = np.dtype(np.bool_)
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the graph. `weak` marks a Python float, which takes the dtype of what it meets."""

    __slots__ = ("__weakref__", "graph", "home", "node", "relatives", "weak")

    def __init__(self, graph: Graph, node: Node, weak: bool = False):
        self.graph, self.node, self.weak = graph, node, weak
        # all living arrays that look at the same values
        self.relatives: WeakSet[Traced] = WeakSet((self,))
        self.home: Node | None = None  # the argument that its values are to be written to

    # ------------------------------------------------------------------ what arrays know
    @property
    def shape(self):
        return self.node.shape

    @property
    def dtype(self):
        return self.node.dtype

    @property
    def ndim(self) -> int:
        return len(self.node.shape)

    @property
    def size(self) -> int:
        return prod(self.node.shape)

    @property
    def T(self) -> Traced:
        return self.transpose()

    def __len__(self) -> int:
        return self.node.shape[0]

    def __array_namespace__(self, api_version=None):
        return np

    def __bool__(self):
        raise Unsupported("a decision by value")

    __float__ = __int__ = __index__ = __bool__

    __hash__ = object.__hash__  # by identity: comparing makes arrays

    def __array__(self, dtype=None, copy=None):
        raise Unsupported("a traced array as a plain one")

    # ------------------------------------------------------------------ NumPy's protocols
    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method == "reduce":
            return _reduce(self.graph, ufunc.__name__, *inputs, **kwargs)
        if method != "__call__" or kwargs or ufunc.nout != 1:
            raise Unsupported(f"{ufunc.__name__} with {method} {sorted(kwargs)}")
        if ufunc is np.matmul:
            return self.__array_function__(ufunc, (), inputs, {})
        result = apply(self.graph, ufunc, inputs)
        return result if out is None else _written(out[0], result)

    def __array_function__(self, function, types, args, kwargs):
        from danlu.kernels.graph import functions

        known = functions.KNOWN.get(function)
        if known is None:
            raise Unsupported(function.__name__)
        return known(self.graph, *args, **kwargs)

    def record(self, name, *others):
        """A function of kernels/fused/functions.py, as one operation."""
        from danlu.kernels.graph import functions

        return functions.special(name, self, *others)

    # ------------------------------------------------------------------ methods of arrays
    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return _reduce(self.graph, "add", self, axis, dtype, out, keepdims)

    def prod(self, axis=None, dtype=None, out=None, keepdims=False):
        return _reduce(self.graph, "multiply", self, axis, dtype, out, keepdims)

    def max(self, axis=None, out=None, keepdims=False):
        return _reduce(self.graph, "maximum", self, axis, None, out, keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return _reduce(self.graph, "minimum", self, axis, None, out, keepdims)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        if dtype is None and self.dtype.kind in "biu":
            dtype = _FLOAT64
        total = self.sum(axis, dtype, out, keepdims)
        return total / total.dtype.type(self.size // total.size)

    def astype(self, dtype, copy=True):
        return Traced(self.graph, convert(self.graph, self.node, np.dtype(dtype)))

    def copy(self):
        return Traced(self.graph, self.graph.map("copy", self.dtype, self.node))

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return reshape(self, tuple(shape) if not isinstance(shape, int) else (shape,))

    def squeeze(self, axis=None):
        return self._view("squeeze", lambda x: np.squeeze(x, axis))

    def transpose(self, *axes):
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        axes = tuple(axes) if axes else tuple(reversed(range(self.ndim)))
        return transpose(self, axes)

    def __getitem__(self, index):
        if isinstance(index, tuple) and any(isinstance(i, (Traced, np.ndarray)) for i in index):
            return _pick(self, index)
        if isinstance(index, (Traced, np.ndarray)):
            raise Unsupported("an array as an index")
        return self._view("item", lambda x: x[index], index)

    def __setitem__(self, index, value):
        if isinstance(index, tuple) and any(isinstance(i, (Traced, np.ndarray)) for i in index):
            self._assign(_placed(self, index, lift(self.graph, value)))
            return
        part = self if index is Ellipsis else self[index]
        if part is not self and part.node.op != "leaf":
            raise Unsupported("writing into a part of a computed array")
        part._assign(lift(self.graph, value))

    # ------------------------------------------------------------------ views and writes
    def _view(self, op, look, *info):
        """A view, of which leaves know the strides."""
        if self.node.op == "leaf":
            found = self.graph.view(self.node, look)
            if found is not None:
                return self._shares(found)
        anchor = np.broadcast_to(np.empty(1, dtype=np.int8), self.shape)
        part = look(anchor)
        unit = [size for size in part.shape if size != 1] == [
            size for size in self.shape if size != 1
        ]
        if unit:
            return reshape(self, part.shape)
        raise Unsupported(f"{op} of a computed array")

    def _shares(self, node):
        made = Traced(self.graph, node)
        made.relatives = self.relatives
        self.relatives.add(made)
        return made

    def _assign(self, value):
        """`self[...] = value`: what stands for the array from here on, and for an argument or a
        part of one, what its memory is to hold in the end."""
        node = convert(self.graph, value.node, self.dtype)
        if node.shape != self.shape:
            np.broadcast_shapes(node.shape, self.shape)
            node = self.graph.make("copy", (node,), self.dtype, self.shape)
        if self.weak or len(self.relatives) > 1:
            raise Unsupported("writing into an array that is looked at elsewhere")
        if self.node.op == "leaf":
            if self.node.info.slot.kind != "argument":
                raise Unsupported("writing into an array that is no argument")
            self.home = self.node
        if self.home is not None:
            self.graph.writes[self.home] = node
        self.node = node
        return self


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
    if not isinstance(out, Traced) or result.shape != out.shape:
        raise Unsupported("an output of another shape")
    return out._assign(result)


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
    graph.arrays.append(array)
    return graph.leaf(array, Slot("array", len(graph.arrays) - 1))


def convert(graph: Graph, node: Node, dtype: np.dtype) -> Node:
    """`astype`; numbers are converted now."""
    if node.dtype == dtype:
        return node
    if node.op == "constant":
        return graph.constant(number_of(node), dtype)
    return graph.make("convert", (node,), dtype, node.shape)


def _weak_type(operand: Traced):
    """What NumPy's promotion sees: a dtype, or the type of a Python number."""
    if not operand.weak:
        return operand.dtype
    return {"f": float, "i": int, "b": bool}[operand.dtype.kind]


def apply(graph: Graph, ufunc, inputs) -> Traced:
    """A ufunc called on operands of which at least one is traced."""
    operands = [lift(graph, each) for each in inputs]
    name = ufunc.__name__
    if all(each.weak for each in operands):  # arithmetic of Python floats
        nodes = [convert(graph, each.node, _FLOAT64) for each in operands]
        return Traced(graph, graph.map(name, _FLOAT64, *nodes), weak=True)
    try:
        *types, result = ufunc.resolve_dtypes((*map(_weak_type, operands), None))
    except TypeError as error:
        raise Unsupported(str(error)) from None
    nodes = [convert(graph, each.node, dtype) for each, dtype in zip(operands, types)]
    return Traced(graph, graph.map(name, result, *nodes))


def _reduce(
    graph, name, operand, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True
):
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
    kept = tuple(1 if i in axes else size for i, size in enumerate(operand.shape))
    # an axis of length 1 has nothing to reduce
    wide = tuple(each for each in axes if operand.shape[each] != 1)
    if wide:
        node = graph.make("reduce", (node,), node.dtype, kept, (kind, wide))
    result = Traced(graph, node)
    if keepdims:
        return result
    shape = tuple(size for i, size in enumerate(operand.shape) if i not in axes)
    return reshape(result, shape)


def reshape(x: Traced, shape) -> Traced:
    """`x.reshape(shape)` without a copy in between."""
    if -1 in shape:
        known = -prod(shape)
        shape = tuple(x.size // known if size == -1 else size for size in shape)
    if prod(shape) != x.size:
        raise Unsupported(f"reshape of {x.shape} to {shape}")
    if shape == x.shape:
        return x
    graph, node = x.graph, x.node
    if node.op == "leaf":
        found = graph.view(node, lambda array: np.reshape(array, shape, copy=False))
        if found is not None:
            return x._shares(found)
    while node.op == "reshape":  # of a reshape, only the last shape counts
        node = node.args[0]
    if node.shape != shape:
        node = graph.make("reshape", (node,), node.dtype, shape)
    return x._shares(node)


def transpose(x: Traced, axes) -> Traced:
    """`np.transpose(x, axes)`."""
    axes = tuple(axis % x.ndim for axis in axes)
    if x.node.op == "leaf":
        return x._shares(x.graph.view(x.node, lambda array: array.transpose(axes)))
    shape = tuple(x.shape[axis] for axis in axes)
    return x._shares(x.graph.make("transpose", (x.node,), x.dtype, shape, axes))


def _columns_of_rows(x: Traced, index) -> Traced:
    """The (rows, 1) column numbers of the index `[np.arange(rows), columns]`."""
    if len(index) != 2 or x.ndim != 2:
        raise Unsupported("arrays as indices")
    rows, columns = (lift(x.graph, each) for each in index)
    if rows.node.op != "iota" or rows.shape != x.shape[:1] or columns.shape != rows.shape:
        raise Unsupported("arrays as indices")
    return reshape(columns, (*columns.shape, 1))


def _pick(x: Traced, index) -> Traced:
    """`x[np.arange(rows), columns]`: one element of each row."""
    return reshape(gather(x, _columns_of_rows(x, index), 1), x.shape[:1])


def _placed(x: Traced, index, value: Traced) -> Traced:
    """What `x` is after `x[np.arange(rows), columns] = value`."""
    columns = _columns_of_rows(x, index)
    node = convert(x.graph, value.node, x.dtype)
    if value.shape not in ((), x.shape[:1]):
        raise Unsupported("values of another shape")
    if value.shape:
        node = reshape(Traced(x.graph, node), columns.shape).node
    if x.shape[1] == 1:
        return Traced(x.graph, x.graph.make("copy", (node,), x.dtype, x.shape))
    return Traced(x.graph, x.graph.make("put", (x.node, columns.node, node), x.dtype, x.shape, 1))


def gather(x: Traced, indices: Traced, axis: int) -> Traced:
    """`np.take_along_axis` with one index along the axis; indices outside the axis are moved to
    its ends (NumPy raises), negative ones count from its end."""
    axis %= x.ndim
    expected = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
    if indices.shape != expected or indices.dtype.kind not in "iu":
        raise Unsupported("indices of another shape")
    node = x.graph.make("gather", (x.node, indices.node), x.dtype, expected, axis)
    return Traced(x.graph, node)
