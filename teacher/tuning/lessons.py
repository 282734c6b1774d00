"""What a teacher is tuned on: rated recordings, which axes and classes the ratings know, who is held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError
from distill.learning.clips import Example
from distill.learning.splits import SHARE, groups_of, held_out
from distill.progress import say
from distill.sources.manifest import Cut, Failure, Segment, list_segments
from teacher.tuning.design import Classes, columns_of
from teacher.tuning.options import ADV

#: Columns that are looked at beside what is learned.
SPEAKER, SPLIT = "speaker", "split"

#: Shares of all clips that are held out, at most, and how often speakers are drawn for each.
_SHARES, _DRAWS = (SHARE, 2 * SHARE, 3 * SHARE, 5 * SHARE), 50

#: Of one column; more are names, not classes.
MOST_CLASSES = 100

#: Values of the column `split`: learned from, held out, and kept away from training altogether.
TRAIN, DEVELOPMENT = ("train",), ("dev", "development", "val", "validation")


@dataclass(frozen=True)
class Lessons:
    """Rated clips. targets: float32 [n, 3 + classes], NaN where unknown: the axes in the order of `AXES`, 0..1, and
    the share of each class. held: boolean [n], those that are scored on. by: how they were held out.

    axes: those that are rated; missing: those that are asked for and are not; classes: columns whose values are told
    apart. groups: speakers, as `groups_of` names them.
    """

    segments: Sequence[Segment]
    root: Path
    targets: np.ndarray
    held: np.ndarray
    groups: Sequence[str]
    axes: tuple[str, ...]
    missing: tuple[str, ...]
    classes: tuple[Classes, ...]
    by: str

    def examples(self) -> list[Example]:
        """What is to be decoded, in the order of the rows."""
        return [
            Example(self.root, segment.file, segment.span, None, target, group)
            for segment, target, group in zip(self.segments, self.targets, self.groups, strict=True)
        ]

    def only(self, task: str) -> Lessons:
        """Of several tasks one, and the clips that say something of it; held out are the same."""
        adv, told = self.targets[:, : len(AXES)], self.targets[:, columns_of(self.classes).get(task, slice(0))]
        targets = np.concatenate([adv if task == ADV else np.full_like(adv, np.nan), told], axis=1)
        known = np.flatnonzero(np.isfinite(targets).any(1)).tolist()
        own = replace(
            self, targets=targets, axes=self.axes if task == ADV else (), missing=self.missing if task == ADV else (),
            classes=tuple(each for each in self.classes if each[0] == task),
        )  # fmt: skip
        return own.of(known)

    def of(self, places: Sequence[int]) -> Lessons:
        """Of some of the clips."""
        return replace(
            self, segments=[self.segments[place] for place in places], groups=[self.groups[place] for place in places],
            targets=self.targets[places], held=self.held[places],
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of what is learned: which segments, what was said of them, who is held out."""
        content = hashlib.sha256(repr([segment.key for segment in self.segments]).encode())
        for array in (self.targets, self.held):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def read_lessons(
    labels: Path, *, audio: Path | None = None, where: Mapping[str, str] | None = None,
    tasks: Sequence[str] = (ADV,), speaker_from: str | None = None, seed: int = 0,
) -> Lessons:  # fmt: skip
    """Read ratings: a table with `file` and any of arousal, dominance, valence (0..1), category, speaker, split.

    audio: folder that the files stand in, by default the table's own. where: {column: value}, rows to take. tasks: adv,
    and columns whose values are to be told apart. speaker_from: regular expression whose group is the speaker in a
    file's path. Where a column `split` says train, development and the like, it is kept to, and other rows are left
    out; otherwise speakers are drawn.

    Raises:
        DistillError: nothing to learn, ratings outside 0..1, no speakers, or recordings that are not there.
    """
    listing = list_segments(labels, audio=audio, cut=Cut(inf, inf), where=where)
    entries = list(listing)
    segments = [entry for entry in entries if isinstance(entry, Segment)]
    _tell_missing(labels, [entry for entry in entries if isinstance(entry, Failure)], len(entries))
    segments, held_by_split = _by_split(labels, segments)
    adv = np.array([[_rating(labels, segment, axis) for axis in AXES] for segment in segments], np.float32)
    adv = adv if ADV in tasks else np.full_like(adv, np.nan)
    classes = tuple((column, _values(segments, column)) for column in tasks if column != ADV)
    targets = np.concatenate([adv, *(_shares(segments, *each) for each in classes)], axis=1)
    axes = tuple(axis for axis, column in zip(AXES, adv.T, strict=True) if np.isfinite(column).any())
    missing = tuple(axis for axis in AXES if axis not in axes) if ADV in tasks else ()
    _check_learnable(labels, tasks, axes, classes)
    known = np.isfinite(targets).any(1)
    targets, segments = targets[known], [segment for segment, says in zip(segments, known, strict=True) if says]
    groups = _groups(labels, segments, speaker_from, needed=held_by_split is None)
    held = _drawn(groups, targets, classes, seed) if held_by_split is None else held_by_split[known]
    lessons = Lessons(
        segments, listing.root, targets, held, groups, axes, missing, classes,
        "speaker" if held_by_split is None else "the column split",
    )  # fmt: skip
    _tell_shared(labels, lessons)
    check_sides(labels, lessons)
    return lessons


