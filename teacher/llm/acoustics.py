"""What is measured of a clip for someone who cannot hear it: how loud, how high, how lively."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.audio import SAMPLING_RATE
from teacher.prosody.analysis import F0_REFERENCE, analyse, track_voice

#: Fewer voiced frames (10 ms each) than this say nothing of a voice's pitch.
FEWEST_VOICED = 5


@dataclass(frozen=True)
class Pitch:
    """Fundamental frequency over the voiced frames.

    middle: median, Hz; low, high: 5th and 95th percentile, Hz; spread: standard deviation, semitones.
    """

    middle: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True)
class Acoustics:
    """seconds: length; level: mean energy of the whole clip, dB below full scale (RMS 1.0 is 0 dB, a full sine -3 dB).

    level_spread: standard deviation of the level over the frames with speech, dB; voiced: their share with a pitch,
    0..1; pitch: None for a whisper.
    """

    seconds: float
    level: float
    level_spread: float
    voiced: float
    pitch: Pitch | None


def measure(signal: np.ndarray) -> Acoustics:
    """Measure a clip. signal: float32 [samples], mono, 16 kHz, not silent.

    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    >>> heard = measure(tone)
    >>> round(heard.level), heard.pitch is not None and round(heard.pitch.middle)
    (-3, 200)
    """
    spectrum = analyse(signal)
    voice = track_voice(spectrum)
    energy = float(np.mean(np.square(signal, dtype=np.float64)))
    return Acoustics(
        seconds=len(signal) / SAMPLING_RATE,
        level=10 * float(np.log10(max(energy, 1e-12))),
        level_spread=float(spectrum.decibels[spectrum.active].std()),
        voiced=float(voice.voiced.sum() / max(int(spectrum.active.sum()), 1)),
        pitch=_pitch(voice.semitones[voice.voiced]),
    )


def _pitch(semitones: np.ndarray) -> Pitch | None:
    """semitones: above F0_REFERENCE, of the voiced frames."""
    if len(semitones) < FEWEST_VOICED:
        return None
    low, middle, high = F0_REFERENCE * 2 ** (np.quantile(semitones, (0.05, 0.5, 0.95)) / 12)
    return Pitch(float(middle), float(low), float(high), float(semitones.std()))
