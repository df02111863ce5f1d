"""The facts of the machine that figures depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from llvmlite import binding

import vecdb
from vecdb.index.threads import usable_cores

_FEATURES: Final = ("avx2", "avx512f", "avx512vnni", "neon", "dotprod")
_LIBRARIES: Final = ("numpy", "numba", "llvmlite", "lmdb", "msgpack", "hnswlib", "faiss-cpu", "usearch", "scalable-vs")


def describe_machine() -> dict[str, str]:
    """Processor, instructions that kernels may use (as LLVM reports them), and versions."""
    features = binding.get_host_cpu_features()
    facts = {
        "cores": str(usable_cores()),
        "busy": f"{os.getloadavg()[0]:.2f} processes in the last minute, others' included",
        "processor": f"{platform.machine()} {binding.get_host_cpu_name()}",
        "instructions": " ".join(name for name in _FEATURES if features.get(name)) or "-",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "vecdb": vecdb.__version__,
    }
    return facts | {name: _version(name) for name in _LIBRARIES}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
