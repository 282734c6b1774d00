"""What a teacher is tuned on: rated recordings, which axes and categories the ratings know, who is held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError
from distill.learning.clips import Example
from distill.learning.splits import groups_of, held_out
from distill.progress import say
from distill.sources.manifest import Cut, Failure, Segment, list_segments

#: Columns that are looked at beside the axes.
CATEGORY, SPEAKER, SPLIT = "category", "speaker", "split"

#: Values of the column `split`: learned from, held out, and kept away from training altogether.
TRAIN, DEVELOPMENT = ("train",), ("dev", "development", "val", "validation")


@dataclass(frozen=True)
class Lessons:
    """Rated clips. targets: float32 [n, 3 + categories], NaN where unknown: the axes in the order of `AXES`, 0..1, and
    the share of each category. held: boolean [n], those that are scored on. by: how they were held out.

    axes: those that are rated; missing: those that are asked for and are not. groups: speakers, as `groups_of` names
    them.
    """

    segments: Sequence[Segment]
    root: Path
    targets: np.ndarray
    held: np.ndarray
    groups: Sequence[str]
    axes: tuple[str, ...]
    missing: tuple[str, ...]
    categories: tuple[str, ...]
    by: str

    def examples(self) -> list[Example]:
        """What is to be decoded, in the order of the rows."""
        return [
            Example(self.root, segment.file, segment.span, None, target, group)
            for segment, target, group in zip(self.segments, self.targets, self.groups, strict=True)
        ]

    def digest(self) -> str:
        """SHA-256 of what is learned: which segments, what was said of them, who is held out."""
        content = hashlib.sha256(repr([segment.key for segment in self.segments]).encode())
        for array in (self.targets, self.held):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def read_lessons(
    labels: Path, *, audio: Path | None = None, where: Mapping[str, str] | None = None, task: str = "adv",
    speaker_from: str | None = None, seed: int = 0,
) -> Lessons:  # fmt: skip
    """Read ratings: a table with `file` and any of arousal, dominance, valence (0..1), category, speaker, split.

    audio: folder that the files stand in, by default the table's own. where: {column: value}, rows to take. task: of
    `teacher.tuning.options.TASKS`. speaker_from: regular expression whose group is the speaker in a file's path. Where
    a column `split` says train, development and the like, it is kept to, and other rows are left out; otherwise
    speakers are drawn.

    Raises:
        DistillError: nothing to learn, ratings outside 0..1, no speakers, or recordings that are not there.
    """
    listing = list_segments(labels, audio=audio, cut=Cut(inf, inf), where=where)
    entries = list(listing)
    segments = [entry for entry in entries if isinstance(entry, Segment)]
    _tell_missing(labels, [entry for entry in entries if isinstance(entry, Failure)], len(entries))
    segments, held_by_split = _by_split(labels, segments)
    adv = np.array([[_rating(labels, segment, axis) for axis in AXES] for segment in segments], np.float32)
    adv = adv if task != "categories" else np.full_like(adv, np.nan)
    names = _categories(segments) if task != "adv" else ()
    targets = np.concatenate([adv, _shares(segments, names)], axis=1)
    axes = tuple(axis for axis, column in zip(AXES, adv.T, strict=True) if np.isfinite(column).any())
    missing = tuple(axis for axis in AXES if axis not in axes) if task != "categories" else ()
    _check_learnable(labels, task, axes, names)
    known = np.isfinite(targets).any(1)
    targets, segments = targets[known], [segment for segment, says in zip(segments, known, strict=True) if says]
    groups = _groups(labels, segments, speaker_from, needed=held_by_split is None)
    held = held_out(groups, seed=seed) if held_by_split is None else held_by_split[known]
    lessons = Lessons(
        segments, listing.root, targets, held, groups, axes, missing, names,
        "speaker" if held_by_split is None else "the column split",
    )  # fmt: skip
    _check_sides(labels, lessons)
    return lessons


def _tell_missing(labels: Path, failures: Sequence[Failure], of: int) -> None:
    if len(failures) == of:
        raise DistillError(f"{labels}: none of its {of} recordings is there ({failures[0].file}: {failures[0].reason})")
    if failures:
        first = failures[0]
        say(f"{len(failures)} of {of} rated recordings are left out ({first.file}: {first.reason})")


def _by_split(labels: Path, segments: list[Segment]) -> tuple[list[Segment], np.ndarray | None]:
    """The rows that training may see, and which of them are held out; None where the table does not say."""
    said = [str(segment.columns.get(SPLIT) or "").strip().lower() for segment in segments]
    if not any(side in TRAIN for side in said) or not any(side in DEVELOPMENT for side in said):
        return segments, None
    chosen = [side in (*TRAIN, *DEVELOPMENT) for side in said]
    if left := Counter(side or "none" for side in said if side not in (*TRAIN, *DEVELOPMENT)):
        say(f"{labels}: left out by the column split: " + ", ".join(f"{n} of {side}" for side, n in left.items()))
    kept = [segment for segment, keep in zip(segments, chosen, strict=True) if keep]
    return kept, np.array([side in DEVELOPMENT for side, keep in zip(said, chosen, strict=True) if keep])


def _rating(labels: Path, segment: Segment, axis: str) -> float:
    value = segment.columns.get(axis)
    if value in (None, ""):
        return float("nan")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not -0.125 <= number <= 1.125:  # means of some corpora lie beyond their scale by half a point
        raise DistillError(f"{labels}, {segment.file}: {axis} is {value!r}; ratings are numbers from 0 to 1")
    return number


def _category(segment: Segment) -> str:
    return str(segment.columns.get(CATEGORY) or "").strip()


def _categories(segments: Sequence[Segment]) -> tuple[str, ...]:
    return tuple(sorted({_category(segment) for segment in segments} - {""}))


def _shares(segments: Sequence[Segment], names: Sequence[str]) -> np.ndarray:
    """One for a clip's category and zero for the others, NaN where it has none: float32 [n, categories]."""
    shares = np.full((len(segments), len(names)), np.nan, np.float32)
    for row, segment in zip(shares, segments, strict=True):
        if names and _category(segment):
            row[:] = 0
            row[names.index(_category(segment))] = 1
    return shares


