"""What the readers share: headers, ratings on another scale, who speaks."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from distill.errors import DistillError


def header(path: Path) -> list[str]:
    """The first row of a CSV; empty where there is none that could be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            return next(csv.reader(handle), [])
    except (OSError, csv.Error):
        return []


def table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV, each with how it is called in a message.

    Raises:
        DistillError: it cannot be read, or a row has more values than there are columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            for number, row in enumerate(csv.DictReader(handle, strict=True), start=1):
                if None in row or None in row.values():
                    raise DistillError(f"{path}, row {number}: has another number of values than the header")
                yield f"{path}, row {number}", row
    except (OSError, ValueError, csv.Error) as error:
        raise DistillError(f"{path}: cannot be read ({error})") from None


def scaled(text: str, scale: tuple[float, float], at: str) -> float | None:
    """A rating on the scale from `scale[0]` to `scale[1]`, as 0..1; None where there is none.

    >>> scaled("4", (1, 7), "row 1"), scaled("", (1, 7), "row 2")
    (0.5, None)

    Raises:
        DistillError: it is no number, or outside the scale by more than an eighth of it.
    """
    if not text.strip():
        return None
    low, high = scale
    try:
        value = (float(text) - low) / (high - low)
    except ValueError:
        value = float("nan")
    if not -0.125 <= value <= 1.125:  # means of some corpora are beyond the scale by half a point
        raise DistillError(f"{at}: {text.strip()!r} is no rating from {low:g} to {high:g}")
    return round(value, 6)


def sex(text: str) -> str:
    """female, male, or nothing where it is neither.

    >>> sex("Female"), sex("M"), sex("Unknown")
    ('female', 'male', '')
    """
    return {"f": "female", "m": "male"}.get(text.strip().lower()[:1], "") if text.strip().lower() in _SEXES else ""


_SEXES = ("f", "m", "female", "male")


def lacking(path: Path, columns: Sequence[str], there: Sequence[str]) -> None:
    """Find out whether the columns are there.

    Raises:
        DistillError: one is not.
    """
    missing = [column for column in columns if column not in there]
    if missing:
        raise DistillError(f"{path}: lacks the column {missing[0]!r}")
