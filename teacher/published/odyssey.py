"""The baseline of the Odyssey 2024 challenge: WavLM-large, attentive statistics pooling, one hidden layer.

Goncalves et al. (2024), "Odyssey 2024 - Speech Emotion Recognition Challenge".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import WavLMConfig, WavLMModel

from teacher.published.network import WAVLM_LARGE, Heard, TeacherNetwork, encoded, mask_of, sized

#: Of all training speech, as the checkpoint's `config.json` has them.
MEAN, STD = -8.278621631819787e-05, 0.08485510250851999


class Network(TeacherNetwork):
    """Names of the tensors as published: `ssl_model`, `pool_model`, `ser_model`. Gain-sensitive: one fixed scale.

    mean, std: of the samples; `preprocessor_config.json` beside the checkpoint says others, which nobody trained with.
    """

    def __init__(self, encoder: WavLMConfig, hidden_layers: int = 1, *, mean: float = MEAN, std: float = STD) -> None:
        super().__init__()
        width = encoder.hidden_size
        self.mean, self.std = mean, std
        self.ssl_model = WavLMModel(encoder)
        self.pool_model = AttentiveStatistics(width)
        self.ser_model = Head(2 * width, width, hidden_layers)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        known = {key: config[key] for key in ("mean", "std") if key in config}
        return cls(sized(WavLMConfig, WAVLM_LARGE, config), config.get("classifier_hidden_layers", 1), **known)

    def forward(self, signals: Tensor, lengths: Tensor) -> Heard:
        inside = mask_of(lengths, signals.shape[1])
        scaled = torch.where(inside, (signals - self.mean) / (self.std + 1e-6), 0.0)
        states, mask = encoded(self.ssl_model, scaled, lengths)
        pooled = self.pool_model(states, mask)
        return Heard(self.ser_model(pooled), pooled)


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, weighted by attention: [batch, time, width] -> [batch, 2 width].

    Okabe et al. (2018), "Attentive statistics pooling for deep speaker embedding", as the baseline has it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sap_linear = nn.Linear(width, width)
        self.attention = nn.Parameter(torch.zeros(width, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = torch.tanh(self.sap_linear(x)) @ self.attention
        weights = torch.softmax(scores.masked_fill(~mask[..., None], float("-inf")), dim=1)
        x = torch.where(mask[..., None], x, 0.0)
        mean = (x * weights).sum(1)
        variance = (x.square() * weights).sum(1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


class Head(nn.Module):
    """Hidden layers with layer norm and ReLU, then three answers: [batch, wide] -> [batch, 3]."""

    def __init__(self, wide: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [wide] + [width] * layers
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Linear(before, width), nn.LayerNorm(width), nn.ReLU()) for before in widths[:-1]
        )
        self.out = nn.Sequential(nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.fc:
            x = layer(x)
        adv: Tensor = self.out(x)
        return adv
