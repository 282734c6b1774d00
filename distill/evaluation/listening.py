"""What is found of the recordings themselves, beside their answers: how noisy, how loud, how high they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distill.errors import AudioError
from distill.evaluation.answering import Answers, Recordings
from distill.evaluation.truth import Rated
from distill.progress import Progress

#: What to find of a clip (float32 [samples], mono 16 kHz), by its name.
Wanted = Mapping[str, Callable[[np.ndarray], Any]]


def described(wanted: Wanted, signal: np.ndarray) -> dict[str, Any]:
    """All that is wanted of one clip.

    >>> described({"samples": len}, np.zeros(16_000))
    {'samples': 16000}
    """
    return {name: find(signal) for name, find in wanted.items()}


def listen(wanted: Wanted, recordings: Recordings, rated: Rated, said: Answers) -> list[dict[str, Any]]:
    """The same of every clip whose answer comes from a file; nothing of a recording that cannot be read."""
    found = list[dict[str, Any]]()
    with Progress("listening", len(said.rows), "clips") as progress:
        for row in said.rows:
            try:
                found.append(described(wanted, recordings.read(rated.keys[row])))
            except AudioError:
                found.append({})
            progress.advance(failed=not found[-1])
    return found
