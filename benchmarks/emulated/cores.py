"""The cores that there are boards for in QEMU, and how programs for them are compiled."""

from __future__ import annotations

from dataclasses import dataclass

from distill.errors import DistillError

#: Of every core: what a firmware engineer would write.
COMMON = ("-std=c99", "-O2", "-mthumb", "-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True)
class Memory:
    """An area of a board's memory, in bytes."""

    start: int
    size: int


@dataclass(frozen=True)
class Core:
    """A processor and the board that emulates it.

    clips: where what the harness reads and writes lies, apart from the memory of what is measured. timings: the table
    of `benchmarks.emulated.cycles` that holds for it, None where instructions take what cannot be told from a table.
    """

    name: str
    title: str
    board: str
    flags: tuple[str, ...]
    code: Memory
    ram: Memory
    clips: Memory
    timings: str | None


_MPS2 = {"code": Memory(0, 4 << 20), "ram": Memory(0x2000_0000, 4 << 20), "clips": Memory(0x2100_0000, 16 << 20)}
_MPS3 = {"code": Memory(0, 512 << 10), "ram": Memory(0x2000_0000, 512 << 10), "clips": Memory(0x6000_0000, 64 << 20)}

CORES = {
    core.name: core
    for core in (
        Core("cortex-m3", "Cortex-M3", "mps2-an385", ("-mcpu=cortex-m3",), **_MPS2, timings="m3"),
        Core("cortex-m4", "Cortex-M4", "mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard"), **_MPS2, timings="m4"),
        Core("cortex-m55", "Cortex-M55", "mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), **_MPS3, timings=None),
    )
}


def core(name: str) -> Core:
    """The core of this name.

    >>> core("cortex-m4").board
    'mps2-an386'

    Raises:
        DistillError: there is none.
    """
    if name not in CORES:
        raise DistillError(f"{name}: no such core; there are {', '.join(CORES)}")
    return CORES[name]
