"""Perturbations do by how much they say: SNR, time, length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.perturb import (
    CODECS,
    add_noise,
    band_limit,
    change_speed,
    clip,
    codecs,
    equalise,
    excerpt,
    level,
    recordings,
    reverberate,
    room,
    surroundings,
    synthetic_noise,
    synthetic_room,
    through_codec,
    with_silence,
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


def test_a_pattern_chooses_recordings_by_name(tmp_path: Path, tone: Tone) -> None:
    for name in ("dog-1-A.wav", "dog-2-A.wav", "more/sea-3-B.wav", "noise1.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, tone(), 16000)
    assert list(recordings(tmp_path / "*-[13]-*")) == ["dog-1-A.wav", "more/sea-3-B.wav"]
    assert len(surroundings(tmp_path / "*-[13]-*", None).noises) == 2
    with pytest.raises(DistillError, match="no audio file has such a name"):
        recordings(tmp_path / "*-[4]-*")


def test_equaliser_raises_the_band_it_names() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    louder = equalise(noise, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 12.0]))
    before, after = np.abs(np.fft.rfft(noise)) ** 2, np.abs(np.fft.rfft(louder)) ** 2
    assert after[:1000].sum() == pytest.approx(before[:1000].sum(), rel=1e-3)
    assert 10 * np.log10(after[7900:].sum() / before[7900:].sum()) == pytest.approx(12, abs=0.3)


def power_db(signal: np.ndarray, low_hz: float, high_hz: float) -> float:
    hertz = np.fft.rfftfreq(len(signal), 1 / 16000)
    inside = (hertz >= low_hz) & (hertz < high_hz)
    return float(10 * np.log10(np.sum(np.abs(np.fft.rfft(signal)[inside]) ** 2) + 1e-12))


def test_a_band_is_kept_and_the_rest_is_gone() -> None:
    noise = hiss(16_000)
    limited = band_limit(noise, 300, 3400)
    assert limited.dtype == np.float32 and len(limited) == len(noise)
    assert power_db(limited, 310, 3390) == pytest.approx(power_db(noise, 310, 3390), abs=1e-3)
    for outside in ((0, 230), (4300, 8000)):
        assert power_db(limited, *outside) < power_db(noise, *outside) - 60


def test_an_open_band_changes_nothing_and_each_side_works_alone() -> None:
    noise = hiss(15_999)
    np.testing.assert_allclose(band_limit(noise, 0, 8000), noise, atol=1e-5)
    assert power_db(band_limit(noise, 300, 8000), 4300, 8000) == pytest.approx(power_db(noise, 4300, 8000), abs=1e-3)
    assert power_db(band_limit(noise, 0, 3400), 0, 230) == pytest.approx(power_db(noise, 0, 230), abs=1e-3)


def test_a_band_limit_leaves_a_click_in_its_place() -> None:
    click = np.zeros(8000, np.float32)
    click[4321] = 1.0
    assert np.abs(band_limit(click, 300, 3400)).argmax() == 4321


@pytest.mark.parametrize("gain", [1e-3, 1.0])
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_clipping_flattens_the_loudest_samples(share: float, gain: float) -> None:
    loud = hiss(16_000) * np.float32(gain)
    clipped = clip(loud, share)
    assert clipped.dtype == np.float32
    flat = np.abs(clipped) == np.abs(clipped).max()
    assert flat.mean() == pytest.approx(share, rel=0.02)
    np.testing.assert_array_equal(clipped[~flat], loud[~flat])


def test_no_clipping_changes_nothing(tone: Tone) -> None:
    np.testing.assert_array_equal(clip(tone(0.1), 0.0), tone(0.1))


def test_this_libsndfile_has_telephone_codecs() -> None:
    assert {"ulaw", "alaw", "gsm", "adpcm"} <= set(codecs()) <= set(CODECS)


@pytest.mark.parametrize("codec", codecs())
@pytest.mark.parametrize("samples", [4_801, 32_000])
def test_a_codec_keeps_length_time_and_most_of_the_sound(codec: str, samples: int) -> None:
    speech = 0.1 * band_limit(hiss(samples), 300, 1000)
    coded = through_codec(speech, codec)
    assert coded.dtype == np.float32 and len(coded) == samples
    size = 2 * samples
    lags = np.fft.irfft(np.fft.rfft(coded, size) * np.conj(np.fft.rfft(speech, size)))
    assert int(lags.argmax()) in (0, 1, size - 1)
    assert 0.8 < np.corrcoef(coded, speech)[0, 1] < 0.99999


def test_minutes_of_vorbis_do_not_kill_the_process() -> None:
    """libsndfile 1.2.2 puts all that it is given at once onto the stack."""
    assert len(through_codec(hiss(400 * 16_000), "vorbis")) == 400 * 16_000


@pytest.mark.parametrize("codec", codecs())
def test_a_codec_clips_what_is_too_loud(codec: str, tone: Tone) -> None:
    coded = through_codec(tone(1.0, peak=3.0), codec)
    assert np.isfinite(coded).all() and 0.9 < np.abs(coded).max() < 2.9  # of 3.0


def test_silence_surrounds_the_signal(tone: Tone) -> None:
    clip_ = tone(0.5)
    longer = with_silence(clip_, 1.0, 0.25)
    assert longer.dtype == np.float32 and len(longer) == 16_000 + 8_000 + 4_000
    np.testing.assert_array_equal(longer[16_000:24_000], clip_)
    assert not longer[:16_000].any() and not longer[24_000:].any()
