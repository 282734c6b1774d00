"""What loudness alone would answer: the least that a student has to be better than."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.metrics import answered, ccc, ccc_drop, interval
from distill.perturb import level

#: The column that says who is left out.
SPEAKER = "speaker"

#: Clips that a line needs.
FEWEST = 3


def level_db(signal: np.ndarray) -> float:
    """Root mean square of a clip in dB of full scale. signal: float32 [samples].

    >>> round(level_db(np.array([0.5, -0.5])), 2)
    -6.02
    """
    return float(20 * np.log10(level(signal)))


def by_loudness(levels: np.ndarray, truth: np.ndarray, groups: Sequence[Any]) -> np.ndarray:
    """What a straight line from level to truth answers to each group, drawn through the clips of all the others.

    levels: [n] dB. truth: [n, 3], NaN where an axis is lacking. groups: [n], those that are left out together. Returns
    [n, 3], NaN where fewer than three others are known.

    >>> truth = np.array([[0.1, np.nan, 0.5], [0.2, np.nan, 0.5], [0.3, np.nan, 0.5], [0.4, np.nan, 0.5]])
    >>> by_loudness(np.array([-40.0, -30.0, -20.0, -10.0]), truth, "abcd").round(3).tolist()[3]
    [0.4, nan, 0.5]
    """
    names, said = np.array([str(group) for group in groups]), np.full(truth.shape, np.nan)
    for name in set(names.tolist()):
        own = names == name
        for column, ratings in enumerate(truth.T):
            others = ~own & np.isfinite(ratings) & np.isfinite(levels)
            if others.sum() >= FEWEST:
                slope, height = _line(levels[others], ratings[others])
                said[own, column] = height + slope * levels[own]
    return said


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and height of the least-squares line; flat where all x are the same."""
    spread = float(np.square(x - x.mean()).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def against_loudness(
    adv: np.ndarray, truth: np.ndarray, levels: np.ndarray, speakers: Sequence[Any] | None, *, seed: int = 0
) -> dict[str, Any]:
    """Answers beside those of `by_loudness`, of the clips that both have: {n, left_out, ccc: {axis: {value, low,
    high}}: of loudness, difference: {axis: {value, low, high}}: of CCC, the answers' less loudness's, paired}.

    adv, truth: [n, 3]. speakers: [n]; where they are not known, or all one, each clip is left out for itself.
    """
    known = speakers is not None and len({str(speaker) for speaker in speakers}) > 1
    baseline = by_loudness(levels, truth, speakers if speakers is not None and known else range(len(truth)))
    found: dict[str, Any] = {"n": 0, "left_out": SPEAKER if known else "clip", "ccc": {}, "difference": {}}
    for axis, (mine, theirs, right) in answered(adv, baseline, truth).items():
        found["n"] = max(found["n"], len(right))
        found["ccc"][axis] = interval(ccc, theirs, right, seed=seed)
        found["difference"][axis] = interval(ccc_drop, mine, theirs, right, seed=seed)
    return found
