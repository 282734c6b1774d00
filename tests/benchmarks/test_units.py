"""Numbers as a person reads them, at the edges of their units."""

from __future__ import annotations

import pytest

from benchmarks.units import NOTHING, count, hundredths, significant, size, whole


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.000123, "0.000123"), (1e-7, "1.00e-07"), (1, "1.00"), (12.34, "12.3"), (99.96, "100"), (100, "100"),
     (1e6, "1,000,000"), (-0.5, "-0.500"), (-250.4, "-250")],
)  # fmt: skip
def test_three_digits_say_enough(value: float, written: str) -> None:
    assert significant(value) == written


@pytest.mark.parametrize(("value", "written"), [(5.0, "5"), (0.5, "0.5"), (10.0, "10")])
def test_one_digit_where_it_is_asked_for(value: float, written: str) -> None:
    assert significant(value, 1) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (71_984, "72.0 kB"), (999_499, "999 kB"), (999_600, "1.00 MB"),
     (2.5e9, "2.50 GB"), (1e12, "1.00 TB"), (1e15, "1,000 TB"), (-1500, "-1.50 kB")],
)  # fmt: skip
def test_bytes_change_their_unit_where_a_fourth_digit_would_begin(value: float, written: str) -> None:
    assert size(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(0, "0"), (999, "999"), (1000, "1.00 k"), (318_607_043, "319 M"), (1e15, "1,000 T")]
)
def test_counts_have_no_unit_below_a_thousand(value: float, written: str) -> None:
    assert count(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(1, "1.00"), (-1, "-1.00"), (0.004, "0.00"), (-0.004, "0.00"), (0.716, "0.72")]
)
def test_a_correlation_is_never_minus_nothing(value: float, written: str) -> None:
    assert hundredths(value) == written


def test_a_count_keeps_every_digit() -> None:
    assert whole(1_234_567) == "1,234,567" and whole(0) == "0"


@pytest.mark.parametrize("unit", [significant, whole, size, count, hundredths])
def test_what_is_null_is_a_dash(unit: object) -> None:
    assert unit(None) == NOTHING  # type: ignore[operator]
