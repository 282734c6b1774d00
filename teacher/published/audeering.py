"""audEERING's wav2vec2-large-robust with 12 layers: mean over time, one tanh layer.

Wagner et al. (2023), "Dawn of the transformer era in speech emotion recognition: closing the valence gap".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from teacher.published.network import Heard, TeacherNetwork, encoded, masked_mean, normalised, sized

_PUBLISHED: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 16, "intermediate_size": 4096,
    "conv_bias": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
}  # fmt: skip


class Network(TeacherNetwork):
    """Tensors are named as published: `wav2vec2`, `classifier`. The published pooling takes no mask; this one does."""

    def __init__(self, encoder: Wav2Vec2Config) -> None:
        super().__init__()
        self.wav2vec2 = Wav2Vec2Model(encoder)
        self.classifier = Head(encoder.hidden_size)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        return cls(sized(Wav2Vec2Config, _PUBLISHED, config))

    def forward(self, signals: Tensor, lengths: Tensor) -> Heard:
        states, mask = encoded(self.wav2vec2, normalised(signals, lengths), lengths)
        pooled = masked_mean(states, mask)
        return Heard(self.classifier(pooled), pooled)


class Head(nn.Module):
    """[batch, width] -> [batch, 3]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        adv: Tensor = self.out_proj(torch.tanh(self.dense(x)))
        return adv
