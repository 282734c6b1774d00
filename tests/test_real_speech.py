"""The committed figures against real speech: what they must reach, and that the committed student still gives them."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.evaluation import evaluate
from teacher.labelling import label

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "wav2small"
RECIPE = ROOT / "students" / "pretrained" / "wav2small.yaml"


def scores(name: str) -> dict[str, Any]:
    return {axis: score["value"] for axis, score in json.loads((RESULTS / name).read_text())["ccc"].items()}


def test_the_teacher_agrees_with_people() -> None:
    found = scores("teacher-human.json")
    assert found["arousal"] >= 0.86
    assert found["valence"] >= 0.48
    assert "dominance" not in found  # nobody rated it


def test_the_student_agrees_with_the_teacher() -> None:
    found = scores("float-teacher.json")
    assert found["arousal"] >= 0.97
    assert found["valence"] >= 0.87


def test_the_student_keeps_what_the_teacher_knows_of_people() -> None:
    """The share of the teacher's CCC with people, on whole clips."""
    kept = json.loads((RESULTS / "float-human-whole.json").read_text())["against"]["ratio"]
    assert kept["arousal"]["value"] >= 0.97
    assert kept["valence"]["value"] >= 0.94


def test_noise_of_the_test_was_never_heard_in_training() -> None:
    recipe = yaml.safe_load(RECIPE.read_text())
    heard = Path(recipe["train-student"]["noise"]).name
    tested = json.loads((RESULTS / "float-robustness.json").read_text())["robustness"]["noise"]["sha256"]
    assert tested and not any(fnmatchcase(name, heard) for name in tested)
    assert "rir" not in recipe["train-student"]  # its rooms are synthesised, those of the test recorded


def test_gain_moves_nothing() -> None:
    told = json.loads((RESULTS / "float-robustness.json").read_text())["robustness"]["conditions"]
    assert all(told[f"gain {gain:+d} dB"]["passed"] for gain in (-20, -10, 10, 20))


def test_the_teacher_teaches_more_than_people_alone() -> None:
    """The paper's claim: the 95 % intervals of what is lost without it lie below zero."""
    direct = json.loads((RESULTS.parent / "direct.json").read_text())
    for name in ("from people's ratings", "from people's ratings, changed as often"):
        lost = direct["variants"][name]["difference"]["people"]
        assert all(lost[axis]["high"] < 0 for axis in ("arousal", "valence"))


@pytest.mark.parametrize("against", ["teacher", "human"])
def test_int8_stays_with_float(against: str) -> None:
    small, full = scores(f"int8-{against}.json"), scores(f"float-{against}.json")
    assert small.keys() == full.keys()
    assert all(abs(small[axis] - full[axis]) <= 0.02 for axis in full)


def test_training_was_that_of_the_recipe() -> None:
    recipe = yaml.safe_load(RECIPE.read_text())
    assert json.loads((RESULTS / "training.json").read_text())["epochs"] == recipe["train-student"]["epochs"]


def test_the_committed_student_still_gives_the_committed_figures(shared: Path) -> None:
    emodb = shared / "emodb"
    rated = evaluate(
        student="wav2small", truth=emodb / "ratings.csv", audio=emodb / "two-seconds", where={"split": "dev"}
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
