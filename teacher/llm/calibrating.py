"""Calibrate a language model: ask it about rated clips, and fit the line from its answers to the ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import reject_unwritable, sha256_of, write_json
from distill.progress import Progress, say
from distill.sources.manifest import Failure, Segment
from teacher.batches import annotate_batch
from teacher.catalogue import LANGUAGE_MODEL
from teacher.llm.annotator import LanguageModel, answers_of
from teacher.llm.calibration import Fitted, fit
from teacher.llm.ratings import cell, rated_clips, rating
from teacher.planning import plan


def calibrate(
    *,
    teacher: str,
    labels: str | Path,
    output: str | Path,
    audio: str | Path | None = None,
    where: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Fit the scale of a language model's answers on rated clips, and write it as JSON.

    teacher: "llm:" and a configuration, whose own calibration is left aside. labels: a table with file, the speaker
    and ratings (0..1) of some axes; audio: the folder of its recordings, by default the table's own. where: its rows
    to take.

    Returns {output, clips, failed, axes: {axis: {gain, offset, n, speakers, ccc_before, ccc_after, note}}}; ccc_after
    is of speakers left out; an axis with a note is left as it is.

    Raises:
        DistillError: no such teacher, table or recording, no speaker, or nothing that could be fitted.
    """
    labels, output = Path(labels), Path(output)
    reject_unwritable(output)
    model = _opened(teacher)
    root, segments = rated_clips(labels, None if audio is None else Path(audio), where)
    rated = [_rated(segment, model.config.columns.speaker, labels) for segment in segments]  # before it costs anything
    rows, failures = _asked(model, root, segments)
    fitted = _fitted(rows, {one.segment.key: one for one in rated})
    _tell_notes(fitted, f"{labels}: no axis can be calibrated on {len(rows)} answered clips")
    found = {"clips": len(rows), "failed": len(failures), "axes": {axis: one.as_dict() for axis, one in fitted.items()}}
    write_json(output, {**_origin(model, labels), **found})
    return {"output": output, **found}


@dataclass(frozen=True)
class Rated:
    """A rated clip. ratings: 0..1, None for an axis that nobody rated."""

    segment: Segment
    speaker: str
    ratings: tuple[float | None, ...]


def _opened(teacher: str) -> LanguageModel:
    if not teacher.startswith(LANGUAGE_MODEL):
        raise DistillError(f"{teacher}: only the scale of a language model is calibrated: llm:CONFIG.yaml")
    return LanguageModel.load(Path(teacher.removeprefix(LANGUAGE_MODEL)), calibrated=False)


def _origin(model: LanguageModel, labels: Path) -> dict[str, Any]:
    """Whose answers and ratings a calibration is of."""
    return {"answers": answers_of(model.config), "model": model.config.model, "labels": labels.name,
            "labels_sha256": sha256_of(labels)}  # fmt: skip


def _rated(segment: Segment, speaker: str | None, labels: Path) -> Rated:
    at = f"{labels}: {segment.file}"
    who = cell(segment.columns, speaker)
    if not who:
        raise DistillError(f"{at} has no speaker (column {speaker!r}); each is left out once")
    return Rated(segment, who, tuple(rating(segment.columns, axis, at) for axis in AXES))


def _asked(model: LanguageModel, root: Path, segments: list[Segment]) -> tuple[list[table.Row], list[Failure]]:
    """The model's answers to the rated clips; how many were not answered is said."""
    rows: list[table.Row] = []
    failures: list[Failure] = []
    with Progress("calibrating", len(segments), "clips") as progress:
        for batch in plan(segments, root):
            outcome = annotate_batch(batch, root, model)
            rows += outcome.rows
            failures += outcome.failures
            progress.advance(len(batch), failed=len(outcome.failures))
    if failures:
        first = failures[0]
        say(f"{len(failures)} of {len(segments)} clips were not answered ({first.file}: {first.reason} ...)")
    return rows, failures


def _fitted(rows: Sequence[table.Row], rated: Mapping[tuple[str, float, float], Rated]) -> dict[str, Fitted]:
    """A line for each axis, from the clips that were rated and answered."""
    answered = [(row.adv, rated[row.file, row.start, row.end]) for row in rows]
    fitted = {}
    for column, axis in enumerate(AXES):
        both = [(adv, clip) for adv, clip in answered if clip.ratings[column] is not None]
        answers = np.array([adv[column] for adv, _ in both], np.float64)
        ratings = np.array([clip.ratings[column] for _, clip in both], np.float64)
        fitted[axis] = fit(answers, ratings, [clip.speaker for _, clip in both])
    return fitted


def _tell_notes(fitted: Mapping[str, Fitted], none_at_all: str) -> None:
    """Say which axes are left as they are.

    Raises:
        DistillError: all of them; it begins with `none_at_all`.
    """
    notes = [(axis, one.note) for axis, one in fitted.items() if one.note]
    if len(notes) == len(fitted):
        raise DistillError(f"{none_at_all} ({'; '.join(f'{axis}: {note}' for axis, note in notes)})")
    for axis, note in notes:
        say(f"{axis} is left as it is: {note}")
