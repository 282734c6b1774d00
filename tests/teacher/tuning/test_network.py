"""Methods, merging, pooling, heads: as published, by references of plain functions; what learns has a gradient."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distill.annotation import AXES
from distill.errors import DistillError
from teacher.tuning.backbone import Backbone, backbone_of
from teacher.tuning.design import Design, design_of
from teacher.tuning.merging import AttentiveMerge, Weighted
from teacher.tuning.methods import LORA_ALPHA, LORA_RANK, Adapter, count, learning
from teacher.tuning.network import TunedNetwork
from teacher.tuning.options import HEADS, METHODS, POOLINGS
from teacher.tuning.pooling import Attention, pooling_of
from tests.teacher.tuning import backbones

WAVLM_BASE_PLUS = {
    "model_type": "wavlm", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "conv_dim": [512] * 7,
}  # fmt: skip


def network(kind: str, method: str, *, seed: int = 0, **options: Any) -> TunedNetwork:
    torch.manual_seed(seed)
    config = backbones.config(kind)
    return TunedNetwork(design_of(method, top=1, **options), backbone_of(config))


def moved(module: torch.nn.Module) -> None:
    """What starts at zero, and would hide what stands before it, elsewhere."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in learning(module).values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 8_000, generator=torch.Generator().manual_seed(1)), torch.tensor([8_000, 5_000])


# --- what learns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*backbones.FAMILIES, "wavlm-base"])
@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_that_learns_has_a_gradient_and_no_other(kind: str, method: str) -> None:
    tuned = network(kind, method).train()
    moved(tuned)
    tuned(*batch()).square().sum().backward()
    learned = learning(tuned)
    assert learned
    for name, parameter in tuned.named_parameters():
        if name not in learned:
            assert parameter.grad is None, name
        elif not name.endswith("k_proj.bias"):  # the softmax of attention does not change by it
            assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 1e-9), name


@pytest.mark.parametrize(("layers", "pooling", "head"), list(itertools.product(
    ("last", "weighted", "attentive-merge", "first:1"), POOLINGS, HEADS
)))  # fmt: skip
def test_so_has_every_tensor_of_the_head(layers: str, pooling: str, head: str) -> None:
    tuned = network(
        "hubert", "head", layers=layers, pooling=pooling, head=head, classes=(("category", ("anger", "joy")),)
    )
    answers = tuned.train()(*batch())
    assert answers.shape == (2, 5)
    answers.square().sum().backward()
    for name, parameter in learning(tuned).items():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
    assert not any(name.startswith("backbone.") for name in learning(tuned))


def test_as_many_numbers_learn_as_the_paper_counts() -> None:
    """PEFT-SER on WavLM base+: LoRA 1.47 M, adapter 2.37 M, prompt 46 K, head 0.40 M."""
    found = {}
    for method in ("lora", "adapter", "adapter-sequential", "prompt", "head"):
        with torch.device("meta"):
            tuned = TunedNetwork(design_of(method), backbone_of(WAVLM_BASE_PLUS))
        found[method] = count(tuned.backbone), count(tuned) - count(tuned.backbone)
    assert {method: in_backbone for method, (in_backbone, _) in found.items()} == {
        "lora": 1_474_560, "adapter": 2_370_048, "adapter-sequential": 2_370_048, "prompt": 46_080, "head": 0,
    }  # fmt: skip
    assert {round(head / 1e6, 2) for _, head in found.values()} == {0.40}


def test_the_whole_backbone_learns_but_its_convolutions_and_of_it_in_part_the_top() -> None:
    full = learning(network("wavlm", "full").backbone)
    assert not any(name.startswith("feature_extractor") for name in full)
    assert {"feature_projection.projection.weight", "blocks.0.attention.rel_attn_embed.weight"} <= set(full)
    assert not {"conv1.weight", "embed_positions.weight"} & set(learning(network("whisper", "full").backbone))
    part = learning(network("wavlm", "partial").backbone)
    assert {name.partition(".")[0] for name in part} == {"blocks", "norm"}
    assert {name.split(".")[1] for name in part if name.startswith("blocks")} == {"1"}
    assert not any(name.startswith("norm") for name in learning(network("wavlm-base", "partial").backbone))


@pytest.mark.parametrize("method", ["lora", "adapter", "adapter-sequential"])
def test_before_it_has_learned_a_method_changes_no_state(method: str) -> None:
    signals = batch()
    plain, tuned = network("wavlm", "head").eval(), network("wavlm", method).eval()
    for one, other in zip(plain.backbone(*signals)[0], tuned.backbone(*signals)[0], strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_backbone_answers_in_training_as_it_does_after_it() -> None:
    """Its own dropout would make of the same clip another one in every step."""
    tuned = network("hubert", "head").train()
    torch.testing.assert_close(tuned.backbone(*batch())[0][-1], tuned.backbone(*batch())[0][-1])
    assert network("hubert", "full").train().backbone.training


# --- as published ----------------------------------------------------------------------------------------------------


def tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in module.state_dict().items()}


