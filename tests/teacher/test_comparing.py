"""Teachers side by side: the same clips for all, in turn, and what is published apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.recipe import read_recipe, typed_stages
from teacher import comparing
from teacher.comparing import compare_teachers
from teacher.comparison_table import as_table
from teacher.training import train_teacher
from teacher.tuning.design import design_of
from teacher.tuning.options import METHODS
from tests.teacher.tuning import backbones


class Level:
    """Answers by the level of a clip, times a factor; of silence, and of clips that are short for it, nothing."""

    def __init__(self, factor: float, shortest: float = 0.3) -> None:
        self.factor, self.heard = factor, 0
        self.card = TeacherCard(
            f"level {factor}", "tests", "1", "MIT", "CC0-1.0", 7, AXES, (), (0.0, 1.0), "nothing", False, "none",
            False, SAMPLING_RATE, shortest_seconds=shortest, longest_seconds=30.0,
        )  # fmt: skip

    def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
        self.heard += 1
        loud = np.array([np.abs(clip[:n]).max() for clip, n in zip(signals, lengths, strict=True)], np.float32)
        return Annotation(np.stack([self.factor * loud] * 3, axis=1))


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Twelve clips whose arousal is their level, one of them short."""
    rows = ["file,arousal,category"]
    for number in range(12):
        level, seconds = 0.1 + 0.05 * number, 0.4 if number == 5 else 0.6
        time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
        soundfile.write(tmp_path / f"{number}.wav", level * np.sin(2000 * time), SAMPLING_RATE)
        rows.append(f"{number}.wav,{level:.2f},{'calm' if number < 6 else 'stirred'}")
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "truth.csv"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def know(**teachers: Any) -> None:
        monkeypatch.setattr(comparing, "open_teacher", lambda name, device: teachers[name])

    return know


def test_all_answer_the_same_clips_and_are_scored_on_those_that_all_have(
    truth: Path, tmp_path: Path, known: Callable[..., None]
) -> None:
    known(right=Level(1.0), half=Level(0.5, shortest=0.5))
    result = compare_teachers(["right", "half"], truth=truth, output=tmp_path / "report")
    assert (result["n"], result["failed"]) == (11, 1)
    right, half = result["teachers"]["right"], result["teachers"]["half"]
    assert right["ccc"]["arousal"]["value"] == pytest.approx(1, abs=1e-3) and set(right["ccc"]) == {"arousal"}
    assert half["ccc"]["arousal"]["value"] < 0.7 and half["n"] == right["n"] == 11
    assert right["parameters"] == 7 and right["trainable"] is None and right["uar"] == {}
    assert 0 <= right["seconds"]["p10"] <= right["seconds"]["median"] <= right["seconds"]["p90"]
    assert "too short" in (tmp_path / "report" / "failed.csv").read_text()
    assert json.loads((tmp_path / "report" / "comparison.json").read_text())["n"] == 11


def test_the_page_has_a_row_a_teacher_and_the_published_apart(
    truth: Path, tmp_path: Path, known: Callable[..., None]
) -> None:
    known(right=Level(1.0))
    result = compare_teachers(["right"], truth=truth, output=tmp_path / "report", where={"category": "calm"})
    page = as_table(result)
    assert page == (tmp_path / "report" / "comparison.md").read_text() and result["n"] == 6
    own, published = page.split("Published, on other recordings")
    assert "| right |  |  | 7 | 1.000 [1.000, 1.000] |" in own and "0.577" not in own
    assert "| odyssey | 0.577 | 0.405 | 0.577 | MSP-Podcast Test3 |" in published


def test_teachers_begin_in_turn(truth: Path, tmp_path: Path, known: Callable[..., None]) -> None:
    order: list[str] = []

    class Telling(Level):
        def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
            order.append(self.card.name)
            return super().annotate(signals, lengths, sampling_rate)

    known(a=Telling(1.0), b=Telling(2.0))
    compare_teachers(["a", "b"], truth=truth, output=tmp_path / "report")
    assert order[:4] == ["level 1.0", "level 2.0", "level 2.0", "level 1.0"]


