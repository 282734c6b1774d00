"""Functionals of a speech clip: what the bundled teacher hears, in numpy alone.

One short-time Fourier transform is shared by everything: the mel bands, the voice (its autocorrelation is the inverse
transform of the power spectrum) and the spectral shape. The clip is first cut to its active span, on a hop grid that
is anchored at the loudest sample: silence before or after it, of whatever length, then changes nothing at all. All
levels are relative to the clip's own level, so neither does gain.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURES", "SAMPLING_RATE", "feature_names", "functionals"]

Array: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]

SAMPLING_RATE = 16_000
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
N_MFCC = 16

F0_RANGE = (62.0, 500.0)  # Hz
LAG_RATE = 8_000.0  # the autocorrelation uses the spectrum up to 4 kHz
N_LAGS = int(LAG_RATE / F0_RANGE[0]) + 2
VOICED = 0.45  # periodicity from which a frame counts as voiced
OCTAVE_COST = 0.05  # a longer lag must be this much more periodic than one an octave shorter (Boersma 1993: 0.01)
F0_REFERENCE = 100.0  # Hz, zero semitones; the same for every speaker
PITCH_STEPS = (-12, -7, -5, -3, -2, -1, 0, 1, 2, 3, 5, 7, 12)  # semitones about the median


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
    """Cut a clip to the part within SPAN_DB of its own level, framed by zeros, on a grid anchored at its peak."""
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
    """Short-time power spectrum, levels and mel bands of a clip's active span."""
    span = active_span(signal)
    frames = np.lib.stride_tricks.sliding_window_view(span, FRAME)[::HOP] * _window()
    spectrum = np.fft.rfft(frames, N_FFT)
    power = spectrum.real**2 + spectrum.imag**2
    total = power.sum(axis=1)
    level = max(float(total @ total) / max(float(total.sum()), 1e-30), 1e-30)
    power *= np.float32(1.0 / level)
    decibels = _decibels(total / np.float32(level), 80.0)
    mel = _decibels(power @ _mel_filters().T, FLOOR_DB)
    return Spectrum(power, decibels, mel, _some(decibels > -ACTIVE_DB))


def _decibels(power: Array, floor: float) -> Array:
    """Decibels with a soft floor: nothing jumps where a band sinks into noise."""
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


@functools.cache
def _cosines() -> Array:
    """Orthonormal DCT-II [N_MFCC, N_MELS]."""
    order = np.arange(N_MFCC).reshape(-1, 1)
    grid = order * (np.arange(N_MELS) + 0.5) * np.pi / N_MELS
    scale = np.where(order == 0, np.sqrt(1 / N_MELS), np.sqrt(2 / N_MELS))
    return np.asarray(scale * np.cos(grid), np.float32)


# --- the voice ------------------------------------------------------------------------------------------------------


