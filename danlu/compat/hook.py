"""The import hook: a finder, first in `sys.meta_path`, that answers PyTorch's module names with
danlu's modules.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import danlu
from danlu import version
from danlu.compat import workers
from danlu.compat.names import ROOTS, STAND_INS, candidates, submodules


class AliasLoader(Loader):
    """Answers an import with a module that danlu already has, as the same object."""

    def __init__(self, target: str):
        self.target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.target)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec into danlu's module.
        module.__spec__ = self.own_spec
        register_shadowed(module)
        if module.__name__ == "danlu.utils.data":
            rename_classes(module)


class StandInLoader(Loader):
    """Answers an import with an empty package that says at its first use why it is empty."""

    def __init__(self, reason: str):
        self.reason = reason

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name, self.reason)

        def missing(attribute: str) -> Any:
            raise AttributeError(f"{spec.name}.{attribute}: {self.reason}")

        module.__getattr__ = missing  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def register_shadowed(package: ModuleType) -> None:
    """Enter the submodules of `package` whose import would overwrite what the package has by that
    name: `torch.autograd.gradcheck` is a module in PyTorch, and a function too.

    The import system writes an imported submodule into its package, but not one that it finds
    already loaded, as these are from here on.
    """
    aliases = [name for name, module in sys.modules.items() if module is package and is_ours(name)]
    for alias in aliases:
        for last, own in list(vars(package).items()):
            loaded = sys.modules.get(f"{package.__name__}.{last}")
            if loaded is not None and not isinstance(own, ModuleType):
                sys.modules.setdefault(f"{alias}.{last}", loaded)
        for child in submodules(alias):
            if all(
                target == package.__name__ or existing(target) is None
                for target in candidates(child)
            ):
                sys.modules.setdefault(child, package)


renamed: list[tuple[type, str]] = []


def rename_classes(package: ModuleType) -> None:
    """Let the classes of the data pipeline name PyTorch's modules as their home, for programs print them:
    `<class 'torch.utils.data.dataset.Subset'>`. Pickles made meanwhile name them so, too."""
    for name, module in list(sys.modules.items()):
        if not name.startswith(package.__name__ + ".") or "._" in name:
            continue
        for each in list(vars(module).values()):
            if isinstance(each, type) and each.__module__ == name:
                renamed.append((each, name))
                each.__module__ = "torch" + name.removeprefix("danlu")


def is_ours(name: str) -> bool:
    root = name.partition(".")[0]
    return root in ROOTS or root in STAND_INS


def existing(name: str) -> ModuleSpec | None:
    """The spec of danlu's module `name`, or None where there is no such module."""
    try:
        return find_spec(name)
    except ModuleNotFoundError as error:  # a parent of the module does not exist, or is no package
        if error.name is None or not name.startswith(error.name):
            raise
        return None


class Finder:
    """Finds modules and metadata of PyTorch and its companions in danlu."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "multiprocessing.spawn":
            return workers.find_spawn(path)
        root = name.partition(".")[0]
        if root in STAND_INS:
            if name != root:
                # Without the full name in the error, `from package import name` passes it on as it
                # is.
                raise ModuleNotFoundError(f"{name}: {STAND_INS[root]}", name=root)
            return ModuleSpec(name, StandInLoader(STAND_INS[root]), is_package=True)
        if root not in ROOTS:
            return None
        targets = candidates(name)
        for target in targets:
            spec = existing(target)
            if spec is not None:
                alias = ModuleSpec(name, AliasLoader(target), origin=spec.origin)
                alias.submodule_search_locations = spec.submodule_search_locations
                return alias
        raise ModuleNotFoundError(
            f"danlu does not have {name!r} (there is no module {targets[0]!r}); this program runs "
            f"with danlu in the place of {root}, so an installed {root} is not asked",
            name=name,
        )

    def find_distributions(self, context: Any = None) -> list[Any]:
        """What `importlib.metadata` is told about the packages that danlu stands for."""
        from danlu.compat.metadata import distribution

        wanted = None if context is None else context.name
        return [distribution(root) for root in ROOTS if wanted is None or wanted.lower() == root]

    def invalidate_caches(self) -> None:
        """Nothing is cached here; the import system asks every finder."""


finder = Finder()
put_aside: dict[str, ModuleType] = {}


def installed() -> bool:
    """Whether `torch` stands for danlu at present."""
    return finder in sys.meta_path


def install() -> None:
    """Let `torch`, `torchvision`, `torchkeras` and `torchmetrics` stand for danlu.

    From now on imports of them and their submodules give danlu's modules (`torch is danlu`), even
    where the real packages are installed; `importlib.metadata.version("torch")` gives the release
    that danlu follows, and `torch.__version__` that release with danlu's own version as its local
    part. Processes started by `multiprocessing` are included. Modules that were imported before
    keep what they have. Calling it again does nothing.

    >>> import danlu.compat
    >>> danlu.compat.install()
    >>> import torch.nn.functional as F
    >>> F.__name__
    'danlu.nn.functional'
    >>> danlu.compat.uninstall()
    """
    if installed():
        return
    put_aside.update({name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)})
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    danlu.__version__ = f"{version.torch_version}+danlu.{version.__version__}"
    if "multiprocessing.spawn" in sys.modules:
        workers.announce(sys.modules["multiprocessing.spawn"])


def uninstall() -> None:
    """Undo `install`: the names mean the real packages again, if there are any."""
    if not installed():
        return
    sys.meta_path.remove(finder)  # type: ignore[arg-type]
    aliases = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)}
    for name, module in aliases.items():
        parent, _, last = name.rpartition(".")
        package = aliases.get(parent)
        if package is None or vars(package).get(last) is not module:
            continue
        if module.__name__ != f"{package.__name__}.{last}":
            delattr(package, last)  # written by the import system for an alias
    sys.modules.update(put_aside)
    put_aside.clear()
    for each, home in renamed:
        each.__module__ = home
    renamed.clear()
    danlu.__version__ = version.__version__
    if "multiprocessing.spawn" in sys.modules:
        workers.withdraw(sys.modules["multiprocessing.spawn"])
