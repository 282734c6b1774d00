"""Programs for an emulated board: compiled, linked with the harness, weighed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emulated.cores import COMMON, Core, Memory
from distill.errors import DistillError

#: The C of this room: the harness of every program, the program that a student is measured in, QEMU's plugin.
NATIVE = Path(__file__).parent / "native"

#: Kept for the stack: far more than any program here uses, and what is used is measured.
STACK = 64 << 10

#: Its loops stay loops: as calls of memset they would be in what is measured.
_HARNESS = ("-fno-tree-loop-distribute-patterns",)

#: What each tool is brought by, on Debian.
_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "gcc": "gcc",
}


@dataclass(frozen=True)
class Program:
    """An ELF file with the addresses of its symbols. code: where what is measured begins and ends, the harness apart;
    flash, static_ram: its bytes."""

    path: Path
    symbols: Mapping[str, int]
    code: tuple[int, int]
    flash: int
    static_ram: int


def tool(name: str) -> str:
    """Where a program of the system is.

    Raises:
        DistillError: it is not there.
    """
    found = shutil.which(name)
    if found is None:
        package = _PACKAGES.get(name, _PACKAGES["arm-none-eabi-gcc"])
        raise DistillError(f"{name} is needed; on Debian: apt-get install --no-install-recommends {package}")
    return found


def check_tools() -> None:
    """Find out before the work whether all that is needed is there.

    Raises:
        DistillError: a tool is not.
    """
    for name in _PACKAGES:
        tool(name)


def build(core: Core, sources: Sequence[Path], output: Path, *, flags: Sequence[str] = ()) -> Program:
    """Compile and link `sources` (C, one with main) for a core, into the ELF file `output`.

    flags: more of them, behind those of the core; the last one counts.

    Raises:
        DistillError: a tool is missing, or the compiler refuses.
    """
    compiler = [tool("arm-none-eabi-gcc"), *COMMON, *core.flags]
    folder = output.parent
    objects = [folder / f"{output.stem}-{number}-{source.stem}.o" for number, source in enumerate(sources)]
    for source, into in zip(sources, objects, strict=True):
        run([*compiler, *flags, f"-I{NATIVE}", "-c", str(source), "-o", str(into)])
    harness = folder / "harness.o"
    run([*compiler, *_HARNESS, "-c", str(NATIVE / "harness.c"), "-o", str(harness)])
    linked = ["-nostartfiles", f"-T{NATIVE / 'board.ld'}", "-Wl,--gc-sections", *_map(core)]
    run([*compiler, *flags, *linked, *map(str, objects), str(harness), "-lm", "-o", str(output)])
    sections = _sections(output)
    code = sections.get(".text", Memory(0, 0))
    flash = [sections[name].size for name in (".text", ".rodata", ".ARM.exidx", ".data") if name in sections]
    static = [sections[name].size for name in (".data", ".bss") if name in sections]
    return Program(output, _symbols(output), (code.start, code.start + code.size), sum(flash), sum(static))


def run(command: Sequence[str]) -> str:
    """Run a program that builds something, and give what it prints.

    Raises:
        DistillError: it fails; the first line that says why.
    """
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no word"]
        )
        raise DistillError(f"{Path(command[0]).name} fails: {lines[0][:300]}")
    return done.stdout


def _map(core: Core) -> list[str]:
    areas = {"code": core.code, "ram": core.ram, "clips": core.clips}
    numbers = {"__stack_bytes": STACK}
    for name, area in areas.items():
        numbers |= {f"__{name}": area.start, f"__{name}_bytes": area.size}
    return [f"-Wl,--defsym={name}={number:#x}" for name, number in numbers.items()]


def _symbols(path: Path) -> dict[str, int]:
    lines = run([tool("arm-none-eabi-nm"), "--defined-only", str(path)]).splitlines()
    return {name: int(address, 16) for address, _kind, name in (line.split() for line in lines)}


def _sections(path: Path) -> dict[str, Memory]:
    lines = run([tool("arm-none-eabi-size"), "-A", str(path)]).splitlines()
    rows = (re.fullmatch(r"(\.\S+)\s+(\d+)\s+(\d+)\s*", line) for line in lines)
    return {row[1]: Memory(int(row[3]), int(row[2])) for row in rows if row}
