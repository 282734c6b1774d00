"""Few-shot examples: rated clips that lie far apart, and never the clip's own speaker, file or audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.audio import SUFFIXES, digest, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.sources.manifest import Segment
from teacher.llm.acoustics import measure
from teacher.llm.config import Columns, Config
from teacher.llm.prompt import Description
from teacher.llm.ratings import cell, rated_clips, rating

#: Shorter clips show nothing (seconds).
SHORTEST_SECONDS = 0.3


class NoExample(Exception):
    """A clip to which no example may be shown, and why."""


@dataclass(frozen=True)
class Example:
    """A rated clip. ratings: 0..1, all axes."""

    segment: Segment
    speaker: str
    ratings: Mapping[str, float]


class Examples:
    """The rated clips to choose from. Audio is read when a clip is first shown."""

    def __init__(self, root: Path, rated: list[Example], columns: Columns, *, most: int, disjoint: bool) -> None:
        self._root, self._rated, self._columns, self._most, self._disjoint = root, rated, columns, most, disjoint
        self._points = np.array([[example.ratings[axis] for axis in AXES] for example in rated])
        self._heard: dict[int, tuple[str, Description]] = {}
        self._chosen: dict[tuple[int, ...], list[int]] = {}

    @classmethod
    def load(cls, config: Config) -> Examples | None:
        """The examples that a configuration names; None where it names none.

        Raises:
            DistillError: a recording, a speaker or a rating is missing.
        """
        if config.examples is None:
            return None
        root, segments = rated_clips(config.examples, config.examples_audio)
        rated = [_example(segment, config.columns, config.examples) for segment in segments]
        return cls(root, rated, config.columns, most=config.max_examples, disjoint=config.speakers_disjoint)

    def shown_to(self, columns: Mapping[str, Any], audio_digest: str) -> list[tuple[Description, Mapping[str, float]]]:
        """The examples for a clip. columns: its own, with file; audio_digest: of its samples.

        Raises:
            NoExample: its speaker is not known, or all there are come from its speaker or file.
            DistillError: an example's recording cannot be used.
        """
        allowed = self._allowed(cell(columns, self._columns.speaker), cell(columns, "file"))
        while True:
            if not allowed:
                raise NoExample("no example is left: all come from its own speaker or file")
            chosen = self._spread_out(tuple(allowed))
            same = {index for index in chosen if self._hear(index)[0] == audio_digest}
            if not same:
                return [(self._hear(index)[1], self._rated[index].ratings) for index in chosen]
            allowed = [index for index in allowed if index not in same]

    def _allowed(self, speaker: str, file: str) -> list[int]:
        if not speaker and not self._disjoint:
            raise NoExample(
                f"no speaker is known (column {self._columns.speaker!r}), and no example may come from its own; where "
                "the recordings have none of the examples' speakers, say so: speakers_disjoint: true"
            )
        return [
            index
            for index, example in enumerate(self._rated)
            if example.speaker != speaker and not same_recording(example.segment.file, file)
        ]

    def _spread_out(self, allowed: tuple[int, ...]) -> list[int]:
        if allowed not in self._chosen:
            places = far_apart(self._points[list(allowed)], self._most)
            self._chosen[allowed] = [allowed[place] for place in places]
        return self._chosen[allowed]

    def _hear(self, index: int) -> tuple[str, Description]:
        """Digest and description of an example."""
        if index not in self._heard:
            segment = self._rated[index].segment
            try:
                signal = read(self._root / segment.file, segment.span)
                reject_unusable(signal, SHORTEST_SECONDS)
            except AudioError as error:
                raise DistillError(f"{self._root / segment.file}: no example: {error}; leave its row out") from None
            self._heard[index] = digest(signal), described(signal, segment.columns, self._columns)
        return self._heard[index]


def described(signal: np.ndarray, columns: Mapping[str, Any], names: Columns) -> Description:
    """What a model is told of a clip. signal: float32 [samples] at 16 kHz.

    >>> hum = np.sin(np.arange(16_000) / 10).astype(np.float32)
    >>> described(hum, {"sex": "f"}, Columns()).sex
    'f'
    """
    transcript, sex, codes = (cell(columns, name) for name in (names.transcript, names.sex, names.codes))
    return Description(measure(signal), transcript, sex, codes)


def far_apart(points: np.ndarray, count: int) -> list[int]:
    """`count` of the points [n, axes]: the one nearest to their middle, then always the one farthest from those chosen.

    Gonzalez (1985), "Clustering to minimize the maximum intercluster distance". Of equals the first.

    >>> far_apart(np.array([[0.0], [0.5], [0.6], [1.0]]), 3)
    [1, 0, 3]
    """
    chosen = [int(np.argmin(np.linalg.norm(points - points.mean(0), axis=1)))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
    return chosen


def same_recording(one: str, other: str) -> bool:
    """Whether two names may mean one recording: two tables may stand in different folders and formats.

    >>> same_recording("wav/a/one.wav", "a/one.flac"), same_recording("a/one.wav", "b/one.wav")
    (True, False)
    """
    first, second = _parts(one), _parts(other)
    shorter = min(len(first), len(second))
    return shorter > 0 and first[-shorter:] == second[-shorter:]


def _parts(file: str) -> tuple[str, ...]:
    path = PurePosixPath(file)
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).parts


def _example(segment: Segment, columns: Columns, table: Path) -> Example:
    at = f"{table}: {segment.file}"
    speaker = cell(segment.columns, columns.speaker)
    if not speaker:
        raise DistillError(f"{at}: an example needs its speaker (column {columns.speaker!r})")
    ratings = {axis: rating(segment.columns, axis, at) for axis in AXES}
    lacking = [axis for axis, value in ratings.items() if value is None]
    if lacking:
        raise DistillError(f"{at}: an example needs all three ratings; {lacking[0]} is missing")
    return Example(segment, speaker, {axis: value for axis, value in ratings.items() if value is not None})
