"""The order of turns, and what is made of the times; never the times themselves."""

import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.latency import WARMUP, length_key, measure, noise, ratios, schedule, summary
from distill.audio import SAMPLING_RATE
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


class Counting:
    """A student that answers nothing, and notes who was asked about how many seconds."""

    def __init__(self, name, asked, *, shortest=0.0):
        self.name, self.asked, self.card = name, asked, SimpleNamespace(shortest_seconds=shortest)

    def __call__(self, signals):
        self.asked.append((self.name, signals.shape[1] / SAMPLING_RATE))


def test_every_model_is_warmed_up_and_then_asked_as_often_as_the_others():
    asked = []
    measured = measure([Counting("a", asked), Counting("b", asked)], seconds=(0.1, 0.2), rounds=5, seed=0)
    assert Counter(asked) == {(name, length): WARMUP + 5 for name in "ab" for length in (0.1, 0.2)}
    assert Counter(asked[: 4 * WARMUP]) == {(name, length): WARMUP for name in "ab" for length in (0.1, 0.2)}
    assert [[timed["n"] for timed in one.values()] for one in measured] == [[5, 5], [5, 5]]


def test_models_answer_one_length_directly_after_each_other():
    asked = []
    measure([Counting(name, asked) for name in "abc"], seconds=(0.1, 0.2), rounds=4, seed=3)
    turns = asked[6 * WARMUP :]
    together = [turns[at : at + 3] for at in range(0, len(turns), 3)]
    assert all({name for name, _ in three} == set("abc") and len({s for _, s in three}) == 1 for three in together)
    assert len({three[0][0] for three in together}) > 1, "not always the same one first"


def test_what_is_too_short_is_never_asked():
    asked = []
    students = [Counting("short", asked), Counting("long", asked, shortest=0.15)]
    short, long = measure(students, seconds=(0.1, 0.15, 0.2), rounds=2, seed=0)
    assert {length for name, length in asked if name == "long"} == {0.15, 0.2}
    assert list(short) == list(long) == ["0.1", "0.15", "0.2"] and long["0.1"] is None and short["0.1"]["n"] == 2
    assert ratios(long, short)["0.1"] is None and ratios(long, short)["0.2"] > 0


def test_a_slow_model_is_told_from_a_quick_one():
    """The clock runs around the answer alone; of the times themselves nothing is held."""

    class Slow(Counting):
        def __call__(self, signals):
            time.sleep(0.02)

    slow, quick = measure([Slow("slow", []), Counting("quick", [])], seconds=(0.1,), rounds=3, seed=0)
    assert slow["0.1"]["p10"] >= 19 and slow["0.1"]["rtf"] == pytest.approx(slow["0.1"]["median"] / 100, rel=1e-3)
    assert ratios(slow, quick)["0.1"] > 1


def test_a_single_answer_has_no_spread_and_none_has_no_summary():
    assert summary([2_500_000], 0.5) == {"median": 2.5, "p10": 2.5, "p90": 2.5, "rtf": 0.005, "n": 1}
    assert summary([], 5.0) is None


def test_noise_of_another_length_or_seed_is_another():
    assert noise(1, seed=0).dtype == np.float32 and noise(2.5, seed=0).shape == (1, 40_000)
    assert not np.array_equal(noise(0.5, seed=0), noise(0.5, seed=1))
