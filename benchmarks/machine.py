"""The machine that the host figures were taken on, so that they can be read next year and elsewhere."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

from distill.machine import cores, cpu_name, features

#: Instruction sets that decide how fast int8 and float kernels run, by the names that Linux and macOS give them.
INSTRUCTION_SETS = {
    "avx2": ("avx2",),
    "fma": ("fma",),
    "avx512f": ("avx512f",),
    "avx512_vnni": ("avx512_vnni",),
    "avx_vnni": ("avx_vnni",),
    "amx_int8": ("amx_int8",),
    "neon": ("neon", "asimd", "hw.optional.neon", "hw.optional.advsimd"),
    "dotprod": ("asimddp", "hw.optional.arm.feat_dotprod"),
    "i8mm": ("i8mm", "hw.optional.arm.feat_i8mm"),
    "sve": ("sve",),
}


def describe() -> dict[str, Any]:
    """{cpu, cores, threads, memory_bytes, system, python, onnxruntime, distill, instruction_sets, date}.

    cores: those that this process may use. threads: always 1, what every figure is taken with. distill: null where the
    project runs from a checkout that was not installed. date: UTC.
    """
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "threads": 1,
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": _version("onnxruntime"),
        "distill": _version("distill"),
        "instruction_sets": instruction_sets(features()),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def instruction_sets(features: set[str]) -> dict[str, bool]:
    """Which of `INSTRUCTION_SETS` a system's own feature names amount to.

    >>> [name for name, there in instruction_sets({"avx2", "sse", "asimddp"}).items() if there]
    ['avx2', 'dotprod']
    """
    return {name: not features.isdisjoint(aliases) for name, aliases in INSTRUCTION_SETS.items()}


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system answers
        return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
