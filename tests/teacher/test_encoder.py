"""Our forward of the large encoders against that of transformers, over the same tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

from teacher.published.encoder import OwnEncoder, buckets, can_compute, with_own_encoders
from teacher.published.network import WAVLM_LARGE, encoded, mask_of
from teacher.published.products import Packed, Plain, can_pack, multiplies_bfloat16, product
from tests.teacher.checkpoints import SMALL

#: Samples; from 12 frames, fewer than the positional convolution is wide, to 187, more than a piece of features.
LENGTHS = (4000, 16000, 23456, 37777, 60000)
TOLERANCE = 1e-4
KINDS = ("wavlm", "wav2vec2")

Make = Callable[..., Any]


@cache
def made(kind: str) -> Any:
    """A small encoder of transformers, every tensor drawn: biases and gates that stand at 0 and 1 hide faults."""
    config, model = {"wavlm": (WavLMConfig, WavLMModel), "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model)}[kind]
    sizes = {**SMALL, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": kind == "wav2vec2"}
    torch.manual_seed(3)
    encoder = model(config(**sizes)).eval().requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def own(kind: str, dtype: torch.dtype = torch.float32) -> OwnEncoder:
    return OwnEncoder(copy.deepcopy(made(kind)), dtype)


def clips() -> tuple[Tensor, Tensor]:
    """Noise of unit variance, zero behind each length; none fills the batch."""
    lengths = torch.tensor(LENGTHS)
    noise = torch.randn(len(LENGTHS), max(LENGTHS) + 321, generator=torch.Generator().manual_seed(4))
    return torch.where(mask_of(lengths, noise.shape[1]), noise, 0.0), lengths


@torch.inference_mode()
def off(kind: str, encoder: OwnEncoder, signals: Tensor, lengths: Tensor) -> float:
    """The largest difference of any hidden state from the library's, within the clips."""
    wanted, mask = encoded(made(kind), signals, lengths, layers=True)
    given, same_mask = encoded(encoder, signals, lengths, layers=True)
    assert torch.equal(mask, same_mask) and len(given) == len(wanted) == SMALL["num_hidden_layers"] + 1
    return max(float((one - other)[mask].abs().max()) for one, other in zip(given, wanted, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_hidden_state_is_the_library_s_alone(kind: str) -> None:
    (signals, _), encoder = clips(), own(kind)
    for row, samples in enumerate(LENGTHS):
        assert off(kind, encoder, signals[row : row + 1, :samples], torch.tensor([samples])) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_every_hidden_state_is_the_library_s_in_a_padded_batch(kind: str) -> None:
    assert off(kind, own(kind), *clips()) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_alone_is_the_last_of_all(kind: str) -> None:
    encoder, (signals, lengths) = own(kind), clips()
    with torch.inference_mode():
        last, _ = encoded(encoder, signals, lengths)
        every, _ = encoded(encoder, signals, lengths, layers=True)
    assert torch.equal(last, every[-1]) and last.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_without_packed_weights_it_is_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU, or a processor that oneDNN does not know, computes with."""
    monkeypatch.setattr("teacher.published.products.can_pack", lambda device: False)
    assert off(kind, own(kind), *clips()) < TOLERANCE


@pytest.mark.skipif(not multiplies_bfloat16(torch.device("cpu")), reason="this processor does not multiply in bfloat16")
@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_close_and_is_not_float32(kind: str) -> None:
    signals, lengths = clips()
    with torch.inference_mode():
        wanted, mask = encoded(made(kind), signals, lengths)
        given, _ = encoded(own(kind, torch.bfloat16), signals, lengths)
    relative = float((given - wanted)[mask].square().mean().sqrt() / wanted[mask].square().mean().sqrt())
    assert 1e-4 < relative < 0.05 and given.dtype == torch.float32


def test_a_fault_in_the_position_bias_would_be_seen() -> None:
    """The comparison hears the bias, its direction and its gate."""
    faults: list[Callable[[Any], object]] = [
        lambda attention: attention.rel_attn_embed.weight.zero_(),
        lambda attention: attention.rel_attn_embed.weight.copy_(attention.rel_attn_embed.weight.roll(160, 0)),
        lambda attention: attention.gru_rel_pos_const.add_(1),
    ]
    for fault in faults:
        other = copy.deepcopy(made("wavlm"))
        fault(other.encoder.layers[0].attention)
        assert off("wavlm", OwnEncoder(other), *clips()) > 20 * TOLERANCE


def test_buckets_are_the_library_s_at_every_distance() -> None:
    distances = torch.arange(-3000, 3001)
    wanted = made("wavlm").encoder.layers[0].attention._relative_positions_bucket(distances)
    assert torch.equal(buckets(distances, 320, 800), wanted)


def test_a_layer_s_weights_are_held_once() -> None:
    encoder = copy.deepcopy(made("wavlm"))
    before = sum(parameter.numel() for parameter in encoder.encoder.layers.parameters())
    assert before > 0
    OwnEncoder(encoder)
    assert sum(parameter.numel() for parameter in encoder.encoder.layers.parameters()) == 0


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_packed_product_is_the_plain_one(gelu: bool, biased: bool) -> None:
    if not can_pack(torch.device("cpu")):
        pytest.skip("nothing is packed on this processor")
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 7, 24), torch.randn(40, 24), torch.randn(40) if biased else None
    packed = product(weight, bias, torch.float32, gelu=gelu)
    assert isinstance(packed, Packed)
    torch.testing.assert_close(packed(x), Plain(weight, bias, gelu)(x), atol=1e-4, rtol=1e-5)
    overlapping = x.contiguous().as_strided((2, 6, 24), (168, 12, 1))
    torch.testing.assert_close(packed(overlapping), Plain(weight, bias, gelu)(overlapping), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "change", [{"do_stable_layer_norm": False}, {"feat_extract_norm": "group"}, {"hidden_act": "relu"},
               {"add_adapter": True}],
)  # fmt: skip
def test_other_layouts_are_left_to_the_library(change: dict[str, Any]) -> None:
    sizes = {**SMALL, "num_hidden_layers": 1, "feat_extract_norm": "layer", "do_stable_layer_norm": True, **change}
    network = torch.nn.ModuleDict({"encoder": WavLMModel(WavLMConfig(**sizes))})
    assert not can_compute(network["encoder"]) and with_own_encoders(network) == 0
    assert can_compute(made("wavlm")) and can_compute(made("wav2vec2")) and not can_compute(torch.nn.Linear(1, 1))


@pytest.mark.long
def test_full_size_states_are_the_library_s() -> None:
    """WavLM-large with random weights, 5 s: float32 within 1e-4, bfloat16, where the processor has it, within 3 %."""
    torch.manual_seed(0)
    encoder = WavLMModel(WavLMConfig(**WAVLM_LARGE)).eval().requires_grad_(False)
    signals, lengths = torch.randn(2, 80_000), torch.tensor([80_000, 61_234])
    signals = torch.where(mask_of(lengths, 80_000), signals, 0.0)
    with torch.inference_mode():
        wanted, mask = encoded(encoder, signals, lengths)
        tried = {torch.float32: 1e-5} | ({torch.bfloat16: 0.03} if multiplies_bfloat16(torch.device("cpu")) else {})
        for dtype, tolerance in tried.items():
            given, _ = encoded(OwnEncoder(copy.deepcopy(encoder), dtype), signals, lengths)
            assert float((given - wanted)[mask].norm() / wanted[mask].norm()) < tolerance
            if dtype == torch.float32:
                assert float((given - wanted)[mask].abs().max()) < TOLERANCE
