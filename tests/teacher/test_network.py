"""What the networks of the published teachers share: nothing behind a clip's length ever counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Wav2Vec2Config, WavLMConfig

from distill.errors import DistillError
from teacher.arithmetic import flops, product_rate
from teacher.published import products
from teacher.published.network import WAVLM_LARGE, frames_of, mask_of, masked_mean, normalised, sized
from teacher.published.odyssey import AttentiveStatistics, Head
from teacher.published.products import Packed, Plain, multiplies_bfloat16, product
from teacher.published.vox_profile import Network as VoxProfile
from teacher.published.weights import placed

NAN = float("nan")
CPU = torch.device("cpu")


def test_a_mask_ends_with_each_clip() -> None:
    assert mask_of(torch.tensor([0, 2, 9]), 3).int().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_a_clip_is_normalised_as_if_it_were_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    clip = 0.3 + 0.1 * torch.randn(1, 50, generator=generator)
    together = torch.full((2, 80), NAN)
    together[0, :50], together[1] = clip, torch.linspace(-1, 1, 80)
    both = normalised(together, torch.tensor([50, 80]))
    torch.testing.assert_close(both[:1, :50], normalised(clip, torch.tensor([50])))
    assert (
        not both[0, 50:].any() and both[0, :50].mean().abs() < 1e-5 and both[0, :50].std() == pytest.approx(1, abs=0.02)
    )


def test_a_clip_without_variance_stays_finite() -> None:
    assert not normalised(torch.full((1, 9), 0.5), torch.tensor([9])).any()


def test_a_mean_over_time_leaves_the_padding_out() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [NAN, NAN]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("samples", [400, 401, 799, 16_000, 16_321])
def test_frames_are_those_that_the_convolutions_make(samples: int) -> None:
    config = SimpleNamespace(conv_kernel=(10, 3, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2))
    layers = [nn.Conv1d(1, 1, k, s) for k, s in zip(config.conv_kernel, config.conv_stride, strict=True)]
    made = nn.Sequential(*layers)(torch.zeros(1, 1, samples)).shape[-1]
    assert frames_of(torch.tensor([samples]), config).tolist() == [made]


def test_sizes_are_the_published_ones_but_for_what_a_checkpoint_says() -> None:
    made = sized(WavLMConfig, WAVLM_LARGE, {"hidden_size": 64, "num_attention_heads": 4, "classifier_dropout": 0.5})
    assert (made.hidden_size, made.num_hidden_layers, made.intermediate_size) == (64, 24, 4096)
    with pytest.raises(DistillError, match="feat_extract_norm 'group': padding would move its answers"):
        sized(Wav2Vec2Config, {}, {"feat_extract_norm": "group"})


def test_attention_pools_what_lies_within_the_clip() -> None:
    torch.manual_seed(0)
    pool = AttentiveStatistics(4).eval()
    nn.init.normal_(pool.attention)
    x = torch.randn(1, 7, 4)
    padded = torch.cat([x, torch.full((1, 3, 4), NAN)], dim=1)
    torch.testing.assert_close(pool(padded, mask_of(torch.tensor([7]), 10)), pool(x, mask_of(torch.tensor([7]), 7)))
    still = pool(torch.ones(1, 5, 4), mask_of(torch.tensor([5]), 5))
    torch.testing.assert_close(still, torch.tensor([[1.0] * 4 + [1e-5**0.5] * 4]))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_a_head_has_as_many_hidden_layers_as_the_checkpoint_says(layers: int) -> None:
    head = Head(6 if layers else 4, 4, layers)
    assert len(head.fc) == layers and head(torch.zeros(2, 6 if layers else 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"pretrain_model": "whisper_large"}, "pretrain_model 'whisper_large': only the published 'wavlm_large' is read"),
     ({"use_conv_output": False}, "use_conv_output False"), ({"predict_gender": True}, "predict_gender True")],
)  # fmt: skip
def test_another_variant_of_a_published_model_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(DistillError, match=said):
        VoxProfile.build(config)


LAYER = "backbone_model.encoder.layers.0.feed_forward.output_dense"


def update(rank: int = 2, *, wide: int = 3, layer: str = LAYER) -> dict[str, torch.Tensor]:
    return {f"{layer}.weight": torch.ones(4, 3), f"{layer}.lora_A": torch.full((rank, wide), 2.0),
            f"{layer}.lora_B": torch.full((4, rank), 3.0), "other": torch.zeros(1)}  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2, 8])
def test_a_low_rank_update_is_added_over_its_rank(rank: int) -> None:
    given = update(rank)
    merged = VoxProfile.arranged(given, {})
    assert set(merged) == {f"{LAYER}.weight", "other"} and f"{LAYER}.lora_A" in given
    torch.testing.assert_close(merged[f"{LAYER}.weight"], torch.full((4, 3), 7.0))  # 1 + 2 x 3, whatever the rank


@pytest.mark.parametrize(
    "tensors",
    [update(wide=5), update(layer="backbone_model.encoder.layers.0.attention.k_proj"),
     {f"{LAYER}.lora_A": torch.ones(2, 3), f"{LAYER}.lora_B": torch.ones(4, 2)}],
)  # fmt: skip
def test_a_low_rank_update_that_fits_nothing_is_named(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(DistillError, match=r"the tensor .*lora_A fits no .*lora_B and weight of a feed-forward layer"):
        VoxProfile.arranged(tensors, {})


def test_a_network_is_placed_ready_to_answer_and_not_to_learn(tmp_path: Any) -> None:
    state = {"weight": torch.eye(2), "bias": torch.zeros(2)}
    network = placed(lambda: nn.Linear(2, 2), tmp_path / "model.safetensors", state)
    assert not network.training and not any(one.requires_grad for one in network.parameters())
    assert network(torch.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0]]


# Products ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gelu", [True, False])
def test_where_weights_cannot_be_packed_the_product_is_torch_s(monkeypatch: pytest.MonkeyPatch, gelu: bool) -> None:
    weight, bias, x = torch.randn(3, 4), torch.randn(3), torch.randn(2, 5, 4)
    packed = product(weight, bias, torch.float32, gelu=gelu)
    monkeypatch.setattr(products, "can_pack", lambda device: False)
    plain = product(weight, bias, torch.float32, gelu=gelu)
    assert isinstance(plain, Plain) and plain(x).shape == (2, 5, 3)
    torch.testing.assert_close(plain(x), packed(x), atol=1e-5, rtol=1e-5)
    expected = nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(plain(x), nn.functional.gelu(expected) if gelu else expected)


@pytest.mark.parametrize(("machine", "packs"), [("x86_64", True), ("AMD64", True), ("aarch64", False)])
def test_weights_are_packed_where_that_was_tried(monkeypatch: pytest.MonkeyPatch, machine: str, packs: bool) -> None:
    monkeypatch.setattr(products.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert products.can_pack(CPU) == packs and not products.can_pack(torch.device("meta"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert multiplies_bfloat16(CPU) == packs
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert not multiplies_bfloat16(CPU)


@pytest.mark.parametrize(("capability", "does"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_multiplies_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], does: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert multiplies_bfloat16(torch.device("cuda", 0)) is does


def test_a_packed_product_does_not_follow_its_weights() -> None:
    weight = torch.eye(4)
    multiply = product(weight, None, torch.float32)
    before = multiply(torch.ones(1, 4)).clone()
    if isinstance(multiply, Packed):
        weight.zero_()
    assert multiply(torch.ones(1, 4)).tolist() == before.tolist() == [[1.0] * 4]


# Arithmetic ----------------------------------------------------------------------------------------------------------


def test_operations_grow_with_layers_length_and_width() -> None:
    small = {**WAVLM_LARGE, "num_hidden_layers": 2}
    one, two, none = (flops({**small, "num_hidden_layers": layers}, 2.0) for layers in (1, 2, 0))
    assert two - one == one - none > 0
    assert flops(small, 4.0) > 2 * flops(small, 2.0), "attention grows with the square of the length"
    assert flops({**small, "intermediate_size": 8192}, 2.0) - two == 2 * 2 * 99 * 2 * 1024 * 4096


def test_a_rate_is_operations_over_the_median_time() -> None:
    assert 1e6 < product_rate(torch.float32, CPU, repeats=3, side=64) < 1e15
