"""Rated clips that the bundled teacher is trained on: the rows of a table, and what is heard in their recordings."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, SUFFIXES, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.progress import Progress
from distill.sources.manifest import select
from teacher.prosody.analysis import Array
from teacher.prosody.features import FEATURES, functionals
from teacher.prosody.views import VIEWS, views

Rows: TypeAlias = list[dict[str, str]]

COLUMNS = {"arousal": "arousal", "dominance": "dominance_norm", "valence": "valence"}
DERIVED = ("dominance",)  # a norm of the category (Russell and Mehrabian 1977): nobody rated a clip
RATED_AXES = [axis for axis in AXES if axis not in DERIVED]
ENOUGH_RATERS = 20.0
SHORTEST_SECONDS = 0.3


@dataclass(frozen=True)
class Corpus:
    """Rated clips in all their views."""

    speakers: Any  # [n] str
    ratings: Array  # [n, 3], NaN where an axis is lacking
    categories: Any  # [n] str; all "" where the table has none
    weights: Array  # [n], more for more raters
    features: Array  # [n, views, d]

    def part(self, chosen: Any) -> Corpus:
        """The clips under a mask."""
        return Corpus(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def read_table(labels: Path, where: Mapping[str, str] | None = None) -> Rows:
    """Rows of the CSV with the values of `where`, sorted by file."""
    with labels.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if missing := sorted({"file", "speaker", "arousal", "valence"} - set(reader.fieldnames or ())):
            raise DistillError(f"{labels}: the column {missing[0]!r} is missing")
        rows = select(list(reader), where or {}, labels)
    if len({row["speaker"] for row in rows}) < 3:
        chosen = "".join(f" with {column}={value}" for column, value in (where or {}).items())
        raise DistillError(f"{labels}: the rows{chosen} must hold at least three speakers: each is left out once")
    return sorted(rows, key=lambda row: row["file"])


def number(row: dict[str, str], column: str, missing: float | None) -> float:
    """A cell as a number; `missing` stands for an empty one, None where there must be one.

    >>> number({"file": "a.wav", "raters": ""}, "raters", 20.0)
    20.0
    """
    text = row.get(column) or ""
    if not text and missing is not None:
        return missing
    try:
        return float(text)
    except ValueError:
        raise DistillError(f"{row['file']}: {column} is {text!r}, not a number; mend it or leave the row out") from None


def hear(rows: Rows, audio: Path, seed: int) -> Corpus:
    """Compute the functionals of every view of every clip."""
    paths = [find_audio(audio, row["file"]) for row in rows]
    raters = np.array([number(row, "raters", ENOUGH_RATERS) for row in rows])
    return Corpus(
        speakers=np.array([row["speaker"] for row in rows]),
        ratings=np.array(
            [[number(row, COLUMNS[axis], None if axis in RATED_AXES else np.nan) for axis in AXES] for row in rows]
        ),
        categories=np.array([row.get("category") or "" for row in rows]),
        weights=np.sqrt(np.minimum(raters, ENOUGH_RATERS) / ENOUGH_RATERS),
        features=hear_views(paths, seed),
    )


def hear_views(paths: Sequence[Path], seed: int) -> Array:
    """Functionals of all views of all recordings: [n, views, d]. The views of a clip depend on seed and place alone."""
    features = np.empty((len(paths), len(VIEWS), FEATURES), np.float32)
    with Progress("prosody", total=len(paths), unit="clips") as progress:
        for index, path in enumerate(paths):
            clip = _heard(path)
            random = np.random.default_rng([seed, index])
            features[index] = [functionals(view) for view in views(clip, random)]
            progress.advance(1, audio_seconds=len(clip) / SAMPLING_RATE)
    return features


def _heard(path: Path) -> Array:
    try:
        clip = read(path)
        reject_unusable(clip, SHORTEST_SECONDS)
    except AudioError as error:
        raise DistillError(f"{path}: {error}; leave its row out") from None
    return clip


def find_audio(root: Path, name: str) -> Path:
    """The recording of that name, with or without its ending."""
    candidates = [root / name, *(root / f"{name}{suffix}" for suffix in SUFFIXES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise DistillError(f"{root}: no recording named {name}, with or without an ending")
    return found
