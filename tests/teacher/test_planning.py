"""Batches from the list alone: likely copies together, clips of like length next to each other, nobody lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from distill.sources.manifest import Segment
from teacher.planning import plan


def segment(file: str, seconds: float = 1.0, size: int = 0) -> Segment:
    return Segment(file, 0.0, seconds, size, 7)


def names(batches: list[list[Segment]]) -> list[list[str]]:
    return [[one.file for one in batch] for batch in batches]


def of_lengths(*seconds: float) -> list[Segment]:
    return [segment(f"{number:02d}.wav", one, 1000 + number) for number, one in enumerate(seconds)]


def put(folder: Path, **contents: bytes) -> list[Segment]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [segment(name, size=len(content)) for name, content in contents.items()]


def test_the_longest_come_first_and_like_lengths_together() -> None:
    batches = plan(of_lengths(1.0, 9.0, 2.0, 8.0, 1.5), Path("nowhere"), together=2)
    assert names(batches) == [["01.wav", "03.wav"], ["02.wav", "04.wav"], ["00.wav"]]


@pytest.mark.parametrize("together", [1, 3, 7, 100])
def test_every_segment_stands_in_one_batch(together: int) -> None:
    given = of_lengths(*(1 + number % 5 for number in range(20)))
    batches = plan(given, Path("nowhere"), together)
    assert sorted(one.file for batch in batches for one in batch) == [one.file for one in given]
    assert all(0 < len(batch) <= together for batch in batches)


def test_the_plan_does_not_depend_on_the_order_of_the_list(tmp_path: Path) -> None:
    given = [*of_lengths(3.0, 1.0, 2.0), *put(tmp_path, a=b"x" * 50, b=b"x" * 50, c=b"y" * 50)]
    mixed = random.Random(0).sample(given, len(given))
    assert plan(mixed, tmp_path, 2) == plan(given, tmp_path, 2)


def test_nothing_is_no_batch() -> None:
    assert plan([], Path("nowhere")) == []


def test_copies_are_not_parted_though_a_batch_stays_smaller(tmp_path: Path) -> None:
    given = put(tmp_path, a=b"1" * 90, b=b"2" * 90, c=b"2" * 90, d=b"3" * 90)
    assert names(plan(given, tmp_path, together=2)) == [["a"], ["b", "c"], ["d"]]


def test_spans_of_one_recording_are_no_copies_of_each_other(tmp_path: Path) -> None:
    (whole,) = put(tmp_path, a=b"1" * 90)
    spans = [Segment("a", start, start + 1.0, whole.size, 7) for start in (0.0, 1.0, 2.0)]
    assert [len(batch) for batch in plan(spans, tmp_path, together=1)] == [1, 1, 1]


def test_many_that_share_a_middle_are_told_apart_by_all_their_bytes(tmp_path: Path) -> None:
    middle = bytes(6000)
    contents = {f"f{number}": bytes([number]) + middle + bytes([number]) for number in range(4)}
    given = put(tmp_path, **contents, f4=contents["f0"])
    assert names(plan(given, tmp_path, together=2)) == [["f0", "f4"], ["f1", "f2"], ["f3"]]


def test_true_copies_beyond_a_batch_are_still_one(tmp_path: Path) -> None:
    given = put(tmp_path, a=b"z" * 9000, b=b"z" * 9000, c=b"z" * 9000)
    assert names(plan(given, tmp_path, together=2)) == [["a", "b", "c"]]


def test_what_cannot_be_opened_is_planned_all_the_same(tmp_path: Path) -> None:
    """It fails by name when it is decoded."""
    given = [segment("gone.wav", size=90), segment("lost.wav", size=90), *put(tmp_path, here=b"1" * 90)]
    assert sorted(one for batch in names(plan(given, tmp_path, 1)) for one in batch) == ["gone.wav", "here", "lost.wav"]


def test_files_of_a_size_of_their_own_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("teacher.planning.open_bytes", lambda path: opened.append(path) or (path.open("rb"), path))
    plan(put(tmp_path, a=b"1", b=b"22", c=b"333", d=b"444"), tmp_path)
    assert sorted(path.name for path in opened) == ["c", "d"]
