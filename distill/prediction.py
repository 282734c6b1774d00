"""Prediction with an exported student: a recording in, A/D/V a window out. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, read, reject_unusable, seconds_of, to_mono_16k, windows
from distill.errors import AudioError, DistillError
from distill.pretrained import DEFAULT
from distill.student import Student

#: A recording that is longer than this is answered window by window (seconds).
LONGEST_SECONDS = 30.0

#: Windows nearer to each other than this would be nearly the same audio (seconds).
SHORTEST_HOP = 0.01


@dataclass(frozen=True)
class Prediction:
    """One answer. start, end: seconds; an axis is None where the student lacks it or the clip says nothing.

    derived: axes that were never measured. warning: why there is no answer, or why to doubt it; else None.

    >>> Prediction("a.wav", 0.0, 2.0, 0.4, None, 0.6, [], None).as_dict()["dominance"] is None
    True
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
        """As `distill predict --json` prints it."""
        return asdict(self)


def predict(
    source: str | Path | BinaryIO,
    *,
    student: Student | Path | str = DEFAULT,
    window: float | None = None,
    hop: float | None = None,
    sampling_rate: int = SAMPLING_RATE,
) -> Iterator[Prediction]:
    """Answer a recording, or a stream of raw mono 16-bit little-endian PCM at `sampling_rate` Hz.

    student: open, a file, or the name of one that comes with the package. window, hop: seconds; by default one answer
    up to 30 s, beyond that windows of 30 s. Silent and too-short clips are answered with None and a warning.

    Raises:
        AudioError: the recording cannot be read. DistillError: the student cannot, or windows that cannot be.
    """
    model = student if isinstance(student, Student) else Student(student)
    window = LONGEST_SECONDS if window is None else window
    hop = window if hop is None else hop
    _check_windows(window, hop, model)
    if isinstance(source, (str, Path)):
        yield from _of_file(Path(source), model, window, hop)
    else:
        yield from _of_stream(source, model, window, hop, sampling_rate)


def answer(student: Student, signal: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A/D/V of one clip, float32 [3], and a warning; all NaN where the clip is silent or too short.

    signal: float32 [samples], mono 16 kHz.
    """
    try:
        reject_unusable(signal, student.card.shortest_seconds)
    except AudioError as error:
        return np.full(len(AXES), np.nan, np.float32), str(error)
    return student(signal[None])[0], None


def _check_windows(window: float, hop: float, student: Student) -> None:
    if not window >= student.card.shortest_seconds:
        raise DistillError(f"--window {window:g}: the student needs at least {student.card.shortest_seconds:g} s")
    if not SHORTEST_HOP <= hop <= window:
        raise DistillError(f"--hop {hop:g}: must be at least {SHORTEST_HOP:g} s and at most the window of {window:g} s")


def _of_file(path: Path, student: Student, window: float, hop: float) -> Iterator[Prediction]:
    try:
        for span in windows(seconds_of(path), window, hop):
            yield _prediction(str(path), span.start, student, read(path, span))
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def _of_stream(stream: BinaryIO, student: Student, window: float, hop: float, rate: int) -> Iterator[Prediction]:
    """The windows that `distill.audio.windows` cuts, each as soon as it is heard; at most one window is held."""
    held, at, done, index = np.zeros(0, np.int16), 0, 0, 0  # `held` begins at sample `at`, answers reach to `done`
    first, last = _window(index, window, hop, rate)
    for block in _blocks(stream):
        held = np.concatenate([held, block])
        while at + len(held) >= last:
            yield _prediction("-", first / rate, student, _of_pcm(held[first - at : last - at], rate))
            done, index = last, index + 1
            first, last = _window(index, window, hop, rate)
        past = max(min(first, at + len(held) - round(window * rate)) - at, 0)
        held, at = held[past:], at + past
    end = at + len(held)
    # What is left over is new only where it goes past the last window, which is then moved back to end with it.
    if done == 0 or end - done > 1e-3 * rate:
        first = max(end - round(window * rate), 0)
        yield _prediction("-", round(first / rate, 6), student, _of_pcm(held[first - at :], rate))


def _window(index: int, window: float, hop: float, rate: int) -> tuple[int, int]:
    """First and last sample of a window."""
    start = round(index * hop, 6)
    return round(start * rate), round(round(start + window, 6) * rate)


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
