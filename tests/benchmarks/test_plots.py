"""Scales and marks."""

import pytest

from benchmarks.plots import Bar, Scale, bars, fitting, legend, linear_ticks, log_ticks, picture, tag, words


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.2, 1), (0, 0.00123), (0, 98_765.0), (3, 7.7)])
def test_linear_ticks_are_few_and_inside(low, high):
    ticks = linear_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert low <= ticks[0] and ticks[-1] <= high


@pytest.mark.parametrize(("low", "high"), [(1, 2.6), (1e-4, 1e5), (5e3, 2e6), (62_500, 160_000)])
def test_log_ticks_are_few_and_inside(low, high):
    ticks = log_ticks(low, high, at_most=5)
    assert 1 <= len(ticks) <= 10
    assert low * 0.99 <= ticks[0] and ticks[-1] <= high * 1.01


def test_fitting_turns_logarithmic_only_where_values_are_far_apart():
    assert not fitting([1.0, 10.0], 100, 0).log
    assert fitting([1.0, 50.0], 100, 0).log
    assert not fitting([0.0, 50.0], 100, 0).log
    assert fitting([], 100, 0)(0) == 100


def test_a_scale_meets_its_ends():
    for log in (False, True):
        scale = Scale(2, 8, 10, 110, log=log)
        assert (scale(2), scale(8)) == pytest.approx((10, 110))


def test_text_is_escaped_everywhere():
    assert words("<&>", 0, 0) == '<text x="0" y="0">&lt;&amp;&gt;</text>'
    assert tag("a", title='"<') == '<a title="&quot;&lt;"/>'
    assert "<x>" not in picture("k", "<x>", "<x>", 1, 1, ["".join(bars([Bar("<x>", (1.0,), "<x>")], width=100))])


def test_bars_of_nothing_stay_at_zero():
    assert 'width="0"' in "".join(bars([Bar("a", (0.0,), "0")], width=400))


def test_a_long_legend_takes_more_lines():
    assert legend(["a" * 40] * 6, 600)[1] > legend(["a"] * 3, 600)[1]
