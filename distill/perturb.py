"""Perturbations of audio: what training mixes in and robustness tests measure. numpy; float32 [samples] in and out."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from distill.audio import SAMPLING_RATE, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.progress import say
from distill.sources.manifest import audio_files

Generator = np.random.Generator

#: Codecs: sampling rate (Hz), container and coding, as libsndfile calls them. The first three are telephony. libsndfile
#: takes the delays of Opus and MP3 away itself; the others have none.
CODECS = {
    "ulaw": (8_000, "WAV", "ULAW"),
    "alaw": (8_000, "WAV", "ALAW"),
    "gsm": (8_000, "WAV", "GSM610"),
    "opus": (16_000, "OGG", "OPUS"),
    "vorbis": (16_000, "OGG", "VORBIS"),
    "mp3": (16_000, "MP3", "MPEG_LAYER_III"),
    "adpcm": (16_000, "WAV", "IMA_ADPCM"),
}

#: Octaves over which `band_limit` falls from all to nothing.
_EDGE_OCTAVES = 1 / 3


@dataclass(frozen=True)
class Surroundings:
    """Noises (float32 [samples] each) and room impulse responses (float32 [samples] each) at 16 kHz."""

    noises: list[np.ndarray]
    rooms: list[np.ndarray]


def surroundings(noise: Path | None, rir: Path | None, *, seed: int = 0, testing: bool = False) -> Surroundings:
    """Recorded noises and rooms, each of a folder or of a pattern (`recordings`); without, synthesised ones.

    testing: synthesised ones that training never hears, whatever its seed.

    >>> made = surroundings(None, None)
    >>> made.noises[0].dtype.name, made.rooms[0].dtype.name
    ('float32', 'float32')

    Raises:
        DistillError: a folder without readable audio.
    """
    rng = np.random.default_rng([seed, 0x7E57 if testing else 0x5011D])
    return Surroundings(
        noises=_recordings(noise) if noise else [synthetic_noise(rng, 10.0) for _ in range(24)],
        rooms=[room(response) for response in _recordings(rir)] if rir else [synthetic_room(rng) for _ in range(24)],
    )


def level(signal: np.ndarray) -> float:
    """Root mean square.

    >>> round(level(np.array([0.5, -0.5])), 6)
    0.5
    """
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)) + 1e-20))


def add_noise(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`signal` with `noise` (same length) at a signal-to-noise ratio in dB.

    >>> tone, hiss = np.ones(4, np.float32), np.array([1, -1, 1, -1], np.float32)
    >>> [round(float(sample), 2) for sample in add_noise(tone, hiss, 20.0)]
    [1.1, 0.9, 1.1, 0.9]
    """
    scale = level(signal) / level(noise) * 10 ** (-snr_db / 20)
    return (signal + scale * noise).astype(np.float32)


