"""A truth and written answers are read from any table, and segments find one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.annotation import axis_columns
from distill.errors import DistillError
from distill.evaluation.truth import SAME_TIME, Rated, look_up, read_rated


def rated(*keys: tuple[str, float | None, float | None]) -> Rated:
    """Rows whose arousal is their number, from 0."""
    adv = axis_columns([(float(number), None, None) for number in range(len(keys))])
    return Rated(Path("p.csv"), list(keys), adv, [{}] * len(keys))


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_an_axis_that_is_no_column_and_an_empty_cell_are_nan(tmp_path: Path) -> None:
    found = read_rated(write(tmp_path, "file,valence,arousal,sex\na.wav,0.25,,f\nb.wav,-1,2e0,\n"))
    assert found.adv.dtype == np.float32 and found.keys == [("a.wav", None, None), ("b.wav", None, None)]
    np.testing.assert_array_equal(found.adv, [[np.nan, np.nan, 0.25], [2, np.nan, -1]])
    assert found.has("sex") and not found.has("speaker")


@pytest.mark.parametrize("value", ["high", "0,5", "--"])
def test_a_rating_that_is_no_number_is_refused_by_row_and_axis(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, f'file,arousal,valence\na.wav,0.5,0.5\nb.wav,0.5,"{value}"\n')
    with pytest.raises(DistillError, match=rf"t\.csv, row 2, valence: '{value}' is no number"):
        read_rated(path)


def test_a_list_for_a_rating_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"file": "a.wav", "arousal": [1, 2]}), "t.jsonl")
    with pytest.raises(DistillError, match=r"row 1, arousal: \[1, 2\] is no number"):
        read_rated(path)


def test_a_table_without_an_axis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="has none of the columns arousal, dominance, valence"):
        read_rated(write(tmp_path, "file,anger\na.wav,1\n"))


def test_only_rows_of_the_chosen_values_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "file,arousal,split\na.wav,0.5,dev\nb.wav,no number,train\n")
    assert read_rated(path, {"split": "dev"}).keys == [("a.wav", None, None)]
    with pytest.raises(DistillError, match="split"):
        read_rated(path, {"split": "test"})


@pytest.mark.parametrize(
    ("times", "row"),
    [
        ((0.0, 1.0), 0),
        ((1.0, 2.0), 1),
        ((1.0 + 0.9 * SAME_TIME, 2.0 - 0.9 * SAME_TIME), 1),
        ((1.0, None), 1),
        ((None, 1.0), 0),
    ],
)
def test_segments_are_the_same_within_five_milliseconds(times: Any, row: int) -> None:
    found = look_up(rated(("a.wav", 0.0, 1.0), ("a.wav", 1.0, 2.0)), rated(("a.wav", *times)))
    assert found.adv[:, 0, 0].tolist() == [row] and list(found.rows) == [0] and not found.failures


@pytest.mark.parametrize("times", [(0.0, 2.0), (1.0 + 1.1 * SAME_TIME, 2.0), (5.0, 6.0)])
def test_a_segment_that_nobody_answered_is_named(times: tuple[float, float]) -> None:
    found = look_up(rated(("a.wav", 0.0, 1.0), ("a.wav", 1.0, 2.0)), rated(("a.wav", *times), ("b.wav", None, None)))
    assert len(found.rows) == 0 and found.adv.shape == (0, 1, 3)
    assert [(one.file, one.start, one.reason) for one in found.failures] == [
        ("a.wav", times[0], "no prediction for this segment"), ("b.wav", None, "no such file"),
    ]  # fmt: skip


def test_answers_stand_in_the_order_of_the_truth() -> None:
    said = rated(("x/a.wav", None, None), ("b.flac", None, None), ("c.wav", None, None))
    found = look_up(said, rated(("c", None, None), ("nobody", None, None), ("a.wav", 0.0, 9.0), ("b", None, None)))
    assert found.adv[:, 0, 0].tolist() == [2, 0, 1] and list(found.rows) == [0, 2, 3]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ([("a.wav", 0.0, 1.0), ("a.wav", 1.0, 2.0)], "2 predictions for this file; give start and end"),
        ([("x/a.wav", None, None), ("y/a.wav", None, None)], "it may be x/a.wav or y/a.wav"),
    ],
)
def test_an_answer_that_could_be_either_stops_the_work(said: Any, fault: str) -> None:
    with pytest.raises(DistillError, match=rf"p\.csv, a\.wav: .*{fault}"):
        look_up(rated(*said), rated(("a.wav", None, None)))
