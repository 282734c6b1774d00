"""The label table: what was written is read, and what cannot be trusted is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from distill import table
from distill.errors import DistillError
from distill.parts import drop_files, merge_parts, part_files
from distill.table import Row

INFO = {"complete": True, "root": "/recordings", "axes": ["arousal", "dominance", "valence"], "derived": ["dominance"]}

ROW = Row("a/one.wav", 0.0, 1.5, "5ha", (0.5, 0.25, -0.125), (0.1, None, 0.2), 1000, 1_700_000_000_123_456_789, {})


def row(file: str, start: float = 0.0, **changed: Any) -> Row:
    return replace(ROW, file=file, start=start, end=start + 1.5, **changed)


def write(folder: Path, *parts: list[Row], **info: Any) -> Path:
    for number, rows in enumerate(parts):
        table.write_part(folder, f"{number}", rows)
    table.write_info(folder, {**INFO, **info})
    return folder


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    write(tmp_path, [row("b.wav", 1.5), row("b.wav")], [row("ä\n.wav", columns={"speaker": "03"})])
    read = table.read(tmp_path)
    assert len(read) == 3 and read.root == Path("/recordings") and read.info["derived"] == ["dominance"]
    assert list(zip(read.column("file"), read.column("start"), strict=True)) == [
        ("b.wav", 0.0), ("b.wav", 1.5), ("ä\n.wav", 0.0),
    ]  # fmt: skip
    assert read.column("speaker") == [None, None, "03"] and read.column("nothing") == [None] * 3
    assert read.column("changed")[0] == ROW.changed and read.column("size")[0] == 1000
    assert read.column("sha256")[0] == "5ha" and read.column("spread_dominance") == [None] * 3
    assert read.adv.dtype == np.float32
    np.testing.assert_array_equal(read.adv, [[0.5, 0.25, -0.125]] * 3)


def test_answers_are_never_clipped(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav", adv=(-0.4, 1.7, 0.0))])
    np.testing.assert_allclose(table.read(tmp_path).adv, [[-0.4, 1.7, 0.0]])


def test_an_axis_that_the_teacher_lacks_is_null(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav", adv=(0.5, None, 0.25))], axes=["arousal", "valence"])
    read = table.read(tmp_path)
    assert read.column("dominance") == [None]
    np.testing.assert_array_equal(read.adv, [[0.5, np.nan, 0.25]])


def test_ratings_that_the_manifest_brought_stand_beside_the_answers(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav", columns={"arousal": "0.9", "size": "big"})])
    read = table.read(tmp_path)
    assert read.column("given_arousal") == ["0.9"] and read.column("given_size") == ["big"]
    assert read.column("arousal") == [0.5] and read.column("size") == [1000]


@pytest.mark.parametrize("answer", [float("nan"), None])
def test_a_lacking_answer_is_refused_by_file(tmp_path: Path, answer: float | None) -> None:
    write(tmp_path, [row("good.wav"), row("x.wav", adv=(0.5, 0.5, answer))])
    with pytest.raises(DistillError, match=r"valence of x\.wav is NaN or missing \(1 of 2 rows\)"):
        table.read(tmp_path)


@pytest.mark.parametrize("name", ["file", "end", "sha256", "valence"])
def test_a_missing_column_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, [row("a.wav")])
    part = tmp_path / "part-0.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(part).drop_columns([name]), part)
    with pytest.raises(DistillError, match=f"lacks the column '{name}'"):
        table.read(tmp_path)


def test_an_unfinished_table_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav")], complete=False)
    with pytest.raises(DistillError, match="unfinished; run the same `distill label` again"):
        table.read(tmp_path)


def test_no_table_and_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no label table there"):
        table.read(tmp_path)
    write(tmp_path)
    with pytest.raises(DistillError, match="has no rows"):
        table.read(tmp_path)


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav")])
    (tmp_path / "part-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DistillError, match="a part cannot be read"):
        table.read(tmp_path)


def test_dropped_files_leave_the_others(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav"), row("b.wav"), row("b.wav", 1.5)], [row("b.wav", 3.0)], [row("c.wav")])
    drop_files(tmp_path, {"b.wav"})
    assert table.read(tmp_path).column("file") == ["a.wav", "c.wav"]
    assert sorted(path.name for path in tmp_path.glob("part-*")) == ["part-0.parquet", "part-2.parquet"]


def test_a_merged_part_keeps_what_it_says_of_itself(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav"), row("b.wav")], [row("b.wav", 3.0)], [row("c.wav", columns={"speaker": "03"})])
    sources = part_files(tmp_path)
    merged = merge_parts(tmp_path, sources)
    before = pyarrow.parquet.read_schema(merged)
    drop_files(tmp_path, {"b.wav", "nobody.wav"})
    assert part_files(tmp_path) == [merged]
    assert pyarrow.parquet.read_schema(merged).equals(before, check_metadata=True)
    read = table.read(tmp_path)
    assert read.column("file") == ["a.wav", "c.wav"] and read.column("speaker") == [None, "03"]


def test_a_lost_part_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav"), row("b.wav")])
    info = table.read_info(tmp_path)
    assert info is not None
    table.write_info(tmp_path, {**info, "counts": {"rows": 3}})
    with pytest.raises(DistillError, match="2 of 3 rows are there"):
        table.read(tmp_path)


def test_what_a_manifest_says_is_kept_as_text_whatever_its_type(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav", columns={"speaker": 0}), row("b.wav", columns={"speaker": "x"})])
    assert table.read(tmp_path).column("speaker") == ["0", "x"]
