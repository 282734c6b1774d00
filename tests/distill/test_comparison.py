"""Variants side by side: the clips and seeds that all have, paired differences, and the table that tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.comparison import Answered, Repetition, as_table, compared, gain, mean_ccc, read_answers
from distill.errors import DistillError
from distill.metrics import ccc

TRUTH = np.random.default_rng(0).random((40, 3))


def answers(noise: float, *, seed: int = 0, lacking: int | None = None, clips: int = 40) -> Answered:
    """Of each clip an answer about `noise` away from the truth; lacking: an axis that is not answered."""
    said = TRUTH + np.random.default_rng(seed).normal(0, noise, TRUTH.shape)
    if lacking is not None:
        said[:, lacking] = np.nan
    return {(f"{number}.wav", None, None): np.stack([said[number], TRUTH[number]]) for number in range(clips)}


def seeds(noise: float, *which: int, **how: Any) -> list[Repetition]:
    return [Repetition(seed, 60.0 * (seed + 1), {"people": answers(noise, seed=seed, **how)}) for seed in which]


def test_a_variant_is_told_by_the_mean_of_its_seeds() -> None:
    own = seeds(0.2, 0, 1, 2)
    told = compared({"plain": own})["plain"]
    values = [float(ccc(np.array([pair[0, 0] for pair in one.answers["people"].values()]), TRUTH[:, 0])) for one in own]
    found = told["truths"]["people"]["arousal"]
    assert found["values"] == pytest.approx(values) and found["mean"] == pytest.approx(np.mean(values))
    assert (found["low"], found["high"], found["n"]) == (min(found["values"]), max(found["values"]), 40)
    assert found["interval"]["low"] < found["mean"] < found["interval"]["high"]
    assert (told["seeds"], told["seconds"], told["difference"]) == ([0, 1, 2], 120.0, {})


def test_the_difference_is_to_the_first_variant_over_the_seeds_of_both() -> None:
    found = compared({"worse": seeds(0.4, 0, 1), "better": seeds(0.1, 1, 2)})["better"]
    expected = compared({"worse": seeds(0.4, 1), "better": seeds(0.1, 1)})["better"]
    assert found["difference"] == expected["difference"]
    assert all(axis["low"] > 0 for axis in found["difference"]["people"].values())


def test_variants_without_a_common_seed_have_no_difference() -> None:
    found = compared({"one": seeds(0.2, 0), "other": seeds(0.2, 1)})["other"]
    assert found["difference"] == {} and found["truths"]["people"]["valence"]["n"] == 40


def test_only_clips_that_all_runs_answered_count() -> None:
    own = [*seeds(0.2, 0), *seeds(0.2, 1, clips=25)]
    assert compared({"plain": own})["plain"]["truths"]["people"]["arousal"]["n"] == 25


def test_an_axis_that_one_run_lacks_is_left_out() -> None:
    own = [*seeds(0.2, 0), *seeds(0.2, 1, lacking=1)]
    assert list(compared({"plain": own})["plain"]["truths"]["people"]) == ["arousal", "valence"]


def test_a_variant_that_never_ended_is_told_as_empty() -> None:
    found = compared({"failed": [], "plain": seeds(0.2, 0)})
    assert found["failed"] == {"seeds": [], "seconds": None, "truths": {}, "difference": {}}
    assert found["plain"]["difference"] == {} and compared({}) == {}


def test_gain_is_of_the_first_half_over_the_second() -> None:
    near, far = TRUTH[:, 0] + 0.05, TRUTH[:, 0] + 0.3
    truth = TRUTH[:, 0]
    assert float(gain(truth, near, near, far, near)) == pytest.approx(
        float(mean_ccc(truth, near) - (ccc(far, truth) + ccc(near, truth)) / 2)
    )
    assert float(gain(truth, far, near)) == -float(gain(truth, near, far)) < 0


def result(**more: Any) -> dict[str, Any]:
    variants = compared({"plain": seeds(0.2, 0, 1), "few": seeds(0.1, 1, lacking=2), "none": []})
    return {"variants": variants, "seeds": 2, "failed": [], **more}


def test_the_table_says_how_many_seeds_ended_and_what_was_not_answered() -> None:
    head, rule, plain, few, none = as_table(result()).splitlines()[2:]
    assert head == "| variant | people: arousal | people: dominance | people: valence | minutes |"
    assert rule.count("---") == 5 and plain.startswith("| plain | 0.") and plain.endswith("| 1.5 |")
    assert few.startswith("| few (1 of 2 seeds) |") and few.endswith("| - | 2.0 |") and few.count("; +") == 2
    assert none == "| none (0 of 2 seeds) | - | - | - | - |"


def test_the_table_names_what_failed_behind_a_blank_line() -> None:
    told = as_table(result(failed=[{"variant": "none", "seed": 1, "reason": "disk full"}])).splitlines()
    assert told[-2:] == ["", "- failed: none, seed 1: disk full"]


def test_written_answers_are_read_with_their_truth(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(
        "file,start,end,arousal,dominance,valence,true_arousal,true_dominance,true_valence\n"
        "a.wav,0.0,1.5,0.5,,0.25,0.4,,0.125\nb.wav,,,0.1,,0.2,,,0.3\n"
    )
    found = read_answers(path)
    assert list(found) == [("a.wav", 0.0, 1.5), ("b.wav", None, None)]
    np.testing.assert_array_equal(found["a.wav", 0.0, 1.5], [[0.5, np.nan, 0.25], [0.4, np.nan, 0.125]])
    np.testing.assert_allclose(found["b.wav", None, None], [[0.1, np.nan, 0.2], [np.nan, np.nan, 0.3]])
    with pytest.raises(DistillError, match=r"none\.csv"):
        read_answers(tmp_path / "none.csv")
