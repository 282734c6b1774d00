"""A student in C that is small enough to be read at a glance, beside an ONNX file that answers the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import onnx
import pytest
from onnx import numpy_helper

HEADER = """
#include <stddef.h>
#include <stdint.h>
#ifndef STUDENT_MAX_SECONDS
#define STUDENT_MAX_SECONDS 0
#endif
#define STUDENT_TWO_PASSES 0
#define STUDENT_BUFFER_BYTES (STUDENT_MAX_SECONDS * 100)
#define STUDENT_MEMORY_BYTES (64 + STUDENT_BUFFER_BYTES)
typedef struct { uint64_t *memory; } student;
void student_init(student *s, void *memory);
int student_push(student *s, const int16_t *pcm, size_t n);
int32_t student_result_q16(student *s, int32_t adv[3]);
"""

#: The mean of the rectified clip by three numbers, in units of 1 / 65536.
SOURCE = """
#include "student.h"
void student_init(student *s, void *memory) { s->memory = memory; s->memory[0] = s->memory[1] = 0; }
__attribute__((noinline)) static void log_mel(student *s, const int16_t *pcm, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) { EXTRA; sum += (uint64_t)(pcm[i] < 0 ? -pcm[i] : pcm[i]); }
    s->memory[0] += sum;
    s->memory[1] += n;
}
int student_push(student *s, const int16_t *pcm, size_t n) { log_mel(s, pcm, n); return 0; }
int32_t student_result_q16(student *s, int32_t adv[3])
{
    static const float by[3] = {BY};
    for (int i = 0; i < 3; i++) adv[i] = (int32_t)(2 * by[i] * (float)s->memory[0] / (float)s->memory[1]);
    return 1;
}
"""


@pytest.fixture(scope="session")
def arm(lacking: Callable[[str, str], NoReturn]) -> None:
    """The compiler for Arm's cores and the emulator; skipped without them, unless DISTILL_REQUIRE names "arm"."""
    missing = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc") if shutil.which(name) is None]
    if missing:
        lacking("arm", f"needs {', '.join(missing)}")


@pytest.fixture(scope="session")
def write_c() -> Callable[..., Path]:
    """write_c(student, extra=""): the student in C beside an ONNX file of `make_student`; extra: C done a sample."""
    return _write_c


def _write_c(student: Path, extra: str = "") -> Path:
    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(student)).graph.initializer}
    by = (weights["inward"] @ weights["outward"])[0]
    folder = student.parent / "c"
    folder.mkdir(exist_ok=True)
    (folder / "student.h").write_text(HEADER)
    numbers = ", ".join(f"{value:.9g}f" for value in by)
    (folder / "student.c").write_text(SOURCE.replace("EXTRA", extra).replace("BY", numbers))
    return folder
