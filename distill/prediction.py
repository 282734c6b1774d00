"""Prediction with an exported student: a recording in, A/D/V a window out. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr

from distill.annotation import AXES
from distill.audio import (
    SAMPLING_RATE,
    SILENT_PEAK,
    blocks,
    read,
    reject_unusable,
    seconds_of,
    to_mono_16k,
    windows,
)
from distill.errors import AudioError, DistillError
from distill.pretrained import DEFAULT, STEP
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

_HALF = "standard input ends in half a sample; it takes raw 16-bit little-endian mono PCM"


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

    A causal student (one with a step file, `distill.streaming`) answers every `hop` without windows: each answer is
    what it makes of all that was heard until then, and stands for the stretch since the last one.

    Raises:
        AudioError: the recording cannot be read. DistillError: the student cannot, or windows that cannot be.
    """
    model = student if isinstance(student, Student) else Student(student)
    if hop is not None and window is None and is_causal(model):
        yield from _carried_on(source, model, _checked_hop(hop), sampling_rate)
        return
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
        raise DistillError(f"--hop {hop:g}: needs --window; only a causal student (wav2small-stream) goes on without")
    window = LONGEST_SECONDS if window is None else window
    hop = window if hop is None else hop
    if not window >= student.card.shortest_seconds:
        raise DistillError(f"--window {window:g}: the student needs at least {student.card.shortest_seconds:g} s")
    if not SHORTEST_HOP <= hop <= window:
        raise DistillError(f"--hop {hop:g}: must be at least {SHORTEST_HOP:g} s and at most the window of {window:g} s")
    return window, hop


# --- by windows ------------------------------------------------------------------------------------------------------


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
    end = at + len(heard) // 2
    # What is left over is new only where it goes past the last window, which is then moved back to end with it.
    if done == 0 or end - done > 1e-3 * rate:
        first = max(end - round(window * rate), 0)
        rest = heard[2 * (first - at) : 2 * (end - at)]
        yield _prediction(STREAM, round(first / rate, 6), student, _of_pcm(rest, rate))
    if len(heard) % 2:  # said when nothing is due any more
        raise AudioError(_HALF)


def _window(index: int, window: float, hop: float, rate: int) -> tuple[int, int]:
    """First and last sample of a window."""
    start = round(index * hop, 6)
    return round(start * rate), round(round(start + window, 6) * rate)


# --- carried on ------------------------------------------------------------------------------------------------------


def is_causal(student: Student) -> bool:
    """Whether a student can go on from what it has heard: its step file lies beside it."""
    return student.path.with_suffix(STEP).is_file()


def _checked_hop(hop: float) -> float:
    if not hop >= SHORTEST_HOP:
        raise DistillError(f"--hop {hop:g}: must be at least {SHORTEST_HOP:g} s")
    return hop


def _carried_on(source: str | Path | BinaryIO, student: Student, hop: float, rate: int) -> Iterator[Prediction]:
    if not isinstance(source, (str, Path)):
        heard = _Pcm(source, rate)
        yield from _every_hop(STREAM, heard, student, hop)
        if heard.half:  # said when nothing is due any more
            raise AudioError(_HALF)
        return
    try:
        yield from _every_hop(str(source), blocks(Path(source)), student, hop)
    except AudioError as error:
        raise AudioError(f"{source}: {error}") from None


def _every_hop(file: str, heard: Iterable[np.ndarray], student: Student, hop: float) -> Iterator[Prediction]:
    """An answer for every hop that was heard out, and one for what is left over. heard: float32 at 16 kHz, in pieces of
    any length; the answers are the same however it is cut."""
    from distill.streaming import Stream

    stream, samples, sounds_from = Stream(student.path), 0, math.inf
    answered, last = 0.0, (0.0, np.full(len(AXES), np.nan, np.float32))
    for block in heard:
        loud = np.abs(block) >= SILENT_PEAK
        sounds_from = min(sounds_from, (samples + int(loud.argmax())) / SAMPLING_RATE) if loud.any() else sounds_from
        samples += len(block)
        for last in stream.push(block):
            if last[0] >= (math.floor(answered / hop + 1e-6) + 1) * hop - 1e-6:
                yield _stretch(file, answered, *last, student, sounds_from)
                answered = last[0]
    if last[0] > answered or not answered:
        end = last[0] or samples / SAMPLING_RATE
        yield _stretch(file, answered, end, last[1], student, sounds_from)


def _stretch(file: str, start: float, end: float, adv: np.ndarray, student: Student, sounds_from: float) -> Prediction:
    """What is answered at `end`, for the stretch since the last answer."""
    shortest, warning = student.card.shortest_seconds, None
    if end < shortest:
        warning = f"too short: {end:.2f} s, at least {shortest:g} s are needed"
    elif end <= sounds_from:
        warning = "silent: no sample above -80 dBFS so far"
    return _answer(file, start, end, np.full(len(AXES), np.nan) if warning else adv, student, warning)


# --- audio in, answers out -------------------------------------------------------------------------------------------


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """What a stream gives, as it comes: a reader that waits for whole blocks would answer late."""
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK):
        yield block


class _Pcm:
    """The same as float32 at 16 kHz. half: afterwards, whether it ended in half a sample."""

    def __init__(self, stream: BinaryIO, rate: int) -> None:
        self._stream, self._rate, self.half = stream, rate, False

    def __iter__(self) -> Iterator[np.ndarray]:
        as_is = self._rate == SAMPLING_RATE
        resampler = None if as_is else soxr.ResampleStream(self._rate, SAMPLING_RATE, 1, dtype="float32")
        rest = b""
        for block in _blocks(self._stream):
            whole = rest + block
            rest = whole[len(whole) // 2 * 2 :]
            pcm = _floats(whole[: len(whole) // 2 * 2])
            yield resampler.resample_chunk(pcm) if resampler else pcm
        if resampler:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self.half = bool(rest)


def _of_pcm(pcm: bytearray, rate: int) -> np.ndarray:
    return to_mono_16k(_floats(pcm), rate)


def _floats(pcm: bytes | bytearray) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def _prediction(file: str, start: float, student: Student, signal: np.ndarray) -> Prediction:
    adv, warning = answer(student, signal)
    return _answer(file, start, start + len(signal) / SAMPLING_RATE, adv, student, warning)


def _answer(file: str, start: float, end: float, adv: np.ndarray, student: Student, warning: str | None) -> Prediction:
    arousal, dominance, valence = (float(value) if np.isfinite(value) else None for value in adv)
    start, end = round(start, 6), round(end, 6)
    return Prediction(file, start, end, arousal, dominance, valence, list(student.card.derived), warning)
