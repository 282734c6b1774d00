"""What a label table holds, finished or not: one pass over its rows, in memory that does not grow with them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import write_text
from distill.labels.page import page
from distill.parts import scan
from distill.table import SPREADS

#: Percentiles that are told.
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

#: Bars of a histogram, between the percentiles that leave strays out.
BARS, ENDS = 40, (0.1, 99.9)

#: Different reasons of failures that are told apart, at most.
_REASONS = 100

#: A value is counted by the upper bits of its float32: 2^-11 of itself is how exact percentiles are.
_DROPPED_BITS = 12
_BINS = 1 << (32 - _DROPPED_BITS)

#: How often a table is read anew that is being labelled: parts were put together under the reader's hands.
_TRIES = 5


def show(labels: str | Path, *, plot: str | Path | None = None) -> dict[str, Any]:
    """Counts, hours, teacher, licences, and how answers and spreads are distributed, of a table finished or not.

    plot: an HTML page to write, with the histograms.

    Returns {labels, complete, rows, audio_hours, segments (None while unfinished), failed, failures {reason: n},
    teacher, revision, licence, data_licence, audio_licence, axes, derived, arguments, answers {axis: distribution},
    spread {axis: distribution}}; a distribution is {n, mean, std, min, max, percentiles {"50": ...}, histogram}.

    Raises:
        DistillError: no table, or a part that cannot be read.
    """
    folder = Path(labels)
    info = table.existing_info(folder)
    rows, seconds, seen = _counted(folder)
    failures = _failures(folder / table.FAILED)
    card, arguments = info.get("teacher", {}), info.get("arguments", {})
    found = {
        "labels": folder, "complete": bool(info["complete"]), "rows": rows, "audio_hours": seconds / 3600,
        "segments": info.get("counts", {}).get("segments"), "failed": sum(failures.values()), "failures": failures,
        "teacher": card.get("name"), "revision": card.get("revision"), "licence": info.get("licence"),
        "data_licence": info.get("data_licence"), "audio_licence": info.get("audio_licence"), "root": info["root"],
        "axes": info["axes"], "derived": info.get("derived", []), "arguments": arguments,
        "answers": {axis: seen[axis].described() for axis in AXES if seen[axis].n},
        "spread": {axis: seen[name].described() for axis, name in zip(AXES, SPREADS, strict=True) if seen[name].n},
    }  # fmt: skip
    if plot is not None:
        write_text(Path(plot), page(found))
        found["plot"] = Path(plot)
    return found


class Distribution:
    """Mean, standard deviation, percentiles and a histogram of float32 values that are seen once, a batch at a time.

    >>> seen = Distribution()
    >>> seen.add(np.linspace(0, 1, 1001, dtype=np.float32))
    >>> seen.n, round(seen.mean, 3), round(seen.percentile(50), 2)
    (1001, 0.5, 0.5)
    """

    def __init__(self) -> None:
        self.n, self.mean, self._squares = 0, 0.0, 0.0
        self.low, self.high = float("inf"), float("-inf")
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count the finite ones among float32 [n]."""
        values = values[np.isfinite(values)].astype(np.float32)
        if not len(values):
            return
        wide = values.astype(np.float64)
        off, n = float(wide.mean()) - self.mean, self.n + len(wide)
        self._squares += float(wide.var()) * len(wide) + off**2 * self.n * len(wide) / n  # Chan et al. (1979)
        self.mean, self.n = self.mean + off * len(wide) / n, n
        self.low, self.high = min(self.low, float(wide.min())), max(self.high, float(wide.max()))
        bins, counts = np.unique(_ordered(values) >> _DROPPED_BITS, return_counts=True)
        self._counts[bins] += counts

    @property
    def std(self) -> float:
        """Population standard deviation."""
        return float(np.sqrt(self._squares / self.n)) if self.n else float("nan")

    def percentile(self, percent: float) -> float:
        """The value that `percent` of the values do not exceed, to 2^-11 of itself."""
        bins = np.flatnonzero(self._counts)
        place = int(np.searchsorted(np.cumsum(self._counts[bins]), max(1, np.ceil(self.n * percent / 100))))
        return float(np.clip(_middle(bins[place : place + 1])[0], self.low, self.high))

    def histogram(self) -> dict[str, Any]:
        """{low, high, counts [BARS], beyond}: bars of equal width, and how many values lie outside of them."""
        low, high = (self.percentile(percent) for percent in ENDS)
        if low == high:
            low, high = low - 0.5, high + 0.5
        bins = np.flatnonzero(self._counts)
        values = _middle(bins).clip(self.low, self.high)
        counts, _ = np.histogram(values, BARS, (low, high), weights=self._counts[bins])
        return {"low": low, "high": high, "counts": counts.astype(int).tolist(), "beyond": self.n - int(counts.sum())}

    def described(self) -> dict[str, Any]:
        """As `show` returns it."""
        return {"n": self.n, "mean": self.mean, "std": self.std, "min": self.low, "max": self.high,
                "percentiles": {str(percent): self.percentile(percent) for percent in PERCENTILES},
                "histogram": self.histogram()}  # fmt: skip


def _ordered(values: np.ndarray) -> np.ndarray:
    """float32 as uint32 in the same order: the sign flipped, and every bit of what is negative."""
    bits = values.view(np.uint32)
    return np.asarray(np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)))


def _middle(bins: np.ndarray) -> np.ndarray:
    """The values in the middle of the bins, float64."""
    bits = (bins.astype(np.uint64) << _DROPPED_BITS | (1 << (_DROPPED_BITS - 1))).astype(np.uint32)
    return np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits).view(np.float32).astype(np.float64)


def _counted(folder: Path) -> tuple[int, float, dict[str, Distribution]]:
    """Rows, seconds of audio, and the distribution of every column of answers and spreads."""
    import pyarrow

    for left in reversed(range(_TRIES)):
        try:
            return _read_through(folder)
        except FileNotFoundError:
            if not left:
                raise DistillError(f"{folder}: changes faster than it can be read; look again later") from None
        except pyarrow.ArrowException as error:
            raise DistillError(f"{folder}: a part cannot be read ({error})") from None
    raise AssertionError("unreachable")


def _read_through(folder: Path) -> tuple[int, float, dict[str, Distribution]]:
    rows, seconds, names = 0, 0.0, (*AXES, *SPREADS)
    seen = {name: Distribution() for name in names}
    for batch in scan(folder, columns=("start", "end", *names)):
        rows += batch.num_rows
        seconds += table.audio_seconds(batch)
        for name in set(names) & set(batch.schema.names):
            seen[name].add(table.floats(batch.column(name)))
    return rows, seconds, seen


def _failures(path: Path) -> dict[str, int]:
    """{reason: how many}, the most frequent first; reasons that differ in numbers alone are one."""
    found: Counter[str] = Counter()
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="replace") as handle:
            for row in csv.DictReader(handle):
                reason = re.sub(r"\d+(\.\d+)?", "#", row.get("reason") or "no reason")
                found[reason if reason in found or len(found) < _REASONS else "other reasons"] += 1
    return dict(found.most_common())
