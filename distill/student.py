"""The exported student: one ONNX file from raw PCM to A/D/V that says itself what it is. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError, first_line
from distill.pretrained import path_of

#: The network's one input (float32 [batch, samples], 16 kHz) and one output (float32 [batch, 3]).
INPUT, OUTPUT = "pcm", "adv"

#: Metadata without which a file is no student of ours; values are JSON, text or numbers alike.
REQUIRED = ("name", "sampling_rate", "axes", "derived", "range", "shortest_seconds", "licence", "data_licence",
            "lineage", "parameters", "trainable", "macs_per_second", "tokens_per_second", "hop_ms")  # fmt: skip


@dataclass(frozen=True)
class StudentCard:
    """What the ONNX metadata says.

    name: the architecture. axes: answered axes, the others are NaN; derived: those of them never measured.
    parameters and trainable count numbers; macs_per_second counts multiply-accumulates per second of audio, at 5 s.
    lineage: list of {role, name, revision, licence, data_licence}, from the audio to this file.
    precision: "float32", "int8" or what else the layout is quantised to; None in a file that does not say.
    """

    name: str
    sampling_rate: int
    axes: tuple[str, ...]
    derived: tuple[str, ...]
    range: tuple[float, float]
    shortest_seconds: float
    licence: str
    data_licence: str
    lineage: list[dict[str, Any]]
    parameters: int
    trainable: int
    macs_per_second: float
    tokens_per_second: float
    hop_ms: float
    precision: str | None = None

    def introduction(self) -> str:
        """Who answers, what it is under, and what it was trained on, in a line."""
        kind = f" ({self.precision})" if self.precision else ""
        return f"{self.name}{kind}: weights {self.licence}; trained on {self.data_licence}"


class Student:
    """An exported student, ready to answer.

    path: an ONNX file written by `distill export`, or the name of one that comes with the package
    (`distill.pretrained`). threads: onnxruntime's intra-op threads.

    Raises:
        DistillError: no such student, not ONNX, another shape, or metadata missing; the line names which.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        self.path = path_of(path)
        self._session = open_session(self.path, threads)
        _check_shape(self.path, self._session)
        self.card = read_card(self.path, self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """signals: float32 [batch, samples] at the card's rate, all of one length -> float32 [batch, 3]."""
        (adv,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(signals, dtype=np.float32)})
        return np.asarray(adv, dtype=np.float32)


def read_card(path: Path, metadata: dict[str, str]) -> StudentCard:
    """The card out of an ONNX file's metadata (each value is one JSON text).

    Raises:
        DistillError: a field is missing or is not JSON.
    """
    missing = [key for key in REQUIRED if key not in metadata]
    if missing:
        raise DistillError(f"{path}: no student of `distill export`: its metadata lacks {', '.join(missing)}")
    try:
        values: dict[str, Any] = {key: json.loads(metadata[key]) for key in (*REQUIRED, "precision") if key in metadata}
        values.update({key: tuple(values[key]) for key in ("axes", "derived", "range")})
        values.update({key: float(values[key]) for key in ("shortest_seconds", "macs_per_second", "hop_ms")})
    except (ValueError, TypeError) as error:
        raise DistillError(f"{path}: its metadata cannot be read ({error}); export it again") from None
    return StudentCard(**values)


def open_session(path: Path, threads: int) -> Any:
    """onnxruntime's session on an ONNX file, on the CPU with `threads` threads.

    Raises:
        DistillError: no such file, or none that onnxruntime can load.
    """
    import onnxruntime

    if not path.is_file():
        raise DistillError(f"{path}: no such student; make one with `distill export RUN --int8 -o {path.name}`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types from C++, all of them meaning: unusable file
        raise DistillError(f"{path}: onnxruntime cannot load it as ONNX ({first_line(error)[:200]})") from None


def _check_shape(path: Path, session: Any) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = [(value.name, len(value.shape), value.type) for value in (*inputs, *outputs)]
    if found != [(INPUT, 2, "tensor(float)"), (OUTPUT, 2, "tensor(float)")] or outputs[0].shape[1] != len(AXES):
        shown = ", ".join(f"{value.name}{value.shape}" for value in (*inputs, *outputs))
        raise DistillError(
            f"{path}: not a student: expected {INPUT}[batch, samples] -> {OUTPUT}[batch, 3], found {shown}"
        )
