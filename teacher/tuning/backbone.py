"""The backbones that teachers are tuned from: wav2vec 2.0, HuBERT, WavLM and Whisper's encoder, opened strictly.

Whatever stands behind a clip never changes what is heard of it, not even in the base models, whose first convolution is
normalised over time: the moments are taken over the clip alone, which is what each of them hears unpadded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from distill.errors import DistillError
from distill.files import read_json
from teacher.published import hub
from teacher.published.folder import PREPROCESSOR, licence_of, read_config, revision_of
from teacher.published.network import frames_of, mask_of, normalised
from teacher.published.weights import placed, read_state
from teacher.tuning.blocks import Block
from teacher.tuning.options import VIEWS

#: Samples that become one position of Whisper's encoder, and samples a second.
_SAMPLES_A_POSITION, _RATE = 320, 16_000

#: Parts of published files that no teacher is tuned from: heads of pre-training, of speech recognition, of the
#: classifiers that were trained on a backbone, and Whisper's decoder.
_HEADS = ("quantizer.", "project_hid.", "project_q.", "lm_head.", "classifier.", "projector.", "layer_weights",
          "label_embs_concat", "final_proj.", "proj_out.", "decoder.")  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where a backbone comes from. name: as it was asked for; folder: where its files are; revision: the hub's commit,
    or a hash of the weights; family: wav2vec2, hubert, wavlm, whisper or distill-views; licence: that its model card
    names."""

    name: str
    folder: Path
    revision: str
    family: str
    licence: str


