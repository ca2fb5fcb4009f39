"""Names that are published in `danlu` and on Tensor, but whose modules are only loaded when one is
first used.
"""

from __future__ import annotations

from importlib import import_module

from danlu.tensor import Tensor, publish_method

# Module -> the methods of Tensor that it publishes when it is loaded.
METHODS = {
    "linalg._older": (
        "cholesky cholesky_inverse cholesky_solve cross det dist geqrf inverse logdet lu lu_solve "
        "matrix_exp "
        "matrix_power norm orgqr ormqr pinverse qr slogdet svd triangular_solve"
    ),
    "ops.activation": "hardshrink prelu relu relu_",
    "ops.signal": "istft stft",
    "ops.softmax": "log_softmax softmax",
}  # fmt: skip
# Module -> its functions that are names of `danlu` too.
_FUNCTIONS = {
    "linalg._older": (
        "cdist frobenius_norm lu_unpack matrix_rank norm_except_dim nuclear_norm pca_lowrank "
        "svd_lowrank vander"
    ),
    "ops.calculus": "cumulative_trapezoid gradient trapezoid trapz",
    "ops.settings": (
        "get_deterministic_debug_mode get_float32_matmul_precision "
        "is_deterministic_algorithms_warn_only_enabled is_warn_always_enabled "
        "set_default_tensor_type "
        "set_deterministic_debug_mode set_float32_matmul_precision set_flush_denormal "
        "set_warn_always"
    ),
    "ops.signal": "bartlett_window blackman_window hamming_window hann_window kaiser_window",
}  # fmt: skip
# Name in `danlu` -> the module below danlu where it is found.
HOMES = {
    name: module
    for table in (METHODS, _FUNCTIONS)
    for module, names in table.items()
    for name in names.split()
}
# In-place methods that PyTorch publishes as functions too: torch.relu_(x) is x.relu_().
IN_PLACE = frozenset(
    (
        "abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ "
        "asin_ asinh_ atan_ atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ "
        "cosh_ deg2rad_ detach_ erf_ erfc_ exp2_ exp_ expm1_ fill_ fix_ floor_ frac_ gcd_ i0_ "
        "index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ "
        "rad2deg_ reciprocal_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ "
        "trunc_ xlogy_ zero_"
    ).split()
)


def find(name: str):
    """The object of this name, or None."""
    if name in HOMES:
        module = import_module(f"danlu.{HOMES[name]}")
        return getattr(module, name, None) or getattr(Tensor, name)  # relu_ is a method alone
    return getattr(Tensor, name) if name in IN_PLACE else None


def _loading(name, module):
    def method(self, *args, **kwargs):
        import_module(f"danlu.{module}")  # publishes the real method over this one
        return getattr(Tensor, name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"See `danlu.{name}`."
    return method


for _module, _names in METHODS.items():
    for _name in _names.split():
        publish_method(_name, _loading(_name, _module))
