"""What is to be treated: a folder, one file, or a manifest, as a stream of segments with the columns they came with."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from distill.audio import SUFFIXES, Span, seconds_of, windows
from distill.corpora import recognised
from distill.errors import AudioError, DistillError
from distill.files import write_csv
from distill.sources import remote
from distill.sources.naming import Names
from distill.sources.shards import rows_of, shards_of
from distill.sources.tars import Fault, is_there, state_of
from distill.table import KEY_COLUMNS

_FAILURE_COLUMNS = ("file", "reason", "start", "end")

_MANIFESTS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Segment:
    """A span of a recording.

    file: POSIX path below the root; start, end: seconds; size: bytes; changed: time of change in ns.

    >>> segment = Segment("a.wav", 1.0, 2.5, size=80_044, changed=0)
    >>> segment.key, segment.seconds
    (('a.wav', 1.0, 2.5), 1.5)
    """

    file: str
    start: float
    end: float
    size: int
    changed: int
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[str, float, float]:
        """What a label table knows a segment by."""
        return (self.file, self.start, self.end)

    @property
    def span(self) -> Span:
        """Where in the recording it lies."""
        return Span(self.start, self.end)

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True)
class Failure:
    """A segment that could not be treated, and why. start and end are None where the whole file is meant.

    >>> Failure("a.wav", "silent").start is None  # the whole file
    True
    """

    file: str
    reason: str
    start: float | None = None
    end: float | None = None


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Name every failure in a CSV; no file where there is none."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    write_csv(path, _FAILURE_COLUMNS, map(astuple, failures))


class FailureLog:
    """A CSV of failures that grows as they come: an interrupted run leaves them. No file where there is none. first:
    what failed first, and why."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.first = path, 0, ""
        path.unlink(missing_ok=True)

    def add(self, failures: Iterable[Failure]) -> None:
        """Write them at once."""
        for failure in failures:
            self.first = self.first or f"{failure.file}: {failure.reason}"
            with self.path.open("a", newline="", encoding="utf-8", errors="surrogateescape") as handle:
                writer = csv.writer(handle)
                if not self.count:
                    writer.writerow(_FAILURE_COLUMNS)
                writer.writerow(astuple(failure))
            self.count += 1


@dataclass(frozen=True)
class Listing:
    """What a source holds below one root: segments, and failures where something could not even be listed.

    Iterating lists anew, in the same order, one row at a time: a source may have more rows than fit in memory. A
    segment may come twice.
    """

    root: Path
    _entries: Callable[[], Iterator[Segment | Failure]]

    def __iter__(self) -> Iterator[Segment | Failure]:
        return self._entries()


@dataclass(frozen=True)
class Cut:
    """How recordings are cut where the manifest gives no times: windows of `window` seconds, one every `hop`.

    find: gives the spans of a part of a recording that are to be taken, each at most a window; instead of windows.
    """

    window: float
    hop: float
    find: Callable[[Path, Span], list[Span]] | None = None


def list_segments(
    source: Path | str,
    *,
    audio: Path | None = None,
    cut: Cut,
    where: Mapping[str, str] | None = None,
    cache: Path | None = None,
    cache_bytes: int = remote.DEFAULT_BYTES,
) -> Listing:
    """The segments of a folder (searched through), an audio file, tars, or a CSV / JSONL / Parquet manifest.

    Tars are WebDataset's shards: one, a folder of them, a pattern ("s-{000..499}.tar", "shards/*.tar") or an address
    that fsspec knows ("s3://bucket/s-{000..499}.tar"), fetched into the folder `cache` of at most `cache_bytes`.

    A manifest has `file` (or AudioFolder's `file_name`) and may have `start` and `end` in seconds; names are looked
    for below `audio`, by default the manifest's own folder. A folder with AudioFolder's `metadata.csv` is read by it,
    the label files of published corpora (`distill.corpora`) by their own readers.
    where: {column: value}; rows of the manifest that have other values are left out.

    Raises:
        DistillError: no such source, an empty folder; while it is read: a manifest with a missing column or a bad time.
    """
    shards = shards_of(source, cache, cache_bytes)
    if shards is not None:
        return Listing(shards.root, lambda: _listed(shards.root, _selected(rows_of(shards), where, source), cut))
    path = _existing(source)
    corpus = recognised(path)
    if corpus is not None or (path.is_file() and path.suffix.lower() in _MANIFESTS):
        root = audio or (path.parent if corpus is None else corpus.root)
        return Listing(root, lambda: _listed(root, _selected(iterate_rows(path), where, path), cut))
    if where:
        raise DistillError(f"{path}: --where chooses rows of a manifest, and this is none")
    return _recordings(path, cut)


