"""Golden vectors: short clips and what an exported student answers to them, for any other runtime to check itself by.

Beside `student.onnx` lie `student.golden.json`, which says what was answered, and `student.golden.pcm`, the clips one
after the other as raw 16-bit little-endian mono PCM: C, JavaScript and Python read it alike, with no decoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.files import read_json, sha256_of, whole, write_json
from distill.pretrained import path_of
from distill.student import Student

#: The two files, by what takes the place of the student's suffix.
ANSWERS, PCM = ".golden.json", ".golden.pcm"

#: What an answer may differ on another runtime, or on another processor.
TOLERANCE = 1e-3

#: A sample of 16 bits divided by this is what the student hears.
FULL_SCALE = 32768

#: Without these a file holds no golden vectors.
_FIELDS = ("student_sha256", "tolerance", "sampling_rate", "full_scale", "pcm_sha256", "clips")


class Clip(NamedTuple):
    """What is answered: int16 [samples] at 16 kHz, and what it was cut from."""

    file: str
    pcm: np.ndarray


@dataclass(frozen=True)
class Vectors:
    """Clips and the answers to them, in one order.

    signals: float32 [samples] each; adv: float32 [clips, 3], NaN on the axes that the student lacks. student_sha256: of
    the file that answered.
    """

    student_sha256: str
    tolerance: float
    signals: list[np.ndarray]
    adv: np.ndarray


def write_golden(student: str | Path, clips: Sequence[Clip], *, audio_licence: str) -> Path:
    """Let a student answer the clips, and write both files beside it; returns the path of the JSON.

    The clips go into the bundle: audio_licence says under what they may be handed on.
    """
    student = Path(student)
    answer, pcm = Student(student), b"".join(_bytes(clip.pcm) for clip in clips)
    with whole(student.with_suffix(PCM)) as beside:
        beside.write_bytes(pcm)
    write_json(
        student.with_suffix(ANSWERS),
        {
            "student": student.name, "student_sha256": sha256_of(student), "tolerance": TOLERANCE,
            "axes": answer.card.axes, "sampling_rate": SAMPLING_RATE,
            "pcm": student.with_suffix(PCM).name, "pcm_sha256": hashlib.sha256(pcm).hexdigest(),
            "encoding": "int16, little-endian, mono, one clip after the other; the student takes sample / full_scale",
            "full_scale": FULL_SCALE, "audio_licence": audio_licence, "clips": _answered(answer, clips),
        },
    )  # fmt: skip
    return student.with_suffix(ANSWERS)


def read_golden(path: Path) -> Vectors:
    """The golden vectors of a JSON and the PCM beside it.

    Raises:
        DistillError: one of them is missing, is not what `distill export` writes, or the PCM is not the one meant.
    """
    told, source = read_json(path), path.with_suffix(".pcm")
    if not isinstance(told, dict) or not all(field in told for field in _FIELDS):
        raise DistillError(f"{path}: holds no golden vectors; `distill export` writes them")
    if not source.is_file():
        raise DistillError(f"{source}: no such file; the clips that {path.name} speaks of are kept there")
    if sha256_of(source) != told["pcm_sha256"]:
        raise DistillError(f"{source}: is not the PCM that {path.name} was made with; export again")
    try:
        return _vectors(path, told, np.fromfile(source, "<i2"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DistillError(f"{path}: is not as `distill export` wrote it; export again") from None


def _vectors(path: Path, told: dict[str, Any], pcm: np.ndarray) -> Vectors:
    """Raises ValueError and the like where a field is not what it should be."""
    tolerance, adv = float(told["tolerance"]), np.array([clip["adv"] for clip in told["clips"]], np.float32)
    as_written = (told["sampling_rate"], told["full_scale"]) == (SAMPLING_RATE, FULL_SCALE)
    if not as_written or not 0 < tolerance <= TOLERANCE or adv.shape != (len(told["clips"]), len(AXES)) or not len(adv):
        raise ValueError
    signals = [_signal(path, pcm, clip, FULL_SCALE) for clip in told["clips"]]
    return Vectors(told["student_sha256"], tolerance, signals, adv)


def check(student: str | Path, *, golden: str | Path | None = None) -> dict[str, Any]:
    """Answer the golden clips again, and compare with what stands beside the student.

    golden: the JSON of another place, for a file that was made from the same student in another way.

    Returns {student, golden, n, max_abs, tolerance, same_file, passed}; max_abs is None where the student answers other
    axes, same_file whether the file is the very one that answered.

    Raises:
        DistillError: no student, or no golden vectors.
    """
    student = path_of(student)
    path = student.with_suffix(ANSWERS) if golden is None else Path(golden)
    if not path.is_file():
        raise DistillError(f"{path}: no golden vectors; `distill export` writes them, --golden names others")
    answer, vectors = Student(student), read_golden(path)
    off = largest_difference(np.concatenate([answer(clip[None]) for clip in vectors.signals]), vectors.adv)
    return {
        "student": str(student), "golden": str(path), "n": len(vectors.signals), "max_abs": off,
        "tolerance": vectors.tolerance, "same_file": sha256_of(student) == vectors.student_sha256,
        "passed": off is not None and off <= vectors.tolerance,
    }  # fmt: skip


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float | None:
    """How far answers are apart at most; None where not the same axes are answered. Both: [clips, 3].

    >>> largest_difference(np.array([[0.5, np.nan, 0.1]]), np.array([[0.25, np.nan, 0.1]]))
    0.25
    >>> largest_difference(np.array([[0.5, 0.5, 0.1]]), np.array([[0.5, np.nan, 0.1]])) is None
    True
    """
    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return None
    return float(np.nanmax(np.abs(found - expected)))


def _answered(answer: Student, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    entries, start = [], 0
    for clip in clips:
        adv = answer(clip.pcm[None].astype(np.float32) / FULL_SCALE)[0]
        digest = hashlib.sha256(_bytes(clip.pcm)).hexdigest()
        entries.append({"file": clip.file, "start": start, "samples": len(clip.pcm), "sha256": digest, "adv": adv})
        start += len(clip.pcm)
    return entries


def _signal(path: Path, pcm: np.ndarray, clip: dict[str, Any], full_scale: int) -> np.ndarray:
    samples = pcm[clip["start"] : clip["start"] + clip["samples"]]
    if hashlib.sha256(_bytes(samples)).hexdigest() != clip["sha256"]:
        raise DistillError(f"{path}: the clip at sample {clip['start']} is not the one that was answered; export again")
    return np.asarray(samples / np.float32(full_scale), np.float32)


def _bytes(pcm: np.ndarray) -> bytes:
    return pcm.astype("<i2").tobytes()
