"""How many threads the BLAS library behind NumPy uses, and which library that is."""

from __future__ import annotations

import math
import os

__all__ = [
    "apply_cpu_limit", "blas_info", "blas_product", "default_num_threads",
    "get_num_interop_threads", "get_num_threads", "keep_blas_single", "on_change",
    "set_num_interop_threads", "set_num_threads",
]  # fmt: skip

# functions by library: (set threads, get threads, describe the build); NumPy's wheels rename
# OpenBLAS's
_OPENBLAS_PREFIXES, _OPENBLAS_SUFFIXES = ("scipy_", ""), ("64_", "_64", "")
_OTHERS = (
    ("MKL", "MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
    ("BLIS", "bli_thread_set_num_threads", "bli_thread_get_num_threads"),
    ("NVPL BLAS", "nvpl_blas_set_num_threads", "nvpl_blas_get_max_threads"),
)

_threads: int | None = None
_interop_threads: int | None = None
_blas_single = False


# ---------------------------------------------------------------- how many CPUs there are
def _from_environment() -> int | None:
    """The first number of OMP_NUM_THREADS (`4`, or `4,2` by nesting level), None if it names
    none."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read().decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _cgroup_cpus(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int | None:
    """The CPUs that a container's quota pays for, rounded up; None where there is no quota.

    Version 2 writes `quota period` into `cpu.max` of every group from the process's own up to the
    root, and the smallest counts; version 1 has two files in its `cpu` hierarchy.
    """
    limits = []
    for line in (_read(membership) or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            if number == "0" and not controllers:
                group = "/".join((root, *parts[:depth]))
                quota, _, period = (_read(f"{group}/cpu.max") or "").partition(" ")
            elif "cpu" in controllers.split(","):
                group = "/".join((root, controllers, *parts[:depth]))
                quota = _read(f"{group}/cpu.cfs_quota_us") or ""
                period = _read(f"{group}/cpu.cfs_period_us") or ""
            else:
                break
            if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
                limits.append(math.ceil(int(quota) / int(period)))
    return min(limits) if limits else None


def _available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_num_threads() -> int:
    """OMP_NUM_THREADS, or else the CPUs this process may use: its affinity, within its cgroup's
    quota."""
    asked = _from_environment()
    if asked is not None:
        return asked
    return max(1, min(_available_cpus(), _cgroup_cpus() or _available_cpus()))


# ---------------------------------------------------------------- the BLAS library
class _Blas:
    """The BLAS library that NumPy has loaded: its name, its file where known, its thread switches,
    and its products of matrices by type letter."""

    __slots__ = ("description", "get_threads", "name", "path", "products", "set_threads")

    def __init__(self):
        self.name = "unknown"
        self.path = None
        self.description = None
        self.set_threads = self.get_threads = None
        self.products = {}
        for path, library in _loaded_libraries():
            if self._found_openblas(library) or self._found_other(library):
                self.path = path
                break

    def _found_openblas(self, library) -> bool:
        from ctypes import c_char_p

        for prefix in _OPENBLAS_PREFIXES:
            for suffix in _OPENBLAS_SUFFIXES:
                if hasattr(library, f"{prefix}openblas_set_num_threads{suffix}"):
                    self.name = "OpenBLAS"
                    self.set_threads = library[f"{prefix}openblas_set_num_threads{suffix}"]
                    self.get_threads = library[f"{prefix}openblas_get_num_threads{suffix}"]
                    describe = library[f"{prefix}openblas_get_config{suffix}"]
                    describe.restype = c_char_p
                    self.description = describe().decode()
                    for letter in "sd":
                        symbol = f"{prefix}cblas_{letter}gemm{suffix}"
                        if hasattr(library, symbol):
                            self.products[letter] = library[symbol]
                    return True
        return False

    def _found_other(self, library) -> bool:
        for name, setter, getter in _OTHERS:
            if hasattr(library, setter):
                self.name = name
                self.set_threads, self.get_threads = library[setter], library[getter]
                return True
        return False


def _loaded_libraries():
    """(file or None, library) for what may hold BLAS: the files bundled with NumPy, which is all
    that Windows lets us search, then NumPy's extension module, through which other systems also
    find what it links to."""
    import ctypes
    from glob import glob

    import numpy

    package = os.path.dirname(numpy.__file__)
    bundled = os.path.join(os.path.dirname(package), "numpy.libs"), os.path.join(package, ".dylibs")
    for folder in bundled:
        for path in sorted(glob(os.path.join(folder, "*openblas*"))):
            yield from _opened(ctypes, path, path)
    from numpy._core import _multiarray_umath

    yield from _opened(ctypes, None, _multiarray_umath.__file__)


def _opened(ctypes, path, file):
    try:
        yield path, ctypes.CDLL(file)
    except OSError:
        return


_blas: _Blas | None = None


def _library() -> _Blas:
    global _blas
    if _blas is None:
        _blas = _Blas()
    return _blas


def blas_info() -> dict:
    """What `danlu doctor` says of BLAS.

    Returns:
        name: "OpenBLAS", "MKL", ... or "unknown", whose threads danlu cannot set.
        description: the library's own words on its version and build, or None.
        path: the file NumPy bundles, or None.
        threads: how many it uses now, or None.
    """
    blas = _library()
    return {
        "name": blas.name,
        "description": blas.description,
        "path": blas.path,
        "threads": None if blas.get_threads is None else int(blas.get_threads()),
    }


def blas_product(letter: str) -> tuple[int, int] | None:
    """(address, bytes of its integers) of the library's `cblas_sgemm` ("s") or `cblas_dgemm` ("d");
    None of libraries other than OpenBLAS, which do not say how long their integers are."""
    from ctypes import c_void_p, cast

    blas = _library()
    if letter not in blas.products:
        return None
    address = cast(blas.products[letter], c_void_p).value or 0
    return address, 8 if "USE64BITINT" in blas.description else 4


# ---------------------------------------------------------------- the public switches
def _checked(function: str, n) -> int:
    if not isinstance(n, int) or isinstance(n, bool):
        raise RuntimeError(f"{function} expects an int, but got {type(n).__name__}")
    if n < 1:
        raise RuntimeError(f"{function} expects a positive integer, got {n}")
    return n


def get_num_threads() -> int:
    """The number of threads for one operation on the CPU: what `set_num_threads` set, or the
    default.

    Example:
        >>> import danlu as torch
        >>> torch.get_num_threads() >= 1
        True
    """
    return default_num_threads() if _threads is None else _threads


def set_num_threads(n: int) -> None:
    """Set the number of threads for one operation on the CPU.

    BLAS gets the same number, or one once there are generated kernels, whose threads they become.

    Args:
        n: at least 1; 1 is often the fastest for small networks.

    Raises:
        RuntimeError: `n` is not a positive int.

    Example:
        >>> import danlu as torch
        >>> before = torch.get_num_threads()
        >>> torch.set_num_threads(1)
        >>> torch.get_num_threads()
        1
        >>> torch.set_num_threads(before)
    """
    global _threads
    _threads = _checked("set_num_threads", n)
    if not _blas_single:
        _set_blas_threads(_threads)
    for call in _observers:
        call()


def on_change(call) -> None:
    """Call this function, without arguments, whenever `set_num_threads` has been called."""
    _observers.append(call)


_observers: list = []


def _set_blas_threads(n: int) -> None:
    blas = _library()
    if blas.set_threads is not None:
        blas.set_threads(n)


def keep_blas_single() -> None:
    """Leave BLAS one thread from now on: the pool of the generated kernels has the others.

    BLAS's workers spin on their cores for up to 100 ms after a product, and wait for each other in
    loops: on cores that are also wanted elsewhere OpenBLAS inverts 600 x 600 in 250 ms with two
    threads and in 46 with one.
    """
    global _blas_single
    if not _blas_single:
        _blas_single = True
        _set_blas_threads(1)


def apply_cpu_limit() -> None:
    """Keep BLAS within a cgroup's quota, which it does not know by itself; costs two small reads
    elsewhere."""
    if _threads is None and _from_environment() is None:
        quota = _cgroup_cpus()
        if quota is not None and quota < _available_cpus():
            set_num_threads(quota)


def get_num_interop_threads() -> int:
    """The number of operations that may run at the same time; kept for PyTorch's sake, danlu runs
    them in turn."""
    return default_num_threads() if _interop_threads is None else _interop_threads


def set_num_interop_threads(n: int) -> None:
    """Set the number of operations that may run at the same time, once.

    Raises:
        RuntimeError: `n` is not a positive int, or the number was set before.
    """
    global _interop_threads
    _checked("set_num_interop_threads", n)
    if _interop_threads is not None:
        raise RuntimeError(
            "Error: cannot set number of interop threads after parallel work has started or "
            "set_num_interop_threads called"
        )
    _interop_threads = n
