"""A truth, and written answers to it: read from a CSV, JSONL or Parquet file, or from a label table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES, axis_columns
from distill.errors import AudioError, DistillError
from distill.evaluation.answering import Answers, Key
from distill.sources.manifest import Failure, read_rows, select
from distill.sources.naming import AmbiguousName, Names

#: Times of a segment that differ by less are the same (seconds).
SAME_TIME = 0.005


@dataclass(frozen=True)
class Rated:
    """Rows of a truth or of predictions, and where they were read.

    keys: (file, start or None, end or None) of each; adv: float32 [n, 3], NaN where an axis is lacking.

    >>> rated = Rated(Path("t.csv"), [("a.wav", None, None)], np.zeros((1, 3)), [{"sex": "f"}])
    >>> rated.has("sex"), rated.has("age")
    (True, False)
    """

    path: Path
    keys: list[Key]
    adv: np.ndarray
    columns: Sequence[Mapping[str, Any]]

    def has(self, column: str) -> bool:
        """Whether all rows have it."""
        return all(column in row for row in self.columns)


def read_rated(path: Path, where: Mapping[str, str] | None = None, *, or_column: str | None = None) -> Rated:
    """Ratings or answers from a CSV / JSONL / Parquet file, the labels of a published corpus, or a label table.

    or_column: a column that is enough where there is no axis.

    Raises:
        DistillError: no such file, no axis among its columns, or a value that is no number.
    """
    rows = _table_rows(path) if table.is_table(path) else read_rows(path)
    rows = select(rows, where, path) if where else rows
    axes = [axis for axis in AXES if axis in rows[0]]
    if not axes and or_column not in rows[0]:
        raise DistillError(f"{path}: has none of the columns {', '.join(AXES)}")
    values = [
        [_number(row.get(axis), f"{path}, row {number}, {axis}") for axis in AXES] for number, row in enumerate(rows, 1)
    ]
    keys = [(str(row["file"]), row.get("start"), row.get("end")) for row in rows]
    return Rated(path, keys, axis_columns(values), rows)


def _table_rows(folder: Path) -> list[dict[str, Any]]:
    return list(table.read(folder).rows.to_pylist())


def _number(value: Any, at: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DistillError(f"{at}: {value!r} is no number") from None


def look_up(predictions: Rated, truth: Rated) -> Answers:
    """What the predictions say of the truth's rows. Times are compared where both sides give them.

    >>> def said(name, arousal):
    ...     return Rated(Path("p.csv"), [(name, None, None)], axis_columns([(arousal, None, None)]), [{}])
    >>> look_up(said("a.wav", 0.5), said("deep/a", 0.4)).adv.tolist()
    [[[0.5, nan, nan]]]

    Raises:
        DistillError: several files have a name, or several predictions are of one segment.
    """
    names = Names({file for file, _, _ in predictions.keys})
    by_file: dict[str, list[int]] = {}
    for index, (file, _, _) in enumerate(predictions.keys):
        by_file.setdefault(file, []).append(index)
    found: dict[int, int] = {}
    failures: list[Failure] = []
    for row, (name, start, end) in enumerate(truth.keys):
        try:
            found[row] = _at_time(by_file[names.find(name)], predictions, start, end)
        except AmbiguousName as error:
            raise DistillError(f"{truth.path}, {name}: {error}") from None
        except AudioError as error:
            failures.append(Failure(name, str(error), start, end))
    return Answers(list(found), predictions.adv[list(found.values())][:, None], failures)


def _at_time(candidates: Sequence[int], predictions: Rated, start: float | None, end: float | None) -> int:
    """The one of the candidates that is of these times."""
    matching = [index for index in candidates if all(map(_same_time, (start, end), predictions.keys[index][1:]))]
    if not matching:
        raise AudioError("no prediction for this segment")
    if len(matching) > 1:
        raise AmbiguousName(f"{len(matching)} predictions for this file; give start and end")
    return matching[0]


def _same_time(one: float | None, other: float | None) -> bool:
    return one is None or other is None or abs(one - other) < SAME_TIME
