"""Long work shows itself on standard error: lines where there is no terminal, a bar where there is one."""

from __future__ import annotations

import sys

import pytest

from distill import progress
from distill.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_lines_say_counts_rates_time_to_go_and_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    clock = iter([0.0, 0.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("labelling", 40, "segments") as shown:
        shown.advance(20, audio_seconds=72.0, failed=3)
        shown.advance(20)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines()[:2] == [
        "labelling: 20/40 segments, 2.0/s, 0.002 audio-hours/s, 10 s to go, 3 failed",
        "labelling: 40/40 segments, 2.0/s, 0.001 audio-hours/s, 3 failed",
    ]


def test_what_an_earlier_run_did_makes_this_one_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("training", 40, "steps") as shown:
        shown.resume(20)
        shown.advance(10)
        assert shown.status() == "30/40 steps, 1.0/s, 10 s to go, 0 failed"


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("labelling", 2, "segments") as shown:
        shown.advance(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_ends_even_after_a_crash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(RuntimeError), Progress("labelling", 3, "segments") as shown:
        shown.advance(2, failed=1)
        raise RuntimeError
    out, err = capsys.readouterr()
    assert not out and "labelling" in err and "1 failed" in err
    assert shown._bar[0].finished is False and not shown._bar[0].live.is_started
