"""How tensors are written out: PyTorch's layout, to the character.

Numbers of one tensor share one style (fixed, scientific, or whole numbers with a trailing point)
and one width; large tensors show only the two ends of each dimension. Only what is shown is read.
"""

from __future__ import annotations

import math

from danlu.backend import dtypes

_PROFILES: dict[str, dict] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options: dict = {**_PROFILES["default"], "sci_mode": None}


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Choose how tensors are printed.

    Args:
        precision: digits after the decimal point, at least 0 (at first 4).
        threshold: tensors with more elements than this are summarised (at first 1000).
        edgeitems: elements shown at each end of a summarised dimension (at first 3).
        linewidth: characters per line (at first 80).
        profile: ``"default"``, ``"short"`` or ``"full"`` sets the four options above at once;
            options that are given too win over it.
        sci_mode: True for scientific notation, False for none, None to choose by the values. It is
            set by every call, also when it is left out.

    Raises:
        ValueError: for an unknown profile.
        TypeError: for an option that is not a number.

    Example:
        >>> import danlu as torch
        >>> torch.set_printoptions(precision=2)
        >>> torch.tensor([1.12345])
        tensor([1.12])
        >>> torch.set_printoptions(profile="default")
        >>> torch.tensor([1.12345])
        tensor([1.1235])
    """
    chosen = {}
    if profile is not None:
        if profile not in _PROFILES:
            names = ", ".join(map(repr, _PROFILES))
            raise ValueError(f"set_printoptions(): profile must be one of {names}, got {profile!r}")
        chosen.update(_PROFILES[profile])
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    for name, value in given.items():
        if value is None:
            continue
        if name == "threshold":
            if not isinstance(value, (int, float)):
                raise TypeError(f"set_printoptions(): threshold must be a number, got {value!r}")
        elif not isinstance(value, int) or value < 0:
            raise TypeError(
                f"set_printoptions(): {name} must be an int of at least 0, got {value!r}"
            )
        chosen[name] = value
    _options.update(chosen, sci_mode=sci_mode)


def get_printoptions():
    """The current print options, as a dictionary that ``set_printoptions(**options)`` takes back.

    Example:
        >>> import danlu as torch
        >>> torch.get_printoptions()["precision"]
        4
    """
    return dict(_options)


def tensor_repr(tensor):
    """The text that ``repr(tensor)`` shows, as PyTorch writes it; a Parameter says what it is."""
    named = None if _is_own_class(type(tensor)) else type(tensor).__name__
    prefix = (named or "tensor") + "("
    array, dtype = tensor._array, tensor.dtype
    default = dtypes.get_default_dtype()
    suffixes = []
    if tensor.device.type != "cpu":
        suffixes.append(f"device='{tensor.device}'")
    if array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={tuple(array.shape)}")
        if dtype is not default:
            suffixes.append(f"dtype={dtype}")
        body = "[]"
    else:
        if not _options["edgeitems"]:
            suffixes.append(f"size={tuple(array.shape)}")
        if dtype not in _dtypes_left_unsaid(default):
            suffixes.append(f"dtype={dtype}")
        body = array_str(array, dtype, indent=len(prefix))
    grad_fn = tensor.grad_fn
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{type(grad_fn).__name__}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    text = _with_suffixes(prefix + body, suffixes, indent=len(prefix))
    if _is_parameter(tensor):
        text = "Parameter containing:\n" + (f"Parameter({text})" if named else text)
    return text


def tensor_format(tensor, spec):
    """The text of ``format(tensor, spec)``: a plain 0-d tensor is written as its Python number."""
    plain = _is_own_class(type(tensor)) and not _is_parameter(tensor)
    if plain and tensor._array.ndim == 0:
        return format(tensor.item(), spec)
    return object.__format__(tensor, spec)


def _is_own_class(cls):
    """Whether this is Tensor or Parameter itself, whose names a repr leaves out."""
    return cls.__name__ in ("Tensor", "Parameter") and cls.__module__.startswith("danlu.")


def _is_parameter(tensor):
    # By name: Parameter lives a storey above this module.
    return any(cls.__name__ == "Parameter" and _is_own_class(cls) for cls in type(tensor).__mro__)


def array_str(array, dtype, indent):
    """The elements of a non-empty array in brackets, with later lines ``indent`` characters in."""
    edge = _options["edgeitems"]
    summarise = array.size > _options["threshold"]
    if summarise and not edge and array.ndim:
        return "[...]"
    cut = [summarise and length > 2 * edge for length in array.shape]
    if any(cut):
        array = _ends(array, cut, edge)
    texts, width = _format_elements(array, dtype)
    return _Layout(texts, width, array.shape, cut, edge).text(0, 0, len(texts), indent)


def _ends(array, cut, edge):
    """The first and last ``edge`` items of the dimensions to cut, without reading the rest."""
    kept = [
        [*range(edge), *range(length - edge, length)] if short else range(length)
        for length, short in zip(array.shape, cut, strict=True)
    ]
    return array[array.__array_namespace__().ix_(*kept)]


def _format_elements(array, dtype):
    """The elements as texts of one style, in row-major order, and the width that a column takes."""
    if dtype.is_complex:
        return _format_complex(array)
    if dtype.is_floating_point:
        # float8_e8m0fnu has no zero: PyTorch compares with its smallest value instead.
        zero = 2.0**-127 if dtype is dtypes.float8_e8m0fnu else 0.0
        return _format_floats(_as_floats(array), zero)
    texts = [str(value) for value in array.reshape(-1).tolist()]
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts], width


def _as_floats(array):
    """Row-major Python floats; every floating dtype, bfloat16 too, is exact in float64."""
    return array.reshape(-1).astype("float64").tolist()


def _format_floats(values, zero=0.0):
    """PyTorch's choice of style, which depends on the finite values that are not zero alone."""
    precision = _options["precision"]
    telling = [value for value in values if value != zero and math.isfinite(value)]
    if not telling:
        return [_whole(value) for value in values], 1
    smallest, largest = min(map(abs, telling)), max(map(abs, telling))
    scientific = _options["sci_mode"]
    if scientific is None:
        scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
    if scientific:
        write = f"{{:.{precision}e}}".format
    elif all(value.is_integer() for value in telling):
        write = _whole
    else:
        write = f"{{:.{precision}f}}".format
    width = max(len(write(value)) for value in telling)
    return [write(value).rjust(width) for value in values], width


