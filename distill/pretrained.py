"""The students that come with the package: known by name, they answer at once, offline and without torch."""

from __future__ import annotations

from pathlib import Path

from distill.errors import DistillError

#: Who answers where nobody names a student.
DEFAULT = "wav2small"

#: Of a student's file.
SUFFIX = ".onnx"

#: Of the file beside it that answers token by token, where the student can (`distill.streaming`).
STEP = f".step{SUFFIX}"

#: Beside this package, in the checkout as where it is installed; by its path, for a folder `students` may lie where
#: somebody works.
_FOLDER = Path(__file__).parents[1] / "students" / "pretrained"


def shipped() -> dict[str, Path]:
    """Their names, and their files.

    >>> DEFAULT in shipped()
    True
    """
    students = (path for path in _FOLDER.glob(f"*{SUFFIX}") if not path.name.endswith(STEP))
    return {path.stem: path for path in sorted(students, key=lambda path: path.stem)}


def path_of(student: str | Path) -> Path:
    """The file that is meant: one that lies there, or the one that comes by that name.

    >>> path_of("runs/a.onnx").name, path_of("wav2small").name
    ('a.onnx', 'wav2small.onnx')

    Raises:
        DistillError: neither.
    """
    path, known = Path(student), shipped()
    if path.suffix == SUFFIX or path.is_file():
        return path
    if str(student) not in known:
        raise DistillError(f"{student}: no such student; give a file ({SUFFIX}), or one that comes: {', '.join(known)}")
    return known[str(student)]
