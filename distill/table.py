"""The label table: a folder of `part-*.parquet` and `labels.json`, one row a segment. Teacher and student meet here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES, axis_columns
from distill.errors import DistillError
from distill.files import plain, read_json, whole, write_json
from distill.parts import part_files, scan

#: Columns of every table: which segment, which audio, what was answered, and by what the file is known again.
KEY_COLUMNS = ("file", "start", "end")
SPREADS = tuple(f"spread_{axis}" for axis in AXES)
EMBEDDING = "embedding"
COLUMNS = (*KEY_COLUMNS, "sha256", *AXES, *SPREADS, "size", "changed")

JSON = "labels.json"

#: Where a table names what could not be labelled.
FAILED = "failed.csv"

#: What `labels.json` has to say for a table to be read at all, and for a student to be taught from it.
REQUIRED = ("complete", "root", "axes")
REQUIRED_TO_TEACH = ("teacher", "derived", "audio_licence")


@dataclass(frozen=True)
class Row:
    """A labelled segment. adv, spread: (arousal, dominance, valence), None where there is no answer.

    sha256: of the decoded audio; size (bytes) and changed (mtime, ns): of the file; columns: the manifest's own.
    embedding: what the teacher pooled, float16 [dimensions], or None where nobody asked for it.

    >>> row = Row("a.wav", 0.0, 1.5, "5ha", (0.5, None, 0.4), (None,) * 3, size=48_044, changed=0, columns={})
    >>> row.adv[AXES.index("valence")]
    0.4
    """

    file: str
    start: float
    end: float
    sha256: str
    adv: tuple[float | None, ...]
    spread: tuple[float | None, ...]
    size: int
    changed: int
    columns: Mapping[str, Any]
    embedding: Any = None


@dataclass(frozen=True)
class LabelTable:
    """A table that was read. rows: Arrow table with at least `COLUMNS`; info: `labels.json`.

    >>> import pyarrow
    >>> rows = pyarrow.table({"file": ["a.wav"], "arousal": [0.5], "valence": [0.25]})
    >>> LabelTable(Path("labels"), rows, {"root": "/recordings"}).adv.tolist()
    [[0.5, nan, 0.25]]
    """

    folder: Path
    rows: Any
    info: Mapping[str, Any]

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def root(self) -> Path:
        """The folder that `file` is relative to, as it was when the table was made."""
        return Path(self.info["root"])

    @cached_property
    def adv(self) -> np.ndarray:
        """float32 [rows, 3] in the order of `AXES`, NaN where an axis was not answered."""
        return axis_columns(list(zip(*(self.column(axis) for axis in AXES), strict=True)))

    def embeddings(self) -> np.ndarray:
        """float16 [rows, dimensions], what the teacher pooled.

        Raises:
            DistillError: a row has none, or one of another size.
        """
        import pyarrow.compute

        if EMBEDDING not in self.rows.column_names:
            raise DistillError(f"{self.folder}: holds no embeddings; label again with --embeddings")
        lists = self.rows[EMBEDDING].combine_chunks()
        sizes = set(pyarrow.compute.list_value_length(lists).to_pylist())
        if len(sizes) > 1 or None in sizes:
            told = ", ".join("none" if size is None else str(size) for size in sorted(sizes, key=lambda n: n or 0))
            raise DistillError(f"{self.folder}: embeddings differ in size ({told}); label again with --embeddings")
        return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float16).reshape(len(self), -1)

    def digest(self) -> str:
        """SHA-256 of what a student learns from: which audio, and the answers."""
        content = hashlib.sha256("\n".join(self.column("sha256")).encode())
        content.update(np.ascontiguousarray(self.adv).tobytes())
        return content.hexdigest()

    def column(self, name: str) -> list[Any]:
        """One column as a list; [None ...] where the table has no such column."""
        return list(self.rows[name].to_pylist()) if name in self.rows.column_names else [None] * len(self)


def write_part(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write rows as `part-<name>.parquet`, whole or not at all."""
    import pyarrow.parquet

    with whole(folder / f"part-{name}.parquet") as beside:
        pyarrow.parquet.write_table(_as_arrow(rows), beside)


def read(folder: Path) -> LabelTable:
    """Read and check a finished table.

    Raises:
        DistillError: no table, unfinished, without rows, a column missing, or an answer that is NaN or lacking.
    """
    info = finished_info(folder)
    table = LabelTable(folder, _parts(folder), info)
    _check(table)
    return table


def check_info(folder: Path, info: Any, required: Sequence[str]) -> None:
    """Whether `labels.json` says what is required.

    >>> check_info(Path("labels"), {"complete": True, "root": "/a"}, REQUIRED)
    Traceback (most recent call last):
    ...
    distill.errors.DistillError: labels/labels.json: lacks axes; label again into another folder

    Raises:
        DistillError: it lacks something.
    """
    missing = [key for key in required if not isinstance(info, dict) or info.get(key) is None]
    if missing:
        raise DistillError(f"{folder / JSON}: lacks {', '.join(missing)}; label again into another folder")


def count(folder: Path) -> tuple[int, float]:
    """Rows of a table, finished or not, and the seconds of audio in them."""
    rows, seconds = 0, 0.0
    for batch in scan(folder, columns=("start", "end")):
        rows += batch.num_rows
        seconds += audio_seconds(batch)
    return rows, seconds


def audio_seconds(batch: Any) -> float:
    """Seconds of audio in the rows of an Arrow batch.

    >>> import pyarrow
    >>> audio_seconds(pyarrow.record_batch({"start": [0.0, 1.5], "end": [1.5, 2.0]}))
    2.0
    """
    return float(np.sum(batch.column("end").to_numpy() - batch.column("start").to_numpy()))