def test_attentive_statistics_are_the_published_ones() -> None:
    pool = pooling_of("attentive-stats", 12)
    moved(pool)
    x = torch.randn(9, 12)
    w = {name.removeprefix("statistics."): value for name, value in tensors(pool).items()}
    share = F.softmax(torch.tanh(F.linear(x, w["sap_linear.weight"], w["sap_linear.bias"])) @ w["attention"], dim=0)
    mean = (share * x).sum(0)
    deviation = ((share * x**2).sum(0) - mean**2).clamp(min=1e-5).sqrt()
    padded = torch.cat([x, torch.full((3, 12), torch.nan)])[None]
    mask = torch.arange(12)[None] < 9
    torch.testing.assert_close(pool(torch.where(mask[..., None], padded, 9.0), mask)[0], torch.cat([mean, deviation]),
                               atol=1e-5, rtol=1e-5)  # fmt: skip


def test_the_gate_of_attentive_merging_is_the_published_one() -> None:
    merge = AttentiveMerge(layers=4, width=12)
    moved(merge)
    heard = [torch.randn(9, 12) for _ in range(5)]
    w = tensors(merge)
    mean = torch.stack([layer.mean(0) for layer in heard[1:]])
    one_a_layer = F.silu(F.linear(mean, w["squeeze.weight"], w["squeeze.bias"]))[:, 0]
    inner = F.silu(F.linear(one_a_layer, w["inner.weight"], w["inner.bias"]))
    gates = torch.sigmoid(F.linear(inner, w["outer.weight"], w["outer.bias"]))
    assert gates.shape == (4,)
    expected = sum(gate * layer for gate, layer in zip(gates, heard[1:], strict=True))
    mask = torch.ones(1, 9, dtype=torch.bool)
    torch.testing.assert_close(merge([layer[None] for layer in heard], mask)[0], expected, atol=1e-5, rtol=1e-5)


def test_an_utterance_sets_its_gates_by_itself() -> None:
    merge = AttentiveMerge(layers=2, width=4)
    moved(merge)
    one, other = torch.randn(1, 5, 4), torch.randn(1, 5, 4)
    mask = torch.ones(2, 5, dtype=torch.bool)
    gates = merge.gates([torch.cat([one, other])] * 2, mask)
    assert not torch.allclose(gates[0], gates[1])
    torch.testing.assert_close(gates[:1], merge.gates([one] * 2, mask[:1]))


def test_a_weighted_sum_begins_as_the_mean_of_all_states() -> None:
    states = [torch.full((1, 2, 3), float(value)) for value in (0, 3, 6)]
    assert Weighted(2)(states, torch.ones(1, 2, dtype=torch.bool)).unique().item() == pytest.approx(3)


def test_attention_pooling_hears_what_it_scores() -> None:
    pool = Attention(2)
    with torch.no_grad():
        pool.score.weight.copy_(torch.tensor([[50.0, 0.0]]))
    x = torch.tensor([[[0.0, 1.0], [1.0, 2.0], [9.0, 3.0]]])
    torch.testing.assert_close(pool(x, torch.tensor([[True, True, False]])), torch.tensor([[1.0, 2.0]]))


def test_the_adapter_is_the_published_one() -> None:
    adapter = Adapter(12)
    moved(adapter)
    x, w = torch.randn(5, 12), tensors(adapter)
    expected = 0.1 * F.linear(F.relu(F.linear(x, w["down.weight"], w["down.bias"])), w["up.weight"], w["up.bias"])
    torch.testing.assert_close(adapter(x), expected, atol=1e-5, rtol=1e-5)


def attended(w: dict[str, Tensor], x: Tensor, heads: int) -> Tensor:
    q, k, v = (F.linear(x, w[f"attention.{name}_proj.weight"], w[f"attention.{name}_proj.bias"])
               .reshape(len(x), heads, -1).transpose(0, 1) for name in "qkv")  # fmt: skip
    together = F.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1) @ v
    mixed = together.transpose(0, 1).reshape(len(x), -1)
    return F.linear(mixed, w["attention.out_proj.weight"], w["attention.out_proj.bias"])


