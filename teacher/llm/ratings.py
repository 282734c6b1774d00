"""Human ratings in a table's columns: numbers from 0 to 1, as everywhere in the project."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.sources.manifest import Cut, Failure, Segment, list_segments

#: A rated clip is one clip, however long.
WHOLE = Cut(window=inf, hop=inf)


def rated_clips(labels: Path, audio: Path | None, where: Mapping[str, str] | None = None) -> tuple[Path, list[Segment]]:
    """The root, and the rated clips below it, of which every one must be there.

    Raises:
        DistillError: the table cannot be read, or a recording is missing.
    """
    if not labels.is_file():
        raise DistillError(f"{labels}: no such table of ratings")
    listing = list_segments(labels, audio=audio, cut=WHOLE, where=where)
    segments: dict[tuple[str, float, float], Segment] = {}
    for entry in listing:
        if isinstance(entry, Failure):
            raise DistillError(f"{labels}: {entry.file}: {entry.reason}; leave its row out, or give the right folder")
        segments.setdefault(entry.key, entry)
    return listing.root, list(segments.values())


def rating(columns: Mapping[str, Any], axis: str, at: str) -> float | None:
    """A rating, None where the cell is empty or there is no such column.

    >>> rating({"arousal": "0.25"}, "arousal", "clip.wav"), rating({}, "valence", "clip.wav")
    (0.25, None)

    Raises:
        DistillError: it is no number from 0 to 1.
    """
    text = columns.get(axis)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= 1:
        raise DistillError(f"{at}: {axis} is {text!r}; ratings are numbers from 0 to 1")
    return value


def cell(columns: Mapping[str, Any], name: str | None) -> str:
    """A cell as text; "" where it is empty, or there is no such column.

    >>> cell({"speaker": "03"}, "speaker"), cell({"speaker": "03"}, None)
    ('03', '')
    """
    value = None if name is None else columns.get(name)
    return "" if value is None else str(value).strip()
