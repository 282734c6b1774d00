"""Answers that were paid for are kept: one line each, known by the digest of everything that decides an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.annotation import AXES
from teacher.llm.journal import Journal

FILE = "answers.jsonl"


def key_of(decides: Mapping[str, Any]) -> str:
    """SHA-256 of what decides an answer, whatever the order it is given in.

    >>> key_of({"model": "m", "seed": 0}) == key_of({"seed": 0, "model": "m"})
    True
    """
    text = json.dumps(decides, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """{key: {axis: number}} of a folder, on the scale that the model was asked to use."""

    def __init__(self, folder: Path) -> None:
        self._answers: dict[str, dict[str, float]] = {}
        self._journal = Journal(folder / FILE, self._take)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> dict[str, float] | None:
        """What was answered to a question; None where it was not asked yet."""
        return self._answers.get(key)

    def put(self, key: str, answer: Mapping[str, float]) -> None:
        """Keep an answer; it is on disk at once, for other processes as well."""
        self._journal.add({"key": key, "answer": dict(answer)})

    def catch_up(self) -> None:
        """Read what other processes have added."""
        self._journal.catch_up()

    def _take(self, entry: dict[str, Any]) -> None:
        key, answer = entry.get("key"), entry.get("answer")
        if isinstance(key, str) and isinstance(answer, dict) and set(answer) == set(AXES):
            self._answers[key] = {axis: float(answer[axis]) for axis in AXES}
