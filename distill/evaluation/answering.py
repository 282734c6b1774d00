"""Students and teachers asked alike: the clips of a truth are found, decoded, answered; what fails is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES, Annotation, Annotator, ColumnAnnotator
from distill.audio import SAMPLING_RATE, Span, padded, read, reject_unusable, seconds_of
from distill.errors import AudioError, DistillError
from distill.progress import Progress
from distill.sources.manifest import Failure, audio_files
from distill.sources.naming import AmbiguousName, Names
from distill.sources.tars import is_there
from distill.student import Student

#: Clips that a teacher is asked at once; one that can take fewer divides them itself.
TOGETHER = 32

#: File, start, end of a segment (seconds, or None).
Key = tuple[str, float | None, float | None]


@dataclass(frozen=True)
class Clip:
    """signal: float32 [samples], mono 16 kHz. columns: what is said of it, its A/D/V apart."""

    signal: np.ndarray
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """What answers clips. axes: those it answers. longest_seconds: of a clip. annotate: asks about clips that are
    within these limits."""

    name: str
    axes: tuple[str, ...]
    shortest_seconds: float
    longest_seconds: float
    annotate: Callable[[Sequence[Clip]], Annotation]

    def reject(self, signal: np.ndarray) -> None:
        """Refuse a clip that it cannot answer.

        Raises:
            AudioError: too short, too long, or silent.
        """
        reject_unusable(signal, self.shortest_seconds)
        seconds = len(signal) / SAMPLING_RATE
        if seconds > self.longest_seconds:
            raise AudioError(f"too long: {seconds:.2f} s, {self.name} hears at most {self.longest_seconds:g} s at once")

    def answer(self, clips: Sequence[Clip]) -> list[tuple[np.ndarray, str | None]]:
        """A/D/V of each clip, float32 [3], and why it has none; NaN then, and where the model lacks an axis."""
        refusals = [self._refusal(clip.signal) for clip in clips]
        usable = [clip for clip, refusal in zip(clips, refusals, strict=True) if refusal is None]
        said = iter(self._answers(usable) if usable else [])
        return [next(said) if refusal is None else (_nothing(), refusal) for refusal in refusals]

    def _refusal(self, signal: np.ndarray) -> str | None:
        try:
            self.reject(signal)
        except AudioError as error:
            return str(error)
        return None

    def _answers(self, clips: Sequence[Clip]) -> list[tuple[np.ndarray, str | None]]:
        said = self.annotate(clips)
        adv = np.asarray(said.adv, np.float32)
        columns = [AXES.index(axis) for axis in self.axes]
        reasons = said.reasons or [None] * len(clips)
        return [
            (_nothing(), reason or f"{self.name} answered NaN") if np.isnan(answer[columns]).any() else (answer, None)
            for answer, reason in zip(adv, reasons, strict=True)
        ]


def _nothing() -> np.ndarray:
    return np.full(len(AXES), np.nan, np.float32)


def model_of_student(student: Student) -> Model:
    """An exported student; it hears clips of any length, one by one."""

    def annotate(clips: Sequence[Clip]) -> Annotation:
        return Annotation(np.concatenate([student(clip.signal[None]) for clip in clips]))

    card = student.card
    return Model(card.name, card.axes, card.shortest_seconds, float("inf"), annotate)


def model_of_teacher(annotator: Annotator) -> Model:
    """An annotator; one that reads a manifest's columns too is told them."""

    def annotate(clips: Sequence[Clip]) -> Annotation:
        signals = [clip.signal for clip in clips]
        batch, lengths = padded(signals), [len(signal) for signal in signals]
        if isinstance(annotator, ColumnAnnotator):
            return annotator.annotate_rows(batch, lengths, SAMPLING_RATE, [clip.columns for clip in clips])
        return annotator.annotate(batch, lengths, SAMPLING_RATE)

    card = annotator.card
    return Model(card.name, card.axes, card.shortest_seconds, card.longest_seconds, annotate)


