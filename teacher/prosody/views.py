"""Other views of a training clip: other voices, channels, rooms, noise, lengths. The ratings stay.

A corpus of six speakers in one studio would teach the studio as well. Speed moves pitch, formants and tempo together
(a virtual speaker); a channel tilts and limits the band; a room and noise fill the pauses; a crop shortens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import soxr

from distill.audio import SAMPLING_RATE
from teacher.prosody.analysis import Array

__all__ = ["VIEWS", "view_weights", "views"]

Random: TypeAlias = np.random.Generator
View: TypeAlias = Callable[[Array, Random], Array]

SPEEDS = (0.85, 0.9, 0.95, 1.05, 1.1, 1.18)  # further away, a man's voice is no longer one
SNR_DB = (15.0, 35.0)
CROP_SECONDS = (0.8, 1.6)


def at_speed(signal: Array, factor: float) -> Array:
    """Play faster (factor above 1) or slower: pitch, formants and tempo move together.

    >>> len(at_speed(np.ones(16_000, np.float32), 1.25))
    12800
    """
    return np.asarray(soxr.resample(signal, SAMPLING_RATE * factor, SAMPLING_RATE).astype(np.float32))


def through_channel(signal: Array, random: Random) -> Array:
    """Tilt the spectrum by up to 3 dB an octave, raise or lower one region, and limit the band.

    >>> through_channel(np.ones(16_000, np.float32), np.random.default_rng(0)).shape
    (16000,)
    """
    frequency = np.fft.rfftfreq(len(signal), 1 / SAMPLING_RATE)
    octave = np.log2(np.maximum(frequency, 30) / 1000)
    bump = np.exp(-(((octave - random.uniform(-1.7, 2.3)) / random.uniform(0.5, 1.5)) ** 2))
    gain = 10 ** ((random.uniform(-3, 3) * octave + random.uniform(-5, 5) * bump) / 20)
    gain /= np.sqrt(1 + (frequency / random.choice([8000, 8000, 7000, 5500, 4000])) ** 16)
    gain /= np.sqrt(1 + (random.choice([1, 1, 80, 150]) / np.maximum(frequency, 1)) ** 4)
    return np.fft.irfft(np.fft.rfft(signal) * gain, len(signal)).astype(np.float32)


def with_noise(signal: Array, random: Random) -> Array:
    """Add noise between white and pink, 15 to 35 dB below the clip; it is heard for 0.1 s before and after as well.

    >>> len(with_noise(np.ones(16_000, np.float32), np.random.default_rng(0)))  # 0.1 s before and after
    19200
    """
    padded = np.pad(signal, SAMPLING_RATE // 10)
    frequency = np.fft.rfftfreq(len(padded), 1 / SAMPLING_RATE)
    spectrum = np.fft.rfft(random.standard_normal(len(padded))) / np.maximum(frequency, 50) ** random.uniform(0, 0.5)
    noise = np.fft.irfft(spectrum, len(padded))
    share = np.mean(signal**2) / np.mean(noise**2) * 10 ** (-random.uniform(*SNR_DB) / 10)
    return np.asarray((padded + noise * np.sqrt(share)).astype(np.float32))


def in_room(signal: Array, random: Random) -> Array:
    """Add the tail of a small room: decaying noise, 60 dB down after 0.15 to 0.5 s, 3 to 15 dB below the voice.

    >>> len(in_room(np.ones(16_000, np.float32), np.random.default_rng(0))) > 16_000  # the tail goes on
    True
    """
    seconds = random.uniform(0.15, 0.5)
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tail = random.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail *= np.sqrt(10 ** (-random.uniform(3, 15) / 10) / np.sum(tail**2))
    tail[0] += 1
    size = 1 << (len(signal) + len(tail)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(tail, size), size)
    return wet[: len(signal) + len(tail) // 2].astype(np.float32)


def cropped(signal: Array, random: Random) -> Array:
    """Keep 0.8 to 1.6 s from anywhere in the clip.

    >>> 0.8 <= len(cropped(np.ones(48_000, np.float32), np.random.default_rng(0))) / SAMPLING_RATE <= 1.6
    True
    """
    length = min(int(random.uniform(*CROP_SECONDS) * SAMPLING_RATE), len(signal))
    start = random.integers(0, len(signal) - length + 1)
    return signal[start : start + length]


def elsewhere(signal: Array, random: Random) -> Array:
    """Another voice over another channel, in a room half of the time, with noise.

    >>> elsewhere(np.ones(16_000, np.float32), np.random.default_rng(0)).dtype.name
    'float32'
    """
    view = through_channel(at_speed(signal, float(np.exp(random.uniform(-0.16, 0.16)))), random)
    view = in_room(view, random) if random.random() < 0.5 else view
    return with_noise(view, random)


def _speed(factor: float) -> View:
    return lambda signal, random: at_speed(signal, factor)


#: Kind and view; the clip as it is comes first.
VIEWS: tuple[tuple[str, View], ...] = (
    ("clean", lambda signal, random: signal),
    *(("speed", _speed(factor)) for factor in SPEEDS),
    *(("channel", through_channel),) * 3,
    *(("noise", with_noise),) * 2,
    *(("crop", cropped),) * 2,
    *(("elsewhere", elsewhere),) * 4,
)

#: What all views of a kind together weigh in training. The harsh ones lightly: they hide what valence is heard by.
WEIGHTS = {"clean": 1.0, "speed": 1.0, "channel": 0.3, "noise": 0.2, "crop": 0.3, "elsewhere": 0.2}


def views(signal: Array, random: Random) -> list[Array]:
    """All `VIEWS` of one clip, float32 [samples] each, of different lengths.

    >>> len(views(np.ones(16_000, np.float32), np.random.default_rng(0))) == len(VIEWS)
    True
    """
    return [view(signal, random) for _, view in VIEWS]


def view_weights() -> Array:
    """Weight of each of `VIEWS`, float32 [views].

    >>> float(view_weights().sum())
    3.0
    """
    kinds = [kind for kind, _ in VIEWS]
    return np.array([WEIGHTS[kind] / kinds.count(kind) for kind in kinds], np.float32)
