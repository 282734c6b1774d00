"""Stages that only note what is asked of them: for tests of what runs many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from distill.files import write_csv, write_json

TRUTH = np.random.default_rng(0).uniform(size=(40, 3))


class Stages:
    """Stands in for the stages: notes what was typed, and leaves the files that each would leave."""

    def __init__(self) -> None:
        self.typed: list[list[str]] = []
        self.fails: dict[str, BaseException] = {}  # {part of the command: what it raises}
        self.surest = "the-recipe"  # part of the path of those who answer well

    def __call__(self, arguments: list[str], *, quiet: bool = False) -> dict[str, Any]:
        self.typed.append(arguments)
        for part, error in self.fails.items():
            if part in " ".join(arguments):
                raise error
        getattr(self, arguments[0].replace("-", "_"), lambda *_: None)(Path(arguments[-1]), arguments)
        return {}

    def train_teacher(self, output: Path, _: list[str]) -> None:
        write_json(output / "card.json", {})

    def train_student(self, _: Path, arguments: list[str]) -> None:
        write_json(folder_of(arguments) / "result.json", {"seconds": 60.0, "derived": ["dominance"]})

    def export(self, output: Path, _: list[str]) -> None:
        output.write_bytes(b"")

    def evaluate(self, output: Path, arguments: list[str]) -> None:
        """The surest answers with little noise, the others with more; clip 0 only the surest answers."""
        first = self.surest in str(output)
        noise = np.random.default_rng(int(output.parent.name[-1])).normal(size=TRUTH.shape)
        said = TRUTH + (0.1 if first else 0.3) * noise
        rows = [[f"{n}.wav", "", "", *a, *t[:2], ""] for n, (a, t) in enumerate(zip(said, TRUTH, strict=True))]
        columns = ["file", "start", "end", "arousal", "dominance", "valence", "true_arousal", "true_dominance"]
        write_csv(output.with_suffix(".predictions.csv"), [*columns, "true_valence"], rows[not first :])

    def named(self, stage: str) -> list[str]:
        return [folder_of(typed).relative_to(folder_of(typed).parents[1]).as_posix()
                for typed in self.typed if typed[0] == stage]  # fmt: skip


def folder_of(arguments: list[str]) -> Path:
    return Path(arguments[arguments.index("--output") + 1])