def _check_learnable(labels: Path, task: str, axes: Sequence[str], names: Sequence[str]) -> None:
    if task != "categories" and not axes:
        raise DistillError(f"{labels}: has no ratings of {', '.join(AXES)}; --task categories learns the categories")
    if task != "adv" and len(names) < 2:
        raise DistillError(f"{labels}: --task {task} needs a column {CATEGORY!r} with at least two different values")


def _groups(labels: Path, segments: Sequence[Segment], speaker_from: str | None, *, needed: bool) -> list[str]:
    speakers = [str(segment.columns.get(SPEAKER) or "").strip() for segment in segments]
    groups = groups_of([segment.file for segment in segments], speakers, speaker_from)
    unknown = sum(group.startswith("file ") for group in groups)
    if needed and unknown:
        raise DistillError(
            f"{labels}: of {unknown} of {len(groups)} clips the speaker is not known, and those held out have to be of "
            f"other speakers; a column {SPEAKER!r}, or --speaker-from with a regular expression for their paths"
        )
    return groups


def _check_sides(labels: Path, lessons: Lessons) -> None:
    """Whether both sides say something of all that is learned."""
    for side, chosen in (("training", ~lessons.held), ("held-out", lessons.held)):
        for axis in lessons.axes:
            column = lessons.targets[chosen, AXES.index(axis)]
            column = column[np.isfinite(column)]
            if len(column) < 2 or np.std(column) < 1e-6:
                told = f"is the same in all {len(column)}" if len(column) > 1 else f"is rated in {len(column)}"
                raise DistillError(f"{labels}: {axis} {told} {side} clips; nothing to learn, or to score")
    learned = np.nansum(lessons.targets[~lessons.held, len(AXES) :], axis=0)
    if lessons.categories and not learned.all():
        absent = lessons.categories[int(np.argmin(learned))]
        raise DistillError(f"{labels}: no training clip is of the category {absent!r}; choose rows with --where")


def summary(lessons: Lessons) -> dict[str, Any]:
    """Who is held out, for the result."""
    groups = sorted({group for group, held in zip(lessons.groups, lessons.held, strict=True) if held})
    return {"by": lessons.by, "held_out_groups": [group.removeprefix("speaker ") for group in groups]}
