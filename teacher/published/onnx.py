"""An ONNX file as a teacher: audEERING's published export, a student of `distill export`, or any that is described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.files import read_json, sha256_of
from distill.licences import UNKNOWN
from distill.student import OUTPUT, open_session, read_card
from teacher.threads import threads_here

#: Outputs of audEERING's export: the pooled hidden state, and arousal, dominance, valence.
_EMBEDDING, _ANSWERS = "hidden_states", "logits"

#: wav2vec 2.0's floor on the variance of a clip.
_VARIANCE_FLOOR = 1e-7

_NORMALISATIONS = {"clip": "zero mean, unit variance per clip", "none": "none"}


class OnnxTeacher:
    """A network that onnxruntime runs on the CPU, one clip after the other: files take no padding mask."""

    def __init__(self, path: Path, card: TeacherCard, *, answers: str, embedding: str | None, normalised: bool) -> None:
        self.card = card
        self._session = open_session(path, threads=threads_here())
        self._input = self._session.get_inputs()[0].name
        self._outputs = [answers] + ([embedding] if embedding else [])
        self._normalised = normalised
        self._columns = [card.order.index(axis) if axis in card.order else None for axis in AXES]

    @classmethod
    def load(cls, path: Path) -> OnnxTeacher:
        """Open a file. What it does not say itself stands in a JSON of the same name beside it.

        {"order": ["valence", "arousal", "dominance"], "normalisation": "clip" or "none", "licence": "...",
        "data_licence": "..."}; "output" and "embedding" name outputs where there are several.

        Raises:
            DistillError: no ONNX, another shape, or nobody says in which order it answers.
        """
        described = describe(path)
        shapes = {output.name: output.shape for output in open_session(path, threads=1).get_outputs()}
        missing = [name for name in (described["output"], described["embedding"]) if name and name not in shapes]
        if missing:
            raise DistillError(f"{path}: has no output {missing[0]!r}; it has {', '.join(shapes)}")
        width = shapes[described["output"]][-1]
        if isinstance(width, int) and width != len(described["order"]):
            raise DistillError(f"{path}: answers {width} numbers, and its order names {len(described['order'])}")
        return cls(
            path, _card(path, described), answers=described["output"], embedding=described["embedding"],
            normalised=described["normalisation"] == "clip",
        )  # fmt: skip

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """Annotate a padded batch: adv float32 [batch, 3], embedding float32 [batch, dimensions] or None.

        Raises:
            ValueError: another sampling rate than 16 kHz.
        """
        if sampling_rate != SAMPLING_RATE:
            raise ValueError(f"{self.card.name} hears {SAMPLING_RATE} Hz, not {sampling_rate}")
        heard = [
            self._heard(np.asarray(clip, np.float32)[:length]) for clip, length in zip(signals, lengths, strict=True)
        ]
        answers = np.stack([np.reshape(answer[0], -1) for answer in heard])
        adv = np.full((len(heard), len(AXES)), np.nan, np.float32)
        for axis, column in enumerate(self._columns):
            if column is not None:
                adv[:, axis] = answers[:, column]
        embedding = np.stack([np.reshape(answer[1], -1) for answer in heard]) if len(self._outputs) > 1 else None
        return Annotation(adv=adv, embedding=embedding)

    def _heard(self, clip: np.ndarray) -> list[np.ndarray]:
        if self._normalised:  # harmless where the file does it again itself
            clip = (clip - clip.mean()) / np.sqrt(clip.var() + _VARIANCE_FLOOR)
        return list(self._session.run(self._outputs, {self._input: clip[None].astype(np.float32)}))


def describe(path: Path) -> dict[str, Any]:
    """What an ONNX teacher answers, from the JSON beside it, or from the file where it is one that we know.

    Raises:
        DistillError: no ONNX, or nobody says; the line shows what to write.
    """
    session = open_session(path, threads=1)
    known = {**_known(path, session), **_told(path.with_suffix(".json"))}
    lacking = [key for key in ("output", "order", "normalisation") if key not in known]
    if lacking:
        example = '{"order": ["arousal", "dominance", "valence"], "normalisation": "clip", "output": "logits"}'
        raise DistillError(
            f"{path}: nobody says its {', '.join(lacking)}; write {path.with_suffix('.json')}, such as {example}"
        )
    wrong = [axis for axis in known["order"] if axis not in AXES]
    if wrong or known["normalisation"] not in _NORMALISATIONS:
        raise DistillError(
            f"{path.with_suffix('.json')}: order takes {', '.join(AXES)}, normalisation {' or '.join(_NORMALISATIONS)}"
        )
    return {"embedding": None, "licence": UNKNOWN, "data_licence": UNKNOWN, **known}


def _known(path: Path, session: Any) -> dict[str, Any]:
    outputs = {output.name for output in session.get_outputs()}
    if {_EMBEDDING, _ANSWERS} <= outputs:
        return {"output": _ANSWERS, "embedding": _EMBEDDING, "order": AXES, "normalisation": "clip"}
    if OUTPUT in outputs:
        student = read_card(path, session.get_modelmeta().custom_metadata_map)
        return {"output": OUTPUT, "order": AXES, "normalisation": "none", "licence": student.licence,
                "data_licence": student.data_licence, "axes": student.axes, "derived": student.derived,
                "parameters": student.parameters, "shortest_seconds": student.shortest_seconds}  # fmt: skip
    return {"output": next(iter(outputs))} if len(outputs) == 1 else {}


def _told(path: Path) -> dict[str, Any]:
    """The fields of the JSON beside the file that mean something here; `distill export` writes more of them."""
    fields = ("output", "embedding", "order", "normalisation", "licence", "data_licence")
    told = read_json(path) if path.is_file() else {}
    if not isinstance(told, dict):
        raise DistillError(f"{path}: is no JSON object")
    given = {key: told[key] for key in fields if key in told}
    wrong = [key for key, value in given.items() if not _is_right(key, value)]
    if wrong:
        raise DistillError(f"{path}: {wrong[0]} is {given[wrong[0]]!r}; order is a list of axes, the others are texts")
    return given


def _is_right(key: str, value: Any) -> bool:
    if key != "order":
        return isinstance(value, str) or (key == "embedding" and value is None)
    return isinstance(value, list) and all(isinstance(axis, str) for axis in value) and len(set(value)) == len(value)


def _card(path: Path, described: Mapping[str, Any]) -> TeacherCard:
    order = tuple(described["order"])
    return TeacherCard(
        name=path.stem, source=path.as_posix(), revision=sha256_of(path)[:12], licence=described["licence"],
        data_licence=described["data_licence"], parameters=described.get("parameters", 0),
        axes=tuple(axis for axis in AXES if axis in described.get("axes", order)),
        derived=tuple(described.get("derived", ())), range=(0.0, 1.0), trained_on="not known", bundled=False,
        normalisation=_NORMALISATIONS[described["normalisation"]], gain_invariant=described["normalisation"] == "clip",
        sampling_rate=SAMPLING_RATE, shortest_seconds=described.get("shortest_seconds", 0.3), longest_seconds=30.0,
        order=order, proven_on="files made here", own_threads=True,
    )  # fmt: skip
