"""Audio in: any file that libsndfile reads, as 16 kHz mono float32, whole or a span of it, with plain refusals."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from distill.errors import AudioError
from distill.sources import tars

#: Everything inside the project is mono at this rate (Hz).
SAMPLING_RATE = 16_000

#: Below this peak (-80 dBFS: the last two bits of 16-bit PCM) a clip says nothing.
SILENT_PEAK = 1e-4

#: File name endings that a folder is searched for.
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")

#: What writers of endless streams put where the number of bytes belongs.
_UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0xFFFFFFFF}

#: Sampling rates (Hz) that a header is believed.
_RATES = (1_000, 768_000)

#: No codec puts more samples than this into a byte (FLAC of digital silence: 65,536 into about ten bytes).
_MOST_SAMPLES_A_BYTE = 8_192

#: Hours beyond which a header is not believed.
_MOST_HOURS = 1_000

#: Samples, of all channels together, that are decoded at once.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Span:
    """A part of a recording, in seconds.

    >>> Span(1.0, 2.5).seconds
    1.5
    """

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def seconds_of(path: Path) -> float:
    """Length of a recording, from its header.

    Raises:
        AudioError: the file is missing, empty, or no audio.
    """
    with _opened(path) as sound:
        return float(sound.frames / sound.samplerate)


def read(path: Path, span: Span | None = None) -> np.ndarray:
    """Decode a recording, or one span of it without loading the rest: float32 [samples] at 16 kHz, mono, not clipped.

    Channels are averaged; other rates are resampled by soxr (HQ). A member of a plain tar is a recording, too, by the
    path <tar>/<member>.

    Raises:
        AudioError: missing, empty, truncated, no audio, NaN or Inf samples, or a span that lies outside the file.
    """
    with _opened(path) as sound:
        first, frames = _frames(path, sound, span)
        rate = sound.samplerate
        decoded = list(_decoded(sound, first, frames, _BLOCK // sound.channels))
    return _checked(to_mono_16k(decoded[0] if len(decoded) == 1 else np.concatenate(decoded), rate))


def blocks(path: Path, span: Span | None = None, seconds: float = 30.0) -> Iterator[np.ndarray]:
    """The same samples as `read` gives, in blocks of about `seconds`: memory does not grow with the recording.

    Raises:
        AudioError: as `read`, when the place in question is reached.
    """
    with _opened(path) as sound:
        rate = sound.samplerate
        first, frames = _frames(path, sound, span)
        resampler = soxr.ResampleStream(rate, SAMPLING_RATE, 1, dtype="float32") if rate != SAMPLING_RATE else None
        for block in _decoded(sound, first, frames, min(int(seconds * rate), _BLOCK // sound.channels)):
            yield _checked(resampler.resample_chunk(block) if resampler else block)
        if resampler:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _decoded(sound: soundfile.SoundFile, first: int, frames: int, most: int) -> Iterator[np.ndarray]:
    """float32 [at most `most`], mono, at the rate of the file."""
    try:
        sound.seek(first)
        for start in range(0, frames or 1, most):
            samples = sound.read(min(most, frames - start), dtype="float32", always_2d=True)
            if start + len(samples) < min(start + most, frames):
                rate, read_ = sound.samplerate, start + len(samples)
                raise AudioError(f"broken off: {read_ / rate:.2f} s of {frames / rate:.2f} s could be read")
            yield _mono(samples)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"broken off or damaged: {_reason(error)}") from None


def to_mono_16k(samples: np.ndarray, sampling_rate: float) -> np.ndarray:
    """float32 [samples] or [samples, channels] at any rate, as mono float32 [samples] at 16 kHz.

    >>> to_mono_16k(np.ones((32000, 2), np.float32), 32000).shape
    (16000,)
    """
    mono = _mono(samples)
    return mono if sampling_rate == SAMPLING_RATE else soxr.resample(mono, sampling_rate, SAMPLING_RATE)


def _mono(samples: np.ndarray) -> np.ndarray:
    mono = (
        samples
        if samples.ndim == 1
        else samples[:, 0]
        if samples.shape[1] == 1
        else samples.mean(axis=1, dtype=np.float64)
    )
    return np.ascontiguousarray(mono, dtype=np.float32)


def reject_unusable(samples: np.ndarray, shortest_seconds: float) -> None:
    """Refuse what cannot be judged: a clip that is too short or silent.

    >>> reject_unusable(np.zeros(8_000, np.float32), 1.0)
    Traceback (most recent call last):
    ...
    distill.errors.AudioError: too short: 0.50 s, at least 1 s are needed

    Raises:
        AudioError: saying which of the two.
    """
    seconds = len(samples) / SAMPLING_RATE
    if seconds < shortest_seconds:
        raise AudioError(f"too short: {seconds:.2f} s, at least {shortest_seconds:g} s are needed")
    if np.abs(samples).max(initial=0.0) < SILENT_PEAK:
        raise AudioError("silent: no sample above -80 dBFS")


def digest(samples: np.ndarray) -> str:
    """SHA-256 of decoded audio: what makes two files the same clip.

    >>> digest(np.zeros(2, np.float32))[:16]
    'af5570f5a1810b7a'
    """
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").tobytes()).hexdigest()


def padded(signals: Sequence[np.ndarray]) -> np.ndarray:
    """Signals side by side, zeros behind the shorter ones: float32 [batch, longest].

    >>> padded([np.ones(3), np.ones(1)]).tolist()
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    batch = np.zeros((len(signals), max(map(len, signals))), np.float32)
    for row, signal in zip(batch, signals, strict=True):
        row[: len(signal)] = signal
    return batch


