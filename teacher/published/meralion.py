"""MERaLiON-SER: Whisper-medium's encoder, an ECAPA-TDNN on top, attention pooling at several resolutions.

"MERaLiON-SER: robust speech emotion recognition model for English and SEA languages" (2025). Written from the names and
shapes of the tensors and a description of the computation; the published code is not ours to use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from teacher.published.network import Heard, TeacherNetwork

_PUBLISHED: dict[str, Any] = {
    "d_model": 1024, "encoder_layers": 24, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096, "num_mel_bins": 80,
    "max_source_positions": 1500,
}  # fmt: skip

#: Samples that become one position of the encoder, and samples a second.
_SAMPLES_A_POSITION, _RATE = 320, 16_000

#: Widths of the ECAPA blocks and of what the heads see; groups of every group norm.
CHANNELS, EMBEDDING, GROUPS = 512, 256, 32

#: Kernels of the four resolutions: 1 to 16, evenly in the logarithm, cut to whole numbers.
RESOLUTIONS = (1, 2, 6, 16)

#: The order in which the published head answers, in the order of `AXES`: it is valence, arousal, dominance.
_AROUSAL_DOMINANCE_VALENCE = [1, 2, 0]

#: Of the text decoder, which answers no question here, and which a file may or may not hold.
_DECODER = ("whisper.decoder.", "whisper.proj_out.")


class Network(TeacherNetwork):
    """Names of the tensors as published: `whisper.encoder`, `downstream_model`, `dim_layer`, two emotion layers.

    Each clip is heard with silence up to 30 s, as Whisper was trained; so no clip hears of another's length.
    """

    def __init__(self, encoder: WhisperConfig) -> None:
        super().__init__()
        seconds = encoder.max_source_positions * _SAMPLES_A_POSITION // _RATE
        with torch.device("cpu"):
            self.features: Any = WhisperFeatureExtractor(feature_size=encoder.num_mel_bins, chunk_length=seconds)  # type: ignore[no-untyped-call]
        self.whisper = nn.ModuleDict({"encoder": WhisperEncoder(encoder)})
        self.downstream_model = EmotionTdnn(encoder.d_model)
        self.dim_layer = nn.Sequential(
            nn.Linear(EMBEDDING, EMBEDDING), nn.RMSNorm(EMBEDDING), nn.GELU(), nn.Linear(EMBEDDING, 3), nn.Sigmoid()
        )
        # Categories are not asked for; their tensors are there, and so are read strictly with the others.
        self.emotion_layer = nn.Linear(EMBEDDING, EMBEDDING)
        self.emotion_classification_layer = nn.Sequential(nn.RMSNorm(EMBEDDING), nn.GELU(), nn.Linear(EMBEDDING, 7))

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        return cls(WhisperConfig(**{name: config.get(name, value) for name, value in _PUBLISHED.items()}))

    @staticmethod
    def arranged(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Without the decoder, the one part that may be left out."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(_DECODER)}

    def forward(self, signals: Tensor, lengths: Tensor) -> Heard:
        clips = [clip[:length].cpu().numpy() for clip, length in zip(signals, lengths.tolist(), strict=True)]
        mels = np.concatenate([self.features(clip, sampling_rate=_RATE)["input_features"] for clip in clips])
        states = self.whisper["encoder"](torch.from_numpy(mels).to(signals.device)).last_hidden_state
        embedding = self.downstream_model(states)
        return Heard(self.dim_layer(embedding)[:, _AROUSAL_DOMINANCE_VALENCE], embedding)


class EmotionTdnn(nn.Module):
    """Time-delay blocks with squeeze and excitation, pooled: [batch, time, width] -> [batch, 256].

    After Desplanques et al. (2020), "ECAPA-TDNN", with group norm in place of batch norm.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_in = nn.Sequential(nn.Linear(width, CHANNELS), nn.LayerNorm(CHANNELS), nn.GELU())
        self.blocks = nn.ModuleList(TdnnBlock(dilation) for dilation in (1, 2, 3))
        self.mfa = nn.Sequential(nn.Conv1d(4 * CHANNELS, CHANNELS, 1), nn.GroupNorm(GROUPS, CHANNELS), nn.GELU())
        self.pooling = TwoPoolings()
        self.embed = nn.Sequential(
            nn.Linear(CHANNELS, CHANNELS), nn.LayerNorm(CHANNELS), nn.GELU(), nn.Identity(),  # dropout in training
            nn.Linear(CHANNELS, EMBEDDING), nn.LayerNorm(EMBEDDING), nn.GELU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj_in(x).transpose(1, 2)
        outputs = [x]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        embedding: Tensor = self.embed(self.pooling(self.mfa(torch.cat(outputs, dim=1)).transpose(1, 2)))
        return embedding


class TdnnBlock(nn.Module):
    """[batch, channels, time] -> the same shape."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv1d(CHANNELS, CHANNELS, 1), nn.GroupNorm(GROUPS, CHANNELS)
        self.res2 = SplitConvolutions(dilation)
        self.se = Excitation()
        self.conv2, self.norm2 = nn.Conv1d(CHANNELS, CHANNELS, 1), nn.GroupNorm(GROUPS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.se(self.res2(y))
        return torch.relu(self.norm2(self.conv2(y)) + x)


class SplitConvolutions(nn.Module):
    """Quarters of the channels, each convolved together with what came out of the quarter before (Res2Net)."""

    def __init__(self, dilation: int, parts: int = 4) -> None:
        super().__init__()
        width = CHANNELS // parts
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(parts - 1)
        )
        self.norm = nn.GroupNorm(GROUPS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = x.chunk(len(self.convs) + 1, dim=1)
        outputs = [first]
        for part, conv in zip(others, self.convs, strict=True):
            outputs.append(conv(part if len(outputs) == 1 else part + outputs[-1]))
        return torch.relu(self.norm(torch.cat(outputs, dim=1)))


class Excitation(nn.Module):
    """Every channel scaled by a gate that hears the mean over time."""

    def __init__(self, reduction: int = 8) -> None:
        super().__init__()
        inner = CHANNELS // reduction
        self.fc = nn.Sequential(
            nn.Conv1d(CHANNELS, inner, 1, bias=False), nn.ReLU(),
            nn.Conv1d(inner, CHANNELS, 1, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc(x.mean(2, keepdim=True))
        return x * gate


class TwoPoolings(nn.Module):
    """[batch, time, channels] -> [batch, channels], by resolutions and by levels."""

    def __init__(self) -> None:
        super().__init__()
        self.multiscale = Resolutions()
        self.segment = Levels()
        self.combiner = nn.Linear(2 * CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.combiner(torch.cat([self.multiscale(x), self.segment(x)], dim=1))
        return pooled


class Resolutions(nn.Module):
    """Convolved with kernels of several lengths, pooled by attention, summed by shares that the clip decides."""

    def __init__(self) -> None:
        super().__init__()
        self.resolution_convs = nn.ModuleList(
            nn.Conv1d(CHANNELS, CHANNELS, kernel, padding=kernel // 2, groups=CHANNELS // 8) for kernel in RESOLUTIONS
        )
        self.resolution_weight_net = nn.Sequential(
            nn.Linear(CHANNELS, CHANNELS // 2), nn.ReLU(), nn.Linear(CHANNELS // 2, len(RESOLUTIONS)), nn.Softmax(dim=1)
        )
        self.resolution_attentions = nn.ModuleList(nn.Linear(CHANNELS, 1) for _ in RESOLUTIONS)
        self.final_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        shares = self.resolution_weight_net(x.mean(1))
        convolved = [conv(x.transpose(1, 2)).transpose(1, 2) for conv in self.resolution_convs]
        pooled = [attended(y, scores) for y, scores in zip(convolved, self.resolution_attentions, strict=True)]
        summed: Tensor = self.final_proj((torch.stack(pooled, dim=1) * shares[..., None]).sum(1))
        return summed


class Levels(nn.Module):
    """Pooled by attention at full, half and quarter rate."""

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        self.level_attentions = nn.ModuleList(nn.Linear(CHANNELS, 1) for _ in range(levels))
        self.combiner = nn.Linear(levels * CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        pooled = []
        for scores in self.level_attentions:
            pooled.append(attended(x, scores))
            x = functional.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2)
        combined: Tensor = self.combiner(torch.cat(pooled, dim=1))
        return combined


def attended(x: Tensor, scores: nn.Module) -> Tensor:
    """Sum over time by the softmax of `scores`: [batch, time, channels] -> [batch, channels].

    >>> from torch.nn import Identity
    >>> attended(torch.zeros(1, 4, 2) + 0.5, Identity()).tolist()
    [[0.5, 0.5]]
    """
    return (x * torch.softmax(scores(x), dim=1)).sum(1)
