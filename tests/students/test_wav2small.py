"""Both layouts of Wav2Small against the published counts and against references that share no code with them."""

from __future__ import annotations

from unittest.mock import Mock

import librosa
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from distill.audio import padded
from students import wav2small
from students.plain import PlainWav2Small
from students.wav2small import Vgg7, Wav2Small, Wav2Small17K

LENGTHS = (4000, 5217, 16000, 23456, 48000)
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def network() -> Wav2Small:
    return drawn(Wav2Small)


@pytest.fixture(scope="module")
def small_network() -> Wav2Small17K:
    return drawn(Wav2Small17K)


def drawn(kind):
    """Random weights that answer differently to different clips; batch norms hold what they saw, not 0 and 1."""
    torch.manual_seed(7)
    model = kind()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average
            torch.nn.init.uniform_(module.weight, 0.7, 1.5)
            torch.nn.init.normal_(module.bias, 0.1, 0.2)
    torch.nn.init.normal_(model.attention.lin.weight, 0.0, 0.1)
    torch.nn.init.normal_(model.attention.sof.weight, 0.0, 0.1)
    torch.nn.init.normal_(model.head.weight, 0.0, 0.2)
    with torch.no_grad():
        model.train()(torch.from_numpy(np.stack([noise(16000), hummed(16000)])))
    return model.eval()


