"""Several questions at a time; the first that cannot go on stops them all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


def together(work: Sequence[Callable[[], Result]], threads: int, stop: threading.Event) -> list[Result]:
    """Results in the order of `work`. stop: is set where one raised, or the caller was interrupted.

    The threads are daemons: Ctrl-C leaves at once, without waiting for a server.

    >>> together([lambda: 1, lambda: 2], 2, threading.Event())
    [1, 2]

    Raises:
        Exception: the first that one of them raised.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
    for index in range(len(work)):
        waiting.put(index)

    def run() -> None:
        while not stop.is_set():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, work[index](), None))
            except BaseException as error:
                stop.set()  # at once: this thread itself would go on to the next question
                done.put((index, None, error))

    for _ in range(min(threads, len(work))):
        threading.Thread(target=run, daemon=True).start()
    results: dict[int, Result] = {}
    try:
        while len(results) < len(work):
            index, result, error = done.get()
            if error is not None:
                raise error
            results[index] = result
    except BaseException:
        stop.set()
        raise
    return [results[index] for index in range(len(work))]
