"""The committed figures against real speech: what they must reach, and that the committed student still gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill.evaluation import evaluate
from teacher.labelling import label

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "real-speech"


def scores(name: str) -> dict[str, Any]:
    return {axis: score["value"] for axis, score in json.loads((RESULTS / name).read_text())["ccc"].items()}


def test_the_teacher_agrees_with_people() -> None:
    found = scores("teacher-human.json")
    assert found["arousal"] >= 0.86
    assert found["valence"] >= 0.48
    assert "dominance" not in found  # nobody rated it


def test_the_student_agrees_with_the_teacher() -> None:
    found = scores("float-teacher.json")
    assert found["arousal"] >= 0.90
    assert found["valence"] >= 0.85


@pytest.mark.parametrize("against", ["teacher", "human"])
def test_int8_stays_with_float(against: str) -> None:
    small, full = scores(f"int8-{against}.json"), scores(f"float-{against}.json")
    assert small.keys() == full.keys()
    assert all(abs(small[axis] - full[axis]) <= 0.02 for axis in full)


def test_training_kept_to_its_half_hour() -> None:
    assert json.loads((RESULTS / "training.json").read_text())["seconds"] <= 30 * 60


def test_the_committed_student_still_gives_the_committed_figures(shared: Path) -> None:
    emodb = shared / "emodb"
    rated = evaluate(
        student=RESULTS / "float.onnx", truth=emodb / "ratings.csv", audio=emodb / "two-seconds", where={"split": "dev"}
    )
    assert rated["n"] == 104
    for axis, value in scores("float-human.json").items():
        assert rated["ccc"][axis]["value"] == pytest.approx(value, abs=1e-3)


def test_the_bundled_teacher_still_gives_the_committed_figures(shared: Path, tmp_path: Path) -> None:
    emodb = shared / "emodb"
    label(
        emodb / "ratings.csv",
        audio=emodb / "two-seconds",
        output=tmp_path,
        teacher="prosody",
        where={"split": "dev"},
        jobs=1,
    )
    rated = evaluate(predictions=tmp_path, truth=emodb / "ratings.csv", where={"split": "dev"})
    for axis, value in scores("teacher-human.json").items():
        assert rated["ccc"][axis]["value"] == pytest.approx(value, abs=1e-3)
