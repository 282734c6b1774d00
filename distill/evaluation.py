"""Evaluation: a student, or answers from a file, against a truth: human ratings or a teacher's label table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES, axis_columns
from distill.audio import Span, read, seconds_of
from distill.errors import AudioError, DistillError
from distill.files import reject_unwritable, write_csv, write_json
from distill.manifest import Failure, audio_files, read_rows, select, write_failures
from distill.metrics import agreement, answered, slices
from distill.naming import AmbiguousName, Names
from distill.prediction import answer
from distill.progress import Progress, say
from distill.student import Student
from distill.tars import is_there

#: Times of a segment that differ by less are the same (seconds).
SAME_TIME = 0.005


@dataclass(frozen=True)
class Rated:
    """Rows of a truth or of predictions.

    keys: (file, start or None, end or None) of each; adv: float32 [n, 3], NaN where an axis is lacking.
    """

    keys: list[tuple[str, float | None, float | None]]
    adv: np.ndarray
    columns: Sequence[Mapping[str, Any]]


def evaluate(
    *,
    truth: str | Path,
    student: str | Path | None = None,
    predictions: str | Path | None = None,
    audio: str | Path | None = None,
    output: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """CCC, Pearson and mean absolute error per axis, of a student or of written predictions, with 95 % intervals.

    truth: a CSV (file and any of arousal, dominance, valence) or a label table; predictions: the same. Files are
    matched by relative path, then by base name where that is unique. by: columns of the truth to slice by. With
    `output` (.json) the answers per clip are saved beside it as `.predictions.csv`.

    Returns {n, ccc: {axis: {value, low, high}}, pearson, mae, slices, failed}; an axis that one side lacks is left out.

    Raises:
        DistillError: neither or both of student and predictions, a truth without axes, ambiguous names, no clip left.
    """
    if (student is None) == (predictions is None):
        raise DistillError("evaluate takes either --student (with --audio) or --predictions")
    truth = Path(truth)
    student, predictions, audio, output = (
        None if path is None else Path(path) for path in (student, predictions, audio, output)
    )
    if output is not None:
        _check_output(output)
    rated = read_rated(truth, where)
    if student is not None:
        rows, predicted, failures = _predicted(Student(student), truth, rated, audio)
    elif predictions is not None:
        rows, predicted, failures = _looked_up(read_rated(predictions), rated, truth)
    if not rows:
        raise DistillError(f"{truth}: none of its {len(rated.keys)} clips could be answered ({failures[0].reason})")
    target = rated.adv[rows]
    if not answered(predicted, target):
        raise DistillError(f"{truth}: has no axis in common with the answers")
    groups = {column: [_value(rated, row, column, truth) for row in rows] for column in by}
    result = {**agreement(predicted, target, seed=seed), "slices": slices(predicted, target, groups, seed=seed)}
    result["failed"] = len(failures)
    if output is not None:
        _write(output, result, [rated.keys[row] for row in rows], predicted, target, failures)
    return result


def _check_output(output: Path) -> None:
    """Before the work: is the output a JSON that can be written?"""
    if output.suffix != ".json" or output.is_dir():
        raise DistillError(f"{output}: the output must be a file that ends in .json")
    reject_unwritable(output)


def read_rated(path: Path, where: Mapping[str, str] | None = None) -> Rated:
    """Ratings or answers from a CSV / JSONL / Parquet file, or from a label table.

    Raises:
        DistillError: no such file, no axis among its columns, or a value that is no number.
    """
    rows = _table_rows(path) if table.is_table(path) else read_rows(path)
    rows = select(rows, where, path) if where else rows
    axes = [axis for axis in AXES if axis in rows[0]]
    if not axes:
        raise DistillError(f"{path}: has none of the columns {', '.join(AXES)}")
    values = [
        [_number(row.get(axis), f"{path}, row {number}, {axis}") for axis in AXES] for number, row in enumerate(rows, 1)
    ]
    return Rated([(str(row["file"]), row.get("start"), row.get("end")) for row in rows], axis_columns(values), rows)


def _table_rows(folder: Path) -> list[dict[str, Any]]:
    read_table = table.read(folder)
    return list(read_table.rows.to_pylist())


def _number(value: Any, at: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DistillError(f"{at}: {value!r} is no number") from None


def _value(rated: Rated, row: int, column: str, truth: Path) -> Any:
    if column not in rated.columns[row]:
        raise DistillError(f"{truth}: no column {column!r} to slice by; it has {', '.join(rated.columns[row])}")
    return rated.columns[row][column]


def _predicted(
    student: Student, truth: Path, rated: Rated, audio: Path | None
) -> tuple[list[int], np.ndarray, list[Failure]]:
    """Rows that the student answered, its answers [n, 3], and what could not be answered."""
    root = audio or (table.read(truth).root if table.is_table(truth) else truth.parent)
    if not root.is_dir():
        raise DistillError(f"{root}: no such folder; --audio says where the recordings of {truth} are")
    names = Names(audio_files(root))
    rows: list[int] = []
    answers: list[np.ndarray] = []
    failures: list[Failure] = []
    with Progress("evaluating", len(rated.keys), "clips") as progress:
        for row, (name, start, end) in enumerate(rated.keys):
            try:
                answers.append(
                    _answered(student, root / (name if is_there(root / name) else names.find(name)), start, end)
                )
                rows.append(row)
            except AmbiguousName as error:
                raise DistillError(f"{truth}, {name}: {error}") from None
            except AudioError as error:
                failures.append(Failure(name, str(error), start, end))
            progress.advance(failed=len(failures) - progress.failed)
    return rows, np.array(answers, np.float32).reshape(-1, len(AXES)), failures


def _answered(student: Student, path: Path, start: float | None, end: float | None) -> np.ndarray:
    span = None if start is None and end is None else Span(start or 0.0, seconds_of(path) if end is None else end)
    adv, warning = answer(student, read(path, span))
    if warning:
        raise AudioError(warning)
    return adv


def _looked_up(predictions: Rated, rated: Rated, truth: Path) -> tuple[list[int], np.ndarray, list[Failure]]:
    """Rows that the predictions answer. Times are compared where both sides give them."""
    names = Names({file for file, _, _ in predictions.keys})
    by_file: dict[str, list[int]] = {}
    for index, (file, _, _) in enumerate(predictions.keys):
        by_file.setdefault(file, []).append(index)
    rows: list[int] = []
    found: list[int] = []
    failures: list[Failure] = []
    for row, (name, start, end) in enumerate(rated.keys):
        try:
            found.append(_at_time(by_file[names.find(name)], predictions, start, end))
            rows.append(row)
        except AmbiguousName as error:
            raise DistillError(f"{truth}, {name}: {error}") from None
        except AudioError as error:
            failures.append(Failure(name, str(error), start, end))
    return rows, predictions.adv[found], failures


def _at_time(candidates: Sequence[int], predictions: Rated, start: float | None, end: float | None) -> int:
    matching = [
        index
        for index in candidates
        if all(
            given is None or there is None or abs(given - there) < SAME_TIME
            for given, there in zip((start, end), predictions.keys[index][1:], strict=True)
        )
    ]
    if not matching:
        raise AudioError("no prediction for this segment")
    if len(matching) > 1:
        raise AmbiguousName(f"{len(matching)} predictions for this file; give start and end")
    return matching[0]


def _write(
    output: Path, result: Mapping[str, Any], keys: Sequence[tuple[Any, ...]], predicted: np.ndarray, target: np.ndarray,
    failures: Sequence[Failure],
) -> None:  # fmt: skip
    columns = ["file", "start", "end", *AXES, *(f"true_{axis}" for axis in AXES)]
    rows = [
        [*key, *map(_cell, answer), *map(_cell, true)]
        for key, answer, true in zip(keys, predicted, target, strict=True)
    ]
    write_csv(output.with_suffix(".predictions.csv"), columns, rows)
    write_failures(output.with_suffix(".failed.csv"), failures)
    if failures:
        say(f"{len(failures)} clips could not be answered; {output.with_suffix('.failed.csv')} names each")
    write_json(output, result)


def _cell(value: float) -> str:
    return f"{value:.6f}" if np.isfinite(value) else ""
