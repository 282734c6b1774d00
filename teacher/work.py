"""What is to be labelled: a source spooled to disk, of which some is done already. Memory stays bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.sources.manifest import Failure, Segment
from teacher.marks import SEGMENT_COLUMNS, Marks, marks_of, put_together

#: Segments that are planned into batches together; the rest waits on disk.
CHUNK = 65_536


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

    def seconds(self) -> float:
        """Seconds of audio that are missing."""
        return sum(
            float((rows.column("end").to_numpy() - rows.column("start").to_numpy()).sum())
            for rows in self._rows(self.missing)
        )

    def evenly(self, count: int) -> list[Segment]:
        """At most `count` of the segments, evenly over the list, which often goes by speaker; done or not."""
        return self._evenly(self.first, count)

    def sample(self, count: int) -> list[Segment]:
        """The same of what is missing."""
        return self._evenly(self.missing, count)

    def _evenly(self, of: np.ndarray, count: int) -> list[Segment]:
        places = np.flatnonzero(of)
        count = min(count, len(places))
        wanted = np.zeros(len(of), bool)
        wanted[places[np.arange(count) * len(places) // max(1, count)]] = True
        return [segment for chunk in self._picked(wanted) for segment in chunk]

    def _picked(self, wanted: np.ndarray) -> Iterator[list[Segment]]:
        for rows in self._rows(wanted):
            yield [_segment(row) for row in rows.to_pylist()]

    def _rows(self, wanted: np.ndarray) -> Iterator[Any]:
        """The wanted rows of the list as Arrow record batches; wanted: boolean [listed]."""
        import pyarrow

        at = 0
        with pyarrow.memory_map(str(self._path)) as source, pyarrow.ipc.open_file(source) as spooled:
            for number in range(spooled.num_record_batches):
                batch = spooled.get_batch(number)
                here = wanted[at : at + batch.num_rows]
                at += batch.num_rows
                if here.any():
                    yield batch.filter(pyarrow.array(here))


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
            rows = [{name: getattr(s, name) for name in SEGMENT_COLUMNS} | {"columns": _text(s.columns)} for s in chunk]
            writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema))
            marks.append(marks_of(chunk))
    return Work(path, put_together(marks)), failures


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