def track_voice(spectrum: Spectrum) -> Voice:
    """Fundamental frequency and periodicity by autocorrelation over the window's own (Boersma 1993).

    A first pass finds the speaker's register, a second one searches only around it (De Looze and Hirst 2008), which
    takes most octave errors without a dynamic programme.
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


# --- functionals: each yields (name, values) ------------------------------------------------------------------------

Group: TypeAlias = Iterator[tuple[str, Array]]


def functionals(signal: Array, sampling_rate: int = SAMPLING_RATE) -> Array:
    """Describe a clip of speech by one fixed-length vector.

    Args:
        signal: samples, float32 [samples], any level.
        sampling_rate: must be 16 kHz.

    Returns:
        float32 [n_features], in the order of `feature_names()`; all zeros where the clip is digitally silent.

    Raises:
        ValueError: for another sampling rate, a signal that is not one-dimensional, or samples that are not finite.
    """
    _check(signal, sampling_rate)
    if not np.any(signal):
        return np.zeros(FEATURES, np.float32)
    values = [values for _, values in _describe(np.asarray(signal, np.float32))]
    return np.concatenate(values).astype(np.float32)


def feature_names() -> list[str]:
    """Names of the functionals, such as `mfcc_std_3`, in their order."""
    noise = np.random.default_rng(0).standard_normal(SAMPLING_RATE).astype(np.float32)
    return [f"{name}_{i}" for name, values in _describe(noise) for i in range(len(values))]


def _check(signal: Array, sampling_rate: int) -> None:
    if sampling_rate != SAMPLING_RATE:
        raise ValueError(f"functionals are defined at {SAMPLING_RATE} Hz, not {sampling_rate}: resample first")
    if signal.ndim != 1:
        raise ValueError(f"functionals need one channel [samples], not an array of shape {signal.shape}")
    if not np.all(np.isfinite(signal)):
        raise ValueError("the signal holds samples that are not finite")


def _describe(signal: Array) -> Group:
    spectrum = analyse(signal)
    voice = track_voice(spectrum)
    yield from _timbre(spectrum, voice)
    yield from _loudness(spectrum)
    yield from _melody(voice)
    yield from _stress(spectrum, voice)
    yield from _phonation(spectrum, voice)
    yield from _shape(spectrum, voice)
    yield from _contours(spectrum, voice)


def _timbre(spectrum: Spectrum, voice: Voice) -> Group:
    """Mel cepstra: both ends, spread, movement and ties among them; and their mean within voiced frames alone."""
    cepstra = spectrum.mel @ _cosines().T
    heard = cepstra[spectrum.active]
    low, high = _quantiles(heard, (0.1, 0.9))
    yield "mfcc_std", heard.std(axis=0)
    yield "mfcc_low", low
    yield "mfcc_high", high
    yield "mfcc_voiced", cepstra[_some(voice.voiced, spectrum.active)].mean(axis=0)
    speed = _delta(cepstra)
    yield "mfcc_delta", _log(speed[spectrum.active].std(axis=0))
    yield "mfcc_delta2", _log(_delta(speed)[spectrum.active].std(axis=0))
    yield "mfcc_delta_tails", _tails(speed[spectrum.active])
    yield "mfcc_together", _correlations(heard[:, :10])
    bands = spectrum.mel[spectrum.active]
    yield "mel_low", _quantiles(bands, (0.1,))[0]
    yield "mel_std", bands.std(axis=0)


def _loudness(spectrum: Spectrum) -> Group:
    """Course of the level: spread, tails, attack and decay (dB and dB a frame)."""
    heard = spectrum.decibels[spectrum.active]
    slope = _delta(spectrum.decibels[:, None])[spectrum.active, 0]
    yield "level", np.stack([heard.mean(), heard.std(), *_quantiles(heard, (0.1, 0.25, 0.5, 0.75, 0.9))])
    yield "level_slope", np.stack([slope.std(), *_quantiles(slope, (0.1, 0.9)), np.abs(slope).mean()])
    yield "active_share", np.stack([spectrum.active.mean(dtype=np.float32)])


def _melody(voice: Voice) -> Group:
    """Height, range, drift and distribution of the fundamental, in semitones."""
    height = voice.semitones[_some(voice.voiced)]
    low, quarter, middle, threequarter, high = _quantiles(height, (0.05, 0.25, 0.5, 0.75, 0.95))
    yield "pitch", np.stack([height.mean(), low, quarter, middle, threequarter, high])
    yield "pitch_range", np.stack([height.std(), high - low, threequarter - quarter, high + low - 2 * middle])
    yield "pitch_trend", np.stack([_trend(height)])
    share = np.histogram(height - np.median(height), PITCH_STEPS)[0] / np.float32(len(height))
    yield "pitch_shape", np.sqrt(share)  # the root steadies the variance of a share


def _stress(spectrum: Spectrum, voice: Voice) -> Group:
    """What the voice does where it is loud, and how long it goes on (tenths of a second)."""
    loudness, height, firm = (one[voice.voiced] for one in (spectrum.decibels, voice.semitones, voice.periodicity))
    if len(loudness) < 10:
        yield "stress", np.zeros(4, np.float32)
    else:
        loud = loudness >= min(_quantiles(loudness, (0.6,))[0], loudness.max())  # of equal levels it may round up
        shift = height[loud].mean() - height.mean()
        yield "stress", np.stack([shift, height[loud].std(), firm[loud].mean(), firm.std()])
    runs = _runs(voice.voiced) * np.float32(0.1)
    share = len(runs) / len(voice.voiced) * FRAME_RATE * 0.1
    yield "voiced_run", np.stack([runs.mean(), runs.std(), runs.max(), np.float32(share)])


def _runs(mask: Mask) -> Array:
    """Lengths of the runs of True of three frames and more, in frames; one frame where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    lengths = edges[1::2] - edges[::2]
    lengths = lengths[lengths > 2]
    return np.asarray(lengths if len(lengths) else [1], np.float32)


def _phonation(spectrum: Spectrum, voice: Voice) -> Group:
    """Voice quality: share and firmness of voicing, and the first harmonics against each other and the rest."""
    frames = _some(voice.voiced, spectrum.active)
    periodicity = voice.periodicity[spectrum.active]
    yield "voiced_share", np.stack([voice.voiced.sum() / np.float32(max(spectrum.active.sum(), 1))])
    yield "periodicity", np.stack([periodicity.mean(), periodicity.std(), *_quantiles(periodicity, (0.25, 0.75, 0.9))])
    harmonics = _harmonics(spectrum.power[frames], voice.semitones[frames])
    yield "harmonics", harmonics.mean(axis=0)
    yield "harmonics_std", harmonics.std(axis=0)


def _harmonics(power: Array, semitones: Array) -> Array:
    """H1-H2, H1-H4 and H1 against the peak around the first to third formant, dB [frames, 5]."""
    bins = F0_REFERENCE * 2 ** (semitones / 12) / BIN
    rows = np.arange(len(power))
    near = [power[rows, np.rint(bins * n).astype(int)] for n in (1, 2, 4)]
    bands = [_between(power, low, high).max(axis=1) for low, high in pairwise((300, 1000, 2200, 3500))]
    first, *others = (_decibels(one, 70.0) for one in (*near, *bands))
    return np.asarray(first[:, None] - np.stack(others, axis=1))


