"""Teachers side by side on one truth: CCC and UAR with intervals, what learned, seconds a clip; the published apart.

Every clip is decoded once and answered by all in turn, so that drift of the machine hits all alike; the scores are over
the clips that all of them have answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES, Annotation, Annotator
from distill.errors import AudioError, DistillError
from distill.evaluation.answering import Clip, Key, Model, Recordings, model_of_teacher
from distill.evaluation.truth import Rated, read_rated
from distill.files import read_json, write_json, write_text
from distill.metrics import agreement, interval, unweighted_recall
from distill.progress import Progress
from distill.sources.manifest import Failure, write_failures
from distill.timing import spread, turned
from teacher.catalogue import open_teacher
from teacher.comparison_table import as_table
from teacher.tuning.folder import TEACHER, is_tuned

#: The column that categories are compared with.
CATEGORY = "category"

#: What the papers report, on recordings that are not these: arousal, dominance, valence.
PUBLISHED = (
    {"teacher": "odyssey", "ccc": (0.577, 0.405, 0.577), "on": "MSP-Podcast Test3",
     "by": "its model card, whose header names the axes in another order"},
    {"teacher": "odyssey", "ccc": (0.652, 0.579, 0.688), "on": "MSP-Podcast development", "by": "the same"},
    {"teacher": "mean:audeering,odyssey", "ccc": (0.762, 0.684, 0.676), "on": "MSP-Podcast 1.7 Test-1",
     "by": "Kounadis-Bastian et al. (2024), Wav2Small"},
)  # fmt: skip

#: The answers of clips that come before these are not timed: the first ones warm the machine up.
_WARM_UP = 1


def compare_teachers(
    teachers: Sequence[str],
    *,
    truth: str | Path,
    output: str | Path,
    audio: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    device: str = "auto",
    seed: int = 0,
    describe: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Ask several teachers about the clips of a truth; writes `comparison.json` and `comparison.md` into `output`.

    teachers: names, folders or files, as `distill label --teacher` takes them. truth: people's ratings (0..1) and
    categories, as of `distill.evaluation.evaluate`; audio, where: likewise. describe: the machine, for the report.

    Returns {truth, n, failed, teachers: {name: {n, ccc: {axis: {value, low, high}}, pearson, mae, uar, trainable,
    parameters, seconds: {median, p10, p90} of wall time a clip, processor_seconds, method, backbone, licence,
    data_licence}}, published, machine}.

    Raises:
        DistillError: a teacher that cannot be opened, or is named twice; a truth without axes and categories, or no
            clip that all teachers answer.
    """
    rated = read_rated(Path(truth), where, or_column=CATEGORY)
    recordings = Recordings(rated.path, None if audio is None else Path(audio))
    return compare(open_all(teachers, device), rated, recordings, Path(output), seed=seed, describe=describe)


