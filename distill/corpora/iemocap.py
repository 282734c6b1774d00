"""IEMOCAP: `Session*/dialog/EmoEvaluation/*.txt`, ratings from 1 to 5 in the order valence, arousal, dominance.

Busso et al. (2008), "IEMOCAP: interactive emotional dyadic motion capture database". A line of a turn is
`[6.2901 - 8.2357]<tab>Ses01F_impro01_F000<tab>neu<tab>[2.5000, 2.5000, 2.5000]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.corpora.cells import scaled, sex

_SCALE = (1.0, 5.0)
_TURN = re.compile(r"\[[\d.]+ - [\d.]+\]\t(?P<name>(?P<dialog>Ses(?P<session>\d+)[FM]_\S+)_(?P<sex>[FM])\w+)\t"
                   r"(?P<category>\w+)\t\[(?P<ratings>[^\]]*)\]")  # fmt: skip
_WORDS = re.compile(r"(?P<name>Ses\w+)\s+\[[^\]]*\]:\s*(?P<text>.*)")

#: xxx, on which the raters did not agree, is no category.
CATEGORIES = {
    "ang": "anger", "hap": "happiness", "sad": "sadness", "neu": "neutral", "fru": "frustration", "exc": "excitement",
    "fea": "fear", "sur": "surprise", "dis": "disgust", "oth": "other", "xxx": "",
}  # fmt: skip


def find(path: Path) -> Path | None:
    """The folder of the corpus, if `path` is it."""
    return path if path.is_dir() and any(_evaluations(path)) else None


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Its turns, session by session; `split` is the session, so that one can be left out.

    Raises:
        DistillError: a rating is none.
    """
    for file in _evaluations(path):
        session = file.parents[2]
        words = dict(_transcribed(session / "dialog" / "transcriptions" / file.name))
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if turn := _TURN.match(line):
                yield _row(turn, session.name, words, f"{file}, line {number}")


def _evaluations(path: Path) -> Iterator[Path]:
    files = path.glob("Session*/dialog/EmoEvaluation/Ses*.txt")
    return iter(sorted(file for file in files if not file.name.startswith(".")))


def _row(turn: re.Match[str], session: str, words: dict[str, str], at: str) -> dict[str, Any]:
    valence, arousal, dominance = (scaled(text, _SCALE, at) for text in turn["ratings"].split(","))
    return {
        "file": f"{session}/sentences/wav/{turn['dialog']}/{turn['name']}.wav",
        "arousal": arousal, "dominance": dominance, "valence": valence,
        "category": CATEGORIES.get(turn["category"], turn["category"]),
        "speaker": f"{turn['session']}{turn['sex']}", "sex": sex(turn["sex"]),
        "transcript": words.get(turn["name"], ""), "split": session,
    }  # fmt: skip


def _transcribed(file: Path) -> Iterator[tuple[str, str]]:
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if said := _WORDS.match(line):
                yield said["name"], said["text"].strip()