def _whole(value):
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _format_complex(array):
    real, real_width = _format_floats(_as_floats(array.real))
    imag, imag_width = _format_floats(_as_floats(array.imag))
    texts = [
        left + ("" if right[0] == "-" else "+") + right + "j"
        for left, right in zip(real, map(str.lstrip, imag), strict=True)
    ]
    return texts, real_width + imag_width + 1


class _Layout:
    """Sets texts in nested brackets, with ``...`` where a dimension was cut."""

    __slots__ = ("cut", "edge", "shape", "texts", "width")

    def __init__(self, texts, width, shape, cut, edge):
        self.texts = texts
        self.width = width
        self.shape = shape
        self.cut = cut
        self.edge = edge

    def text(self, axis, start, stop, indent):
        """The elements from ``start`` to ``stop``: one item of the dimension before ``axis``."""
        left = len(self.shape) - axis
        if left == 0:
            return self.texts[start]
        if left == 1:
            return self._row(axis, self.texts[start:stop], indent)
        step = (stop - start) // self.shape[axis]
        items = [
            self.text(axis + 1, begin, begin + step, indent + 1)
            for begin in range(start, stop, step)
        ]
        if self.cut[axis]:
            items.insert(self.edge, "...")
        return "[" + ("," + "\n" * (left - 1) + " " * (indent + 1)).join(items) + "]"

    def _row(self, axis, items, indent):
        # A column takes its text, a comma and a space.
        per_line = max(1, (_options["linewidth"] - indent) // (self.width + 2))
        if self.cut[axis]:
            items = [*items[: self.edge], " ...", *items[self.edge :]]
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _dtypes_left_unsaid(default):
    complex_default = dtypes.complex128 if default is dtypes.float64 else dtypes.complex64
    return (default, complex_default, dtypes.int64, dtypes.bool_)


def _with_suffixes(text, suffixes, indent):
    # rfind is -1 on a single line, which then counts two characters more: PyTorch's arithmetic.
    line_length = len(text) - text.rfind("\n") + 1
    parts = [text]
    for suffix in suffixes:
        if line_length + len(suffix) + 2 > _options["linewidth"]:
            parts.append(",\n" + " " * indent + suffix)
            line_length = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            line_length += len(suffix) + 2
    return "".join(parts) + ")"
