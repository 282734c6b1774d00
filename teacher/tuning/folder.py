"""The folder of a tuned teacher, as far as it is read without torch: that it is one, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.annotation import TeacherCard
from distill.errors import DistillError
from distill.files import read_json

#: What the folder is known by, what learned, and the model card.
TEACHER, LEARNED, MODEL_CARD = "teacher.json", "learned.safetensors", "README.md"


def is_tuned(folder: Path) -> bool:
    """Whether a folder holds a tuned teacher.

    >>> is_tuned(Path("nowhere"))
    False
    """
    return (folder / TEACHER).is_file()


def card_in(folder: Path) -> TeacherCard:
    """The card of a tuned teacher, under the name of its folder.

    Raises:
        DistillError: the file does not say it.
    """
    said: Any = read_json(folder / TEACHER)
    try:
        return TeacherCard.from_dict({**said["card"], "name": folder.resolve().name})
    except (KeyError, TypeError, AttributeError) as error:
        raise DistillError(f"{folder / TEACHER}: is no tuned teacher ({error})") from None
