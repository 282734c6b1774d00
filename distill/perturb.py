"""Perturbations of audio: what training mixes in and robustness tests measure. numpy; float32 [samples] in and out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from distill.audio import SAMPLING_RATE, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.manifest import audio_files
from distill.progress import say

Generator = np.random.Generator


@dataclass(frozen=True)
class Surroundings:
    """Noises (float32 [samples] each) and room impulse responses (float32 [samples] each) at 16 kHz."""

    noises: list[np.ndarray]
    rooms: list[np.ndarray]


def surroundings(noise: Path | None, rir: Path | None, *, seed: int = 0) -> Surroundings:
    """Recorded noises and rooms from folders; without a folder, synthesised ones.

    Raises:
        DistillError: a folder without readable audio.
    """
    rng = np.random.default_rng([seed, 0x5011D])
    return Surroundings(
        noises=_recordings(noise) if noise else [synthetic_noise(rng, 10.0) for _ in range(24)],
        rooms=[room(response) for response in _recordings(rir)] if rir else [synthetic_room(rng) for _ in range(24)],
    )


def level(signal: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)) + 1e-20))


def add_noise(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`signal` with `noise` (same length) at a signal-to-noise ratio in dB.

    >>> tone, hiss = np.ones(4, np.float32), np.array([1, -1, 1, -1], np.float32)
    >>> add_noise(tone, hiss, 20.0).round(2).tolist()
    [1.1, 0.9, 1.1, 0.9]
    """
    scale = level(signal) / level(noise) * 10 ** (-snr_db / 20)
    return (signal + scale * noise).astype(np.float32)


def reverberate(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`signal` in a room, as long as it was; the direct sound stays in time."""
    size = 1 << (len(signal) + len(response) - 2).bit_length()
    wet = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(response, size), size)
    return np.asarray(wet[: len(signal)], np.float32)


def change_speed(signal: np.ndarray, factor: float) -> np.ndarray:
    """Played `factor` times as fast: shorter and higher."""
    return np.asarray(soxr.resample(signal, SAMPLING_RATE * factor, SAMPLING_RATE, quality="MQ"))


def equalise(signal: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """Another microphone, another voice: gains (dB) at points spread evenly over log-frequency from 100 Hz to 8 kHz."""
    hertz = np.fft.rfftfreq(len(signal), 1 / SAMPLING_RATE).clip(min=1.0)
    points = np.geomspace(100.0, SAMPLING_RATE / 2, len(gains_db))
    gain = 10 ** (np.interp(np.log(hertz), np.log(points), gains_db) / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * gain, len(signal)), np.float32)


def excerpt(signal: np.ndarray, samples: int, rng: Generator) -> np.ndarray:
    """A random stretch of `samples` samples; a shorter signal is repeated from a random point."""
    if len(signal) < samples:
        signal = np.tile(np.roll(signal, int(rng.integers(len(signal)))), -(-samples // len(signal)))
    start = int(rng.integers(len(signal) - samples + 1))
    return signal[start : start + samples]


def synthetic_noise(rng: Generator, seconds: float) -> np.ndarray:
    """Noise with a random slope (0 to -9 dB an octave) and slow level changes: wind, engines, crowds at a distance."""
    samples = int(seconds * SAMPLING_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLING_RATE).clip(min=40.0)
    coloured = np.fft.irfft(spectrum * (hertz / 1000) ** (-rng.uniform(0, 1.5)), samples)
    knots = rng.uniform(-1, 1, int(seconds * rng.uniform(1, 6)) + 2)
    swell = np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)
    noise = coloured * 10 ** (rng.uniform(0, 8) * swell / 20)
    return np.asarray(noise / np.abs(noise).max(), np.float32)


def synthetic_room(rng: Generator) -> np.ndarray:
    """A room: direct sound, a few early reflections, an exponentially decaying tail (RT60 0.15 to 0.9 s)."""
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
    """A recorded impulse response, cut to begin at its direct sound and to last at most 0.6 s, with unit energy."""
    response = response[int(np.abs(response).argmax()) :][: int(0.6 * SAMPLING_RATE)]
    return np.asarray(response / np.sqrt(np.sum(response**2)), np.float32)


def _recordings(folder: Path) -> list[np.ndarray]:
    if not folder.is_dir():
        raise DistillError(f"{folder}: no such folder")
    found: list[np.ndarray] = []
    for name in audio_files(folder):
        try:
            signal = read(folder / name)
            reject_unusable(signal, shortest_seconds=0.0)
            found.append(signal)
        except AudioError as error:
            say(f"left out {folder / name}: {error}")
    if not found:
        raise DistillError(f"{folder}: no audio in it that can be read")
    return found
