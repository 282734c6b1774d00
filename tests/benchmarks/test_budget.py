"""Budgets: read strictly; who fits, who is best, and why the others are not."""

from __future__ import annotations

import copy
import re

import pytest

from benchmarks.budget import budget, choose, misfits, told
from distill.errors import DistillError
from tests.benchmarks.made import swept


def member(name, flash, ram, mmacs, *, arousal, valence, dominance=0.5):
    return {
        "name": name, "flash_bytes": flash, "ram_bytes": ram, "macs_per_second": mmacs * 1e6,
        "parameters": 2 * (flash or 50_000), "derived": ["dominance"],
        "ccc": {"teacher": swept(arousal=arousal, dominance=dominance, valence=valence), "people": swept(valence=0.9)},
    }  # fmt: skip


RECORD = {
    "members": [
        member("large", 200_000, 30_000, 80, arousal=0.95, valence=0.80),
        member("middle", 40_000, 9_000, 11, arousal=0.90, valence=0.70),
        member("lean", 40_000, 9_000, 9, arousal=0.70, valence=0.90),
        member("small", 3_000, 3_000, 3, arousal=0.80, valence=0.40, dominance=0.99),
        member("other", None, None, 5, arousal=0.99, valence=0.99),
    ]
}


def test_the_best_is_that_with_the_highest_sum_of_what_is_measured():
    choice = choose(RECORD, budget("flash=96k,ram=24k,mmacs=12"))
    assert choice["axes"] == ["arousal", "valence"] and choice["truth"] == "teacher", "dominance is derived"
    assert list(choice["order"]) == ["lean", "middle", "small"], "equal ones by their operations"
    assert choice["best"] == "lean" and choice["order"]["small"] == pytest.approx(1.2)
    assert choice["others"] == {
        "large": "flash 200 kB of 96.0 kB, memory 30.0 kB of 24.0 kB, MAC/s 80.0 M of 12.0 M",
        "other": "flash not known, memory not known",
    }


def test_what_is_not_limited_is_not_asked_for():
    assert choose(RECORD, budget("mmacs=12"))["best"] == "other"
    assert choose(RECORD, budget("parameters=7k"))["order"] == {"small": pytest.approx(1.2)}


def test_a_limit_is_met_by_what_is_as_large():
    assert choose(RECORD, budget("flash=3k,ram=3k,mmacs=3"))["best"] == "small"
    with pytest.raises(DistillError):
        choose(RECORD, budget("flash=2999"))


def test_none_fits():
    nearest = "none of 5 members fits flash 2.00 kB, MAC/s 2.00 M; nearest is small: flash 3.00 kB of 2.00 kB, MAC/s "
    with pytest.raises(DistillError, match=f"^{re.escape(nearest)}"):
        choose(RECORD, budget("flash=2k,mmacs=2"))


def test_who_fits_but_was_not_measured_is_told():
    record = copy.deepcopy(RECORD)
    record["members"][2]["ccc"] = {}
    choice = choose(record, budget("flash=96k"))
    assert choice["best"] == "middle" and choice["others"]["lean"] == "not measured"
    record["members"][1]["ccc"] = record["members"][3]["ccc"] = {}
    with pytest.raises(DistillError, match="middle, lean, small: would fit, but none has been measured"):
        choose(record, budget("flash=96k"))


def test_where_all_is_derived_that_is_summed():
    record = copy.deepcopy(RECORD)
    for one in record["members"]:
        one["ccc"] = {"teacher": {"dominance": one["ccc"]["teacher"]["dominance"]}}
    assert choose(record, budget("flash=96k"))["best"] == "small"


def test_it_is_told_for_people():
    lines = told({**RECORD, "choice": choose(RECORD, budget("flash=96k,mmacs=12"))}).splitlines()
    assert lines[0] == "within flash 96.0 kB, MAC/s 12.0 M: 3 of 5 members"
    best = "  lean (best, by the highest sum of CCC with teacher over arousal and valence: 1.600): "
    assert lines[1].startswith(best)
    assert "flash 40.0 kB, memory 9.00 kB, MAC/s 9.00 M" in lines[1] and "arousal 0.70 (0.60 to 0.75)" in lines[1]
    assert lines[2].startswith("  middle (next: 1.600)") and lines[3].startswith("  small (then: 1.200)")
    assert lines[4:] == ["  not large: flash 200 kB of 96.0 kB, MAC/s 80.0 M of 12.0 M", "  not other: flash not known"]


def test_who_can_never_fit_is_known_before_anything_is_measured():
    costs = [{**one, "ccc": {}} for one in RECORD["members"]]
    assert list(misfits(costs, budget("ram=24k"))) == ["large", "other"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is no key=value, as flash=96k; keys are flash, ram, mmacs, parameters"),
        ("rom=3k", "'rom=3k' is no key=value"),
        ("flash=3k,flash=4k", "'flash=4k' stands twice"),
        ("flash", "'flash' is no key=value, as flash=96k"),
        ("flash=", "flash is ''; it must be a number above zero, as 96k or 0.5M"),
        ("flash=0", "flash is '0'"),
        ("flash=-3k", "flash is '-3k'"),
        ("flash=3K", "flash is '3K'; k and M are the only units, a thousand and a million: 3k, 3M or 3"),
        ("flash=24kB", "flash is '24kB'; k and M are the only units, a thousand and a million: 24k, 24M or 24"),
        ("flash=1e5", "flash is '1e5'; k and M are the only units"),
        ("flash=nan", "flash is 'nan'"),
        ("flash=3k,", "'' is no key=value"),
    ],
)
def test_a_budget_is_read_strictly(text, reason):
    with pytest.raises(DistillError, match=f"^--fits: {re.escape(reason)}"):
        budget(text)


def test_spaces_and_fractions_are_understood():
    assert budget(" flash = 0.5M , mmacs=1.5").most == {"flash": 500_000, "mmacs": 1_500_000}
