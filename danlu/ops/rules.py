"""From a derivative rule's signature to what a call saves and what `backward` runs.

A rule is an ordinary function whose parameter names say what it needs: `g`, `out`, `needs`, any parameter of the
forward function, or `<parameter>_shape` / `<parameter>_dtype`. A `Plan` holds, for one pattern of inputs that need
gradients, a compiled function that collects just that."""

from __future__ import annotations

import numpy as np

from danlu.autograd.node import BACKWARD_TWICE, FREED, LEAF, Node, sequence
from danlu.backend.conversions import is_array

__all__ = ["Plan", "node_class"]

_NUMBERS = frozenset((float, int, bool, complex))


def _names(rule) -> tuple:
    code = rule.__code__
    return code.co_varnames[: code.co_argcount]


def _function(parameters: str, body: str, scope: dict):
    """A function made from source text, which is built from parameter names and numbers alone."""
    exec(f"def made({parameters}):\n {body}", scope)
    return scope["made"]


class Plan:
    """What one operator saves and runs, given which inputs need gradients."""

    __slots__ = ("needs", "note", "run", "saves_arrays", "saves_first", "sources")

    def __init__(self, op, needs):
        if op.joint is not None:
            rules = [(None, op.joint)]
        else:
            rules = [
                (i, op.per_input[name])
                for i, name in enumerate(op.parameters[: op.tensors])
                if needs[i] and name in op.per_input
            ]
        wanted: list[str] = []
        for _, rule in rules:
            for name in _names(rule):
                if name not in ("g", "needs") and name not in wanted:
                    wanted.append(name)
        self.needs = needs
        self.sources = [self._source(op, name) for name in wanted]
        held = [place for _, place in self.sources if place is not None]
        self.saves_arrays = bool(held)
        self.saves_first = 0 in held
        self.note = self._noter(op, held)
        self.run = self._runner(op, rules, wanted, needs)

    def _noter(self, op, held):
        """A function that fills a node: its edges, what it saves, and the versions of what it saves.

        Compiled per plan, for it runs at every recorded call: a loop over the inputs would cost three times as much."""
        if op.is_list:
            edges = "tuple([x._edge or (x, -1) if need else None for x, need in zip(t, needs)])"
        else:
            each = [
                f"t[{i}]._edge or (t[{i}], -1)" if need else "None"
                for i, need in enumerate(self.needs)
            ]
            edges = f"({', '.join(each)},)"
        saved = "".join(text + ", " for text, _ in self.sources)
        return _function(
            "node, t, a, p, o, v",
            f"node.next = {edges}\n node.saved = ({saved})\n node.versions = {self._versions(op, held)}",
            {"needs": self.needs, "numbers": _NUMBERS},
        )

    def _source(self, op, name):
        """How to get a wanted value (an expression in a, p, o), and which input or output it holds."""
        names = op.parameters
        if name in ("out", "outs"):
            return "o", "out"
        if name[:3] == "out" and name[3:].isdecimal():
            return f"o[{name[3:]}]", name
        for suffix, attribute in (("_shape", ".shape"), ("_dtype", ".dtype"), ("", "")):
            base = name[: len(name) - len(suffix)] if suffix else name
            if not name.endswith(suffix) or base not in names:
                continue
            i = names.index(base)
            if i >= op.tensors:
                return f"p[{i - op.tensors}]", None
            if op.is_list:
                if suffix:
                    return f"tuple([x{attribute} for x in a])", None
                return "tuple(a)", "list"
            if suffix:
                if op.optional[i]:
                    return f"None if a[{i}] is None else a[{i}]{attribute}", None
                return f"a[{i}]{attribute}", None
            return f"a[{i}]", i
        raise TypeError(f"the rule of {op.name} names {name!r}, which is no parameter of it")

    def _versions(self, op, held) -> str:
        """The expression for the versions of the saved tensors, as (list, count) pairs."""
        if not held:
            return "None"
        if "list" in held:
            extra = " + tuple([(x, x[0]) for x in v])" if "out" in held else ""
            return "tuple([(x._writes, x._writes[0]) for x in t])" + extra
        parts = []
        for place in held:
            if place == "out":
                parts.append("*[(x, x[0]) for x in v]")
                continue
            if isinstance(place, str):  # out0, out1, ...: that output alone
                parts.append(f"(v[{place[3:]}], v[{place[3:]}][0])")
                continue
            x = f"t[{place}]"
            pair = f"({x}._writes, {x}._writes[0])"
            if op.optional[place] or op.promote is not None:
                # None, or a Python number: nothing that could be written to
                pair = f"*(() if {x} is None or {x}.__class__ in numbers else ({pair},))"
            parts.append(pair)
        return f"({''.join(part + ', ' for part in parts)})"

    def _runner(self, op, rules, wanted, needs):
        """A function (g, saved) -> tuple of gradients."""
        scope: dict = {"needs": needs}
        if op.joint is not None:
            rule = op.joint
            scope["rule"] = rule
            text = f"rule({self._arguments(rule, wanted)})"
            return _function(
                "g, s", "return " + (text if op.is_list or op.tensors > 1 else f"({text},)"), scope
            )
        parts = ["None"] * op.tensors
        for i, rule in rules:
            scope[f"rule{i}"] = rule
            parts[i] = f"rule{i}({self._arguments(rule, wanted)})"
        return _function("g, s", f"return ({', '.join(parts)},)", scope)

    @staticmethod
    def _arguments(rule, wanted) -> str:
        return ", ".join(
            name if name in ("g", "needs") else f"s[{wanted.index(name)}]" for name in _names(rule)
        )


