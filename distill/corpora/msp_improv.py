"""MSP-IMPROV: `Evaluation.txt` (in some releases `Evalution.txt`), ratings from 1 to 5.

Busso et al. (2017), "MSP-IMPROV: an acted corpus of dyadic interactions to study emotion perception". A line of a clip
is `UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.2; V:1.8; D:3.6; N:4.0;`, those of its raters follow; the recording is
`MSP-IMPROV-S01A-F01-P-FM01.wav`. N behind the axes is how natural it is, and is not read.

The file does not say which end of its arousal is calm. That is taken from the ratings: clips of anger are more aroused
than clips of sadness.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from distill.corpora.cells import scaled, sex
from distill.errors import DistillError
from distill.progress import say

_NAMES = ("Evaluation.txt", "Evalution.txt")
_SCALE = (1.0, 5.0)
_CLIP = re.compile(r"UTD-(?P<name>IMPROV-\S+?)\.avi\s*;\s*(?P<category>\w)\s*;(?P<ratings>.*)")
_RATING = re.compile(r"([AVD])\s*:\s*([-\d.]+)")
_SPEAKER = re.compile(r"-(?P<speaker>(?P<sex>[FM])\d+)-")
_AXES = {"arousal": "A", "dominance": "D", "valence": "V"}

#: X, on which the raters did not agree, is no category.
CATEGORIES = {"A": "anger", "S": "sadness", "H": "happiness", "N": "neutral", "O": "other", "X": ""}


def find(path: Path) -> Path | None:
    """The evaluation file that `path` is, or that lies in it."""
    folders = [path, path / "Evaluation"]
    candidates = [path] if path.is_file() else [folder / name for folder in folders for name in _NAMES]
    return next((file for file in candidates if file.is_file() and _is_one(file)), None)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Its rows.

    Raises:
        DistillError: a rating is none, or the direction of arousal cannot be told.
    """
    read = list(_rows(path))
    if _calm_is_high(path, read):
        say(f"{path}: anger is rated calmer than sadness; arousal runs from excited to calm, and is turned round")
        read = [{**row, "arousal": None if row["arousal"] is None else round(1 - row["arousal"], 6)} for row in read]
    yield from read


def _is_one(file: Path) -> bool:
    if file.suffix != ".txt":
        return False
    with file.open(encoding="utf-8", errors="replace") as handle:
        return any(map(_CLIP.match, islice(handle, 50)))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        clip = _CLIP.match(line)
        if clip is None:
            continue  # a rater's, or empty
        said, who = dict(_RATING.findall(clip["ratings"])), _SPEAKER.search(clip["name"])
        yield {
            "file": f"MSP-{clip['name']}.wav",
            **{axis: scaled(said.get(key, ""), _SCALE, f"{path}, line {number}, {key}") for axis, key in _AXES.items()},
            "category": CATEGORIES.get(clip["category"], clip["category"]),
            "speaker": who["speaker"] if who else "",
            "sex": sex(who["sex"]) if who else "",
        }


def _calm_is_high(path: Path, read: Sequence[dict[str, Any]]) -> bool:
    heard = {
        category: [row["arousal"] for row in read if row["category"] == category and row["arousal"] is not None]
        for category in ("anger", "sadness")
    }
    if not all(heard.values()):
        raise DistillError(
            f"{path}: without clips of anger and of sadness nobody can tell which end of arousal is which"
        )
    return fmean(heard["anger"]) < fmean(heard["sadness"])
