"""A clip of speech: tracks made sound, brought to its level, in a room that is never quite silent."""

from __future__ import annotations

import math

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.synthesis.sound import vocalised
from distill.synthesis.tracks import HOP, Tracks, glide, plan
from distill.synthesis.voices import Manner, Voice

#: Peak of a clip at most; louder ones are turned down as a whole.
HIGHEST_PEAK = 0.95

#: Fade at both ends of a clip (s).
FADE_SECONDS = 0.01


def speak(voice: Voice, manner: Manner, *, seconds: float, seed: int) -> np.ndarray:
    """float32 [round(16000 * seconds)] at 16 kHz, peak at most `HIGHEST_PEAK`; never digital silence.

    seconds: at least 0.1. seed: what is said and how the pitch moves; two voices with one seed say the same.

    Raises:
        ValueError: fewer than 0.1 seconds.

    >>> from distill.synthesis import voice
    >>> clip = speak(voice(1), Manner(), seconds=1.5, seed=0)
    >>> clip.shape, clip.dtype.name
    ((24000,), 'float32')
    """
    if not seconds >= 0.1:
        raise ValueError(f"{seconds} s is too short to speak: give at least 0.1")
    rng = np.random.default_rng(seed)
    samples = round(seconds * SAMPLING_RATE)
    tracks = glide(plan(voice, manner, seconds, rng), voice, manner, samples)
    clip = _at_level(vocalised(tracks, voice, manner, samples, rng), tracks, manner.loudness_db)
    clip += _room_noise(samples, manner.noise_db, rng)
    return _faded(clip * min(1.0, HIGHEST_PEAK / float(np.abs(clip).max()))).astype(np.float32)


def _at_level(speech: np.ndarray, tracks: Tracks, loudness_db: float) -> np.ndarray:
    """Bring the RMS while speaking (pauses left out) to `loudness_db`. speech: [samples]."""
    speaking = np.repeat(tracks.voicing + tracks.frication + tracks.breath > 0.05, HOP)[: len(speech)]
    rms = math.sqrt(float(np.mean(speech[speaking] ** 2)) if speaking.any() else 1.0)
    return speech * (10 ** (loudness_db / 20) / max(rms, 1e-9))


def _room_noise(samples: int, noise_db: float, rng: np.random.Generator) -> np.ndarray:
    """Noise that falls by 3 dB an octave (pink) above 50 Hz, of RMS `noise_db` (dBFS), [samples]."""
    length = 1 << (samples - 1).bit_length()
    hz = np.fft.rfftfreq(length, 1 / SAMPLING_RATE)
    spectrum = rng.standard_normal((2, len(hz))) / np.sqrt(np.maximum(hz, 50.0))
    noise = np.fft.irfft(spectrum[0] + 1j * spectrum[1], n=length)[:samples]
    return np.asarray(noise * (10 ** (noise_db / 20) / math.sqrt(float(np.mean(noise**2)))))


def _faded(clip: np.ndarray) -> np.ndarray:
    """The first and last 10 ms rise and fall as a half cosine, in place."""
    length = min(round(FADE_SECONDS * SAMPLING_RATE), len(clip) // 2)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    clip[:length] *= rise
    clip[-length:] *= rise[::-1]
    return clip