def _shape(spectrum: Spectrum, voice: Voice) -> Group:
    """Spectral shape frame by frame: centroid, slopes, ratios of bands (GeMAPS, Eyben et al. 2016), and flux."""
    shape = _shape_by_frame(spectrum.mel, spectrum.power)
    heard = shape[spectrum.active]
    yield "shape_mean", heard.mean(axis=0)
    yield "shape_std", heard.std(axis=0)
    yield "shape_voiced", shape[_some(voice.voiced, spectrum.active)].mean(axis=0)
    flux = np.abs(np.diff(spectrum.mel, axis=0, prepend=spectrum.mel[:1])).mean(axis=1)[spectrum.active]
    yield "flux", np.stack([flux.mean(), flux.std(), *_quantiles(flux, (0.5, 0.9))])


def _shape_by_frame(mel: Array, power: Array) -> Array:
    parts = [_between(power, low, high) for low, high in pairwise((0, 500, 1000, 2000, 5000, 7000))]
    bands = np.stack([_decibels(part.sum(axis=1), FLOOR_DB) for part in parts], axis=1)
    weight = 10 ** (mel / 20)
    place = np.arange(N_MELS, dtype=np.float32)
    centroid = (weight @ place) / weight.sum(axis=1)
    spread = np.sqrt(np.maximum((weight @ place**2) / weight.sum(axis=1) - centroid**2, 0))
    low, high = (_decibels(_between(power, *edges).max(axis=1), FLOOR_DB) for edges in ((0, 2000), (2000, 5000)))
    return np.column_stack([np.diff(bands, axis=1), bands[:, 0] - bands[:, 2], centroid, spread, low - high])


def _between(power: Array, low: float, high: float) -> Array:
    """The bins from `low` up to `high` Hz."""
    return power[:, int(low / BIN) : int(high / BIN)]


def _contours(spectrum: Spectrum, voice: Voice) -> Group:
    """Course of melody, level and timbre from the beginning of the clip to its end, by their first cosines."""
    cepstra = spectrum.mel[spectrum.active] @ _cosines()[:8].T
    yield "pitch_contour", _course(_melodic_line(voice)[:, None], 6)[:, 0]
    yield "level_contour", _course(np.maximum(spectrum.decibels, -SPAN_DB)[:, None], 6)[:, 0]
    yield "mfcc_contour", _course(cepstra, 3).ravel()


def _melodic_line(voice: Voice) -> Array:
    """The melody in semitones, drawn straight through what is not voiced and smoothed over 50 ms."""
    frames = np.flatnonzero(voice.voiced)
    if len(frames) < 4:
        return np.zeros(1, np.float32)
    line = np.interp(np.arange(frames[0], frames[-1] + 1), frames, voice.semitones[frames])
    return np.convolve(np.pad(line, 2, mode="edge"), np.full(5, 0.2), mode="valid").astype(np.float32)


def _course(values: Array, cosines: int) -> Array:
    """Cosine coefficients 1..`cosines` of each column over the length of the clip [cosines, columns]."""
    place = np.linspace(0, np.pi, len(values))
    waves = np.cos(np.arange(1, cosines + 1)[:, None] * place).astype(np.float32)
    return np.asarray(waves @ values * np.float32(2 / len(values)))


# --- small statistics -----------------------------------------------------------------------------------------------


def _quantiles(values: Array, points: tuple[float, ...]) -> Array:
    """Quantiles along the first axis, float32 [points, ...]."""
    ordered = np.sort(values, axis=0)
    place = np.asarray(points) * (len(ordered) - 1)
    below = place.astype(int)
    above = np.minimum(below + 1, len(ordered) - 1)
    share = (place - below).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(ordered[below] * (1 - share) + ordered[above] * share)


def _tails(values: Array) -> Array:
    """Log kurtosis of each column: how much of the movement is in bursts."""
    standard = (values - values.mean(axis=0)) / (values.std(axis=0) + np.float32(1e-3))
    return np.asarray(np.log((standard**4).mean(axis=0) + np.float32(0.1)))


def _correlations(values: Array) -> Array:
    """Pearson correlations of all pairs of columns."""
    standard = (values - values.mean(axis=0)) / (values.std(axis=0) + np.float32(1e-3))
    together = standard.T @ standard / np.float32(len(standard))
    return np.asarray(together[np.triu_indices(len(together), 1)])


def _delta(values: Array) -> Array:
    """Regression slope over five frames, along the first axis."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return np.asarray(((padded[3:-1] - padded[1:-3]) + 2 * (padded[4:] - padded[:-4])) / np.float32(10))


def _trend(values: Array) -> Any:
    """Change from the beginning to the end of a sequence by a straight line."""
    place = np.linspace(-0.5, 0.5, len(values), dtype=np.float32)
    return np.float32((place @ values) / max(float(place @ place), 1e-6))


def _some(*masks: Mask) -> Mask:
    """The first mask that selects anything, else everything: a whisper has no voiced frame."""
    return next((mask for mask in masks if mask.any()), np.ones_like(masks[0]))


def _log(values: Array) -> Array:
    return np.asarray(np.log10(values + np.float32(1e-3)))


FEATURES = len(feature_names())
