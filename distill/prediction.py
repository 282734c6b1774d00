"""Prediction with an exported student: a recording in, A/D/V a window out. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, read, reject_unusable, seconds_of, to_mono_16k, windows
from distill.errors import AudioError, DistillError
from distill.pretrained import DEFAULT
from distill.sources.manifest import Failure, audio_files
from distill.student import Student

#: A recording that is longer than this is answered window by window (seconds).
LONGEST_SECONDS = 30.0

#: Windows nearer to each other than this would be nearly the same audio (seconds).
SHORTEST_HOP = 0.01

#: The name of the stream among recordings, and in its answers.
STREAM = "-"

#: Bytes of a stream that are read at most at once.
_BLOCK = 1 << 16


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
    window, hop = _windows(window, hop, model)
    if isinstance(source, (str, Path)):
        yield from _of_file(Path(source), model, window, hop)
    else:
        yield from _of_stream(source, model, window, hop, sampling_rate)


def recordings(clips: Iterable[str | Path]) -> list[str]:
    """Recordings as they are named, and of a folder those that are in it, by their paths, sorted.

    >>> recordings(["b.wav", "a.wav"])
    ['b.wav', 'a.wav']

    Raises:
        DistillError: a folder without recordings.
    """
    return [name for clip in clips for name in ([str(clip)] if not Path(clip).is_dir() else _within(Path(clip)))]


def predict_each(
    sources: Iterable[str], stream: BinaryIO, *, student: Student | Path | str = DEFAULT, **options: Any
) -> Iterator[Prediction | Failure]:
    """The answers to several recordings, one after the other; one that cannot be read is a Failure, and the rest go on.

    sources: paths, or "-" for `stream`. options: of `predict`.

    Raises:
        DistillError: the student cannot be read, or windows that cannot be.
    """
    model = student if isinstance(student, Student) else Student(student)
    for source in sources:
        try:
            yield from predict(stream if source == STREAM else source, student=model, **options)
        except AudioError as error:
            yield Failure(source, str(error).removeprefix(f"{source}: "))


def _within(folder: Path) -> list[str]:
    found = [str(folder / name) for name in audio_files(folder)]
    if not found:
        raise DistillError(f"{folder}: no recordings in this folder")
    return found


def answer(student: Student, signal: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A/D/V of one clip, float32 [3], and a warning; all NaN where the clip is silent or too short.

    signal: float32 [samples], mono 16 kHz.
    """
    try:
        reject_unusable(signal, student.card.shortest_seconds)
    except AudioError as error:
        return np.full(len(AXES), np.nan, np.float32), str(error)
    return student(signal[None])[0], None


def _windows(window: float | None, hop: float | None, student: Student) -> tuple[float, float]:
    """Length and distance of the windows in seconds, checked."""
    if hop is not None and window is None:
        raise DistillError(f"--hop {hop:g}: says how far windows are apart, and needs --window")
    window = LONGEST_SECONDS if window is None else window
    hop = window if hop is None else hop
    if not window >= student.card.shortest_seconds:
        raise DistillError(f"--window {window:g}: the student needs at least {student.card.shortest_seconds:g} s")
    if not SHORTEST_HOP <= hop <= window:
        raise DistillError(f"--hop {hop:g}: must be at least {SHORTEST_HOP:g} s and at most the window of {window:g} s")
    return window, hop


def _of_file(path: Path, student: Student, window: float, hop: float) -> Iterator[Prediction]:
    try:
        for span in windows(seconds_of(path), window, hop):
            yield _prediction(str(path), span.start, student, read(path, span))
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def _of_stream(stream: BinaryIO, student: Student, window: float, hop: float, rate: int) -> Iterator[Prediction]:
    """The windows that `distill.audio.windows` cuts, each as soon as it is heard; at most one window is held."""
    heard, at, done, index = bytearray(), 0, 0, 0  # `heard` begins at sample `at`, answers reach to `done`
    first, last = _window(index, window, hop, rate)
    for block in _blocks(stream):
        heard += block
        while at + len(heard) // 2 >= last:
            yield _prediction(STREAM, first / rate, student, _of_pcm(heard[2 * (first - at) : 2 * (last - at)], rate))
            done, index = last, index + 1
            first, last = _window(index, window, hop, rate)
        past = max(min(first, at + len(heard) // 2 - round(window * rate)) - at, 0)
        del heard[: 2 * past]
        at += past
    if len(heard) % 2:
        raise AudioError("standard input ends in half a sample; it takes raw 16-bit little-endian mono PCM")
    end = at + len(heard) // 2
    # What is left over is new only where it goes past the last window, which is then moved back to end with it.
    if done == 0 or end - done > 1e-3 * rate:
        first = max(end - round(window * rate), 0)
        yield _prediction(STREAM, round(first / rate, 6), student, _of_pcm(heard[2 * (first - at) :], rate))


def _window(index: int, window: float, hop: float, rate: int) -> tuple[int, int]:
    """First and last sample of a window."""
    start = round(index * hop, 6)
    return round(start * rate), round(round(start + window, 6) * rate)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """What a stream gives, as it comes: a reader that waits for whole blocks would answer late."""
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK):
        yield block


def _of_pcm(pcm: bytearray, rate: int) -> np.ndarray:
    return to_mono_16k(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768, rate)


def _prediction(file: str, start: float, student: Student, signal: np.ndarray) -> Prediction:
    adv, warning = answer(student, signal)
    arousal, dominance, valence = (float(value) if np.isfinite(value) else None for value in adv)
    end = round(start + len(signal) / SAMPLING_RATE, 6)
    return Prediction(file, start, end, arousal, dominance, valence, list(student.card.derived), warning)
