"""Four published teachers by their description, from the tensors of the file alone: no module, no transformers.

It shares no code with the loaders that it judges, takes one clip at a time and knows no padding, so there is nothing
to mask. Each fault that a loader might have can be planted, to show that the comparison would see it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa.filters
import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]

CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)
MAX_DISTANCE = 800
LORA_ALPHA = 1
RESOLUTIONS = (1, 2, 6, 16)

SPEECH_FAULTS = ("swapped order", "lost mask", "weight norm over the wrong dims")
# "wrong bucket distance" shows in clips of more than 80 frames (1.6 s) alone: nearer, every distance is a bucket.
BUCKET_FAULTS = ("wrong bucket", "wrong bucket distance")
FAULTS: dict[str, tuple[str, ...]] = {
    "odyssey": (*SPEECH_FAULTS, *BUCKET_FAULTS, "mean and std exchanged", "normalised by the clip"),
    "audeering": (*SPEECH_FAULTS, "not normalised"),
    "vox-profile": (
        *SPEECH_FAULTS, *BUCKET_FAULTS, "not normalised", "published order taken for ours",
        "last layer without its norm", "lora left out",
    ),
    "meralion": (
        "swapped order", "published order taken for ours", "natural logarithm", "features padded, not the clip",
        "no dilation", "levels not halved",
    ),
}  # fmt: skip


@torch.inference_mode()
def answer(
    kind: str, folder: Path, signal: np.ndarray, *, fault: str | None = None, padded_to: int | None = None
) -> np.ndarray:
    """Arousal, dominance, valence, float32 [3], of a clip at 16 kHz.

    padded_to: the number of samples that the fault "lost mask" fills the clip up to; nothing else looks at it.
    """
    if fault is not None and fault not in FAULTS[kind]:
        raise ValueError(f"{kind}: no fault {fault!r}; there are {', '.join(FAULTS[kind])}")
    if fault == "lost mask" and (padded_to is None or padded_to <= len(signal)):
        raise ValueError("a lost mask needs padded_to, longer than the clip")
    config, weights = read(folder)
    if fault == "lora left out" and config["finetune_method"] != "lora":
        raise ValueError(f"{folder}: has no LoRA to leave out")
    adv = raw(kind, config, weights, signal, fault=fault, padded_to=padded_to)
    return (torch.sigmoid(adv) if kind in SIGMOID else adv).numpy()


@torch.inference_mode()
def raw(
    kind: str, config: dict[str, Any], weights: Weights, signal: np.ndarray, *, fault: str | None = None,
    padded_to: int | None = None,
) -> Tensor:  # fmt: skip
    """What the last linear layer says, in our order, before the sigmoid of those that have one."""
    adv = TEACHERS[kind](config, weights, np.asarray(signal, np.float32), fault, padded_to)
    return adv[[2, 1, 0]] if fault == "swapped order" else adv


def read(folder: Path) -> tuple[dict[str, Any], Weights]:
    config = json.loads((folder / "config.json").read_text())
    if (folder / "model.safetensors").is_file():
        return config, safetensors.torch.load_file(folder / "model.safetensors")
    return config, torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)


def odyssey(
    config: dict[str, Any], weights: Weights, signal: np.ndarray, fault: str | None, padded_to: int | None
) -> Tensor:
    """Attentive statistics of the last hidden state. Published and given: arousal, dominance, valence."""
    mean, std = config["mean"], config["std"]
    if fault == "mean and std exchanged":
        mean, std = std, mean
    pcm = per_clip(signal) if fault == "normalised by the clip" else torch.from_numpy((signal - mean) / (std + 1e-6))
    x = hidden_states(weights, "ssl_model", filled(pcm.float(), fault, padded_to), fault)[-1]
    scores = torch.tanh(linear(weights, "pool_model.sap_linear", x)) @ weights["pool_model.attention"]
    share = torch.softmax(scores, dim=0)
    mean_of = (share * x).sum(0)
    std_of = ((share * x**2).sum(0) - mean_of**2).clamp(min=1e-5).sqrt()
    x = linear(weights, "ser_model.fc.0.0", torch.cat([mean_of, std_of]))
    x = F.relu(layer_norm(weights, "ser_model.fc.0.1", x))
    return linear(weights, "ser_model.out.0", x)


def audeering(
    config: dict[str, Any], weights: Weights, signal: np.ndarray, fault: str | None, padded_to: int | None
) -> Tensor:
    """Mean of the last hidden state. Published and given: arousal, dominance, valence."""
    pcm = torch.from_numpy(signal) if fault == "not normalised" else per_clip(signal)
    heads = config["num_attention_heads"]
    x = hidden_states(weights, "wav2vec2", filled(pcm, fault, padded_to), fault, heads=heads)[-1].mean(0)
    x = torch.tanh(linear(weights, "classifier.dense", x))
    return linear(weights, "classifier.out_proj", x)


def vox_profile(
    config: dict[str, Any], weights: Weights, signal: np.ndarray, fault: str | None, padded_to: int | None
) -> Tensor:
    """Weighted sum of all hidden states, pointwise convolutions, mean. Published: arousal, valence, dominance."""
    pcm = torch.from_numpy(signal) if fault == "not normalised" else per_clip(signal)
    if config["finetune_method"] == "lora" and fault != "lora left out":
        weights = merged(weights, config["lora_rank"])
    states = torch.stack(hidden_states(weights, "backbone_model", filled(pcm, fault, padded_to), fault))
    x = torch.tensordot(torch.softmax(weights["weights"], dim=0), states, dims=1).T
    for index, activation in ((0, F.relu), (3, F.relu), (6, lambda x: x)):
        x = activation(F.conv1d(x, weights[f"model_seq.{index}.weight"], weights[f"model_seq.{index}.bias"]))
    x = x.mean(1)
    published = ("arousal", "valence", "dominance")
    said = {}
    for axis in published:
        said[axis] = linear(weights, f"{axis}_layer.2", F.relu(linear(weights, f"{axis}_layer.0", x)))
    ours = published if fault == "published order taken for ours" else ("arousal", "dominance", "valence")
    return torch.cat([said[axis] for axis in ours])


def meralion(
    config: dict[str, Any], weights: Weights, signal: np.ndarray, fault: str | None, padded_to: int | None
) -> Tensor:
    """Whisper's encoder, ECAPA blocks, two poolings. Published: valence, arousal, dominance."""
    features = log_mel(signal, weights["whisper.encoder.embed_positions.weight"].shape[0], fault)
    x = whisper_states(weights, "whisper.encoder", features, config.get("encoder_attention_heads", 16))
    x = downstream(part(weights, "downstream_model"), x, fault)
    x = linear(weights, "dim_layer.0", x)
    x = F.gelu(x * torch.rsqrt(x.square().mean() + torch.finfo(torch.float32).eps) * weights["dim_layer.1.weight"])
    vad = linear(weights, "dim_layer.3", x)
    return vad if fault == "published order taken for ours" else vad[[1, 2, 0]]


