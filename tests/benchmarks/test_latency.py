"""The order of turns, and what is made of the times; never the times themselves."""

import numpy as np
import pytest

from benchmarks.latency import length_key, measure, noise, ratios, schedule, summary
from distill.student import Student


def test_every_round_asks_every_model_for_every_length_once():
    for turns in schedule(3, (1, 5), rounds=5, seed=0):
        assert sorted(turns) == [(model, length) for model in range(3) for length in (1, 5)]


def test_models_take_turns_at_one_length_before_the_next():
    (turns,) = schedule(3, (1, 5), rounds=1, seed=0)
    assert len({length for _, length in turns[:3]}) == len({length for _, length in turns[3:]}) == 1


def test_the_seed_alone_decides_the_order():
    first, again, other = ([*schedule(4, (1, 3, 5), rounds=8, seed=seed)] for seed in (7, 7, 8))
    assert first == again != other
    assert first[0] != first[1], "each round is drawn anew"


def test_summary_of_known_samples():
    timed = summary([count * 1_000_000 for count in range(1, 12)], 5.0)
    assert timed == {"median": 6.0, "p10": 2.0, "p90": 10.0, "rtf": 0.0012, "n": 11}


def test_ratio_is_null_where_one_side_was_not_timed():
    assert ratios({"1": None, "5": {"median": 4.0}}, {"1": {"median": 1.0}, "5": {"median": 2.0}}) == {
        "1": None,
        "5": 2.0,
    }


def test_noise_is_seeded_and_never_silent():
    assert np.array_equal(noise(0.5, seed=3), noise(0.5, seed=3))
    assert noise(0.5, seed=3).shape == (1, 8000)
    assert 0.05 < noise(1, seed=0).std() < 0.2


def test_a_length_below_the_shortest_clip_is_null(make_student, tmp_path):
    student = Student(make_student(tmp_path / "late.onnx", shortest_seconds=2.0))
    (timed,) = measure([student], seconds=(1, 3), rounds=2, seed=0)
    assert timed["1"] is None
    assert timed["3"]["n"] == 2


@pytest.mark.parametrize(("seconds", "key"), [(1, "1"), (10.0, "10"), (0.5, "0.5")])
def test_length_keys(seconds, key):
    assert length_key(seconds) == key
