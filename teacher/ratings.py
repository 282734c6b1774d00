"""People as the teacher: the answers are the manifest's own columns, so that a student can learn from them directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distill.annotation import AXES, Annotation, TeacherCard
from distill.errors import DistillError
from distill.licences import UNKNOWN

#: What the teacher is called; behind a colon the axes that were rated, if not all: "ratings:arousal,valence".
RATINGS = "ratings"


class Ratings:
    """Takes arousal, dominance and valence from the columns of these names; it does not hear the clip."""

    def __init__(self, card: TeacherCard) -> None:
        self.card = card

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """Nobody rated a clip of which nothing but the sound is known.

        Raises:
            DistillError: always.
        """
        raise DistillError(
            f"--teacher {RATINGS} answers the rows of a manifest, with the columns {', '.join(self.card.axes)}"
        )

    def annotate_rows(
        self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Sequence[Mapping[str, Any]]
    ) -> Annotation:
        """adv: float32 [batch, 3], NaN for an axis that was not rated; a row that lacks one of the card's has its
        reason."""
        rows = [[_rating(row, axis) if axis in self.card.axes else np.nan for axis in AXES] for row in columns]
        reasons = [_reason(row, answers, self.card) for row, answers in zip(columns, rows, strict=True)]
        return Annotation(adv=np.array(rows, np.float32).reshape(-1, len(AXES)), reasons=reasons)


def is_ratings(name: str) -> bool:
    """Whether a teacher's name asks for people's ratings.

    >>> is_ratings("ratings:arousal"), is_ratings("prosody")
    (True, False)
    """
    return name == RATINGS or name.startswith(f"{RATINGS}:")


def ratings_of(name: str) -> Ratings:
    """The teacher of a name such as "ratings" or "ratings:arousal,valence".

    >>> ratings_of("ratings:valence,arousal").card.axes
    ('arousal', 'valence')

    Raises:
        DistillError: one of the names behind the colon is no axis.
    """
    asked = name.partition(":")[2].split(",") if ":" in name else list(AXES)
    if unknown := [axis for axis in asked if axis not in AXES]:
        raise DistillError(f"--teacher {name}: {unknown[0]!r} is no axis; there are {', '.join(AXES)}")
    return Ratings(_card(tuple(axis for axis in AXES if axis in asked)))


def _card(axes: tuple[str, ...]) -> TeacherCard:
    """Of the ratings' licences nothing is known here: what a student may be used for, who rated has to say."""
    return TeacherCard(
        name=RATINGS, source="the manifest's columns", revision="people", licence=UNKNOWN, data_licence=UNKNOWN,
        parameters=0, axes=axes, derived=(), range=(0.0, 1.0), trained_on="human ratings", bundled=False,
        normalisation="none; the clip is not heard", gain_invariant=True, sampling_rate=16_000, shortest_seconds=0.25,
        longest_seconds=60.0, proven_on="the tests' ratings",
    )  # fmt: skip


def _rating(row: Mapping[str, Any], axis: str) -> float:
    """A rating as it stands, NaN where there is none."""
    try:
        return float(row.get(axis, "nan"))
    except (TypeError, ValueError):
        return float("nan")


def _reason(row: Mapping[str, Any], answers: Sequence[float], card: TeacherCard) -> str | None:
    lacking = [axis for axis, value in zip(AXES, answers, strict=True) if axis in card.axes and not np.isfinite(value)]
    if not lacking:
        return None
    return f"the column {lacking[0]} holds {row.get(lacking[0])!r}, no rating"
