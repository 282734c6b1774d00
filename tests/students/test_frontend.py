"""The front-end against numpy and librosa, at every size a student may ask for, and what lies behind a clip's end."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from students.frontend import LogMel, dft_kernels, frames_of, mel_matrix, normalise, sample_mask

#: n_fft, hop, mels.
SIZES = [(64, 32, 26), (512, 160, 40), (400, 160, 80)]


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(("samples", "frames"), [(64, 1), (95, 1), (96, 2), (127, 2), (128, 3), (63, 0)])
def test_frames_are_whole_ones(samples: int, frames: int) -> None:
    assert frames_of(samples, 64, 32) == frames
    assert frames_of(torch.tensor([samples]), 64, 32).tolist() == [frames]
    if frames:
        assert LogMel()(noise(1, samples)).shape == (1, frames, 26)


def test_the_mask_ends_with_each_clip() -> None:
    assert sample_mask(torch.tensor([0, 2, 3, 9]), 3).int().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]


def test_a_normalised_clip_has_no_mean_and_unit_variance() -> None:
    pcm = 0.01 * noise(3, 8000) + torch.tensor([[0.5], [-0.2], [0.0]])
    found = normalise(pcm)
    torch.testing.assert_close(found.mean(-1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.var(-1, correction=0), torch.ones(3), atol=2e-3, rtol=0)
    assert (normalise(torch.full((1, 100), 0.25)) == 0).all()  # what is silent stays so


@pytest.mark.parametrize("level", [1e-5, 3e-4, 1.0])
def test_the_floor_keeps_what_is_nearly_silent_from_being_blown_up(level: float) -> None:
    pcm = level * noise(1, 4000)
    expected = np.std(pcm.numpy()) / np.sqrt(np.var(pcm.numpy().astype(float)) + 1e-7)
    for mask in (None, torch.ones(1, 4000, dtype=torch.bool)):
        assert float(normalise(pcm, mask).std(correction=0)) == pytest.approx(expected, rel=1e-4)


def test_a_masked_clip_is_normalised_as_if_it_were_alone() -> None:
    lengths = torch.tensor([100, 4000, 2500])
    batch = noise(3, 4000) + 0.3
    mask = sample_mask(lengths, 4000)
    found = normalise(torch.where(mask, batch, torch.nan), mask)
    for row, clip, length in zip(found, batch, lengths, strict=True):
        torch.testing.assert_close(row[:length], normalise(clip[None, :length])[0], atol=1e-5, rtol=1e-4)
        assert (row[length:] == 0).all()


@pytest.mark.parametrize(("n_fft", "hop", "mels"), SIZES)
def test_the_kernels_are_a_windowed_fourier_transform(n_fft: int, hop: int, mels: int) -> None:
    frame = noise(n_fft).numpy()
    real, imaginary = dft_kernels(n_fft) @ frame
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(n_fft) / n_fft))
    np.testing.assert_allclose(real + 1j * imaginary, np.fft.rfft(frame * window), atol=1e-4)


@pytest.mark.parametrize(("n_fft", "hop", "mels"), SIZES)
def test_the_bands_are_librosas(n_fft: int, hop: int, mels: int) -> None:
    expected = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=mels, fmin=0, fmax=8000).T
    np.testing.assert_allclose(mel_matrix(n_fft, mels), expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(("n_fft", "hop", "mels"), SIZES)
def test_log_mel_is_power_in_decibels(n_fft: int, hop: int, mels: int) -> None:
    pcm = noise(4000)
    frames = np.lib.stride_tricks.sliding_window_view(pcm.numpy().astype(np.float64), n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)))) ** 2
    expected = 10 * np.log10(np.maximum(power @ mel_matrix(n_fft, mels), 1e-10))
    np.testing.assert_allclose(LogMel(n_fft, hop, mels)(pcm[None])[0].numpy(), expected, atol=1e-2)


def test_silence_lies_at_the_floor_and_full_scale_is_not_cut() -> None:
    assert (LogMel()(torch.zeros(1, 200)) == -100).all()
    quiet, loud = LogMel()(noise(1, 4000)), LogMel()(1000 * noise(1, 4000))
    torch.testing.assert_close((loud - quiet)[quiet > -90], torch.full_like(loud, 60.0)[quiet > -90], atol=1e-2, rtol=0)


def test_log_mel_is_computed_in_float32_whatever_surrounds_it() -> None:
    frontend, pcm = LogMel(), noise(2, 1000)
    with torch.autocast("cpu", torch.bfloat16):
        found = frontend(pcm)
    assert found.dtype == torch.float32 and torch.equal(found, frontend(pcm))
    assert not any(parameter.requires_grad for parameter in frontend.parameters())
