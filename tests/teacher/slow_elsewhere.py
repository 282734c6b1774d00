"""A teacher that takes its time, in whatever process it is asked for; it writes down which one answered how much."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from teacher import catalogue
from teacher.prosody import Prosody

#: What it goes by, and where a process finds the seconds that a clip takes, the log, and clips that are its end.
NAME, SECONDS, LOG, DEADLY = "slow", "SLOW_SECONDS", "SLOW_LOG", "SLOW_DEADLY"


class Slow:
    """`prosody`, slowed down."""

    together = 4

    def __init__(self) -> None:
        self._prosody, self._seconds, self._log = Prosody.load(), float(os.environ[SECONDS]), Path(os.environ[LOG])
        self._deadly = int(os.environ[DEADLY])
        self.card = self._prosody.card

    @classmethod
    def load(cls) -> Slow:
        return cls()

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Any:
        if self._deadly in lengths:
            os.abort()
        if self._deadly + 1 in lengths:
            raise DistillError("the teacher slow cannot hear this")
        time.sleep(self._seconds * len(lengths))
        answer = self._prosody.annotate(signals, lengths, sampling_rate)
        with self._log.open("a") as log:
            log.write(f"{os.getpid()} {len(lengths)}\n")
        return answer


def hang() -> None:
    """Hang it into this process's catalogue."""
    catalogue.TEACHERS[NAME] = f"{__name__}:Slow"
