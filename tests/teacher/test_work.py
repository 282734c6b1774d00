"""What is to be done: listed onto disk, compared with a table by hashes, handed out in chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import table
from distill.sources.manifest import Failure, Segment
from teacher import work
from teacher.marks import files_of, known_of
from teacher.work import Work, spool


def segment(number: int, **changed: Any) -> Segment:
    return replace(Segment(f"{number:03d}.wav", 0.0, 1.5, 1000, 7, {"speaker": f"s{number % 3}"}), **changed)


def spooled(tmp_path: Path, *entries: Any) -> Work:
    return spool(entries, tmp_path / "spool")[0]


def labelled(folder: Path, *segments: Segment) -> Path:
    rows = [table.Row(s.file, s.start, s.end, "aa", (0.1, 0.2, 0.3), (None,) * 3, s.size, s.changed, s.columns)
            for s in segments]  # fmt: skip
    table.write_part(folder, "0", rows)
    return folder


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "CHUNK", 4)


@pytest.mark.usefixtures("small_chunks")
def test_what_was_listed_comes_back_in_order_chunk_by_chunk(tmp_path: Path) -> None:
    given = [segment(number) for number in range(10)]
    lost = Failure("x.wav", "no such file")
    made, failures = spool([*given[:5], lost, *given[5:]], tmp_path / "spool")
    chunks = list(made.chunks())
    assert [len(chunk) for chunk in chunks] == [4, 4, 2] and failures == [lost] and made.segments == 10
    assert [s for chunk in chunks for s in chunk] == given
    assert [dict(s.columns) for s in chunks[0]] == [dict(s.columns) for s in given[:4]]


def test_a_segment_that_is_listed_twice_is_done_once_by_its_first_row(tmp_path: Path) -> None:
    made = spooled(tmp_path, segment(1, columns={"n": "1"}), segment(2), segment(1, columns={"n": "2"}))
    ((first, second),) = made.chunks()
    assert made.segments == 2 and first.columns == {"n": "1"} and second.file == "002.wav"


@pytest.mark.usefixtures("small_chunks")
def test_what_a_table_holds_is_left_out(tmp_path: Path) -> None:
    made = spooled(tmp_path, *(segment(number) for number in range(10)))
    known = known_of(labelled(tmp_path / "labels", *(segment(number) for number in range(1, 9))))
    assert not (made.marks.touched(known) | made.marks.described_anew(known)).any() and not made.marks.gone(known).any()
    made.leave_out(known)
    assert [s.file for chunk in made.chunks() for s in chunk] == ["000.wav", "009.wav"]


@pytest.mark.parametrize("change", [{"size": 1001}, {"changed": 8}, {"columns": {"speaker": "other"}},
                                    {"columns": {"speaker": "s1", "sex": "f"}}, {"columns": {}}])  # fmt: skip
def test_a_row_no_longer_holds_if_the_file_or_its_columns_changed(tmp_path: Path, change: dict[str, Any]) -> None:
    known = known_of(labelled(tmp_path / "labels", segment(1), segment(2)))
    made = spooled(tmp_path, segment(2), segment(1, **change))
    old = made.marks.touched(known) | made.marks.described_anew(known)
    assert old.tolist() == [True, False] and made.marks.touched(known).any() == ("columns" not in change)
    assert files_of(tmp_path / "labels", old) == {"001.wav"}


def test_a_file_that_changed_its_length_takes_its_rows_with_it(tmp_path: Path) -> None:
    known = known_of(labelled(tmp_path / "labels", segment(1)))
    assert spooled(tmp_path, segment(1, end=2.0, size=1400, changed=9)).marks.touched(known).all()


def test_segments_of_one_file_have_columns_of_their_own(tmp_path: Path) -> None:
    """A manifest with a transcript a segment is no change."""
    turns = [segment(1, columns={"text": "yes"}), segment(1, start=2.0, end=3.0, columns={"text": "no"})]
    known = known_of(labelled(tmp_path / "labels", *turns))
    assert not spooled(tmp_path, *turns).marks.described_anew(known).any()


def test_rows_of_files_that_are_gone_are_told_apart(tmp_path: Path) -> None:
    known = known_of(labelled(tmp_path / "labels", segment(1), segment(2)))
    assert spooled(tmp_path, segment(1)).marks.gone(known).tolist() == [False, True]


def test_nothing_known_and_nothing_listed(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    known = known_of(tmp_path / "labels")
    made = spooled(tmp_path)
    made.leave_out(known)
    assert len(known) == 0 and made.segments == 0 and not list(made.chunks())
    assert not made.marks.touched(known_of(labelled(tmp_path / "other", segment(1)))).any()


def test_columns_that_a_manifest_has_in_other_types_are_no_change(tmp_path: Path) -> None:
    known = known_of(labelled(tmp_path / "labels", segment(1, columns={"n": 3, "arousal": 0.5, "none": None})))
    assert not spooled(tmp_path, segment(1, columns={"n": 3, "arousal": 0.5})).marks.described_anew(known).any()
    assert known.columns.dtype == np.uint64


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("count", "files"), [(3, [0, 3, 6]), (9, list(range(9))), (20, list(range(9)))])
def test_some_are_taken_evenly_over_the_list(tmp_path: Path, count: int, files: list[int]) -> None:
    made = spooled(tmp_path, *(segment(number) for number in range(9)), segment(0))
    assert [s.file for s in made.evenly(count)] == [f"{number:03d}.wav" for number in files]
