"""By what segments are known again: four hashes each, so that ten million of them fit into memory at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.parts import scan
from distill.sources.manifest import Segment

#: What a segment has besides the manifest's own columns.
SEGMENT_COLUMNS = (*table.KEY_COLUMNS, "size", "changed")


@dataclass(frozen=True)
class Marks:
    """What segments are known again by, a hash each: uint64 [n].

    keys: file, start and end; files: the file; states: its size and time of change; columns: what the manifest says.
    """

    keys: np.ndarray
    files: np.ndarray
    states: np.ndarray
    columns: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, chosen: np.ndarray) -> Marks:
        """chosen: boolean [n]."""
        return Marks(self.keys[chosen], self.files[chosen], self.states[chosen], self.columns[chosen])

    def touched(self, known: Marks) -> np.ndarray:
        """Boolean [known]: rows of a table whose file has another size or date among these."""
        return _differ(self.files, self.states, known.files, known.states)

    def described_anew(self, known: Marks) -> np.ndarray:
        """Boolean [known]: rows of a table of which the manifest says something else among these."""
        return _differ(self.keys, self.columns, known.keys, known.columns)

    def gone(self, known: Marks) -> np.ndarray:
        """Boolean [known]: rows of segments that are not among these any more."""
        return ~np.isin(known.keys, self.keys)


def marks_of(segments: Iterable[Segment]) -> np.ndarray:
    """uint64 [segments, 4], in the order of `Marks`.

    >>> marks_of([Segment("a.wav", 0.0, 1.5, size=48_044, changed=0)]).shape
    (1, 4)
    """
    return np.array([_marked(segment) for segment in segments], np.uint64).reshape(-1, 4)


def put_together(marks: list[np.ndarray]) -> Marks:
    """What was marked piece by piece, uint64 [n, 4] each.

    >>> len(put_together([np.zeros((2, 4), np.uint64), np.zeros((1, 4), np.uint64)]))
    3
    """
    rows = np.concatenate(marks) if marks else np.zeros((0, 4), np.uint64)
    return Marks(*(np.ascontiguousarray(rows[:, column]) for column in range(4)))


def known_of(folder: Path) -> Marks:
    """The marks of every row that a table holds, in the order of `scan`."""
    return put_together(
        [np.array([_marked_row(row) for row in batch], np.uint64).reshape(-1, 4) for batch in _rows(folder)]
    )


def files_of(folder: Path, flagged: np.ndarray) -> set[str]:
    """The files of the flagged rows of a table, in the order of `known_of`."""
    files: set[str] = set()
    at = 0
    for batch in scan(folder, columns=("file",)):
        rows = flagged[at : at + batch.num_rows]
        files.update(batch.column("file").filter(rows).to_pylist() if rows.any() else ())
        at += batch.num_rows
    return files


def _rows(folder: Path) -> Iterator[list[dict[str, Any]]]:
    left_out = {*table.COLUMNS, table.EMBEDDING} - set(SEGMENT_COLUMNS)
    for batch in scan(folder, without=left_out):
        yield batch.to_pylist()


def _differ(ids: np.ndarray, values: np.ndarray, known: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Boolean [known]: whose id is among `ids`, with another value there (the first) than the one held."""
    if not len(ids):
        return np.zeros(len(known), bool)
    different, first = np.unique(ids, return_index=True)
    found = np.searchsorted(different, known).clip(max=len(different) - 1)
    return np.asarray((different[found] == known) & (values[first[found]] != held))


def _marked(segment: Segment) -> tuple[int, int, int, int]:
    carried = {table.carried_name(name): table.carried(value) for name, value in segment.columns.items()}
    return _marks(segment.file, segment.start, segment.end, segment.size, segment.changed, carried)


def _marked_row(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    carried = {name: value for name, value in row.items() if name not in SEGMENT_COLUMNS}
    return _marks(row["file"], row["start"], row["end"], row["size"], row["changed"], carried)


def _marks(
    file: str, start: float, end: float, size: int, changed: int, carried: Mapping[str, str | None]
) -> tuple[int, int, int, int]:
    given = sorted((name, value) for name, value in carried.items() if value is not None)
    key, state = table.hashed((file, start, end)), table.hashed((size, changed))
    return key, table.hashed(file), state, table.hashed(given) if given else 0