def windows(seconds: float, window: float, hop: float) -> list[Span]:
    """Cut `seconds` of audio into windows; the last is moved back to end with the recording, so that none is lost.

    >>> [(span.start, span.end) for span in windows(12.0, 5.0, 5.0)]
    [(0.0, 5.0), (5.0, 10.0), (7.0, 12.0)]
    >>> windows(3.0, 5.0, 5.0)
    [Span(start=0.0, end=3.0)]
    """
    if seconds <= window:
        return [Span(0.0, seconds)]
    count = int(np.floor((seconds - window) / hop + 1e-9)) + 1
    starts = [round(index * hop, 6) for index in range(count)]
    spans = [Span(start, round(start + window, 6)) for start in starts]
    if seconds - spans[-1].end > 1e-3:
        spans.append(Span(round(seconds - window, 6), seconds))
    return spans


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    with ExitStack() as held:
        try:
            sound, size = _sound(path, held)
        except FileNotFoundError:
            raise AudioError("no such file") from None
        except UnicodeEncodeError:
            raise AudioError("its name is not valid UTF-8; rename it") from None
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror or error}") from None
        except (soundfile.SoundFileError, TypeError) as error:
            raise AudioError(f"not audio that can be read: {_reason(error)}") from None
        _reject_unlikely(sound, size)
        yield sound


def _sound(path: Path, held: ExitStack) -> tuple[soundfile.SoundFile, int]:
    """A recording, and the bytes that it has."""
    if path.is_dir():
        raise AudioError("a folder, not a file")
    size, _ = tars.state_of(path)
    if size == 0:
        raise AudioError("empty file")
    if tars.split(path) is None:
        return held.enter_context(soundfile.SoundFile(path)), size
    member, _ = tars.open_bytes(path)
    return held.enter_context(soundfile.SoundFile(held.enter_context(member))), size


def _reject_unlikely(sound: soundfile.SoundFile, size: int) -> None:
    """Refuse what a header says that its file cannot hold: whoever believed it would make room for it.

    Raises:
        AudioError: no samples, a rate or a length that is absurd, or fewer bytes than the header promises.
    """
    if sound.frames <= 0:
        raise AudioError("holds no samples")
    if not _RATES[0] <= sound.samplerate <= _RATES[1]:
        raise AudioError(f"its header says {sound.samplerate:,} Hz; {_RATES[0]:,} to {_RATES[1]:,} are read")
    hours = sound.frames / sound.samplerate / 3600
    if sound.frames > size * _MOST_SAMPLES_A_BYTE or hours > _MOST_HOURS:
        raise AudioError(f"its header promises {hours:,.1f} hours, which {size:,} bytes cannot hold")
    if _lost_its_end(sound):
        raise AudioError("broken off: the header promises more samples than the file holds")


def _lost_its_end(sound: soundfile.SoundFile) -> bool:
    """libsndfile reads a truncated wav without complaint; its log alone tells ("data : 64000 (should be 31956)")."""
    found = re.search(r"^\s*\**\s*(?:data|SSND)\s*:\s*(\d+)\s*\(should be (\d+)\)", sound.extra_info, re.MULTILINE)
    if found is None:
        return False
    promised, held = int(found[1]), int(found[2])
    return promised > held and promised not in _UNKNOWN_SIZES


def _frames(path: Path, sound: soundfile.SoundFile, span: Span | None) -> tuple[int, int]:
    if span is None:
        return 0, sound.frames
    first, last = round(span.start * sound.samplerate), round(span.end * sound.samplerate)
    # A manifest's times are often rounded to milliseconds: an end that is past the file by less is the file's end.
    if last > sound.frames + round(0.01 * sound.samplerate):
        length = sound.frames / sound.samplerate
        raise AudioError(f"the segment ends at {span.end:g} s, the file at {length:g} s")
    return first, max(min(last, sound.frames) - first, 0)


def _checked(samples: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise AudioError("holds NaN or Inf samples")
    return samples


def _reason(error: Exception) -> str:
    return str(error).split(": ", 1)[-1].strip().rstrip(".").lower() or type(error).__name__
