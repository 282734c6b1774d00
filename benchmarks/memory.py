"""Peak resident memory of one student in a process of its own, split into the runtime and what the model adds.

On Linux the figure is VmHWM of /proc/self/status. getrusage's ru_maxrss would be wrong there: it outlives exec, so that
a child starts with the peak of the process that forked it. Elsewhere (macOS) ru_maxrss is the process's own, in bytes.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

from distill.errors import DistillError

#: The clip that the fresh process answers (seconds).
SECONDS = 5.0

#: Our packages come first, and the folder that the command runs in not at all: it may hold another `benchmarks`.
_CHILD = (
    "import sys; sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; "
    "from benchmarks.memory import print_peaks; print_peaks(sys.argv[2])"
)


def in_fresh_process(model: Path) -> dict[str, int]:
    """{runtime, model} in bytes: the peak after importing onnxruntime and numpy, and what loading the model and
    answering one clip of `SECONDS` on one thread adds to it.

    Raises:
        DistillError: the process failed; the line says with what.
    """
    command = [sys.executable, "-c", _CHILD, str(Path(__file__).resolve().parents[1]), str(model.resolve())]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        raise DistillError(f"{model}: its memory could not be measured in a fresh process: {reason}")
    peaks: dict[str, int] = json.loads(answer.stdout.splitlines()[-1])
    return peaks


def print_peaks(model: str) -> None:
    """What the fresh process does: import, note the peak, answer, note it again, print both as one line of JSON."""
    import numpy as np
    import onnxruntime  # noqa: F401  what is weighed as the runtime

    from distill.student import Student

    runtime = peak_rss_bytes()
    student = Student(model, threads=1)
    student(np.full((1, round(SECONDS * student.card.sampling_rate)), 0.1, np.float32))
    print(json.dumps({"runtime": runtime, "model": peak_rss_bytes() - runtime}))


def peak_rss_bytes() -> int:
    """Peak resident memory of this process so far, in bytes."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
