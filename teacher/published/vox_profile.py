"""Vox-Profile's dimensional emotion model: WavLM-large, a weighted sum of its layers, convolutions, a head an axis.

Feng et al. (2025), "Vox-Profile: a speech foundation model benchmark for characterizing diverse speaker and speech
traits". The published code is not ours to use; this is written from its description and names of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import WavLMConfig, WavLMModel

from distill.annotation import AXES
from distill.errors import DistillError
from teacher.published.network import WAVLM_LARGE, Heard, TeacherNetwork, encoded, masked_mean, normalised, sized

#: Feed-forward layers that carry a low-rank update where the encoder was tuned by LoRA.
_TUNED = ("intermediate_dense", "output_dense")


class Network(TeacherNetwork):
    """Names of the tensors as published: `backbone_model`, `weights`, `model_seq`, `arousal_layer` ..."""

    def __init__(self, encoder: WavLMConfig, width: int = 256) -> None:
        super().__init__()
        self.backbone_model = WavLMModel(encoder)
        self.weights = nn.Parameter(torch.zeros(encoder.num_hidden_layers + 1))
        self.model_seq = nn.Sequential(
            nn.Conv1d(encoder.hidden_size, width, 1), nn.ReLU(), nn.Identity(),  # where dropout stands in training,
            nn.Conv1d(width, width, 1), nn.ReLU(), nn.Identity(),  # which counts in the published names
            nn.Conv1d(width, width, 1),
        )  # fmt: skip
        self.arousal_layer, self.valence_layer, self.dominance_layer = _head(width), _head(width), _head(width)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        for name, value in (("pretrain_model", "wavlm_large"), ("use_conv_output", True), ("predict_gender", False)):
            if config.get(name, value) != value:
                raise DistillError(f"{name} {config[name]!r}: only the published {value!r} is read")
        return cls(sized(WavLMConfig, WAVLM_LARGE, config.get("wavlm", {})), config.get("hidden_dim", 256))

    @staticmethod
    def arranged(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Low-rank updates, which the file holds apart, become part of the weights that they update.

        Hu et al. (2022), "LoRA": W + (alpha / rank) B A; the published code leaves alpha at 1.
        """
        merged = dict(state)
        for name in [name for name in state if name.endswith(".lora_A")]:
            layer, pair = name.removesuffix(".lora_A"), f"{name.removesuffix('A')}B"
            update, weight = _update(merged.pop(name), merged.pop(pair, None)), merged.get(f"{layer}.weight")
            if update is None or weight is None or update.shape != weight.shape or not layer.endswith(_TUNED):
                raise DistillError(f"the tensor {name} fits no {pair} and weight of a feed-forward layer")
            merged[f"{layer}.weight"] = weight + update
        return merged

    def forward(self, signals: Tensor, lengths: Tensor) -> Heard:
        states, mask = encoded(self.backbone_model, normalised(signals, lengths), lengths, layers=True)
        shares = torch.softmax(self.weights, dim=0)
        summed = sum(share * state for share, state in zip(shares, states, strict=True))
        pooled = masked_mean(self.model_seq(summed.transpose(1, 2)).transpose(1, 2), mask)
        return Heard(torch.cat([getattr(self, f"{axis}_layer")(pooled) for axis in AXES], dim=1), pooled)


def _update(inward: Tensor, outward: Tensor | None) -> Tensor | None:
    if outward is None or outward.shape[-1] != inward.shape[0]:
        return None
    return outward @ inward / inward.shape[0]


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1), nn.Sigmoid())
