"""From IR text to machine code in memory: one LLVM JIT for the process, objects from the cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from danlu.kernels.codegen import target as targets
from danlu.kernels.runtime import cache

__all__ = ["Code", "compile_text", "emit_object", "load", "provide", "share"]

_lock = threading.RLock()
_jit = None
_libraries = 0
_symbols: dict[str, int] = {}
_shared: dict[tuple, Code] = {}


class Code:
    """Machine code in memory.

    Attributes:
        addresses: by exported symbol.
        size: bytes of the object file.
        seconds: from asking to having it.
        cached: whether it came from the disk.
    """

    __slots__ = ("_tracker", "addresses", "cached", "seconds", "size")

    def __init__(self, tracker, addresses, size, seconds, cached):
        self._tracker = tracker  # the code lives as long as this
        self.addresses, self.size, self.seconds, self.cached = addresses, size, seconds, cached


def provide(name: str, address: int) -> None:
    """Let generated code call (or take the address of) something of this process by name."""
    _symbols[name] = address


def load(key: tuple, write: Callable[[], str], exports: tuple[str, ...]) -> Code:
    """The code of a kernel: from the disk, or else written, compiled and put there.

    Args:
        key: what the text depends on besides the target and the versions: the kernel's name and
            the parameters it was written for. Equal keys must give equal texts.
        write: gives the IR text; only called when the code is not in the cache.
        exports: the symbols whose addresses are wanted.
    """
    start = time.perf_counter()
    with _lock:
        target = targets.host()
        name = cache.key(key, target)
        image = cache.read(name)
        cached = image is not None
        if image is None:
            image = emit_object(write(), target)
            cache.write(name, image)
        return _link(image, exports, start, cached)


def share(key: tuple, write: Callable[[], str], exports: tuple[str, ...]) -> None:
    """Let code that is linked from now on call these functions by name.

    For functions that several kernels need: they are compiled once, and not with each kernel.

    Args:
        key, write, exports: as of `load`; the names are the process's, so they say whose they are.
    """
    with _lock:
        if key not in _shared:
            _shared[key] = load(key, write, exports)
            for name, address in _shared[key].addresses.items():
                provide(name, address)


def compile_text(text: str, exports: tuple[str, ...]) -> Code:
    """The code of an IR text, past the cache."""
    start = time.perf_counter()
    with _lock:
        return _link(emit_object(text, targets.host()), exports, start, False)


def emit_object(text: str, target) -> bytes:
    """The object file of an IR text for a machine, not necessarily this one.

    Raises:
        RuntimeError: the text is not valid IR; LLVM's message.
    """
    from llvmlite import binding

    _initialize(binding, target)
    module = binding.parse_assembly(f'target triple = "{target.triple}"\n{text}')
    module.verify()
    # No IR passes: kernels are written in SSA form with explicit vectors (half the time, same code).
    machine = binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic"
    )
    return machine.emit_object(module)


def _initialize(binding, target) -> None:
    if target.triple == binding.get_process_triple():
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        binding.initialize_native_asmparser()  # inline assembly aborts the process without it
    else:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()


def _link(image: bytes, exports, start, cached) -> Code:
    global _jit, _libraries
    from llvmlite import binding

    if _jit is None:
        target = targets.host()
        _initialize(binding, target)
        machine = binding.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, jit=True
        )
        _jit = binding.create_lljit_compiler(machine)
    builder = binding.JITLibraryBuilder().add_object_img(image).add_current_process()
    for name, address in _symbols.items():
        builder.import_symbol(name, address)
    for name in exports:
        builder.export_symbol(name)
    _libraries += 1
    tracker = builder.link(_jit, f"danlu{_libraries}")
    addresses = {name: tracker[name] for name in exports}
    return Code(tracker, addresses, len(image), time.perf_counter() - start, cached)
