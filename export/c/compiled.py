"""The engine compiled for this machine, and asked through ctypes: for the ladder, and for tests."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError
from distill.golden import FULL_SCALE

#: What stands in an answer of whole numbers for an axis that nobody taught.
UNTAUGHT = -(2**31)

#: Of a whole number in an answer.
UNIT = 2.0**-16

#: What the engine is compiled with here; the processor's own vectors are added where the compiler knows them.
FLAGS = ("-std=c99", "-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")

_NATIVE = "-march=native"


def compiler() -> str | None:
    """A C compiler of this machine: what CC names, else cc, gcc or clang; None where there is none."""
    named = os.environ.get("CC")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def compiled(folder: Path, *, flags: Sequence[str] = (_NATIVE,)) -> Engine:
    """Compile `folder`/student.c into a library beside it, of a name of its own, and open that: a process loads no path
    twice.

    Raises:
        DistillError: there is no compiler, or it refuses.
    """
    found, library = compiler(), folder / f"student-{secrets.token_hex(4)}.so"
    if found is None:
        raise DistillError("no C compiler here: install gcc or clang, or name one by CC")
    said = _compile(found, [*FLAGS, *flags], folder, library)
    if said and _NATIVE in flags:  # not every compiler knows it
        said = _compile(found, [*FLAGS, *(flag for flag in flags if flag != _NATIVE)], folder, library)
    if said:
        first = next((line for line in said.splitlines() if "error" in line), "it says nothing")
        raise DistillError(f"{folder / 'student.c'}: does not compile: {first}")
    return Engine(library)


def _compile(compiler: str, flags: Sequence[str], folder: Path, library: Path) -> str:
    """What the compiler says where it refuses, else nothing."""
    command = [compiler, *flags, str(folder / "student.c"), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return (done.stderr or "it says nothing") if done.returncode else ""


class Engine:
    """A student's engine in a library of this machine.

    Raises OSError where the library cannot be loaded.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.student_memory_bytes.restype = ctypes.c_size_t
        self.memory_bytes = int(self._library.student_memory_bytes())
        self._memory = (ctypes.c_int64 * (self.memory_bytes // 8 + 1))()
        self._student = ctypes.c_void_p()  # struct student is one pointer
        self.two_passes = hasattr(self._library, "student_level_push")

    def start(self) -> None:
        """Begin a clip, or a stream."""
        self._library.student_init(ctypes.byref(self._student), self._memory)

    def level_push(self, pcm: np.ndarray) -> int:
        """The first pass over int16 [samples]; what the engine returns."""
        return self._pushed(self._library.student_level_push, pcm)

    def push(self, pcm: np.ndarray) -> int:
        """int16 [samples]; what the engine returns."""
        return self._pushed(self._library.student_push, pcm)

    def result(self) -> tuple[np.ndarray, int]:
        """The answer in whole numbers, int32 [3], and the tokens heard."""
        adv = np.zeros(len(AXES), np.int32)
        heard = self._library.student_result_q16(ctypes.byref(self._student), _address(adv))
        return adv, int(heard)

    def result_float(self) -> np.ndarray:
        """float32 [3], NaN on the axes that nobody taught."""
        adv = np.zeros(len(AXES), np.float32)
        self._library.student_result(ctypes.byref(self._student), _address(adv))
        return adv

    def hear(self, pieces: Iterable[np.ndarray]) -> np.ndarray:
        """A clip in pieces, int16 [samples] each: the answer in whole numbers, int32 [3].

        Raises:
            DistillError: the engine refuses.
        """
        pieces = list(pieces)
        self.start()
        passes = [self.level_push, self.push] if self.two_passes else [self.push]
        for push in passes:
            for piece in pieces:
                status = push(piece)
                if status:
                    raise DistillError(f"the C engine refuses {len(piece)} samples: {status}")
        return self.result()[0]

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        """float32 [1, samples] at -1..1, rounded to 16 bits -> float32 [1, 3]."""
        return as_float(self.hear([to_samples(pcm[0])]))[None]

    def _pushed(self, function: ctypes._NamedFuncPointer, pcm: np.ndarray) -> int:  # type: ignore[name-defined]
        kept = np.ascontiguousarray(pcm, np.int16)
        return int(function(ctypes.byref(self._student), _address(kept), ctypes.c_size_t(len(kept))))


def to_samples(signal: np.ndarray) -> np.ndarray:
    """float32 at -1..1 to int16, cut off.

    >>> to_samples(np.array([0.5, 2.0, -2.0])).tolist()
    [16384, 32767, -32768]
    """
    return np.clip(np.round(signal * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_float(adv: np.ndarray) -> np.ndarray:
    """An answer of whole numbers as float32, NaN where nobody taught an axis.

    >>> as_float(np.array([32768, UNTAUGHT, 0], np.int32)).tolist()
    [0.5, nan, 0.0]
    """
    return np.where(adv == UNTAUGHT, np.nan, adv * UNIT).astype(np.float32)


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
