"""The estimate: what labelling would take, from a sample, with nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from distill import cli
from distill.errors import DistillError, Refused
from teacher import estimating
from teacher.estimating import Timed, estimate
from teacher.labelling import label


def test_a_sample_is_timed_and_nothing_is_written(corpus: Path, tmp_path: Path, quick: Any) -> None:
    found = estimate(corpus, output=tmp_path / "labels", teacher="taught", jobs=1, price_per_hour=3600.0)
    assert (found["missing"], found["skipped"], found["unlisted"], found["jobs"]) == (4, 0, 0, 1)
    assert found["audio_hours"] == pytest.approx(7 / 3600) and found["sample"]["segments"] == 4
    wall = found["wall_seconds"]
    assert 0 < wall["low"] <= wall["value"] <= wall["high"] and found["cost"]["value"] == pytest.approx(wall["value"])
    assert found["real_time_factor"] == pytest.approx(wall["value"] / 7)
    assert found["disk_bytes"] > 4 * 64 and found["disk_bytes_with_embeddings"] is None and found["machine"]
    assert not (tmp_path / "labels").exists()


def test_what_is_labelled_is_not_counted_again(corpus: Path, tmp_path: Path, quick: Any) -> None:
    (corpus / "m.csv").write_text("file\none\ntwo\n")
    label(corpus / "m.csv", output=tmp_path / "labels", teacher="taught", jobs=1)
    (corpus / "m.csv").write_text("file\none\ntwo\nfour\nnowhere\n")
    before = {path: path.read_bytes() for path in (tmp_path / "labels").iterdir()}
    found = estimate(corpus / "m.csv", output=tmp_path / "labels", teacher="taught", jobs=1)
    assert (found["missing"], found["skipped"], found["unlisted"]) == (1, 2, 1)
    assert found["audio_hours"] == pytest.approx(2.5 / 3600)
    with pytest.raises(Refused, match="labelled with window"):
        estimate(corpus / "m.csv", output=tmp_path / "labels", teacher="taught", window=1.0, jobs=1)
    (corpus / "m.csv").write_text("file\none\ntwo\n")
    found = estimate(corpus / "m.csv", output=tmp_path / "labels", teacher="taught", jobs=1)
    assert found["missing"] == 0 and found["wall_seconds"]["high"] == 0
    assert {path: path.read_bytes() for path in (tmp_path / "labels").iterdir()} == before


def test_the_sample_ends_in_time_and_says_what_failed(
    corpus: Path, tmp_path: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "b" / "broken.wav").write_bytes((corpus / "b" / "three.wav").read_bytes()[:20_000])
    monkeypatch.setattr(estimating, "SAMPLE", 3)
    found = estimate(corpus, output=tmp_path / "labels", teacher="taught", jobs=1)
    assert found["sample"]["segments"] == 3 and found["missing"] + found["unlisted"] == 5
    monkeypatch.setattr(estimating, "SECONDS", -1.0)
    monkeypatch.setattr(estimating, "TOGETHER", 1)
    assert estimate(corpus, output=tmp_path / "labels", teacher="taught", jobs=1)["sample"]["segments"] == 1
    quick.answer = lambda _: [float("nan")] * 3
    with pytest.raises(DistillError, match=r"sample failed \(the teacher quick answered NaN\)"):
        estimate(corpus, output=tmp_path / "labels", teacher="taught", jobs=1)


def test_who_reads_the_manifest_is_not_asked_about_noise(corpus: Path, tmp_path: Path) -> None:
    (corpus / "m.csv").write_text("file,arousal,valence\none,0.5,0.25\ntwo,0.75,0.5\n")
    found = estimate(corpus / "m.csv", output=tmp_path / "labels", teacher="ratings:arousal,valence", jobs=1)
    assert (found["missing"], found["sample"]["failed"]) == (2, 0) and found["disk_bytes_with_embeddings"] is None


def test_more_processes_are_faster_within_a_wider_range() -> None:
    timed = Timed(wall=[1.0, 1.2, 0.9], audio=[10.0, 10.0, 10.0])
    one, four = (estimating._wall(timed, 3600.0, jobs) for jobs in (1, 4))
    assert one["value"] == pytest.approx(3600 * 3.1 / 30) and four["value"] < one["value"] / 2
    assert four["high"] / four["low"] > one["high"] / one["low"]


def test_the_command_prints_the_estimate(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(corpus / "c.wav", soundfile.read(corpus / "a" / "one.wav")[0][::-1], 16000)
    command = ["label", str(corpus), "-o", str(tmp_path / "labels"), "--teacher", "prosody", "--estimate"]
    cli.main([*command, "--price-per-hour", "2"])
    out = capsys.readouterr().out
    assert "5 segments to label" in out and "cost about 0.00" in out and "with embeddings" in out
    cli.main([*command, "--json"])
    assert json.loads(capsys.readouterr().out)["missing"] == 5 and not (tmp_path / "labels").exists()
