"""Label tables that are there: what they hold, several as one, and as audformat reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import audformat
import numpy as np
import pandas as pd
import pytest

from distill import cli, table
from distill.errors import DistillError, Refused
from distill.files import write_text
from distill.labels import merging, summary
from distill.labels.exchange import to_audformat
from distill.labels.merging import merge
from distill.labels.summary import Distribution, show
from distill.parts import scan
from distill.sources.manifest import Failure, write_failures
from distill.table import Row

AXES = ["arousal", "dominance", "valence"]

TEACHER = {"name": "shape", "revision": "1", "licence": "MIT", "data_licence": "CC BY 4.0", "range": [0.0, 1.0]}

INFO = {
    "complete": True, "root": "/recordings", "axes": AXES, "derived": [], "teacher": TEACHER, "licence": "MIT",
    "data_licence": "CC BY 4.0", "audio_licence": "CC0-1.0", "normalisation": "none",
    "arguments": {"source": "/recordings", "teacher": "shape", "window": 10.0, "hop": 10.0, "data-licence": "CC0-1.0",
                  "embeddings": False, "views": 1},
}  # fmt: skip

ROW = Row("one.wav", 0.0, 1.5, "5ha", (0.5, 0.25, -0.125), (0.1, None, 0.2), 1000, 1, {})


def row(file: str, start: float = 0.0, **changed: Any) -> Row:
    return replace(ROW, file=file, start=start, end=start + 1.5, **changed)


def write(folder: Path, *parts: list[Row], **info: Any) -> Path:
    for number, rows in enumerate(parts):
        table.write_part(folder, f"{number}", rows)
    table.write_info(folder, {**INFO, **info})
    return folder


def with_argument(**changed: Any) -> dict[str, Any]:
    return {**INFO["arguments"], **changed}  # type: ignore[dict-item]


def drawn(n: int) -> list[Row]:
    rng = np.random.default_rng(0)
    adv, spread = rng.normal(0.4, 0.2, (n, 3)).astype(np.float32), rng.random((n, 3), np.float32) / 10
    return [row(f"{i}.wav", adv=tuple(map(float, adv[i])), spread=tuple(map(float, spread[i]))) for i in range(n)]


# What a table holds ----------------------------------------------------------------------------------------------


def test_the_distribution_of_batches_is_that_of_all_values() -> None:
    values = np.random.default_rng(0).normal(-0.1, 0.4, 20_000).astype(np.float32)
    seen = Distribution()
    for batch in np.array_split(values, 7):
        seen.add(np.append(batch, np.float32(np.nan)))
    assert seen.n == 20_000 and (seen.low, seen.high) == (values.min(), values.max())
    np.testing.assert_allclose([seen.mean, seen.std], [values.mean(dtype=np.float64), values.std(dtype=np.float64)])
    for percent in (1, 5, 50, 95, 99):
        assert seen.percentile(percent) == pytest.approx(float(np.percentile(values, percent)), rel=2e-3, abs=1e-4)
    bars = seen.histogram()
    assert sum(bars["counts"]) + bars["beyond"] == 20_000 and bars["beyond"] <= 60


def test_a_stray_answer_does_not_spoil_the_percentiles_nor_the_picture() -> None:
    seen = Distribution()
    seen.add(np.append(np.full(9999, 0.5, np.float32), np.float32(1e30)))
    assert seen.percentile(50) == pytest.approx(0.5, rel=1e-3) and seen.high == pytest.approx(1e30)
    assert seen.histogram()["beyond"] == 1 and len(np.flatnonzero(seen.histogram()["counts"])) == 1


def test_show_says_what_a_table_holds(tmp_path: Path) -> None:
    rows = drawn(300)
    write(tmp_path / "labels", rows[:100], rows[100:], counts={"segments": 302, "rows": 300, "failed": 2})
    write_failures(tmp_path / "labels" / table.FAILED,
                   [Failure("x.wav", "too short: 0.10 s"), Failure("y.wav", "too short: 0.2 s")])  # fmt: skip
    found = show(tmp_path / "labels")
    adv = np.array([one.adv for one in rows])
    assert (found["complete"], found["rows"], found["segments"]) == (True, 300, 302)
    assert found["audio_hours"] == pytest.approx(300 * 1.5 / 3600) and found["failures"] == {"too short: # s": 2}
    for column, axis in enumerate(AXES):
        told = found["answers"][axis]
        assert told["mean"] == pytest.approx(adv[:, column].mean()) and told["std"] == pytest.approx(
            adv[:, column].std()
        )
    assert set(found["spread"]) == set(AXES) and found["audio_licence"] == "CC0-1.0"


def test_show_of_an_unfinished_table_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "labels", [row("a.wav", adv=(0.5, None, 0.2), spread=(None,) * 3)], complete=False)
    cli.main(["labels", "show", str(tmp_path / "labels")])
    assert "UNFINISHED" in capsys.readouterr().out
    cli.main(["labels", "show", str(tmp_path / "labels"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] is False and set(found["answers"]) == {"arousal", "valence"} and found["spread"] == {}


def test_show_draws_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    show(write(tmp_path / "<labels>", drawn(50)), plot=tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert page.count("<svg") == 6 and "<labels>" not in page and "&lt;labels&gt;" in page
    assert not any(text in page for text in ("<script", "http:", "https:", "src="))


def test_show_reads_again_what_is_merged_under_its_hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, calls = write(tmp_path / "labels", drawn(9)), []

    def vanishing(*given: Any, **options: Any) -> Iterator[Any]:
        calls.append(1)
        if len(calls) == 1:
            raise FileNotFoundError("part-0.parquet")
        yield from scan(*given, **options)

    monkeypatch.setattr(summary, "scan", vanishing)
    assert show(folder)["rows"] == 9 and len(calls) == 2


@pytest.mark.parametrize(
    ("values", "std", "percentiles"),
    [
        ([0.5] * 9, 0.0, [0.5, 0.5, 0.5]),
        ([-2.0, -1.0, 0.0, 1.0, 2.0], np.sqrt(2), [-2, 0, 2]),
        ([0.25, np.nan, np.inf, -np.inf], 0.0, [0.25] * 3),
        ([0.0, -0.0], 0.0, [0, 0, 0]),
    ],
)
def test_the_distribution_of_few_values(values: list[float], std: float, percentiles: list[float]) -> None:
    seen, finite = Distribution(), np.isfinite(values).sum()
    assert np.isnan(seen.std)
    seen.add(np.array([], np.float32))
    seen.add(np.array(values, np.float32))
    assert seen.n == finite and seen.std == pytest.approx(std)
    assert [seen.percentile(percent) for percent in (1, 50, 99)] == pytest.approx(percentiles, rel=1e-3, abs=1e-30)
    told = seen.described()["histogram"]
    assert sum(told["counts"]) + told["beyond"] == finite and told["low"] < told["high"]


def test_failures_are_counted_by_reason_and_many_reasons_are_put_together(tmp_path: Path) -> None:
    folder = write(tmp_path, [row("a.wav")])
    reasons = [
        "silent",
        "",
        "too short: 0.1 s",
        "too short: 12 s",
        *(f"reason {chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(150)),
    ]
    write_failures(folder / table.FAILED, [Failure(f"{n}.wav", reason) for n, reason in enumerate(reasons * 2)])
    found = show(folder)
    assert found["failed"] == 308 and found["failures"]["too short: # s"] == 4 and found["failures"]["no reason"] == 2
    assert len(found["failures"]) == 101 and next(iter(found["failures"])) == "other reasons"


def test_what_changes_too_fast_or_is_damaged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, [row("a.wav")], [row("b.wav")])

    def vanishing(*_: Any, **__: Any) -> Iterator[Any]:
        raise FileNotFoundError

    with monkeypatch.context() as patched, pytest.raises(DistillError, match="changes faster than it can be read"):
        patched.setattr(summary, "scan", vanishing)
        show(folder)
    (folder / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(DistillError, match="cannot be read"):
        show(folder)
    with pytest.raises(DistillError, match="no label table there"):
        show(tmp_path / "none")


# Several as one --------------------------------------------------------------------------------------------------


def test_merged_tables_hold_every_segment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "PART_ROWS", 2)
    near = (0.5 + 5e-7, 0.25, -0.125)
    a = write(tmp_path / "a", [row("a.wav"), row("b.wav", columns={"speaker": "x"})], [row("b.wav", 1.5)])
    b = write(
        tmp_path / "b", [row("b.wav", adv=near), row("c.wav", columns={"sex": "f"})], audio_licence="CC-BY-NC-4.0"
    )
    before = {path: path.read_bytes() for folder in (a, b) for path in folder.iterdir()}
    found = merge([a, b], output=tmp_path / "c")
    assert (found["rows"], found["duplicates"], found["audio_seconds"]) == (4, 1, 6.0)
    read = table.read(tmp_path / "c")
    assert read.column("file") == ["a.wav", "b.wav", "b.wav", "c.wav"]
    assert read.column("speaker") == [None, "x", None, None] and read.column("sex") == [None, None, None, "f"]
    assert read.info["audio_licence"] == read.info["arguments"]["data-licence"] == "CC-BY-NC-4.0"
    assert read.info["counts"] == {"segments": 4, "rows": 4, "failed": 0} and len(read.info["merged"]) == 2
    assert {path: path.read_bytes() for folder in (a, b) for path in folder.iterdir()} == before
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        ".lock", "labels.json", "part-000000.parquet", "part-000001.parquet"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"teacher": {**TEACHER, "revision": "2"}}, "revision"), ({"teacher": {**TEACHER, "name": "x"}}, "teacher"),
        ({"arguments": with_argument(window=5.0)}, "window"), ({"arguments": with_argument(views=3)}, "views"),
        ({"arguments": with_argument(embeddings=True)}, "embeddings"), ({"axes": AXES[:2]}, "axes"),
    ],
)  # fmt: skip
def test_tables_made_otherwise_are_refused_by_name(tmp_path: Path, changed: dict[str, Any], name: str) -> None:
    a, b = write(tmp_path / "a", [row("a.wav")]), write(tmp_path / "b", [row("b.wav")], **changed)
    with pytest.raises(Refused, match=f"b: its {name} is"):
        merge([a, b], output=tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"sha256": "other"}, "is other audio"), ({"adv": (0.5, 0.25, 0.0)}, "is answered otherwise")],
)
def test_a_segment_with_two_answers_is_refused_by_file(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    a = write(tmp_path / "a", [row("a.wav"), row("b.wav")])
    b = write(tmp_path / "b", [row("b.wav", **changed)])
    with pytest.raises(Refused, match=rf"b: b\.wav {reason} than in a table before"):
        merge([a, b], output=tmp_path / "c")
    assert not table.is_table(tmp_path / "c")


def test_files_of_other_roots_are_named_below_the_common_one(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [row("x.wav")], root="/data/one")
    b = write(tmp_path / "b", [row("x.wav"), row("y.wav")], root="/data/two/deep")
    c = write(tmp_path / "c", [row("one/x.wav")], root="/data")
    write_failures(b / table.FAILED, [Failure("z.wav", "silent", 0.0, 1.0), Failure("y.wav", "again", 0.0, 1.5)])
    found = merge([a, b, c], output=tmp_path / "all")
    read = table.read(tmp_path / "all")
    assert found["root"] == "/data" == str(read.root) and found["duplicates"] == 1 and found["failed"] == 1
    assert read.column("file") == ["one/x.wav", "two/deep/x.wav", "two/deep/y.wav"]
    assert "two/deep/z.wav" in (tmp_path / "all" / table.FAILED).read_text()
    far = write(tmp_path / "far", [row("x.wav")], root="/elsewhere")
    with pytest.raises(DistillError, match="no folder in common"):
        merge([a, far], output=tmp_path / "none")


def test_a_merge_that_was_killed_is_no_table_and_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = write(tmp_path / "a", drawn(5)), write(tmp_path / "b", [row("b.wav")])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(merging, "_failures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        merge([a, b], output=tmp_path / "c")
    assert list((tmp_path / "c").glob("part-*")) and not table.is_table(tmp_path / "c")
    assert merge([a, b], output=tmp_path / "c")["rows"] == 6 and len(table.read(tmp_path / "c")) == 6


def test_a_folder_that_holds_something_is_not_merged_into(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [row("a.wav")]), write(tmp_path / "b", [row("b.wav")])
    write_text(tmp_path / "c" / "note.txt", "mine")
    for output in (a, tmp_path / "c"):
        with pytest.raises(Refused, match="not empty"):
            merge([a, b], output=output)
    with pytest.raises(DistillError, match="two label tables or more, each once"):
        merge([a, a], output=tmp_path / "d")
    with pytest.raises(DistillError, match="unfinished"):
        merge([a, write(tmp_path / "e", [row("e.wav")], complete=False)], output=tmp_path / "d")


def test_a_segment_that_failed_in_one_table_and_not_in_another_has_not_failed(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [row("a.wav")]), write(tmp_path / "b", [row("b.wav")])
    nowhere, whole_file = Failure("x.wav", "silent", 0.0, 1.5), Failure("y.wav", "no such file")
    write_failures(a / table.FAILED, [Failure("b.wav", "refused", 0.0, 1.5), nowhere, whole_file])
    write_failures(b / table.FAILED, [nowhere, Failure("b.wav", "too long", 1.5, 3.0)])
    assert merge([a, b], output=tmp_path / "c")["failed"] == 3
    lines = (tmp_path / "c" / table.FAILED).read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["x.wav", "y.wav", "b.wav"]
    assert table.read_info(tmp_path / "c")["counts"] == {"segments": 5, "rows": 2, "failed": 3}  # type: ignore[index]


def test_arguments_that_differ_are_all_told_and_the_strictest_licences_bind(tmp_path: Path) -> None:
    strict = {**TEACHER, "licence": "CC-BY-NC-4.0"}
    a = write(tmp_path / "a", [row("a.wav")])
    b = write(tmp_path / "b", [row("b.wav")], arguments=with_argument(source="/more"), teacher=strict)
    merge([a, b], output=tmp_path / "c")
    info = table.finished_info(tmp_path / "c")
    assert info["arguments"]["source"] == ["/recordings", "/more"] and info["arguments"]["window"] == 10.0
    assert info["teacher"]["licence"] == "CC-BY-NC-4.0" and info["teacher"]["data_licence"] == "CC BY 4.0"
    assert [one["arguments"]["source"] for one in info["merged"]] == ["/recordings", "/more"]


@pytest.mark.parametrize("lacking", ["teacher", "derived", "audio_licence"])
def test_a_table_that_nothing_could_learn_from_is_not_merged(tmp_path: Path, lacking: str) -> None:
    a, b = write(tmp_path / "a", [row("a.wav")]), write(tmp_path / "b", [row("b.wav")], **{lacking: None})
    with pytest.raises(DistillError, match=rf"b/labels\.json: lacks {lacking}"):
        merge([a, b], output=tmp_path / "c")


def test_a_damaged_part_ends_the_merge_without_a_table(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [row("a.wav")]), write(tmp_path / "b", [row("b.wav")])
    (b / "part-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DistillError, match="cannot be read"):
        merge([a, b], output=tmp_path / "c")
    assert not table.is_table(tmp_path / "c")


def test_one_segment_three_times_is_kept_once_with_the_columns_of_the_first(tmp_path: Path) -> None:
    tables = [write(tmp_path / str(n), [row("a.wav", columns={"n": str(n)})]) for n in range(3)]
    found = merge(tables, output=tmp_path / "all")
    assert (found["rows"], found["duplicates"]) == (1, 2) and table.read(tmp_path / "all").column("n") == ["0"]


# As audformat reads them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [True, False])
def test_audformat_reads_the_csv_as_a_segmented_table(tmp_path: Path, spread: bool) -> None:
    rows = [row('ä, "b".wav', 3600.123456), row("a.wav", adv=(0.1, None, 0.3))]
    rows = rows if spread else [replace(one, spread=(None,) * 3) for one in rows]
    found = to_audformat(write(tmp_path / "labels", rows), output=tmp_path / "table.csv")
    frame = audformat.utils.read_csv(tmp_path / "table.csv", as_dataframe=True)
    assert audformat.is_segmented_index(frame) and list(frame.columns) == found["columns"]
    assert list(frame.columns) == AXES + (["spread_arousal", "spread_valence"] if spread else [])
    assert frame.index[0] == ('ä, "b".wav', pd.Timedelta(seconds=3600.123456), pd.Timedelta(seconds=3601.623456))
    np.testing.assert_array_equal(frame["arousal"].astype(np.float32), np.array([0.5, 0.1], np.float32))
    assert np.isnan(frame["dominance"].iloc[1]) and found["rows"] == 2


def test_audformat_loads_the_database(tmp_path: Path) -> None:
    rows = drawn(20)
    to_audformat(write(tmp_path / "labels", rows), database=tmp_path / "db")
    db = audformat.Database.load(str(tmp_path / "db"))
    assert db.raters["teacher"].type == "machine" and db.meta["audio_licence"] == "CC0-1.0"
    assert db["labels"]["arousal"].rater_id == "teacher" and len(db["labels"].index) == 20
    np.testing.assert_allclose(db["labels"]["arousal"].get().to_numpy(np.float32), [one.adv[0] for one in rows])
    with pytest.raises(Refused, match="not empty"):
        to_audformat(tmp_path / "labels", database=tmp_path / "db")


def test_an_unfinished_table_is_not_handed_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "labels", [row("a.wav")], complete=False)
    with pytest.raises(DistillError, match="unfinished"):
        to_audformat(folder, output=tmp_path / "table.csv")
    assert not (tmp_path / "table.csv").exists()
    with pytest.raises(DistillError, match="nowhere to write to"):
        to_audformat(folder)


@pytest.mark.parametrize(
    ("licence", "usage"),
    [("CC0-1.0", "unrestricted"), ("CC-BY-NC-4.0", "research"), ("GPL-3.0", "other"), ("ask Bob", "restricted")],
)
def test_the_database_says_what_its_licences_allow(tmp_path: Path, licence: str, usage: str) -> None:
    folder = write(tmp_path / "labels", [row("a.wav")], audio_licence=licence, licence="MIT")
    to_audformat(folder, database=tmp_path / "db")
    header = audformat.Database.load(str(tmp_path / "db"), load_data=False)
    assert header.usage == usage and f"recordings: {licence}" in header.license


def test_a_file_where_the_database_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").touch()
    with pytest.raises(Refused, match="db: is not empty"):
        to_audformat(write(tmp_path / "labels", [row("a.wav")]), database=tmp_path / "db")
