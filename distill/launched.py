"""Which of several processes this one is, where torchrun has started them, or `accelerate launch --multi_gpu`, which
goes by torchrun. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

#: What torchrun tells each process, in the order of `Launched`.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Launched:
    """rank: of this process, 0..count - 1; local_rank, local_count: the same among those of its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether it speaks for all."""
        return self.rank == 0


def launched() -> Launched:
    """As torchrun says; one process alone where it has not started it."""
    # Other launchers set some of the variables for purposes of their own; this one is torchrun's.
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Launched()
    return Launched(*(int(os.environ[name]) for name in _VARIABLES))
