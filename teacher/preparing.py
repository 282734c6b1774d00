"""What labelling and its estimate begin with: licences, the teacher, the source, and what makes two runs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import table
from distill.annotation import Annotator
from distill.errors import DistillError, Refused
from distill.licences import UNKNOWN, require
from distill.parts import part_files
from distill.sources.manifest import Cut, Listing
from teacher.asked import Asked, Task
from teacher.catalogue import EXACT, card_of
from teacher.source import Source
from teacher.speech import SpeechFinder

#: What tables that were made before these arguments existed were made with.
_AT_FIRST = {"embeddings": False, "views": 1, "precision": EXACT, "vad": None}


@dataclass(frozen=True)
class Prepared:
    """The teacher, open in this process; what the source holds; what is done to it; and the arguments that have to be
    the same for two runs to be one."""

    annotator: Annotator
    listing: Listing
    task: Task
    arguments: Mapping[str, Any]


def prepared(
    source: Source, asked: Asked, *, embeddings: bool, audio_licence: str, require_licence: str | None
) -> Prepared:
    """Check, open, list: nothing is written yet, nor decoded.

    Raises:
        Refused, DistillError: as `teacher.labelling.label`.
    """
    if require_licence is not None:
        _check_licences(require_licence, asked.teacher, audio_licence)
    source.reject_missing()
    annotator = asked.open()
    if not annotator.card.axes and not annotator.card.classes:
        raise DistillError(f"--teacher {asked.teacher}: answers no axis, and tells nothing apart")
    cut = source.cut_for(annotator.card)
    listing = source.listed(cut)
    arguments = {
        "source": source.name(), "teacher": asked.teacher, "revision": annotator.card.revision,
        "window": cut.window, "hop": cut.hop, "where": dict(source.where or {}), "data-licence": audio_licence,
        "embeddings": embeddings, "views": asked.views, "precision": asked.precision, "vad": _vad(cut),
    }  # fmt: skip
    return Prepared(annotator, listing, Task(listing.root, asked, embeddings), arguments)


def described(output: Path, begun: Prepared) -> dict[str, Any]:
    """`labels.json` of an unfinished table.

    Raises:
        Refused: the folder holds a table made with other arguments.
    """
    root = begun.listing.root.resolve().as_posix()
    _refuse_other_work(output, {**begun.arguments, "root": root})
    card = begun.annotator.card
    return {
        "format": 1, "complete": False, "root": root, "arguments": begun.arguments, "teacher": card.as_dict(),
        "axes": card.axes, "derived": card.derived, "normalisation": card.normalisation, "licence": card.licence,
        "data_licence": card.data_licence, "audio_licence": begun.arguments["data-licence"],
    }  # fmt: skip


def _check_licences(wanted: str, teacher: str, audio_licence: str) -> None:
    """Refuse before anything is downloaded or read.

    Raises:
        Refused: the teacher's weights, its data or the recordings are under stricter a licence than `wanted`.
    """
    card = card_of(teacher)
    weights, data = (card.licence, card.data_licence) if card else (UNKNOWN, UNKNOWN)
    require(wanted, {f"the weights of {teacher}": weights, f"what {teacher} was trained on": data,
                     "the recordings (--data-licence)": audio_licence})  # fmt: skip


def _vad(cut: Cut) -> dict[str, Any] | None:
    return cut.find.settings() if isinstance(cut.find, SpeechFinder) else None


def _refuse_other_work(output: Path, now: Mapping[str, Any]) -> None:
    before = table.read_info(output)
    # A corrected command takes the place of one that failed before its first row.
    if before is not None and part_files(output):
        table.check_info(output, before, ("arguments", "root"))
        _refuse_other(output, {**_AT_FIRST, **before["arguments"], "root": before["root"]}, now)
    elif any(output.glob("part-*.parquet")):
        raise Refused(f"{output}: holds parts of a label table without its {table.JSON}; choose another folder")


def _refuse_other(output: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise Refused(
                f"{output}: was labelled with {name} {before.get(name)!r}, now it is {value!r}; choose another folder"
            )
