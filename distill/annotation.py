"""Arousal, dominance, valence: their one order, and the protocol at which teachers and students meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

#: The one order of the three axes, from the label table to the firmware.
AXES = ("arousal", "dominance", "valence")


@dataclass(frozen=True)
class Annotation:
    """Answers for a batch. Columns follow `AXES`; an axis that the annotator lacks is NaN.

    adv: float32 [batch, 3], about 0..1, never clipped.
    spread: float32 [batch, 3], standard deviation over annotators or views, or None where one answered once.
    embedding: float32 [batch, dimensions], or None.
    categories: float32 [batch, classes], the probability of each class that the card names, column after column, or
    None.
    reasons: why a row of NaN has no answer, None for one that has; or None where nothing failed.

    >>> Annotation(adv=np.array([[0.5, np.nan, 0.4]], np.float32)).adv.shape  # a clip whose dominance nobody said
    (1, 3)
    """

    adv: Any
    spread: Any = None
    embedding: Any = None
    categories: Any = None
    reasons: Sequence[str | None] | None = None


@dataclass(frozen=True)
class TeacherCard:
    """What is known of a teacher before it is loaded: the columns of `distill teachers`.

    axes: the axes it answers, a subset of `AXES` in that order; derived: those of them that were never measured.
    range: the range of the answers, as published. normalisation: what it does to the samples, in words.
    shortest_seconds, longest_seconds: clips outside are failures, or cut into windows.
    order: of the axes in the teacher's own answers, put right at its door. proven_on: what its loader was tested on.
    own_threads: it spreads one clip over all cores by itself, and more processes would only cost memory.
    classes: what it tells apart beside the axes: a name (category, sex) and its values, in the order of its answers.
    """

    name: str
    source: str
    revision: str
    licence: str
    data_licence: str
    parameters: int
    axes: tuple[str, ...]
    derived: tuple[str, ...]
    range: tuple[float, float]
    trained_on: str
    bundled: bool
    normalisation: str
    gain_invariant: bool
    sampling_rate: int
    shortest_seconds: float
    longest_seconds: float
    order: tuple[str, ...] = AXES
    proven_on: str = "its own weights"
    own_threads: bool = False
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The card as plain JSON types.

        >>> what = ("t", "here", "1", "MIT", "CC0-1.0", 1, AXES, (), (0.0, 1.0), "speech", True, "none", True)
        >>> card = TeacherCard(*what, sampling_rate=16000, shortest_seconds=0.3, longest_seconds=30.0)
        >>> card.as_dict()["axes"]
        ['arousal', 'dominance', 'valence']
        """
        return {key: as_lists(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> TeacherCard:
        """What `as_dict` gave.

        Raises:
            TypeError: a key that is not known, or one that is missing.
        """
        return cls(**{key: as_tuples(value) for key, value in said.items()})


def as_lists(value: Any) -> Any:
    """A value with its tuples as JSON has them.

    >>> as_lists((1, ("a",)))
    [1, ['a']]
    """
    return [as_lists(each) for each in value] if isinstance(value, tuple) else value


def as_tuples(value: Any) -> Any:
    """What `as_lists` made, as it was."""
    return tuple(as_tuples(each) for each in value) if isinstance(value, list) else value


class Annotator(Protocol):
    """A teacher, wherever it comes from."""

    @property
    def card(self) -> TeacherCard:
        """What is known of it."""
        ...

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """Annotate a padded batch.

        signals: float32 [batch, samples] on any device, padded with anything behind `lengths` [batch] (samples).
        What stands in the padding never changes the answer.
        """
        ...


@runtime_checkable
class LoadedTeacher(Protocol):
    """A class that opens its teacher by itself: what the catalogue names."""

    @classmethod
    def load(cls) -> Annotator:
        """Open it, ready to be asked."""
        ...


@runtime_checkable
class ColumnAnnotator(Annotator, Protocol):
    """A teacher that also reads what a manifest says of a clip: its words, who speaks."""

    def annotate_rows(
        self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Sequence[Mapping[str, Any]]
    ) -> Annotation:
        """Annotate a padded batch of which more is known.

        columns: of each clip the manifest's own columns, and file (POSIX path below the root), start, end (seconds).
        """
        ...


def axis_columns(rows: Sequence[Any]) -> np.ndarray:
    """Rows of (arousal, dominance, valence), None where an axis is lacking, as float32 [rows, 3] with NaN.

    >>> axis_columns([(0.5, None, 0.25)]).tolist()
    [[0.5, nan, 0.25]]
    """
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float32).reshape(
        -1, len(AXES)
    )
