"""CCC as audmetric has it; intervals that hold their value; slices that add up."""

from __future__ import annotations

import audmetric
import numpy as np
import pytest

from distill.annotation import AXES
from distill.metrics import agreement, ccc, ccc_drop, interval, mae, pearson, slices

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
