"""Checkpoints of four published teachers with random weights: their key names, shapes and configurations.

The names and shapes are lists of our own, not what today's transformers would write: the published files are older and
call the positional convolution's weights `weight_g` and `weight_v`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from tests.teacher import reference

KINDS = ("odyssey", "audeering", "vox-profile", "meralion")
FORMS = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}

CONV_KERNELS = (10, 3, 3, 3, 3, 2, 2)
LARGE: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "conv_dim": [512] * 7, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 96,
    "conv_dim": [32] * 7, "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
BUCKETS = 320

# The published configuration names no sizes; those of whisper-medium's encoder are taken here.
WHISPER_LARGE: dict[str, Any] = {
    "d_model": 1024, "encoder_layers": 24, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096, "num_mel_bins": 80,
    "max_source_positions": 1500,
}  # fmt: skip
WHISPER_SMALL: dict[str, Any] = {
    "d_model": 64, "encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 96, "num_mel_bins": 80,
    "max_source_positions": 200,
}  # fmt: skip

# [int(v) for v in torch.logspace(0, math.log10(16), 4)]: 1.0, 2.5198421, 6.3496046, 16.000002 in float32.
RESOLUTIONS = (1, 2, 6, 16)
LORA_RANK = 16

PARAMETERS = {"odyssey": 318_607_043, "audeering": 165_336_707}

Shapes = dict[str, tuple[int, ...]]


def write(
    kind: str, folder: Path, *, seed: int = 0, full: bool = False, form: str = "safetensors", lora: bool = False
) -> Path:
    """Write weights, config.json and, for odyssey, a decoy; gives the folder. lora: of vox-profile alone."""
    if lora and kind != "vox-profile":
        raise ValueError(f"{kind}: has no LoRA")
    size = sizes(kind, full=full)
    listed = shapes(kind, size, lora=lora)
    if full and kind in PARAMETERS:
        assert parameters(listed) == PARAMETERS[kind], f"{kind}: {parameters(listed)} parameters"
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    weights = {name: drawn(name, shape, generator) for name, shape in listed.items()}
    said = config(kind, size, full=full, lora=lora)
    if not full:
        spread(kind, said, weights)
    if form == "bin":
        torch.save(weights, folder / FORMS[form])
    else:
        safetensors.torch.save_file(weights, folder / FORMS[form], metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(said, indent=2) + "\n")
    if kind == "odyssey":
        decoy = {"do_normalize": True, "feature_size": 1, "mean": 10, "std": 1, "sampling_rate": 16000}
        (folder / "preprocessor_config.json").write_text(json.dumps(decoy, indent=2) + "\n")
    return folder


def sizes(kind: str, *, full: bool = False) -> dict[str, Any]:
    if kind == "meralion":
        return dict(WHISPER_LARGE if full else WHISPER_SMALL)
    size = dict(LARGE if full else SMALL)
    if full and kind == "audeering":
        size["num_hidden_layers"] = 12
    return size


def parameters(listed: Shapes) -> int:
    return sum(math.prod(shape) for shape in listed.values())


def config(kind: str, size: dict[str, Any], *, full: bool = False, lora: bool = False) -> dict[str, Any]:
    """What the published repository's config.json says; small ones add what differs from it."""
    if kind == "odyssey":
        said = ("hidden_size", "num_hidden_layers", "num_attention_heads") if full else tuple(size)
        return {
            "model_type": "ser", "architectures": ["SERModel"], "ssl_type": "microsoft/wavlm-large",
            "classifier_hidden_layers": 1, "num_classes": 3, "mean": -8.278621631819787e-05,
            "std": 0.08485510250851999, "sampling_rate": 16000, **{name: size[name] for name in said},
        }  # fmt: skip
    if kind == "audeering":
        axes = ("arousal", "dominance", "valence")
        return {
            "model_type": "wav2vec2", "architectures": ["Wav2Vec2ForSpeechClassification"],
            "id2label": {str(index): axis for index, axis in enumerate(axes)},
            "label2id": {axis: index for index, axis in enumerate(axes)},
            "mask_time_prob": 0.05, "feat_extract_norm": "layer", "feat_extract_activation": "gelu",
            "hidden_act": "gelu", "layer_norm_eps": 1e-5, "do_stable_layer_norm": True, "conv_bias": True,
            "conv_kernel": list(CONV_KERNELS), "conv_stride": [5, 2, 2, 2, 2, 2, 2], "final_dropout": 0.1, **size,
        }  # fmt: skip
    if kind == "vox-profile":
        return {
            "pretrain_model": "wavlm_large", "hidden_dim": 256, "finetune_method": "lora" if lora else "finetune",
            "lora_rank": LORA_RANK, "freeze_params": True, "output_class_num": 9, "use_conv_output": True,
            "detailed_class_num": 17, "predict_gender": False, **({} if full else {"wavlm": size}),
        }  # fmt: skip
    said = {} if full else size
    return {
        "architectures": ["SERWhisperECAPAForAudioClassification"], "model_type": "ser_whisper_ecapa", **said,
    }  # fmt: skip


