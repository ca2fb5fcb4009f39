"""PyTorch's dtypes over NumPy's, and the promotion lattice between them."""

from __future__ import annotations

import numpy as np

__all__ = [
    "FROM_NUMPY", "can_cast", "dtype", "finfo", "get_default_dtype", "iinfo", "numpy_dtype", "of_array",
    "promote_types", "set_default_dtype",
]  # fmt: skip

_BOOL, _INTEGRAL, _FLOATING, _COMPLEX = range(4)

# NumPy dtype -> dtype; the ml_dtypes types join when they are first used
FROM_NUMPY: dict[np.dtype, dtype] = {}


class dtype:
    """A tensor's element type; prints as PyTorch's (`torch.float32`).

    Args:
        name: PyTorch's name without the module.
        itemsize: bytes of one element.
        category: bool, integral, floating or complex, in that order of promotion.
        numpy_name: NumPy's (or ml_dtypes') name of the type; None where neither has it.
        signed: whether negative values exist.

    Example:
        >>> import danlu as torch
        >>> torch.float32.itemsize, torch.float32.is_floating_point
        (4, True)
    """

    __slots__ = ("_numpy", "_numpy_name", "category", "is_signed", "itemsize", "name")

    def __init__(self, name, itemsize, category, numpy_name, signed=True):
        self.name = name
        self.itemsize = itemsize
        self.category = category
        self.is_signed = signed
        self._numpy_name = numpy_name
        self._numpy = None

    @property
    def numpy(self) -> np.dtype:
        """NumPy's dtype; the types NumPy lacks come from ml_dtypes, imported at first use."""
        if self._numpy is None:
            if self._numpy_name is None:
                raise TypeError(f"{self!r} has no array type: convert to torch.complex64 instead")
            try:
                self._numpy = np.dtype(self._numpy_name)
            except TypeError:
                import ml_dtypes

                self._numpy = np.dtype(getattr(ml_dtypes, self._numpy_name))
            FROM_NUMPY[self._numpy] = self
        return self._numpy

    @property
    def is_floating_point(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.category == _FLOATING

    @property
    def is_complex(self) -> bool:
        """Whether this is a complex type."""
        return self.category == _COMPLEX

    def to_real(self) -> dtype:
        """The real type of this complex type's components; real types are returned as they are."""
        return _TO_REAL.get(self, self)

    def to_complex(self) -> dtype:
        """The complex type whose components have this type."""
        found = _TO_COMPLEX.get(self)
        if found is None:
            found = self if self.is_complex else get_default_dtype().to_complex()
        return found

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_by_name, (self.name,))


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


uint8 = dtype("uint8", 1, _INTEGRAL, "uint8", signed=False)
uint16 = dtype("uint16", 2, _INTEGRAL, "uint16", signed=False)
uint32 = dtype("uint32", 4, _INTEGRAL, "uint32", signed=False)
uint64 = dtype("uint64", 8, _INTEGRAL, "uint64", signed=False)
int8 = dtype("int8", 1, _INTEGRAL, "int8")
int16 = dtype("int16", 2, _INTEGRAL, "int16")
int32 = dtype("int32", 4, _INTEGRAL, "int32")
int64 = dtype("int64", 8, _INTEGRAL, "int64")
float16 = dtype("float16", 2, _FLOATING, "float16")
bfloat16 = dtype("bfloat16", 2, _FLOATING, "bfloat16")
float32 = dtype("float32", 4, _FLOATING, "float32")
float64 = dtype("float64", 8, _FLOATING, "float64")
float8_e4m3fn = dtype("float8_e4m3fn", 1, _FLOATING, "float8_e4m3fn")
float8_e4m3fnuz = dtype("float8_e4m3fnuz", 1, _FLOATING, "float8_e4m3fnuz")
float8_e5m2 = dtype("float8_e5m2", 1, _FLOATING, "float8_e5m2")
float8_e5m2fnuz = dtype("float8_e5m2fnuz", 1, _FLOATING, "float8_e5m2fnuz")
float8_e8m0fnu = dtype("float8_e8m0fnu", 1, _FLOATING, "float8_e8m0fnu", signed=False)
complex32 = dtype("complex32", 4, _COMPLEX, None)
complex64 = dtype("complex64", 8, _COMPLEX, "complex64")
complex128 = dtype("complex128", 16, _COMPLEX, "complex128")
bool_ = dtype("bool", 1, _BOOL, "bool", signed=False)

ALL = (
    uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64,
    float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu,
    complex32, complex64, complex128, bool_,
)  # fmt: skip
BY_NAME = {each.name: each for each in ALL}
ALIASES = {
    "half": float16, "float": float32, "double": float64, "short": int16, "int": int32,
    "long": int64, "cfloat": complex64, "cdouble": complex128, "chalf": complex32,
}  # fmt: skip
_NARROW = frozenset(
    (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu, bfloat16)
)
_TO_REAL = {complex32: float16, complex64: float32, complex128: float64}
_TO_COMPLEX = {
    float16: complex32, bfloat16: complex64, float32: complex64, float64: complex128,
}  # fmt: skip

for _each in ALL:
    if _each not in _NARROW and _each is not complex32:
        _each.numpy  # noqa: B018 - enters it into FROM_NUMPY


def of_array(array) -> dtype:
    """The dtype of an array.

    Raises:
        TypeError: NumPy has types (strings, objects, dates) that no tensor holds.
    """
    found = FROM_NUMPY.get(array.dtype)
    if found is None:
        found = _register(array.dtype)
    return found


