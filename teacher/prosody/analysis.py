"""A clip of speech analysed once: the power spectrum of its active span, and its voice, in numpy alone.

One short-time Fourier transform is shared by everything: the mel bands, the voice (its autocorrelation is the inverse
transform of the power spectrum) and the spectral shape. The clip is first cut to its active span, on a hop grid that
is anchored at the loudest sample: silence before or after it, of whatever length, then changes nothing at all. All
levels are relative to the clip's own level, so neither does gain.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from distill.audio import SAMPLING_RATE

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]

HOP = 160  # 10 ms
FRAME = 640  # 40 ms: three periods of a 75 Hz voice
N_FFT = 1024  # zero-padded, so that lags up to 384 samples (24 ms, 42 Hz) are free of wrap-around
BIN = SAMPLING_RATE / N_FFT  # 15.6 Hz
FRAME_RATE = SAMPLING_RATE / HOP  # 100 a second

SPAN_DB = 35.0  # the active span: from the first to the last hop within this of the clip's level
ACTIVE_DB = 30.0  # frames that enter the statistics
FLOOR_DB = 55.0  # mel bands this far below the level are as good as silent

N_MELS = 40
MEL_RANGE = (60.0, 7000.0)  # Hz; below the edge of codecs and anti-alias filters at 8 kHz

F0_RANGE = (62.0, 500.0)  # Hz
LAG_RATE = 8_000.0  # the autocorrelation uses the spectrum up to 4 kHz
N_LAGS = int(LAG_RATE / F0_RANGE[0]) + 2
VOICED = 0.45  # periodicity from which a frame counts as voiced
OCTAVE_COST = 0.05  # a longer lag must be this much more periodic than one an octave shorter (Boersma 1993: 0.01)
F0_REFERENCE = 100.0  # Hz, zero semitones; the same for every speaker


class Spectrum(NamedTuple):
    """The active span of a clip, analysed once."""

    power: Array  # [frames, bins], relative to the clip's mean active power
    decibels: Array  # [frames], level of each frame relative to the clip
    mel: Array  # [frames, N_MELS], dB
    active: Mask  # [frames]


class Voice(NamedTuple):
    """Voicing frame by frame."""

    semitones: Array  # [frames] above F0_REFERENCE; meaningless where not voiced
    periodicity: Array  # [frames], 0..1
    voiced: Mask  # [frames]


# --- the clip -------------------------------------------------------------------------------------------------------


def active_span(signal: Array) -> Array:
    """Cut a clip to the part within SPAN_DB of its own level, framed by zeros, on a grid anchored at its peak.

    >>> clip = np.pad(np.sin(np.arange(8_000, dtype=np.float32)), 16_000)
    >>> bool(np.array_equal(active_span(clip), active_span(clip[12_000:])))  # silence before it changes nothing
    True
    """
    peak = int(np.argmax(np.abs(signal)))
    blocks = _blocks(signal, peak % HOP)
    power = blocks.var(axis=1)  # an offset of the converter is no sound
    level = float(power @ power) / max(float(power.sum()), 1e-30)  # weighted by itself: silence has no say
    loud = np.flatnonzero(power > level * 10 ** (-SPAN_DB / 10))
    if not len(loud):
        return np.zeros(FRAME, np.float32)
    span = blocks[loud[0] : loud[-1] + 1].ravel()
    return np.pad(span - span.mean(), FRAME // 2)


def _blocks(signal: Array, phase: int) -> Array:
    """The clip over its peak, as [hops, HOP], with a hop boundary at `phase`."""
    scaled = signal / max(float(np.abs(signal).max()), 1e-30)
    front = -phase % HOP
    return np.pad(scaled, (front, -(front + len(scaled)) % HOP)).reshape(-1, HOP)


def analyse(signal: Array) -> Spectrum:
    """Short-time power spectrum, levels and mel bands of a clip's active span.

    >>> spectrum = analyse(np.sin(np.arange(8_000, dtype=np.float32)))
    >>> spectrum.mel.shape[1], bool(spectrum.active.any())
    (40, True)
    """
    span = active_span(signal)
    frames = np.lib.stride_tricks.sliding_window_view(span, FRAME)[::HOP] * _window()
    spectrum = np.fft.rfft(frames, N_FFT)
    power = spectrum.real**2 + spectrum.imag**2
    total = power.sum(axis=1)
    level = max(float(total @ total) / max(float(total.sum()), 1e-30), 1e-30)
    power *= np.float32(1.0 / level)
    decibels = in_decibels(total / np.float32(level), 80.0)
    mel = in_decibels(power @ _mel_filters().T, FLOOR_DB)
    return Spectrum(power, decibels, mel, some(decibels > -ACTIVE_DB))


def in_decibels(power: Array, floor: float) -> Array:
    """Decibels with a soft floor: nothing jumps where a band sinks into noise.

    >>> in_decibels(np.array([1.0, 0.0], np.float32), floor=60.0).round(2).tolist()
    [0.0, -60.0]
    """
    return np.asarray(np.float32(10) * np.log10(power + np.float32(10 ** (-floor / 10))))


@functools.cache
def _window() -> Array:
    return np.hanning(FRAME + 1)[:-1].astype(np.float32)


@functools.cache
def _mel_filters() -> Array:
    """Triangular filters [N_MELS, bins] of equal area on the HTK mel scale."""
    low, high = (2595 * np.log10(1 + edge / 700) for edge in MEL_RANGE)
    edges = 700 * (10 ** (np.linspace(low, high, N_MELS + 2) / 2595) - 1)
    bins = np.arange(N_FFT // 2 + 1) * BIN
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    return np.asarray((filters / filters.sum(axis=1, keepdims=True) * 10).astype(np.float32))


# --- the voice ------------------------------------------------------------------------------------------------------


def track_voice(spectrum: Spectrum) -> Voice:
    """Fundamental frequency and periodicity by autocorrelation over the window's own (Boersma 1993).

    A first pass finds the speaker's register, a second one searches only around it (De Looze and Hirst 2008), which
    takes most octave errors without a dynamic programme.

    >>> time = np.arange(16_000, dtype=np.float32) / SAMPLING_RATE
    >>> buzz = sum(np.sin(2 * np.pi * 200 * n * time) / n for n in range(1, 9))
    >>> voice = track_voice(analyse(buzz))
    >>> round(float(np.median(voice.semitones[voice.voiced])))  # 200 Hz: an octave above the reference
    12
    """
    correlation = _autocorrelation(spectrum.power)
    score = correlation - np.float32(OCTAVE_COST) * _octaves()
    lag, periodicity = _best_lag(score, correlation, _first_lag(), N_LAGS - 1)
    sure = spectrum.active & (periodicity > VOICED)
    if sure.sum() >= 5:
        low, high = np.quantile(LAG_RATE / lag[sure], (0.25, 0.75))
        longest = min(int(np.ceil(LAG_RATE / (0.6 * low))), N_LAGS - 1)
        shortest = max(int(LAG_RATE / (2.0 * high)), _first_lag())
        lag, periodicity = _best_lag(score, correlation, shortest, longest)
    semitones = 12 * np.log2(LAG_RATE / lag / F0_REFERENCE).astype(np.float32)
    return Voice(semitones, periodicity, spectrum.active & (periodicity > VOICED))


def mean_pitch(signal: Array) -> float:
    """Mean fundamental frequency of a clip's voiced frames in Hz; NaN where there is none, as in a whisper.

    signal: float32 [samples], mono 16 kHz.

    >>> time = np.arange(16_000, dtype=np.float32) / SAMPLING_RATE
    >>> round(mean_pitch(sum(np.sin(2 * np.pi * 200 * n * time) / n for n in range(1, 9))))
    200
    """
    voice = track_voice(analyse(signal))
    pitch = F0_REFERENCE * 2 ** (voice.semitones[voice.voiced].astype(np.float64) / 12)
    return float(pitch.mean()) if len(pitch) else float("nan")


def _first_lag() -> int:
    return int(LAG_RATE / F0_RANGE[1])


def _autocorrelation(power: Array) -> Array:
    """Normalised autocorrelation [frames, N_LAGS] at LAG_RATE of the band from 0 to 4 kHz."""
    raw = np.fft.irfft(power[:, : N_FFT // 4 + 1], axis=1)[:, :N_LAGS]
    return raw / np.maximum(raw[:, :1], 1e-12) / _window_correlation()


@functools.cache
def _window_correlation() -> Array:
    power = np.abs(np.fft.rfft(_window(), N_FFT)) ** 2
    raw = np.fft.irfft(power[: N_FFT // 4 + 1])[:N_LAGS]
    return np.asarray((raw / raw[0]).astype(np.float32))


@functools.cache
def _octaves() -> Array:
    return np.log2(np.maximum(np.arange(N_LAGS), 1) / _first_lag()).astype(np.float32)


def _best_lag(score: Array, correlation: Array, first: int, last: int) -> tuple[Array, Array]:
    """The best peak between two lags, refined by a parabola: lag in samples at LAG_RATE, and its periodicity 0..1."""
    rows = np.arange(len(score))
    middle = first + np.argmax(score[:, first:last], axis=1)
    before, at, after = (correlation[rows, middle + step] for step in (-1, 0, 1))
    curve = before - 2 * at + after
    shift = np.where(curve < -1e-6, 0.5 * (before - after) / np.minimum(curve, -1e-6), 0)
    shift = np.clip(shift, -0.5, 0.5)
    height = at - 0.25 * (before - after) * shift
    return (middle + shift).astype(np.float32), np.clip(height, 0, 1).astype(np.float32)


def some(*masks: Mask) -> Mask:
    """The first mask that selects anything, else everything: a whisper has no voiced frame.

    >>> some(np.array([False, False]), np.array([True, False])).tolist()
    [True, False]
    """
    return next((mask for mask in masks if mask.any()), np.ones_like(masks[0]))
