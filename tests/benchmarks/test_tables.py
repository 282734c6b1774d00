"""The tables, cell by cell, from records whose numbers are known."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import tables
from benchmarks.tables import Table, as_markdown, confidence, headline_length, labels, plain_markdown, spread
from benchmarks.units import NOTHING
from tests.benchmarks.made import device, model, native, other, rated, record, timed


def named(*models: tuple[str, str | None, str]) -> list[str]:
    return labels([model(name=name, precision=precision, path=path) for name, precision, path in models])


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ([("a", "int8", "x/m.onnx")], ["a"]),
        ([("a", None, "m.onnx"), ("b", None, "m.onnx")], ["a", "b"]),
        ([("a", "int8", "m.onnx"), ("a", "float32", "m.onnx")], ["a int8", "a float32"]),
        ([("a", None, "m.onnx"), ("a", "int8", "m.onnx")], ["a", "a int8"]),
        ([("a", "int8", "x/m.onnx"), ("a", "int8", "x/n.onnx")], ["a int8 (m.onnx)", "a int8 (n.onnx)"]),
        ([("a", "int8", "x/m.onnx"), ("a", "int8", "y/m.onnx")],
         ["a int8 (m.onnx) in x", "a int8 (m.onnx) in y"]),
        ([("a", None, "x/m.onnx"), ("a", None, "x/m.onnx")], ["a (m.onnx) in x #1", "a (m.onnx) in x #2"]),
        ([("a", "int8", "m.onnx"), ("a", None, "m.onnx"), ("a int8", "int8", "n.onnx")],
         ["a int8 (m.onnx)", "a", "a int8 (n.onnx)"]),
    ],
)  # fmt: skip
def test_a_name_is_as_long_as_it_has_to_be(models: Any, told: list[str]) -> None:
    assert named(*models) == told


@pytest.mark.parametrize(
    ("seconds", "headline"), [([1, 3, 5, 10], "5"), ([5.0], "5"), ([1, 10, 3], "10"), ([0.5, 2.5], "2.5")]
)
def test_the_headline_is_five_seconds_or_the_longest(seconds: list[float], headline: str) -> None:
    assert headline_length({"settings": {"seconds": seconds}}) == headline


def test_a_spread_and_an_interval_are_as_much_as_there_is() -> None:
    assert spread(timed(4.0, 3.8, 4.5)) == "4.00 (3.80 to 4.50)" and spread(None) == NOTHING
    known = {"value": 0.5, "low": 0.4, "high": 0.6}
    assert confidence(known) == "0.50 (0.40 to 0.60)" and confidence({**known, "low": None}) == "0.50"
    assert confidence({**known, "high": None}) == "0.50"
    assert confidence({**known, "value": None}) == confidence(None) == NOTHING


def test_at_a_glance_every_column_has_its_own_number() -> None:
    table = tables.glance(record(model(), other(ccc=rated(0.7))))
    assert table.columns == ("model", "size", "parameters", "MAC/s", "5 s, ms", "ratio", "memory, model",
                             "CCC arousal", "CCC dominance", "CCC valence")  # fmt: skip
    assert table.rows[0] == ("w2s", "72.0 kB", "17.2 k", "4.21 M", "4.00", "1.00", "2.00 MB", *[NOTHING] * 3)
    assert table.rows[1] == ("cnn", "720 kB", "17.2 k", "4.21 M", "8.00", "2.00", "2.00 MB", *["0.70"] * 3)
    assert len(tables.glance(record()).columns) == len(tables.glance(record()).rows[0]) == 7


def test_latency_has_a_row_a_model_and_length() -> None:
    table = tables.by_length(record(model(), other(latency_ms={"1": None, "5": timed(8.0)})))
    assert [row[:2] for row in table.rows] == [("w2s", "1"), ("w2s", "5"), ("cnn", "1"), ("cnn", "5")]
    assert table.rows[1] == ("w2s", "5", "4.00", "3.60", "4.40", "0.000800", "1.00", "30")
    assert table.rows[2] == ("cnn", "1", *[NOTHING] * 4, "2.00", NOTHING)
    assert table.columns[2:6] == ("median, ms", "p10, ms", "p90, ms", "RTF")


def test_size_memory_and_work_are_in_their_units() -> None:
    made = record(model(precision=None, macs_per_second=None), other())
    assert tables.by_size(made).rows[0] == ("w2s", "72.0 kB", "71,984", "4.00 (3.60 to 4.40)")
    assert tables.memory(made).rows[0] == ("w2s", "60.0 MB", "2.00 MB")
    assert tables.parameters(made).rows[0] == ("w2s", NOTHING, "17,234", "16,001")
    assert tables.work(made).rows[0] == ("w2s", NOTHING, NOTHING, "100", "10.0")
    assert tables.work(made).rows[1] == ("cnn", "4.21 M", "4,213,000", "100", "10.0")
    assert tables.by_size(made).columns[-1] == "5 s clip, ms (p10 to p90)"


def test_agreement_counts_the_clips_behind_it() -> None:
    made = record(model(), other(ccc=rated(-0.25, -0.5, 0.125), n_truth=1381))
    assert tables.agreement(made).rows == [
        ("w2s", *[NOTHING] * 3, "0"),
        ("cnn", *["-0.25 (-0.50 to 0.12)"] * 3, "1,381"),
    ]


def test_both_licences_and_the_digest_reach_the_table() -> None:
    strict = {"licence": "CC-BY-NC-SA-4.0", "data_licence": "MSP-Podcast academic licence (restricted)"}
    table = tables.origin(record(model(), other(**strict, derived=[], sha256="cd" * 32)))
    assert table.rows[0] == ("w2s", "MIT", "CC0-1.0", "dominance", "runs/w2s.onnx", "ab" * 32)
    assert table.rows[1] == ("cnn", *strict.values(), "none", "runs/cnn.onnx", "cd" * 32) and not table.numeric


def test_the_conditions_name_what_is_there_and_what_is_not() -> None:
    full = dict(tables.conditions(record()).rows)
    assert full["instruction sets"] == "avx2, avx512_vnni" and full["memory"] == "8.00 GB"
    assert full["warm-up answers"] == "3 a model and length" and full["seed"] == "7"
    assert full["order"] == "interleaved, drawn anew each round"
    bare = record(instruction_sets={"avx2": False}, memory_bytes=None, onnxruntime=None, distill=None)
    bare["settings"]["interleaved"] = False
    rows = dict(tables.conditions(bare).rows)
    assert rows["instruction sets"] == "none of those looked for" and rows["memory"] == rows["onnxruntime"] == NOTHING
    assert rows["distill"] == "a checkout, not installed" and rows["order"] == "one model after the other"


@pytest.mark.parametrize(
    ("text", "written"),
    [("", ""), ("wav2small int8", "wav2small int8"), ("my_file_name", "my_file_name"), ("_quiet_", r"\_quiet\_"),
     ("a|b", r"a\|b"), ("*x* `y` [z](u)", r"\*x\* \`y\` \[z\](u)"), ("a\nb\t c", "a b c"), ("a\\b", r"a\\b"),
     ("~~gone~~ &lt;", r"\~\~gone\~\~ \&lt;")],
)  # fmt: skip
def test_markdown_shows_a_text_as_it_is(text: str, written: str) -> None:
    assert plain_markdown(text) == written


def test_numbers_are_to_the_right_and_words_to_the_left() -> None:
    rows = [("w2s", "1", "2")]
    assert as_markdown(Table(("a", "b", "c"), rows)).splitlines()[1] == "| --- | ---: | ---: |"
    assert as_markdown(Table(("a", "b", "c"), rows, numeric=False)).splitlines()[1] == "| --- | --- | --- |"
    assert as_markdown(Table(("a",), [])) == "| a |\n| --- |\n"


def measured() -> dict[str, Any]:
    """A record with two emulated cores and the host."""
    helium = device(instructions_per_second=22_000_000, cycles_per_second=None, breakdown={"convolutions": 11_300_000})
    return {**record(), "devices": {"cortex-m4": device(), "cortex-m55": helium, "host": native()}}


def test_emulated_cores_cell_by_cell() -> None:
    assert tables.devices(measured()).rows == [
        ("cortex-m4", "63.7 M", "92.9 M", "107 M", "79.3 kB", "14.4 kB", "588 B", "26.0 kB"),
        ("cortex-m55", "22.0 M", NOTHING, NOTHING, "79.3 kB", "14.4 kB", "588 B", "26.0 kB"),
    ]


def test_a_part_that_a_core_has_not_is_a_dash() -> None:
    table = tables.breakdown(measured())
    assert table.columns == ("part", "cortex-m4", "cortex-m55")
    assert table.rows == [("convolutions", "45.1 M", "11.3 M"), ("front-end", "2.45 M", NOTHING)]


def test_the_student_in_c_on_the_host() -> None:
    assert tables.native(measured()).rows[1] == ("5", "1.20", "1.08", "1.32", "0.000240", "0.300", "20.0 kB")


def test_a_profile_without_a_core() -> None:
    pi = {"title": "a Pi", "core": None, "clock_hz": None, "flash_bytes": None, "ram_bytes": 512_000_000,
          "source": "a brief", "verdict": "cannot be told here"}  # fmt: skip
    rows = dict(tables.fit({"profile": pi}).rows)
    assert rows["core"] == rows["cycles a second"] == NOTHING
    assert rows["RAM"] == "512 MB" and rows["verdict"] == "cannot be told here"
