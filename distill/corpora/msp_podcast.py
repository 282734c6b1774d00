"""MSP-Podcast: `labels_consensus.csv`, ratings from 1 to 7, official parts.

Lotfian and Busso (2019), "Building naturalistic emotionally balanced speech corpus by retrieving emotional speech from
existing podcast recordings". The columns stand in the order Act, Val, Dom; they are read by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.corpora.cells import header, scaled, sex, table

_SIGNS = {"FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom"}
_PLACES = ("", "labels_consensus.csv", "Labels/labels_consensus.csv")
_SCALE = (1.0, 7.0)
_AXES = {"arousal": "EmoAct", "dominance": "EmoDom", "valence": "EmoVal"}

#: X, on which the raters did not agree, is no category.
CATEGORIES = {
    "A": "anger", "S": "sadness", "H": "happiness", "U": "surprise", "F": "fear", "D": "disgust", "C": "contempt",
    "N": "neutral", "O": "other", "X": "",
}  # fmt: skip


def find(path: Path) -> Path | None:
    """The label file that `path` is, or that lies in it."""
    candidates = [path / place if place else path for place in _PLACES]
    return next((file for file in candidates if file.is_file() and set(header(file)) >= _SIGNS), None)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Its rows.

    Raises:
        DistillError: it cannot be read, or a rating is none.
    """
    for at, row in table(path):
        speaker = row.get("SpkrID", "").strip()
        yield {
            "file": row["FileName"],
            **{axis: scaled(row[column], _SCALE, f"{at}, {column}") for axis, column in _AXES.items()},
            "category": CATEGORIES.get(row["EmoClass"].strip(), row["EmoClass"].strip()),
            "speaker": "" if speaker.lower() == "unknown" else speaker,
            "sex": sex(row.get("Gender", "")),
            "split": row.get("Split_Set", "").strip(),
        }
