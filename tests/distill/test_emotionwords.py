"""Words beside the numbers: those that people rated nearest, by the axes that were measured alone."""

from __future__ import annotations

from typing import Any

import pytest

from distill.annotation import AXES
from distill.emotionwords import NORMS, measured, nearest_words


def row(arousal: float | None, dominance: float | None, valence: float | None, derived: tuple[str, ...] = ()) -> Any:
    return {"arousal": arousal, "dominance": dominance, "valence": valence, "derived": list(derived)}


@pytest.mark.parametrize("word", NORMS)
def test_a_word_is_nearest_to_itself(word: str) -> None:
    here = row(*((norm + 1) / 2 for norm in NORMS[word]))
    assert nearest_words(here, 1) == [{"word": word, "distance": 0.0}]


@pytest.mark.parametrize(
    ("word", "valence", "arousal", "dominance"),  # as the paper gives them
    [("angry", -0.51, 0.59, 0.25), ("happy", 0.81, 0.51, 0.46), ("sad", -0.63, -0.27, -0.33),
     ("relaxed", 0.68, -0.46, 0.06), ("bored", -0.65, -0.62, -0.33), ("fearful", -0.64, 0.60, -0.43)],
)  # fmt: skip
def test_the_norms_stand_in_the_order_of_the_axes(word: str, valence: float, arousal: float, dominance: float) -> None:
    assert dict(zip(AXES, NORMS[word], strict=True)) == {
        "arousal": arousal, "dominance": dominance, "valence": valence,
    }  # fmt: skip


def test_the_middle_is_neutral() -> None:
    assert nearest_words(row(0.5, 0.5, 0.5))[0]["word"] == "neutral"


def test_a_derived_axis_does_not_count() -> None:
    fear = row(0.8, 0.28, 0.18)
    assert nearest_words(fear, 1)[0]["word"] == "fearful"
    anger = {**fear, "dominance": 0.95}
    assert nearest_words(anger, 1)[0]["word"] != "fearful"
    assert nearest_words({**anger, "derived": ["dominance"]}) == nearest_words(row(0.8, None, 0.18))


def test_without_an_answer_there_are_no_words() -> None:
    assert nearest_words(row(None, None, None)) == []
    assert measured(row(0.5, 0.5, 0.5, ("dominance",))) == ("arousal", "valence")


def test_words_are_sorted_by_distance() -> None:
    found = nearest_words(row(0.6, None, 0.5), len(NORMS))
    assert {near["word"] for near in found} == set(NORMS)
    assert [near["distance"] for near in found] == sorted(near["distance"] for near in found)
