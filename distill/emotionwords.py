"""Emotion words beside the three numbers: the words that people rated nearest to them. A mapping, not a classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from distill.annotation import AXES

#: Arousal, dominance, valence of words, -1..1: mean ratings in Russell and Mehrabian (1977), "Evidence for a
#: three-factor theory of emotions", Journal of Research in Personality 11, table 4 (where valence is called pleasure).
#: Those of their 151 terms that are said of a voice, each given alike by three later transcriptions of the table.
#: "neutral" is not among theirs: it is the middle of the three scales.
NORMS = {
    "angry": (0.59, 0.25, -0.51),
    "anxious": (0.59, -0.15, 0.01),
    "bored": (-0.62, -0.33, -0.65),
    "curious": (0.62, -0.01, 0.22),
    "depressed": (-0.29, -0.41, -0.72),
    "detached": (-0.26, -0.14, -0.37),
    "discouraged": (-0.15, -0.29, -0.61),
    "disgusted": (0.35, 0.11, -0.60),
    "enraged": (0.72, 0.32, -0.44),
    "excited": (0.75, 0.38, 0.62),
    "fatigued": (-0.57, -0.29, -0.18),
    "fearful": (0.60, -0.43, -0.64),
    "friendly": (0.35, 0.30, 0.69),
    "happy": (0.51, 0.46, 0.81),
    "hopeful": (0.23, 0.14, 0.51),
    "interested": (0.51, 0.17, 0.64),
    "leisurely": (-0.32, 0.11, 0.58),
    "mildly annoyed": (0.17, 0.04, -0.28),
    "neutral": (0.0, 0.0, 0.0),
    "quiet": (-0.40, -0.04, 0.19),
    "relaxed": (-0.46, 0.06, 0.68),
    "reserved": (-0.19, 0.02, 0.01),
    "sad": (-0.27, -0.33, -0.63),
    "serious": (0.24, 0.42, 0.27),
    "solemn": (-0.32, -0.11, 0.03),
    "subdued": (-0.26, -0.18, -0.17),
    "surprised": (0.67, -0.13, 0.40),
    "tense": (0.58, -0.11, -0.33),
    "upset": (0.30, -0.24, -0.63),
    "weary": (-0.33, -0.24, -0.18),
}


def nearest_words(row: Mapping[str, Any], count: int = 2) -> list[dict[str, Any]]:
    """The `count` words nearest to an answer, [{word, distance}]; none where nothing was answered.

    row: a `distill.prediction.Prediction` as dict, of which the three axes (0..1 or None) and `derived` are read. A
    word stands at (norm + 1) / 2. The distance is Euclidean, in units of the answers, over the axes of `measured`.

    >>> nearest_words({"arousal": 0.8, "dominance": 0.2, "valence": 0.25, "derived": ["dominance"]})
    [{'word': 'angry', 'distance': 0.007}, {'word': 'enraged', 'distance': 0.067}]
    """
    axes = measured(row)
    if not axes:
        return []
    near = sorted((_distance(row, axes, norm), word) for word, norm in NORMS.items())
    return [{"word": word, "distance": round(distance, 3)} for distance, word in near[:count]]


def measured(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The axes of an answer that can be compared with a norm: those that were answered, and not derived.

    >>> measured({"arousal": 0.8, "dominance": 0.2, "valence": None, "derived": ["dominance"]})
    ('arousal',)
    """
    return tuple(axis for axis in AXES if row[axis] is not None and axis not in row["derived"])


def _distance(row: Mapping[str, Any], axes: tuple[str, ...], norm: tuple[float, float, float]) -> float:
    return math.dist([row[axis] for axis in axes], [(norm[AXES.index(axis)] + 1) / 2 for axis in axes])