def shapes(kind: str, size: dict[str, Any], *, lora: bool = False) -> Shapes:
    """Every tensor of the file."""
    if kind == "odyssey":
        return _odyssey(size)
    if kind == "audeering":
        return _audeering(size)
    if kind == "vox-profile":
        return _vox_profile(size, lora=lora)
    return _meralion(size)


def drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """One tensor: float32. Scales go by the name, so that answers differ between clips and show each planted fault."""
    value = torch.randn(shape, generator=generator)
    if name.endswith("gru_rel_pos_const"):
        return value.mul_(0.5).add_(1)
    if name.endswith("weight_g"):
        return value.abs_().add_(0.5)
    if name.endswith("weight_v"):  # taps of unlike size: only the norm over the right dims makes them alike
        return value.mul_(torch.linspace(0.3, 3, shape[2]))
    if name.endswith("feature_extractor.conv_layers.0.conv.weight"):
        # So small that the eps of the layer norm behind it shows the gain of the input; a larger one would hide every
        # fault of the normalisation.
        return value.mul_(0.0015)
    if name.endswith("feature_extractor.conv_layers.0.conv.bias"):
        return value.mul_(0.002)
    if name.endswith("rel_attn_embed.weight"):  # the attention has to hear the buckets
        return value.mul_(3)
    if name == "weights" or name.endswith("embed_positions.weight"):
        return value.mul_(0.5)
    if len(shape) == 1 and name.endswith("weight"):  # of a norm
        return value.mul_(0.2).add_(1)
    if len(shape) == 1:
        return value.mul_(0.1)
    fan_in = shape[0] if name.endswith("pool_model.attention") else math.prod(shape[1:])
    return value.mul_(_gain(name) / math.sqrt(fan_in))


# Factors on 1/sqrt(fan in). Those that choose, choose: a mean over time or over layers would hide a fault in either.
# lora_B: the answer divides it by the rank.
GAINS = {
    "q_proj.weight": 1.5, "k_proj.weight": 1.5, "lora_B": 64.0, "pool_model.attention": 6.0,
    "resolution_weight_net.2.weight": 3.0, "level_attentions.0.weight": 6.0, "level_attentions.1.weight": 6.0,
    "level_attentions.2.weight": 6.0, "resolution_attentions.0.weight": 6.0, "resolution_attentions.1.weight": 6.0,
    "resolution_attentions.2.weight": 6.0, "resolution_attentions.3.weight": 6.0,
}  # fmt: skip


def _gain(name: str) -> float:
    return next((gain for ending, gain in GAINS.items() if name.endswith(ending)), 1.4)


# The last layers, and the axes of their rows in the order of the file.
LAST = {
    "odyssey": {"ser_model.out.0": (0, 1, 2)},
    "audeering": {"classifier.out_proj": (0, 1, 2)},
    "vox-profile": {"arousal_layer.2": (0,), "valence_layer.2": (2,), "dominance_layer.2": (1,)},
    "meralion": {"dim_layer.3": (2, 0, 1)},
}


