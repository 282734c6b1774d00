"""The teachers by name: what `distill teachers` lists, and how each is opened."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from zipfile import BadZipFile

from distill.annotation import Annotator, TeacherCard
from distill.errors import DistillError

#: Name -> "module:class"; the class has `load()`, and what it returns is an `Annotator`.
TEACHERS = {"prosody": "teacher.prosody:Prosody"}

DEFAULT = "prosody"


def open_teacher(name: str) -> Annotator:
    """Load a teacher by its name, or a fine-tuned one from the folder that `distill train-teacher` wrote.

    Raises:
        DistillError: no teacher of that name, or weights that do not fit.
    """
    if name in TEACHERS:
        module, attribute = TEACHERS[name].split(":")
        annotator: Annotator = getattr(import_module(module), attribute).load()
        return annotator
    if (Path(name) / "prosody.json").is_file():
        from teacher.prosody import Prosody

        try:
            return Prosody.load(Path(name))
        except (ValueError, KeyError, TypeError, OSError, BadZipFile) as error:
            raise DistillError(f"{name}: not a teacher made by train-teacher ({error})") from None
    raise DistillError(f"{name}: no such teacher; there are {', '.join(TEACHERS)}, or a folder made by train-teacher")


def cards() -> list[TeacherCard]:
    """The card of every teacher."""
    return [open_teacher(name).card for name in TEACHERS]