class OperatorNode(Node):
    """The node of an operator's call; one subclass per operator carries its name."""

    __slots__ = ("fix", "outputs", "plan", "saved", "versions")

    operator = None

    def apply(self, g):
        saved = self.saved
        if saved is FREED:
            raise RuntimeError(BACKWARD_TWICE)
        if self.versions is not None:
            for version, count in self.versions:
                if version[0] != count:
                    raise _modified(self, version, count)
        results = self.plan.run(g, saved)
        return results if self.fix is None else self._undo(results)

    def release(self) -> None:
        if self.plan.saves_arrays:
            self.saved = FREED

    def _undo(self, results):
        """Undo broadcasting (sum to the input's shape) and promotion (cast to its dtype)."""
        undone = []
        for result, fix in zip(results, self.fix):
            if result is not None and fix is not None:
                shape, kind = fix
                if shape is not None:
                    result = sum_to(result, shape)
                if kind is not None and result.dtype != kind:
                    result = cast_gradient(result, kind)
            undone.append(result)
        return undone

    def apply_recorded(self, g):
        if self.saved is FREED:
            raise RuntimeError(BACKWARD_TWICE)
        if self.versions is not None:
            for version, count in self.versions:
                if version[0] != count:
                    raise _modified(self, version, count)
        saved = tuple(
            self._tensor(value, place) for value, (_, place) in zip(self.saved, self.plan.sources)
        )
        results = self.plan.run(g, saved)
        if self.fix is not None:
            results = self._undo(results)
        return [_tied(result, saved) for result in results]

    def _tensor(self, value, place):
        """A saved value as it was in the forward call: with its own place in the graph."""
        if place is None or value is None:
            return value
        if place == "out":
            if isinstance(value, tuple):
                return tuple(_attached(each, (self, i)) for i, each in enumerate(value))
            return _attached(value, (self, 0))
        if place.__class__ is str and place != "list":
            return _attached(value, (self, int(place[3:])))
        if place == "list":
            return tuple(_attached(each, edge) for each, edge in zip(value, self.next))
        if not is_array(value):
            return value
        tensor = _attached(value, self.next[place])
        if self.fix is not None and self.fix[place] is not None and self.fix[place][1] is not None:
            # promotion cast the input: the graph knows it before the cast
            tensor = _attached(cast_gradient(value, self.fix[place][1]), self.next[place]).astype(
                value.dtype
            )
        return tensor


class ZeroBackward0(Node):
    """Ties a gradient to the saved tensors that it depends on in form but not in value (the slope of relu)."""

    __slots__ = ("shapes",)

    def apply(self, g):
        return [np.zeros(shape, g.dtype) for shape in self.shapes]

    def apply_recorded(self, g):
        return [g.new_zeros(shape) for shape in self.shapes]


def _tied(result, saved):
    """A recorded gradient requires gradients if anything that its rule saved does, as in PyTorch."""
    if result is None or result._requires_grad:
        return result
    sources = [each for each in saved if getattr(each, "_requires_grad", False)]
    if not sources:
        return result
    node = ZeroBackward0()
    node.seq = sequence()
    node.hooks = None
    node.next = tuple([each._edge or (each, LEAF) for each in sources])
    node.shapes = [each._array.shape for each in sources]
    result._edge = (node, 0)
    result._requires_grad = True
    return result


def _attached(array, edge):
    from danlu.tensor import wrap

    if edge is not None and edge[1] == LEAF and edge[0]._array is array:
        return edge[0]
    tensor = wrap(array)
    if edge is not None and array.dtype.kind in "fcV":
        tensor._edge = edge
        tensor._requires_grad = True
    return tensor


def node_class(op):
    """The node type of an operator, named as PyTorch prints it."""
    body = {"__slots__": (), "operator": op}
    return type(op.node_name + "Backward0", (OperatorNode,), body)


def sum_to(gradient, shape):
    """Sum a gradient over the dimensions along which its input was broadcast to get it."""
    extra = len(gradient.shape) - len(shape)
    stretched = tuple(
        i
        for i, size in enumerate(gradient.shape)
        if i < extra or (shape[i - extra] == 1 and size != 1)
    )
    if stretched:
        gradient = gradient.sum(axis=stretched, keepdims=True)
    return gradient.reshape(shape) if tuple(gradient.shape) != shape else gradient


def cast_gradient(gradient, kind):
    """A gradient in its input's dtype; the real part where a real input met complex ones."""
    from_complex = getattr(gradient, "_array", gradient).dtype.kind == "c"
    if from_complex and np.dtype(kind).kind != "c":
        gradient = gradient.real
    return gradient.astype(kind)


def _modified(node, version, count):
    """The error for a saved tensor that was written to after it was saved."""
    shown = ""
    for value, (_, place) in zip(node.saved, node.plan.sources):
        if place is not None and isinstance(value, np.ndarray):
            from danlu.backend.dtypes import of_array
            from danlu.tensor import legacy_type_name

            shown = f"[{legacy_type_name(of_array(value))} {list(value.shape)}] "
            if place == "out":
                shown = f"{shown[:-1]}, which is output 0 of {node.name()}, "
            break
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"{shown}is at version {version[0]}; expected version {count} instead. {node.name()} had saved it: "
        "write out of place (x = x + 1 instead of x += 1), or clone() before the write. Hint: enable anomaly "
        "detection to find the operation that failed to compute its gradient, with "
        "torch.autograd.set_detect_anomaly(True)."
    )


__all__ += ["cast_gradient", "sum_to"]
