"""What an exported student says of itself: metadata in the ONNX, `student.json` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from distill.audio import SAMPLING_RATE
from distill.files import sha256_of
from export.graph.writer import OPSET, PARTS
from export.ladder import Rung
from export.onnx import set_metadata
from students.catalogue import figures
from students.network import SHORTEST_SECONDS


def metadata(config: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """The fields of `distill.student.StudentCard` from a run's configuration."""
    counted = figures(config["arch"]).as_dict()
    student = {"role": "student", "name": config["arch"], "revision": None}
    licences = {key: config[key] for key in ("licence", "data_licence")}
    return {
        **counted, "sampling_rate": SAMPLING_RATE, "axes": config["axes"], "derived": config["derived"],
        "range": config["range"], "shortest_seconds": SHORTEST_SECONDS, "precision": precision, **licences,
        "lineage": [*config["lineage"], {**student, **licences}],
    }  # fmt: skip


def describe(
    path: Path, data: Mapping[str, Any], ladder: Sequence[Rung], calibrated_on: Sequence[str]
) -> dict[str, Any]:
    """`student.json`: what the metadata says, and size, hash, ladder, byte table, and the frozen calibration list."""
    return {
        "bytes": path.stat().st_size, "sha256": sha256_of(path), **data, "opset": OPSET,
        "ladder": [rung.as_dict() for rung in ladder], "byte_table": byte_table(path),
        "calibrated_on": list(calibrated_on),
    }  # fmt: skip


def metadata_bytes(data: Mapping[str, Any]) -> int:
    """What the fields take in a file."""
    model = onnx.ModelProto(producer_name="distill")
    set_metadata(model, data)
    return int(model.ByteSize())


def byte_table(path: Path) -> dict[str, int]:
    """Where the file's bytes are; the parts add up to its size. What a constant belongs to is told by its name."""
    model = onnx.load(path)
    parts = {"weights": 0, "scales": 0, "front_end": 0}
    for tensor in model.graph.initializer:
        part = _LETTERS.get(tensor.name[0], "graph")
        if part in parts:
            parts[part] += numpy_helper.to_array(tensor).nbytes
    parts["metadata"] = sum(entry.ByteSize() for entry in model.metadata_props)
    return {**parts, "graph": path.stat().st_size - sum(parts.values())}


_LETTERS = {letter: part for part, letter in PARTS.items()}
