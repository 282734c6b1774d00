"""How it sounds: pulses and noise (the source) through the resonances of the vocal tract (the filter)."""

from __future__ import annotations

import math

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.synthesis.tracks import HOP, Tracks
from distill.synthesis.voices import USUAL_TILT_DB, Manner, Voice

#: Windows of 16 ms (periodic Hann) overlap by half and so add up to one.
WINDOW = 2 * HOP
#: 64 ms: a window and 48 ms for its resonances to die away in, so that nothing wraps around.
FFT = 8 * HOP

#: Formants higher than the first fade, and none lies above the second (Hz).
FADING_FORMANT_HZ, HIGHEST_FORMANT_HZ = 7000.0, 7600.0

#: Harmonics end below Nyquist, so that the pulse train does not alias (Hz).
HIGHEST_HARMONIC_HZ = 7800.0


def vocalised(tracks: Tracks, voice: Voice, manner: Manner, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Voice, breath and hiss, mixed in the frequency domain, frame by frame -> float64 [samples], at any level.

    >>> from distill.synthesis import voice
    >>> from distill.synthesis.tracks import glide, plan
    >>> rng = np.random.default_rng(0)
    >>> tracks = glide(plan(voice(1), Manner(), 2.0, rng), voice(1), Manner(), 32_000)
    >>> vocalised(tracks, voice(1), Manner(), 32_000, rng).shape
    (32000,)
    """
    pulses, openness = _glottis(tracks, voice, manner, samples, rng)
    noise = rng.standard_normal(samples)
    tract = _tract(tracks.formants)
    tilt = manner.tilt_db_per_octave + voice.tilt_db_per_octave
    voiced = _level(_spectra(pulses) * tract * _slope(tilt))
    breath = _level(_spectra(noise * openness) * tract * _slope(tilt / 2))
    hiss = _level(_spectra(noise) * _hiss(tracks.hiss_hz))
    voiced *= tracks.voicing[:, None]
    voiced += breath * tracks.breath[:, None]
    # Whoever speaks softly blows softly: without this, hiss would rule the long-term spectrum of a dark voice.
    voiced += hiss * tracks.frication[:, None] * 10 ** ((tilt - USUAL_TILT_DB) / 20)
    return _overlapped(np.fft.irfft(voiced, n=FFT), samples)


def _glottis(
    tracks: Tracks, voice: Voice, manner: Manner, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Band-limited pulses, and how far the glottis is open for breath (0.4..1.6), both [samples]."""
    f0 = np.interp(np.arange(samples), np.arange(len(tracks.f0)) * HOP, tracks.f0)
    cycles = np.cumsum(f0) / SAMPLING_RATE
    # Pulses stand at whole cycles, so that their length and height change halfway between two.
    cycle = np.rint(cycles).astype(np.int64)
    unsteady = rng.standard_normal((2, int(cycle[-1]) + 1)) * manner.roughness
    f0 = f0 * (1 + voice.jitter * np.clip(unsteady[0], -4, 4))[cycle]
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLING_RATE
    height = np.clip(1 + voice.shimmer * unsteady[1], 0.2, 2.0)[cycle]
    return height * _pulses(phase, f0), 1 - 0.6 * np.cos(phase)


def _pulses(phase: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """The sum of cos(k * phase) over the harmonics k below `HIGHEST_HARMONIC_HZ`, in closed form (Dirichlet kernel)."""
    harmonics = np.floor(HIGHEST_HARMONIC_HZ / f0)
    half = 0.5 * phase
    below = np.sin(half)
    below[np.abs(below) < 1e-9] = 1e-9
    return np.asarray(0.5 * (np.sin((2 * harmonics + 1) * half) / below - 1))


def _spectra(signal: np.ndarray) -> np.ndarray:
    """Spectra of the overlapping windows around every frame: complex [frames, FFT / 2 + 1]."""
    frames = len(signal) // HOP + 2
    padded = np.zeros((frames + 1) * HOP)
    padded[HOP : HOP + len(signal)] = signal
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * hann, n=FFT)


def _overlapped(blocks: np.ndarray, samples: int) -> np.ndarray:
    """The inverse of `_spectra`: blocks [frames, FFT] laid over each other -> [samples]."""
    parts = blocks.reshape(len(blocks), FFT // HOP, HOP)
    total = np.zeros((len(blocks) + FFT // HOP, HOP))
    for index in range(FFT // HOP):
        total[index : index + len(blocks)] += parts[:, index]
    return total.reshape(-1)[HOP : HOP + samples]


def _tract(formants: np.ndarray) -> np.ndarray:
    """Response of the resonators in cascade, each of gain one at 0 Hz: complex [frames, FFT / 2 + 1].

    formants: Hz [frames, 8]. Bandwidths grow with frequency, near Klatt's (1980) defaults: 65 Hz at 500, 215 at 3500.
    Towards Nyquist they widen fast, so that formants that a short tract pushes there fade instead of heaping up.
    """
    bandwidths = 40 + 0.05 * formants + 4 * np.maximum(formants - FADING_FORMANT_HZ, 0.0)
    radius = np.exp(-np.pi * bandwidths / SAMPLING_RATE)
    first = -2 * radius * np.cos(2 * np.pi * np.minimum(formants, HIGHEST_FORMANT_HZ) / SAMPLING_RATE)
    second = radius**2
    gain = np.prod(1 + first + second, axis=1)
    return np.asarray(gain[:, None] / np.fft.rfft(_product(first, second), n=FFT))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Coefficients of the product over n of (1 + first_n / z + second_n / z^2): [frames, n] -> [frames, 2 n + 1]."""
    frames, sections = first.shape
    whole_product = np.zeros((frames, 2 * sections + 1))
    whole_product[:, 0] = 1.0
    for index in range(sections):
        before = whole_product.copy()
        whole_product[:, 1:] += first[:, index, None] * before[:, :-1]
        whole_product[:, 2:] += second[:, index, None] * before[:, :-2]
    return whole_product


def _slope(db_per_octave: float) -> np.ndarray:
    """A causal filter that falls or rises by so much an octave from 80 Hz on: complex [FFT / 2 + 1]."""
    pole = math.exp(-2 * math.pi * 80.0 / SAMPLING_RATE)
    six_db = 1 - pole * np.exp(-2j * np.pi * np.arange(FFT // 2 + 1) / FFT)
    return np.asarray(six_db ** (db_per_octave / (20 * math.log10(2))))


def _hiss(centre_hz: np.ndarray) -> np.ndarray:
    """Gain of the narrow passage: a hump of half an octave (standard deviation), [frames, FFT / 2 + 1]."""
    octaves = np.log2(np.fft.rfftfreq(FFT, 1 / SAMPLING_RATE).clip(min=1.0))
    return np.asarray(np.exp(-2 * (octaves - np.log2(centre_hz)[:, None]) ** 2))


def _level(spectra: np.ndarray) -> np.ndarray:
    """`spectra` at an RMS of one over the clip, so that the gains of voice, breath and hiss mean the same."""
    power = float((spectra.real**2 + spectra.imag**2).sum()) / len(spectra)
    return spectra / math.sqrt(power + 1e-30)
