"""Agreement between two sets of answers: CCC, Pearson, mean absolute error, and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distill.annotation import AXES

Measure = Callable[..., np.ndarray]

#: Resamples behind a 95 % interval.
RESAMPLES = 2000

#: Student's t at 97.5 % for 1, 2, ... degrees of freedom; beyond the last it hardly falls.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
            2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
            2.042)  # fmt: skip


def ccc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Concordance correlation coefficient along the last axis, -1..1; NaN where both sides are constant.

    Lin (1989), "A concordance correlation coefficient to evaluate reproducibility", with population moments.

    x, y: [..., n].

    >>> float(ccc(np.array([0.1, 0.5, 0.9]), np.array([0.1, 0.5, 0.9])))
    1.0
    >>> round(float(ccc(np.array([0.1, 0.5, 0.9]), np.array([0.3, 0.7, 1.1]))), 3)  # a shift of 0.2 is punished
    0.842
    """
    mean_x, mean_y = x.mean(-1), y.mean(-1)
    covariance = ((x - mean_x[..., None]) * (y - mean_y[..., None])).mean(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * covariance / (x.var(-1) + y.var(-1) + (mean_x - mean_y) ** 2))


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis, -1..1; NaN where a side is constant. x, y: [..., n].

    >>> round(float(pearson(np.array([0.1, 0.5, 0.9]), np.array([0.3, 0.7, 1.1]))), 3)  # a shift is forgiven
    1.0
    """
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * y).mean(-1) / np.sqrt((x**2).mean(-1) * (y**2).mean(-1)))


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation, -1..1; equal values share their mean rank; NaN where a side is constant. x, y: [n].

    >>> round(float(spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 8.0, 8.0, 9.0]))), 3)
    0.949
    """
    return pearson(_ranks(x), _ranks(y))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray(((last - counts + last - 1) / 2)[inverse])


