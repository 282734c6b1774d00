"""Waiting, but not for ever; and how many threads one of several processes takes."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace

import pytest

from teacher import threads
from teacher.patience import in_time
from teacher.threads import share_of_cores, take_threads, threads_here


def test_an_answer_in_time_is_given_whatever_it_is() -> None:
    assert in_time(lambda: None, seconds=5) is None and in_time(lambda: [1], seconds=5) == [1]


def test_what_is_raised_reaches_the_caller_as_it_is() -> None:
    error = KeyError("name")

    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        in_time(fail, seconds=5)
    assert caught.value is error


def test_no_answer_in_time_is_told_and_the_attempt_left_to_itself() -> None:
    released = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer in time"):
        in_time(lambda: released.wait(30), seconds=0.05)
    assert time.monotonic() - began < 5
    released.set()


def test_a_timeout_of_the_library_itself_is_passed_on() -> None:
    def fail() -> None:
        raise TimeoutError("the library's own")

    with pytest.raises(TimeoutError, match="the library's own"):
        in_time(fail, seconds=5)


@pytest.mark.parametrize(
    ("said", "taken"), [("3", 3), ("2,1", 2), ("", 8), ("0", 8), ("many", 8), ("-2", 8), ("1.5", 8)]
)
def test_threads_are_those_of_the_environment_or_one_a_core(
    monkeypatch: pytest.MonkeyPatch, said: str, taken: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv(threads.VARIABLE, said)
    assert threads_here() == taken


def test_without_a_word_of_the_system_it_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads_here() == share_of_cores(1) == share_of_cores(4) == 1


@pytest.mark.parametrize(("processes", "share"), [(1, 8), (2, 4), (3, 2), (8, 1), (9, 1)])
def test_processes_never_take_more_than_the_cores_together(
    monkeypatch: pytest.MonkeyPatch, processes: int, share: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert share_of_cores(processes) == share


@pytest.mark.parametrize(("user", "left", "told"), [(None, "2", [2]), ("5", "5", []), ("2", "2", [2])])
def test_a_number_that_the_user_gave_stays(
    monkeypatch: pytest.MonkeyPatch, user: str | None, left: str, told: list[int]
) -> None:
    heard: list[int] = []
    monkeypatch.setitem(threads.sys.modules, "torch", SimpleNamespace(set_num_threads=heard.append))  # type: ignore[arg-type]
    monkeypatch.setenv(threads.VARIABLE, "to be put back")
    monkeypatch.delenv(threads.VARIABLE)
    if user is not None:
        monkeypatch.setenv(threads.VARIABLE, user)
    take_threads(2)
    assert os.environ[threads.VARIABLE] == left and heard == told
