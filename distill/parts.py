"""The parts of a label table, `part-*.parquet`: listed, scanned, merged into fewer, thinned; each replaced whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from distill.errors import DistillError, first_line
from distill.files import whole

#: How the name of a part begins that others were merged into, and what tells which.
MERGED, _REPLACES = "part-merged-", b"replaces"


def part_files(folder: Path) -> list[Path]:
    """The parts of a table, in the order of their names; those that another has taken in are none any more."""
    parts = sorted(folder.glob("part-*.parquet"))
    replaced = {name for part in parts if part.name.startswith(MERGED) for name in _replaces(part)}
    return [part for part in parts if part.name not in replaced]


def _replaces(part: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(part).metadata or {}
    except (pyarrow.ArrowException, OSError):
        return []  # whoever reads it will say so
    return list(json.loads(metadata.get(_REPLACES, b"[]")))


def scan(folder: Path, *, columns: Sequence[str] | None = None, without: Collection[str] = ()) -> Iterator[Any]:
    """The rows of a table, finished or not, as Arrow record batches, part by part in the order of their names: a table
    may hold more rows than fit in memory.

    columns: those that are wanted and there (default: all); without: those that are not.

    Raises:
        DistillError: a part cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    for part in part_files(folder):
        try:
            with pyarrow.parquet.ParquetFile(part) as opened:
                names = [name for name in opened.schema_arrow.names if columns is None or name in columns]
                wanted = [name for name in names if name not in without]
                yield from opened.iter_batches(batch_size=16_384, columns=wanted)
        except pyarrow.ArrowException as error:
            raise DistillError(f"{part}: the part cannot be read ({first_line(error)})") from None


def merge_parts(folder: Path, parts: Sequence[Path]) -> Path:
    """Put parts together into one, row group by row group, and take them away. Killed in between, the new one counts.

    Returns the new part.
    """
    import pyarrow
    import pyarrow.parquet

    schemas = [pyarrow.parquet.read_schema(part).remove_metadata() for part in parts]
    schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    names = json.dumps([part.name for part in parts])
    merged = folder / f"{MERGED}{hashlib.sha256(names.encode()).hexdigest()[:16]}.parquet"
    with (
        whole(merged) as beside,
        pyarrow.parquet.ParquetWriter(beside, schema.with_metadata({_REPLACES: names})) as writer,
    ):
        for part in parts:
            with pyarrow.parquet.ParquetFile(part) as opened:
                for number in range(opened.num_row_groups):
                    writer.write_table(pyarrow.table(columns_by(schema, opened.read_row_group(number)), schema=schema))
    for part in parts:
        part.unlink()
    return merged


def settle(folder: Path) -> None:
    """Take away the parts that an interrupted merge left beside the one that holds their rows."""
    kept = set(part_files(folder))
    for part in folder.glob("part-*.parquet"):
        if part not in kept:
            part.unlink()


def columns_by(schema: Any, rows: Any) -> list[Any]:
    """The columns of an Arrow table or batch as `schema` has them, null where there is none of a name.

    >>> import pyarrow
    >>> schema = pyarrow.schema([("file", pyarrow.string()), ("end", pyarrow.float64())])
    >>> [column.to_pylist() for column in columns_by(schema, pyarrow.table({"file": ["a.wav"]}))]
    [['a.wav'], [None]]
    """
    import pyarrow

    return [
        rows.column(field.name).cast(field.type)
        if field.name in rows.schema.names
        else pyarrow.nulls(rows.num_rows, field.type)
        for field in schema
    ]


def drop_files(folder: Path, files: set[str]) -> None:
    """Take every row of `files` out of the table; each part that has some is replaced whole, a row group at a time."""
    import pyarrow
    import pyarrow.parquet

    dropped = pyarrow.array(sorted(files), pyarrow.string())
    for part in part_files(folder) if files else []:
        with pyarrow.parquet.ParquetFile(part) as opened:
            names = opened.iter_batches(columns=["file"])
            kept, rows = sum(_without(batch, dropped).num_rows for batch in names), opened.metadata.num_rows
            if 0 < kept < rows:
                _write_without(opened, dropped, part)
        if kept == 0:
            part.unlink()


def _write_without(opened: Any, dropped: Any, part: Path) -> None:
    """Replace a part, which is open, by its rows of other files than those that are dropped."""
    import pyarrow.parquet

    with whole(part) as beside, pyarrow.parquet.ParquetWriter(beside, opened.schema_arrow) as writer:
        for number in range(opened.num_row_groups):
            writer.write_table(_without(opened.read_row_group(number), dropped))


def _without(rows: Any, dropped: Any) -> Any:
    """Rows, an Arrow table or batch, of other files than those that are dropped."""
    import pyarrow.compute

    return rows.filter(pyarrow.compute.invert(pyarrow.compute.is_in(rows["file"], dropped)))
