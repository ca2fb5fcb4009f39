"""`danlu doctor`: what danlu found on this machine, what is missing, and how to install it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from danlu.version import __version__, torch_version

# The extras of pyproject.toml: package -> what danlu uses it for.
EXTRAS = {
    "science": {"scipy": "special functions, LAPACK decompositions"},
    "keras": {
        "pandas": "the history that fit returns",
        "tqdm": "progress bars",
        "matplotlib": "plot_metric and live plots",
    },
    "vision": {"pillow": "reading and writing pictures"},
    "tour": {"scikit-learn": "the data sets of danlu tour", "matplotlib": "its pictures"},
    "tensorboard": {"tensorboard": "SummaryWriter"},
    "safetensors": {"safetensors": "reading and writing .safetensors files"},
    "compile": {"llvmlite": "compiled kernels"},
}


def main(arguments: list[str]) -> int:
    """Print the report, as text or with `--json` as JSON; a missing part is no failure."""
    import argparse

    parser = argparse.ArgumentParser(prog="danlu doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    report = examine()
    if options.json:
        import json

        print(json.dumps(report, indent=2))
    else:
        print(as_text(report))
    return 0


def examine() -> dict[str, Any]:
    """All facts, as a dictionary that JSON can hold."""
    return {
        "danlu": {
            "version": __version__,
            "follows": f"PyTorch {torch_version}",
            "folder": str(Path(__file__).parents[1]),
        },
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": usable_cores(),
        },
        "packages": {name: version_of(name) for name in ("numpy", "ml_dtypes")},
        "threads": threads(),
        "backends": backends(),
        "kernels": kernels(),
        "kernel cache": kernel_cache(),
        "extras": extras(),
    }


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """The cores this process may use, which are fewer than the machine's under taskset or in a
    container.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> dict[str, Any]:
    from danlu.backend.threads import blas_info, get_num_threads

    return {"number": get_num_threads(), "blas": blas_info()}


def backends() -> dict[str, dict[str, Any]]:
    """The array backends by device: whether each is usable, and by what."""
    found: dict[str, dict[str, Any]] = {
        "cpu": {"available": True, "by": f"NumPy {version_of('numpy')}"}
    }
    if find_spec("cupy") is None:
        found["cuda"] = {"available": False, "by": "CuPy is not installed"}
        return found
    try:
        import cupy  # type: ignore[import-not-found]

        count = cupy.cuda.runtime.getDeviceCount()
        found["cuda"] = {
            "available": count > 0,
            "by": f"CuPy {cupy.__version__}, {count} device(s)",
        }
    except Exception as error:  # a broken driver raises errors of CuPy's own, and is a finding here
        found["cuda"] = {"available": False, "by": f"CuPy does not work: {error}"}
    return found


def kernels() -> dict[str, Any]:
    """The road that numeric functions take, and of generated code what it is written for."""
    from danlu.kernels.runtime import road

    found: dict[str, Any] = {"road": road.mode(), "reason": road.reason()}
    if found["reason"] is not None:
        return found
    import llvmlite
    from llvmlite import binding

    from danlu.kernels.codegen import target
    from danlu.kernels.runtime import launch, memory, pool

    memory.install()
    host = target.host()
    return found | {
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, binding.llvm_version_info)),
        "processor": host.cpu,
        "vector bits": 8 * host.vector_bytes,
        "threads": pool.thread_count(),
        "calls": "direct" if launch.direct_calls() else "through ctypes",
        "memory cache": {"bytes": memory.statistics().limit, "reason": memory.reason()},
    }


def kernel_cache() -> dict[str, Any]:
    """Where compiled kernels are kept, and how much there is."""
    from danlu.kernels.runtime import cache

    return cache.info()


def extras() -> dict[str, dict[str, Any]]:
    found = {}
    for extra, packages in EXTRAS.items():
        versions = {package: version_of(package) for package in packages}
        found[extra] = {
            "packages": versions,
            "for": packages,
            "complete": None not in versions.values(),
            "install": f"pip install 'danlu[{extra}]'",
        }
    return found


def kernel_rows(kernels: dict[str, Any], cache: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of generated code."""
    if kernels["reason"] is not None:
        rows = [("kernels", f"NumPy: {kernels['reason']}")]
    else:
        rows = [
            (
                "kernels",
                f"{kernels['road']}: llvmlite {kernels['llvmlite']}, LLVM {kernels['llvm']}, for "
                f"{kernels['processor']} with {kernels['vector bits']}-bit vectors, "
                f"{kernels['threads']} threads, called {kernels['calls']}",
            )
        ]
        memory = kernels["memory cache"]
        kept = f"up to {memory['bytes'] >> 20} MiB of free memory are kept"
        rows.append(("memory cache", f"no: {memory['reason']}" if memory["reason"] else kept))
    where = f"in {cache['folder']}" if cache["folder"] else "turned off by DANLU_CACHE="
    size = f"{cache['bytes'] / 2**20:.1f} of {cache['limit'] >> 20} MiB"
    return [*rows, ("kernel cache", f"{cache['kernels']} kernels, {size}, {where}")]


def as_text(report: dict[str, Any]) -> str:
    """The report as lines for a reader."""
    danlu, python, machine = report["danlu"], report["python"], report["machine"]
    rows = [
        ("danlu", f"{danlu['version']} (follows {danlu['follows']}), in {danlu['folder']}"),
        ("Python", f"{python['version']} ({python['implementation']}), {python['executable']}"),
        ("machine", f"{machine['system']}, {machine['processor']}, {machine['cores']} cores"),
    ]
    rows += [(name, version or "MISSING") for name, version in report["packages"].items()]
    rows += [
        ("threads", str(report["threads"]["number"])),
        ("BLAS", ", ".join(f"{key} {value}" for key, value in report["threads"]["blas"].items())),
    ]
    for device, backend in report["backends"].items():
        rows.append((f"backend {device}", ("" if backend["available"] else "no: ") + backend["by"]))
    rows += kernel_rows(report["kernels"], report["kernel cache"])
    lines = [f"{name:14} {value}" for name, value in rows]
    lines += ["", "extras"]
    for extra, state in report["extras"].items():
        for package, version in state["packages"].items():
            lines.append(
                f"  {extra:12} {package:14} {version or 'missing':10} {state['for'][package]}"
            )
    lacking = [state["install"] for state in report["extras"].values() if not state["complete"]]
    if lacking:
        lines += ["", "to install what is missing:", *(f"  {command}" for command in lacking)]
    else:
        lines += ["", "nothing is missing"]
    return "\n".join(lines)