def normed(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def fed(w: dict[str, Tensor], x: Tensor, method: str) -> Tensor:
    """The feed-forward layer with what the method puts there."""
    stem = "feed_forward.feed_forward" if method.startswith("adapter") else "feed_forward"

    def linear(name: str, x: Tensor) -> Tensor:
        if method != "lora":
            return F.linear(x, w[f"{stem}.{name}.weight"], w[f"{stem}.{name}.bias"])
        layer = f"{stem}.{name}"
        update = F.linear(F.linear(x, w[f"{layer}.lora_A.default.weight"]), w[f"{layer}.lora_B.default.weight"])
        return F.linear(x, w[f"{layer}.base_layer.weight"], w[f"{layer}.base_layer.bias"]) + update / 16

    answer = linear("output_dense", F.gelu(linear("intermediate_dense", x)))
    if not method.startswith("adapter"):
        return answer
    given = answer if method == "adapter-sequential" else x
    inner = F.relu(F.linear(given, w["feed_forward.adapter.down.weight"], w["feed_forward.adapter.down.bias"]))
    return answer + 0.1 * F.linear(inner, w["feed_forward.adapter.up.weight"], w["feed_forward.adapter.up.bias"])


def layer(w: dict[str, Tensor], x: Tensor, method: str, *, stable: bool, heads: int) -> Tensor:
    prompt = w["prompt"] if method == "prompt" else x[:0]
    x = torch.cat([prompt, x])
    x = x + attended(w, normed(w, "norm", x) if stable else x, heads)
    if stable:
        x = x + fed(w, normed(w, "final_norm", x), method)
    else:
        x = normed(w, "norm", x)
        x = normed(w, "final_norm", x + fed(w, x, method))
    return x[len(prompt) :]


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert-base"])
@pytest.mark.parametrize("method", ["prompt", "adapter", "adapter-sequential", "lora", "head"])
def test_a_layer_with_what_a_method_adds_is_the_published_one(kind: str, method: str) -> None:
    assert (LORA_ALPHA, LORA_RANK) == (1, 16)
    tuned = network(kind, method).eval()
    moved(tuned)
    block = tuned.backbone.blocks[0]
    x = torch.randn(7, 64)
    expected = layer(tensors(block), x, method, stable=not kind.endswith("-base"), heads=4)
    torch.testing.assert_close(block(x[None], None)[0][0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2-base", "whisper"])
def test_what_stands_behind_a_clip_changes_no_answer(kind: str, method: str) -> None:
    tuned = network(kind, method, pooling="attentive-stats", layers="attentive-merge").eval()
    moved(tuned)
    signals, lengths = batch()
    signals[1, 5_000:] = torch.nan
    with torch.inference_mode():
        torch.testing.assert_close(tuned(signals, lengths)[1:], tuned(signals[1:, :5_000]), atol=2e-5, rtol=1e-4)


# --- options ---------------------------------------------------------------------------------------------------------


def test_an_axis_that_nobody_rated_is_not_answered() -> None:
    tuned = network("hubert", "head", axes=("arousal", "valence"), classes=(("category", ("anger", "joy")),))
    assert torch.isnan(tuned(*batch())).tolist() == [[False, True, False, False, False]] * 2
    assert tuned.head.each[0].out_features == 4


@pytest.mark.parametrize("options", [
    {"layers": "first"}, {"layers": "first:0"}, {"layers": "last:x"}, {"layers": "all"}, {"pooling": "max"},
    {"head": "big"}, {"top": 0},
])  # fmt: skip
def test_an_option_that_is_not_known_is_told(options: dict[str, Any]) -> None:
    with pytest.raises(DistillError, match="--"):
        design_of("partial", **options)


def test_a_backbone_with_too_few_layers_is_told() -> None:
    for options in ({"layers": "first:3"}, {"top": 3}):
        with pytest.raises(DistillError, match="the backbone has 2 layers"):
            TunedNetwork(design_of("partial", **options), small())


def test_an_axis_begins_at_the_mean_of_what_is_known_of_it() -> None:
    tuned = network("hubert", "head", axes=("arousal", "valence"), classes=(("category", ("anger", "joy")),))
    targets = torch.tensor([[0.2, torch.nan, 0.5, 1, 0], [0.6, torch.nan, torch.nan, torch.nan, torch.nan]])
    before = tuned.head.each[0].bias.detach().clone()
    tuned.start_near(targets)
    torch.testing.assert_close(tuned.head.each[0].bias[:2].detach(), torch.tensor([0.4, 0.5]))
    assert torch.equal(tuned.head.each[0].bias[2:], before[2:])


def test_pruned_layers_are_gone() -> None:
    tuned = network("wavlm", "full", layers="attentive-merge:1")
    assert len(tuned.backbone.blocks) == 1 and tuned.readouts[0].merge.outer.out_features == 1


def test_a_design_is_read_back_and_a_strange_one_refused() -> None:
    design = design_of("adapter", classes=(("category", ("anger", "joy")),), axes=AXES[:1])
    assert Design.from_dict(design.as_dict()) == design
    with pytest.raises(DistillError, match="cannot be read"):
        Design.from_dict({**design.as_dict(), "wings": 2})


def small() -> Backbone:
    return backbone_of(backbones.config("hubert"))