def _register(numpy_type: np.dtype) -> dtype:
    native = numpy_type.newbyteorder("=")
    if native in FROM_NUMPY and numpy_type.isnative:
        return FROM_NUMPY[native]
    for each in _NARROW:
        if numpy_type.name == each._numpy_name and each.numpy == numpy_type:
            return each
    raise TypeError(
        f"can't convert np.ndarray of type {numpy_type}. The only supported types are: float64, "
        "float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, "
        "uint8, and bool."
    )


def numpy_dtype(value) -> np.dtype:
    """NumPy's dtype for a dtype, a Python type (`float`, `int`, `bool`, `complex`) or a NumPy dtype."""
    if value.__class__ is dtype:
        return value.numpy
    if value is float:
        return get_default_dtype().numpy
    if value is int:
        return int64.numpy
    if value is bool:
        return bool_.numpy
    if value is complex:
        return get_default_dtype().to_complex().numpy
    if isinstance(value, np.dtype):
        return value
    raise TypeError(f"dtype must be a torch.dtype, such as torch.float32, not {value!r}")


_default = float32


def get_default_dtype() -> dtype:
    """The dtype of new floating-point tensors: float32 unless `set_default_dtype` said otherwise."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the dtype that Python floats become.

    Raises:
        TypeError: `d` is not a floating-point dtype.
    """
    global _default
    if d.__class__ is not dtype or not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default = d


# Promotion within a category; `None` where PyTorch refuses.
_INTEGERS = {
    (uint8, int8): int16, (uint8, int16): int16, (uint8, int32): int32, (uint8, int64): int64,
    (int8, int16): int16, (int8, int32): int32, (int8, int64): int64, (int16, int32): int32,
    (int16, int64): int64, (int32, int64): int64,
    (uint8, uint16): uint16, (uint8, uint32): uint32, (uint8, uint64): uint64,
    (uint16, uint32): uint32, (uint16, uint64): uint64, (uint32, uint64): uint64,
    (uint16, int32): int32, (uint16, int64): int64, (uint32, int64): int64,
}  # fmt: skip
_FLOAT_RANK = {float16: 0, bfloat16: 0, float32: 1, float64: 2}
_COMPLEX_RANK = {complex32: 0, complex64: 1, complex128: 2}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that holds both, by PyTorch's lattice.

    Raises:
        RuntimeError: the pair has no common type (float8 with another float, some unsigned pairs).

    Example:
        >>> import danlu as torch
        >>> torch.promote_types(torch.int32, torch.float32)
        torch.float32
    """
    if type1 is type2:
        return type1
    a, b = (type1, type2) if type1.category <= type2.category else (type2, type1)
    if a.category < b.category:
        if a.category == _FLOATING and b.category == _COMPLEX:
            real = promote_types(a, b.to_real())
            return real.to_complex()
        return b
    if a.category == _INTEGRAL:
        found = _INTEGERS.get((a, b)) or _INTEGERS.get((b, a))
    elif a.category == _FLOATING and a in _FLOAT_RANK and b in _FLOAT_RANK:
        if _FLOAT_RANK[a] == _FLOAT_RANK[b]:
            found = float32  # float16 with bfloat16: neither holds the other
        else:
            found = a if _FLOAT_RANK[a] > _FLOAT_RANK[b] else b
    elif a.category == _COMPLEX:
        found = a if _COMPLEX_RANK[a] > _COMPLEX_RANK[b] else b
    else:
        found = None
    if found is None:
        raise RuntimeError(f"Promotion for {type1!r} and {type2!r} is not supported")
    return found


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch's rules let a value of `from_` be written into `to` (never to a lower category)."""
    if from_.category == _INTEGRAL and to.category == _BOOL:
        return False
    return from_.category <= to.category


class _Info:
    __slots__ = ("_shown", "bits", "dtype", "max", "min")

    def __repr__(self) -> str:
        values = (getattr(self, name) for name in self._shown)
        shown = (f"{v:g}" if isinstance(v, float) else v for v in values)
        return f"{type(self).__name__}({', '.join(map('{}={}'.format, self._shown, shown))})"

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class finfo(_Info):
    """Numerical limits of a floating-point dtype (the default dtype if none is given).

    Attributes: bits, eps, max, min, tiny, smallest_normal, resolution, dtype.

    Example:
        >>> import danlu as torch
        >>> torch.finfo(torch.float32).eps
        1.1920928955078125e-07
    """

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: dtype | None = None):
        kind = get_default_dtype() if type is None else type
        if not isinstance(kind, dtype) or kind.category not in (_FLOATING, _COMPLEX):
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle {kind!r}"
            )
        kind = kind.to_real()
        numpy_type = kind.numpy
        if kind in _NARROW:
            import ml_dtypes

            limits = ml_dtypes.finfo(numpy_type)
        else:
            limits = np.finfo(numpy_type)
        self.bits = limits.bits
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)
        self.resolution = float(limits.resolution)
        self.dtype = kind.name
        self._shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny", "dtype")


class iinfo(_Info):
    """Numerical limits of an integer dtype.

    Attributes: bits, max, min, dtype.

    Example:
        >>> import danlu as torch
        >>> torch.iinfo(torch.uint8)
        iinfo(min=0, max=255, dtype=uint8)
    """

    __slots__ = ()

    def __init__(self, type: dtype):
        if not isinstance(type, dtype) or type.category in (_FLOATING, _COMPLEX):
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle {type!r}"
            )
        if type is bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        limits = np.iinfo(type.numpy)
        self.bits, self.max, self.min = limits.bits, int(limits.max), int(limits.min)
        self.dtype = type.name
        self._shown = ("min", "max", "dtype")