class Recordings:
    """The recordings that a truth speaks of, below `audio`, or the table's root, or the truth's own folder.

    Raises:
        DistillError: no such folder.
    """

    def __init__(self, truth: Path, audio: Path | None) -> None:
        self.truth = truth
        self.root = audio or _root_of(truth)
        if not self.root.is_dir():
            raise DistillError(f"{self.root}: no such folder; --audio says where the recordings of {truth} are")
        self._names = Names(audio_files(self.root))

    def read(self, key: Key) -> np.ndarray:
        """Decode a segment: float32 [samples], mono 16 kHz.

        Raises:
            AudioError: missing, or it cannot be read. DistillError: several files have that name.
        """
        name, start, end = key
        try:
            path = self.root / (name if is_there(self.root / name) else self._names.find(name))
        except AmbiguousName as error:
            raise DistillError(f"{self.truth}, {name}: {error}") from None
        return read(path, None if start is None and end is None else _span(path, start, end))


def _root_of(truth: Path) -> Path:
    """The folder of the recordings where none is named."""
    if table.is_table(truth):
        return table.read(truth).root
    return truth if truth.is_dir() else truth.parent  # a corpus is a folder


def _span(path: Path, start: float | None, end: float | None) -> Span:
    return Span(start or 0.0, seconds_of(path) if end is None else end)


@dataclass(frozen=True)
class Answers:
    """What a model said. rows: of the truth, those that were answered; adv: float32 [rows, versions, 3]; failures: of
    the other rows. heard: what was found of each row's clip where it was decoded and something was asked of it."""

    rows: list[int]
    adv: np.ndarray
    failures: list[Failure]
    heard: Sequence[Any] = ()


def answers(
    model: Model,
    recordings: Recordings,
    keys: Sequence[Key],
    columns: Sequence[Mapping[str, Any]],
    versions: Callable[[np.ndarray], Sequence[np.ndarray]] = lambda signal: [signal],
    describe: Callable[[np.ndarray], Any] | None = None,
) -> Answers:
    """Ask a model about the segments `keys`, of which `columns` tell more.

    versions: gives what is asked of a clip, the clip itself first, always as many. A segment fails if it cannot be
    read or has no answer as it is; its other versions are NaN where they have none. describe: is asked of every clip as
    it is, for `Answers.heard`.
    """
    failed: dict[int, str] = {}
    given: dict[int, list[np.ndarray]] = {}
    described: dict[int, Any] = {}
    heard = _heard(model, recordings, keys, columns, versions, failed)
    while together := list(islice(heard, TOGETHER)):
        said = model.answer([clip for _, clip in together])
        for (row, clip), (adv, reason) in zip(together, said, strict=True):
            if row not in given:  # the clip itself comes first
                if reason:
                    failed[row] = reason
                described[row] = describe(clip.signal) if describe else None
            given.setdefault(row, []).append(adv)
    rows = [row for row in sorted(given) if row not in failed]
    all_adv = np.array([given[row] for row in rows]) if rows else np.zeros((0, 1, len(AXES)), np.float32)
    failures = [Failure(keys[row][0], failed[row], *keys[row][1:]) for row in sorted(failed)]
    return Answers(rows, all_adv, failures, [described[row] for row in rows] if describe else ())


def _heard(
    model: Model, recordings: Recordings, keys: Sequence[Key], columns: Sequence[Mapping[str, Any]],
    versions: Callable[[np.ndarray], Sequence[np.ndarray]], failed: dict[int, str],
) -> Iterator[tuple[int, Clip]]:  # fmt: skip
    """Every version of every segment with its row; the reasons of rows that have none go into `failed`."""
    with Progress("evaluating", len(keys), "clips") as progress:
        for row, key in enumerate(keys):
            try:
                signal = recordings.read(key)
                model.reject(signal)
            except AudioError as error:
                failed[row] = str(error)
            else:
                said = _without_truth(columns[row], key)
                yield from ((row, Clip(version, said)) for version in versions(signal))
            progress.advance(failed=row in failed)


def _without_truth(columns: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """What a model may be told of a segment: not the answer."""
    told = {name: value for name, value in columns.items() if name not in AXES}
    return {**told, "file": key[0], "start": key[1], "end": key[2]}
