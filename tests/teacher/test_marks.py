"""By what segments are known again: what changes a mark, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import table
from distill.sources.manifest import Segment
from teacher.marks import Marks, files_of, known_of, marks_of, put_together

ONE = Segment("a/one.wav", 0.5, 2.0, 48_044, 7, {"speaker": "s1", "text": "yes"})

#: What a segment's mark is made of, and the one hash that another value moves.
CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()), ({"file": "a/two.wav"}, {"keys", "files"}), ({"start": 0.6}, {"keys"}), ({"end": 2.1}, {"keys"}),
    ({"size": 48_045}, {"states"}), ({"changed": 8}, {"states"}), ({"columns": {}}, {"columns"}),
    ({"columns": {"text": "yes", "speaker": "s1"}}, set()), ({"columns": {"speaker": "s1"}}, {"columns"}),
    ({"columns": {"speaker": "s1", "text": "yes", "sex": None}}, set()),
    ({"columns": {"speaker": "yes", "text": "s1"}}, {"columns"}),
]  # fmt: skip


def marked(*segments: Segment) -> Marks:
    return put_together([marks_of(segments)])


def rows_of(*segments: Segment) -> list[table.Row]:
    return [table.Row(s.file, s.start, s.end, "aa", (0.1, 0.2, 0.3), (None,) * 3, s.size, s.changed, s.columns)
            for s in segments]  # fmt: skip


@pytest.mark.parametrize(("change", "moved"), CHANGES)
def test_each_hash_is_of_its_own_matter(change: dict[str, Any], moved: set[str]) -> None:
    before, after = marked(ONE), marked(replace(ONE, **change))
    hashes = ("keys", "files", "states", "columns")
    assert {name for name in hashes if getattr(before, name)[0] != getattr(after, name)[0]} == moved


@pytest.mark.parametrize("columns", [{}, {"speaker": "s1"}, {"arousal": 0.5, "n": 3}, {"file": "x", "none": None}])
def test_a_row_of_a_table_has_the_mark_of_its_segment(tmp_path: Path, columns: dict[str, Any]) -> None:
    """Also where the manifest's columns have the names of the table's own."""
    segments = [replace(ONE, columns=columns), replace(ONE, file="b.wav", columns={})]
    table.write_part(tmp_path, "0", rows_of(*segments))
    known = known_of(tmp_path)
    for name in ("keys", "files", "states", "columns"):
        np.testing.assert_array_equal(getattr(known, name), getattr(marked(*segments), name))


def test_marks_are_chosen_by_a_mask_and_put_together_in_order() -> None:
    segments = [replace(ONE, file=f"{number}.wav") for number in range(4)]
    pieces = put_together([marks_of(segments[:1]), marks_of([]), marks_of(segments[1:])])
    assert len(pieces) == 4 and len(put_together([])) == 0
    chosen = pieces[np.array([False, True, False, True])]
    np.testing.assert_array_equal(chosen.keys, marked(segments[1], segments[3]).keys)
    np.testing.assert_array_equal(chosen.states, marked(segments[1], segments[3]).states)


def test_of_one_file_all_rows_are_touched_and_none_of_another(tmp_path: Path) -> None:
    known = marked(ONE, replace(ONE, start=3.0, end=4.0), replace(ONE, file="b.wav"))
    now = marked(replace(ONE, changed=9), replace(ONE, file="b.wav"))
    assert now.touched(known).tolist() == [True, True, False]
    assert now.gone(known).tolist() == [False, True, False]
    assert put_together([]).touched(known).tolist() == [False] * 3 and put_together([]).gone(known).all()
    assert now.touched(put_together([])).tolist() == []


def test_files_of_flagged_rows_are_found_across_parts(tmp_path: Path) -> None:
    for part in range(3):
        table.write_part(tmp_path, str(part), rows_of(*(replace(ONE, file=f"{part}-{n}.wav") for n in range(2))))
    flagged = np.array([False, True, False, False, True, False])
    assert files_of(tmp_path, flagged) == {"0-1.wav", "2-0.wav"}
    assert files_of(tmp_path, np.zeros(6, bool)) == set() and len(files_of(tmp_path, np.ones(6, bool))) == 6
