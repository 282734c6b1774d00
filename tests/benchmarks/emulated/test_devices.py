"""A student in C on emulated cores, against the ONNX file beside it."""

import numpy as np
import pytest

from benchmarks.emulated.cores import CORES
from benchmarks.emulated.devices import clip, measure
from distill.annotation import AXES
from distill.errors import DistillError
from distill.student import Student


@pytest.fixture(scope="module")
def student(arm, make_student, write_c, tmp_path_factory):
    path = make_student(tmp_path_factory.mktemp("student") / "tiny.onnx")
    write_c(path)
    return Student(path)


@pytest.fixture(scope="module")
def devices(student):
    return measure(student, list(CORES), seconds=0.5)


def test_every_core_answers_the_same(devices, student):
    pcm = clip(0.5).astype(np.float32) / 32768
    expected = dict(zip(AXES, student(pcm[None])[0], strict=True))
    answers = [entry["answers"] for entry in devices.values()]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("core", CORES)
def test_figures_of_a_core(devices, core):
    entry = devices[core]
    assert set(entry) >= {
        "instructions_per_second", "breakdown", "flash_bytes", "ram_bytes", "stack_bytes", "cycles_per_second",
        "buffer_bytes_per_second",
    }  # fmt: skip
    assert 16_000 * 4 < entry["instructions_per_second"] < 16_000 * 16
    assert sum(entry["breakdown"].values()) == pytest.approx(entry["instructions_per_second"], abs=2)
    assert entry["breakdown"]["front-end"] > 0.9 * entry["instructions_per_second"]
    assert entry["buffer_bytes_per_second"] == 100
    assert entry["ram_bytes"] == 64 + 8 + entry["stack_bytes"]  # its memory and `heard`, in steps of eight
    assert 100 < entry["flash_bytes"] < 2000


def test_cycles_where_arm_publishes_them(devices):
    assert devices["cortex-m55"]["cycles_per_second"] is None
    for core in ("cortex-m3", "cortex-m4"):
        found = devices[core]["cycles_per_second"]
        assert devices[core]["instructions_per_second"] < found["low"] < found["high"]


def test_one_more_instruction_a_sample(arm, make_student, write_c, tmp_path):
    path, found = make_student(tmp_path / "tiny.onnx"), []
    for extra in ("nop", r"nop\n nop"):
        write_c(path, extra=f'__asm volatile("{extra}")')
        found.append(measure(Student(path), ["cortex-m4"], seconds=0.5)["cortex-m4"]["instructions_per_second"])
    assert found[1] - found[0] == 16_000


def test_twice_the_clip_is_twice_the_work_in_the_same_memory(student, devices):
    longer = measure(student, ["cortex-m4"], seconds=1.0)["cortex-m4"]
    assert longer["instructions_per_second"] == pytest.approx(devices["cortex-m4"]["instructions_per_second"], rel=0.01)
    assert longer["ram_bytes"] == devices["cortex-m4"]["ram_bytes"]


def test_a_student_without_c(make_student, tmp_path):
    with pytest.raises(DistillError, match=r"no student in C beside tiny\.onnx; `distill export RUN --int8 --c"):
        measure(Student(make_student(tmp_path / "tiny.onnx")), ["cortex-m4"])


def test_the_c_of_another_student(arm, make_student, write_c, tmp_path):
    path = make_student(tmp_path / "other.onnx", hidden=256)
    folder = write_c(path)
    text = (folder / "student.c").read_text()
    (folder / "student.c").write_text(text.replace("adv[i] = ", "adv[i] = 6554 + "))
    with pytest.raises(DistillError, match="it answers other than the student beside it"):
        measure(Student(path), ["cortex-m4"], seconds=0.5)


def test_no_such_core(student):
    with pytest.raises(DistillError, match="cortex-m9: no such core; there are cortex-m3, cortex-m4, cortex-m55"):
        measure(student, ["cortex-m9"])
