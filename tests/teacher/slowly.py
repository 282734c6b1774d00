"""A process that labels with `prosody`, slowed down, and writes down when it answered what: to be killed by a test.

python slowly.py SOURCE AUDIO OUTPUT LOG SECONDS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.audio import digest
from distill.errors import DistillError
from teacher import catalogue
from teacher.labelling import label
from teacher.prosody import Prosody


class Slow:
    """Takes its time for each clip. together: one, as every teacher that is slow."""

    together = 1

    def __init__(self, log: Path, seconds: float) -> None:
        self._prosody, self._log, self._seconds = Prosody.load(), log, seconds
        self.card = self._prosody.card

    @classmethod
    def load(cls) -> Slow:
        return cls(Path(sys.argv[4]), float(sys.argv[5]))

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Any:
        time.sleep(self._seconds)
        answer = self._prosody.annotate(signals, lengths, sampling_rate)
        with self._log.open("a") as log:
            log.write(f"{time.time()} {digest(signals[0][: lengths[0]])}\n")
        return answer


if __name__ == "__main__":
    catalogue.TEACHERS["slow"] = "__main__:Slow"
    try:
        print(label(sys.argv[1], audio=sys.argv[2], output=sys.argv[3], teacher="slow", jobs=1, window=2.0))
    except DistillError as error:
        sys.exit(f"distill: {error}")