TEACHERS: dict[str, Callable[..., Tensor]] = {
    "odyssey": odyssey, "audeering": audeering, "vox-profile": vox_profile, "meralion": meralion,
}  # fmt: skip
SIGMOID = ("vox-profile", "meralion")


def per_clip(signal: np.ndarray) -> Tensor:
    x = signal.astype(np.float64)
    return torch.from_numpy((x - x.mean()) / np.sqrt(x.var() + 1e-7)).float()


def filled(pcm: Tensor, fault: str | None, padded_to: int | None) -> Tensor:
    """Zeros behind the normalised clip, where the mask that would hide them is lost."""
    if fault != "lost mask" or padded_to is None:
        return pcm
    return F.pad(pcm, (0, padded_to - len(pcm)))


def merged(weights: Weights, rank: int) -> Weights:
    """W + B A alpha / rank, for every matrix with a LoRA."""
    weights = dict(weights)
    for name in [name for name in weights if name.endswith(".lora_A")]:
        matrix = name.removesuffix("lora_A") + "weight"
        update = weights[name.removesuffix("A") + "B"] @ weights[name]
        weights[matrix] = weights[matrix] + update * (LORA_ALPHA / rank)
    return weights


def part(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(f"{prefix}."): value for name, value in weights.items() if name.startswith(f"{prefix}.")}


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def layer_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


# --- wav2vec2 and WavLM ----------------------------------------------------------------------------------------------


def hidden_states(
    weights: Weights, prefix: str, pcm: Tensor, fault: str | None = None, *, heads: int | None = None
) -> list[Tensor]:
    """Each [frames, hidden]: the input of every layer, and the last layer's output after the final norm.

    heads: of wav2vec2's attention; WavLM's file says its own.
    """
    weights = part(weights, prefix)
    x = layer_norm(weights, "feature_projection.layer_norm", convolved(weights, pcm))
    x = linear(weights, "feature_projection.projection", x)
    x = x + positions(weights, x, fault)
    bias = None
    if "encoder.layers.0.attention.rel_attn_embed.weight" in weights:
        embedded = weights["encoder.layers.0.attention.rel_attn_embed.weight"]
        bias = embedded[buckets(len(x), len(embedded), fault)].permute(2, 0, 1)
        heads = embedded.shape[1]
    if heads is None:
        raise ValueError("wav2vec2's file does not say the number of heads")
    states = [x]
    for index in range(count(weights, "encoder.layers.")):
        x = speech_layer(part(weights, f"encoder.layers.{index}"), x, bias, heads)
        states.append(x)
    if fault != "last layer without its norm":
        states[-1] = layer_norm(weights, "encoder.layer_norm", x)
    return states


