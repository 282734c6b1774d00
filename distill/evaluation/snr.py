"""How noisy a recording is, estimated from the recording alone."""

from __future__ import annotations

import numpy as np

from distill.audio import SAMPLING_RATE

#: Frames, and the share of them that is taken to be pauses.
_FRAME_SECONDS, _PAUSES = 0.02, 0.1

#: Edges (dB) of the bins that evaluation slices by, and their names.
EDGES_DB = (10.0, 20.0)
BINS = ("<10 dB", "10-20 dB", ">20 dB")
UNKNOWN = "unknown"


def estimated_snr(signal: np.ndarray) -> float:
    """Signal-to-noise ratio in dB, an estimate: the tenth percentile of the energies of 20 ms frames is the noise.

    So it takes what the quietest tenth holds for the noise of all of it. Speech without pauses reads too low, noise
    that comes and goes too high, and a clean recording as the ratio of speech to its own pauses. Below about 5 dB and
    above about 25 dB it says little more than "noisy" and "clean". Frames of digital silence do not count; NaN where
    there is no other.

    signal: float32 [samples], mono 16 kHz.

    >>> hiss = 0.01 * np.random.default_rng(0).standard_normal(32_000)
    >>> loud = np.repeat([1.0, 0.0], 16_000)
    >>> round(estimated_snr(hiss + loud))  # half of it sounds: power 0.5 over noise of 0.0001
    37
    """
    samples = round(_FRAME_SECONDS * SAMPLING_RATE)
    frames = signal[: len(signal) // samples * samples].astype(np.float64).reshape(-1, samples)
    energies = np.square(frames).mean(1)
    energies = energies[energies > 0]
    if not len(energies):
        return float("nan")
    noise = float(np.quantile(energies, _PAUSES))
    speech = float(energies.mean()) - noise
    return float(10 * np.log10(max(speech, 1e-12 * noise) / noise))


def snr_bin(signal: np.ndarray) -> str:
    """Which of `BINS` the estimate lies in; "unknown" where there is none.

    >>> snr_bin(np.random.default_rng(0).standard_normal(16_000))  # nothing but noise
    '<10 dB'
    """
    estimate = estimated_snr(signal)
    return UNKNOWN if np.isnan(estimate) else BINS[int(np.searchsorted(EDGES_DB, estimate, side="right"))]
