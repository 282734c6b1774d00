"""The pictures: marks stand where the numbers say, and say them; nothing is drawn of nothing."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import charts
from benchmarks.charts import (
    agreement_by_size,
    latency_by_length,
    latency_by_size,
    macs,
    memory_split,
    parameters,
    significant_tick,
    size_tick,
)
from tests.benchmarks.made import Drawn, model, numbers, other, rated, record, timed


def length_of(bar: Any) -> float:
    return float(bar.get("width"))


def test_a_larger_file_stands_to_the_right_and_a_higher_ccc_above() -> None:
    drawn = Drawn(agreement_by_size(record(model(ccc=rated(0.5, 0.4, 0.6)), other(ccc=rated(0.8, 0.7, 0.9)))))
    small, large = drawn.place("mark s0"), drawn.place("mark s1")
    assert len(small) == len(large) == 3, "one panel an axis"
    assert all(right[0] > left[0] and right[1] < left[1] for left, right in zip(small, large, strict=True))
    assert small[0][0] < small[1][0] < small[2][0]
    assert [text for text in drawn.text("axis") if text.startswith("CCC")] == [
        "CCC, arousal", "CCC, dominance", "CCC, valence"
    ]  # fmt: skip
    for (x, y), (at, low, high) in zip(small, drawn.whiskers("line s0"), strict=True):
        assert at == pytest.approx(x, abs=0.1) and high < y < low
    assert "w2s: 0.50 (0.40 to 0.60)" in drawn.text("mark s0") and "0.80 (0.70 to 0.90)" in drawn.spoken


@pytest.mark.parametrize("value", [-0.02, -0.4, -1.0])
@pytest.mark.parametrize("interval", [True, False])
def test_a_negative_ccc_is_within_its_panel(value: float, interval: bool) -> None:
    """Below three clips there is no interval, and such a CCC may be anything."""
    ends = (max(value - 0.1, -1.0), value + 0.1) if interval else (None, None)
    drawn = Drawn(agreement_by_size(record(model(ccc=rated(value, *ends)), other(ccc=rated(0.5)))))
    ground = max(float(line.get("y1")) for line in drawn.of("zero"))
    assert all(y <= ground + 0.1 for _, y in drawn.place("mark s0")) and ground < drawn.height
    assert all(low <= ground + 0.1 for _, low, _ in drawn.whiskers("line s0"))


def test_only_what_was_compared_is_in_the_agreement() -> None:
    assert agreement_by_size(record()) is None
    some = rated(0.5, 0.4, 0.6)
    drawn = Drawn(
        agreement_by_size(record(model(), other(ccc={**some, "valence": {**some["valence"], "value": None}})))
    )
    assert len(drawn.place("mark s0")) == 0 and len(drawn.place("mark s1")) == 2 == len(drawn.whiskers("line s1"))


def test_latency_by_size_has_the_spread_of_the_headline_length() -> None:
    drawn = Drawn(latency_by_size(record(model(), other(latency_ms={"1": timed(1.0), "5": timed(8.0, 7.0, 12.0)}))))
    ((x, y),), ((other_x, other_y),) = drawn.place("mark s0"), drawn.place("mark s1")
    ((_, low, high),) = drawn.whiskers("line s1")
    assert other_x > x and other_y < y and high < other_y < low
    assert (low - other_y) == pytest.approx((other_y - high) / 4, rel=0.1), "7, 8 and 12 ms on a linear scale"
    assert drawn.text("mark s1")[-1] == "8.00 (7.00 to 12.0) ms" and "ms for a 5 s clip" in drawn.text("axis")
    assert "file size" in drawn.text("axis") and "cnn" in drawn.text("key")


def test_latency_by_size_needs_two_that_were_timed() -> None:
    lacking = other(latency_ms={"1": timed(1.0), "5": None})
    assert latency_by_size(record(model())) is None and latency_by_size(record(model(), lacking)) is None
    drawn = Drawn(latency_by_size(record(model(), lacking, other())))
    assert len(drawn.place("mark s0")) == len(drawn.place("mark s2")) == 1 and not drawn.place("mark s1")


def test_latency_by_length_goes_from_short_to_long_and_beside_each_other() -> None:
    first = model(latency_ms={"5": timed(4.0), "1": timed(1.0)})
    drawn = Drawn(latency_by_length(record(first, other())))
    one, two = drawn.place("mark s0"), drawn.place("mark s1")
    assert one[0][0] < one[1][0] and one[0][1] > one[1][1], "sorted by length, not by the file's order"
    assert two[0][0] - one[0][0] == pytest.approx(9) == two[1][0] - one[1][0]
    (curve,) = [line for line in drawn.of("line s0") if "L" in line.get("d")]
    assert numbers(curve.get("d")) == pytest.approx([*one[0], *one[1]], abs=0.1)
    assert [text for text in drawn.text("tick") if text in ("1", "5")].count("5") >= 1
    assert {"seconds of audio", "ms for one answer"} <= set(drawn.text("axis"))


def test_a_model_that_was_timed_at_no_length_has_no_line() -> None:
    silent = other(latency_ms={"1": None, "5": None})
    drawn = Drawn(latency_by_length(record(model(), silent)))
    assert not drawn.place("mark s1") and not drawn.of("line s1") and len(drawn.place("mark s0")) == 2
    assert latency_by_length(record(silent)) is None


def test_memory_is_stacked_from_one_zero_in_proportion() -> None:
    peaks = {"runtime": 60_000_000, "model": 30_000_000}
    drawn = Drawn(memory_split(record(model(), other(peak_rss_bytes=peaks))))
    (_, runtime, more_runtime), (_, small, large) = drawn.of("bar p0"), drawn.of("bar p1")
    assert length_of(runtime) == length_of(more_runtime)
    assert length_of(large) / length_of(more_runtime) == pytest.approx(0.5, abs=0.01)
    assert length_of(small) / length_of(runtime) == pytest.approx(1 / 30, abs=0.01)
    assert float(large.get("x")) == pytest.approx(float(runtime.get("x")) + length_of(runtime), abs=0.1)
    assert drawn.text("value") == ["60.0 MB + 2.00 MB", "60.0 MB + 30.0 MB"]
    assert {"runtime", "model adds"} <= set(drawn.text("key")) and "cnn: 60.0 MB + 30.0 MB" in drawn.spoken


@pytest.mark.parametrize(("draw", "key"), [(parameters, "parameters"), (macs, "macs_per_second")])
def test_bars_are_in_proportion_and_what_is_not_known_has_none(draw: Any, key: str) -> None:
    drawn = Drawn(draw(record(model(**{key: 1000}), other(**{key: 4000}), other(precision="int8", **{key: None}))))
    one, four, none = (length_of(bar) for bar in drawn.of("bar p0"))
    assert four == pytest.approx(4 * one, abs=0.3) and none == 0
    assert drawn.text("value") == ["1.00 k", "4.00 k", "\N{EN DASH}"]


def test_a_long_name_is_cut_in_the_picture_and_whole_for_a_screen_reader() -> None:
    name = "wav2small" + "-and-more" * 9
    drawn = Drawn(memory_split(record(model(name=name))))
    (shown,) = [text for text in drawn.text("key") if text.startswith("wav2small")]
    assert len(shown) == charts.NAME and shown.endswith("…") and name in drawn.spoken


def test_a_name_cannot_break_the_picture() -> None:
    evil = record(model(name='<b>"&', ccc=rated(0.5, 0.4, 0.6)), other(ccc=rated(0.4)))
    for draw in (agreement_by_size, latency_by_size, latency_by_length, memory_split, parameters, macs):
        assert '<b>"&' in "".join(Drawn(draw(evil)).root.itertext())


@pytest.mark.parametrize(
    ("value", "tick"),
    [(0.0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1 kB"), (5e5, "500 kB"), (2.5e6, "2.5 MB"), (3e9, "3 GB")],
)  # fmt: skip
def test_size_ticks(value: float, tick: str) -> None:
    assert size_tick(value) == tick


def test_ticks_of_numbers_are_short() -> None:
    assert [significant_tick(value) for value in (0.0, 0.05, 2.0, 12_000.0)] == ["0", "0.05", "2", "12,000"]
