"""Backbones: the same states as transformers gives, whatever stands behind a clip, and nothing loaded by halves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import HubertModel, Wav2Vec2Model, WavLMModel, WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from distill.errors import DistillError
from teacher.tuning.backbone import Backbone, find_backbone, open_backbone
from tests.teacher.checkpoints import clips
from tests.teacher.tuning import backbones

SAMPLES = (16_000, 11_000)
MODELS = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel, "wavlm": WavLMModel}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return {kind: backbones.write(kind, root / kind) for kind in backbones.KINDS}


def opened(folder: Path) -> Backbone:
    return open_backbone(find_backbone(str(folder)))


def signals() -> list[Tensor]:
    return [torch.from_numpy(clip[:count]) for clip, count in zip(clips()[: len(SAMPLES)], SAMPLES, strict=True)]


@torch.inference_mode()
def states(backbone: Backbone, clip: Tensor) -> list[Tensor]:
    return backbone(clip[None], torch.tensor([len(clip)]))[0]


@torch.inference_mode()
def by_transformers(kind: str, folder: Path, clip: Tensor) -> tuple[Tensor, ...]:
    if kind == "whisper":
        config = WhisperConfig(**json.loads((folder / "config.json").read_text()))
        encoder = WhisperEncoder(config).eval()
        prefix = "model.encoder."
        tensors = load_file(folder / "model.safetensors").items()
        encoder.load_state_dict({name.removeprefix(prefix): x for name, x in tensors if name.startswith(prefix)})
        features = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
        heard = features(clip.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
        answer = encoder(heard, output_hidden_states=True)
    else:
        model = MODELS[kind.partition("-")[0]].from_pretrained(folder).eval()
        scaled = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
        answer = model(scaled[None], output_hidden_states=True)
    return (*answer.hidden_states[:-1], answer.last_hidden_state)


@pytest.mark.parametrize("kind", backbones.KINDS)
def test_every_layer_hears_what_it_hears_in_transformers(kind: str, folders: dict[str, Path]) -> None:
    for clip in signals():
        ours, theirs = states(opened(folders[kind]), clip), by_transformers(kind, folders[kind], clip)
        assert len(ours) == len(theirs) == 3
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", backbones.KINDS)
def test_what_stands_behind_a_clip_changes_nothing(kind: str, folders: dict[str, Path]) -> None:
    backbone, given = opened(folders[kind]), signals()
    batch = torch.full((2, 16_000), torch.nan)
    for row, clip in zip(batch, given, strict=True):
        row[: len(clip)] = clip
    with torch.inference_mode():
        together, mask = backbone(batch, torch.tensor(SAMPLES))
    for index, clip in enumerate(given):
        frames = int(mask[index].sum())
        for one, other in zip(together, states(backbone, clip), strict=True):
            torch.testing.assert_close(one[index, :frames], other[0, :frames], atol=2e-5, rtol=1e-4)


def test_level_is_heard_where_the_published_configuration_does_not_divide_it_out(tmp_path: Path) -> None:
    clip = signals()[0]
    kept = opened(backbones.write("wavlm", tmp_path / "kept", normalises=False))
    divided = opened(backbones.write("wavlm", tmp_path / "divided"))
    assert not torch.allclose(states(kept, clip)[-1], states(kept, 0.1 * clip)[-1], atol=0.1, rtol=0)
    torch.testing.assert_close(states(divided, clip)[-1], states(divided, 0.1 * clip)[-1], atol=1e-2, rtol=0)


def test_older_files_and_newer_ones_are_the_same_backbone(tmp_path: Path) -> None:
    clip = signals()[0]
    old = opened(backbones.write("hubert", tmp_path / "old", form="bin"))
    new = opened(backbones.write("hubert", tmp_path / "new"))
    assert torch.equal(states(old, clip)[-1], states(new, clip)[-1])


@pytest.mark.parametrize("kind", backbones.FAMILIES)
def test_a_tensor_more_or_less_is_named(kind: str, tmp_path: Path) -> None:
    folder = backbones.write(kind, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("layers.1.final_layer_norm.weight"))
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(DistillError, match=r"layers\.1\.final_layer_norm\.weight is missing"):
        opened(folder)
    stem = lost.partition("layers.1")[0]
    save_file({**tensors, f"{stem}layers.9.unheard": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(DistillError, match=r"layers\.9\.unheard does not belong"):
        opened(folder)


def test_nothing_of_a_backbone_learns_by_itself(folders: dict[str, Path]) -> None:
    assert not any(parameter.requires_grad for parameter in opened(folders["wavlm"]).parameters())


def test_what_is_no_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no such folder, and no hub id"):
        find_backbone("nowhere at all")
    other = backbones.write("hubert", tmp_path / "bert", model_type="bert")
    with pytest.raises(DistillError, match="'bert' is no backbone; there are wav2vec2, hubert, wavlm, whisper"):
        find_backbone(str(other))
    odd = backbones.write("hubert", tmp_path / "odd", conv_pos_batch_norm=True)
    with pytest.raises(DistillError):
        opened(odd)
    big = backbones.write("hubert", tmp_path / "big", hidden_size=65)
    with pytest.raises(DistillError, match=r"config\.json"):
        opened(big)


def test_fewer_layers_are_what_the_first_layers_are(folders: dict[str, Path]) -> None:
    whole, pruned = opened(folders["hubert-base"]), opened(folders["hubert-base"])
    pruned.keep_first(1)
    clip = signals()[0]
    np.testing.assert_array_equal(states(pruned, clip)[-1], states(whole, clip)[1])
    with pytest.raises(DistillError, match="has 1 layers, not 2"):
        pruned.keep_first(2)


def test_states_computed_again_for_the_gradients_give_the_same_gradients(folders: dict[str, Path]) -> None:
    found = []
    for again in (False, True):
        backbone = opened(folders["wavlm"])
        backbone.blocks.requires_grad_(True)
        backbone.checkpointing = again
        last, _ = backbone(signals()[0][None], torch.tensor([SAMPLES[0]]))
        last[-1].square().mean().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in backbone.blocks.parameters()]))
    torch.testing.assert_close(*found)