class Backbone(nn.Module, ABC):
    """An encoder as frames, blocks and a norm. width: of its states; blocks: its layers; checkpointing: whether what is
    between the layers is computed again for the gradients, in place of being kept."""

    width: int
    blocks: nn.ModuleList
    config: Any

    #: Whether layers are told which frames are padding; Whisper was trained on silence up to its 30 s.
    hides = True

    #: The longest clip that it hears (seconds); whether it divides the level out; what it does to samples, in words.
    longest_seconds = 30.0
    normalises = False
    normalisation = "none"

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing = False

    def forward(self, signals: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each layer hears, and after them the last hidden state: layers + 1 times [batch, time, width]; and the
        mask, boolean [batch, time], of the frames within each clip.

        signals: float32 [batch, samples] at 16 kHz, padded with anything; lengths: [batch] in samples.
        """
        x, mask = self.framed(signals, lengths)
        hidden = None if bool(mask.all()) or not self.hides else mask
        states, bias = [], None
        for block in self.blocks:
            states.append(x)
            x, bias = self._through(block, x, hidden, bias)
        return [*states, self.finished(x)], mask

    @abstractmethod
    def framed(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the first layer hears, [batch, time, width], and the mask of the frames within each clip."""

    @abstractmethod
    def finished(self, x: Tensor) -> Tensor:
        """The last layer's answer as the encoder hands it out."""

    @abstractmethod
    def convolutions(self) -> list[nn.Module]:
        """What comes before the layers and is never tuned."""

    @property
    @abstractmethod
    def last_norm(self) -> nn.Module | None:
        """The norm behind the last layer, where there is one."""

    def keep_first(self, count: int) -> None:
        """Go without the layers behind the first `count` (Wagner et al. 2023 prune so).

        Raises:
            DistillError: it has fewer.
        """
        if not 1 <= count <= len(self.blocks):
            raise DistillError(f"--layers: the backbone has {len(self.blocks)} layers, not {count}")
        del self.blocks[count:]

    def _through(
        self, block: nn.Module, x: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, mask, bias, use_reentrant=False)  # type: ignore[no-any-return]
        return block(x, mask, bias)  # type: ignore[no-any-return]


class Speech(Backbone):
    """wav2vec 2.0, HuBERT, WavLM. normalises: each clip to zero mean and unit variance."""

    def __init__(self, model: Any, *, normalises: bool) -> None:
        super().__init__()
        config: Any = model.config
        _reject_unknown_parts(config)
        self.config, self.normalises, self.width = config, normalises, int(config.hidden_size)
        self.normalisation = "zero mean, unit variance per clip" if normalises else "none"
        self.stable = bool(config.do_stable_layer_norm)
        self.feature_extractor, self.feature_projection = model.feature_extractor, model.feature_projection
        self.pos_conv_embed, self.norm = model.encoder.pos_conv_embed, model.encoder.layer_norm
        biased = isinstance(model, WavLMModel)
        self.blocks = nn.ModuleList(
            Block.of_speech(layer, stable=self.stable, biased=biased) for layer in model.encoder.layers
        )

    def framed(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = self._convolved(self._scaled(signals, lengths), lengths)
        projected = self.feature_projection(features)
        x = projected[0] if isinstance(projected, tuple) else projected  # HuBERT's gives the one alone
        mask = mask_of(frames_of(lengths, self.config), x.shape[1])
        x = torch.where(mask[..., None], x, 0.0)
        x = x + self.pos_conv_embed(x)
        return (x if self.stable else self.norm(x)), mask

    def finished(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.stable else x  # type: ignore[no-any-return]

    def convolutions(self) -> list[nn.Module]:
        return [self.feature_extractor]

    @property
    def last_norm(self) -> nn.Module | None:
        return self.norm if self.stable else None  # type: ignore[no-any-return]

    def _scaled(self, signals: Tensor, lengths: Tensor) -> Tensor:
        if self.normalises:
            return normalised(signals, lengths)
        return torch.where(mask_of(lengths, signals.shape[1]), signals, 0.0)

    def _convolved(self, signals: Tensor, lengths: Tensor) -> Tensor:
        """float32 [batch, samples] -> [batch, frames, channels]."""
        x = signals[:, None]
        for layer in self.feature_extractor.conv_layers:
            kernel, stride = int(layer.conv.kernel_size[0]), int(layer.conv.stride[0])
            lengths = (lengths - kernel) // stride + 1
            if isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                x = layer.activation(_normed_over_time(layer.conv(x), lengths, layer.layer_norm))
            else:
                x = layer(x)
        return x.transpose(1, 2)


class Whisper(Backbone):
    """Whisper's encoder. A clip is heard with silence up to the 30 s (or what the configuration says) that it was
    trained on; the frames beyond the clip are left out of what is pooled."""

    hides = False
    normalisation = "Whisper log-mel of the clip with silence behind it"

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        config = encoder.config
        self.config, self.width = config, int(config.d_model)
        seconds = config.max_source_positions * _SAMPLES_A_POSITION // _RATE
        self.longest_seconds = float(seconds)
        with torch.device("cpu"):
            self.features: Any = WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=seconds)  # type: ignore[no-untyped-call]
        self.conv1, self.conv2, self.embed_positions = encoder.conv1, encoder.conv2, encoder.embed_positions
        self.blocks = nn.ModuleList(Block.of_whisper(layer) for layer in encoder.layers)
        self.norm = encoder.layer_norm

    def framed(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        clips = [clip[:length].cpu().numpy() for clip, length in zip(signals, lengths.tolist(), strict=True)]
        with torch.autocast("cpu", enabled=False):  # the extractor multiplies by torch, and hands numpy on
            mels = np.concatenate([self.features(clip, sampling_rate=_RATE)["input_features"] for clip in clips])
        with torch.no_grad():
            x = nn.functional.gelu(self.conv1(torch.from_numpy(mels).to(signals.device)))
            x = nn.functional.gelu(self.conv2(x)).transpose(1, 2) + self.embed_positions.weight
        heard = (lengths + _SAMPLES_A_POSITION - 1) // _SAMPLES_A_POSITION
        return x, mask_of(heard, x.shape[1])

    def finished(self, x: Tensor) -> Tensor:
        return self.norm(x)  # type: ignore[no-any-return]

    def convolutions(self) -> list[nn.Module]:
        return [self.conv1, self.conv2, self.embed_positions]

    @property
    def last_norm(self) -> nn.Module | None:
        return self.norm  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Family:
    """prefixes: what the names of its tensors may begin with, the longest first; build: configuration, and whether
    clips are normalised -> the encoder of transformers; wrap: that, and whether -> the backbone."""

    prefixes: tuple[str, ...]
    build: Callable[[Mapping[str, Any]], nn.Module]
    wrap: Callable[[nn.Module, bool], Backbone]


def _speech(model: Any, config: Any, prefix: str) -> _Family:
    # What masks parts of the input while a backbone is pre-trained is no part of a teacher.
    def build(said: Mapping[str, Any]) -> nn.Module:
        made: nn.Module = model(config(**{**said, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}))
        return made

    return _Family((prefix,), build, lambda made, normalises: Speech(made, normalises=normalises))


def _views(said: Mapping[str, Any]) -> nn.Module:
    from teacher.contrastive.backbone import built

    return built(said)


def _on_speech(made: Any, _: bool) -> Backbone:
    from teacher.contrastive.backbone import standing

    return standing(made)


#: By `model_type` of `config.json`. Views are what `distill pretrain-views` made.
_FAMILIES = {
    "wav2vec2": _speech(Wav2Vec2Model, Wav2Vec2Config, "wav2vec2."),
    "hubert": _speech(HubertModel, HubertConfig, "hubert."),
    "wavlm": _speech(WavLMModel, WavLMConfig, "wavlm."),
    "whisper": _Family(
        ("model.encoder.", "encoder."),
        lambda said: WhisperEncoder(WhisperConfig(**said)),
        lambda made, _: Whisper(made),
    ),
    VIEWS: _Family(("",), _views, _on_speech),
}

#: What `--backbone` may be of.
FAMILIES = tuple(_FAMILIES)


def find_backbone(name: str) -> Origin:
    """A backbone by folder or hub id (owner/name, perhaps @revision), downloaded once, its weights not read yet.

    Raises:
        DistillError: there is none, the hub is out of reach, or it is of another family.
    """
    if Path(name).is_dir():
        folder, revision = Path(name), revision_of(Path(name))
    elif hub.is_hub_id(name):
        folder, revision = hub.fetch(name, instead="a folder with its files (--backbone FOLDER)")
    else:
        raise DistillError(f"--backbone {name}: no such folder, and no hub id (owner/name)")
    family = str(read_config(folder).get("model_type"))
    if family not in _FAMILIES:
        raise DistillError(f"{folder}: model_type {family!r} is no backbone; there are {', '.join(FAMILIES)}")
    return Origin(name, folder, revision, family, licence_of(folder))


def found_again(wanted: Origin, find: Callable[[str], Origin], *, stands: str | Path, said_in: str) -> Origin:
    """The very same backbone, or whatever `find` finds: at its commit on the hub, or where it was.

    stands: what stands on it; said_in: the file that says so, for the message.

    Raises:
        DistillError: it is not there, or holds other weights.
    """
    if hub.is_hub_id(wanted.name) and not wanted.folder.is_dir():
        return find(f"{wanted.name.partition('@')[0]}@{wanted.revision}")
    if not wanted.folder.is_dir():
        raise DistillError(
            f"{stands}: what it stands on, {wanted.folder}, is not there; put it there, or write its place into "
            f"{said_in} (folder)"
        )
    if hub.is_hub_id(wanted.name) and wanted.folder.name == wanted.revision:
        return wanted
    found = find(str(wanted.folder))
    if found.revision != wanted.revision:
        raise DistillError(f"{wanted.folder}: holds other weights ({found.revision}) than {stands} was tuned on")
    return found


def open_backbone(origin: Origin) -> Backbone:
    """The backbone with exactly the tensors of its file, frozen, in evaluation mode.

    Raises:
        DistillError: a tensor is missing, too many or misshaped, or the configuration asks for what is not known.
    """
    config, family = read_config(origin.folder), _FAMILIES[origin.family]
    path, state = read_state(origin.folder)
    try:
        model = placed(lambda: family.build(config), path, _encoder_of(state, family.prefixes))
    except (TypeError, ValueError, StrictDataclassError) as error:  # sizes that transformers or torch refuse
        raise DistillError(f"{origin.folder / 'config.json'}: {' '.join(str(error).split())}") from None
    return family.wrap(model, _normalises(origin.folder)).eval().requires_grad_(False)


def backbone_of(config: Mapping[str, Any], *, normalises: bool = True) -> Backbone:
    """A backbone of that configuration with random weights, frozen: for counting, and for trying out.

    >>> small = {"model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    ...          "intermediate_size": 16, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 2}
    >>> len(backbone_of(small).blocks)
    1
    """
    family = _FAMILIES[str(config["model_type"])]
    return family.wrap(family.build(config), normalises).eval().requires_grad_(False)


def _encoder_of(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The encoder's tensors without their prefix, and without the heads that published files hold beside it."""
    prefix = next((prefix for prefix in prefixes if any(name.startswith(prefix) for name in state)), "")
    whisper = prefix.endswith("encoder.")  # its other tensors are the decoder's: model.decoder
    shortened = {name.removeprefix("model.") if whisper and not name.startswith(prefix) else
                 name.removeprefix(prefix): tensor for name, tensor in state.items()}  # fmt: skip
    return {name: tensor for name, tensor in shortened.items()
            if not name.startswith(_HEADS) and name != "masked_spec_embed"}  # fmt: skip


def _normalises(folder: Path) -> bool:
    """What `preprocessor_config.json` says; without it what transformers takes it to say."""
    path = folder / PREPROCESSOR
    said = read_json(path) if path.is_file() else {}
    return bool(said.get("do_normalize", True)) if isinstance(said, dict) else True


def _reject_unknown_parts(config: Any) -> None:
    """Refuse variants of the families whose layers hold more than is computed here."""
    asked = {
        "add_adapter": bool(config.add_adapter) if hasattr(config, "add_adapter") else False,
        "adapter_attn_dim": getattr(config, "adapter_attn_dim", None) is not None,
        "conv_pos_batch_norm": bool(getattr(config, "conv_pos_batch_norm", False)),
    }
    if found := [name for name, there in asked.items() if there]:
        raise DistillError(f"the backbone's configuration asks for {found[0]}, which is not known here")


def _normed_over_time(x: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """`norm`, a group a channel, with moments over the steps within each clip alone: [batch, channels, time]."""
    mask = mask_of(lengths, x.shape[2])[:, None]
    count = lengths[:, None, None]
    mean = torch.where(mask, x, 0.0).sum(2, keepdim=True) / count
    centred = torch.where(mask, x - mean, 0.0)
    variance = centred.square().sum(2, keepdim=True) / count
    scaled = centred / torch.sqrt(variance + norm.eps)
    return scaled * norm.weight[:, None] + norm.bias[:, None]