def noise(samples: int, *, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Noise that fades and is not centred: float32 [samples]."""
    swell = 0.2 + np.sin(np.arange(samples) / 900) ** 2
    return (level * (0.3 + swell * np.random.default_rng([samples, seed]).standard_normal(samples))).astype(np.float32)


def hummed(samples: int) -> np.ndarray:
    """A tone alone: its upper bands lie below the floor of the log-mel."""
    time = np.arange(samples) / 16000
    return (0.3 * np.hanning(samples) * np.sin(2 * np.pi * 250 * time)).astype(np.float32)


def reference(
    weights: dict[str, torch.Tensor], pcm: np.ndarray, *, power: int = 2, floor: float = 1e-10,
    log: str = "10 log10", masked: bool = True, count: int | None = None, swapped: bool = False,
) -> np.ndarray:  # fmt: skip
    """One clip by the published description. count: samples of it that are audio, the rest being padding."""
    image = trunk(weights, pcm, power=power, floor=floor, log=log, count=count if masked else None)
    tokens = image[0].permute(1, 0, 2).reshape(image.shape[2], -1)
    scores = F.linear(tokens, weights["attention.sof.weight"], weights["attention.sof.bias"])
    values = F.linear(tokens, weights["attention.lin.weight"], weights["attention.lin.bias"])
    pooled = (values * F.softmax(scores, dim=0)).sum(0)
    adv = F.linear(pooled, weights["head.weight"], weights["head.bias"]).numpy()
    return adv[[1, 0, 2]] if swapped else adv


def reference_17k(
    weights: dict[str, torch.Tensor], pcm: np.ndarray, *, count: int | None = None, masked: bool = True,
    gram: str = "of channels", beside: str = "each channel", swapped: bool = False,
) -> np.ndarray:  # fmt: skip
    """One clip by the model card."""
    image = trunk(weights, pcm, count=count if masked else None)
    scores = F.conv2d(image, weights["attention.sof.weight"], weights["attention.sof.bias"])
    values = F.conv2d(image, weights["attention.lin.weight"], weights["attention.lin.bias"])
    pooled = (values * F.softmax(scores, dim=2)).sum(2)[0]
    by = {"of channels": pooled @ pooled.T, "of bands": pooled.T @ pooled, "divided": pooled @ pooled.T / 13}[gram]
    joined = {"each channel": torch.cat([pooled, by], 1), "at the end": torch.cat([pooled, by], 0)}[beside]
    adv = F.linear(joined.flatten(), weights["head.weight"], weights["head.bias"]).numpy()
    return adv[[1, 0, 2]] if swapped else adv


def trunk(
    weights: dict[str, torch.Tensor], pcm: np.ndarray, *, power: int = 2, floor: float = 1e-10,
    log: str = "10 log10", count: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """[1, channels, tokens, bands]: what both layouts have in common."""
    count = len(pcm) if count is None else count
    x = pcm[:count].astype(np.float64)
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
    x = np.concatenate([x, np.zeros(len(pcm) - count)])[:count]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    frames = np.lib.stride_tricks.sliding_window_view(x, 64)[::32]
    spectrum = np.abs(np.fft.rfft(frames * window)) ** power
    mel = spectrum @ librosa.filters.mel(sr=16000, n_fft=64, n_mels=26, fmin=0, fmax=8000).T.astype(np.float64)
    mel = np.maximum(mel, floor) if floor else mel + 1e-30
    image = torch.from_numpy({"10 log10": 10 * np.log10(mel), "ln": np.log(mel)}[log]).float()[None, None]
    image = blocks(weights, "fine", 3, image)
    image = F.max_pool2d(image, 3, 2, 1)
    return blocks(weights, "coarse", 4, image)


def blocks(weights: dict[str, torch.Tensor], name: str, number: int, image: torch.Tensor) -> torch.Tensor:
    for index in range(number):
        norm = {key: weights[f"{name}.{index}.norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        image = F.conv2d(image, weights[f"{name}.{index}.conv.weight"], padding=1)
        image = F.relu(F.batch_norm(image, **norm))
    return image


@torch.inference_mode()
def answer(network: Wav2Small, pcm: np.ndarray) -> np.ndarray:
    return network(torch.from_numpy(pcm)[None])[0].numpy()


def test_front_end_is_frozen_and_counted():
    frozen = {name: p.numel() for name, p in Wav2Small().named_parameters() if not p.requires_grad}
    assert frozen == {"frontend.real": 33 * 64, "frontend.imaginary": 33 * 64, "frontend.mel": 33 * 26}


@pytest.mark.parametrize("samples", LENGTHS)
def test_agrees_with_the_reference(network, samples):
    pcm = noise(samples)
    assert np.abs(answer(network, pcm) - reference(network.state_dict(), pcm)).max() < TOLERANCE


def test_agrees_with_the_reference_below_the_floor(network):
    """A tone and then a pause: nearly all bands of nearly all frames are clamped."""
    pcm = np.concatenate([hummed(8000), np.zeros(8000, np.float32)])
    assert np.abs(answer(network, pcm) - reference(network.state_dict(), pcm)).max() < TOLERANCE


@pytest.mark.parametrize(
    "fault", [{"power": 1}, {"log": "ln"}, {"swapped": True}], ids=["square root", "natural log", "swapped axes"]
)
def test_reference_tells_known_wrong_ports(network, fault):
    for samples in LENGTHS:
        pcm = noise(samples)
        assert np.abs(answer(network, pcm) - reference(network.state_dict(), pcm, **fault)).max() > 100 * TOLERANCE


def test_reference_tells_a_lost_clamp(network):
    pcm = np.zeros(16000, np.float32)
    assert np.abs(answer(network, pcm) - reference(network.state_dict(), pcm)).max() < TOLERANCE
    assert np.abs(answer(network, pcm) - reference(network.state_dict(), pcm, floor=0.0)).max() > 100 * TOLERANCE


def test_reference_tells_a_lost_mask(network):
    batch = torch.from_numpy(padded([noise(16000), noise(48000)]))
    with torch.inference_mode():
        masked = network(batch, torch.tensor([16000, 48000]))[0].numpy()
    assert np.abs(masked - reference(network.state_dict(), batch[0].numpy(), count=16000)).max() < TOLERANCE
    lost = reference(network.state_dict(), batch[0].numpy(), count=16000, masked=False)
    assert np.abs(masked - lost).max() > 100 * TOLERANCE


@pytest.mark.parametrize("samples", LENGTHS)
def test_17k_agrees_with_the_reference(small_network, samples):
    pcm = noise(samples)
    assert np.abs(answer(small_network, pcm) - reference_17k(small_network.state_dict(), pcm)).max() < TOLERANCE


def test_17k_agrees_with_the_reference_in_a_mixed_batch(small_network):
    batch = torch.from_numpy(padded([noise(samples) for samples in LENGTHS]))
    with torch.inference_mode():
        together = small_network(batch, torch.tensor(LENGTHS)).numpy()
    weights = small_network.state_dict()
    alone = np.stack([reference_17k(weights, noise(samples)) for samples in LENGTHS])
    assert np.abs(together - alone).max() < TOLERANCE
    lost = reference_17k(weights, batch[2].numpy(), count=LENGTHS[2], masked=False)
    assert np.abs(together[2] - lost).max() > 100 * TOLERANCE


@pytest.mark.parametrize(
    "fault", [{"swapped": True}, {"gram": "of bands"}, {"gram": "divided"}, {"beside": "at the end"}],
    ids=lambda fault: " ".join(map(str, next(iter(fault.items())))),
)  # fmt: skip
def test_reference_tells_wrong_17k_layouts(small_network, fault):
    """The matrix of channels is symmetric: transposed it is that of bands which is another one."""
    for samples in LENGTHS:
        pcm = noise(samples)
        wrong = reference_17k(small_network.state_dict(), pcm, **fault)
        assert np.abs(answer(small_network, pcm) - wrong).max() > 100 * TOLERANCE


@pytest.mark.parametrize("garbage", [0.0, 1e4, float("nan"), float("inf")])
def test_padding_never_changes_the_answer(network, garbage):
    signals = [noise(samples) for samples in LENGTHS]
    batch = torch.full((len(signals), max(LENGTHS) + 777), garbage)
    for row, signal in zip(batch, signals, strict=True):
        row[: len(signal)] = torch.from_numpy(signal)
    with torch.inference_mode():
        together = network(batch, torch.tensor(LENGTHS)).numpy()
    alone = np.stack([answer(network, signal) for signal in signals])
    assert np.abs(together - alone).max() < 1e-5


def test_padding_of_nan_leaves_gradients_finite():
    torch.manual_seed(0)
    model, batch = Wav2Small().train(), torch.from_numpy(padded([noise(4000), noise(16000)]))
    batch[0, 4000:] = float("nan")
    model(batch, torch.tensor([4000, 16000])).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("gain", [0.1, 0.5, 8.0])
def test_gain_and_offset_do_not_change_the_answer(network, gain):
    pcm = noise(16000)
    assert np.abs(answer(network, gain * pcm + 0.2) - answer(network, pcm)).max() < 2e-3
    assert np.abs(answer(network, pcm) - answer(network, hummed(16000))).max() > 2e-1


@pytest.mark.parametrize("samples", [64, 95, 96, 4000, 4001, 16031, 16032])
def test_tokens_counts_what_the_pooling_sees(network, samples):
    seen = []
    hook = network.attention.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    answer(network, noise(samples))
    hook.remove()
    assert seen == [network.tokens(samples)]


def test_channels_filled_up_while_training_change_nothing(monkeypatch):
    torch.manual_seed(3)
    plain, filled = Wav2Small(), Wav2Small()
    filled.load_state_dict(plain.state_dict())
    pcm, lengths = torch.randn(4, 8000), torch.tensor([8000, 8000, 5000, 6000])
    for model, lanes in ((plain, 1), (filled, 16)):
        monkeypatch.setattr(wav2small, "LANES", lanes)
        model(pcm, lengths).square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), filled.parameters(), strict=True):
        if one.requires_grad:
            assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-5 * one.grad.abs().max()), name
    for one, other in zip(plain.buffers(), filled.buffers(), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=1e-5)


SHORT = np.stack([noise(4000), noise(4000, seed=1, level=0.3)])


def taught(
    model: torch.nn.Module, *more: torch.Tensor, precision: torch.dtype = torch.float32, exact: bool = False
) -> dict[str, torch.Tensor]:
    """Gradients after a step on two clips of a quarter of a second, but for that of sof's bias, which is rounding
    alone: softmax takes shifts out. more: their lengths."""
    pcm = torch.from_numpy(SHORT).to(torch.float64 if exact else torch.float32)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        answered = model.train()(pcm, *more)
    (answered.double() * torch.tensor([[1.0, 2.0, -1.0], [-2.0, 1.0, 3.0]])).sum().backward()
    named = {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}
    return {name: gradient for name, gradient in named.items() if name != "attention.sof.bias"}


def furthest(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    assert found.keys() == wanted.keys()
    return max(float((found[name] - wanted[name]).abs().max() / wanted[name].abs().max()) for name in wanted)


@pytest.fixture
def packing(monkeypatch):
    """oneDNN's layout wherever it is possible, on any processor; counts how often."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    called = Mock(side_effect=Vgg7._packed)
    monkeypatch.setattr(wav2small, "packs", lambda _: True)
    monkeypatch.setattr(Vgg7, "_packed", lambda *arguments: called(*arguments))
    return called


#: Full lengths make a mask that lets everything through, which oneDNN's layout does not know.
FULL = torch.tensor([4000, 4000])


def test_training_in_onednn_s_layout_is_that_of_double_precision(packing):
    """Nearer than torch's own layout is, whose batch norm adds up in single precision."""
    torch.manual_seed(2)
    model, exact = Wav2Small(), PlainWav2Small().double()
    exact.load_state_dict(model.state_dict())
    before = packing.call_count
    wanted, found = taught(exact, exact=True), taught(model)
    assert furthest(found, wanted) < 0.03 and packing.call_count == before + 1
    for name, statistic in exact.named_buffers():  # of so few values, the biased variance would be 6e-4 smaller
        assert (dict(model.named_buffers())[name] - statistic).abs().max() <= 3e-5 * statistic.abs().max(), name


@pytest.mark.parametrize("kind", [Wav2Small, Wav2Small17K])
def test_both_layouts_teach_the_same(packing, kind):
    one, other = taught(drawn(kind)), taught(drawn(kind), FULL)
    assert furthest(one, other) < 0.03


def test_bfloat16_is_as_near_in_onednn_s_layout_as_in_torch_s(packing):
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("oneDNN multiplies in bfloat16 from AVX-512 on")
    wanted = taught(drawn(Wav2Small))
    near, nearer = (taught(drawn(Wav2Small), *more, precision=torch.bfloat16) for more in ((FULL,), ()))
    assert furthest(nearer, wanted) < 1.3 * furthest(near, wanted)
    joined = [torch.cat([gradient.flatten() for gradient in side.values()]) for side in (nearer, wanted)]
    assert F.cosine_similarity(*joined, dim=0) > 0.97


def test_onednn_s_layout_is_for_processors_that_have_its_kernels(monkeypatch):
    image = torch.zeros(1, 1, 4, 4)
    for vectors, in_float, in_bfloat in (("AVX512", True, True), ("AVX2", True, False), ("DEFAULT", False, False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda vectors=vectors: vectors)
        assert wav2small.packs(image) is in_float
        with torch.autocast("cpu", torch.bfloat16):
            assert wav2small.packs(image) is in_bfloat
    assert not wav2small.packs(image.to("meta"))
