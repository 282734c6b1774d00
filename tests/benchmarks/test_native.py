"""The student in C on this host, in the same turns as the ONNX files."""

import shutil

import numpy as np
import pytest

from benchmarks.benchmark import benchmark
from benchmarks.native import native
from distill.errors import DistillError
from distill.student import Student

#: Three answers that are the mean of the rectified clip by three numbers, by the engine's functions.
HEADER = """
#include <stddef.h>
#include <stdint.h>
typedef struct { int64_t *memory; } student;
"""
SOURCE = """
#include "student.h"
size_t student_memory_bytes(void) { return 16; }
void student_init(student *s, void *memory) { s->memory = memory; s->memory[0] = s->memory[1] = 0; }
int student_push(student *s, const int16_t *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) s->memory[0] += pcm[i] < 0 ? -pcm[i] : pcm[i];
    s->memory[1] += (int64_t)n;
    return 0;
}
int32_t student_result_q16(student *s, int32_t adv[3])
{
    static const double by[3] = {BY};
    for (int i = 0; i < 3; i++) adv[i] = (int32_t)(2 * by[i] * (double)s->memory[0] / (double)s->memory[1]);
    return 1;
}
"""


@pytest.fixture
def student(make_student, tmp_path, lacking):
    """A student with its C, which is refused where its answers are `off` by so much."""
    if shutil.which("gcc") is None:
        lacking("cc", "needs gcc")
    path = make_student(tmp_path / "tiny.onnx")
    loud = Student(path)(np.ones((1, 16_000), np.float32))[0]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "student.h").write_text(HEADER)
    (tmp_path / "c" / "student.c").write_text(SOURCE.replace("BY", ", ".join(f"{value:.9g}" for value in loud)))
    return path


def test_it_is_timed_beside_the_models(student, tmp_path):
    result = benchmark([student], devices=["host"], rounds=3, seconds=(0.5, 5), output=tmp_path / "report")
    host = result["devices"]["host"]
    assert list(host["latency_ms"]) == list(host["ratio_to_first"]) == ["0.5", "5"]
    timed, first = host["latency_ms"]["5"], result["models"][0]["latency_ms"]["5"]
    assert timed["n"] == 3 and host["ratio_to_first"]["5"] == timed["median"] / first["median"]
    assert host["ram_bytes"] == 16 and host["flash_bytes"] > 100 and "-O3" in host["compiled"]["flags"]
    assert "In C on this host" in (tmp_path / "report" / "report.md").read_text()


def test_it_answers_as_the_file_does_and_leaves_its_folder_as_it_was(student, tmp_path, tone):
    before = sorted((tmp_path / "c").iterdir())
    with native(Student(student)) as engine:
        signal = tone(1.0)[None]
        assert engine(engine.heard(signal)) == pytest.approx(Student(student)(signal), abs=1e-3)
    assert sorted((tmp_path / "c").iterdir()) == before


def test_the_c_of_another_student_is_refused(student, tmp_path):
    source = tmp_path / "c" / "student.c"
    source.write_text(source.read_text().replace("adv[i] = ", "adv[i] = 6554 + "))
    with pytest.raises(DistillError, match=r"it answers other than tiny\.onnx"), native(Student(student)):
        pass
