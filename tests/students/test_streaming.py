"""The student that listens: no look ahead, the same answers for any pieces, a level that holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.audio import SAMPLING_RATE, read
from students import wav2small
from students.streaming import LEVEL_FORGETTING, TOKEN, RunningLevel, Stream, Wav2SmallStream, running_sums

#: Between an answer of a stream and that of the whole clip.
TOLERANCE = 1e-4

#: Samples of a piece; None: drawn anew for each.
PIECES = (1, 37, 256, 511, 16_000, None)


@pytest.fixture(scope="module")
def network() -> Wav2SmallStream:
    """Random weights, and batch norms that have seen something, so that answers differ from token to token."""
    torch.manual_seed(7)
    model = Wav2SmallStream()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    torch.nn.init.normal_(model.attention.sof.weight, 0.0, 0.3)
    torch.nn.init.normal_(model.head.weight, 0.0, 0.3)
    with torch.no_grad():
        model.train()(torch.stack([noise(16_000), noise(16_000, seed=1)]))
    return model.eval()


def noise(samples: int, *, seed: int = 0) -> Tensor:
    """Noise that swells, on an offset."""
    swell = 0.1 + np.sin(np.arange(samples) / 3000) ** 2
    return torch.from_numpy(0.02 + 0.1 * swell * np.random.default_rng(seed).standard_normal(samples)).float()


def pieces(pcm: Tensor, samples: int | None) -> Iterator[Tensor]:
    rng, start = np.random.default_rng(5), 0
    while start < len(pcm):
        taken = int(rng.integers(1, 3000)) if samples is None else samples
        yield pcm[start : start + taken]
        start += taken


def streamed(network: Wav2SmallStream, pcm: Tensor, samples: int | None) -> Tensor:
    stream = Stream(network)
    return torch.cat([stream.push(piece) for piece in pieces(pcm, samples)])


@torch.inference_mode()
def prefixes(network: Wav2SmallStream, pcm: Tensor) -> Tensor:
    """What the network answers to every beginning of the clip, a token longer each."""
    return torch.cat([network(pcm[None, :end]) for end in range(TOKEN, len(pcm) + 1, TOKEN)])


@pytest.mark.parametrize("samples", PIECES)
def test_a_stream_answers_as_the_whole_clip_up_to_there(network: Wav2SmallStream, samples: int | None) -> None:
    pcm = noise(20_011)
    found, expected = streamed(network, pcm, samples), prefixes(network, pcm)
    assert found.shape == (20_011 // TOKEN, 3)
    assert (found - expected).abs().max() < TOLERANCE
    assert expected.std(0).min() > 100 * TOLERANCE, "answers that do not vary say nothing"


@pytest.mark.parametrize("samples", PIECES)
def test_a_stream_of_real_speech(network: Wav2SmallStream, shared: Path, samples: int | None) -> None:
    pcm = torch.from_numpy(read(sorted((shared / "emodb/two-seconds").rglob("*.*a*"))[0]))
    assert (streamed(network, pcm, samples) - prefixes(network, pcm)).abs().max() < TOLERANCE


def test_nothing_of_the_future_counts(network: Wav2SmallStream) -> None:
    one, other = noise(16_384), noise(16_384)
    other[8_192:] = 30 * noise(8_192, seed=3)
    found, expected = streamed(network, one, 700), streamed(network, other, 700)
    assert torch.equal(found[:16], expected[:16]) and not torch.equal(found[16], expected[16])


def test_what_does_not_fill_a_token_waits(network: Wav2SmallStream) -> None:
    pcm = noise(5 * TOKEN + TOKEN - 1)
    with torch.inference_mode():
        assert torch.equal(network(pcm[None]), network(pcm[None, : 5 * TOKEN]))
    assert network.tokens(len(pcm)) == 5


def test_what_is_long_past_is_forgotten(network: Wav2SmallStream) -> None:
    """A minute later the answer is that to what was said since."""
    late = noise(60 * SAMPLING_RATE // TOKEN * TOKEN, seed=4)
    loud = torch.cat([0.3 * noise(40 * TOKEN, seed=5), late])
    with torch.inference_mode():
        assert (network(loud[None]) - network(late[None])).abs().max() < 1e-3


def naive(x: np.ndarray, forgetting: float) -> np.ndarray:
    """The recursion, step by step, in double precision."""
    found, kept = np.empty(len(x)), 0.0
    for step, value in enumerate(x.astype(np.float64)):
        kept = np.exp(-forgetting) * kept + value
        found[step] = kept
    return found


@pytest.mark.parametrize("steps", [1, 127, 128, 129, 3_000, 3600 * 125 // 2])
def test_running_sums_are_the_recursion_up_to_an_hour(steps: int) -> None:
    x = torch.from_numpy(np.random.default_rng(0).random(steps).astype(np.float32))
    x[: steps // 2] *= 1e-6  # a quiet half hour before
    found = running_sums(x[None, None], LEVEL_FORGETTING)[0, 0].numpy()
    np.testing.assert_allclose(found, naive(x.numpy(), LEVEL_FORGETTING), rtol=2e-5)


def levels(pcm: Tensor) -> Tensor:
    """By what the frames were divided: the power that they had, over what is left."""
    out = RunningLevel()(pcm[None])[0].reshape(-1, 256)
    centred = pcm[: out.numel()].reshape(-1, 256)
    return (centred - centred.mean(1, keepdim=True)).square().mean(1) / out.square().mean(1)


def test_a_gain_and_an_offset_move_nothing() -> None:
    pcm, level = noise(16_384), RunningLevel()
    plain, louder = level(pcm[None]), level((20 * pcm + 0.3)[None])
    assert (plain - louder).abs().max() < 0.01 * plain.abs().max()


def test_silence_in_front_adds_nothing_and_a_pause_takes_nothing() -> None:
    pcm, silence = noise(8_192), torch.zeros(16_384)
    torch.testing.assert_close(levels(torch.cat([silence, pcm]))[64:], levels(pcm), rtol=1e-3, atol=0)
    after = levels(torch.cat([pcm, silence, pcm]))
    assert after[32 + 64] / after[31] == pytest.approx(1, rel=0.2)


def test_digital_silence_stays_finite(network: Wav2SmallStream) -> None:
    assert (RunningLevel()(torch.zeros(1, 4_096)) == 0).all()
    assert torch.isfinite(streamed(network, torch.zeros(4_096), 500)).all()


def test_training_in_the_packed_layout_is_the_same(
    network: Wav2SmallStream, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """There a convolution has taps of zero where it would see ahead."""
    pcm = torch.stack([noise(9_000), noise(9_000, seed=2)])
    if not wav2small.packs(pcm):
        pytest.skip("oneDNN has no kernels for this processor")
    packed = trained(network, pcm)
    monkeypatch.setattr(wav2small, "packs", lambda _: False)
    for name, (found, expected) in zip_by_name(packed, trained(network, pcm)):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4, msg=name)


def trained(network: Wav2SmallStream, pcm: Tensor) -> dict[str, Tensor]:
    """The answers of a step in float32, and the gradients."""
    model = Wav2SmallStream()
    model.load_state_dict(network.state_dict())
    answers = model.train()(pcm)
    answers.square().sum().backward()
    return {"answers": answers, **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}}


def zip_by_name(one: dict[str, Tensor], other: dict[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    assert one.keys() == other.keys()
    return ((name, (one[name], other[name])) for name in one)


def test_a_causal_convolution_sees_two_steps_back() -> None:
    x = torch.zeros(1, 1, 6, 3)
    x[0, 0, 2, 1] = 1.0
    found = wav2small.convolved(x, torch.ones(1, 1, 3, 3), (2, 0))
    assert found[0, 0, :, 1].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
