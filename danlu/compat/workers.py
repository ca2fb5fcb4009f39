"""Carries the hook into processes that `multiprocessing` spawns.

A forked process inherits the hook. A spawned one starts from nothing, unpickles a dictionary of
preparation data and only then imports the program; so the dictionary gets one more entry, whose
unpickling installs the hook.
"""

from __future__ import annotations

from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def install_here() -> bool:
    from danlu.compat.hook import install

    install()
    return True


class InstallWhenUnpickled:
    """Pickles to a call that installs the hook."""

    def __reduce__(self) -> tuple[Any, ...]:
        return install_here, ()


def announce(spawn: ModuleType) -> None:
    """Let `multiprocessing.spawn` tell every new process to install the hook."""
    original = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = original(name)
        if name == "ignore":
            # The fork server asks under this name, to import the program ahead of its children,
            # where no hook is.
            return {key: value for key, value in data.items() if not key.startswith("init_main")}
        return {**data, "danlu": InstallWhenUnpickled()}

    get_preparation_data.original = original  # type: ignore[attr-defined]
    spawn.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]


def withdraw(spawn: ModuleType) -> None:
    """Undo `announce`."""
    patched = spawn.get_preparation_data
    spawn.get_preparation_data = getattr(patched, "original", patched)  # type: ignore[attr-defined]


class AnnouncingLoader(Loader):
    """Loads `multiprocessing.spawn` as it is and changes it afterwards, so that nobody pays for it
    who spawns nothing.
    """

    def __init__(self, loader: Loader):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        announce(module)


def find_spawn(path: Any) -> ModuleSpec | None:
    """The spec of `multiprocessing.spawn`, which will carry the hook once it is loaded."""
    spec = PathFinder.find_spec("multiprocessing.spawn", path)
    if spec is not None and spec.loader is not None:
        spec.loader = AnnouncingLoader(spec.loader)
    return spec
