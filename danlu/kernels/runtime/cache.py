"""Machine code on disk, so that a second process starts warm.

One file a kernel, named by a digest of everything its code depends on: the kernel's key, the
processor and its features, the versions of llvmlite, LLVM and danlu, and the text of the code that
writes kernels. A file is its own digest followed by the object: a torn or foreign file is noticed,
removed and written again, and one of another user is left alone: what is read here is run. Files
appear whole (temporary name, then rename), so concurrent writers do no harm; whichever comes last
wins with the same content. When the folder grows beyond its limit, what was not used longest goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from functools import cache as _once
from pathlib import Path

__all__ = ["clear", "folder", "info", "key", "read", "write"]

_DIGEST = 16
# Files that the folder may hold, as looking through them takes time: 70 ms for so many.
MOST_FILES = 4096
_SUFFIX = ".obj"
# A file's time is that of its last use, to the day: writing it at every use would double the cost.
_DAY = 86400


def folder() -> Path | None:
    """Where the files are: `DANLU_CACHE`, or danlu/kernels in the user's cache folder; None when
    DANLU_CACHE is empty, which turns the cache off."""
    asked = os.environ.get("DANLU_CACHE")
    if asked is not None:
        return Path(asked) if asked else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base.startswith("~"):  # nobody's home is known
        return None
    return Path(base) / "danlu" / "kernels"


def limit() -> int:
    """Bytes that the folder may hold: `DANLU_CACHE_BYTES`, 256 MiB by default."""
    asked = os.environ.get("DANLU_CACHE_BYTES", "")
    return int(asked) if asked.isdecimal() else 256 << 20


@_once
def _generator() -> bytes:
    """A digest of the code that writes kernels: another text may write other kernels."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    package = Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def key(kernel: tuple, target) -> str:
    """The name of a kernel's file."""
    import llvmlite
    from llvmlite import binding

    from danlu.version import __version__

    digest = hashlib.blake2b(_generator(), digest_size=_DIGEST)
    parts = (kernel, tuple(target), llvmlite.__version__, binding.llvm_version_info, __version__)
    digest.update(repr(parts).encode())
    return digest.hexdigest()


def read(name: str) -> bytes | None:
    """The object of this name, or None; a damaged file is removed."""
    where = folder()
    if where is None:
        return None
    path = where / f"{name}{_SUFFIX}"
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0):
                return None
            content = file.read()
    except OSError:
        return None
    image = content[_DIGEST:]
    if hashlib.blake2b(image, digest_size=_DIGEST).digest() != content[:_DIGEST]:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    if time.time() - status.st_mtime > _DAY:
        with contextlib.suppress(OSError):
            os.utime(path)
    return image


def write(name: str, image: bytes) -> None:
    """Keep an object. A folder that cannot be written is no error: the next process compiles."""
    global _bytes_since_trim
    where = folder()
    if where is None:
        return
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=where, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.blake2b(image, digest_size=_DIGEST).digest() + image)
            os.replace(temporary, where / f"{name}{_SUFFIX}")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _bytes_since_trim += len(image)
        if _bytes_since_trim > limit() // 16:
            _bytes_since_trim = 0
            _trim(where)
    except OSError:
        return


# Bytes written since the folder was last looked through, which takes 5 ms for 250 kernels; enough at
# first for the first write of a process to look.
_bytes_since_trim = 1 << 62


def _files(where: Path):
    for entry in os.scandir(where):
        if entry.name.endswith((_SUFFIX, ".tmp")):
            with contextlib.suppress(OSError):
                status = entry.stat()
                yield status.st_mtime, status.st_size, entry.path


def _trim(where: Path) -> None:
    """Remove the files that were not used longest when there are too many bytes or too many files, down
    to three quarters."""
    files = sorted(_files(where))
    total = sum(size for _, size, _ in files)
    if total <= limit() and len(files) <= MOST_FILES:
        return
    left = len(files)
    for _, size, path in files:
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size
        left -= 1
        if total <= limit() * 3 // 4 and left <= MOST_FILES * 3 // 4:
            return


def info() -> dict:
    """What `danlu doctor` says: folder, number of files, their bytes, and the limit."""
    where = folder()
    files = []
    if where is not None:
        with contextlib.suppress(OSError):  # there is none, or it may not be read
            files = list(_files(where))
    return {
        "folder": None if where is None else str(where),
        "kernels": len(files),
        "bytes": sum(size for _, size, _ in files),
        "limit": limit(),
    }


def clear() -> int:
    """Remove all files; how many there were."""
    where = folder()
    if where is None or not where.is_dir():
        return 0
    count = 0
    for _, _, path in list(_files(where)):
        with contextlib.suppress(OSError):
            os.unlink(path)
            count += 1
    return count
