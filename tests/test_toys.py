"""A teacher and a student of somebody else's package: one file each, nothing changed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.evaluation import evaluate
from export.exporting import export
from students.catalogue import build, figures
from students.training import train_student
from teacher.catalogue import open_teacher
from teacher.labelling import label

TEACHER, STUDENT = "tests.toys.teacher:Loudness", "tests.toys.student:Bands"
RATE = 16_000


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Noise, louder and darker from clip to clip, of four speakers."""
    folder = tmp_path / "audio"
    for number in range(12):
        noise = np.random.default_rng(number).standard_normal(RATE // 2)
        dark = np.convolve(noise, np.ones(1 + number % 5) / (1 + number % 5), "same")
        path = folder / f"speaker-{number % 4}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, (0.02 + 0.01 * number) * dark, RATE, "FLOAT")
    return folder


def test_a_toy_teacher_and_a_toy_student_go_the_whole_way(recordings: Path, tmp_path: Path) -> None:
    labelled = label(recordings, output=tmp_path / "labels", teacher=TEACHER, jobs=1)
    assert labelled["labelled"] == 12
    train_student(
        tmp_path / "labels", output=tmp_path / "run", arch=STUDENT, epochs=1, workers=0, batch_size=4,
        speaker_from="speaker-(.)",
    )  # fmt: skip
    export(tmp_path / "run", output=tmp_path / "toy.onnx")
    assert evaluate(truth=tmp_path / "labels", student=tmp_path / "toy.onnx")["n"] == 12


def test_they_are_counted_and_opened_as_ours() -> None:
    assert figures(STUDENT).parameters == sum(parameter.numel() for parameter in build(STUDENT).parameters())
    assert open_teacher(TEACHER).card.axes == ("arousal", "valence")


@pytest.mark.parametrize(("opened", "name", "told"), [
    (build, "nowhere.at:All", "nowhere.at:All: cannot be imported"),
    (build, "tests.toys.student:Nothing", "cannot be imported"),
    (build, TEACHER, "is no StudentNetwork"),
    (open_teacher, STUDENT, "is no LoadedTeacher"),
])  # fmt: skip
def test_what_is_none_is_one_line(opened: Any, name: str, told: str) -> None:
    with pytest.raises(DistillError, match=told):
        opened(name)
