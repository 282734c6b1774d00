"""Who is asked, and what for: the values that every process that labels is handed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.annotation import Annotator
from distill.errors import DistillError
from teacher.catalogue import DEFAULT, EXACT, open_teacher
from teacher.views import in_views


@dataclass(frozen=True)
class Asked:
    """Who is asked: the name of a teacher, where it computes and in which precision, and how many views of a clip it
    answers (`teacher.views`).

    >>> Asked("prosody", device="cpu").open().card.name
    'prosody'
    """

    teacher: str = DEFAULT
    device: str = "auto"
    precision: str = EXACT
    views: int = 1

    def __post_init__(self) -> None:
        if self.views < 1:
            raise DistillError(f"--views {self.views}: a clip is answered at least once")

    def open(self) -> Annotator:
        """Load it, anew each time: what a name stands for may have changed.

        Raises:
            DistillError: no such teacher, or one that has no views.
        """
        annotator = open_teacher(self.teacher, self.device, self.precision)
        return annotator if self.views == 1 else in_views(annotator, self.views)


@dataclass(frozen=True)
class Task:
    """What is done to every batch. root: of the files; embeddings: rows carry what the teacher pooled."""

    root: Path
    asked: Asked
    embeddings: bool = False
