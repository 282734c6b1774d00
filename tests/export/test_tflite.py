"""The LiteRT rung: converted by the maintained converter and run by its interpreter, where the extra is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from distill import cli, runs
from distill.errors import DistillError
from distill.files import sha256_of, write_text
from export.exporting import export


@pytest.fixture
def tflite(lacking):
    """The module; skipped without the extra, unless DISTILL_REQUIRE names "tflite"."""
    if importlib.util.find_spec("litert_torch") is None:
        lacking("tflite", "needs litert-torch: pip install '.[tflite]'")
    from export import tflite

    return tflite


def test_without_the_extra_one_line_names_it_before_the_work(trained, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.delitem(sys.modules, "export.tflite", raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main(["export", str(trained), "--tflite", "-o", str(tmp_path / "s.onnx")])
    told = capsys.readouterr().err
    assert left.value.code == 1 and told.count("\n") == 1
    assert "pip install '.[tflite]'" in told and not list(tmp_path.iterdir())


@pytest.mark.long
def test_the_file_answers_as_torch_does_and_the_bundle_says_so(tflite, trained, tmp_path) -> None:
    told = export(trained, output=tmp_path / "s.onnx", tflite=0.5)
    path = tmp_path / "s.tflite"
    assert [(rung["rung"], rung["passed"]) for rung in told["ladder"]] == [("onnx float", True), ("tflite", True)]
    assert 0 < told["ladder"][1]["max_abs"] < 1e-4 and told["ladder"][1]["n"] > 5
    assert told["tflite"] == {
        "bytes": path.stat().st_size, "sha256": sha256_of(path), "precision": "float32", "seconds": 0.5,
    }  # fmt: skip
    assert json.loads((tmp_path / "s.json").read_text())["tflite"] == told["tflite"]
    assert "`s.tflite` takes one clip of 0.5 s" in (tmp_path / "README.md").read_text()


@pytest.mark.long
def test_int8_is_smaller_and_a_rung_of_its_own(tflite, trained, tmp_path) -> None:
    told = export(trained, output=tmp_path / "s.onnx", tflite=0.5, int8=True)
    rungs = {rung["rung"]: rung for rung in told["ladder"]}
    assert list(rungs) == ["onnx float", "onnx int8", "tflite", "tflite int8"]
    assert 1e-4 < rungs["tflite int8"]["max_abs"] < 0.15, "off by next to nothing, it would not be quantised"
    assert told["tflite"]["precision"].startswith("int8") and told["tflite"]["bytes"] < 150_000


@pytest.mark.long
def test_an_axis_that_is_lacking_answers_nan(tflite, run, tmp_path) -> None:
    config = runs.read_config(run)
    write_text(run / runs.CONFIG, json.dumps({**config, "axes": ["arousal", "valence"]}))
    export(run, output=tmp_path / "s.onnx", tflite=0.25, int8=True)
    answer = tflite.lite_answer(tmp_path / "s.tflite")(np.ones((1, 4000), np.float32))
    assert np.isnan(answer[:, 1]).all() and np.isfinite(answer[:, [0, 2]]).all()


@pytest.mark.long
def test_a_file_that_answers_otherwise_breaks_the_ladder_there(tflite, trained, tmp_path, monkeypatch) -> None:
    right = tflite.lite_answer
    monkeypatch.setattr(tflite, "lite_answer", lambda path: lambda pcm: right(path)(pcm)[:, ::-1])
    with pytest.raises(DistillError, match="the ladder breaks at tflite"):
        export(trained, output=tmp_path / "s.onnx", tflite=0.25)
    assert [path.name for path in tmp_path.iterdir()] == ["s.ladder.json"]


def test_windows_are_of_one_length_and_at_least_one(tflite) -> None:
    signals = [np.arange(5, dtype=np.float32), np.arange(5, 9, dtype=np.float32)]
    assert [list(window) for window in tflite.windows_of(signals, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (one,) = tflite.windows_of(signals, 12)
    assert list(one) == [*range(9), 0, 1, 2]


def test_too_short_a_clip_is_refused(tflite, tmp_path) -> None:
    with pytest.raises(DistillError, match=r"--tflite 0\.1: a student needs at least 0\.25 s"):
        tflite.make_tflite(None, Path(tmp_path), seconds=0.1)
