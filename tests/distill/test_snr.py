"""The estimate of the signal-to-noise ratio: near the truth where it claims to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.audio import read
from distill.evaluation.snr import BINS, UNKNOWN, estimated_snr, snr_bin
from distill.perturb import add_noise, excerpt, level, surroundings
from distill.sources.manifest import read_rows


def talk(seconds: float = 3.0) -> np.ndarray:
    """Bursts of sound with pauses between, as in speech: float32 [samples]."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    speaking = (time % 0.5) < 0.35
    return (0.3 * speaking * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


def noisy(snr_db: float) -> np.ndarray:
    clip = talk()
    noise = np.random.default_rng(0).standard_normal(len(clip)).astype(np.float32)
    return add_noise(clip, noise, snr_db)


@pytest.mark.parametrize("snr_db", [8.0, 12.0, 18.0, 25.0])
@pytest.mark.parametrize("gain", [0.01, 1.0])
def test_the_estimate_is_near_the_truth_at_any_level(snr_db: float, gain: float) -> None:
    assert estimated_snr(noisy(snr_db) * np.float32(gain)) == pytest.approx(snr_db, abs=1.5)


@pytest.mark.parametrize(("snr_db", "name"), [(0, BINS[0]), (5, BINS[0]), (15, BINS[1]), (25, BINS[2]), (40, BINS[2])])
def test_bins_are_told_apart(snr_db: float, name: str) -> None:
    assert snr_bin(noisy(snr_db)) == name


def test_digital_silence_is_no_noise_floor() -> None:
    padded = np.pad(noisy(5), 32_000)
    assert estimated_snr(padded) == pytest.approx(estimated_snr(noisy(5)), abs=0.5)


@pytest.mark.parametrize("samples", [0, 100, 16_000])
def test_of_nothing_there_is_no_estimate(samples: int) -> None:
    assert snr_bin(np.zeros(samples, np.float32)) == UNKNOWN


@pytest.mark.parametrize(("recorded", "shares"), [(False, (0.85, 0.9, 0.65)), (True, (0.4, 0.7, 0.65))])
def test_on_real_speech_the_bins_are_hit_as_documented(shared: Path, recorded: bool, shares: tuple[float, ...]) -> None:
    rows = [row for row in read_rows(shared / "emodb" / "ratings.csv") if row["split"] == "train"][::4]
    clips = [read(shared / "emodb" / "two-seconds" / f"{row['file']}.flac") for row in rows]
    noises = surroundings(shared / "noise" if recorded else None, None).noises
    rng = np.random.default_rng(0)
    for snr_db, name, share in zip((5, 15, 25), BINS, shares, strict=True):
        found = []
        for clip in clips:
            noise = noises[int(rng.integers(len(noises)))]
            stretches = [excerpt(noise, len(clip), rng) for _ in range(5)]  # ESC-10 is filled up with silence
            found.append(snr_bin(add_noise(clip, max(stretches, key=level), snr_db)))
        assert found.count(name) / len(found) > share
