"""The reference of the published teachers: its encoders against transformers, its checkpoints, its planted faults."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.teacher import checkpoints, reference
from tests.teacher.checkpoints import KINDS, LARGE, SMALL, WHISPER_LARGE, WHISPER_SMALL, clips

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")

PREFIXES = {"odyssey": "ssl_model", "audeering": "wav2vec2", "vox-profile": "backbone_model"}
LENGTHS = (16000, 5217, 40123)  # 49, 16 and 125 frames: within 80, all buckets are exact
OTHER, LONG = 15800, 64000
TOLERANCE = 1e-4
VISIBLE = 1e-2
NAMES = (*KINDS, "vox-profile with lora")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small checkpoint of each, by name."""
    return {
        name: checkpoints.write(kind_of(name), tmp_path_factory.mktemp("teacher") / name, lora=name not in KINDS)
        for name in NAMES
    }


@pytest.fixture(scope="module")
def right(written: dict[str, Path]) -> Callable[[str, int], np.ndarray]:
    """right(name, samples): faultless answers [6, 3] to other clips than those that the last layer was scaled by."""

    @cache
    def answers(name: str, samples: int) -> np.ndarray:
        return np.stack([reference.answer(kind_of(name), written[name], clip) for clip in clips(samples, seed=3)])

    return answers


def kind_of(name: str) -> str:
    return name.removesuffix(" with lora")


def encoder(kind: str, size: dict[str, Any]) -> torch.nn.Module:
    """The bare encoder of transformers, configured as published."""
    if kind == "meralion":
        config = transformers.WhisperConfig(**size)
        return transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    shared = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "mask_time_prob": 0.05}
    if kind == "audeering":
        return transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**size, **shared, conv_bias=True)).eval()
    return transformers.WavLMModel(transformers.WavLMConfig(**size, **shared)).eval()


def renamed(name: str) -> str:
    """The one renaming between the published files and today's modules."""
    today = "conv.parametrizations.weight.original"
    return name.replace("conv.weight_g", f"{today}0").replace("conv.weight_v", f"{today}1")


def loaded(name: str, folder: Path) -> tuple[torch.nn.Module, reference.Weights]:
    """transformers' encoder with the file's weights, strictly, and the weights."""
    config, weights = reference.read(folder)
    if name not in KINDS:
        weights = reference.merged(weights, config["lora_rank"])
    kind = kind_of(name)
    model = encoder(kind, checkpoints.sizes(kind))
    inner = reference.part(weights, PREFIXES.get(kind, "whisper.encoder"))
    model.load_state_dict(
        {renamed(key): value for key, value in inner.items() if not key.endswith(("lora_A", "lora_B"))}
    )
    return model, weights


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "meralion"])
def test_speech_encoders_agree_with_transformers(written, name, samples):
    model, weights = loaded(name, written[name])
    pcm = reference.per_clip(clips(samples)[0])
    with torch.inference_mode():
        theirs = model(pcm[None], output_hidden_states=True)
        ours = reference.hidden_states(weights, PREFIXES[kind_of(name)], pcm, heads=SMALL["num_attention_heads"])
        # transformers 5 collects the last one before the final norm; 4, which vox-profile was trained with, behind it.
        normed = model.encoder.layer_norm(theirs.hidden_states[-1])[0]
    assert len(ours) == len(theirs.hidden_states) == SMALL["num_hidden_layers"] + 1
    assert (ours[-1] - theirs.last_hidden_state[0]).abs().max() < TOLERANCE
    assert (ours[-1] - normed).abs().max() < TOLERANCE
    for one, other in zip(ours[:-1], theirs.hidden_states[:-1], strict=True):
        assert (one - other[0]).abs().max() < TOLERANCE * other.abs().max()


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("kind", PREFIXES)
def test_a_mask_hides_the_padding_and_the_fault_is_its_loss(written, kind):
    model, weights = loaded(kind, written[kind])
    pcm = reference.per_clip(clips()[0])
    batch = torch.nn.functional.pad(pcm, (0, 16000))[None]
    with torch.inference_mode():
        masked = model(batch, attention_mask=(torch.arange(32000) < 16000).long()[None]).last_hidden_state[0]
        lost = model(batch).last_hidden_state[0]
        heads = SMALL["num_attention_heads"]
        alone = reference.hidden_states(weights, PREFIXES[kind], pcm, heads=heads)[-1]
        padded = reference.hidden_states(weights, PREFIXES[kind], batch[0], heads=heads)[-1]
    assert (masked[: len(alone)] - alone).abs().max() < TOLERANCE
    assert (lost - padded).abs().max() < TOLERANCE
    assert (padded[: len(alone)] - alone).abs().max() > 0.1


