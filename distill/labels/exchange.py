"""A label table as audformat knows tables: a CSV with a segmented index, or a database with a header. Streaming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distill import table
from distill.annotation import AXES
from distill.errors import DistillError, Refused
from distill.files import write_csv, write_text
from distill.licences import kind, strictest
from distill.parts import scan

#: The table's name in a database.
TABLE = "labels"


def to_audformat(
    labels: str | Path, *, output: str | Path | None = None, database: str | Path | None = None
) -> dict[str, Any]:
    """Write a finished table as a CSV (`output`) that `audformat.utils.read_csv` reads, as an audformat database
    (`database`, a new folder; needs the package audformat), or both. Files are named below the table's root.

    Returns {rows, columns, root, output, database}.

    Raises:
        DistillError: no table, unfinished or damaged, or no place to write to.
        Refused: `database` holds something.
    """
    import pyarrow

    folder = Path(labels)
    if output is None and database is None:
        raise DistillError("nowhere to write to; name a CSV (-o) or a folder (--database)")
    info = table.finished_info(folder)
    try:
        columns = _columns(folder)
        if output is not None:
            write_csv(Path(output), (*table.KEY_COLUMNS, *columns), _rows(folder, columns))
        if database is not None:
            _write_database(Path(database), folder, info, columns)
    except pyarrow.ArrowException as error:
        raise DistillError(f"{folder}: a part cannot be read ({error})") from None
    return {"rows": table.count(folder)[0], "columns": columns, "root": info["root"], "output": output,
            "database": database}  # fmt: skip


def timedelta(seconds: float) -> str:
    """Seconds as pandas writes a Timedelta, to the nanosecond.

    >>> timedelta(1.25), timedelta(90061.000001)
    ('0 days 00:00:01.250000000', '1 days 01:01:01.000001000')
    """
    whole_, nanoseconds = divmod(round(seconds * 1e9), 1_000_000_000)
    minutes, second = divmod(whole_, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours // 24} days {hours % 24:02d}:{minute:02d}:{second:02d}.{nanoseconds:09d}"


def _columns(folder: Path) -> list[str]:
    """The axes, and those spreads that some row has."""
    there = set()
    for batch in scan(folder, columns=table.SPREADS):
        there |= {name for name in batch.schema.names if batch.column(name).null_count < batch.num_rows}
    return [*AXES, *(name for name in table.SPREADS if name in there)]


def _rows(folder: Path, columns: Sequence[str]) -> Iterator[Sequence[str]]:
    for batch in scan(folder, columns=(*table.KEY_COLUMNS, *columns)):
        times = [map(timedelta, batch.column(name).to_pylist()) for name in ("start", "end")]
        yield from zip(
            batch.column("file").to_pylist(), *times, *(_texts(batch, name) for name in columns), strict=True
        )


def _texts(batch: Any, name: str) -> list[str]:
    """The shortest text that is the same float32 when read; empty where there is no answer."""
    if name not in batch.schema.names:
        return [""] * int(batch.num_rows)
    return ["" if text == "nan" else text for text in table.floats(batch.column(name)).astype(str).tolist()]


def _write_database(output: Path, folder: Path, info: dict[str, Any], columns: Sequence[str]) -> None:
    import audformat

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Refused(f"{output}: is not empty; name a new folder for the database")
    card = info.get("teacher", {})
    licences = {name: info.get(name) for name in ("licence", "data_licence", "audio_licence")}
    whose = {"licence": "weights", "data_licence": "trained on", "audio_licence": "recordings"}
    db = audformat.Database(
        name=folder.resolve().name, source=str(info["root"]),
        usage=_usage(strictest(map(str, licences.values())), audformat),
        license="; ".join(f"{whose[name]}: {value}" for name, value in licences.items()),
        description=f"Labelled by {card.get('name')} with distill.",
        meta={**licences, "teacher": card.get("name"), "revision": card.get("revision")},
    )  # fmt: skip
    db.raters["teacher"] = audformat.Rater(audformat.define.RaterType.MACHINE, description=str(card.get("name")))
    db[TABLE] = audformat.Table(audformat.segmented_index([], [], []))
    for name in columns:
        db.schemes[name] = audformat.Scheme(audformat.define.DataType.FLOAT)
        db[TABLE][name] = audformat.Column(scheme_id=name, rater_id="teacher")
    write_csv(output / f"db.{TABLE}.csv", (*table.KEY_COLUMNS, *columns), _rows(folder, columns))
    write_text(output / "db.yaml", _header(db))  # what makes the folder a database comes last


def _header(db: Any) -> str:
    """The header as audformat writes it, without the table."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        db.save(folder, header_only=True)
        return (Path(folder) / "db.yaml").read_text(encoding="utf-8")


def _usage(licence: str, audformat: Any) -> str:
    usages = audformat.define.Usage
    known = {"permissive": usages.UNRESTRICTED, "non-commercial": usages.RESEARCH, "share-alike": usages.OTHER}
    return str(known.get(kind(licence), usages.RESTRICTED))
