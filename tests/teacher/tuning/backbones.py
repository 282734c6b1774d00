"""Small backbones of the four families, in the published format: key names, prefixes, heads, configuration.

`base`: the layout of the base models, whose first convolution is normalised over time and whose norms stand behind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tests.teacher import checkpoints
from tests.teacher.checkpoints import CONV_KERNELS, Shapes

FAMILIES = ("wav2vec2", "hubert", "wavlm", "whisper")
KINDS = (*FAMILIES, "wav2vec2-base", "hubert-base", "wavlm-base")

SPEECH: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
WHISPER: dict[str, Any] = {**checkpoints.WHISPER_SMALL, "encoder_layers": 2, "max_source_positions": 100}

#: As the published files have them; the others have none.
PREFIXES = {"wav2vec2": "wav2vec2", "whisper": "model.encoder"}


def write(
    kind: str, folder: Path, *, seed: int = 0, form: str = "safetensors", normalises: bool = True, **said: Any
) -> Path:
    """Weights, config.json, preprocessor_config.json and a model card; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: checkpoints.drawn(name, shape, generator) for name, shape in shapes(kind).items()}
    weights = {f"{prefix(kind)}{name}": tensor for name, tensor in drawn.items()} | heads(kind)
    if form == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config(kind) | said, indent=2))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalises}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA backbone of the tests.\n")
    return folder


def config(kind: str) -> dict[str, Any]:
    family, _, base = kind.partition("-")
    if family == "whisper":
        return {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], **WHISPER,
                "decoder_layers": 1}  # fmt: skip
    layout: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    if base:
        layout = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    return {"model_type": family, **SPEECH, **layout, "mask_time_prob": 0.05, "layerdrop": 0.1}


def prefix(kind: str) -> str:
    found = PREFIXES.get(kind.partition("-")[0])
    return f"{found}." if found else ""


def shapes(kind: str) -> Shapes:
    """Of the encoder, without its prefix."""
    family, _, base = kind.partition("-")
    if family == "whisper":
        return unprefixed(checkpoints.whisper_encoder("x", WHISPER))
    listed = unprefixed(checkpoints.speech_encoder("x", SPEECH, wavlm=family == "wavlm"))
    for index in range(len(CONV_KERNELS)):
        layer = f"feature_extractor.conv_layers.{index}"
        if base and index:  # the first alone is normalised, a channel by itself over time
            listed = {name: shape for name, shape in listed.items() if not name.startswith(f"{layer}.layer_norm")}
        listed.pop(f"{layer}.conv.bias", None)
        if not base:
            listed[f"{layer}.conv.bias"] = (SPEECH["conv_dim"][index],)
    return listed


def unprefixed(listed: Shapes) -> Shapes:
    return {name.removeprefix("x."): shape for name, shape in listed.items()}


def heads(kind: str) -> dict[str, torch.Tensor]:
    """What published files hold beside the encoder."""
    if kind.startswith("wav2vec2"):
        return {"quantizer.codevectors": torch.zeros(1, 4, 2), "project_q.weight": torch.zeros(2, 2)}
    if kind == "whisper":
        return {"model.decoder.embed_tokens.weight": torch.zeros(8, 64), "proj_out.weight": torch.zeros(8, 64)}
    return {}
