"""Teachers fused by weights: fitted on half of the speakers, scored on the others, a teacher afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import audmetric
import numpy as np
import pytest

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError, Refused
from distill.evaluation.truth import read_rated
from teacher import catalogue, comparing
from teacher.catalogue import card_of, open_teacher
from teacher.fusing import as_table, fit_weights, fuse_teachers, halves


class Noisy:
    """Answers a clip's level plus noise that is its own, and of no use for valence."""

    def __init__(self, name: str, noise: float) -> None:
        self.noise = noise
        self.card = TeacherCard(
            name, "tests", "1", "MIT", "CC0-1.0", 7, ("arousal", "valence"), (), (0.0, 1.0), "nothing", False, "none",
            False, SAMPLING_RATE, shortest_seconds=0.1, longest_seconds=30.0,
        )  # fmt: skip

    def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
        level = np.array([np.abs(clip[:n]).max() for clip, n in zip(signals, lengths, strict=True)])
        seeds = [[int(1e6 * one), len(self.card.name), ord(self.card.name[0])] for one in level]
        off = np.array([np.random.default_rng(seed).normal(0, self.noise) for seed in seeds])
        adv = np.stack([level + off, np.full(len(level), np.nan), 0.5 + off], axis=1)
        return Annotation(adv.astype(np.float32))


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    import soundfile

    rows = ["file,speaker,arousal,valence"]
    draw = np.random.default_rng(0)
    for number, level in enumerate(draw.uniform(0.1, 0.9, 60)):
        soundfile.write(tmp_path / f"{number}.wav", np.full(4_000, level), SAMPLING_RATE, "FLOAT")
        rows.append(f"{number}.wav,s{number % 6},{level:.4f},{draw.uniform():.3f}")
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "truth.csv"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    teachers = {name: Noisy(name, noise) for name, noise in (("good", 0.1), ("fair", 0.1), ("bad", 2.0))}
    original = catalogue.open_teacher

    def opened(name: str, device: str = "auto", precision: str = "float32") -> Any:
        return teachers[name] if name in teachers else original(name, device, precision)

    for where in (catalogue, comparing):
        monkeypatch.setattr(where, "open_teacher", opened)
    return teachers


def test_weights_are_the_best_of_those_that_are_allowed() -> None:
    """None negative, together 1, and nothing on a grid is better."""
    draw = np.random.default_rng(3)
    truth = draw.uniform(0, 1, 200)
    answers = np.stack(
        [truth + draw.normal(0, 0.2, 200), 0.6 * truth + draw.normal(0.3, 0.1, 200), draw.uniform(size=200)]
    )
    weights = fit_weights(answers, truth)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    reached = audmetric.concordance_cc(truth, weights @ answers)
    grid = [(a, b, 1 - a - b) for a in np.linspace(0, 1, 41) for b in np.linspace(0, 1 - a, 41)]
    assert reached >= max(audmetric.concordance_cc(truth, np.array(one) @ answers) for one in grid) - 1e-4


def test_a_fusion_leans_on_those_that_are_right_and_is_scored_on_other_speakers(truth: Path, tmp_path: Path) -> None:
    result = fuse_teachers(["good", "fair", "bad"], truth=truth, output=tmp_path / "fused")
    weights = {one["teacher"]: one["weights"]["arousal"] for one in result["members"]}
    assert weights["bad"] < 0.02 and min(weights["good"], weights["fair"]) > 0.25
    assert sum(weights.values()) == pytest.approx(1)
    scores = result["ccc"]["arousal"]
    assert scores["fusion"]["value"] > max(scores[name]["value"] for name in ("good", "fair", "bad", "mean"))
    assert not set(result["speakers"]["fitted"]) & set(result["speakers"]["scored"])
    assert result["n"] == {"fitted": 30, "scored": 30}
    page = as_table(result)
    assert "| fusion |" in page and "| bad | 0.0" in page and page == (tmp_path / "fused" / "fusion.md").read_text()


def test_it_is_a_teacher_and_answers_the_weighted_mean(truth: Path, tmp_path: Path, known: dict[str, Any]) -> None:
    result = fuse_teachers(["good", "bad"], truth=truth, output=tmp_path / "fused")
    fused = open_teacher(str(tmp_path / "fused"))
    assert fused.card.name == "fused" and fused.card.axes == ("arousal", "valence")
    clip = np.full((1, 4_000), 0.37, np.float32)
    said = fused.annotate(clip, [4_000], SAMPLING_RATE).adv[0]
    own = {name: known[name].annotate(clip, [4_000], SAMPLING_RATE).adv[0] for name in ("good", "bad")}
    for axis in ("arousal", "valence"):
        place = AXES.index(axis)
        expected = sum(one["weights"][axis] * own[one["teacher"]][place] for one in result["members"])
        assert said[place] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(said[1])


def test_a_fusion_of_others_is_not_written_over(truth: Path, tmp_path: Path) -> None:
    first = fuse_teachers(["good", "bad"], truth=truth, output=tmp_path / "fused")
    assert fuse_teachers(["good", "bad"], truth=truth, output=tmp_path / "fused") == first
    with pytest.raises(Refused, match=r"holds a fusion of others \(good, bad\); choose another folder"):
        fuse_teachers(["good", "fair"], truth=truth, output=tmp_path / "fused")


def test_another_member_than_was_fused_is_refused(truth: Path, tmp_path: Path) -> None:
    fuse_teachers(["good", "bad"], truth=truth, output=tmp_path / "fused")
    path = tmp_path / "fused" / "fusion.json"
    path.write_text(path.read_text().replace('"revision": "1"', '"revision": "2"'))
    with pytest.raises(DistillError, match="good is another teacher now"):
        open_teacher(str(tmp_path / "fused"))
    path.write_text(json.dumps({"members": [{"teacher": "good"}]}))
    with pytest.raises(DistillError, match="is no fusion of teachers"):
        open_teacher(str(tmp_path / "fused"))


def test_licences_are_known_before_it_is_opened(tmp_path: Path) -> None:
    member = {"teacher": "prosody", "revision": "x", "weights": {}}
    (tmp_path / "fused").mkdir()
    (tmp_path / "fused" / "fusion.json").write_text(json.dumps({"members": [member, {**member, "teacher": "odyssey"}]}))
    card = card_of(str(tmp_path / "fused"))
    assert card is not None and "MSP-Podcast" in card.data_licence and card.name == "fused"


def test_halves_are_of_whole_speakers(truth: Path, tmp_path: Path) -> None:
    rated = read_rated(truth)
    fitted, names = halves(rated, range(60), 0)
    assert {rated.columns[row]["speaker"] for row in np.flatnonzero(fitted)} == set(names["fitted"])
    assert names != halves(rated, range(60), 1)[1]
    few = tmp_path / "few.csv"
    few.write_text("\n".join(truth.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(DistillError, match="four speakers or more"):
        fuse_teachers(["good", "bad"], truth=few, output=tmp_path / "fused")
    with pytest.raises(DistillError, match="two teachers or more"):
        fuse_teachers(["good"], truth=truth, output=tmp_path / "fused")
