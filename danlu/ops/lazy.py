"""The names of `danlu` and the methods of Tensor whose modules are loaded when first used.

`published.py` says which module has which. A method's place in Tensor is held by a stand-in, which
at the first look imports the module and puts the methods it published over their stand-ins, so that
later calls cost nothing more."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from danlu.ops.published import FUNCTIONS, METHODS, PROPERTIES
from danlu.tensor import STAND_INS, Tensor

__all__ = ["find", "names"]

# In-place methods that PyTorch publishes as functions too: torch.relu_(x) is x.relu_().
_IN_PLACE = (
    "abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ "
    "asin_ asinh_ atan_ atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ "
    "cosh_ deg2rad_ detach_ erf_ erfc_ exp2_ exp_ expm1_ fill_ fix_ floor_ frac_ gcd_ i0_ "
    "index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ "
    "rad2deg_ reciprocal_ relu_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ "
    "trunc_ xlogy_ zero_"
)


@cache
def names() -> dict[str, str]:
    """The functions of `danlu` that are loaded when first used, each with its module below danlu
    ("" for what is only a method)."""
    homes = dict.fromkeys(_IN_PLACE.split(), "")
    for module, functions in FUNCTIONS.items():
        homes.update(dict.fromkeys(functions.split(), module))
    return homes


def find(name: str):
    """The function of this name, loaded; None if there is none."""
    module = names().get(name)
    if module is None:
        return None
    return getattr(import_module(f"danlu.{module}") if module else Tensor, name)


class _StandIn:
    """Holds the place of a method in Tensor until its module is loaded.

    A descriptor and not a function, so that nobody ever gets hold of it: also `Tensor.sort`,
    `super().sort` and `hasattr(x, "sort")` find the method itself.
    """

    __slots__ = ("method", "module", "name")

    def __init__(self, name: str, module: str):
        self.name = name
        self.module = module
        self.method = None  # set by publish_method

    def load(self):
        """The method itself, once its module is complete: another thread may be importing it."""
        import_module(f"danlu.{self.module}")
        if self.method is None:
            raise AttributeError(
                f"Tensor.{self.name} was used while danlu.{self.module} is being imported"
            )
        # all of the module at once: each change of Tensor costs the next lookups their cache
        for stand_in in STAND_INS.values():
            if stand_in.module == self.module and stand_in.method is not None:
                stand_in.give_way()
        return self.method

    def give_way(self) -> None:
        """Put the method into Tensor, unless a program has put its own there."""
        if Tensor.__dict__.get(self.name) is self:
            setattr(Tensor, self.name, self.method)

    def __get__(self, instance, owner=None):
        return self.load().__get__(instance, owner)


class _PropertyStandIn(_StandIn):
    """The same for a property: assignments must not go past it into the instance."""

    __slots__ = ()

    def __set__(self, instance, value) -> None:
        self.load().__set__(instance, value)


def _hold_places() -> None:
    for table, kind in ((METHODS, _StandIn), (PROPERTIES, _PropertyStandIn)):
        for module, methods in table.items():
            for name in methods.split():
                stand_in = STAND_INS[name] = kind(name, module)
                setattr(Tensor, name, stand_in)


_hold_places()
