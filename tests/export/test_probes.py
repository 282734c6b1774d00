"""The clips of the ladder: real ones at all lengths, each level and noise named for what it is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from distill.perturb import level
from export.probes import CLIPS, CONDITIONS, SECONDS, probe, probes, synthetic_probes, varied


def as_they_were(made):
    return [tried.signal for tried in made if tried.traits["level"] == "0 dB" and tried.traits["snr"] == "clean"]


def test_clips_have_all_lengths_and_only_real_audio():
    signals = [np.full(20_000, number, np.float32) for number in (1, 2, 3)]
    made = probes(signals)
    assert sorted({len(tried.signal) for tried in made}) == [16_000 * seconds for seconds in SECONDS]
    assert len(made) == 3 * len(SECONDS) and len(probes(signals, count=8)) == 8
    assert all(set(np.unique(clip)) <= {1, 2, 3} for clip in as_they_were(made))


def test_clips_are_made_of_real_ones_one_after_the_other():
    signals = [np.full(10_000 * (number + 1), number, np.float64) for number in range(3)]
    first, *_, last = as_they_were(probes(signals))
    assert first.dtype == np.float32 and np.flatnonzero(np.diff(first)).tolist() == [9_999]
    assert (first[0], first[-1], len(last)) == (0, 1, 30 * 16_000)
    second = probes(signals)[-2].signal  # begins with the second one, 20 dB softer
    assert second[:20_000].tolist() == pytest.approx([0.1] * 20_000) and second[20_000] == pytest.approx(0.2)


@pytest.mark.parametrize("count, clips", [(1, 8), (8, 8), (15, 8), (16, 16), (200, 40)])
def test_so_many_clips_of_each_length(count, clips):
    assert len(probes([np.zeros(16_000, np.float32)] * 5, count=count)) == clips


def test_by_default_two_hundred_clips():
    made = probes([np.ones(480_000, np.float32)] * 30)
    assert len(made) == CLIPS == 200
    assert Counter(tried.traits["length"] for tried in made) == {f"{seconds} s": 25 for seconds in SECONDS}
    told = Counter((tried.traits["level"], tried.traits["snr"]) for tried in made)
    assert min(told.values()) >= 32 and len(told) == len(CONDITIONS)


def test_level_and_noise_are_as_they_are_named():
    tone = np.sin(np.arange(32_000) / 7).astype(np.float32)
    for tried in varied([tone] * len(CONDITIONS)):
        gain, noise = tried.traits["level"], tried.traits["snr"]
        assert tried.signal.dtype == np.float32 and tried.traits["length"] == "2 s"
        if noise == "clean":
            assert 20 * np.log10(level(tried.signal) / level(tone)) == pytest.approx(float(gain.split()[0]), abs=1e-3)
        else:
            assert gain == "0 dB"
            measured = 20 * np.log10(level(tone) / level(tried.signal - tone))
            assert measured == pytest.approx(float(noise.split()[0]), abs=1e-3)


def test_they_are_always_the_same():
    signals = [np.random.default_rng(7).standard_normal(9_000)] * 6
    for one, other in zip(probes(signals, count=48), probes(signals, count=48), strict=True):
        assert (one.signal == other.signal).all() and one.traits == other.traits


def test_synthetic_clips_are_noise_that_is_always_the_same():
    one, other = synthetic_probes(), synthetic_probes()
    assert all((a.signal == b.signal).all() for a, b in zip(one, other, strict=True)) and len(one) == len(SECONDS) + 1
    assert all(0.98 < tried.signal.std() < 1.02 and tried.signal.dtype == np.float32 for tried in one)


def test_a_clip_is_told_by_its_traits():
    assert probe(np.zeros(24_000, np.float32), level=-20).traits == {
        "length": "1.5 s",
        "level": "-20 dB",
        "snr": "clean",
    }
