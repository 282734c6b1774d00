"""The processor is named on Linux, on boards and on Macs, and something is said where the system says nothing."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from distill import machine

System = Callable[..., None]

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu avx2 AVX512f\n"
BOARD = "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd crc32\n"
MAC = "hw.optional.neon: 1\nhw.optional.arm.FEAT_SME: 0\nhw.optional.arm.FEAT_BF16: 1\n"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """system(name, files={path: text}, sysctl={last argument: text}): pretend to be one."""

    def pretend(name: str, files: dict[str, str] | None = None, sysctl: dict[str, str] | None = None) -> None:
        def text(path: Path, **_: object) -> str:
            if str(path) not in (files or {}):
                raise FileNotFoundError(path)
            return (files or {})[str(path)]

        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(command, 0, (sysctl or {}).get(command[-1], ""))

        monkeypatch.setattr(Path, "read_text", text)
        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(platform, "system", lambda: name)
        monkeypatch.setattr(platform, "processor", lambda: "")
        monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    return pretend


def test_a_pc_names_its_processor(system: System) -> None:
    system("Linux", {"/proc/cpuinfo": X86})
    assert machine.cpu_name() == "Some CPU @ 2.00GHz" and machine.features() == {"fpu", "avx2", "avx512f"}


def test_a_board_names_itself(system: System) -> None:
    system("Linux", {"/proc/cpuinfo": BOARD, "/proc/device-tree/model": "Raspberry Pi 4 Model B\0"})
    assert machine.cpu_name() == "Raspberry Pi 4 Model B" and machine.features() == {"fp", "asimd", "crc32"}


def test_a_mac_is_asked_by_sysctl(system: System) -> None:
    system("Darwin", sysctl={"machdep.cpu.brand_string": "Apple M3\n", "hw.optional": MAC})
    assert machine.cpu_name() == "Apple M3"
    assert machine.features() == {"hw.optional.neon", "hw.optional.arm.feat_bf16"}


def test_where_nothing_is_said_the_architecture_is(system: System) -> None:
    system("Linux", sysctl={"hw.optional": MAC})  # nobody asks there
    assert machine.cpu_name() == "riscv64" and machine.features() == set()


def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert machine.cores() == 2
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: None)
    assert machine.cores() == 1
