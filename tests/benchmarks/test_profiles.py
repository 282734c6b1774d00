"""Verdicts: what fits, what fits some of the time, and what cannot be told."""

import pytest

from benchmarks.profiles import PROFILES, described, judged, profile
from distill.errors import DistillError


def device(low=10e6, high=20e6, instructions=9e6, flash=80_000, ram=15_000):
    cycles = None if low is None else {"low": low, "high": high}
    return {
        "instructions_per_second": instructions,
        "cycles_per_second": cycles,
        "flash_bytes": flash,
        "ram_bytes": ram,
    }


M4, M55, PI = (profile(name) for name in ("wearable-m4", "wearable-m55", "raspberry-pi"))


def test_what_fits_says_how_much_of_the_core_it_takes():
    said = judged(M4, device(16e6, 32e6))
    assert said["fits"] is True and said["duty_cycle"] == 1.0
    assert said["verdict"] == "fits: a second of audio takes 0.25 to 0.50 s of the core"


def test_what_is_too_slow_hears_some_of_the_time():
    said = judged(M4, device(96e6, 128e6))
    assert said["fits"] is False and said["duty_cycle"] == 0.5
    assert said["verdict"].endswith("takes 1.50 to 2.00 s of the core; it can hear 50 % of the time")


def test_a_bracket_around_the_budget_may_fit():
    said = judged(M4, device(32e6, 80e6))
    assert said["fits"] is None and said["verdict"].startswith("may fit") and "80 % of the time" in said["verdict"]


@pytest.mark.parametrize(("changes", "kind"), [({"flash": 600_000}, "flash"), ({"ram": 70_000}, "ram")])
def test_what_does_not_fit_into_memory(changes, kind):
    said = judged(M4, device(**changes))
    assert said["fits"] is False and said["duty_cycle"] == 0.0 and f"bytes of {kind} are more than" in said["verdict"]


def test_without_published_timings_only_much_room_is_a_verdict():
    verdict = judged(M55, device(low=None, instructions=20e6))["verdict"]
    assert verdict.startswith("fits: a second of audio is 20.0 M instructions for 220 M cycles, 11.0 for each")
    assert judged(M55, device(low=None, instructions=200e6))["fits"] is None


def test_what_is_not_emulated_cannot_be_told():
    found = described(PI, {})
    assert found["fits"] is None and "run `distill benchmark` on it" in found["verdict"] and found["would_fit"] == []


def test_another_student_is_named_where_this_one_does_not_fit():
    found = described(M4, {"cortex-m4": device(96e6, 128e6)})
    assert "wav2small-lite" in found["would_fit"] and "wav2small-lite" in found["verdict"]
    assert described(M4, {"cortex-m4": device()})["would_fit"] == []


def test_every_budget_has_its_source():
    for one in PROFILES.values():
        assert len(one.source) > 20 and (one.core is None) == (one.clock is None)


def test_no_such_profile():
    with pytest.raises(DistillError, match="toaster: no such profile; there are hearing-aid, wearable-m4"):
        profile("toaster")
