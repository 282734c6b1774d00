"""Scales and marks."""

from itertools import pairwise

import pytest

from distill.plots import (
    SERIES,
    Bar,
    Frame,
    Scale,
    bars,
    clipped,
    fitting,
    horizontal_axis,
    legend,
    linear_ticks,
    log_ticks,
    mark,
    picture,
    spread_out,
    tag,
    vertical_axis,
    words,
)


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


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.2, 1), (0, 7.3), (0, 2.4e-5), (-3, -1)])
def test_linear_ticks_are_evenly_spaced_round_numbers(low, high):
    ticks = linear_ticks(low, high)
    steps = {f"{after - before:.6e}" for before, after in pairwise(ticks)}
    assert len(steps) == 1 and steps.pop()[0] in "125"
    assert low >= 0 or 0.0 in ticks or high < 0


def test_fewer_log_ticks_leave_out_the_inner_ones_first():
    assert log_ticks(1, 100, at_most=9) == [1, 2, 5, 10, 20, 50, 100]
    assert log_ticks(1, 100, at_most=5) == [1, 3, 10, 30, 100]
    assert log_ticks(1, 100, at_most=3) == log_ticks(1, 100, at_most=0) == [1, 10, 100]


def test_a_scale_asks_for_no_more_ticks_than_there_is_room():
    wide, narrow = (Scale(1, 1000, 0, pixels, log=True) for pixels in (700, 160))
    assert len(wide.ticks(60)) > len(narrow.ticks(60)) and len(narrow.ticks(40)) <= 4
    assert Scale(0, 10, 100, 0).ticks(40) == Scale(0, 10, 0, 100).ticks(40)


def test_a_single_value_has_air_on_both_sides():
    low, high = spread_out([50.0])
    assert low < 50 < high
    scale = fitting([3.0, 3.0], 100, 0)
    assert not scale.log and scale.low == 0 and 0 < scale(3.0) < 100


def test_the_horizontal_axis_takes_the_ticks_it_is_given():
    frame = Frame(Scale(0, 10, 0, 100), Scale(0, 1, 50, 0))
    given = horizontal_axis(frame, str, "seconds", ticks=[1, 5])
    assert words("1", 10, 68, class_="tick", anchor="middle") in given
    assert sum('class="tick"' in mark for mark in given) == 2 and "seconds" in given[-1]
    assert sum('class="tick"' in mark for mark in horizontal_axis(frame, str, "seconds")) == len(linear_ticks(0, 10))


def test_the_vertical_axis_marks_zero_and_may_go_without_a_title():
    frame = Frame(Scale(0, 10, 20, 120), Scale(-1, 1, 100, 0))
    titled, bare = (vertical_axis(frame, "{:g}".format, title) for title in ("CCC", ""))
    assert len(titled) == len(bare) + 1 and ">CCC<" in titled[0]
    (zero,) = [mark for mark in bare if 'class="zero"' in mark]
    assert 'y1="50"' in zero and 'x1="20"' in zero and 'x2="120"' in zero


def test_series_differ_in_shape_and_class_and_start_over():
    signs = [mark(series, 0, 0) for series in range(SERIES)]
    assert len(set(signs)) == SERIES and mark(SERIES, 0, 0) == signs[0]
    assert len({sign.split('"')[1] for sign in signs[:4]}) == 4, "told apart without colours"


def test_a_mark_says_its_tip_and_escapes_it():
    assert "<title>&lt;b&gt;</title>" in mark(0, 1, 2, "<b>") and "<title>" not in mark(0, 1, 2)


@pytest.mark.parametrize(
    ("attributes", "written"),
    [({"x": 1.06}, 'x="1.1"'), ({"font_size": 12}, 'font-size="12"'), ({"class_": "a"}, 'class="a"'),
     ({"x": None}, ""), ({"title": "a&b"}, 'title="a&amp;b"')],
)  # fmt: skip
def test_attributes_are_short_and_escaped(attributes, written):
    assert tag("a", **attributes) == f"<a {written}/>".replace(" /", "/")


def test_a_picture_is_at_least_as_wide_as_it_can_be_read():
    assert 'style="min-width:560px"' in picture("k", "t", "d", 880, 10, [])
    assert 'style="min-width:300px"' in picture("k", "t", "d", 300, 10, [])
    assert 'viewBox="0 0 300 10"' in picture("k", "t", "d", 300, 10, [])


def test_bars_have_room_for_their_names_and_values():
    narrow = bars([Bar("n" * 200, (1.0,), "12345")], width=400)
    assert 'x="152"' in narrow[0], "a name takes two fifths at most"
    assert bars([], width=100)[-1].startswith("<line") and len(bars([], width=100)) == 1


def test_clipping_keeps_what_fits():
    assert clipped("12345", 5) == "12345" and clipped("123456", 5) == "1234…" and clipped("", 5) == ""
