"""What decides the outcome of a training, resolved: a run's `config.yaml`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES
from distill.errors import DistillError
from distill.learning.loss import LOSSES
from distill.licences import strictest
from students import catalogue

#: Arguments that do not decide the outcome, and those that `config.yaml` tells otherwise.
NO_PART = ("labels", "output", "export_check", "open_teacher", "tensorboard", "workers", "require_licence")

#: Arguments that `config.yaml` tells only when they are used: runs of before, which know nothing of them, go on.
_ONLY_WHEN_USED = ("augment", "weight_by_spread", "annotated_passes", "match_embedding", "relational", "calibrate")


def resolved(
    given: Mapping[str, Any],
    tables: Sequence[table.LabelTable],
    weights: Sequence[np.ndarray] | None,
    embeddings: Sequence[np.ndarray] | None,
) -> dict[str, Any]:
    """Everything that decides the outcome, resolved, and what the chain needs to know of the labels."""
    config = {key: value.resolve().as_posix() if isinstance(value, Path) else value for key, value in given.items()}
    if config["epochs"] is None and config["max_minutes"] is None:
        config["epochs"] = 30
    if config["loss"] not in LOSSES:
        raise DistillError(f"--loss {config['loss']}: there are {', '.join(LOSSES)}")
    network = catalogue.build(config["arch"])  # an unknown one is refused before the run folder is begun
    if config["learning_rate"] is None:
        config["learning_rate"] = network.learning_rate
    config["labels"] = [label.folder.resolve().as_posix() for label in tables]
    config["labels_sha256"] = [label.digest() for label in tables]
    if config.get("annotated_passes") and not config["online"]:
        raise DistillError("--annotated-passes needs --online: without a teacher in the loop nobody is asked")
    config = {key: value for key, value in config.items() if value or key not in _ONLY_WHEN_USED}
    for name, rows in (("weights_sha256", weights), ("embeddings_sha256", embeddings)):
        if rows is not None:
            config[name] = hashlib.sha256(np.concatenate(rows).tobytes()).hexdigest()
    config["axes"] = [axis for axis in AXES if all(axis in label.info["axes"] for label in tables)]
    if not config["axes"]:
        raise DistillError("the label tables have no axis in common; train on them one at a time")
    config["derived"] = [axis for axis in AXES if any(axis in label.info["derived"] for label in tables)]
    config["teacher"] = "; ".join(dict.fromkeys(label.info["teacher"]["name"] for label in tables))
    config["range"] = tables[0].info["teacher"]["range"]
    return {**config, **_licences(tables)}


def _licences(tables: Sequence[table.LabelTable]) -> dict[str, Any]:
    """The student's licence is its strictest parent's; its data are the teacher's and what the teacher labelled."""
    lineage = []
    for label in tables:
        card = label.info["teacher"]
        lineage.append(
            {"role": "teacher", **{key: card[key] for key in ("name", "revision", "licence", "data_licence")}}
        )
        audio = {"role": "audio", "name": Path(label.info["root"]).name, "revision": None}
        lineage.append({**audio, "licence": None, "data_licence": label.info["audio_licence"]})
    unique = list({str(entry): entry for entry in lineage}.values())
    return {
        "licence": strictest(entry["licence"] for entry in unique if entry["licence"]),
        "data_licence": strictest(entry["data_licence"] for entry in unique),
        "lineage": unique,
    }
