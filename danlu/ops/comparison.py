"""Comparison, logic and bits of two tensors, or of a tensor and a number."""

from __future__ import annotations

import numpy as np

from danlu.backend.dtypes import of_array
from danlu.ops.binary import from_number
from danlu.ops.registry import Array, operator, scalar_name
from danlu.tensor import publish_method

__all__ = [
    "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "eq",
    "gcd",
    "ge", "greater", "greater_equal", "gt", "lcm", "le", "less", "less_equal", "logical_and",
    "logical_or",
    "logical_xor", "lt", "ne", "not_equal",
]  # fmt: skip


# ---------------------------------------------------------------- comparison
def _comparison(name, ufunc, word, aliases=()):
    def body(input: Array, other: Array):
        return ufunc(input, other)

    body.__name__ = name
    body.__doc__ = f"Where input {word} other, as bools."
    return operator(
        promote="same", inplace=True, differentiable=False, method=(name, f"__{name}__", *aliases),
        ufunc=ufunc,
    )(body)  # fmt: skip


eq = _comparison("eq", np.equal, "equals")
ne = _comparison("ne", np.not_equal, "differs from", ("not_equal",))
lt = _comparison("lt", np.less, "is less than", ("less",))
le = _comparison("le", np.less_equal, "is at most", ("less_equal",))
gt = _comparison("gt", np.greater, "is greater than", ("greater",))
ge = _comparison("ge", np.greater_equal, "is at least", ("greater_equal",))
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


# ---------------------------------------------------------------- logic and bits
def _bitwise(name, ufunc, word, *methods, integral=True):
    def body(input: Array, other: Array):
        if integral and input.dtype.kind not in "iub":
            raise RuntimeError(
                f"\"{name}_cpu\" not implemented for '{scalar_name(of_array(input))}': it works on "
                "integers and bools"
            )
        return ufunc(input, other)

    body.__name__ = name
    body.__doc__ = f"{word} of two tensors, element by element."
    return operator(promote="same", inplace=True, differentiable=False, method=(name, *methods))(
        body
    )


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, "Bitwise and", "__and__", "__rand__")
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, "Bitwise or", "__or__", "__ror__")
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, "Bitwise exclusive or", "__xor__", "__rxor__")
bitwise_left_shift = _bitwise("bitwise_left_shift", np.left_shift, "Left shift", "__lshift__")
bitwise_right_shift = _bitwise("bitwise_right_shift", np.right_shift, "Right shift", "__rshift__")
gcd = _bitwise("gcd", np.gcd, "Greatest common divisor")
lcm = _bitwise("lcm", np.lcm, "Least common multiple")
logical_and = _bitwise("logical_and", np.logical_and, "Logical and", integral=False)
logical_or = _bitwise("logical_or", np.logical_or, "Logical or", integral=False)
logical_xor = _bitwise("logical_xor", np.logical_xor, "Logical exclusive or", integral=False)

publish_method("__rlshift__", from_number(bitwise_left_shift))
publish_method("__rrshift__", from_number(bitwise_right_shift))
publish_method("__iand__", bitwise_and.inplace)
publish_method("__ior__", bitwise_or.inplace)
publish_method("__ixor__", bitwise_xor.inplace)
publish_method("__ilshift__", bitwise_left_shift.inplace)
publish_method("__irshift__", bitwise_right_shift.inplace)
for _alias, _comparison_operator in (
    ("greater_", gt), ("greater_equal_", ge), ("less_", lt), ("less_equal_", le),
    ("not_equal_", ne),
):  # fmt: skip
    publish_method(_alias, _comparison_operator.inplace)
