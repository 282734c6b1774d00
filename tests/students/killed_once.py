"""A student that kills the second of two processes in the midst of its training, the first time that they run."""

from __future__ import annotations

import os
import signal

from torch import Tensor

from tests.toys.student import Bands

#: Steps that it survives: one epoch of two, and one step more.
SURVIVED = 3


class Killed(Bands):
    """`Bands`, with its end."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        self._steps += self.training
        first_life = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if first_life and os.environ["RANK"] == "1" and self._steps > SURVIVED:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().pooled(pcm, lengths)