def spread(kind: str, said: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Scale and shift the last layer until the answers to `clips` lie around 0.65, 0.5 and 0.35, clearly apart.

    A random head says nearly the same to every clip; for a sigmoid mostly 0 or 1. The small ones alone: it takes time.
    """
    heard = torch.stack([reference.raw(kind, said, weights, clip) for clip in clips()])
    middle, wide = ([0.6, 0.0, -0.6], 0.8) if kind in reference.SIGMOID else ([0.65, 0.5, 0.35], 0.15)
    factor = wide / heard.std(0)
    shift = torch.tensor(middle) - factor * heard.mean(0)
    for layer, axes in LAST[kind].items():
        rows = list(axes)
        weights[f"{layer}.weight"] *= factor[rows, None]
        weights[f"{layer}.bias"].mul_(factor[rows]).add_(shift[rows])


def clips(samples: int = 16000, *, seed: int = 0) -> list[np.ndarray]:
    """Six that differ in loudness, spectrum, offset and course: float32 [samples]."""
    random = np.random.default_rng([seed, samples])
    time = np.arange(samples) / 16000
    swell = 0.3 + np.sin(2 * np.pi * 2.8 * time) ** 2
    return [clip.astype(np.float32) for clip in (
        0.1 * swell * random.standard_normal(samples),
        0.3 * np.hanning(samples) * np.sin(2 * np.pi * 250 * time) + 0.01 * random.standard_normal(samples),
        0.02 * random.standard_normal(samples) + 0.1,
        0.4 * np.sign(np.sin(2 * np.pi * 110 * time)) * swell,
        0.002 * np.cumsum(random.standard_normal(samples)),
        0.2 * np.sin(2 * np.pi * (200 + 1500 * time / time[-1]) * time),
    )]  # fmt: skip


def _odyssey(size: dict[str, Any]) -> Shapes:
    hidden = size["hidden_size"]
    return {
        **speech_encoder("ssl_model", size, wavlm=True),
        **linear("pool_model.sap_linear", hidden, hidden),
        "pool_model.attention": (hidden, 1),
        **linear("ser_model.fc.0.0", hidden, 2 * hidden),
        **norm("ser_model.fc.0.1", hidden),
        **linear("ser_model.out.0", 3, hidden),
    }


def _audeering(size: dict[str, Any]) -> Shapes:
    hidden = size["hidden_size"]
    return {
        **speech_encoder("wav2vec2", size, wavlm=False),
        **linear("classifier.dense", hidden, hidden),
        **linear("classifier.out_proj", 3, hidden),
    }


def _vox_profile(size: dict[str, Any], *, lora: bool) -> Shapes:
    hidden, layers, wide = size["hidden_size"], size["num_hidden_layers"], size["intermediate_size"]
    listed = speech_encoder("backbone_model", size, wavlm=True)
    if lora:
        for layer in range(layers // 2 + 1, layers):
            forward = f"backbone_model.encoder.layers.{layer}.feed_forward"
            for name, inner, outer in (("intermediate_dense", hidden, wide), ("output_dense", wide, hidden)):
                listed[f"{forward}.{name}.lora_A"] = (LORA_RANK, inner)
                listed[f"{forward}.{name}.lora_B"] = (outer, LORA_RANK)
    listed["weights"] = (layers + 1,)
    for index, inner in ((0, hidden), (3, 256), (6, 256)):
        listed |= conv(f"model_seq.{index}", 256, inner, 1)
    for axis in ("arousal", "valence", "dominance"):
        listed |= linear(f"{axis}_layer.0", 256, 256) | linear(f"{axis}_layer.2", 1, 256)
    return listed


def _meralion(size: dict[str, Any]) -> Shapes:
    return {
        **whisper_encoder("whisper.encoder", size),
        **_downstream("downstream_model", size["d_model"], 512),
        **linear("dim_layer.0", 256, 256),
        "dim_layer.1.weight": (256,),
        **linear("dim_layer.3", 3, 256),
        **linear("emotion_layer", 256, 256),
        "emotion_classification_layer.0.weight": (256,),
        **linear("emotion_classification_layer.2", 7, 256),
    }


def _downstream(prefix: str, inner: int, width: int) -> Shapes:
    listed = linear("proj_in.0", width, inner) | norm("proj_in.1", width)
    for index in range(3):
        block = f"blocks.{index}"
        listed |= conv(f"{block}.conv1", width, width, 1) | norm(f"{block}.norm1", width)
        for part in range(3):
            listed |= conv(f"{block}.res2.convs.{part}", width // 4, width // 4, 3)
        listed |= norm(f"{block}.res2.norm", width)
        listed |= {f"{block}.se.fc.0.weight": (64, width, 1), f"{block}.se.fc.2.weight": (width, 64, 1)}
        listed |= conv(f"{block}.conv2", width, width, 1) | norm(f"{block}.norm2", width)
    listed |= conv("mfa.0", width, 4 * width, 1) | norm("mfa.1", width)
    many = "pooling.multiscale"
    for index, kernel in enumerate(RESOLUTIONS):
        listed |= conv(f"{many}.resolution_convs.{index}", width, 8, kernel)  # groups of eight channels
        listed |= linear(f"{many}.resolution_attentions.{index}", 1, width)
    listed |= linear(f"{many}.resolution_weight_net.0", width // 2, width)
    listed |= linear(f"{many}.resolution_weight_net.2", 4, width // 2)
    listed |= linear(f"{many}.final_proj", width, width)
    for level in range(3):
        listed |= linear(f"pooling.segment.level_attentions.{level}", 1, width)
    listed |= linear("pooling.segment.combiner", width, 3 * width) | linear("pooling.combiner", width, 2 * width)
    listed |= linear("embed.0", width, width) | norm("embed.1", width)
    listed |= linear("embed.4", width // 2, width) | norm("embed.5", width // 2)
    return {f"{prefix}.{name}": shape for name, shape in listed.items()}


def speech_encoder(prefix: str, size: dict[str, Any], *, wavlm: bool) -> Shapes:
    """WavLM-large's (no bias in the convolutions) or wav2vec2-large-robust's (with one) shapes."""
    hidden, channels = size["hidden_size"], size["conv_dim"]
    listed: Shapes = {"masked_spec_embed": (hidden,)}
    for index, kernel in enumerate(CONV_KERNELS):
        layer = f"feature_extractor.conv_layers.{index}"
        inner = channels[index - 1] if index else 1
        listed |= conv(f"{layer}.conv", channels[index], inner, kernel, bias=not wavlm)
        listed |= norm(f"{layer}.layer_norm", channels[index])
    listed |= norm("feature_projection.layer_norm", channels[-1])
    listed |= linear("feature_projection.projection", hidden, channels[-1])
    taps, groups = size["num_conv_pos_embeddings"], size["num_conv_pos_embedding_groups"]
    listed["encoder.pos_conv_embed.conv.bias"] = (hidden,)
    listed["encoder.pos_conv_embed.conv.weight_g"] = (1, 1, taps)
    listed["encoder.pos_conv_embed.conv.weight_v"] = (hidden, hidden // groups, taps)
    listed |= norm("encoder.layer_norm", hidden)
    for index in range(size["num_hidden_layers"]):
        listed |= _speech_layer(f"encoder.layers.{index}", size, biased=wavlm and index == 0, gated=wavlm)
    return {f"{prefix}.{name}": shape for name, shape in listed.items()}


def _speech_layer(layer: str, size: dict[str, Any], *, biased: bool, gated: bool) -> Shapes:
    hidden, heads, wide = size["hidden_size"], size["num_attention_heads"], size["intermediate_size"]
    listed: Shapes = {}
    if gated:
        listed[f"{layer}.attention.gru_rel_pos_const"] = (1, heads, 1, 1)
        listed |= linear(f"{layer}.attention.gru_rel_pos_linear", 8, hidden // heads)
    if biased:
        listed[f"{layer}.attention.rel_attn_embed.weight"] = (BUCKETS, heads)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        listed |= linear(f"{layer}.attention.{name}", hidden, hidden)
    listed |= norm(f"{layer}.layer_norm", hidden)
    listed |= linear(f"{layer}.feed_forward.intermediate_dense", wide, hidden)
    listed |= linear(f"{layer}.feed_forward.output_dense", hidden, wide)
    return listed | norm(f"{layer}.final_layer_norm", hidden)


def whisper_encoder(prefix: str, size: dict[str, Any]) -> Shapes:
    """The keys have no bias."""
    hidden, wide = size["d_model"], size["encoder_ffn_dim"]
    listed = conv("conv1", hidden, size["num_mel_bins"], 3) | conv("conv2", hidden, hidden, 3)
    listed["embed_positions.weight"] = (size["max_source_positions"], hidden)
    for index in range(size["encoder_layers"]):
        layer = f"layers.{index}"
        listed[f"{layer}.self_attn.k_proj.weight"] = (hidden, hidden)
        for name in ("v_proj", "q_proj", "out_proj"):
            listed |= linear(f"{layer}.self_attn.{name}", hidden, hidden)
        listed |= norm(f"{layer}.self_attn_layer_norm", hidden)
        listed |= linear(f"{layer}.fc1", wide, hidden) | linear(f"{layer}.fc2", hidden, wide)
        listed |= norm(f"{layer}.final_layer_norm", hidden)
    listed |= norm("layer_norm", hidden)
    return {f"{prefix}.{name}": shape for name, shape in listed.items()}


def linear(name: str, outer: int, inner: int) -> Shapes:
    return {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}


def conv(name: str, outer: int, inner: int, kernel: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outer, inner, kernel), **({f"{name}.bias": (outer,)} if bias else {})}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