def _existing(source: Path | str) -> Path:
    """The path that a source means; of a folder that has one, AudioFolder's manifest."""
    path = Path(str(source).removeprefix("file://"))
    if not path.exists():
        raise DistillError(f"{path}: no such file or folder")
    metadata = path / "metadata.csv"
    return metadata if path.is_dir() and metadata.is_file() and "file_name" in _header(metadata) else path


def _recordings(path: Path, cut: Cut) -> Listing:
    """A folder, searched through, or one recording."""
    root = path if path.is_dir() else path.parent
    names = audio_files(path) if path.is_dir() else [path.name]
    if not names:
        raise DistillError(f"{path}: no audio in it (looked for {', '.join(SUFFIXES)})")
    return Listing(root, lambda: _listed(root, ({"file": name} for name in names), cut))


def audio_files(folder: Path) -> list[str]:
    """All audio files below `folder`, as sorted POSIX paths relative to it; hidden files and folders are left out."""
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(at, name) for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV, JSONL or Parquet file, or of a published corpus. Of a CSV every value but `start` and `end`
    stays text ("03" is no 3).

    Raises:
        DistillError: it cannot be read, has no rows, or lacks `file`, or a time is no number or ends before its start.
    """
    return list(iterate_rows(path))


def iterate_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The same, one at a time.

    Raises:
        DistillError: as `read_rows`, when the row in question is reached.
    """
    number = 0
    try:
        for number, row in enumerate(_reader(path)(), start=1):
            yield _keyed(row, f"{path}, row {number}")
    except FileNotFoundError:
        raise DistillError(f"{path}: no such file") from None
    except (ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DistillError(f"{path}: cannot be read ({error})") from None
    if not number:
        raise DistillError(f"{path}: has no rows")


def _reader(path: Path) -> Callable[[], Iterator[dict[str, Any]]]:
    corpus = recognised(path)
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    if corpus is not None:
        return corpus.rows
    if path.suffix.lower() not in readers:
        raise DistillError(f"{path}: a manifest is a .csv, .jsonl or .parquet file")
    return partial(readers[path.suffix.lower()], path)


def select(rows: list[dict[str, Any]], where: Mapping[str, str], source: Path) -> list[dict[str, Any]]:
    """The rows whose columns have the values of `where`; several values of a column are given as "a|b".

    >>> rows = [{"file": "a.wav", "sex": "f"}, {"file": "b.wav", "sex": "m"}]
    >>> select(rows, {"sex": "f|x"}, Path("list.csv"))
    [{'file': 'a.wav', 'sex': 'f'}]

    Raises:
        DistillError: a column that no row has, or no row left.
    """
    return [row for row in _selected(rows, where, source) if not isinstance(row, Fault)]


def _selected(
    rows: Iterable[dict[str, Any] | Fault], where: Mapping[str, str] | None, source: Path | str
) -> Iterator[dict[str, Any] | Fault]:
    """The rows with the values of `where`, and every fault."""
    wanted = {column: value.split("|") for column, value in (where or {}).items()}
    number = chosen = 0
    for row in rows:
        if isinstance(row, Fault):
            yield row
            continue
        number += 1
        unknown = [column for column in wanted if column not in row] if number == 1 else []
        if unknown:
            raise DistillError(f"{source}: no column {unknown[0]!r} to choose by; it has {', '.join(row)}")
        if all(str(row.get(column)) in values for column, values in wanted.items()):
            chosen += 1
            yield row
    if wanted and not chosen:
        raise DistillError(
            f"{source}: no row with {', '.join(f'{key}={value}' for key, value in (where or {}).items())}"
        )


def _header(path: Path) -> Sequence[str]:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
        return next(csv.reader(handle), [])


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        yield from csv.DictReader(handle, strict=True)


def _jsonl_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="\n") as handle:
        for line in handle:
            row = json.loads(line) if line.strip() else {}
            if not isinstance(row, dict):
                raise ValueError("a line is no JSON object")
            if line.strip():
                yield row


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as opened:
        for batch in opened.iter_batches(batch_size=4096):
            yield from batch.to_pylist()


