"""What is to be labelled: a source spooled to disk, against what a table already holds. Memory stays bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.manifest import Failure, Segment

#: Segments that are planned into batches together; the rest waits on disk.
CHUNK = 65_536

_SEGMENT_COLUMNS = (*table.KEY_COLUMNS, "size", "changed")


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


class Work:
    """The segments of a source, on disk in the order in which they were listed, and which of them are to be done."""

    def __init__(self, path: Path, marks: Marks) -> None:
        self._path, self.marks = path, marks
        self.first = _first_of_each(marks.keys)
        self.missing = self.first.copy()

    @property
    def segments(self) -> int:
        """How many different ones there are."""
        return int(self.first.sum())

    def leave_out(self, known: Marks) -> None:
        """What is known is not to be done again."""
        self.missing &= ~np.isin(self.marks.keys, known.keys)

    def chunks(self) -> Iterator[list[Segment]]:
        """What is missing, at most `CHUNK` segments at a time."""
        yield from self._picked(self.missing)

    def _picked(self, wanted: np.ndarray) -> Iterator[list[Segment]]:
        import pyarrow

        at = 0
        with pyarrow.memory_map(str(self._path)) as source, pyarrow.ipc.open_file(source) as spooled:
            for number in range(spooled.num_record_batches):
                batch = spooled.get_batch(number)
                here = wanted[at : at + batch.num_rows]
                at += batch.num_rows
                if here.any():
                    yield [_segment(row) for row in batch.filter(pyarrow.array(here)).to_pylist()]

    def evenly(self, count: int) -> list[Segment]:
        """At most `count` of the segments, evenly over the list, which often goes by speaker; done or not."""
        places = np.flatnonzero(self.first)
        wanted = np.zeros(len(self.first), bool)
        wanted[places[np.arange(min(count, len(places))) * len(places) // max(1, min(count, len(places)))]] = True
        return [segment for chunk in self._picked(wanted) for segment in chunk]

    def seconds(self) -> float:
        """Seconds of audio that are missing."""
        import pyarrow

        at, seconds = 0, 0.0
        with pyarrow.memory_map(str(self._path)) as source, pyarrow.ipc.open_file(source) as spooled:
            for number in range(spooled.num_record_batches):
                batch = spooled.get_batch(number)
                lasting = batch.column("end").to_numpy() - batch.column("start").to_numpy()
                seconds += float(lasting[self.missing[at : at + batch.num_rows]].sum())
                at += batch.num_rows
        return seconds

    def sample(self, segments: int) -> list[Segment]:
        """So many of what is missing, spread evenly over the source."""
        missing = np.flatnonzero(self.missing)
        chosen = np.unique(np.linspace(0, len(missing) - 1, min(segments, len(missing))).round().astype(np.int64))
        drawn = Work(self._path, self.marks)
        drawn.missing = np.zeros(len(self.missing), bool)
        drawn.missing[missing[chosen]] = True
        return [segment for chunk in drawn.chunks() for segment in chunk]


def spool(entries: Iterable[Segment | Failure], path: Path) -> tuple[Work, list[Failure]]:
    """List a source onto disk; returns the work and what could not be listed."""
    import pyarrow

    number, text = pyarrow.float64(), pyarrow.string()
    types = {"file": text, "start": number, "end": number, "size": pyarrow.int64(), "changed": pyarrow.int64()}
    schema = pyarrow.schema({**types, "columns": text})
    failures: list[Failure] = []
    marks: list[np.ndarray] = []
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
        for chunk in _chunked(_segments(entries, failures)):
            rows = [
                {name: getattr(s, name) for name in _SEGMENT_COLUMNS} | {"columns": _text(s.columns)} for s in chunk
            ]
            writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema))
            marks.append(np.array([_marked(s) for s in chunk], np.uint64))
    return Work(path, _together(marks)), failures


def known_of(folder: Path) -> Marks:
    """The marks of every row that a table holds, in the order of `table.scan`."""
    marks = [np.array([_marked_row(row) for row in batch], np.uint64).reshape(-1, 4) for batch in _rows(folder)]
    return _together(marks)


def outdated(work: Work, known: Marks) -> np.ndarray:
    """Boolean [known]: rows that no longer hold, as their file, or what the manifest says of them, has changed."""
    now, rows = work.marks, known
    changed = _differ(now.files, now.states, rows.files, rows.states)
    return np.asarray(changed | _differ(now.keys, now.columns, rows.keys, rows.columns))


def gone(work: Work, known: Marks) -> np.ndarray:
    """Boolean [known]: rows of segments that the source no longer has."""
    return ~np.isin(known.keys, work.marks.keys)


def files_of(folder: Path, flagged: np.ndarray) -> set[str]:
    """The files of the flagged rows of a table, in the order of `known_of`."""
    files: set[str] = set()
    at = 0
    for batch in table.scan(folder, columns=("file",)):
        rows = flagged[at : at + batch.num_rows]
        files.update(batch.column("file").filter(rows).to_pylist() if rows.any() else ())
        at += batch.num_rows
    return files


def _rows(folder: Path) -> Iterator[list[dict[str, Any]]]:
    left_out = {*table.COLUMNS, table.EMBEDDING} - set(_SEGMENT_COLUMNS)
    for batch in table.scan(folder, without=left_out):
        yield batch.to_pylist()


def _differ(ids: np.ndarray, values: np.ndarray, known: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Boolean [known]: whose id is among `ids`, with another value there (the first) than the one held."""
    if not len(ids):
        return np.zeros(len(known), bool)
    different, first = np.unique(ids, return_index=True)
    found = np.searchsorted(different, known).clip(max=len(different) - 1)
    return np.asarray((different[found] == known) & (values[first[found]] != held))


def _first_of_each(keys: np.ndarray) -> np.ndarray:
    """Boolean [n]: a segment that is listed twice is treated once; its first row's columns hold."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def _segments(entries: Iterable[Segment | Failure], failures: list[Failure]) -> Iterator[Segment]:
    for entry in entries:
        if isinstance(entry, Failure):
            failures.append(entry)
        else:
            yield entry


def _chunked(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    chunk: list[Segment] = []
    for segment in segments:
        chunk.append(segment)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _segment(row: Mapping[str, Any]) -> Segment:
    return Segment(**{**row, "columns": json.loads(row["columns"])})


def _text(columns: Mapping[str, Any]) -> str:
    """The manifest's columns as they will stand in the table."""
    return json.dumps({name: table.carried(value) for name, value in columns.items()}, ensure_ascii=False)


def _marked(segment: Segment) -> tuple[int, int, int, int]:
    carried = {table.carried_name(name): table.carried(value) for name, value in segment.columns.items()}
    return _marks_of(segment.file, segment.start, segment.end, segment.size, segment.changed, carried)


def _marked_row(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    carried = {name: value for name, value in row.items() if name not in _SEGMENT_COLUMNS}
    return _marks_of(row["file"], row["start"], row["end"], row["size"], row["changed"], carried)


def _marks_of(
    file: str, start: float, end: float, size: int, changed: int, carried: Mapping[str, str | None]
) -> tuple[int, int, int, int]:
    given = sorted((name, value) for name, value in carried.items() if value is not None)
    key, state = table.hashed((file, start, end)), table.hashed((size, changed))
    return key, table.hashed(file), state, table.hashed(given) if given else 0


def _together(marks: list[np.ndarray]) -> Marks:
    rows = np.concatenate(marks) if marks else np.zeros((0, 4), np.uint64)
    return Marks(*(np.ascontiguousarray(rows[:, column]) for column in range(4)))
