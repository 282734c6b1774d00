"""How many threads a teacher that uses all cores by itself has in one process: torch's OpenMP, Ray and we go by one
variable of the environment."""

from __future__ import annotations

import os
import sys

#: Where OpenMP looks; Ray sets it for its actors.
VARIABLE = "OMP_NUM_THREADS"


def threads_here() -> int:
    """Threads of this process: what the environment says, else one a core.

    >>> threads_here() >= 1
    True
    """
    said = os.environ.get(VARIABLE, "").partition(",")[0]
    return int(said) if said.isdigit() and int(said) else os.cpu_count() or 1


def share_of_cores(processes: int) -> int:
    """Threads for each of several processes: together they take the cores, and none stops another.

    >>> share_of_cores(10_000)
    1
    """
    return max(1, (os.cpu_count() or 1) // processes)


def take_threads(threads: int) -> None:
    """Let the teacher that this process is about to open have so many; a number that the user gave stays."""
    if os.environ.setdefault(VARIABLE, str(threads)) == str(threads) and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)  # a script's own import has read the environment before
