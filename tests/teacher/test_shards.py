"""Tars are labelled as folders are: once, resumed, by several workers, from elsewhere; a student learns from them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import table
from distill.errors import Refused
from distill.learning.clips import _signal_or_reason, examples
from teacher.labelling import label
from tests.distill.test_tars import packed, sound

Tone = Callable[..., np.ndarray]


@pytest.fixture
def shards(tmp_path: Path, tone: Tone) -> Path:
    """Three tars of four clips; the last clip of each is the same."""
    for number in range(3):
        clips = [(f"{number}-{n}", tone(0.5 + 0.1 * n, 200 + 10 * (number if n < 3 else 9))) for n in range(4)]
        packed(tmp_path / "shards" / f"s-{number}.tar", [
            (f"{key}.{ending}", content) for key, clip in clips
            for ending, content in (("flac", sound(clip)), ("json", json.dumps({"speaker": key[0]}).encode()))
        ])  # fmt: skip
    return tmp_path / "shards"


def failures(labels: Path) -> dict[str, str]:
    with (labels / "failed.csv").open(newline="", encoding="utf-8") as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


def test_tars_become_a_table_and_are_read_again_for_training(shards: Path, tmp_path: Path, quick: Any) -> None:
    source = str(shards / "s-{0..2}.tar")
    result = label(source, output=tmp_path / "labels", teacher="taught", jobs=1)
    assert result["labelled"] == 12 and len(quick.heard) == 10  # what is the same is computed once
    read = table.read(tmp_path / "labels")
    assert read.column("file")[:2] == ["s-0.tar/0-0.flac", "s-0.tar/0-1.flac"]
    assert read.column("speaker") == [str(n) for n in range(3) for _ in range(4)] and read.root == shards.resolve()
    for example in examples(read, None, [""] * len(read)):
        assert not isinstance(_signal_or_reason(example, 0.25), str)
    assert label(source, output=tmp_path / "labels", teacher="taught", jobs=1)["skipped"] == 12
    assert len(quick.heard) == 10


def test_a_tar_that_cannot_be_read_is_one_failure_and_that_is_said(
    shards: Path, tmp_path: Path, quick: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (shards / "s-1.tar").write_bytes(b"")
    result = label(shards, output=tmp_path / "labels", teacher="taught", jobs=1)
    assert (result["labelled"], result["failed"]) == (8, 1) and list(failures(tmp_path / "labels")) == ["s-1.tar"]
    err = capsys.readouterr().err
    assert "tars that cannot be read to their end: 1 (s-1.tar: " in err and "each counts as one failure" in err


def test_a_tar_that_has_changed_is_labelled_again_if_asked(
    shards: Path, tmp_path: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(shards, output=tmp_path / "labels", teacher="taught", jobs=1)
    os.utime(shards / "s-1.tar", ns=(0, 1_000))
    assert label(shards, output=tmp_path / "labels", teacher="taught", jobs=1)["skipped"] == 12  # the same audio
    monkeypatch.setattr("teacher.reconciling.digest", lambda _: "of other audio")
    with pytest.raises(Refused, match=r"s-1\.tar/1-0\.flac has changed"):
        label(shards, output=tmp_path / "labels", teacher="taught", jobs=1)
    result = label(shards, output=tmp_path / "labels", teacher="taught", jobs=1, relabel=True)
    assert (result["labelled"], result["skipped"]) == (4, 8)


def test_two_workers_and_the_real_command(shards: Path, tmp_path: Path, distill: Any) -> None:
    with (shards / "s-2.tar").open("r+b") as handle:
        handle.truncate((shards / "s-2.tar").stat().st_size - 12_000)
    pattern = f"local://{shards}/s-{{0..2}}.tar"
    done = distill("label", pattern, "-o", tmp_path / "labels", "--teacher", "prosody", "--jobs", 2,
                   "--cache", tmp_path / "cache", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labelled"] >= 8 and "broken off" in failures(tmp_path / "labels")["s-2.tar"]
    read = table.read(tmp_path / "labels")
    assert read.root.parent == (tmp_path / "cache").resolve() and read.info["arguments"]["source"] == pattern


def test_from_elsewhere_each_tar_is_fetched_once_though_few_are_kept(
    shards: Path, tmp_path: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.sources import remote

    pytest.importorskip("fsspec")
    names: list[str] = []
    download = remote._download
    monkeypatch.setattr(
        remote, "_download", lambda address, *rest: names.append(address[-7:]) or download(address, *rest)
    )
    result = label(f"local://{shards}/*.tar", output=tmp_path / "labels", teacher="taught", jobs=1,
                   cache=tmp_path / "cache", cache_gb=1e-9)  # fmt: skip
    assert result["labelled"] == 12
    assert names == [f"s-{n}.tar" for n in (0, 1, 2)] * 2  # once to be listed, once to be decoded


def test_a_missing_fsspec_is_one_line(tmp_path: Path, distill: Any) -> None:
    (tmp_path / "fsspec.py").write_text("raise ModuleNotFoundError(\"No module named 'fsspec'\", name='fsspec')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}
    done = distill("label", "s3://bucket/*.tar", "-o", tmp_path / "labels", "--teacher", "prosody", env=environment)
    assert done.returncode == 1 and "needs fsspec" in done.stderr and ".[remote]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
