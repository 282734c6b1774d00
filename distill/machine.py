"""The processor of this machine: its name, its cores, what it can. Nothing is installed or assumed for that."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def cpu_name() -> str:
    """The processor's, or the board's, own name."""
    return (
        _cpuinfo().get("model name")
        or _text(Path("/proc/device-tree/model"))  # boards name themselves there, e.g. "Raspberry Pi 4 Model B Rev 1.4"
        or _sysctl("-n", "machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine()
    )


def features() -> set[str]:
    """What the system says that the processor can, in its own names, lower case."""
    info = _cpuinfo()
    linux = (info.get("flags") or info.get("features") or "").lower().split()
    lines = (line.rpartition(": ") for line in _sysctl("hw.optional").lower().splitlines())
    return {*linux, *(key for key, _, value in lines if value == "1")}


def cores() -> int:
    """Those that this process may use.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    lines = (line.partition(":") for line in _text(Path("/proc/cpuinfo")).splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in lines}


def _sysctl(*arguments: str) -> str:
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