def _keyed(row: dict[str, Any], at: str) -> dict[str, Any]:
    """A row with `file`, and with `start` and `end` as numbers where it has them."""
    row = {("file" if key == "file_name" and "file" not in row else key): value for key, value in row.items()}
    if not row.get("file"):
        raise DistillError(f"{at}: the column 'file' is missing or empty; a manifest has file[,start,end]")
    if None in row:
        raise DistillError(f"{at}: more values than columns")
    row.update({key: _seconds(row[key], key, at) for key in ("start", "end") if key in row})
    start, end = row.get("start") or 0.0, row.get("end")
    if start < 0 or (end is not None and end <= start):
        raise DistillError(
            f"{at}: ends before it starts (start {start:g} s, end {end if end is None else f'{end:g}'} s)"
        )
    return row


def _seconds(value: Any, key: str, at: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise DistillError(f"{at}: {key} is {value!r}; times are seconds, as numbers")
    return number


def _listed(root: Path, rows: Iterable[dict[str, Any] | Fault], cut: Cut) -> Iterator[Segment | Failure]:
    resolved = lru_cache(maxsize=1)(lambda: Names(audio_files(root)))  # the folder is searched only if a name needs it
    for row in rows:
        if isinstance(row, Fault):
            yield Failure(row.name, row.reason)
            continue
        try:
            yield from _segments_of(row, root, resolved, cut)
        except AudioError as error:
            yield Failure(str(row["file"]), str(error), row.get("start"), row.get("end"))
        except OSError as error:  # vanished since it was found, or a name that the file system cannot hold
            vanished = isinstance(error, FileNotFoundError)
            reason = "no such file" if vanished else f"cannot be read: {error.strerror or error}"
            yield Failure(str(row["file"]), reason, row.get("start"), row.get("end"))


def _segments_of(row: dict[str, Any], root: Path, names: Any, cut: Cut) -> Iterator[Segment]:
    name = str(row["file"])
    file = name if is_there(root / name) else names().find(name)
    _encodable(file)
    size, changed = state_of(root / file)
    columns = {key: value for key, value in row.items() if key not in KEY_COLUMNS}
    for span in _spans(row, root / file, cut):
        yield Segment(file, span.start, span.end, size, changed, columns)


def _spans(row: dict[str, Any], path: Path, cut: Cut) -> list[Span]:
    start, end = row.get("start") or 0.0, row.get("end")
    if end is None:
        end = seconds_of(path)
        if end <= start:
            raise AudioError(f"the segment starts at {start:g} s, the file ends at {end:g} s")
    if cut.find is not None:
        return cut.find(path, Span(start, end))
    spans = windows(end - start, cut.window, cut.hop)
    return [Span(round(start + span.start, 6), round(start + span.end, 6)) for span in spans]


def _encodable(file: str) -> None:
    try:
        file.encode("utf-8")
    except UnicodeEncodeError:
        raise AudioError("its name is not valid UTF-8; rename it") from None
