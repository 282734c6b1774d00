"""A student in C on emulated cores: instructions, flash, memory, all for each second of audio, from PCM to answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.emulated import cycles
from benchmarks.emulated.building import NATIVE, Program, build, check_tools, run, tool
from benchmarks.emulated.cores import COMMON, Core, core
from benchmarks.emulated.counting import Counts, count, total
from benchmarks.emulated.parts import breakdown, mnemonics
from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.progress import Progress
from distill.student import Student
from distill.synthesis import manner, speak, voice

#: What is heard: as the memory on the host is taken.
SECONDS = 5.0

#: Samples a push: 10 ms, as a codec would hand them over.
PIECE = 160

#: The answers of a student in C and of its ONNX file are as near as this, or they are two students.
TOLERANCE = 0.02

#: What answers as a student does: float32 [1, samples] -> float32 [1, 3].
Answer = Callable[[np.ndarray], np.ndarray]

#: In the C: an axis that nobody taught.
_UNTAUGHT = np.iinfo(np.int32).min

#: Seconds that a student is compiled to keep, to see what each of them takes; one that hears streams keeps nothing.
_KEPT = (10, 11)
_PROBE = """#include "student.h"
#if STUDENT_CAUSAL
char bytes[1];
#else
char bytes[STUDENT_MEMORY_BYTES];
#endif
"""


@dataclass(frozen=True)
class Run:
    """What the program itself writes: answers, int32 [3]; bytes of stack, of state, of the buffer in it."""

    answers: np.ndarray
    stack: int
    memory: int
    buffer: int


def c_folder(student: Path) -> Path:
    """The student in C beside its ONNX file.

    Raises:
        DistillError: there is none.
    """
    folder = student.parent / "c"
    if not (folder / "student.c").is_file():
        raise DistillError(
            f"{folder}: no student in C beside {student.name}; "
            f"`distill export RUN --int8 --c -o {student.name}` makes it"
        )
    return folder


def clip(seconds: float) -> np.ndarray:
    """What is heard, int16 [samples]: synthesised speech, the same each time."""
    signal = speak(voice(1), manner(0.5, 0.5), seconds=seconds, seed=0)[: round(seconds * SAMPLING_RATE)]
    return np.clip(np.round(signal * 32768), -32768, 32767).astype("<i2")


def measure(student: Student, names: Sequence[str], *, seconds: float = SECONDS) -> dict[str, dict[str, Any]]:
    """Every core that is named: {name: what `benchmark.json` holds of it}.

    student: an exported one with its `c/` beside it. seconds: of the clip.

    Raises:
        DistillError: no such core, no student in C, a tool is missing, or the C is of another student.
    """
    cores = [core(name) for name in names]
    folder = c_folder(student.path)
    check_tools()
    found = {}
    with Progress("counting", total=len(cores), unit="cores") as progress:
        for one in cores:
            found[one.name] = {"student": student.path.as_posix(), **on_core(one, folder, student, clip(seconds))}
            progress.advance()
    return found


def on_core(core: Core, folder: Path, student: Answer, pcm: np.ndarray) -> dict[str, Any]:
    """What `benchmark.json` holds of one core, but for the student's name. folder: of the student in C; student: what
    answers as it should, float32 [1, samples] -> float32 [1, 3]; pcm: int16 [samples].

    Raises:
        DistillError: a tool is missing or fails, or the C answers otherwise.
    """
    seconds = len(pcm) / SAMPLING_RATE
    with tempfile.TemporaryDirectory(prefix="emulated-") as made:
        work = Path(made)
        program, counts, ran = _heard(core, folder, pcm, work)
        answers = np.where(ran.answers == _UNTAUGHT, np.nan, ran.answers / 65536)
        difference = _difference(student, folder, pcm, answers)
        timed = cycles.bracket(counts, mnemonics(program.path), core.timings) if core.timings else None
        parts = breakdown(program.path, counts)
        buffer = _buffer_per_second(core, folder, work)
    return {
        "instructions_per_second": round(total(counts) / seconds),
        "breakdown": {part: round(number / seconds) for part, number in parts.items()},
        "cycles_per_second": {bound: round(value / seconds) for bound, value in timed.items()} if timed else None,
        "flash_bytes": program.flash,
        "ram_bytes": program.static_ram + ran.stack,
        "stack_bytes": ran.stack,
        "buffer_bytes_per_second": buffer,
        "answers": dict(zip(AXES, answers.tolist(), strict=True)),
        "largest_difference": difference,
        "clip_seconds": seconds,
        "samples_a_push": PIECE,
        "emulated": {"board": core.board, "qemu": version("qemu-system-arm"), "compiler": version("arm-none-eabi-gcc"),
                     "flags": " ".join((*COMMON, *core.flags))},
    }  # fmt: skip


def c_answer(core: Core, folder: Path, pcm: np.ndarray, work: Path) -> np.ndarray:
    """What the student in C of a folder answers on a core, in whole numbers, int32 [3]. work: where it is compiled."""
    return _heard(core, folder, pcm, work)[2].answers


def _heard(core: Core, folder: Path, pcm: np.ndarray, work: Path) -> tuple[Program, Counts, Run]:
    program = student_program(core, folder, work / "student.elf")
    (work / "clip.pcm").write_bytes(pcm.astype("<i2").tobytes())
    counts = count(core, program, ["clip.pcm", "answer.bin", str(PIECE)], folder=work)
    return program, counts, _read(work / "answer.bin")


def student_program(core: Core, folder: Path, output: Path, *, flags: Sequence[str] = ()) -> Program:
    """The student in C of a folder, as a program that hears a clip."""
    sources = [NATIVE / "student_main.c", folder / "student.c"]
    return build(core, sources, output, flags=["-g", f"-I{folder}", *flags])


def version(name: str) -> str:
    """What a tool says of itself, in its first line."""
    return run([tool(name), "--version"]).splitlines()[0]


def _read(path: Path) -> Run:
    answers, (stack, memory, buffer) = np.fromfile(path, "<i4", 3), np.fromfile(path, "<u4", 7)[4:]
    return Run(answers, int(stack), int(memory), int(buffer))


def _difference(student: Answer, folder: Path, pcm: np.ndarray, answers: np.ndarray) -> float:
    expected = student((pcm.astype(np.float32) / 32768)[None])[0]
    difference = float(np.nanmax(np.abs(answers - expected)))
    if not difference <= TOLERANCE or bool(np.any(np.isnan(answers) != np.isnan(expected))):
        raise DistillError(
            f"{folder}: it answers other than the student beside it (off by {difference:.2g}); export both together"
        )
    return difference


def _buffer_per_second(core: Core, folder: Path, work: Path) -> int:
    """Bytes that a second of a clip takes which can be pushed only once."""
    sizes = []
    for kept in _KEPT:
        probe = work / f"keeps-{kept}.c"
        probe.write_text(_PROBE)
        made = probe.with_suffix(".o")
        run([tool("arm-none-eabi-gcc"), *core.flags, "-mthumb", f"-DSTUDENT_MAX_SECONDS={kept}", f"-I{folder}", "-c",
             str(probe), "-o", str(made)])  # fmt: skip
        sizes.append(int(run([tool("arm-none-eabi-nm"), "-S", str(made)]).split()[1], 16))
    return (sizes[1] - sizes[0]) // (_KEPT[1] - _KEPT[0])
