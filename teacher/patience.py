"""Waiting, but not for ever: an answer within a time, whatever the network's own limits are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def in_time(ask: Callable[[], Answer], seconds: float) -> Answer:
    """What `ask` answers, or raises; a resolver of names, or a server that drips, may outlast any library's limit.

    >>> in_time(lambda: 42, seconds=1.0)
    42

    Raises:
        TimeoutError: no answer within `seconds`; the attempt is left to itself.
    """
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append((ask(), None))
        except Exception as error:
            answers.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise TimeoutError("no answer in time")
    answer, error = answers[0]
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]
