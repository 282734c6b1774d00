"""Prediction with an exported student: a recording in, A/D/V a window out. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, read, reject_unusable, seconds_of, to_mono_16k, windows
from distill.errors import AudioError
from distill.student import Student

#: A recording that is longer than this is answered window by window (seconds).
LONGEST_SECONDS = 30.0


@dataclass(frozen=True)
class Prediction:
    """One answer. start, end: seconds; an axis is None where the student lacks it or the clip says nothing.

    derived: axes that were never measured. warning: why there is no answer, or why to doubt it; else None.
    """

    file: str
    start: float
    end: float
    arousal: float | None
    dominance: float | None
    valence: float | None
    derived: list[str]
    warning: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def predict(
    source: str | Path | BinaryIO,
    *,
    student: Student | Path,
    window: float | None = None,
    hop: float | None = None,
    sampling_rate: int = SAMPLING_RATE,
) -> Iterator[Prediction]:
    """Answer a recording, or a stream of raw mono 16-bit little-endian PCM at `sampling_rate` Hz.

    window, hop: seconds; by default one answer up to 30 s, beyond that windows of 30 s. Silent and too-short clips are
    answered with None and a warning.

    Raises:
        AudioError: the recording cannot be read. DistillError: the student cannot.
    """
    model = student if isinstance(student, Student) else Student(student)
    window = LONGEST_SECONDS if window is None else window
    if isinstance(source, (str, Path)):
        yield from _of_file(Path(source), model, window, hop or window)
    else:
        yield from _of_stream(source, model, window, hop or window, sampling_rate)


def answer(student: Student, signal: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A/D/V of one clip, float32 [3], and a warning; all NaN where the clip is silent or too short.

    signal: float32 [samples], mono 16 kHz.
    """
    try:
        reject_unusable(signal, student.card.shortest_seconds)
    except AudioError as error:
        return np.full(len(AXES), np.nan, np.float32), str(error)
    return student(signal[None])[0], None


def _of_file(path: Path, student: Student, window: float, hop: float) -> Iterator[Prediction]:
    try:
        for span in windows(seconds_of(path), window, hop):
            yield _prediction(str(path), span.start, student, read(path, span))
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def _of_stream(stream: BinaryIO, student: Student, window: float, hop: float, rate: int) -> Iterator[Prediction]:
    size, step = round(window * rate), round(hop * rate)
    held, start = np.zeros(0, np.int16), 0
    for block in _blocks(stream):
        held = np.concatenate([held, block])
        while len(held) >= size:
            yield _prediction("-", start / rate, student, _of_pcm(held[:size], rate))
            held, start = held[step:], start + step
    # What is left over is new only where it goes past the last window.
    if start == 0 or len(held) > size - step:
        yield _prediction("-", start / rate, student, _of_pcm(held, rate))


def _blocks(stream: BinaryIO, size: int = 1 << 16) -> Iterator[np.ndarray]:
    rest = b""
    while data := stream.read(size):
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        yield np.frombuffer(data[:whole], "<i2")
    if rest:
        raise AudioError("standard input ends in half a sample; it takes raw 16-bit little-endian mono PCM")


def _of_pcm(pcm: np.ndarray, rate: int) -> np.ndarray:
    return to_mono_16k(pcm.astype(np.float32) / 32768, rate)


def _prediction(file: str, start: float, student: Student, signal: np.ndarray) -> Prediction:
    adv, warning = answer(student, signal)
    arousal, dominance, valence = (float(value) if np.isfinite(value) else None for value in adv)
    end = round(start + len(signal) / SAMPLING_RATE, 6)
    return Prediction(file, start, end, arousal, dominance, valence, list(student.card.derived), warning)