def _tell_missing(labels: Path, failures: Sequence[Failure], of: int) -> None:
    if len(failures) == of:
        raise DistillError(f"{labels}: none of its {of} recordings is there ({failures[0].file}: {failures[0].reason})")
    if failures:
        first = failures[0]
        say(f"{len(failures)} of {of} rated recordings are left out ({first.file}: {first.reason})")


def _by_split(labels: Path, segments: list[Segment]) -> tuple[list[Segment], np.ndarray | None]:
    """The rows that training may see, and which of them are held out; None where the table does not say: then speakers
    are drawn of those for training, and the rest stays away all the same."""
    said = [str(segment.columns.get(SPLIT) or "").strip().lower() for segment in segments]
    if not any(side in TRAIN for side in said):
        return segments, None
    chosen = [side in (*TRAIN, *DEVELOPMENT) for side in said]
    if left := Counter(side or "none" for side in said if side not in (*TRAIN, *DEVELOPMENT)):
        say(f"{labels}: left out by the column split: " + ", ".join(f"{n} of {side}" for side, n in left.items()))
    kept = [segment for segment, keep in zip(segments, chosen, strict=True) if keep]
    held = np.array([side in DEVELOPMENT for side, keep in zip(said, chosen, strict=True) if keep])
    return kept, held if held.any() else None


def _drawn(groups: Sequence[str], targets: np.ndarray, classes: Sequence[Classes], seed: int) -> np.ndarray:
    """Who is held out, boolean [n]: the fewest speakers, drawn until what is told apart differs on both sides (a
    constant answer recognises all of one sex), and no class of theirs is missing from training."""
    columns = [targets[:, place] for place in columns_of(classes).values()]
    held = first = held_out(groups, seed=seed)
    for share in _SHARES:
        for attempt in range(_DRAWS):
            if all(_tells(column[held], column[~held]) for column in columns):
                return held
            held = held_out(groups, seed=[seed, attempt], share=share)
    return first


def _tells(held: np.ndarray, learned: np.ndarray) -> bool:
    """Whether two classes or more are held out, all of which are learned. Both: [n, classes], NaN where unknown."""
    there = np.nansum(held, axis=0) > 0
    return bool(there.sum() > 1 and (np.nansum(learned, axis=0)[there] > 0).all())


