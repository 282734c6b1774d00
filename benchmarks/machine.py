"""The machine that the host figures were taken on, so that they can be read next year and elsewhere."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

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
        "cpu": _cpu_name(),
        "cores": _usable_cores(),
        "threads": 1,
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": _version("onnxruntime"),
        "distill": _version("distill"),
        "instruction_sets": instruction_sets(_reported_features()),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def instruction_sets(features: set[str]) -> dict[str, bool]:
    """Which of `INSTRUCTION_SETS` a system's own feature names amount to.

    >>> [name for name, there in instruction_sets({"avx2", "sse", "asimddp"}).items() if there]
    ['avx2', 'dotprod']
    """
    return {name: not features.isdisjoint(aliases) for name, aliases in INSTRUCTION_SETS.items()}


def _cpu_name() -> str:
    return (
        _cpuinfo().get("model name")
        or _text(Path("/proc/device-tree/model"))  # boards name themselves there, e.g. "Raspberry Pi 4 Model B Rev 1.4"
        or _sysctl("-n", "machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine()
    )


def _reported_features() -> set[str]:
    info = _cpuinfo()
    linux = (info.get("flags") or info.get("features") or "").lower().split()
    lines = (line.rpartition(": ") for line in _sysctl("hw.optional").lower().splitlines())
    return {*linux, *(key for key, _, value in lines if value == "1")}


def _cpuinfo() -> dict[str, str]:
    lines = (line.partition(":") for line in _text(Path("/proc/cpuinfo")).splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in lines}


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system answers
        return None


def _sysctl(*arguments: str) -> str:
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
