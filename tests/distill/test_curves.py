"""The page of curves: every answer is where it belongs, derived axes are dashed, and gaps stay gaps."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.curves import BASE, LEFT, RIGHT, TOP, cells, clock, curves, picture, times
from distill.student import StudentCard

CARD = StudentCard(
    "tiny", 16000, ("arousal", "dominance", "valence"), ("dominance",), (0.0, 1.0), 0.3, "MIT", "CC0-1.0", [], 1, 1,
    1.0, 1.0, 1.0, "float32",
)  # fmt: skip


def rows(count: int, window: float = 1.0, hop: float = 1.0, silent: tuple[int, ...] = (), file: str = "a.wav") -> Any:
    answer = dict(zip(CARD.axes, (0.5, 1.0, 0.25), strict=True))
    return [
        {
            "file": file, "start": number * hop, "end": number * hop + window, "derived": ["dominance"],
            **(dict.fromkeys(CARD.axes) if number in silent else answer),
            "warning": "silent" if number in silent else None,
        }
        for number in range(count)
    ]  # fmt: skip


def paths(drawn: str, series: int) -> list[str]:
    """The curves of a series, without its line in the legend."""
    return re.findall(rf'<path d="([^"]*)" class="(?:derived )?line s{series}"/>', drawn)[1:]


def test_a_curve_runs_through_the_middles_of_the_windows() -> None:
    drawn = picture(cells(rows(4)), CARD, "a.wav")
    middle, top, quarter = (BASE + TOP) / 2, TOP, BASE - (BASE - TOP) / 4
    at = [LEFT + (RIGHT - LEFT) * second / 4 for second in (0, 0.5, 1.5, 2.5, 3.5, 4)]
    for series, y in enumerate((middle, top, quarter)):
        assert paths(drawn, series) == ["M" + "L".join(f"{x:.1f} {y:.1f}" for x in at)]


def test_a_derived_axis_is_dashed_in_curve_and_legend() -> None:
    drawn = picture(cells(rows(4)), CARD, "a.wav")
    assert drawn.count('class="derived line s1"') == 2 and drawn.count("derived line") == 2
    assert "dominance (derived), mean 1.00" in drawn
    assert "derived line" not in picture(cells(rows(4)), replace(CARD, derived=()), "a.wav")


def test_where_nothing_was_answered_there_is_a_gap() -> None:
    drawn = picture(cells(rows(6, silent=(2, 3))), CARD, "a.wav")
    first, second = paths(drawn, 0)
    assert first.split("L")[-1].split()[0] == f"{LEFT + (RIGHT - LEFT) * 2 / 6:.1f}"
    assert second[1:].split()[0] == f"{LEFT + (RIGHT - LEFT) * 4 / 6:.1f}"
    assert drawn.count('class="gap"') == 1 and ">no answer</text>" in drawn
    assert "2 s to 3 s: no answer (silent)" in drawn


def test_what_is_lacking_is_counted() -> None:
    assert "6 s of audio, 4 answers, and 2 times none; one every 1 s" in curves(rows(6, silent=(2, 3)), CARD)
    assert "1 s of audio, no answer." in curves(rows(1, silent=(0,)), CARD)


def test_windows_that_overlap_are_told_by_both_lengths() -> None:
    assert "3 answers; one every 0.5 s, for 3 s each." in curves(rows(3, window=3.0, hop=0.5), CARD)


def test_nothing_but_gaps_is_drawn_as_such() -> None:
    drawn = picture(cells(rows(2, silent=(0, 1))), CARD, "a.wav")
    assert paths(drawn, 0) == [] and "mean" not in drawn


@pytest.mark.parametrize("axes", [("arousal", "valence"), ("valence",)])
def test_an_axis_that_the_student_lacks_is_not_drawn(axes: tuple[str, ...]) -> None:
    lacking = [{**row, **dict.fromkeys(set(CARD.axes) - set(axes))} for row in rows(3)]
    drawn = picture(cells(lacking), replace(CARD, axes=axes, derived=()), "a.wav")
    assert "dominance" not in drawn and "line s1" not in drawn


def test_answers_beyond_one_stay_in_the_picture() -> None:
    loud = [{**row, "arousal": 1.27, "valence": -0.02} for row in rows(3)]
    drawn = picture(cells(loud), CARD, "a.wav")
    heights = [
        float(point.split()[1]) for path in (*paths(drawn, 0), *paths(drawn, 2)) for point in path[1:].split("L")
    ]
    assert all(TOP <= y <= BASE for y in heights)
    assert re.findall(r'class="tick" text-anchor="end">(.*?)<', drawn) == ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]


def test_many_windows_have_no_signs() -> None:
    assert 'class="mark' in picture(cells(rows(60)), CARD, "a.wav")
    assert 'class="mark' not in picture(cells(rows(61)), CARD, "a.wav")


def test_the_page_needs_nothing_else_and_says_who_answered() -> None:
    page = curves(rows(3, file="<a>.wav"), CARD)
    assert not any(text in page for text in ("<script", "http:", "https:", "src=", "<a>.wav"))
    assert "&lt;a&gt;.wav" in page and "tiny (float32): weights MIT; trained on CC0-1.0" in page
    assert "Dominance is derived (dashed)" in page and "3 s of audio, 3 answers; one every 1 s. The curves" in page


def test_several_recordings_have_a_picture_each() -> None:
    page = curves([*rows(3), *rows(1, file="b.wav")], CARD)
    assert page.count("<svg") == 2 and "<h1>2 recordings</h1>" in page
    assert "<h2>a.wav</h2>" in page and "<h2>b.wav</h2>" in page and "one answer" in page
    assert len(set(re.findall(r'id="(.*?)"', page))) == 4


def test_words_stand_below_the_curves_where_they_were_asked_for() -> None:
    worded = [{**row, "words": [{"word": "weary", "distance": 0.1}]} for row in rows(3)]
    assert ">mildly annoyed</text>" in curves([{**row, "arousal": 0.59, "valence": 0.36} for row in worded], CARD)
    assert "classify nothing" in curves(worded, CARD)
    assert 'class="band"' not in curves(rows(3), CARD) and "classify" not in curves(rows(3), CARD)


def test_times_are_round_and_few() -> None:
    for seconds in (0.4, 3.0, 61.0, 3000.0, 100_000.0):
        marks = times(seconds, 12)
        assert 2 <= len(marks) <= 12 and marks[-1] <= seconds
    assert clock(59.96) == "60 s"


def test_standard_input_is_called_so(tmp_path: Path) -> None:
    assert "<h1>standard input</h1>" in curves(rows(2, file="-"), CARD)
