"""Teachers on several corpora: one comparison each, one table of all, every teacher opened once."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from distill.recipe import read_recipe, typed_stages
from teacher import comparing
from teacher.across import compare_across, corpus_names
from teacher.comparing import compare_teachers
from teacher.comparison_table import across_as_table
from tests.teacher.dawn import as_page
from tests.teacher.test_comparing import Level, known, truth  # noqa: F401


@pytest.fixture
def valence(truth: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A second truth of some of the clips, of another axis, in a folder of its own."""
    (tmp_path / "other").mkdir()
    rows = [f"{number}.wav,{0.8 - 0.05 * number:.2f}" for number in range(5)]
    (tmp_path / "other" / "truth.csv").write_text("\n".join(["file,valence", *rows]) + "\n")
    return tmp_path / "other" / "truth.csv"


def test_a_comparison_a_truth_and_a_table_of_all(
    truth: Path, valence: Path, tmp_path: Path, known: Callable[..., None]  # noqa: F811
) -> None:  # fmt: skip
    known(right=Level(1.0), half=Level(0.5, shortest=0.5))
    out = tmp_path / "report"
    result = compare_across(["right", "half"], truths=[truth, valence], audio=[tmp_path], output=out)
    first, second = tmp_path.name, "other"
    assert {name: (one["n"], one["failed"]) for name, one in result["corpora"].items()} == {
        first: (11, 1), second: (5, 0),
    }  # fmt: skip
    assert json.loads((out / "corpora.json").read_text())["corpora"] == result["corpora"]
    alone = compare_teachers(["right", "half"], truth=truth, output=tmp_path / "alone")
    of_first = json.loads((out / first / "comparison.json").read_text())
    assert of_first["teachers"]["half"]["ccc"] == alone["teachers"]["half"]["ccc"]
    assert result["teachers"]["half"][first] == {"ccc": alone["teachers"]["half"]["ccc"], "uar": {}}
    assert result["teachers"]["right"][second]["ccc"]["valence"]["value"] < 0
    assert {path.name for path in (out / second).iterdir()} == {"comparison.json", "comparison.md"}


def test_the_table_has_a_part_an_axis_and_leaves_blank_what_nobody_rated(
    truth: Path, valence: Path, tmp_path: Path, known: Callable[..., None]  # noqa: F811
) -> None:  # fmt: skip
    known(right=Level(1.0))
    result = compare_across(["right"], truths=[truth, valence], audio=[tmp_path, tmp_path], output=tmp_path / "report")
    page = across_as_table(result)
    assert page == (tmp_path / "report" / "corpora.md").read_text()
    arousal, valences = page.split("## CCC of arousal")[1].split("## CCC of valence")
    assert "| right | 1.000 [1.000, 1.000] |  |" in arousal and "| right |  | -" in valences
    assert "dominance" not in page and "## UAR" not in page


def test_a_teacher_is_opened_once(
    truth: Path, valence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    opened: list[str] = []

    def opening(name: str, device: str) -> Any:
        opened.append(name)
        return Level(1.0)

    monkeypatch.setattr(comparing, "open_teacher", opening)
    compare_across(["a", "b"], truths=[truth, valence], audio=[tmp_path], output=tmp_path / "report")
    assert opened == ["a", "b"]


def test_what_cannot_be_compared_is_told_before_a_teacher_is_opened(truth: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(DistillError, match="2 times --truth and 3 times --audio: give one for all"):
        compare_across(["nobody"], truths=[truth, truth], audio=[tmp_path] * 3, output=tmp_path / "report")
    with pytest.raises(DistillError, match=r"nowhere\.csv"):
        compare_across(["nobody"], truths=[truth, tmp_path / "nowhere.csv"], output=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "teachers"
    stages = json.loads((results / "dawn.json").read_text())
    assert as_page(stages) == (results / "dawn.md").read_text()
    path = Path(__file__).parents[2] / "benchmarks" / "recipes" / "dawn.yaml"
    assert [f"distill {shlex.join(line)}" for line in typed_stages(read_recipe(path, "stages"), path)] == [
        stage["command"] for stage in stages
    ]
    assert all("split=train" in stage["command"] for stage in stages)  # the others are read sparingly


def test_truths_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "IEMOCAP-1.0").mkdir()
    assert corpus_names([tmp_path / "IEMOCAP-1.0", tmp_path / "a.csv"], [None, None]) == ["IEMOCAP-1.0", "a"]
    assert corpus_names(["x/r.csv", "x/r.jsonl"], [Path("audio"), Path("audio")]) == ["r-1", "r-2"]


def test_the_command_takes_several_truths(distill: Any, truth: Path, valence: Path, tmp_path: Path) -> None:  # noqa: F811
    asked = ("compare-teachers", "prosody", "--truth", truth, "--truth", valence, "--audio", tmp_path)
    done = distill(*asked, "-o", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# 1 teachers on 2 corpora") and (tmp_path / "report" / "other").is_dir()
    refused = distill("compare-teachers", "prosody", "--truth", truth, "--audio", tmp_path, "--audio", tmp_path,
                      "-o", tmp_path / "never")  # fmt: skip
    assert refused.returncode == 1 and "1 times --truth and 2 times --audio" in refused.stderr