def reverberate(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`signal` in a room, as long as it was; the direct sound stays in time.

    >>> reverberate(np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.5])).round(3).tolist()
    [1.0, 0.5, 0.0]
    """
    size = 1 << (len(signal) + len(response) - 2).bit_length()
    wet = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(response, size), size)
    return np.asarray(wet[: len(signal)], np.float32)


def change_speed(signal: np.ndarray, factor: float) -> np.ndarray:
    """Played `factor` times as fast: shorter and higher.

    >>> len(change_speed(np.ones(16_000, np.float32), 1.25))
    12800
    """
    return np.asarray(soxr.resample(signal, SAMPLING_RATE * factor, SAMPLING_RATE, quality="MQ"))


def equalise(signal: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """Another microphone, another voice: gains (dB) at points spread evenly over log-frequency from 100 Hz to 8 kHz.

    >>> signal = np.array([0.5, -0.25, 0.0, 0.25], np.float32)
    >>> equalise(signal, np.full(3, 20.0)).round(3).tolist()  # 20 dB everywhere: ten times
    [5.0, -2.5, 0.0, 2.5]
    """
    hertz = np.fft.rfftfreq(len(signal), 1 / SAMPLING_RATE).clip(min=1.0)
    points = np.geomspace(100.0, SAMPLING_RATE / 2, len(gains_db))
    gain = 10 ** (np.interp(np.log(hertz), np.log(points), gains_db) / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * gain, len(signal)), np.float32)


def band_limit(signal: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """What passes between two frequencies, in time as it was; telephone: 300 to 3400 Hz.

    Outside, a raised cosine falls to nothing within a third of an octave. 0 and 8000 (half the rate) leave a side open.

    >>> bool(np.abs(band_limit(np.ones(1600, np.float32), 300, 3400)).max() < 1e-6)  # a constant lies at 0 Hz
    True
    """
    hertz = np.fft.rfftfreq(len(signal), 1 / SAMPLING_RATE)
    gain = np.ones_like(hertz)
    if low_hz > 0:
        gain *= _fading(np.log2(np.maximum(hertz, 1e-9) / low_hz))
    if high_hz < SAMPLING_RATE / 2:
        gain *= _fading(np.log2(high_hz / np.maximum(hertz, 1e-9)))
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * gain, len(signal)), np.float32)


def _fading(octaves_inside: np.ndarray) -> np.ndarray:
    """Gain at so many octaves inside (below 0: outside) of an edge."""
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(-octaves_inside / _EDGE_OCTAVES, 0, 1))


def clip(signal: np.ndarray, share: float) -> np.ndarray:
    """Cut off hard where about `share` (0..1) of the samples, the loudest, lie; the level stays otherwise.

    By percentile, as is customary in augmentation (audiomentations' ClippingDistortion), and not by dB over full scale:
    so it distorts quiet and loud recordings alike, and gain is a perturbation of its own.

    >>> clip(np.array([1, -2, 3, -4, 5], np.float32), 0.4).tolist()
    [1.0, -2.0, 3.0, -3.0, 3.0]
    """
    ceiling = np.float32(np.quantile(np.abs(signal), 1 - share, method="lower"))
    return np.asarray(np.clip(signal, -ceiling, ceiling))


def codecs() -> list[str]:
    """Those of `CODECS` that libsndfile can write here.

    >>> set(codecs()) <= set(CODECS)
    True
    """
    return [name for name, (_, form, coding) in CODECS.items() if soundfile.check_format(form, coding)]


def through_codec(signal: np.ndarray, codec: str) -> np.ndarray:
    """Encoded and decoded again by one of `codecs()`: as long as it was, in time; clipped where beyond full scale.

    >>> through_codec(np.zeros(16_000, np.float32), codecs()[0]).shape
    (16000,)
    """
    rate, form, coding = CODECS[codec]
    coded = np.clip(soxr.resample(signal, SAMPLING_RATE, rate), -1, 1)
    encoded = BytesIO()
    with soundfile.SoundFile(encoded, "w", rate, 1, coding, format=form) as sound:
        for start in range(0, len(coded), rate):  # a second at a time: libsndfile dies of minutes of Vorbis at once
            sound.write(coded[start : start + rate])
    encoded.seek(0)
    decoded, decoded_rate = soundfile.read(encoded, dtype="float32")
    return _as_long(soxr.resample(decoded, decoded_rate, SAMPLING_RATE), len(signal))


def _as_long(signal: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(signal[:samples], (0, max(0, samples - len(signal))))


def with_silence(signal: np.ndarray, before: float, after: float) -> np.ndarray:
    """With seconds of digital silence before and after.

    >>> len(with_silence(np.ones(16000, np.float32), 1.0, 0.5))
    40000
    """
    return np.pad(signal, (round(before * SAMPLING_RATE), round(after * SAMPLING_RATE)))


def excerpt(signal: np.ndarray, samples: int, rng: Generator) -> np.ndarray:
    """A random stretch of `samples` samples; a shorter signal is repeated from a random point.

    >>> excerpt(np.ones(2), 5, np.random.default_rng(0)).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if len(signal) < samples:
        signal = np.tile(np.roll(signal, int(rng.integers(len(signal)))), -(-samples // len(signal)))
    start = int(rng.integers(len(signal) - samples + 1))
    return signal[start : start + samples]


def synthetic_noise(rng: Generator, seconds: float) -> np.ndarray:
    """Noise with a random slope (0 to -9 dB an octave) and slow level changes: wind, engines, crowds at a distance.

    >>> synthetic_noise(np.random.default_rng(0), 0.5).shape
    (8000,)
    """
    samples = int(seconds * SAMPLING_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLING_RATE).clip(min=40.0)
    coloured = np.fft.irfft(spectrum * (hertz / 1000) ** (-rng.uniform(0, 1.5)), samples)
    knots = rng.uniform(-1, 1, int(seconds * rng.uniform(1, 6)) + 2)
    swell = np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)
    noise = coloured * 10 ** (rng.uniform(0, 8) * swell / 20)
    return np.asarray(noise / np.abs(noise).max(), np.float32)


def synthetic_room(rng: Generator) -> np.ndarray:
    """A room: direct sound, a few early reflections, an exponentially decaying tail (RT60 0.15 to 0.9 s).

    >>> float(synthetic_room(np.random.default_rng(0))[0])  # the direct sound
    1.0
    """
    rt60 = rng.uniform(0.15, 0.9)
    samples = int(min(rt60, 0.6) * SAMPLING_RATE)
    time = np.arange(samples) / SAMPLING_RATE
    tail = rng.standard_normal(samples) * 10 ** (-3 * time / rt60)
    onset = int(rng.uniform(0.001, 0.008) * SAMPLING_RATE)
    tail[:onset] = 0
    early = rng.integers(onset, int(0.03 * SAMPLING_RATE), 6)
    tail[early] += rng.uniform(-1, 1, 6) * 3
    # Direct-to-reverberant ratio of 0 to 15 dB: from across the room to beside the microphone.
    tail *= 10 ** (-rng.uniform(0, 15) / 20) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] = 1.0
    return tail.astype(np.float32)


def room(response: np.ndarray) -> np.ndarray:
    """A recorded impulse response, cut to begin at its direct sound and to last at most 0.6 s, with unit energy.

    >>> room(np.array([0.0, 0.0, 2.0, 0.0])).tolist()
    [1.0, 0.0]
    """
    response = response[int(np.abs(response).argmax()) :][: int(0.6 * SAMPLING_RATE)]
    return np.asarray(response / np.sqrt(np.sum(response**2)), np.float32)


def recordings(where: Path) -> dict[str, Path]:
    """Audio files of a folder, by their paths in it; or those that a pattern as the last part of the path chooses:
    `esc10/*-[123]-*` are the first three folds of ESC-10.

    Raises:
        DistillError: no such folder, or no audio file there, or none of that name.
    """
    folder, pattern = (where, "*") if where.is_dir() else (where.parent, where.name)
    if not folder.is_dir() or (pattern == where.name and not set(pattern) & set("*?[")):
        raise DistillError(f"{where}: no such folder")
    found = {name: folder / name for name in audio_files(folder) if fnmatchcase(name, pattern)}
    if not found:
        raise DistillError(f"{where}: no audio in it" if where == folder else f"{where}: no audio file has such a name")
    return found


def _recordings(where: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for path in recordings(where).values():
        try:
            signal = read(path)
            reject_unusable(signal, shortest_seconds=0.0)
            found.append(signal)
        except AudioError as error:
            say(f"left out {path}: {error}")
    if not found:
        raise DistillError(f"{where}: no audio in it that can be read")
    return found
