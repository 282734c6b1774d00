"""How often every instruction of a program is executed, on an emulated board.

Counted are instructions, not cycles: QEMU translates a program, it does not time it. Two runs of a program count alike
to the last instruction, whatever else the machine does.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emulated.building import NATIVE, Program, run, tool
from benchmarks.emulated.cores import Core
from distill.errors import DistillError

#: A program that has not ended by then (seconds) never will.
PATIENCE = 600


@dataclass(frozen=True)
class Count:
    """Of one instruction. left: how often another than the one behind it came next: branches taken."""

    executed: int
    left: int


#: By address.
Counts = dict[int, Count]


def total(counts: Counts) -> int:
    """All instructions.

    >>> total({16: Count(3, 0), 18: Count(3, 2)})
    6
    """
    return sum(count.executed for count in counts.values())


def count(core: Core, program: Program, arguments: Sequence[str] = (), *, folder: Path) -> Counts:
    """Run a program on a core's board, in `folder`, and count what it executes between its two marks.

    arguments: the words of its command line, behind its name.

    Raises:
        DistillError: it does not end as it should, or a tool is missing.
    """
    with tempfile.TemporaryDirectory(prefix="count-") as made:
        written = Path(made) / "counts.txt"
        options = {
            "low": program.code[0],
            "high": program.code[1],
            "begin": program.symbols["harness_begin"],
            "end": program.symbols["harness_end"],
        }
        said = ",".join([str(_plugin(Path(made))), *(f"{key}={value:#x}" for key, value in options.items())])
        _emulate(core, program, arguments, ["-plugin", f"{said},out={written}"], folder)
        if not written.is_file():
            raise DistillError(f"{program.path.name}: it ended on {core.title} without reaching the end mark")
        return parsed(written.read_text())


def parsed(text: str) -> Counts:
    """The plugin's file: address, times executed, times left.

    >>> parsed("310 5 0\\n312 5 4\\n")
    {784: Count(executed=5, left=0), 786: Count(executed=5, left=4)}
    """
    rows = (line.split() for line in text.splitlines())
    return {int(address, 16): Count(int(executed), int(left)) for address, executed, left in rows}


def _plugin(folder: Path) -> Path:
    """Compiled each time, in a blink: it belongs to this machine's QEMU."""
    made = folder / "count.so"
    run([tool("gcc"), "-O2", "-shared", "-fPIC", str(NATIVE / "count.c"), "-o", str(made)])
    return made


def _emulate(core: Core, program: Program, arguments: Sequence[str], options: Sequence[str], folder: Path) -> None:
    words = ",".join(f"arg={word}" for word in ("program", *arguments))
    command = [
        tool("qemu-system-arm"), "-M", core.board, "-nodefaults", "-display", "none", "-serial", "none",
        "-monitor", "none", "-semihosting-config", f"enable=on,target=native,{words}",
        "-kernel", str(program.path.resolve()), *options,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise DistillError(f"{program.path.name}: it does not end on {core.title}") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "has no peer" not in line] or ["it says nothing"]
        raise DistillError(f"{program.path.name}: it fails on {core.title}: {said[-1][:300]}")