def count(weights: Weights, stem: str) -> int:
    return 1 + max(int(name.removeprefix(stem).split(".")[0]) for name in weights if name.startswith(stem))


def convolved(weights: Weights, pcm: Tensor) -> Tensor:
    """[samples] to [frames, channels]."""
    x = pcm[None]
    for index, stride in enumerate(CONV_STRIDES):
        layer = f"feature_extractor.conv_layers.{index}"
        x = F.conv1d(x, weights[f"{layer}.conv.weight"], weights.get(f"{layer}.conv.bias"), stride)
        x = F.gelu(layer_norm(weights, f"{layer}.layer_norm", x.T).T)
    return x.T


def positions(weights: Weights, x: Tensor, fault: str | None) -> Tensor:
    """The grouped convolution whose taps [out, in, :] are each of norm g; an even one gives a frame too many."""
    name = "encoder.pos_conv_embed.conv"
    g, v = weights[f"{name}.weight_g"], weights[f"{name}.weight_v"]
    over = (1, 2) if fault == "weight norm over the wrong dims" else (0, 1)
    kernel = g * v / v.square().sum(over, keepdim=True).sqrt()
    taps = kernel.shape[2]
    y = F.conv1d(x.T, kernel, weights[f"{name}.bias"], padding=taps // 2, groups=x.shape[1] // kernel.shape[1])
    return F.gelu(y[:, : x.shape[0]].T)


def buckets(frames: int, number: int, fault: str | None) -> Tensor:
    """[query, key]: half of the buckets for keys behind, half for keys ahead; the far ones by the logarithm."""
    ahead = torch.arange(frames)[None, :] - torch.arange(frames)[:, None]
    reach = 128 if fault == "wrong bucket distance" else MAX_DISTANCE
    if fault == "wrong bucket":  # T5's for a decoder: what is ahead is all one bucket
        return bucketed((-ahead).clamp(min=0), number, reach)
    half = number // 2
    return half * (ahead > 0) + bucketed(ahead.abs(), half, reach)


def bucketed(distance: Tensor, number: int, reach: int) -> Tensor:
    exact = number // 2
    fraction = torch.log(distance.clamp(min=1).float() / exact) / math.log(reach / exact)
    far = (exact + fraction * (number - exact)).long().clamp(max=number - 1)
    return torch.where(distance < exact, distance, far)


def speech_layer(weights: Weights, x: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    """Norms in front ("stable")."""
    y = layer_norm(weights, "layer_norm", x)
    if bias is not None:
        bias = gate(weights, y, heads) * bias
    x = x + attended(part(weights, "attention"), y, heads, bias)
    y = F.gelu(linear(weights, "feed_forward.intermediate_dense", layer_norm(weights, "final_layer_norm", x)))
    return x + linear(weights, "feed_forward.output_dense", y)


def gate(weights: Weights, y: Tensor, heads: int) -> Tensor:
    """How much of the position bias each query takes: [heads, frames, 1]."""
    y = y.reshape(len(y), heads, -1).transpose(0, 1)
    gates = linear(weights, "attention.gru_rel_pos_linear", y).reshape(*y.shape[:2], 2, 4).sum(-1)
    a, b = torch.sigmoid(gates).unbind(-1)
    constant = weights["attention.gru_rel_pos_const"].reshape(heads, 1)
    return (a * (b * constant - 1) + 2)[..., None]


def attended(weights: Weights, y: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    q, k, v = (
        linear(weights, f"{name}_proj", y).reshape(len(y), heads, -1).transpose(0, 1) for name in ("q", "k", "v")
    )
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    scores = scores if bias is None else scores + bias
    together = (torch.softmax(scores, dim=-1) @ v).transpose(0, 1).reshape(len(y), -1)
    return linear(weights, "out_proj", together)


# --- Whisper and what stands on it -----------------------------------------------------------------------------------


def log_mel(signal: np.ndarray, frames: int, fault: str | None = None) -> Tensor:
    """Whisper's features of the clip and the silence that fills it up: [80, 2 * frames]."""
    pcm = torch.from_numpy(signal[: frames * 320])
    if fault != "features padded, not the clip":
        pcm = F.pad(pcm, (0, frames * 320 - len(pcm)))
    spectrum = torch.stft(pcm, 400, 160, window=torch.hann_window(400), return_complex=True)[:, :-1].abs().square()
    mel = torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)).float() @ spectrum
    mel = mel.clamp(min=1e-10)
    mel = mel.log() if fault == "natural logarithm" else mel.log10()
    mel = (mel.clamp(min=mel.max() - 8) + 4) / 4
    return F.pad(mel, (0, 2 * frames - mel.shape[1]))


def whisper_states(weights: Weights, prefix: str, features: Tensor, heads: int) -> Tensor:
    """[80, 2 * frames] to [frames, hidden], after the final norm."""
    weights = part(weights, prefix)
    x = F.gelu(F.conv1d(features, weights["conv1.weight"], weights["conv1.bias"], padding=1))
    x = F.gelu(F.conv1d(x, weights["conv2.weight"], weights["conv2.bias"], stride=2, padding=1))
    x = x.T + weights["embed_positions.weight"]
    for index in range(count(weights, "layers.")):
        layer = part(weights, f"layers.{index}")
        x = x + attended(part(layer, "self_attn"), layer_norm(layer, "self_attn_layer_norm", x), heads)
        x = x + linear(layer, "fc2", F.gelu(linear(layer, "fc1", layer_norm(layer, "final_layer_norm", x))))
    return layer_norm(weights, "layer_norm", x)


def downstream(weights: Weights, x: Tensor, fault: str | None = None) -> Tensor:
    """[frames, hidden] to [256]. Within, channels come first."""
    x = F.gelu(layer_norm(weights, "proj_in.1", linear(weights, "proj_in.0", x))).T
    seen = [x]
    for index, dilation in enumerate((1, 2, 3)):
        x = block(part(weights, f"blocks.{index}"), x, 1 if fault == "no dilation" else dilation)
        seen.append(x)
    x = F.gelu(group_norm(weights, "mfa.1", conv(weights, "mfa.0", torch.cat(seen))))
    pooled = multiscale(part(weights, "pooling.multiscale"), x), segments(part(weights, "pooling.segment"), x, fault)
    x = linear(weights, "pooling.combiner", torch.cat(pooled))
    for outward, normed in (("embed.0", "embed.1"), ("embed.4", "embed.5")):
        x = F.gelu(layer_norm(weights, normed, linear(weights, outward, x)))
    return x


def conv(weights: Weights, name: str, x: Tensor, **options: Any) -> Tensor:
    return F.conv1d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **options)