@pytest.mark.parametrize("samples", [*LENGTHS, 70000])
def test_whisper_agrees_with_transformers(written, samples):
    model, weights = loaded("meralion", written["meralion"])
    positions = WHISPER_SMALL["max_source_positions"]
    extractor = transformers.WhisperFeatureExtractor(chunk_length=positions * 320 // 16000)
    pcm = clips(samples)[0]
    features = extractor(pcm, sampling_rate=16000, return_tensors="pt").input_features
    ours = reference.log_mel(pcm, positions)
    assert (ours - features[0]).abs().max() < TOLERANCE
    heads = WHISPER_SMALL["encoder_attention_heads"]
    with torch.inference_mode():
        theirs = model(features).last_hidden_state[0]
        assert (reference.whisper_states(weights, "whisper.encoder", ours, heads) - theirs).abs().max() < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_published_sizes_are_the_libraries(kind):
    """Every name but the two old ones, and every shape, at full size; nothing is allocated."""
    size = checkpoints.sizes(kind, full=True)
    prefix = PREFIXES.get(kind, "whisper.encoder")
    with torch.device("meta"):
        theirs = {f"{prefix}.{key}": tuple(value.shape) for key, value in encoder(kind, size).state_dict().items()}
    listed = checkpoints.shapes(kind, size)
    assert {renamed(key): shape for key, shape in listed.items() if key.startswith(f"{prefix}.")} == theirs
    old = {f"{prefix}.encoder.pos_conv_embed.conv.weight_{letter}" for letter in "gv"}
    assert listed.keys() - theirs.keys() >= (old if kind in PREFIXES else set())
    assert checkpoints.parameters(listed) == checkpoints.PARAMETERS.get(kind, checkpoints.parameters(listed))


def test_sizes_said_by_nobody_are_those_of_the_large_models():
    assert LARGE["hidden_size"] == WHISPER_LARGE["d_model"] == 1024
    assert "hidden_size" in checkpoints.config("odyssey", LARGE, full=True)
    assert "intermediate_size" not in checkpoints.config("odyssey", LARGE, full=True)
    assert "wavlm" not in checkpoints.config("vox-profile", LARGE, full=True)
    assert "d_model" not in checkpoints.config("meralion", WHISPER_LARGE, full=True)


def test_resolutions_are_what_float32_gives():
    kernels = torch.logspace(0, float(np.log10(16)), 4)
    assert tuple(int(kernel) for kernel in kernels) == checkpoints.RESOLUTIONS == reference.RESOLUTIONS


@pytest.mark.parametrize("name", NAMES)
def test_answers_differ_between_clips(right, name):
    adv = right(name, OTHER)
    assert adv.dtype == np.float32 and adv.shape == (6, 3)
    assert adv.std(0).min() > 0.05
    assert adv.min() > -0.5 and adv.max() < 1.5
    if kind_of(name) in reference.SIGMOID:
        assert adv.min() > 0.03 and adv.max() < 0.97


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (name, fault)
        for name in NAMES
        for fault in reference.FAULTS[kind_of(name)]
        if fault != "lora left out" or name not in KINDS
    ],
)
def test_each_fault_shows(written, right, name, fault):
    """In most clips: a clip that happens to have the fixed mean and deviation is the same without them."""
    samples = LONG if fault == "wrong bucket distance" else OTHER
    kind, folder, options = kind_of(name), written[name], {"fault": fault, "padded_to": 2 * samples}
    wrong = [reference.answer(kind, folder, clip, **options) for clip in clips(samples, seed=3)]
    moved = np.abs(np.stack(wrong) - right(name, samples)).max(1)
    assert np.median(moved) > VISIBLE, moved.round(4)


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_hold_the_same(written, tmp_path, kind):
    folder = checkpoints.write(kind, tmp_path / kind, form="bin")
    assert sorted(path.name for path in folder.glob("*model.*")) == ["pytorch_model.bin"]
    clip = clips()[0]
    moved = reference.answer(kind, folder, clip) - reference.answer(kind, written[kind], clip)
    assert np.abs(moved).max() < TOLERANCE


def test_odyssey_has_its_decoy(written):
    assert json.loads((written["odyssey"] / "preprocessor_config.json").read_text())["mean"] == 10
    assert json.loads((written["odyssey"] / "config.json").read_text())["mean"] == pytest.approx(-8.278621631819787e-05)


def test_refuses_what_it_does_not_know(written):
    clip = clips()[0]
    with pytest.raises(ValueError, match="no fault 'typo'"):
        reference.answer("odyssey", written["odyssey"], clip, fault="typo")
    with pytest.raises(ValueError, match="needs padded_to"):
        reference.answer("odyssey", written["odyssey"], clip, fault="lost mask")
    with pytest.raises(ValueError, match="has no LoRA to leave out"):
        reference.answer("vox-profile", written["vox-profile"], clip, fault="lora left out")
    with pytest.raises(ValueError, match="odyssey: has no LoRA"):
        checkpoints.write("odyssey", written["odyssey"], lora=True)