def _tell_shared(labels: Path, lessons: Lessons) -> None:
    """A split of the table's own may have speakers on both sides."""
    sides = [{group for group, held in zip(lessons.groups, lessons.held, strict=True) if held is np.bool_(side)}
             for side in (False, True)]  # fmt: skip
    shared = sorted(
        group.removeprefix("speaker ") for group in set.intersection(*sides) if group.startswith("speaker ")
    )
    if shared:
        say(f"{labels}: by the column split {len(shared)} speakers are learned from and scored on ({shared[0]}); "
            "the scores say nothing of others")  # fmt: skip


def _rating(labels: Path, segment: Segment, axis: str) -> float:
    value = segment.columns.get(axis)
    if value in (None, ""):
        return float("nan")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not -0.125 <= number <= 1.125:  # means of some corpora lie beyond their scale by half a point
        raise DistillError(f"{labels}, {segment.file}: {axis} is {value!r}; ratings are numbers from 0 to 1, or empty")
    return number


def _value(segment: Segment, column: str) -> str:
    return str(segment.columns.get(column) or "").strip()


def _values(segments: Sequence[Segment], column: str) -> tuple[str, ...]:
    return tuple(sorted({_value(segment, column) for segment in segments} - {""}))


def _shares(segments: Sequence[Segment], column: str, names: Sequence[str]) -> np.ndarray:
    """One for a clip's class and zero for the others, NaN where it has none: float32 [n, classes]."""
    shares = np.full((len(segments), len(names)), np.nan, np.float32)
    for row, segment in zip(shares, segments, strict=True):
        if value := _value(segment, column):
            row[:] = 0
            row[names.index(value)] = 1
    return shares


def _check_learnable(labels: Path, tasks: Sequence[str], axes: Sequence[str], classes: Sequence[Classes]) -> None:
    if ADV in tasks and not axes:
        raise DistillError(f"{labels}: has no ratings of {', '.join(AXES)}; --task categories learns the categories")
    for column, names in classes:
        if len(names) < 2:
            raise DistillError(f"{labels}: telling {column!r} apart needs such a column with two different values")
        if len(names) > MOST_CLASSES:
            raise DistillError(f"{labels}: {column!r} has {len(names)} different values, more than {MOST_CLASSES}")


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


def check_sides(labels: Path, lessons: Lessons) -> None:
    """Whether both sides say something of all that is learned.

    Raises:
        DistillError: they do not.
    """
    for side, chosen in (("training", ~lessons.held), ("held-out", lessons.held)):
        for axis in lessons.axes:
            column = lessons.targets[chosen, AXES.index(axis)]
            column = column[np.isfinite(column)]
            if len(column) < 2 or np.std(column) < 1e-6:
                told = f"is the same in all {len(column)}" if len(column) > 1 else f"is rated in {len(column)}"
                raise DistillError(f"{labels}: {axis} {told} {side} clips; nothing to learn, or to score")
    for column, place in columns_of(lessons.classes).items():
        known = lessons.targets[lessons.held, place]
        if not np.isfinite(known).any():
            raise DistillError(f"{labels}: of no held-out clip the {column} is known; nothing to score")
        if (np.nansum(known, axis=0) > 0).sum() < 2:
            raise DistillError(
                f"{labels}: the {column} is the same in all held-out clips, whoever is held out; a constant answer "
                "would be right. A column split (train, dev) with two of them on both sides mends it"
            )
    learned = np.nansum(lessons.targets[~lessons.held, len(AXES) :], axis=0)
    names = [(column, name) for column, own in lessons.classes for name in own]
    if not learned.all():
        column, absent = names[int(np.argmin(learned))]
        raise DistillError(f"{labels}: no training clip is of the {column} {absent!r}; choose rows with --where")


def summary(lessons: Lessons) -> dict[str, Any]:
    """Who is held out, for the result."""
    groups = sorted({group for group, held in zip(lessons.groups, lessons.held, strict=True) if held})
    return {"by": lessons.by, "held_out_groups": [group.removeprefix("speaker ") for group in groups]}
