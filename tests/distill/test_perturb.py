"""Perturbations do by how much they say: SNR, time, length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.perturb import (
    add_noise,
    change_speed,
    equalise,
    excerpt,
    level,
    reverberate,
    room,
    surroundings,
    synthetic_noise,
    synthetic_room,
)

Tone = Callable[..., np.ndarray]


def hiss(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=samples).astype(np.float32)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0, 40.0])
@pytest.mark.parametrize("gain", [1e-3, 1.0])
def test_the_asked_snr_is_reached_at_any_level(tone: Tone, snr_db: float, gain: float) -> None:
    clip = tone(2.0) * np.float32(gain)
    noisy = add_noise(clip, hiss(len(clip)), snr_db)
    assert noisy.dtype == np.float32
    assert 20 * np.log10(level(clip) / level(noisy - clip)) == pytest.approx(snr_db, abs=0.05)


def test_noise_on_silence_is_silence() -> None:
    assert np.abs(add_noise(np.zeros(100, np.float32), hiss(100), 0.0)).max() < 1e-6


def test_the_level_is_the_root_mean_square(tone: Tone) -> None:
    assert level(tone(1.0, peak=0.5)) == pytest.approx(0.5 / np.sqrt(2), abs=1e-4)


def test_reverberation_is_the_convolution_cut_to_length() -> None:
    clip, response = hiss(3000), hiss(700, seed=1)
    wet = reverberate(clip, response)
    assert wet.dtype == np.float32
    np.testing.assert_allclose(wet, np.convolve(clip, response)[:3000], atol=1e-3)


def test_the_direct_sound_stays_in_time(tone: Tone) -> None:
    click = np.zeros(8000, np.float32)
    click[1234] = 1.0
    late = np.concatenate([np.zeros(400), [1.0], 0.1 * hiss(2000)]).astype(np.float32)
    for response in (synthetic_room(np.random.default_rng(0)), room(late)):
        wet = reverberate(click, response)
        assert len(wet) == len(click) and np.abs(wet).argmax() == 1234 and not np.abs(wet[:1230]).max() > 1e-5


def test_a_recorded_room_has_unit_energy_and_an_end() -> None:
    response = room(hiss(32000))
    assert np.sum(response**2) == pytest.approx(1, abs=1e-4) and len(response) <= 9600


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch_alike(tone: Tone, factor: float) -> None:
    fast = change_speed(tone(1.0), factor)
    assert len(fast) == pytest.approx(16000 / factor, abs=2)
    peak = np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast)
    assert peak == pytest.approx(440 * factor, abs=2)


def test_an_excerpt_has_its_length_and_comes_from_the_signal() -> None:
    signal = np.arange(1000, dtype=np.float32)
    rng = np.random.default_rng(0)
    for samples in (1, 300, 1000):
        cut = excerpt(signal, samples, rng)
        assert len(cut) == samples and (np.diff(cut) == 1).all()
    repeated = excerpt(signal, 2500, rng)
    assert len(repeated) == 2500 and (np.diff(repeated) % 1000 == 1).all()


def test_synthesised_noise_and_rooms_are_finite_and_bounded() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise, response = synthetic_noise(rng, 1.0), synthetic_room(rng)
        assert noise.dtype == response.dtype == np.float32
        assert np.abs(noise).max() == pytest.approx(1) and len(noise) == 16000
        assert np.isfinite(response).all() and response[0] == 1 and np.sum(response[1:] ** 2) <= 1.05


def test_synthesised_surroundings_follow_from_the_seed() -> None:
    first, again, other = (surroundings(None, None, seed=seed).noises[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_recorded_noise_is_read_and_a_bad_file_named(
    tmp_path: Path, tone: Tone, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", tone(), 16000)
    (tmp_path / "bad.wav").write_text("text")
    assert len(surroundings(tmp_path, None).noises) == 1
    assert "bad.wav: not audio" in capsys.readouterr().err


def test_a_folder_without_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no audio in it"):
        surroundings(tmp_path, None)
    with pytest.raises(DistillError, match="no such folder"):
        surroundings(None, tmp_path / "nowhere")


def test_equaliser_raises_the_band_it_names() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    louder = equalise(noise, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 12.0]))
    before, after = np.abs(np.fft.rfft(noise)) ** 2, np.abs(np.fft.rfft(louder)) ** 2
    assert after[:1000].sum() == pytest.approx(before[:1000].sum(), rel=1e-3)
    assert 10 * np.log10(after[7900:].sum() / before[7900:].sum()) == pytest.approx(12, abs=0.3)
