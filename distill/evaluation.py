"""Evaluation: a student, a teacher, or answers from a file, against a truth: human ratings or a label table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES, Annotator, axis_columns
from distill.answering import Answers, Key, Model, Recordings, answers, model_of_student, model_of_teacher
from distill.errors import AudioError, DistillError
from distill.files import reject_unwritable, write_csv, write_json
from distill.manifest import Failure, read_rows, select, write_failures
from distill.metrics import against as against_others
from distill.metrics import agreement, answered, slices
from distill.naming import AmbiguousName, Names
from distill.progress import Progress, say
from distill.robustness import Trial
from distill.snr import UNKNOWN, snr_bin
from distill.student import Student

#: Times of a segment that differ by less are the same (seconds).
SAME_TIME = 0.005

#: A column that can be sliced by even if the truth has none of this name: it is then estimated from the recordings.
SNR = "snr"


@dataclass(frozen=True)
class Rated:
    """Rows of a truth or of predictions.

    keys: (file, start or None, end or None) of each; adv: float32 [n, 3], NaN where an axis is lacking.
    """

    keys: list[Key]
    adv: np.ndarray
    columns: Sequence[Mapping[str, Any]]

    def has(self, column: str) -> bool:
        """Whether all rows have it."""
        return all(column in row for row in self.columns)


def evaluate(
    *,
    truth: str | Path,
    student: str | Path | None = None,
    teacher: str | None = None,
    predictions: str | Path | None = None,
    audio: str | Path | None = None,
    output: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
    against: str | Path | None = None,
    robustness: bool = False,
    noise: str | Path | None = None,
    rir: str | Path | None = None,
    seed: int = 0,
    open_teacher: Callable[[str], Annotator] | None = None,
) -> dict[str, Any]:
    """CCC, Pearson and mean absolute error per axis, of a student, a teacher or written answers, with 95 % intervals.

    truth: a CSV (file and any of arousal, dominance, valence) or a label table; predictions: the same. Files are
    matched by relative path, then by base name where that is unique. by: columns of the truth to slice by, and "snr",
    which is estimated where the truth does not know it. With `output` (.json) the answers per clip are saved beside it
    as `.predictions.csv`. open_teacher: opens the `teacher` of that name.

    against: other answers to the same clips, as predictions: by how much these are better or worse (`metrics.against`).

    robustness: every clip is answered again under the conditions of `distill.robustness`; noise, rir: folders of the
    recordings that are used for it, by default noise and rooms are synthesised.

    Returns {n, ccc: {axis: {value, low, high}}, pearson, mae, slices, failed}, and against and robustness where they
    were asked for (`Trial.report`); an axis that one side lacks is left out.

    Raises:
        DistillError: not one of student, teacher and predictions, a truth without axes, ambiguous names, no clip left.
    """
    truth = Path(truth)
    predictions, audio, output, noise, rir = (
        None if path is None else Path(path) for path in (predictions, audio, output, noise, rir)
    )
    if sum(given is not None for given in (student, teacher, predictions)) != 1:
        raise DistillError("evaluate takes either --student or --teacher (with --audio), or --predictions")
    _check_trial(robustness, noise, rir, predictions)
    if output is not None:
        _check_output(output)
    rated = read_rated(truth, where)
    others = None if against is None else read_rated(Path(against))
    _check_columns(rated, by, truth)
    trial = Trial(noise, rir, seed=seed) if robustness else None
    if predictions is not None:
        said = _looked_up(read_rated(predictions), rated, truth)
    else:
        said = _asked(_model(student, teacher, open_teacher), Recordings(truth, audio), rated, trial)
    if not said.rows:
        reason = said.failures[0].reason
        raise DistillError(f"{truth}: none of its {len(rated.keys)} clips could be answered ({reason})")
    predicted, target = said.adv[:, 0], rated.adv[said.rows]
    if not answered(predicted, target):
        raise DistillError(f"{truth}: has no axis in common with the answers")
    groups = {column: _values(rated, said.rows, column, truth, audio) for column in by}
    result = {**agreement(predicted, target, seed=seed), "slices": slices(predicted, target, groups, seed=seed)}
    result["failed"] = len(said.failures)
    if others is not None:
        result["against"] = {"answers": str(against), **_against(others, rated, said, truth, seed)}
    if trial is not None:
        result["robustness"] = trial.report(said.adv, target)
    if output is not None:
        _write(output, result, [rated.keys[row] for row in said.rows], predicted, target, said.failures)
    return result


def _model(student: str | Path | None, teacher: str | None, open_teacher: Callable[[str], Annotator] | None) -> Model:
    if student is not None:
        return model_of_student(Student(student))
    if teacher is None or open_teacher is None:
        raise DistillError("a teacher needs open_teacher, which opens it by its name")
    return model_of_teacher(open_teacher(teacher))


def _check_trial(robustness: bool, noise: Path | None, rir: Path | None, predictions: Path | None) -> None:
    """Before the work: can the conditions of robustness be tried?"""
    if robustness and predictions is not None:
        raise DistillError("--robustness asks anew under every condition; it needs --student or --teacher")
    if not robustness and (noise or rir):
        raise DistillError("--noise and --rir go with --robustness")


def _check_columns(rated: Rated, by: Sequence[str], truth: Path) -> None:
    """Before the work: is there what is to be sliced by?"""
    for column in by:
        if column != SNR and not rated.has(column):
            has = ", ".join(rated.columns[0])
            raise DistillError(f"{truth}: no column {column!r} to slice by; it has {has}")


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


def _values(rated: Rated, rows: Sequence[int], column: str, truth: Path, audio: Path | None) -> list[Any]:
    """What a column says of the rows."""
    if rated.has(column):
        return [rated.columns[row][column] for row in rows]
    return _estimated_snr(Recordings(truth, audio), [rated.keys[row] for row in rows])


def _estimated_snr(recordings: Recordings, keys: Sequence[Key]) -> list[str]:
    """The bin of each recording; of one that cannot be read it is unknown."""
    bins = []
    with Progress("estimating SNR", len(keys), "clips") as progress:
        for key in keys:
            try:
                bins.append(snr_bin(recordings.read(key)))
            except AudioError:
                bins.append(UNKNOWN)
            progress.advance(failed=bins[-1] == UNKNOWN)
    return bins


def _asked(model: Model, recordings: Recordings, rated: Rated, trial: Trial | None) -> Answers:
    if trial is None:
        return answers(model, recordings, rated.keys, rated.columns)
    trial.announce()
    return answers(model, recordings, rated.keys, rated.columns, trial.versions)


def _looked_up(predictions: Rated, rated: Rated, truth: Path) -> Answers:
    """What the predictions say. Times are compared where both sides give them."""
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
    return Answers(rows, predictions.adv[found][:, None], failures)


def _against(others: Rated, rated: Rated, said: Answers, truth: Path, seed: int) -> dict[str, Any]:
    """The answers beside those of others, of the clips that both have answered."""
    theirs = _looked_up(others, rated, truth)
    _, mine, other = np.intersect1d(said.rows, theirs.rows, return_indices=True)
    if not len(mine):
        raise DistillError(f"{truth}: the answers that these are compared with have none of its clips")
    ours, rows = said.adv[mine, 0], np.asarray(said.rows)[mine]
    return against_others(ours, theirs.adv[other, 0], rated.adv[rows], seed=seed)


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
