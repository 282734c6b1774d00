"""Rows on their way to disk: there within a second, in few parts, whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from distill import table
from distill.parts import merge_parts, part_files, scan, settle
from teacher import writing
from teacher.writing import Writer


def rows(*numbers: int, **columns: str) -> list[table.Row]:
    return [table.Row(f"{n:04d}.wav", 0.0, 1.0, "aa", (0.1, 0.2, 0.3), (None,) * 3, 1, 1, columns) for n in numbers]


def files(folder: Path) -> list[str]:
    return sorted(file for batch in scan(folder, columns=("file",)) for file in batch.column("file").to_pylist())


def names(*numbers: int) -> list[str]:
    return [f"{number:04d}.wav" for number in numbers]


def test_rows_are_on_disk_within_the_patience_though_nothing_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.02)
    with Writer(tmp_path) as writer:
        writer.add(rows(1, 2))
        until = time.monotonic() + 10
        while not files(tmp_path) and time.monotonic() < until:
            time.sleep(0.01)
        assert files(tmp_path) == names(1, 2)


def test_rows_are_on_disk_though_the_work_broke_off(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path) as writer:
        writer.add(rows(1))
        raise KeyboardInterrupt
    assert files(tmp_path) == names(1)


def test_many_rows_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROWS", 3)
    with Writer(tmp_path) as writer:
        writer.add(rows(1, 2))
        assert not files(tmp_path)
        writer.add(rows(3, 4))
        assert files(tmp_path) == names(1, 2, 3, 4)


def test_parts_stay_few_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROWS", 1)
    monkeypatch.setattr(writing, "MERGED_TOGETHER", 3)
    with Writer(tmp_path) as writer:
        for number in range(40):
            writer.add(rows(number, **({"speaker": "s"} if number % 2 else {})))
            assert len(list(tmp_path.glob("part-*"))) <= 8
    assert files(tmp_path) == names(*range(40))
    speakers = [s for batch in scan(tmp_path) for s in batch.column("speaker").to_pylist()]
    assert sorted(speakers, key=str) == [None] * 20 + ["s"] * 20


def test_a_merge_that_was_killed_leaves_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The merged part is there, and so are those that it holds."""
    for number in range(3):
        table.write_part(tmp_path, f"{number}", rows(number))
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda *_, **__: None)
        merge_parts(tmp_path, part_files(tmp_path))
    assert len(list(tmp_path.glob("part-*"))) == 4
    assert files(tmp_path) == names(0, 1, 2) and table.count(tmp_path) == (3, 3.0)
    settle(tmp_path)
    assert len(list(tmp_path.glob("part-*"))) == 1 and files(tmp_path) == names(0, 1, 2)


def test_a_merge_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        table.write_part(tmp_path, f"{number}", rows(number))
    monkeypatch.setattr(
        pyarrow.parquet.ParquetWriter, "write_table", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        merge_parts(tmp_path, part_files(tmp_path))
    assert files(tmp_path) == names(0, 1, 2) and len(list(tmp_path.iterdir())) == 3


def test_a_disk_that_is_full_is_told_to_the_one_who_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.01)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "write_part", full)
    with pytest.raises(OSError, match="No space"), Writer(tmp_path) as writer:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            writer.add(rows(1))
            time.sleep(0.01)
