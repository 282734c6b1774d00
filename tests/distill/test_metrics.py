"""CCC as audmetric has it; intervals that hold their value; slices that add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import audmetric
import numpy as np
import pytest

from distill.annotation import AXES
from distill.metrics import (
    against,
    agreement,
    answered,
    ccc,
    ccc_drop,
    ccc_ratio,
    interval,
    mae,
    over_seeds,
    pearson,
    slices,
)

RNG = np.random.default_rng(7)


def answers(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions [n, 3] and a truth [n, 3] about `noise` away from them."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, (n, 3))
    return (truth + rng.normal(0, noise, (n, 3))).astype(np.float32), truth.astype(np.float32)


@pytest.mark.parametrize("n", [2, 3, 50, 1000])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.3, 0.4), (-1.0, 1.0)])
def test_ccc_and_pearson_are_audmetrics(n: int, scale: float, shift: float) -> None:
    truth = RNG.uniform(0, 1, n)
    prediction = scale * truth + shift + RNG.normal(0, 0.1, n)
    assert float(ccc(prediction, truth)) == pytest.approx(audmetric.concordance_cc(truth, prediction), abs=1e-9)
    assert float(pearson(prediction, truth)) == pytest.approx(audmetric.pearson_cc(truth, prediction), abs=1e-9)
    assert float(mae(prediction, truth)) == pytest.approx(audmetric.mean_absolute_error(truth, prediction), abs=1e-9)


def test_ccc_goes_along_the_last_axis() -> None:
    x, y = RNG.normal(size=(2, 5, 40)), RNG.normal(size=(2, 5, 40))
    expected = [[audmetric.concordance_cc(b, a) for a, b in zip(*pair, strict=True)] for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(ccc(x, y), expected, atol=1e-9)


def test_a_constant_prediction_agrees_with_nothing() -> None:
    truth = RNG.uniform(0, 1, 20)
    assert float(ccc(np.full(20, truth.mean()), truth)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(pearson(np.full(20, 0.5), truth))
    assert np.isnan(ccc(np.full(20, 0.5), np.full(20, 0.5)))


@pytest.mark.parametrize("noise", [0.05, 0.3, 3.0])
def test_the_interval_holds_its_value_and_follows_from_the_seed(noise: float) -> None:
    prediction, truth = (column[:, 0] for column in answers(60, noise))
    found = interval(ccc, prediction, truth, seed=1)
    assert found["value"] == pytest.approx(float(ccc(prediction, truth)))
    assert -1 <= found["low"] < found["value"] < found["high"] <= 1
    assert interval(ccc, prediction, truth, seed=1) == found != interval(ccc, prediction, truth, seed=2)


def test_more_clips_narrow_the_interval() -> None:
    widths = []
    for n in (20, 2000):
        found = interval(ccc, *(column[:, 0] for column in answers(n, 0.3)))
        widths.append(found["high"] - found["low"])
    assert widths[1] < widths[0] / 4


def test_sides_are_drawn_together() -> None:
    prediction, truth = (column[:, 0] for column in answers(60, 0.2))
    assert interval(ccc_drop, prediction, prediction, truth) == {"value": 0, "low": 0, "high": 0}
    drop = interval(ccc_drop, prediction, 0.5 * prediction, truth)
    assert drop["value"] == pytest.approx(float(ccc(prediction, truth) - ccc(0.5 * prediction, truth)))
    assert 0 < drop["low"] < drop["value"] < drop["high"]


def test_two_clips_have_no_interval() -> None:
    found = interval(ccc, np.array([0.1, 0.2]), np.array([0.1, 0.3]))
    assert np.isfinite(found["value"]) and np.isnan(found["low"]) and np.isnan(found["high"])


def test_an_axis_that_one_side_lacks_is_left_out() -> None:
    prediction, truth = answers(20, 0.1)
    prediction[:, 1], truth[3, 2] = np.nan, np.nan
    found = agreement(prediction, truth)
    assert found["n"] == 20
    assert list(found["ccc"]) == list(found["pearson"]) == list(found["mae"]) == ["arousal", "valence"]
    kept = np.arange(20) != 3
    assert found["mae"]["valence"] == pytest.approx(np.abs(prediction - truth)[kept, 2].mean(), abs=1e-6)


def test_every_axis_is_compared_with_itself() -> None:
    prediction, truth = answers(50, 0.1)
    found = agreement(prediction, truth)
    for column, axis in enumerate(AXES):
        expected = audmetric.concordance_cc(truth[:, column], prediction[:, column])
        assert found["ccc"][axis]["value"] == pytest.approx(expected, abs=1e-5)


def test_slices_are_the_agreement_of_their_clips() -> None:
    prediction, truth = answers(40, 0.2)
    sexes = ["f", "m", "m", "m"] * 10
    found = slices(prediction, truth, {"sex": sexes, "speaker": [3] * 40}, seed=5)
    women = np.array(sexes) == "f"
    assert found["sex"]["f"] == agreement(prediction[women], truth[women], seed=5)
    assert {value: part["n"] for value, part in found["sex"].items()} == {"f": 10, "m": 30}
    assert found["speaker"] == {"3": agreement(prediction, truth, seed=5)}


def test_three_clips_have_an_interval() -> None:
    found = interval(mae, np.array([0.1, 0.2, 0.9]), np.array([0.1, 0.3, 0.3]))
    assert found["low"] == pytest.approx(0, abs=1e-9) and found["high"] == pytest.approx(0.6)


def test_the_interval_is_the_middle_95_percent() -> None:
    """The mean of n clips of unit variance is normal, with a deviation of 1 / sqrt(n)."""
    clips = np.random.default_rng(3).standard_normal(400)
    clips = (clips - clips.mean()) / clips.std()
    found = interval(lambda x: x.mean(-1), clips, resamples=20_000)
    assert found["value"] == pytest.approx(0, abs=1e-9)
    assert (found["low"], found["high"]) == pytest.approx((-1.96 / 20, 1.96 / 20), rel=0.03)


def test_clips_are_drawn_in_blocks_that_bound_memory() -> None:
    drawn: list[tuple[int, ...]] = []

    def measure(x: np.ndarray) -> np.ndarray:
        drawn.append(x.shape)
        return np.asarray(x.mean(-1))

    interval(measure, np.zeros(900_000), resamples=5)
    assert drawn == [(900_000,), (2, 900_000), (2, 900_000), (1, 900_000)]


def test_a_measure_that_no_draw_decides_has_no_interval() -> None:
    found = interval(ccc, np.full(20, 0.5), np.full(20, 0.5))
    assert all(np.isnan(value) for value in found.values())


def test_draws_that_decide_nothing_do_not_spoil_the_interval() -> None:
    """Of two values among three clips, every ninth draw or so is constant."""
    sides = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0])
    assert interval(ccc, *sides) == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_answered_keeps_the_clips_that_all_sides_know() -> None:
    one, other, third = (np.arange(9.0).reshape(3, 3) + 10 * side for side in range(3))
    one[0, 0], other[1, 0], third[:, 1] = np.nan, np.inf, np.nan
    found = answered(one, other, third)
    assert list(found) == ["arousal", "valence"]
    assert [side.tolist() for side in found["arousal"]] == [[6], [16], [26]]
    assert [side.tolist() for side in found["valence"]] == [[2, 5, 8], [12, 15, 18], [22, 25, 28]]
    assert all(side.dtype == np.float64 for side in found["valence"])


def test_against_is_paired_and_says_who_is_better() -> None:
    other, truth = answers(80, 0.1)
    one = truth + 2 * (other - truth)  # the same faults, twice as large
    one[:, 1] = np.nan
    found = against(one, other, truth, seed=2)
    assert found["n"] == 80
    assert list(found["ccc"]) == list(found["ratio"]) == list(found["difference"]) == ["arousal", "valence"]
    for column, axis in ((0, "arousal"), (2, "valence")):
        mine, theirs, right = (side[:, column].astype(float) for side in (one, other, truth))
        assert found["ccc"][axis] == pytest.approx(float(ccc(theirs, right)))
        assert found["ratio"][axis] == interval(ccc_ratio, mine, theirs, right, seed=2)
        assert found["ratio"][axis]["value"] == pytest.approx(float(ccc(mine, right) / ccc(theirs, right)))
        assert found["difference"][axis]["high"] < 0 and found["ratio"][axis]["high"] < 1
    better = against(other, one, truth)["difference"]["valence"]
    assert better["value"] == pytest.approx(-found["difference"]["valence"]["value"]) and better["low"] > 0


def test_nobody_s_answers_agree_with_nothing() -> None:
    nothing = np.full((4, 3), np.nan)
    assert agreement(nothing, nothing) == {"n": 0, "ccc": {}, "pearson": {}, "mae": {}}


@pytest.mark.parametrize("seeds", [2, 5, 31])
def test_over_seeds_is_student_s_interval(seeds: int) -> None:
    from scipy import stats

    values = np.random.default_rng(seeds).normal(0.3, 0.1, seeds)
    low, high = stats.t.interval(0.95, seeds - 1, values.mean(), stats.sem(values))
    found = over_seeds([*values, float("nan")])
    assert (found["value"], found["low"], found["high"]) == pytest.approx((values.mean(), low, high), abs=1e-4)


def test_one_seed_has_no_interval() -> None:
    found = over_seeds([0.5, float("nan")])
    assert found["value"] == 0.5 and np.isnan([found["low"], found["high"]]).all()


@pytest.mark.parametrize(
    "measure", [agreement, lambda x, y, **seed: slices(x, y, {"all": [1] * 30}, **seed)["all"]["1"]]
)
def test_without_a_seed_it_is_that_of_zero(measure: Callable[..., Any]) -> None:
    prediction, truth = answers(30, 0.2)
    assert measure(prediction, truth) == measure(prediction, truth, seed=0) != measure(prediction, truth, seed=1)
    assert measure(prediction, truth)["ccc"]["arousal"] == interval(
        ccc, *(column[:, 0].astype(float) for column in (prediction, truth))
    )
