"""Processors that are not at hand: what was measured there, and how it is."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from benchmarks import elsewhere
from benchmarks.elsewhere import LEVELS, PROCESSORS, Processor
from distill.errors import DistillError
from distill.pretrained import shipped
from students.quantised import LARGEST

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured():
    return json.loads((ROOT / "benchmarks" / "results" / "elsewhere.json").read_text())["processors"]


def test_every_processor_was_measured_and_every_student_is_the_same_there(measured):
    assert list(measured) == list(PROCESSORS)
    for found in measured.values():
        assert all(told["passed"] and told["n"] == 20 for told in found["students"].values())
        assert {"wav2small-int8", "wav2small-lite-int8"} <= set(found["students"]) <= set(shipped())


def test_what_would_saturate_does_there_and_ours_do_not(measured):
    small, large = map(str, LEVELS)
    assert LEVELS[0] == max(LARGEST.values())
    assert {found["saturation"][small] for found in measured.values()} == {255}
    haswell = next(found for name, found in measured.items() if "Haswell" in name)
    assert haswell["saturation"][large] < 200, "the emulated processor takes the kernels that saturate"


@pytest.mark.parametrize("level", LEVELS)
def test_the_convolution_answers_255_where_nothing_saturates(tmp_path, level):
    path = elsewhere._convolution(level, tmp_path / "c.onnx")
    assert path.is_file() and onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_a_missing_emulator_is_one_line():
    with pytest.raises(DistillError, match=r"qemu-nothing: not found; on Debian: apt-get install qemu-user"):
        elsewhere.elsewhere({"nowhere": Processor(("qemu-nothing", "-cpu", "max"))})


def test_an_arm_core_is_told_by_its_number(tmp_path):
    elsewhere._tell_processor(tmp_path, "0xd08")
    assert "CPU part\t: 0xd08\n" in (tmp_path / "proc" / "cpuinfo").read_text()
    assert (tmp_path / "sys/devices/system/cpu").is_dir()
