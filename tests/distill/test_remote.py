"""Tars behind an address are fetched one by one, kept within bounds, and found again by whoever reads their members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.audio import read
from distill.errors import AudioError, DistillError
from distill.sources import remote, tars
from distill.sources.manifest import Cut, Failure, Segment, list_segments
from tests.distill.test_tars import packed, sound

fsspec = pytest.importorskip("fsspec")

Tone = Callable[..., np.ndarray]

CUT = Cut(30.0, 30.0)


@pytest.fixture
def bucket(tmp_path: Path, tone: Tone) -> Iterator[str]:
    """An address with three tars of one clip each (1.0, 1.5, 2.0 s), in the memory of this process."""
    system = fsspec.filesystem("memory")
    for number in range(3):
        path = packed(tmp_path / "made.tar", [(f"x{number}.wav", sound(tone(1 + number / 2), "wav"))])
        system.pipe_file(f"/bucket/s-{number}.tar", path.read_bytes())
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tars that are fetched, as they are."""
    names: list[str] = []
    download = remote._download

    def noted(address: str, *rest: Any) -> None:
        names.append(address.rpartition("/")[2])
        download(address, *rest)

    monkeypatch.setattr(remote, "_download", noted)
    return names


def listed(source: str, cache: Path, **how: Any) -> tuple[Path, list[Segment], dict[str, str]]:
    listing = list_segments(source, cut=CUT, cache=cache, **how)
    entries = list(listing)
    failures = {found.file: found.reason for found in entries if isinstance(found, Failure)}
    return listing.root, [found for found in entries if isinstance(found, Segment)], failures


def test_patterns_and_folders_of_an_address_are_listed_and_read(bucket: str, cache: Path, tone: Tone) -> None:
    for source in ("/s-{0..2}.tar", "/*.tar", "/"):
        root, segments, failures = listed(bucket + source, cache)
        assert [segment.key for segment in segments] == [(f"s-{n}.tar/x{n}.wav", 0, 1 + n / 2) for n in range(3)]
        assert not failures and root.parent == cache
    np.testing.assert_allclose(read(root / "s-1.tar" / "x1.wav"), tone(1.5), atol=1e-4)


def test_each_tar_is_fetched_once(bucket: str, cache: Path, fetched: list[str]) -> None:
    for _ in range(2):
        root, segments, _ = listed(f"{bucket}/*.tar", cache)
        for segment in segments:
            read(root / segment.file)
    assert fetched == ["s-0.tar", "s-1.tar", "s-2.tar"]


def test_the_cache_stays_within_its_bound_and_what_went_is_fetched_anew(
    bucket: str, cache: Path, fetched: list[str], tone: Tone
) -> None:
    root, segments, _ = listed(f"{bucket}/*.tar", cache, cache_bytes=150_000)  # each has 41 to 72 KB
    states = [(segment.size, segment.changed) for segment in segments]
    assert sorted(path.name for path in root.glob("*.tar")) == ["s-1.tar", "s-2.tar"]
    assert len(read(root / "s-0.tar" / "x0.wav")) == 16_000
    assert fetched == ["s-0.tar", "s-1.tar", "s-2.tar", "s-0.tar"]
    assert (segments[0].size, segments[0].changed) == tars.state_of(root / "s-0.tar" / "x0.wav")
    _, again, _ = listed(f"{bucket}/*.tar", cache, cache_bytes=1)  # at least the one that is read
    assert [(segment.size, segment.changed) for segment in again] == states
    assert len(list(root.glob("*.tar"))) == 1


def test_another_version_has_another_time(bucket: str, cache: Path) -> None:
    root, before, _ = listed(f"{bucket}/s-0.tar", cache)
    system = fsspec.filesystem("memory")
    content = system.cat_file("/bucket/s-0.tar")
    system.rm("/bucket/s-0.tar")
    system.pipe_file("/bucket/s-0.tar", content)
    (root / "s-0.tar").unlink()
    _, after, _ = listed(f"{bucket}/s-0.tar", cache)
    assert before[0].key == after[0].key and before[0].changed != after[0].changed


def test_a_tar_that_is_not_there_fails_by_name(bucket: str, cache: Path) -> None:
    root, segments, failures = listed(f"{bucket}/s-{{1..4}}.tar", cache)
    assert len(segments) == 2 and failures == dict.fromkeys(["s-3.tar", "s-4.tar"], "no such file there")
    with pytest.raises(AudioError, match="no such file"):
        read(root / "s-9.tar" / "x.wav")


def test_a_fetch_that_breaks_off_leaves_nothing(bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(system, "get_file", lambda self, path, target: Path(target).write_bytes(b"half"))
    root, segments, failures = listed(f"{bucket}/s-1.tar", cache)
    assert not segments and "4 of" in failures["s-1.tar"] and not list(root.glob("**/*.partial*"))

    def refused(*_: object) -> None:
        raise PermissionError(13, "no\ncredentials")

    monkeypatch.setattr(system, "get_file", refused)
    _, segments, failures = listed(f"{bucket}/s-1.tar", cache)
    assert not segments and "no credentials" in failures["s-1.tar"]


def test_a_tar_that_fits_onto_no_disk_is_not_begun(bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = remote.shutil.disk_usage(cache.parent)
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: usage._replace(free=10))
    assert "does not fit onto the disk" in listed(f"{bucket}/s-1.tar", cache)[2]["s-1.tar"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("memory://nobody/*.tar", "no such files"),
        ("memory://bucket/s-0.tar.gz", "is compressed; unpack it"),
        ("memory://bucket/s-0.flac", r"is no \.tar"),
        ("nobody-knows://bucket/s.tar", "nobody-knows"),
        ("memory://me:secret@bucket/s.tar", "password"),
    ],
)
def test_what_no_address_can_mean_is_refused_in_one_line(cache: Path, source: str, reason: str) -> None:
    with pytest.raises(DistillError, match=reason) as caught:
        listed(source, cache)
    assert "\n" not in str(caught.value)


def test_another_process_finds_the_way_by_the_folder_alone(tmp_path: Path, cache: Path, tone: Tone) -> None:
    packed(tmp_path / "there" / "s.tar", [("x.wav", sound(tone(), "wav"))])
    root, _, _ = listed(f"local://{tmp_path}/there/*.tar", cache)
    (root / "s.tar").unlink()
    tars._indices.clear()
    remote._is_home.cache_clear()
    assert len(read(root / "s.tar" / "x.wav")) == 16_000