def group_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.group_norm(x[None], 32, weights[f"{name}.weight"], weights[f"{name}.bias"])[0]


def block(weights: Weights, x: Tensor, dilation: int) -> Tensor:
    """Res2 between two pointwise convolutions, squeeze and excitation, and the way round them."""
    y = F.relu(group_norm(weights, "norm1", conv(weights, "conv1", x)))
    first, *rest = y.chunk(4)
    parts = [first]
    for index, piece in enumerate(rest):
        piece = piece + parts[-1] if index else piece
        parts.append(conv(weights, f"res2.convs.{index}", piece, dilation=dilation, padding=dilation))
    y = F.relu(group_norm(weights, "res2.norm", torch.cat(parts)))
    squeezed = F.relu(conv(weights, "se.fc.0", y.mean(1, keepdim=True)))
    y = y * torch.sigmoid(conv(weights, "se.fc.2", squeezed))
    return F.relu(group_norm(weights, "norm2", conv(weights, "conv2", y)) + x)


def weighted(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Attention pooling over time: [channels, frames] to [channels]."""
    return x @ torch.softmax(linear(weights, name, x.T)[:, 0], dim=0)


def multiscale(weights: Weights, x: Tensor) -> Tensor:
    """Four resolutions, each pooled by an attention of its own; the mean frame says how much of each.

    An even kernel gives a frame more than it got, and that one is pooled too.
    """
    share = F.relu(linear(weights, "resolution_weight_net.0", x.mean(1)))
    share = torch.softmax(linear(weights, "resolution_weight_net.2", share), dim=0)
    together = torch.zeros(x.shape[0])
    for index, kernel in enumerate(RESOLUTIONS):
        y = conv(weights, f"resolution_convs.{index}", x, padding=kernel // 2, groups=x.shape[0] // 8)
        together = together + share[index] * weighted(weights, f"resolution_attentions.{index}", y)
    return linear(weights, "final_proj", together)


def segments(weights: Weights, x: Tensor, fault: str | None) -> Tensor:
    """The same pooling at three rates."""
    levels = []
    for level in range(3):
        levels.append(weighted(weights, f"level_attentions.{level}", x))
        x = x if fault == "levels not halved" else F.avg_pool1d(x, 2, 2)
    return linear(weights, "combiner", torch.cat(levels))
