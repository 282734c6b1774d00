"""What `distill predict` prints: an answer a line as it comes, who answers, and what has no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from distill.annotation import AXES
from distill.emotionwords import NORMS, nearest_words
from distill.errors import AudioError
from distill.prediction import Prediction
from distill.pretrained import shipped
from distill.progress import say
from distill.sources.manifest import Failure
from distill.student import Student, StudentCard


class Answers:
    """The answers so far: rows, as they are printed in JSON.

    sources: the recordings that are asked about. words: the nearest emotion words are added to each answer.
    """

    def __init__(self, sources: Sequence[str], student: Student, *, words: bool, as_json: bool) -> None:
        self.student, self.rows = student, list[dict[str, Any]]()
        self._sources, self._words, self._as_json = sources, words, as_json
        self._unread: dict[str, str] = {}

    def add(self, found: Prediction | Failure) -> None:
        """Print an answer at once, or say what could not be read."""
        if isinstance(found, Failure):
            self._unread[found.file] = found.reason
            if len(self._sources) > 1:
                say(f"{found.file}: {found.reason}")
            return
        row = found.as_dict()
        if self._words:
            row["words"] = nearest_words(row)
        if not self.rows:
            self._introduce()
        self.rows.append(row)
        click.echo(json.dumps(row, ensure_ascii=False) if self._as_json else line(row))

    def reject_lacking(self) -> None:
        """Fail where a recording could not be read to its end, or has no answer at all.

        Raises:
            AudioError: how many, or why the only one has none. SystemExit: the only one's line says why.
        """
        answered = {row["file"] for row in self.rows if not row["warning"]} - set(self._unread)
        lacking = [source for source in self._sources if source not in answered]
        if len(self._sources) == 1 and self._unread:
            raise AudioError(": ".join(*self._unread.items()))
        if lacking and len(self._sources) > 1:
            raise AudioError(f"{len(lacking)} of {len(self._sources)} recordings have no answer; each is named above")
        if lacking:
            raise SystemExit(1)

    def _introduce(self) -> None:
        if self.student.path in shipped().values():
            say(self.student.card.introduction())
        if self._words:
            say(about_words(self.student.card))


def about_words(card: StudentCard) -> str:
    """What the words are, and of which axes, in a line."""
    axes = " and ".join(axis for axis in card.axes if axis not in card.derived)
    left_out = "".join(f", as {axis} is derived" for axis in card.derived)
    return (
        f"words: the two nearest of {len(NORMS)} to {axes}{left_out}, with their distance, where Russell and Mehrabian "
        "(1977) found them; they put the numbers into words and classify nothing"
    )


def line(row: Mapping[str, Any]) -> str:
    """An answer for people.

    >>> row = {"file": "a.wav", "start": 0.0, "end": 2.0, "arousal": 0.5, "dominance": None, "valence": 0.25}
    >>> line({**row, "derived": [], "warning": None, "words": [{"word": "tense", "distance": 0.31}]})
    'a.wav 0.00-2.00 s: arousal 0.500  dominance -  valence 0.250  tense (0.31)'
    """
    at = f"{row['file']} {row['start']:.2f}-{row['end']:.2f} s: "
    if row["warning"]:
        return f"{at}no answer ({row['warning']})"
    words = ", ".join(f"{near['word']} ({near['distance']:.2f})" for near in row.get("words", ()))
    return at + "  ".join([*(_axis(row, axis) for axis in AXES), *([words] if words else [])])


def _axis(row: Mapping[str, Any], axis: str) -> str:
    value = "-" if row[axis] is None else f"{row[axis]:.3f}"
    return f"{axis} {value}{' (derived)' if axis in row['derived'] else ''}"
