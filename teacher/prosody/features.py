"""Functionals of a speech clip: what the bundled teacher hears, one vector of what `analysis` finds in it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from distill.audio import SAMPLING_RATE
from teacher.prosody.analysis import (
    BIN,
    F0_REFERENCE,
    FLOOR_DB,
    FRAME_RATE,
    N_MELS,
    SPAN_DB,
    Array,
    Mask,
    Spectrum,
    Voice,
    analyse,
    in_decibels,
    some,
    track_voice,
)

__all__ = ["FEATURES", "feature_names", "functionals"]

N_MFCC = 16
PITCH_STEPS = (-12, -7, -5, -3, -2, -1, 0, 1, 2, 3, 5, 7, 12)  # semitones about the median

#: Yields (name, values).
Group: TypeAlias = Iterator[tuple[str, Array]]


def functionals(signal: Array, sampling_rate: int = SAMPLING_RATE) -> Array:
    """Describe a clip of speech by one fixed-length vector.

    >>> functionals(np.sin(np.arange(16_000, dtype=np.float32))).shape == (FEATURES,)
    True

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
    """Names of the functionals, such as `mfcc_std_3`, in their order.

    >>> feature_names()[:2]
    ['mfcc_std_0', 'mfcc_std_1']
    """
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
    yield "mfcc_voiced", cepstra[some(voice.voiced, spectrum.active)].mean(axis=0)
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
    height = voice.semitones[some(voice.voiced)]
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
    frames = some(voice.voiced, spectrum.active)
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
    first, *others = (in_decibels(one, 70.0) for one in (*near, *bands))
    return np.asarray(first[:, None] - np.stack(others, axis=1))


def _shape(spectrum: Spectrum, voice: Voice) -> Group:
    """Spectral shape frame by frame: centroid, slopes, ratios of bands (GeMAPS, Eyben et al. 2016), and flux."""
    shape = _shape_by_frame(spectrum.mel, spectrum.power)
    heard = shape[spectrum.active]
    yield "shape_mean", heard.mean(axis=0)
    yield "shape_std", heard.std(axis=0)
    yield "shape_voiced", shape[some(voice.voiced, spectrum.active)].mean(axis=0)
    flux = np.abs(np.diff(spectrum.mel, axis=0, prepend=spectrum.mel[:1])).mean(axis=1)[spectrum.active]
    yield "flux", np.stack([flux.mean(), flux.std(), *_quantiles(flux, (0.5, 0.9))])


def _shape_by_frame(mel: Array, power: Array) -> Array:
    parts = [_between(power, low, high) for low, high in pairwise((0, 500, 1000, 2000, 5000, 7000))]
    bands = np.stack([in_decibels(part.sum(axis=1), FLOOR_DB) for part in parts], axis=1)
    weight = 10 ** (mel / 20)
    place = np.arange(N_MELS, dtype=np.float32)
    centroid = (weight @ place) / weight.sum(axis=1)
    spread = np.sqrt(np.maximum((weight @ place**2) / weight.sum(axis=1) - centroid**2, 0))
    low, high = (in_decibels(_between(power, *edges).max(axis=1), FLOOR_DB) for edges in ((0, 2000), (2000, 5000)))
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


@functools.cache
def _cosines() -> Array:
    """Orthonormal DCT-II [N_MFCC, N_MELS]."""
    order = np.arange(N_MFCC).reshape(-1, 1)
    grid = order * (np.arange(N_MELS) + 0.5) * np.pi / N_MELS
    scale = np.where(order == 0, np.sqrt(1 / N_MELS), np.sqrt(2 / N_MELS))
    return np.asarray(scale * np.cos(grid), np.float32)


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


def _log(values: Array) -> Array:
    return np.asarray(np.log10(values + np.float32(1e-3)))


FEATURES = len(feature_names())