def compare(
    opened: Mapping[str, Annotator], rated: Rated, recordings: Recordings, output: Path, *, seed: int = 0,
    describe: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`compare_teachers`, of teachers that are open and a truth that is read."""
    rivals, asked, failures = ask_all(opened, rated, recordings)
    result = {
        "truth": str(rated.path), "n": len(asked), "failed": len(failures),
        "teachers": {name: rival.report(rated, asked, seed) for name, rival in rivals.items()},
        "published": [{**one, "ccc": dict(zip(AXES, one["ccc"], strict=True))} for one in PUBLISHED],  # type: ignore[call-overload]
        "machine": describe() if describe else None,
    }  # fmt: skip
    write_failures(output / "failed.csv", failures)
    write_text(output / "comparison.md", as_table(result))
    write_json(output / "comparison.json", result)
    return result


@dataclass
class Rival:
    """A teacher, what it said, and how long it took: wall and processor seconds of each clip."""

    name: str
    annotator: Annotator
    model: Model
    adv: dict[int, np.ndarray] = field(default_factory=dict)
    categories: dict[int, np.ndarray] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)

    def answer(self, row: int, clip: Clip) -> None:
        """Ask it about a clip, and keep what it says.

        Raises:
            AudioError: it has no answer.
        """
        clip = Clip(clip.signal, {name: value for name, value in clip.columns.items() if name not in self._answered})
        self.model.reject(clip.signal)
        began, worked = time.perf_counter(), time.process_time()
        said: Annotation = self.model.annotate([clip])
        self.seconds.append((time.perf_counter() - began, time.process_time() - worked))
        adv = np.asarray(said.adv, np.float64)[0]
        own = [AXES.index(axis) for axis in self.annotator.card.axes]
        if np.isnan(adv[own]).any():
            raise AudioError((said.reasons or [None])[0] or f"{self.name} answered NaN")
        self.adv[row] = adv
        if said.categories is not None:
            self.categories[row] = np.asarray(said.categories)[0]

    @property
    def _answered(self) -> tuple[str, ...]:
        """Columns of the truth that nobody tells it."""
        return (*AXES, CATEGORY, *(column for column, _ in self.annotator.card.classes))

    def report(self, rated: Rated, rows: Sequence[int], seed: int) -> dict[str, Any]:
        """What stands of it in the result."""
        predicted = np.array([self.adv[row] for row in rows])
        found = agreement(predicted, rated.adv[list(rows)], seed=seed)
        timed = self.seconds[_WARM_UP:] or self.seconds
        wall, processor = zip(*timed, strict=True)
        card = self.annotator.card
        return {
            **found, "n": len(rows), "uar": self._recalls(rated, rows, seed), **_made(Path(self.name)),
            "parameters": card.parameters, "seconds": spread(wall, 4), "processor_seconds": spread(processor, 4),
            "licence": card.licence, "data_licence": card.data_licence,
        }  # fmt: skip

    def _recalls(self, rated: Rated, rows: Sequence[int], seed: int) -> dict[str, Any]:
        """{column: UAR over the clips whose class it could have said, and how many those are}."""
        found, at = {}, 0
        for column, names in self.annotator.card.classes if self.categories else ():
            said = {row: str(rated.columns[row].get(column) or "").strip() for row in rows}
            known = [row for row in rows if said[row] in names]
            if len(known) > 1:
                truth = np.array([names.index(said[row]) for row in known])
                predicted = np.array([int(self.categories[row][at : at + len(names)].argmax()) for row in known])
                score = interval(unweighted_recall, predicted, truth, seed=seed)
                found[column] = {**score, "n": len(known), "classes": len(names)}
            at += len(names)
        return found


def open_all(teachers: Sequence[str], device: str) -> dict[str, Annotator]:
    """The teachers by their names.

    Raises:
        DistillError: one that cannot be opened, or is named twice.
    """
    if len(set(teachers)) < len(teachers):
        raise DistillError("a teacher is named twice")
    return {name: open_teacher(name, device) for name in teachers}


def ask_all(
    opened: Mapping[str, Annotator], rated: Rated, recordings: Recordings
) -> tuple[dict[str, Rival], list[int], list[Failure]]:
    """The teachers with what they said, the rows that all have answered, and the others with the first reason.

    Raises:
        DistillError: no clip that all of them answer.
    """
    rivals = {name: Rival(name, annotator, model_of_teacher(annotator)) for name, annotator in opened.items()}
    answered, failures = [], []
    with Progress("comparing", len(rated.keys), "clips") as progress:
        for row, key in enumerate(rated.keys):
            reason = _in_turn(rivals, recordings, rated, row, key)
            if reason is None:
                answered.append(row)
            else:
                failures.append(Failure(key[0], reason, *key[1:]))
            progress.advance(failed=reason is not None)
    if not answered:
        reason = failures[0].reason
        raise DistillError(f"{rated.path}: none of its {len(rated.keys)} clips is answered by all ({reason})")
    return rivals, answered, failures


def _in_turn(rivals: Mapping[str, Rival], recordings: Recordings, rated: Rated, row: int, key: Key) -> str | None:
    """Why one of them has no answer to a clip; None where all have."""
    try:
        signal = recordings.read(key)
        clip = Clip(signal, {**rated.columns[row], "file": key[0], "start": key[1], "end": key[2]})
        for name in turned(list(rivals), row):
            rivals[name].answer(row, clip)
    except AudioError as error:
        return str(error)
    return None


def _made(folder: Path) -> dict[str, Any]:
    """What a tuned teacher's folder says of how it was made; of others nobody here knows."""
    if not is_tuned(folder):
        return {"method": None, "backbone": None, "trainable": None}
    said = read_json(folder / TEACHER)
    return {
        "method": _method(said["design"]), "backbone": said["backbone"]["name"],
        "trainable": said["learned"]["parameters"],
    }  # fmt: skip


def _method(design: Mapping[str, Any]) -> str:
    composition = design["composition"]
    return str(design["method"]) if composition == "none" else f"{design['method']}, {composition}"
