"""Several stages from one file: checked before the first runs, then run in order, as if typed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from distill.recipe import run_recipe

Make = Callable[..., Path]
Command = Callable[..., Any]


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_stages_run_in_order(
    tmp_path: Path, corpus: Path, make_student: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_student(tmp_path / "s.onnx")
    labels, out = tmp_path / "labels", tmp_path / "e.json"
    recipe = f"""
label: {{source: {corpus}, output: {labels}, teacher: prosody, jobs: 1}}
evaluate:
  - {{truth: {labels}, student: {tmp_path}/s.onnx, output: {out}, json: true}}
  - {{truth: {labels}, predictions: {tmp_path}/e.predictions.csv}}
"""
    run_recipe(write(tmp_path, recipe))
    assert json.loads(out.read_text())["n"] == 4
    with (tmp_path / "e.predictions.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 4
    typed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("$ ")]
    assert [line.split()[:3] for line in typed] == [
        ["$", "distill", name] for name in ("label", "evaluate", "evaluate")
    ]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("label: {source: a, output: b, techer: prosody}", "label has no option 'techer'; it has address, audio, "),
        ("lable: {}", "no stage 'lable'"),
        ("run: {recipe: x.yaml}", "no stage 'run'"),
        ("predict: {student: wav2small}", "predict: Missing argument 'CLIP..."),
        ("label: {source: a, output: b, jobs: many}", "label: Invalid value for '--jobs'"),
        ("train-student: {teacher: prosody, output: b}", "train-student: --teacher needs --audio"),
        ("train-student: {labels: a, data-licence: MIT, output: b}", "train-student: --data-licence goes with"),
        ("label: [x]", "label needs its options as key: value"),
    ],
)
def test_everything_is_checked_before_the_first_stage_runs(tmp_path: Path, second: str, reason: str) -> None:
    first = f"evaluate: {{truth: {tmp_path}/nowhere.csv, predictions: {tmp_path}/nowhere.csv}}\n"
    with pytest.raises(DistillError, match=reason):
        run_recipe(write(tmp_path, first + second))


@pytest.mark.parametrize(
    ("text", "reason"), [("", "maps commands"), ("- label", "maps commands"), ("label: {", "no YAML")]
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DistillError, match=reason):
        run_recipe(write(tmp_path, text))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"none\.yaml: no such recipe"):
        run_recipe(tmp_path / "none.yaml")


def test_a_list_of_models_is_a_list_of_arguments(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"/one\.onnx: no such student"):
        run_recipe(write(tmp_path, f"benchmark: {{models: [{tmp_path}/one.onnx, two.onnx], output: {tmp_path}/out}}"))


def test_a_stage_that_fails_stops_the_recipe(
    tmp_path: Path, corpus: Path, distill: Command, make_student: Make
) -> None:
    (corpus / "a" / "bad.wav").write_text("text")
    recipe = f"""
label: {{source: {corpus}, output: {tmp_path}/labels, strict: true, teacher: prosody, jobs: 1}}
evaluate: {{truth: {tmp_path}/labels, student: {make_student(tmp_path / "s.onnx")}, output: {tmp_path}/e.json}}
"""
    done = distill("run", write(tmp_path, recipe))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("distill: `distill label ") and last.endswith("` failed (exit code 1)")
    assert not (tmp_path / "e.json").exists()


def test_a_stage_that_stands_twice_is_refused_not_dropped(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("students: {json: true}\nstudents: {json: false}\n")
    with pytest.raises(DistillError, match="students stands twice"):
        run_recipe(tmp_path / "recipe.yaml")
