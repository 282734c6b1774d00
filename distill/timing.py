"""Ways to do the same thing timed fairly: processes of their own that take turns in one run, and the spread of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np

from distill.errors import DistillError
from distill.progress import Progress

Taken = TypeVar("Taken")


def in_turns(ways: Mapping[str, Callable[[], Taken]], rounds: int) -> dict[str, list[Taken]]:
    """What every way took, {name: [rounds]}. In a round each has one turn, so that drift hits all alike.

    >>> in_turns({"one": lambda: 1.0, "other": lambda: 2.0}, rounds=2)
    {'one': [1.0, 1.0], 'other': [2.0, 2.0]}
    """
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    with Progress("timing", rounds, "rounds") as bar:
        for number in range(rounds):
            for name in turned(list(ways), number):
                taken[name].append(ways[name]())
            bar.advance()
    return taken


def turned(names: Sequence[str], by: int) -> list[str]:
    """Another way begins each round, so that none is always the one after the same.

    >>> turned(["a", "b", "c"], 4)
    ['b', 'c', 'a']
    """
    by %= len(names)
    return [*names[by:], *names[:by]]


def spread(values: Sequence[float], digits: int) -> dict[str, float]:
    """Median, 10th and 90th percentile, rounded.

    >>> spread([1.0, 2.0, 3.0], digits=2)
    {'median': 2.0, 'p10': 1.2, 'p90': 2.8}
    """
    low, median, high = (round(float(value), digits) for value in np.percentile(values, [10, 50, 90]))
    return {"median": median, "p10": low, "p90": high}


class Worker:
    """A process of its own in which `serving(end, *arguments)` runs, which `serve`s at the other end of a pipe."""

    def __init__(self, serving: Callable[..., None], arguments: Sequence[Any]) -> None:
        context = get_context("spawn")  # threads and memory settings as in a process that does nothing else
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=serving, args=(theirs, *arguments))
        self._process.start()
        theirs.close()  # so that a worker that dies is an end of file, not a wait for ever

    def __call__(self, question: Any = None) -> Any:
        """Ask, and wait for the answer."""
        self.ask(question)
        return self.answer()

    def ask(self, question: Any) -> None:
        """Ask alone: several workers are at work at the same time."""
        self._end.send(question)

    def answer(self) -> Any:
        """Wait for the answer.

        Raises:
            DistillError: the process has ended.
        """
        try:
            return self._end.recv()
        except EOFError:
            raise DistillError("a process of the benchmark ended; its own lines above say why (memory?)") from None

    def close(self) -> None:
        """Let the process end, and wait until it has."""
        self._end.close()
        self._process.join()


@contextmanager
def workers(serving: Callable[..., None], *arguments: Any, count: int = 1) -> Iterator[list[Worker]]:
    """So many processes, ready to be asked.

    Raises:
        DistillError: one of them ended before it was ready.
    """
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            started.append(Worker(serving, arguments))
            stack.callback(started[-1].close)
        for worker in started:
            worker.answer()  # ready
        yield started


def serve(end: Connection, answer: Callable[[Any], Any]) -> None:
    """Say that this process is ready, and answer whatever it is asked until the other end closes."""
    end.send("ready")
    while True:
        try:
            question = end.recv()
        except (EOFError, KeyboardInterrupt):
            return
        end.send(answer(question))