def mae(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean absolute error along the last axis. x, y: [..., n].

    >>> round(float(mae(np.array([0.1, 0.5]), np.array([0.2, 0.8]))), 3)
    0.2
    """
    return np.asarray(np.abs(x - y).mean(-1))


def unweighted_recall(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Unweighted average recall (UAR) along the last axis, 0..1: the mean over the classes of `truth` of the share of
    their clips that were recognised. predicted, truth: whole numbers [..., n].

    >>> float(unweighted_recall(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])))
    0.75
    """
    recalls = []
    for each in np.unique(truth):
        of = truth == each
        with np.errstate(invalid="ignore"):
            recalls.append(((predicted == each) & of).sum(-1) / of.sum(-1))
    return np.asarray(np.nanmean(np.stack(recalls), axis=0))


def interval(measure: Measure, *sides: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float]:
    """`measure` of two or more sides with its 95 % percentile bootstrap interval over clips: {value, low, high}.

    sides: [n] each, without NaN; the same clips are drawn of all of them. Below three clips the interval is NaN.

    >>> truth = np.array([0.1, 0.2, 0.5, 0.9])
    >>> {key: round(value, 3) for key, value in interval(mae, truth + 0.2, truth).items()}
    {'value': 0.2, 'low': 0.2, 'high': 0.2}
    """
    value = float(measure(*sides))
    drawn = np.concatenate(list(_resampled(measure, sides, resamples, seed))) if len(sides[0]) >= 3 else np.zeros(0)
    if np.isnan(drawn).all():
        return {"value": value, "low": float("nan"), "high": float("nan")}
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean of a figure over seeds with its 95 % interval by Student's t: {value, low, high, values}.

    values: one a seed; NaN takes no part. Of fewer than two the interval is NaN.

    >>> {key: round(float(one), 3) for key, one in over_seeds([0.1, 0.2, 0.3]).items() if key != "values"}
    {'value': 0.2, 'low': -0.048, 'high': 0.448}
    """
    known = np.asarray([value for value in values if np.isfinite(value)], np.float64)
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < 2:
        return {"value": mean, "low": float("nan"), "high": float("nan"), "values": list(values)}
    half = _STUDENT[min(len(known) - 1, len(_STUDENT)) - 1] * float(known.std(ddof=1)) / len(known) ** 0.5
    return {"value": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def _resampled(measure: Measure, sides: Sequence[np.ndarray], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`measure` of clips drawn with replacement, in blocks, so that memory stays bounded."""
    rng = np.random.default_rng(seed)
    clips = len(sides[0])
    block = max(1, 2_000_000 // clips)
    for first in range(0, resamples, block):
        chosen = rng.integers(0, clips, (min(block, resamples - first), clips))
        yield measure(*(side[chosen] for side in sides))


def ccc_drop(before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """By how much CCC with the truth is lower after than before, along the last axis. All: [..., n].

    >>> truth = np.array([0.1, 0.5, 0.9])
    >>> round(float(ccc_drop(truth, truth + 0.2, truth)), 3)
    0.158
    """
    return np.asarray(ccc(before, truth) - ccc(after, truth))


def ccc_ratio(one: np.ndarray, other: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The share of the other's CCC with the truth that one keeps, along the last axis. All: [..., n].

    >>> truth = np.array([0.1, 0.5, 0.9])
    >>> round(float(ccc_ratio(truth + 0.2, truth, truth)), 3)
    0.842
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ccc(one, truth) / ccc(other, truth))


def answered(*sides: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    """Of each axis the answers of those clips that all sides have answered: float64 [m] a side. An axis that no clip
    has from all of them is left out. sides: [n, 3] each, in the order of `AXES`, NaN where there is no answer.

    >>> answered(np.array([[0.1, np.nan, 0.3], [0.4, 0.5, 0.6]]), np.array([[1, np.nan, 3], [4, np.nan, np.nan]]))
    {'arousal': (array([0.1, 0.4]), array([1., 4.])), 'valence': (array([0.3]), array([3.]))}
    """
    found = {}
    for column, axis in enumerate(AXES):
        answers = [side[:, column].astype(np.float64) for side in sides]
        known = np.isfinite(answers).all(0)
        if known.any():
            found[axis] = tuple(side[known] for side in answers)
    return found


def agreement(predicted: np.ndarray, truth: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """{n, ccc: {axis: {value, low, high}}, pearson: {axis}, mae: {axis}}; an axis that one side lacks is left out.

    >>> truth = np.array([[0.1, np.nan, 0.3], [0.5, np.nan, 0.2], [0.9, np.nan, 0.8]])
    >>> found = agreement(truth + 0.1, truth)
    >>> found["n"], {axis: round(value, 3) for axis, value in found["mae"].items()}
    (3, {'arousal': 0.1, 'valence': 0.1})
    """
    pairs = answered(predicted, truth)
    return {
        "n": max((len(x) for x, _ in pairs.values()), default=0),
        "ccc": {axis: interval(ccc, x, y, seed=seed) for axis, (x, y) in pairs.items()},
        "pearson": {axis: float(pearson(x, y)) for axis, (x, y) in pairs.items()},
        "mae": {axis: float(mae(x, y)) for axis, (x, y) in pairs.items()},
    }


def against(one: np.ndarray, other: np.ndarray, truth: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """How one set of answers stands to another of the same clips: {n, ccc: {axis}: the other's, ratio: {axis: {value,
    low, high}}, difference: {axis: {value, low, high}}}. The intervals are paired: clips are drawn for both at once.

    one, other, truth: [n, 3]. ratio: of the CCC with the truth, one's to the other's; difference: one's less the
    other's.

    >>> truth = np.array([[0.1, np.nan, np.nan], [0.5, np.nan, np.nan], [0.9, np.nan, np.nan]])
    >>> round(against(truth + 0.2, truth, truth)["ratio"]["arousal"]["value"], 3)
    0.842
    """
    found: dict[str, Any] = {"n": len(truth), "ccc": {}, "ratio": {}, "difference": {}}
    for axis, (mine, theirs, right) in answered(one, other, truth).items():
        found["ccc"][axis] = float(ccc(theirs, right))
        found["ratio"][axis] = interval(ccc_ratio, mine, theirs, right, seed=seed)
        found["difference"][axis] = interval(ccc_drop, mine, theirs, right, seed=seed)
    return found


def slices(
    predicted: np.ndarray, truth: np.ndarray, groups: Mapping[str, Sequence[Any]], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """`agreement` for every value of every grouping column: {column: {value: agreement}}. groups: {column: [n]}.

    >>> truth = np.array([[0.1, 0.2, 0.3], [0.5, 0.1, 0.2], [0.9, 0.6, 0.8]])
    >>> {sex: part["n"] for sex, part in slices(truth, truth, {"sex": ["f", "m", "f"]})["sex"].items()}
    {'f': 2, 'm': 1}
    """
    found: dict[str, dict[str, Any]] = {}
    for column, values in groups.items():
        labels = np.array([str(value) for value in values])
        found[column] = {
            label: agreement(predicted[labels == label], truth[labels == label], seed=seed)
            for label in sorted(set(labels.tolist()))
        }
    return found
