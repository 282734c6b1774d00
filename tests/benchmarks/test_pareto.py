"""Pareto fronts and their pictures."""

from __future__ import annotations

import pytest

from benchmarks.pareto import AGAINST, fronts, picture
from tests.benchmarks.made import Drawn, swept


def member(name, cost, **axes):
    costs = {against.field: cost for against in AGAINST}
    return {"name": name, **costs, "derived": [], "ccc": {"people": swept(**axes)} if axes else {}}


def front(*members, field="ram_bytes"):
    return fronts(members)[field].get("people", {}).get("valence", [])


def test_nobody_on_a_front_is_outdone_and_everybody_else_is():
    values = [(3, 0.2), (9, 0.9), (5, 0.5), (4, 0.6), (7, 0.6), (8, 0.7), (12, 0.8)]
    members = [member(f"m{place}", cost, valence=value) for place, (cost, value) in enumerate(values)]
    named = front(*members)
    assert named == ["m0", "m3", "m5", "m1"], "cheapest first"
    for place, (cost, value) in enumerate(values):
        outdone = any((c <= cost and v >= value) and (c, v) != (cost, value) for c, v in values)
        assert outdone == (f"m{place}" not in named)


def test_of_two_that_cost_alike_the_better_is_on_it_and_of_two_alike_the_first():
    assert front(member("worse", 3, valence=0.4), member("better", 3, valence=0.5)) == ["better"]
    assert front(member("first", 3, valence=0.5), member("second", 3, valence=0.5)) == ["first"]


def test_who_is_not_measured_or_whose_cost_is_unknown_takes_no_part():
    constant = member("constant", 1, valence=0.5)
    constant["ccc"]["people"]["valence"]["mean"] = None
    members = [member("unknown", None, valence=0.9), member("unmeasured", 1), constant, member("one", 5, valence=0.3)]
    assert front(*members) == ["one"] and front(member("unmeasured", 1)) == []


def record(*members):
    return {"members": list(members), "fronts": fronts(members)}


def test_a_picture_names_every_member_and_draws_the_front_through_its_own():
    members = [member("lean <8>", 3e6, valence=0.4, arousal=0.9), member("outdone", 9e6, valence=0.3, arousal=0.8),
               member("large", 2e7, valence=0.6, arousal=0.7)]  # fmt: skip
    drawn = Drawn(picture(record(*members), "people", AGAINST[0]))
    arousal, valence = ["lean <8>"], ["large", "lean <8>"]
    assert sorted(drawn.text("name on")) == sorted([*arousal, *valence])
    assert sorted(drawn.text("name")) == ["large", "outdone", "outdone"]
    assert len(drawn.place("mark s0")) == 3 and len(drawn.place("mark s7")) == 3 and len(drawn.of("faint")) == 3
    assert any("lean <8>: 3 M, CCC 0.40 (0.30 to 0.45)" in text for text in drawn.text("mark s0"))
    stairs = [element.attrib["d"] for element in drawn.of("line s0") if "V" not in element.attrib["d"]]
    assert [path.count("L") for path in stairs] == [1, 3], "one corner and the end, two and the end"
    assert drawn.spoken.endswith("valence: lean <8> 0.40, outdone 0.30, large 0.60")


def test_names_keep_apart_where_there_is_room():
    members = [member(f"member {place}", 5e6, valence=0.5 + place / 100) for place in range(6)]
    drawn = Drawn(picture(record(*members), "people", AGAINST[0]))
    at = [(name.attrib["x"], float(name.attrib["y"])) for kind in ("name", "name on") for name in drawn.of(kind)]
    assert len(at) == 6
    for place, (side, height) in enumerate(at):
        assert all(abs(height - other) >= 10 for beside, other in at[:place] if beside == side)


@pytest.mark.parametrize("members", [[], [member("unmeasured", 1)]])
def test_of_nothing_there_is_no_picture(members):
    assert picture(record(*members), "people", AGAINST[0]) is None


def test_clips_too_few_for_an_interval_have_no_whisker():
    alone = member("alone", 3e6, valence=0.4)
    alone["ccc"]["people"]["valence"]["interval"] = {"low": None, "high": None}
    drawn = Drawn(picture(record(alone), "people", AGAINST[0]))
    assert drawn.whiskers("line s0") == [] and drawn.text("name on") == ["alone"]
