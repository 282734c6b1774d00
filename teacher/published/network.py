"""What the networks of the published teachers share: masks, normalisation, masked pooling."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.errors import DistillError
from teacher.published.encoder import OwnEncoder

#: wav2vec 2.0's floor on the variance of a clip.
VARIANCE_FLOOR = 1e-7


@dataclass(frozen=True)
class Heard:
    """A network's answers. adv: [batch, 3] in the order of `AXES`; embedding: [batch, dimensions], what was pooled.
    categories: [batch, categories], the probability of each, of networks that tell some apart."""

    adv: Tensor
    embedding: Tensor
    categories: Tensor | None = None


class TeacherNetwork(nn.Module, ABC):
    """From samples to A/D/V. What stands behind a clip's length never changes its answer."""

    @classmethod
    @abstractmethod
    def build(cls, config: Mapping[str, Any]) -> TeacherNetwork:
        """The network that a checkpoint's `config.json` describes, with any weights."""

    @staticmethod
    def arranged(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """The published tensors as this network holds them; the same, unless a checkpoint needs more than renaming."""
        return state

    @abstractmethod
    def forward(self, signals: Tensor, lengths: Tensor) -> Heard:
        """signals: float32 [batch, samples] at 16 kHz, padded with anything; lengths: [batch] in samples."""


def mask_of(lengths: Tensor, steps: int) -> Tensor:
    """Boolean [batch, steps], true before each length.

    >>> mask_of(torch.tensor([2, 1]), 3).tolist()
    [[True, True, False], [True, False, False]]
    """
    return torch.arange(steps, device=lengths.device)[None] < lengths[:, None]


def normalised(signals: Tensor, lengths: Tensor) -> Tensor:
    """Zero mean and unit variance over each clip, zero behind it: wav2vec 2.0's feature extractor, with a mask.

    >>> clip = normalised(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([2]))
    >>> [round(sample, 3) for sample in clip[0].tolist()]
    [-1.0, 1.0, 0.0]
    """
    mask, count = mask_of(lengths, signals.shape[1]), lengths[:, None]
    signals = torch.where(mask, signals, 0.0)
    centred = torch.where(mask, signals - signals.sum(1, keepdim=True) / count, 0.0)
    return centred / torch.sqrt(centred.square().sum(1, keepdim=True) / count + VARIANCE_FLOOR)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the time steps that count: [batch, time, width], [batch, time] -> [batch, width].

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]])).tolist()
    [[2.0]]
    """
    return torch.where(mask[..., None], x, 0.0).sum(1) / mask.sum(1, keepdim=True)


def frames_of(lengths: Tensor, config: Any) -> Tensor:
    """Frames that an encoder's convolutions (no padding) make of `lengths` samples.

    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(conv_kernel=[10, 3], conv_stride=[5, 2])
    >>> frames_of(torch.tensor([16_000]), config).tolist()
    [1599]
    """
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        lengths = (lengths - kernel) // stride + 1
    return lengths


def encoded(encoder: nn.Module, signals: Tensor, lengths: Tensor, *, layers: bool = False) -> tuple[Any, Tensor]:
    """An encoder, our own or that of transformers, on normalised, zero-padded samples.

    Returns its last hidden state [batch, time, width] (with `layers`: all of them, a tuple), and the mask
    [batch, time] of the frames that lie within each clip.
    """
    config: Any = encoder.config
    frames = mask_of(frames_of(lengths, config), int(frames_of(torch.tensor(signals.shape[1]), config)))
    if isinstance(encoder, OwnEncoder):
        return encoder(signals, frames, layers=layers), frames
    inside = mask_of(lengths, signals.shape[1])
    with warnings.catch_warnings():
        # WavLM's own attention hands torch a boolean mask beside its additive position bias.
        warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
        # A mask that hides nothing costs the fast path of the attention.
        mask = None if bool(inside.all()) else inside.long()
        answer = encoder(signals, attention_mask=mask, output_hidden_states=layers)
    # The last of them is after the encoder's final norm, as in the transformers that these models were trained with;
    # release 5 hands it out before the norm.
    states = (*answer.hidden_states[:-1], answer.last_hidden_state) if layers else answer.last_hidden_state
    return states, frames


def sized(known: type, published: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """An encoder's configuration: the published sizes, and what `config` says of the same fields.

    >>> from transformers import WavLMConfig
    >>> sized(WavLMConfig, WAVLM_LARGE, {"num_hidden_layers": 12, "unheard_of": 1}).num_hidden_layers
    12

    Raises:
        DistillError: an encoder whose first layer normalises over time, where padding could not be kept out.
    """
    fields = set(known().to_dict())
    made = known(**{**published, **{key: value for key, value in config.items() if key in fields}})
    if made.feat_extract_norm != "layer":
        raise DistillError(
            f"feat_extract_norm {made.feat_extract_norm!r}: padding would move its answers; layer is read"
        )
    return made


#: microsoft/wavlm-large, which checkpoints that were trained from it do not repeat.
WAVLM_LARGE: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "conv_bias": False, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "num_buckets": 320,
    "max_bucket_distance": 800, "mask_time_prob": 0.075,
}  # fmt: skip
