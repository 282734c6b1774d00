"""The exported student says itself what it is; a file that does not, or says it badly, is refused by what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.errors import DistillError
from distill.student import REQUIRED, Student, read_card
from tests.conftest import METADATA

Make = Callable[..., Path]


def metadata(**changed: Any) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in {**METADATA, **changed}.items()}


def test_a_card_is_what_was_written_in_the_types_of_python() -> None:
    card = read_card(Path("s.onnx"), metadata(axes=["arousal", "valence"], macs_per_second=4_213_000, more="ignored"))
    assert (card.axes, card.derived, card.range) == (("arousal", "valence"), ("dominance",), (0, 1))
    assert isinstance(card.macs_per_second, float) and isinstance(card.parameters, int)
    assert (card.name, card.licence, card.precision) == ("tiny", "MIT", "float32")


def test_a_file_of_before_does_not_say_its_precision() -> None:
    old = {key: value for key, value in metadata().items() if key != "precision"}
    assert read_card(Path("s.onnx"), old).precision is None


@pytest.mark.parametrize("key", REQUIRED)
def test_what_is_lacking_is_named(key: str) -> None:
    less = {name: value for name, value in metadata().items() if name != key}
    with pytest.raises(DistillError, match=rf"^s\.onnx: no student of `distill export`: its metadata lacks {key}$"):
        read_card(Path("s.onnx"), less)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("axes", "3"),
        ("range", "null"),
        ("shortest_seconds", '"long"'),
        ("hop_ms", "[]"),
        ("lineage", "{"),
        ("name", ""),
    ],
)
def test_metadata_that_make_no_sense_are_one_line(key: str, text: str) -> None:
    with pytest.raises(DistillError, match=r"^s\.onnx: its metadata cannot be read \(.+\); export it again$"):
        read_card(Path("s.onnx"), {**metadata(), key: text})


def test_a_batch_is_answered_as_each_clip_alone(tmp_path: Path, make_student: Make) -> None:
    student = Student(make_student(tmp_path / "s.onnx"))
    clips = np.random.default_rng(0).standard_normal((3, 8000))  # float64, which onnxruntime would refuse
    together = student(clips)
    assert together.dtype == np.float32 and together.shape == (3, 3)
    np.testing.assert_allclose(together, np.concatenate([student(clip[None]) for clip in clips]), rtol=1e-5)
    np.testing.assert_allclose(together, Student(student.path, threads=2)(clips), rtol=1e-5)


def test_a_student_that_is_a_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"no such student; make one with `distill export RUN --int8 -o s\.onnx`"):
        (tmp_path / "s.onnx").mkdir()
        Student(tmp_path / "s.onnx")
