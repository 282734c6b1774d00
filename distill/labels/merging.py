"""Several label tables of one teacher as one: every segment once, whole or not at all."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES
from distill.errors import DistillError, Refused
from distill.files import sole_writer, whole, write_text
from distill.licences import UNKNOWN, strictest
from distill.parts import columns_by, part_files, scan
from distill.progress import Progress
from distill.sources.manifest import Failure, FailureLog

#: Answers to the same audio that are no further apart than this are the same answer.
TOLERANCE = 1e-6

#: Rows of a part, about.
PART_ROWS = 200_000

#: Stands in the output while it is incomplete: a folder that has it is what a killed merge left.
_MARK = ".merging"


@dataclass(frozen=True)
class Parent:
    """A table that is merged. prefix: from the new root to its own, "" where they are one."""

    folder: Path
    info: Mapping[str, Any]
    prefix: str = ""

    def file(self, name: str) -> str:
        """A file's path below the new root."""
        return (PurePosixPath(self.prefix) / name).as_posix() if self.prefix else name


def merge(labels: Sequence[str | Path], *, output: str | Path) -> dict[str, Any]:
    """Merge label tables made alike into a new one, `output`; the tables themselves stay as they are.

    A segment that several have, of the same audio and with the same answer, is kept once, with the first one's columns.
    Where the tables' roots differ, files are named below the folder that they have in common. The licences are the
    strictest. Memory grows by about 40 bytes a segment, and 100 for one that comes again, not with what the rows hold.

    Returns {rows, duplicates, failed, audio_seconds, root, output}.

    Raises:
        Refused: the tables differ in teacher, window or what rows carry, or answer a segment differently; `output`
            holds something, or another process writes there.
        DistillError: a table is missing, unfinished or damaged, or the roots have no folder in common.
    """
    import pyarrow

    output, folders = Path(output), [Path(folder) for folder in labels]
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise DistillError("a merge is of two label tables or more, each once")
    infos = [table.finished_info(folder, (*table.REQUIRED, *table.REQUIRED_TO_TEACH)) for folder in folders]
    _refuse_different(folders, infos)
    root, parents = _below_one_root(folders, infos)
    with sole_writer(output):
        _make_empty(output)
        write_text(output / _MARK, "")
        try:
            keys = [_keys(parent) for parent in parents]
            with Progress("merging", sum(map(len, keys)), "rows") as progress:
                rows, seconds = _write(output, parents, keys, progress)
        except pyarrow.ArrowException as error:
            raise DistillError(f"a part cannot be read ({error})") from None
        given = sum(map(len, keys))
        failed = _failures(output / table.FAILED, parents, np.unique(np.concatenate(keys)))
        table.write_info(output, _merged_info(parents, root, rows, failed, seconds))  # from here on it is a table
        (output / _MARK).unlink()
    return {"rows": rows, "duplicates": given - rows, "failed": failed, "audio_seconds": round(seconds, 3),
            "root": root, "output": output}  # fmt: skip


