"""One folder, one teacher: what a folder holds already is not covered by another kind."""

from __future__ import annotations

from pathlib import Path

from distill.errors import Refused
from teacher.ensemble import FUSION
from teacher.tuning.folder import TEACHER

#: What the kinds are known by.
PROSODY_CARD = "prosody.json"
_KINDS = {PROSODY_CARD: "a teacher of prosody", TEACHER: "a tuned teacher", FUSION: "a fusion of teachers"}


def reject_other_kind(folder: Path, own: str) -> None:
    """Find out before the work whether a folder holds a teacher of another kind. own: the file of this one.

    >>> reject_other_kind(Path("nowhere"), FUSION)

    Raises:
        Refused: it does.
    """
    for file, what in _KINDS.items():
        if file != own and (folder / file).is_file():
            raise Refused(f"{folder}: holds {what}; choose another folder")
