"""What a generator's C for the trunk takes on an emulated core, at each of a few flags: the best counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.emulated.building import NATIVE, build
from benchmarks.emulated.cores import Core
from benchmarks.emulated.counting import count, total
from distill.errors import DistillError

#: By which a peer may be compiled; the one with the fewest instructions is reported.
FLAGS: Mapping[str, Sequence[str]] = {
    "-O3": ("-O3",),
    "-O3 -ffast-math": ("-O3", "-ffast-math"),
    "-O3 -ffast-math -funroll-loops": ("-O3", "-ffast-math", "-funroll-loops"),
}

#: Newlib's, for what a core without a system has none of.
_SYSTEM = ("--specs=nosys.specs", "-Wl,--no-warn-mismatch")

#: How far answers may be off what onnxruntime says of the same file.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Made:
    """A generator's C file. name: of its function; expected: what onnxruntime answers on the same input, [3]."""

    source: Path
    name: str
    expected: np.ndarray


def best(core: Core, made: Made, mel: np.ndarray, folder: Path) -> dict[str, Any]:
    """{instructions, flags, flash_bytes, ram_bytes, by_flags, largest_difference} of the best flags.

    mel: float32 [1, 1, frames, bands], what the trunk takes. ram_bytes: static, heap and stack at their largest.

    Raises:
        DistillError: it does not compile or run, or answers other than onnxruntime.
    """
    found = {said: _at(core, made, mel, folder, flags) for said, flags in FLAGS.items()}
    said = min(found, key=lambda flags: int(found[flags]["instructions"]))
    return {**found[said], "flags": said, "by_flags": {each: one["instructions"] for each, one in found.items()}}


def _at(core: Core, made: Made, mel: np.ndarray, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    sources = [NATIVE / "peer_main.c", made.source]
    more = [*flags, "-std=gnu11", "-w", f"-DPEER={made.name}", *_SYSTEM]
    program = build(core, sources, folder / "peer.elf", flags=more)
    (folder / "mel.bin").write_bytes(mel.astype("<f4").tobytes())
    counts = count(core, program, ["mel.bin", "answer.bin"], folder=folder)
    answer, (stack, heap) = np.fromfile(folder / "answer.bin", "<f4", 3), np.fromfile(folder / "answer.bin", "<u4")[3:]
    difference = float(np.abs(answer - made.expected).max())
    if difference > TOLERANCE:
        raise DistillError(f"{made.source.name}: it answers other than onnxruntime, off by {difference:.2g}")
    return {
        "instructions": total(counts),
        "flash_bytes": program.flash,
        "ram_bytes": program.static_ram + int(stack) + int(heap),
        "largest_difference": difference,
    }
