"""Evaluation: a student, a teacher, or answers from a file, against a truth: human ratings or a label table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES, Annotator
from distill.errors import DistillError
from distill.evaluation import fairness as fair
from distill.evaluation.answering import (
    Answers,
    Model,
    Recordings,
    answers,
    model_of_student,
    model_of_teacher,
)
from distill.evaluation.implicit import implicit_text, readings
from distill.evaluation.listening import Wanted, described, listen
from distill.evaluation.loudness import SPEAKER, against_loudness, level_db
from distill.evaluation.pitch import PITCH, told_pitch
from distill.evaluation.robustness import Condition, Trial, conditions
from distill.evaluation.sentences import sentences
from distill.evaluation.snr import UNKNOWN, snr_bin
from distill.evaluation.truth import Rated, look_up, read_rated
from distill.files import reject_no_json, sha256_of, write_csv, write_json
from distill.metrics import against as against_others
from distill.metrics import agreement, answered, slices
from distill.pretrained import DEFAULT
from distill.progress import say
from distill.sources.manifest import write_failures
from distill.student import Student
from distill.synthesis.espeak import VOICES, reject_no_espeak, version

#: A column that can be sliced by even if the truth has none of this name: it is then estimated from the recordings.
SNR = "snr"

#: What is found of a recording, beside its SNR.
LEVEL = "level"


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
    loudness: bool = False,
    robustness: bool = False,
    fairness: bool = False,
    implicit: bool = False,
    noise: str | Path | None = None,
    rir: str | Path | None = None,
    seed: int = 0,
    open_teacher: Callable[[str], Annotator] | None = None,
    find_pitch: Callable[[np.ndarray], float] | None = None,
) -> dict[str, Any]:
    """CCC, Pearson and mean absolute error per axis, of a student, a teacher or written answers, with 95 % intervals.

    Where none of them is named, the student that comes with the package is asked.

    truth: a CSV (file and any of arousal, dominance, valence) or a label table; predictions: the same. Files are
    matched by relative path, then by base name where that is unique. by: columns of the truth to slice by, and "snr",
    which is estimated where the truth does not know it. With `output` (.json) the answers per clip are saved beside it
    as `.predictions.csv`. open_teacher: opens the `teacher` of that name.

    against: other answers to the same clips, as predictions: by how much these are better or worse (`metrics.against`).
    loudness: the same against what a line from a clip's level to the truth would answer (`against_loudness`).

    robustness: every clip is answered again under the conditions of `robustness.conditions`; noise, rir: folders of the
    recordings that are used for it, by default noise and rooms are synthesised.

    fairness: the table of `distill.evaluation.fairness`; of written answers without what asks anew. find_pitch: the
    mean pitch of a clip in Hz, NaN without voice, where the truth has no column `pitch`; to written answers the
    recordings are listened to where `audio` says where they are.

    implicit: how far the answers follow the words alone (`distill.evaluation.implicit`); espeak-ng reads them.

    Returns {n, ccc: {axis: {value, low, high}}, pearson, mae, slices, failed, asked: who answered, truth: what it was
    compared with}, and against, loudness, robustness (`Trial.report`), fairness (`fairness.report`) and implicit_text
    (`implicit.implicit_text`) where they were asked for; an axis that one side lacks is left out.

    Raises:
        DistillError: several of student, teacher and predictions, a truth without axes, ambiguous names, no clip left,
            nobody to read.
    """
    predictions, audio, output, noise, rir = (
        None if path is None else Path(path) for path in (predictions, audio, output, noise, rir)
    )
    _check_one_asked(student, teacher, predictions)
    if student is None and teacher is None and predictions is None:
        student = DEFAULT
    _check_trial(robustness, fairness, noise, rir, predictions)
    if implicit:
        _check_implicit(predictions)
    if output is not None:
        reject_no_json(output)
    rated = read_rated(Path(truth), where)
    others = None if against is None else read_rated(Path(against))
    _check_columns(rated, by)
    if fairness:
        fair.reject_untold(rated.columns)
    harsh = conditions() if robustness else []
    gentle = fair.conditions() if fairness and predictions is None else []
    trial = Trial(noise, rir, seed=seed, tried=[*harsh, *gentle]) if harsh or gentle else None
    in_reach = predictions is None or audio is not None
    wanted = _wanted(rated, by, loudness, find_pitch if fairness and in_reach else None)
    model: Model | None = None
    if predictions is not None:
        said = look_up(read_rated(predictions), rated)
    else:
        model = _model(student, teacher, open_teacher)
        describe = partial(described, wanted) if wanted else None
        said = _asked(model, Recordings(rated.path, audio), rated, trial, describe)
    _check_answered(said, rated)
    heard = said.heard if said.heard or not wanted else listen(wanted, Recordings(rated.path, audio), rated, said)
    result = _scored(said, rated, _groups(rated, said, by, heard), seed)
    result |= {"asked": _who(student, teacher, predictions), "truth": _truth(rated, where, audio)}
    if others is not None:
        result["against"] = {"answers": str(against), **_against(others, rated, said, seed)}
    if loudness:
        result["loudness"] = _loudness(rated, said, heard, seed)
    if robustness and trial is not None:
        result["robustness"] = trial.report(said.adv, rated.adv[said.rows], len(harsh))
    if fairness:
        result["fairness"] = _fair(said, rated, len(harsh), gentle, heard)
    if implicit and model is not None:
        found = implicit_text(model, readings(), len(sentences()) * len(VOICES), seed=seed)
        result["implicit_text"] = {**found, "read_by": version()}
    if output is not None:
        _write(output, result, rated, said)
    return result


def _check_one_asked(*given: str | Path | None) -> None:
    """Before the work: are several to be asked?"""
    if sum(one is not None for one in given) > 1:
        raise DistillError("evaluate takes either --student or --teacher (with --audio), or --predictions")


def _check_trial(
    robustness: bool, fairness: bool, noise: Path | None, rir: Path | None, predictions: Path | None
) -> None:
    """Before the work: can the conditions of robustness be tried?"""
    if robustness and predictions is not None:
        raise DistillError("--robustness asks anew under every condition; it needs --student or --teacher")
    if not robustness and not fairness and (noise or rir):
        raise DistillError("--noise and --rir go with --robustness")


def _check_implicit(predictions: Path | None) -> None:
    """Before the work: can sentences be read to somebody?"""
    if predictions is not None:
        raise DistillError("--implicit-text asks anew; it needs --student or --teacher")
    reject_no_espeak("--implicit-text")


def _check_columns(rated: Rated, by: Sequence[str]) -> None:
    """Before the work: is there what is to be sliced by?"""
    for column in by:
        if column != SNR and not rated.has(column):
            has = ", ".join(rated.columns[0])
            raise DistillError(f"{rated.path}: no column {column!r} to slice by; it has {has}")


def _model(student: str | Path | None, teacher: str | None, open_teacher: Callable[[str], Annotator] | None) -> Model:
    if student is not None:
        return model_of_student(Student(student))
    if teacher is None or open_teacher is None:
        raise DistillError("a teacher needs open_teacher, which opens it by its name")
    return model_of_teacher(open_teacher(teacher))


def _asked(
    model: Model,
    recordings: Recordings,
    rated: Rated,
    trial: Trial | None,
    describe: Callable[[np.ndarray], Mapping[str, Any]] | None,
) -> Answers:
    if trial is None:
        return answers(model, recordings, rated.keys, rated.columns, describe=describe)
    trial.announce()
    return answers(model, recordings, rated.keys, rated.columns, trial.versions, describe)


def _check_answered(said: Answers, rated: Rated) -> None:
    """After the work: is there anything to be compared?"""
    if not said.rows:
        reason = said.failures[0].reason
        raise DistillError(f"{rated.path}: none of its {len(rated.keys)} clips could be answered ({reason})")
    if not answered(said.adv[:, 0], rated.adv[said.rows]):
        raise DistillError(f"{rated.path}: has no axis in common with the answers")


def _wanted(
    rated: Rated, by: Sequence[str], loudness: bool, find_pitch: Callable[[np.ndarray], float] | None
) -> Wanted:
    """What has to be found of the recordings themselves."""
    snr = {SNR: snr_bin} if SNR in by and not rated.has(SNR) else {}
    pitch = {PITCH: find_pitch} if find_pitch and fair.wants_pitch(rated.columns) else {}
    return {**snr, **({LEVEL: level_db} if loudness else {}), **pitch}


def _groups(
    rated: Rated, said: Answers, by: Sequence[str], heard: Sequence[Mapping[str, Any]]
) -> dict[str, Sequence[Any]]:
    """What each of the columns says of the rows that were answered."""
    return {
        column: [rated.columns[row][column] for row in said.rows] if rated.has(column)
        else [found.get(column, UNKNOWN) for found in heard]
        for column in by
    }  # fmt: skip


def _who(student: str | Path | None, teacher: str | None, predictions: Path | None) -> dict[str, Any]:
    """Whose answers they are."""
    if student is not None:
        opened = Student(student)
        return {
            "student": opened.card.name, "precision": opened.card.precision, "sha256": sha256_of(opened.path),
        }  # fmt: skip
    if predictions is not None:
        return {"predictions": str(predictions), "teacher": _teacher_of(predictions)}
    return {"teacher": teacher}


def _truth(rated: Rated, where: Mapping[str, str] | None, audio: str | Path | None) -> dict[str, Any]:
    """What they are compared with, as it was asked for. teacher: whose labels; None where it is a table of ratings."""
    return {
        "file": str(rated.path), "where": dict(where or {}), "audio": audio and str(audio),
        "teacher": _teacher_of(rated.path),
    }  # fmt: skip


def _teacher_of(path: Path) -> str | None:
    teacher = (table.read_info(path) or {}).get("teacher") if table.is_table(path) else None
    return teacher["name"] if teacher else None


def _loudness(rated: Rated, said: Answers, heard: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    levels = np.array([found.get(LEVEL, np.nan) for found in heard])
    speakers = [rated.columns[row][SPEAKER] for row in said.rows] if rated.has(SPEAKER) else None
    return against_loudness(said.adv[:, 0], rated.adv[said.rows], levels, speakers, seed=seed)


def _scored(said: Answers, rated: Rated, groups: Mapping[str, Sequence[Any]], seed: int) -> dict[str, Any]:
    predicted, target = said.adv[:, 0], rated.adv[said.rows]
    return {
        **agreement(predicted, target, seed=seed),
        "slices": slices(predicted, target, groups, seed=seed),
        "failed": len(said.failures),
    }


def _against(others: Rated, rated: Rated, said: Answers, seed: int) -> dict[str, Any]:
    """The answers beside those of others, of the clips that both have answered."""
    theirs = look_up(others, rated)
    _, mine, other = np.intersect1d(said.rows, theirs.rows, return_indices=True)
    if not len(mine):
        raise DistillError(f"{rated.path}: the answers that these are compared with have none of its clips")
    rows = np.asarray(said.rows)[mine]
    return against_others(said.adv[mine, 0], theirs.adv[other, 0], rated.adv[rows], seed=seed)


def _fair(
    said: Answers, rated: Rated, harsh: int, gentle: Sequence[Condition], heard: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The table of fairness, from the answers to the clips as they are and behind the `harsh` conditions."""
    own = [0, *range(1 + harsh, 1 + harsh + len(gentle))]
    columns = [rated.columns[row] for row in said.rows]
    pitch = told_pitch(columns)
    if pitch is None and any(PITCH in found for found in heard):
        pitch = np.array([found.get(PITCH, np.nan) for found in heard])
    return fair.report(said.adv[:, own], rated.adv[said.rows], columns, gentle, pitch)


def _write(output: Path, result: Mapping[str, Any], rated: Rated, said: Answers) -> None:
    """The result, and beside it what was answered and what could not be."""
    columns = ["file", "start", "end", *AXES, *(f"true_{axis}" for axis in AXES)]
    answers_per_clip = [
        [*rated.keys[row], *map(_cell, answer), *map(_cell, rated.adv[row])]
        for row, answer in zip(said.rows, said.adv[:, 0], strict=True)
    ]
    write_csv(output.with_suffix(".predictions.csv"), columns, answers_per_clip)
    failed = output.with_suffix(".failed.csv")
    write_failures(failed, said.failures)
    if said.failures:
        say(f"{len(said.failures)} clips could not be answered; {failed} names each")
    write_json(output, result)


def _cell(value: float) -> str:
    return f"{value:.6f}" if np.isfinite(value) else ""