def floats(column: Any) -> np.ndarray:
    """An Arrow column as float32 [n], NaN for null.

    >>> import pyarrow
    >>> floats(pyarrow.array([0.5, None])).tolist()
    [0.5, nan]
    """
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Write `labels.json`."""
    write_json(folder / JSON, info)


def read_info(folder: Path) -> dict[str, Any] | None:
    """`labels.json`, or None where nothing was labelled yet.

    Raises:
        DistillError: it is no JSON object.
    """
    if not (folder / JSON).is_file():
        return None
    info = read_json(folder / JSON)
    if not isinstance(info, dict):
        raise DistillError(f"{folder / JSON}: is no JSON object; label again into another folder")
    return info


def existing_info(folder: Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """`labels.json` of a table that is there, finished or not.

    Raises:
        DistillError: there is none, or it lacks what is required.
    """
    info = read_info(folder)
    if info is None:
        raise DistillError(
            f"{folder}: no label table there (no {JSON}); make one with `distill label AUDIO -o {folder}`"
        )
    check_info(folder, info, required)
    return info


def finished_info(folder: Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """`labels.json` of a finished table.

    Raises:
        DistillError: there is none, it lacks what is required, or the table is unfinished.
    """
    info = existing_info(folder, required)
    if not info["complete"]:
        raise DistillError(f"{folder}: labelling is unfinished; run the same `distill label` again to complete it")
    return info


def is_table(path: Path) -> bool:
    """Whether `path` is a folder with a label table in it.

    >>> is_table(Path("nowhere"))
    False
    """
    return (path / JSON).is_file()


def _parts(folder: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    parts = part_files(folder)
    if not parts:
        raise DistillError(f"{folder}: the label table has no rows")
    try:
        tables = [pyarrow.parquet.read_table(part) for part in parts]
        together = pyarrow.concat_tables(tables, promote_options="permissive")
    except (pyarrow.ArrowException, OSError) as error:
        raise DistillError(f"{folder}: a part cannot be read ({error})") from None
    return together.sort_by([(name, "ascending") for name in KEY_COLUMNS if name in together.column_names])


def _check(table: LabelTable) -> None:
    missing = [name for name in (*KEY_COLUMNS, "sha256", *AXES) if name not in table.rows.column_names]
    if missing:
        raise DistillError(f"{table.folder}: the label table lacks the column {missing[0]!r}")
    for fault in _faults(table):
        raise DistillError(f"{table.folder}: {fault}; label again, or leave the row out")


def _faults(table: LabelTable) -> Iterator[str]:
    wrong = [axis for axis in AXES if str(table.rows.schema.field(axis).type) not in ("float", "double", "null")]
    if wrong:
        yield f"the column {wrong[0]!r} holds {table.rows.schema.field(wrong[0]).type}, not numbers"
    counted = table.info.get("counts", {}).get("rows", len(table))
    if counted != len(table):
        yield f"{len(table)} of {counted} rows are there, a part was lost or added"
    adv, files = table.adv, table.column("file")
    for index, axis in enumerate(AXES):
        lacking = np.flatnonzero(~np.isfinite(adv[:, index]))
        if axis in table.info["axes"] and len(lacking):
            yield f"{axis} of {files[lacking[0]]} is NaN or missing ({len(lacking)} of {len(table)} rows)"


def _as_arrow(rows: Sequence[Row]) -> Any:
    import pyarrow

    columns: dict[str, Any] = {
        "file": pyarrow.array([row.file for row in rows], pyarrow.string()),
        "start": pyarrow.array([row.start for row in rows], pyarrow.float64()),
        "end": pyarrow.array([row.end for row in rows], pyarrow.float64()),
        "sha256": pyarrow.array([row.sha256 for row in rows], pyarrow.string()),
    }
    for index, (axis, spread) in enumerate(zip(AXES, SPREADS, strict=True)):
        columns[axis] = pyarrow.array([row.adv[index] for row in rows], pyarrow.float32())
        columns[spread] = pyarrow.array([row.spread[index] for row in rows], pyarrow.float32())
    if any(row.embedding is not None for row in rows):
        columns[EMBEDDING] = pyarrow.array([row.embedding for row in rows], pyarrow.list_(pyarrow.float16()))
    columns["size"] = pyarrow.array([row.size for row in rows], pyarrow.int64())
    columns["changed"] = pyarrow.array([row.changed for row in rows], pyarrow.int64())
    for name in dict.fromkeys(name for row in rows for name in row.columns):
        texts = [carried(row.columns.get(name)) for row in rows]
        columns[carried_name(name)] = pyarrow.array(texts, pyarrow.string())
    return pyarrow.table(columns)


def hashed(value: object) -> int:
    """64 bits by which a key is known again where ten million of them are held at once.

    Of ten million different ones two share a hash with a probability of 3 in a million.

    >>> hashed(("a.wav", 0.0, 1.5)) == hashed(("a.wav", 0.0, 1.5)) < 2**64
    True
    """
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "little")


def carried_name(name: str) -> str:
    """A manifest may bring human ratings under the very names that the teacher's answers have here.

    >>> carried_name("speaker"), carried_name("arousal")
    ('speaker', 'given_arousal')
    """
    return f"given_{name}" if name in (*COLUMNS, EMBEDDING) else name


def carried(value: Any) -> str | None:
    """What a manifest says is kept as text, whatever its type: one column never holds two types.

    >>> carried("03"), carried(3), carried(None), carried({"n": 1})
    ('03', '3', None, '{"n": 1}')
    """
    return value if value is None or isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
