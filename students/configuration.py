"""What decides the outcome of a training, resolved: a run's `config.yaml`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError
from distill.learning.loss import LOSSES
from distill.licences import strictest
from distill.table import LabelTable
from students import catalogue
from students.lessons import Lessons

#: Arguments that do not decide the outcome, and those that `config.yaml` tells otherwise.
NO_PART = ("labels", "output", "export_check", "open_teacher", "tensorboard", "workers", "require_licence")

#: Passes over the clips where neither they nor the time are given.
EPOCHS = 30

#: Arguments that `config.yaml` tells only when they are used: runs of before, which know nothing of them, go on.
_ONLY_WHEN_USED = ("augment", "weight_by_spread", "annotated_passes", "match_embedding", "relational", "calibrate",
                   "processes")  # fmt: skip


def resolved(given: Mapping[str, Any], lessons: Lessons) -> dict[str, Any]:
    """Everything that decides the outcome, resolved, and what the chain needs to know of the labels.

    given: the arguments of `train_student` but those of `NO_PART`.

    Raises:
        DistillError: an argument that cannot be, or tables without an axis in common.
    """
    config = {key: value.resolve().as_posix() if isinstance(value, Path) else value for key, value in given.items()}
    _check(config)
    network = catalogue.build(config["arch"])  # an unknown one is refused before the run folder is begun
    if config["epochs"] is None and config["max_minutes"] is None:
        config["epochs"] = EPOCHS
    if config["learning_rate"] is None:
        config["learning_rate"] = network.learning_rate
    config["labels"] = [labels.folder.resolve().as_posix() for labels in lessons.tables]
    config["labels_sha256"] = [labels.digest() for labels in lessons.tables]
    used = {key: value for key, value in config.items() if value or key not in _ONLY_WHEN_USED}
    return {**used, **_digests(lessons), **_answers(lessons.tables), **_licences(lessons.tables)}


def _check(config: Mapping[str, Any]) -> None:
    if config["loss"] not in LOSSES:
        raise DistillError(f"--loss {config['loss']}: there are {', '.join(LOSSES)}")
    if config.get("annotated_passes") and not config["online"]:
        raise DistillError("--annotated-passes needs --online: without a teacher in the loop nobody is asked")


def _digests(lessons: Lessons) -> dict[str, str]:
    """Of what is taken from the tables beside the answers."""
    taken = {"weights_sha256": lessons.weights, "embeddings_sha256": lessons.embeddings}
    return {name: hashlib.sha256(np.concatenate(rows).tobytes()).hexdigest()
            for name, rows in taken.items() if rows is not None}  # fmt: skip


def _answers(tables: Sequence[LabelTable]) -> dict[str, Any]:
    """Which axes the student answers, after which teacher, in which range."""
    axes = [axis for axis in AXES if all(axis in labels.info["axes"] for labels in tables)]
    if not axes:
        raise DistillError("the label tables have no axis in common; train on them one at a time")
    return {
        "axes": axes,
        "derived": [axis for axis in AXES if any(axis in labels.info["derived"] for labels in tables)],
        "teacher": "; ".join(dict.fromkeys(labels.info["teacher"]["name"] for labels in tables)),
        "range": tables[0].info["teacher"]["range"],
    }


def _licences(tables: Sequence[LabelTable]) -> dict[str, Any]:
    """The student's licence is its strictest parent's; its data are the teacher's and what the teacher labelled."""
    lineage = []
    for labels in tables:
        card = labels.info["teacher"]
        lineage.append(
            {"role": "teacher", **{key: card[key] for key in ("name", "revision", "licence", "data_licence")}}
        )
        audio = {"role": "audio", "name": Path(labels.info["root"]).name, "revision": None}
        lineage.append({**audio, "licence": None, "data_licence": labels.info["audio_licence"]})
    unique = list({str(entry): entry for entry in lineage}.values())
    return {
        "licence": strictest(entry["licence"] for entry in unique if entry["licence"]),
        "data_licence": strictest(entry["data_licence"] for entry in unique),
        "lineage": unique,
    }
