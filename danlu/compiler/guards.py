"""The conditions that are checked before every call of compiled code, as far as they are Python state."""

from __future__ import annotations

from danlu.compiler.places import Contents, ModuleState, Place
from danlu.compiler.texts import Scope
from danlu.nn.modules import _hooks
from danlu.nn.modules._members import epoch

__all__ = ["Guards"]

_HOOKS_ON_ALL = {
    name: table
    for name, table in vars(_hooks).items()
    if name.startswith("_global_") and isinstance(table, dict)
}


class Guards:
    """The conditions under which a trace stands for its function.

    Modules are compared when the epoch of all modules has moved, which goes by attribute writes,
    member tables and hooks: what is written into a module's ``__dict__`` by hand is not seen.

    Attributes:
        places: what is looked at in every call.
        modules: what is looked at once any module has changed.
    """

    def __init__(self, places: list[Place], modules: list[ModuleState]):
        self.places, self.modules = places, modules
        self._hooks_on_all = [Contents(table, None, name) for name, table in _HOOKS_ON_ALL.items()]
        self._epoch = [epoch[0]]

    def expressions(self, names: Scope) -> list[str]:
        """Conditions as texts. One that raises does not hold: a variable that was deleted.

        Args:
            names: where to put the objects that they name.
        """

        def name(value) -> str:
            return names.of(value, "guard")

        texts = [place.expression(name) for place in self.places]
        if self.modules:
            check = name(self.modules_hold)
            texts.append(f"({name(epoch)}[0] is {name(self._epoch)}[0] or {check}())")
        return texts

    def modules_hold(self) -> bool:
        """Whether all modules are as they were; if so, the present epoch is remembered."""
        now = epoch[0]
        if any(place.changed() for place in (*self._hooks_on_all, *self.modules)):
            return False
        self._epoch[0] = now
        return True

    def broken(self) -> list[str]:
        """What has changed since the trace, for whoever asks why a function is traced again."""
        found = [str(p) for p in (*self.places, *self._hooks_on_all) if p.changed()]
        for module in self.modules:
            kind = type(module.holder).__name__
            found += [f"the attribute {name} of a {kind}" for name in module.changes()]
        return found
