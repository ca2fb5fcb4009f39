"""The dictionaries in which a module keeps its parameters, buffers and children."""

from __future__ import annotations

import weakref

MEMBER_TABLES = ("_parameters", "_buffers", "_modules")

_ABSENT = object()

# Holds another object after every change of any module's attributes, members or hooks. Compiled
# functions look at their modules only when it is not the object that they know: an `is`, 20 ns.
epoch = [object()]


class MemberTable(dict):
    """A dictionary of members whose entries are also ordinary attributes of their module.

    PyTorch finds ``self.weight`` through ``__getattr__``, after the ordinary lookup has failed:
    1330 ns on the machine where this was measured (CPython 3.11). An entry that also lies in the
    module's ``__dict__`` is found at once: 43 ns. So every write to the table, also a direct one
    such as ``module._parameters["weight"] = p``, is repeated there. Two names are left to
    ``__getattr__``, as PyTorch has it: one that the class defines, and one that a plain attribute
    already hides.

    The table refers to its module weakly, so that a dropped model is freed at once, without
    waiting for the garbage collector.
    """

    __slots__ = ("_module",)

    def __init__(self, module, entries=()):
        self._module = weakref.ref(module)
        self.update(entries)

    def belongs_to(self, module) -> bool:
        return self._module() is module

    def __setitem__(self, name, value):
        epoch[0] = object()
        module = self._module()
        if module is not None:
            attributes = module.__dict__
            hidden = attributes.get(name, _ABSENT) is not self.get(name, _ABSENT)
            if not hidden and not hasattr(type(module), name):
                attributes[name] = value
        super().__setitem__(name, value)

    def __delitem__(self, name):
        epoch[0] = object()
        value = self[name]
        super().__delitem__(name)
        module = self._module()
        if module is not None and module.__dict__.get(name, _ABSENT) is value:
            del module.__dict__[name]

    def update(self, *entries, **named):
        for name, value in dict(*entries, **named).items():
            self[name] = value

    def __ior__(self, entries):  # type: ignore[misc]
        self.update(entries)
        return self

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name, *default):
        if name not in self:
            return super().pop(name, *default)
        value = self[name]
        del self[name]
        return value

    def popitem(self):
        if not self:
            return super().popitem()
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self):
        for name in list(self):
            del self[name]

    def __reduce_ex__(self, protocol):
        return dict, (), None, None, iter(self.items())


def table_of(module, kind: str) -> MemberTable:
    """The module's table of this kind, put in place of a plain or borrowed dictionary.

    A borrowed one comes from ``replica.__dict__ = module.__dict__.copy()``: its writes would reach
    the other module's attributes.
    """
    table = module.__dict__[kind]
    if type(table) is not MemberTable or not table.belongs_to(module):
        for name, value in table.items():
            if module.__dict__.get(name, _ABSENT) is value:
                del module.__dict__[name]
        table = module.__dict__[kind] = MemberTable(module, table)
    return table


def install_tables(module) -> None:
    """Give the module its three empty tables."""
    attributes = module.__dict__
    for kind in MEMBER_TABLES:
        attributes[kind] = MemberTable(module)


def plain_state(module) -> dict:
    """The module's ``__dict__`` as PyTorch would have it: plain tables, no member beside them."""
    state = module.__dict__.copy()
    for kind in MEMBER_TABLES:
        table = state.get(kind)
        if table is None:
            continue
        for name, value in table.items():
            if state.get(name, _ABSENT) is value:
                del state[name]
        state[kind] = dict(table)
    return state
