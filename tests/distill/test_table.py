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


def test_embeddings_come_back_row_by_row(tmp_path: Path) -> None:
    vectors = np.arange(8, dtype=np.float16).reshape(2, 4)
    write(tmp_path, [row("b.wav", embedding=vectors[1])], [row("a.wav", embedding=vectors[0])])
    found = table.read(tmp_path).embeddings()
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, vectors)


@pytest.mark.parametrize(
    ("embeddings", "fault"),
    [
        ([None, None], "holds no embeddings; label again with --embeddings"),
        ([[1.0, 2.0], None], r"differ in size \(none, 2\)"),
        ([[1.0, 2.0], [1.0]], r"differ in size \(1, 2\)"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(tmp_path: Path, embeddings: list[Any], fault: str) -> None:
    write(tmp_path, [row("a.wav", start=3.0 * n, embedding=vector) for n, vector in enumerate(embeddings)])
    with pytest.raises(DistillError, match=fault):
        table.read(tmp_path).embeddings()


def test_the_digest_is_of_audio_and_answers(tmp_path: Path) -> None:
    rows = [row("a.wav"), row("b.wav", sha256="6ha", adv=(0.25, 0.5, 0.75))]
    digest = table.read(write(tmp_path / "a", rows)).digest()
    assert len(digest) == 64
    moved = [replace(one, file=f"elsewhere/{one.file}", size=1, changed=2) for one in rows]
    assert table.read(write(tmp_path / "b", moved)).digest() == digest
    for number, change in enumerate(({"sha256": "7ha"}, {"adv": (0.25, 0.5, 0.8)})):
        other = write(tmp_path / f"c{number}", [rows[0], replace(rows[1], **change)])
        assert table.read(other).digest() != digest


def test_rows_and_seconds_are_counted_of_an_unfinished_table_too(tmp_path: Path) -> None:
    assert table.count(tmp_path) == (0, 0.0)
    write(tmp_path, [row("a.wav", 1.0), row("a.wav", 4.0)], [row("b.wav", 2.0)], complete=False)
    assert table.count(tmp_path) == (3, 4.5)


def test_a_folder_without_labels_json_is_no_table(tmp_path: Path) -> None:
    assert not table.is_table(tmp_path) and table.read_info(tmp_path) is None
    write(tmp_path, [row("a.wav")])
    assert table.is_table(tmp_path) and table.existing_info(tmp_path) == INFO


@pytest.mark.parametrize(("content", "fault"), [("[]", "is no JSON object"), ("{", "not valid JSON")])
def test_labels_json_that_is_no_object_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / table.JSON).write_text(content)
    with pytest.raises(DistillError, match=f"labels.json: {fault}"):
        table.read(tmp_path)


@pytest.mark.parametrize("key", ["root", "axes"])
@pytest.mark.parametrize("lost", [True, False])
def test_labels_json_that_lacks_something_is_refused_by_key(tmp_path: Path, key: str, lost: bool) -> None:
    info: dict[str, Any] = {**INFO, key: None}
    table.write_info(tmp_path, {name: value for name, value in info.items() if not lost or name != key})
    with pytest.raises(DistillError, match=f"labels.json: lacks {key}; label again"):
        table.read(tmp_path)


def test_what_a_student_needs_is_asked_for_apart(tmp_path: Path) -> None:
    write(tmp_path, [row("a.wav")])
    with pytest.raises(DistillError, match="lacks teacher, audio_licence; label again"):
        table.finished_info(tmp_path, (*table.REQUIRED, *table.REQUIRED_TO_TEACH))


@pytest.mark.parametrize(("kind", "told"), [(pyarrow.string(), "string"), (pyarrow.int64(), "int64")])
def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, kind: pyarrow.DataType, told: str) -> None:
    write(tmp_path, [row("a.wav", adv=(0.5, 1.0, 0.0))])
    part = tmp_path / "part-0.parquet"
    rows = pyarrow.parquet.read_table(part)
    at = rows.column_names.index("dominance")
    pyarrow.parquet.write_table(rows.set_column(at, "dominance", rows["dominance"].cast(kind)), part)
    with pytest.raises(DistillError, match=f"the column 'dominance' holds {told}, not numbers"):
        table.read(tmp_path)


def test_rows_of_one_file_stand_in_the_order_of_their_times(tmp_path: Path) -> None:
    late = replace(row("a.wav", 1.0), end=9.0)
    write(tmp_path, [late, row("a.wav", 10.0)], [row("a.wav", 1.0), row("a.wav", 0.0)])
    read = table.read(tmp_path)
    assert list(zip(read.column("start"), read.column("end"), strict=True)) == [(0, 1.5), (1, 2.5), (1, 9), (10, 11.5)]


def test_a_key_is_known_again_by_64_bits() -> None:
    hashes = [table.hashed((f"{number}.wav", 0.0, 1.5)) for number in range(500)]
    assert len(set(hashes)) == 500 and 2**63 < max(hashes) < 2**64