def _made(info: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be alike for the rows of two tables to stand in one."""
    card, arguments = (
        info["teacher"],
        {"embeddings": False, "views": 1, "precision": "float32", **info.get("arguments", {})},
    )
    return {
        "teacher": card["name"], "revision": card["revision"], "axes": info["axes"], "derived": info["derived"],
        "normalisation": info.get("normalisation"),
        **{name: arguments.get(name) for name in ("window", "hop", "embeddings", "views", "precision")},
    }  # fmt: skip


def _refuse_different(folders: Sequence[Path], infos: Sequence[Mapping[str, Any]]) -> None:
    first = _made(infos[0])
    for folder, info in zip(folders, infos, strict=True):
        for name, value in _made(info).items():
            if value != first[name]:
                raise Refused(
                    f"{folder}: its {name} is {value!r}, that of {folders[0]} is {first[name]!r}; only tables "
                    "that were made alike can be merged"
                )


def _below_one_root(folders: Sequence[Path], infos: Sequence[dict[str, Any]]) -> tuple[str, list[Parent]]:
    """The root of the merged table, and its parents with their place below it.

    Raises:
        DistillError: nothing but the top of the file system is above all roots.
    """
    roots = [str(info["root"]) for info in infos]
    root = Path(os.path.commonpath(roots)) if all(Path(one).is_absolute() for one in roots) else None
    if len(set(roots)) == 1:
        return roots[0], [Parent(folder, info) for folder, info in zip(folders, infos, strict=True)]
    if root is None or root == Path(root.anchor):
        raise DistillError(
            f"the recordings of {folders[0]} and {folders[-1]} have no folder in common ({roots[0]}, {roots[-1]}); "
            "move them below one, and set `root` in each labels.json to where they are then"
        )
    places = [Path(one).relative_to(root).as_posix() for one in roots]
    prefixes = ["" if place == "." else place for place in places]
    return root.as_posix(), [Parent(*one) for one in zip(folders, infos, prefixes, strict=True)]


def _make_empty(output: Path) -> None:
    """Take away what a killed merge left.

    Raises:
        Refused: the folder holds something else.
    """
    held = {path.name for path in output.iterdir()} - {".lock"}
    if not held:
        return
    if _MARK not in held or table.is_table(output):
        raise Refused(f"{output}: is not empty; name a new folder for the merged table")
    for path in [*output.glob("part-*.parquet"), *output.glob(".part-*"), output / table.FAILED]:
        path.unlink(missing_ok=True)


def _keys(parent: Parent) -> np.ndarray:
    """A hash of file, start and end of every row: uint64 [rows], in the order of `scan`."""
    found = [np.zeros(0, np.uint64)]
    for batch in scan(parent.folder, columns=table.KEY_COLUMNS):
        columns = (batch.column(name).to_pylist() for name in table.KEY_COLUMNS)
        hashes = [table.hashed((parent.file(file), start, end)) for file, start, end in zip(*columns, strict=True)]
        found.append(np.array(hashes, np.uint64))
    return np.concatenate(found)


class _Twice:
    """The segments that come more than once, and what the first row of each says."""

    def __init__(self, keys: Sequence[np.ndarray]) -> None:
        every = np.concatenate(keys)
        every.sort()
        self._keys = np.unique(every[1:][every[1:] == every[:-1]])
        self._seen = np.zeros(len(self._keys), bool)
        self._audio = np.zeros(len(self._keys), "S64")
        self._answers = np.zeros((len(self._keys), 2 * len(AXES)), np.float32)

    def kept(self, keys: np.ndarray, batch: Any, parent: Parent) -> np.ndarray:
        """Boolean [rows]: which rows of a batch are the first of their segment.

        Raises:
            Refused: a later one is of other audio, or answers otherwise.
        """
        first = np.ones(len(keys), bool)
        places = np.searchsorted(self._keys, keys)
        rows = np.flatnonzero(np.append(self._keys, np.uint64(0))[places] == keys)
        rows = rows[places[rows] < len(self._keys)]
        if not len(rows):
            return first
        places = places[rows]
        audio = np.array(batch.column("sha256").to_pylist(), "S64")[rows]
        answers = np.stack([table.floats(batch.column(name)) for name in (*AXES, *table.SPREADS)], axis=1)[rows]
        new = np.zeros(len(rows), bool)
        new[np.unique(places, return_index=True)[1]] = True
        new &= ~self._seen[places]
        self._seen[places[new]], self._audio[places[new]], self._answers[places[new]] = True, audio[new], answers[new]
        first[rows[~new]] = False
        other = self._audio[places] != audio
        apart = ~np.isclose(self._answers[places], answers, rtol=0.0, atol=TOLERANCE, equal_nan=True).all(1)
        for wrong, what in ((other, "is other audio"), (apart, "is answered otherwise")):
            if wrong.any():
                file = parent.file(batch.column("file")[int(rows[wrong][0])].as_py())
                raise Refused(f"{parent.folder}: {file} {what} than in a table before; label it again, or leave it out")
        return first


def _write(
    output: Path, parents: Sequence[Parent], keys: Sequence[np.ndarray], progress: Progress
) -> tuple[int, float]:
    """Write the parts; returns rows and seconds of audio."""
    import pyarrow
    import pyarrow.parquet

    schema, number, rows, seconds = _schema(parents), 0, 0, 0.0
    batches = _merged(parents, keys, schema, progress)
    some = next(batches, None)
    while some is not None:
        part, written = output / f"part-{number:06d}.parquet", 0
        with whole(part) as beside, pyarrow.parquet.ParquetWriter(beside, schema) as to:
            while some is not None and written < PART_ROWS:
                to.write_batch(some)
                written += some.num_rows
                seconds += table.audio_seconds(some)
                some = next(batches, None)
        rows, number = rows + written, number + 1
    return rows, seconds


def _schema(parents: Sequence[Parent]) -> Any:
    """The columns of all of them; where a table has none, its rows are null."""
    import pyarrow
    import pyarrow.parquet

    found = None
    for parent in parents:
        for part in part_files(parent.folder):
            one = pyarrow.parquet.read_schema(part).remove_metadata()
            found = one if found is None else pyarrow.unify_schemas([found, one], promote_options="permissive")
    if found is None:
        raise DistillError(f"{parents[0].folder}: the label table has no rows")
    return found


def _merged(parents: Sequence[Parent], keys: Sequence[np.ndarray], schema: Any, progress: Progress) -> Iterator[Any]:
    """Record batches of the merged table."""
    import pyarrow

    twice = _Twice(keys)
    for parent, known in zip(parents, keys, strict=True):
        at = 0
        for batch in scan(parent.folder):
            first = twice.kept(known[at : at + batch.num_rows], batch, parent)
            at += batch.num_rows
            progress.advance(batch.num_rows)
            if first.any():
                yield _fitted(batch.filter(pyarrow.array(first)), schema, parent)
        if at != len(known):
            raise DistillError(f"{parent.folder}: was changed while it was merged; merge again")


def _fitted(batch: Any, schema: Any, parent: Parent) -> Any:
    """A batch with the columns of `schema`, its files below the new root."""
    import pyarrow

    columns = columns_by(schema, batch)
    if parent.prefix:
        files = [parent.file(file) for file in batch.column("file").to_pylist()]
        columns[schema.get_field_index("file")] = pyarrow.array(files, pyarrow.string())
    return pyarrow.record_batch(columns, schema=schema)


def _failures(path: Path, parents: Sequence[Parent], labelled: np.ndarray) -> int:
    """Write what failed in one table and was labelled in no other; returns how many.

    labelled: the sorted keys of all rows.
    """
    log, seen = FailureLog(path), set[int]()
    for parent in parents:
        failures = iter(_failed(parent))
        while chunk := list(islice(failures, 1000)):
            for failure in chunk:
                key = table.hashed((failure.file, failure.start, failure.end))
                place = int(np.searchsorted(labelled, np.uint64(key)))
                known = place < len(labelled) and int(labelled[place]) == key
                if not known and key not in seen:
                    seen.add(key)
                    log.add([failure])
    return log.count


def _failed(parent: Parent) -> Iterator[Failure]:
    path = parent.folder / table.FAILED
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
            for row in csv.DictReader(handle):
                times = [float(row[name]) if row[name] else None for name in ("start", "end")]
                yield Failure(parent.file(row["file"]), row["reason"], *times)


def _merged_info(parents: Sequence[Parent], root: str, rows: int, failed: int, seconds: float) -> dict[str, Any]:
    infos = [parent.info for parent in parents]
    first = infos[0]
    card = {**first["teacher"], **{name: strictest(info["teacher"].get(name, UNKNOWN) for info in infos)
                                   for name in ("licence", "data_licence")}}  # fmt: skip
    licences = {name: strictest(info.get(name, UNKNOWN) for info in infos)
                for name in ("licence", "data_licence", "audio_licence")}  # fmt: skip
    merged = [{"labels": parent.folder.resolve(), "root": info["root"], "below": parent.prefix,
               "counts": info.get("counts"), "arguments": info.get("arguments")}
              for parent, info in zip(parents, infos, strict=True)]  # fmt: skip
    counts = {"segments": rows + failed, "rows": rows, "failed": failed}
    arguments = {**_common([info.get("arguments", {}) for info in infos]), "data-licence": licences["audio_licence"]}
    return {**first, **licences, "teacher": card, "root": root, "arguments": arguments, "counts": counts,
            "audio_seconds": seconds, "merged": merged, "complete": True}  # fmt: skip


def _common(arguments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each argument its value, or those of all tables where they differ; the teacher goes by its first name."""
    return {
        name: value if name == "teacher" or all(one.get(name) == value for one in arguments)
        else [one.get(name) for one in arguments]
        for name, value in arguments[0].items()
    }  # fmt: skip
