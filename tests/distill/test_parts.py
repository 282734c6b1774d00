"""The parts of a table: scanned, merged, thinned, and whole wherever one of these was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from distill import table
from distill.errors import DistillError
from distill.parts import MERGED, columns_by, drop_files, merge_parts, part_files, scan, settle

INFO = {"complete": True, "root": "/recordings", "axes": ["arousal", "dominance", "valence"]}


def row(file: str, start: float = 0.0, **columns: Any) -> table.Row:
    return table.Row(file, start, start + 1.5, "5ha", (0.5, 0.25, 0.0), (None,) * 3, 1000, 17, columns)


def write(folder: Path, *parts: list[table.Row]) -> Path:
    for number, rows in enumerate(parts):
        table.write_part(folder, f"{number}", rows)
    table.write_info(folder, INFO)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("part-*"))


def files(folder: Path, **how: Any) -> list[str]:
    return [file for batch in scan(folder, **how) for file in batch.column("file").to_pylist()]


def test_dropped_files_leave_the_others(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav"), row("b.wav"), row("b.wav", 1.5)], [row("b.wav", 3.0)], [row("c.wav")])
    drop_files(tmp_path, {"b.wav"})
    assert table.read(tmp_path).column("file") == ["a.wav", "c.wav"]
    assert names(tmp_path) == ["part-0.parquet", "part-2.parquet"]


def test_parts_without_a_dropped_file_are_not_written_anew(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav"), row("b.wav")], [row("c.wav")])
    before = (tmp_path / "part-1.parquet").stat().st_mtime_ns
    drop_files(tmp_path, {"b.wav"})
    drop_files(tmp_path, set())
    assert (tmp_path / "part-1.parquet").stat().st_mtime_ns == before and files(tmp_path) == ["a.wav", "c.wav"]


def test_a_merged_part_keeps_what_it_says_of_itself(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav"), row("b.wav")], [row("b.wav", 3.0)], [row("c.wav", speaker="03")])
    merged = merge_parts(tmp_path, part_files(tmp_path))
    before = pyarrow.parquet.read_schema(merged)
    drop_files(tmp_path, {"b.wav", "nobody.wav"})
    assert part_files(tmp_path) == [merged]
    assert pyarrow.parquet.read_schema(merged).equals(before, check_metadata=True)
    read = table.read(tmp_path)
    assert read.column("file") == ["a.wav", "c.wav"] and read.column("speaker") == [None, "03"]


def test_merging_takes_the_merged_away_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav")], [row("b.wav")], [row("c.wav")])
    merged = merge_parts(tmp_path, part_files(tmp_path)[:2])
    assert merged.name.startswith(MERGED) and names(tmp_path) == ["part-2.parquet", merged.name]
    again = merge_parts(tmp_path, part_files(tmp_path))
    assert names(tmp_path) == [again.name] != [merged.name] and sorted(files(tmp_path)) == ["a.wav", "b.wav", "c.wav"]


def test_a_merge_that_was_killed_counts_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [row("a.wav")], [row("b.wav")], [row("c.wav")])
    sources = part_files(tmp_path)[:2]
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Path, "unlink", lambda path, missing_ok=False: die(path))
        merge_parts(tmp_path, sources)
    assert len(names(tmp_path)) == 4 and sorted(files(tmp_path)) == ["a.wav", "b.wav", "c.wav"]
    settle(tmp_path)
    assert len(names(tmp_path)) == 2 and sorted(files(tmp_path)) == ["a.wav", "b.wav", "c.wav"]


def die(path: Path) -> None:
    if not path.name.endswith(".partial.parquet"):
        raise KeyboardInterrupt


def test_settling_a_table_where_nothing_was_interrupted_leaves_it(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav")], [row("b.wav")])
    settle(tmp_path)
    assert names(tmp_path) == ["part-0.parquet", "part-1.parquet"]


def test_parts_are_scanned_by_name_with_the_columns_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, [row("b.wav", speaker="03")], [row("a.wav")])
    assert files(tmp_path) == ["b.wav", "a.wav"]
    found = [batch.schema.names for batch in scan(tmp_path, columns=("file", "speaker", "nothing"))]
    assert found == [["file", "speaker"], ["file"]]
    everything, fewer = next(scan(tmp_path)).schema.names, next(scan(tmp_path, without=("end",))).schema.names
    assert "end" in everything and fewer == [name for name in everything if name != "end"]
    assert next(scan(tmp_path, columns=("file", "end"), without=("end",))).schema.names == ["file"]
    assert list(scan(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("name", ["part-1.parquet", f"{MERGED}1.parquet"])
def test_a_part_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, [row("a.wav")])
    (tmp_path / name).write_bytes(b"PAR1, and then nothing")
    with pytest.raises(DistillError, match=rf"{name}: the part cannot be read \(.+\)$"):
        files(tmp_path)


def test_columns_are_brought_to_the_types_of_the_schema() -> None:
    schema = pyarrow.schema([("n", pyarrow.int64()), ("text", pyarrow.string())])
    number, text = columns_by(schema, pyarrow.table({"n": pyarrow.array([1, 2], pyarrow.int8()), "more": [3, 4]}))
    assert number.type == pyarrow.int64() and number.to_pylist() == [1, 2]
    assert text.type == pyarrow.string() and text.to_pylist() == [None, None]
