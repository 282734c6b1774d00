"""The estimate: what labelling would take, from a sample, with nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from distill import cli, table
from distill.errors import DistillError, Refused
from teacher import estimating
from teacher.estimating import Timed, estimate
from teacher.labelling import label
from teacher.prosody.features import FEATURES


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


@pytest.mark.parametrize(("wall", "spread"), [([1.0, 1.0, 1.0], 0.0), ([0.5, 1.5, 1.0], 0.577), ([1.0], 0.5)])
def test_the_range_is_as_wide_as_the_batches_differ(wall: list[float], spread: float) -> None:
    """Of a single batch nothing is known of that: half as much again is allowed."""
    found = estimating._wall(Timed(wall=wall, audio=[10.0] * len(wall)), 600.0, 1)
    assert found["value"] == pytest.approx(60.0)
    assert found["high"] / found["value"] - 1 == pytest.approx(spread, abs=0.001)
    assert found["low"] / found["value"] == pytest.approx(max(1 - spread, 0.5), abs=0.001)


def test_nothing_timed_takes_no_time() -> None:
    assert estimating._wall(Timed(), 0.0, 4) == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_processes_share_the_machine_within_their_bounds() -> None:
    found = estimating._wall(Timed(wall=[1.0, 1.0], audio=[10.0, 10.0]), 100.0, 4)
    assert found == {"value": pytest.approx(10 / 3.4), "low": pytest.approx(10 / 4), "high": pytest.approx(10 / 2.5)}


def test_the_time_goes_by_seconds_of_audio_and_not_by_clips() -> None:
    found = estimating._wall(Timed(wall=[1.0, 3.0], audio=[10.0, 30.0]), 80.0, 1)
    assert found["value"] == found["low"] == found["high"] == pytest.approx(8.0)


@pytest.mark.parametrize(("price", "cost"), [(None, None), (0.0, 0.0), (3.6, 7.2)])
def test_a_cost_is_the_time_at_its_price(price: float | None, cost: float | None) -> None:
    found = estimating._cost({"value": 7200.0, "low": 3600.0, "high": 9000.0}, price)
    assert found is cost if cost is None or found is None else found["value"] == pytest.approx(cost)
    assert found is None or found["low"] == found["value"] / 2


def test_a_row_takes_what_more_rows_add_to_a_file(tmp_path: Path) -> None:
    rows = [
        table.Row(f"{n:08d}.wav", 0.0, 1.0, f"{n:064x}", (n / 7, n / 9, n / 11), (None,) * 3, n, n, {})
        for n in range(400)
    ]
    some = estimating._bytes_a_row(rows, tmp_path)
    assert 30 < some < 400 and estimating._bytes_a_row([], tmp_path) == 0
    assert estimating._bytes_a_row(rows[:1], tmp_path) > some, "a file by itself takes more than a row"


def test_a_licence_is_refused_before_the_teacher_is_timed(corpus: Path, tmp_path: Path, quick: Any) -> None:
    with pytest.raises(Refused, match=r"the recordings \(--data-licence\): unknown is unknown"):
        estimate(corpus, output=tmp_path / "labels", teacher="prosody", require_licence="permissive")
    assert not quick.heard and not (tmp_path / "labels").exists()


def test_embeddings_and_views_are_in_the_estimate(corpus: Path, tmp_path: Path) -> None:
    plain = estimate(corpus, output=tmp_path / "labels", teacher="prosody", jobs=1)
    bytes_more = plain["disk_bytes_with_embeddings"] - plain["disk_bytes"]
    assert bytes_more == plain["missing"] * 2 * FEATURES and plain["output"] == tmp_path / "labels"
    seen = estimate(corpus, output=tmp_path / "labels", teacher="prosody", jobs=1, views=8)
    assert seen["sample"]["segments"] == 4 and seen["wall_seconds"]["value"] > 0
