"""CREMA-D: `processedResults/summaryTable.csv`, the votes of those who only heard the clip.

Cao et al. (2014), "CREMA-D: crowd-sourced emotional multimodal actors dataset". A tie ("A:N") is no category. Nobody
rated arousal, dominance or valence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.corpora.cells import header, lacking, sex, table

_SIGNS = {"FileName", "VoiceVote", "FaceVote", "MultiModalVote"}
_PLACES = ("", "summaryTable.csv", "processedResults/summaryTable.csv")
_ACTORS = "VideoDemographics.csv"

CATEGORIES = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}


def find(path: Path) -> Path | None:
    """The table that `path` is, or that lies in it."""
    candidates = [path / place if place else path for place in _PLACES]
    return next((file for file in candidates if file.is_file() and set(header(file)) >= _SIGNS), None)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Its rows; `sex` where `VideoDemographics.csv` lies beside the table or above it.

    Raises:
        DistillError: a file cannot be read.
    """
    sexes = _sexes(path)
    for _, row in table(path):
        actor = row["FileName"].partition("_")[0]
        yield {
            "file": row["FileName"], "category": CATEGORIES.get(row["VoiceVote"].strip(), ""), "speaker": actor,
            "sex": sexes.get(actor, ""),
        }  # fmt: skip


def _sexes(path: Path) -> dict[str, str]:
    file = next(
        (folder / _ACTORS for folder in (path.parent, path.parent.parent) if (folder / _ACTORS).is_file()), None
    )
    if file is None:
        return {}
    lacking(file, ("ActorID", "Sex"), header(file))
    return {row["ActorID"].strip(): sex(row["Sex"]) for _, row in table(file)}
