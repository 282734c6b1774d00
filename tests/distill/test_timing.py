"""Turns, spreads, and processes that are asked; never how long anything takes."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from typing import Any

import pytest

from distill.errors import DistillError
from distill.timing import in_turns, serve, spread, turned, workers


def _serving(end: Connection, added: int) -> None:
    serve(end, lambda question: (question + added, os.getpid()))


def _die(end: Any) -> None:
    end.close()


def test_every_way_begins_a_round_in_its_turn() -> None:
    assert [turned(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]


def test_each_way_has_one_turn_a_round() -> None:
    order: list[str] = []
    taken = in_turns({name: lambda name=name: order.append(name) or len(order) for name in "abc"}, rounds=2)
    assert order == ["a", "b", "c", "b", "c", "a"]
    assert taken == {"a": [1, 6], "b": [2, 4], "c": [3, 5]}


def test_the_spread_is_that_of_percentiles() -> None:
    assert spread(range(101), 1) == {"median": 50.0, "p10": 10.0, "p90": 90.0}
    assert spread([1 / 3], 4) == {"median": 0.3333, "p10": 0.3333, "p90": 0.3333}


def test_workers_answer_in_processes_of_their_own() -> None:
    with workers(_serving, 1, count=2) as team:
        for worker in team:
            worker.ask(41)
        answers = [worker.answer() for worker in team]
        assert team[0](1)[0] == 2
    assert [answer for answer, _ in answers] == [42, 42]
    assert len({os.getpid(), *(process for _, process in answers)}) == 3


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(DistillError, match="a process of the benchmark ended"), workers(_die):
        pass