def test_a_tuned_teacher_is_told_with_what_learned_and_its_recall(truth: Path, tmp_path: Path) -> None:
    backbone = backbones.write("hubert", tmp_path / "backbone")
    rows = truth.read_text().splitlines()
    table = [rows[0] + ",speaker", *(f"{row},s{number % 4}" for number, row in enumerate(rows[1:]))]
    (tmp_path / "train.csv").write_text("\n".join(table) + "\n")
    made = train_teacher(
        tmp_path / "train.csv", backbone=str(backbone), output=tmp_path / "mine", method="head", task="both", epochs=1,
        device="cpu",
    )  # fmt: skip
    result = compare_teachers([str(tmp_path / "mine")], truth=truth, output=tmp_path / "report", device="cpu")
    (one,) = result["teachers"].values()
    assert (one["method"], one["backbone"]) == ("head", str(backbone)) and one["trainable"] == made["trainable"]
    recall = one["uar"]["category"]
    assert recall["n"] == 12 and recall["classes"] == 2 and 0 <= recall["value"] <= 1
    assert f"| mine | head | backbone | {one['parameters']:,} |" in as_table(result) and "UAR" in as_table(result)


def test_what_cannot_be_compared_is_told(truth: Path, tmp_path: Path, known: Callable[..., None]) -> None:
    known(right=Level(1.0), picky=Level(1.0, shortest=9.0))
    with pytest.raises(DistillError, match="named twice"):
        compare_teachers(["right", "right"], truth=truth, output=tmp_path / "report")
    with pytest.raises(DistillError, match="none of its 12 clips is answered by all"):
        compare_teachers(["right", "picky"], truth=truth, output=tmp_path / "report")
    (tmp_path / "bare.csv").write_text("file\n0.wav\n")
    with pytest.raises(DistillError, match="has none of the columns arousal"):
        compare_teachers(["right"], truth=tmp_path / "bare.csv", output=tmp_path / "report")
    assert not (tmp_path / "report" / "comparison.json").exists()


def test_the_recipe_for_msp_podcast_could_be_run() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "recipes" / "teachers-msp-podcast.yaml"
    stages = typed_stages(read_recipe(path, "stages"), path)
    assert [stage[0] for stage in stages] == 9 * ["train-teacher"] + ["compare-teachers", "fuse-teachers", "evaluate"]
    made = {stage[stage.index("--output") + 1] for stage in stages[:9]}
    assert {word for word in stages[9] if word.startswith("teachers/") and word != "teachers/report"} == made
    for stage in stages[:9]:
        words = [word for word in stage[1:] if word != "--fuse"]
        options = dict(zip(words[::2], words[1::2], strict=True))
        chosen = {
            key: options[f"--{key}"] for key in ("layers", "pooling", "head", "condition") if f"--{key}" in options
        }
        design_of(options.get("--method", "adapter"), **chosen)


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "teachers"
    figures = json.loads((results / "comparison.json").read_text())
    assert as_table(figures) == (results / "comparison.md").read_text()
    tuned = {one["method"] for one in figures["teachers"].values()} - {None}
    assert tuned == {*METHODS, "adapter, stack", "adapter, fuse"}


def test_the_document_shows_what_was_measured() -> None:
    """Rows of docs/teachers.md by the teachers that they are of; three tasks by themselves take all their times."""
    root = Path(__file__).parents[2]
    document = (root / "docs" / "teachers.md").read_text()
    figures = json.loads((root / "benchmarks" / "results" / "teachers" / "comparison.json").read_text())
    made = {Path(name).name: one for name, one in figures["teachers"].items()}
    rows = {
        "`head`, 2 layers of 64": ["head"], "`lora`": ["lora"], "`adapter`": ["adapter"],
        "three tasks, each by itself": ["adv", "category", "sex"], "stacked": ["stacked"], "fused": ["fused"],
        "attentive merging, 4 layers of 128": ["merge-larger"], "the first 2 of them": ["merge-first-2"],
        "`prosody`": ["prosody"],
    }  # fmt: skip
    for title, names in rows.items():
        ccc = {axis: score for name in names for axis, score in made[name]["ccc"].items()}
        uar = {column: score for name in names for column, score in made[name]["uar"].items()}
        scores = [ccc["arousal"], ccc["valence"], uar.get("category"), uar.get("sex")]
        cells = [f"{x['value']:.3f} [{x['low']:.3f}, {x['high']:.3f}]" if x else "" for x in scores]
        pace = 1e3 * sum(round(made[name]["seconds"]["median"], 4) for name in names)
        told = " | ".join([title, *cells, f"{pace:.1f}"]).replace("|  |", "| |").replace("|  |", "| |")
        assert f"| {told} |" in document
