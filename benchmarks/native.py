"""A student in C on this host: timed in the same turns as the ONNX files, so that ratios mean something."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.emulated.devices import TOLERANCE, c_folder, clip
from distill.errors import DistillError
from distill.student import Student
from export.c.compiled import FLAGS, Engine, as_float, compiled, compiler, to_samples

#: The processor's own vectors: what runs here may be compiled for here.
FOR_THIS_HOST = ("-march=native",)


class Native:
    """The engine, where a `Student` is timed."""

    def __init__(self, student: Student, engine: Engine, library: Path) -> None:
        self.path, self.card = student.path, student.card
        self._engine, self._library = engine, library

    @staticmethod
    def heard(signals: np.ndarray) -> np.ndarray:
        """float32 [1, samples] as what the engine takes: done before the clock runs, as by a microphone."""
        return to_samples(signals[0])

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        """int16 [samples] -> float32 [1, 3]."""
        return as_float(self._engine.hear([pcm]))[None]

    def describe(self) -> dict[str, Any]:
        """What `benchmark.json` holds beside the times."""
        return {
            "flash_bytes": _flash(self._library),
            "ram_bytes": self._engine.memory_bytes,
            "student": self.path.as_posix(),
            "compiled": {"compiler": _version(), "flags": " ".join((*FLAGS, *FOR_THIS_HOST))},
        }


@contextmanager
def native(student: Student) -> Iterator[Native]:
    """The student in C beside an ONNX file, compiled for this host.

    Raises:
        DistillError: there is none, or no compiler, or it is another student's.
    """
    folder = c_folder(student.path)
    with tempfile.TemporaryDirectory(prefix="native-") as made:
        sources = Path(made) / folder.name
        shutil.copytree(folder, sources)
        answering = compiled(sources, flags=FOR_THIS_HOST)
        engine = Native(student, answering, next(sources.glob("*.so")))
        _check_answer(engine, student, folder)
        yield engine


def _check_answer(engine: Native, student: Student, folder: Path) -> None:
    pcm = clip(1.0)
    off = float(np.nanmax(np.abs(engine(pcm) - student((pcm.astype(np.float32) / 32768)[None]))))
    if off > TOLERANCE:
        raise DistillError(
            f"{folder}: it answers other than {student.path.name} (off by {off:.2g}); export both together"
        )


def _flash(library: Path) -> int | None:
    """Code and constants, bytes; None where there is no `size`."""
    try:
        printed = subprocess.run(["size", "-A", str(library)], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return sum(int(row[1]) for row in re.finditer(r"^\.(?:text|rodata|data)\s+(\d+)", printed, re.MULTILINE))


def _version() -> str:
    done = subprocess.run([str(compiler()), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]
