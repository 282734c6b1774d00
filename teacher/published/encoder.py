"""The encoders of WavLM and wav2vec 2.0, computed our way over the published tensors.

What differs from transformers: convolutions are matrix products over [time, channels]; query, key and value are one
product; WavLM's position bias is looked up once for all layers, over 2 T - 1 distances; attention is one fused call
with the gated bias as its mask; weights are packed once (`teacher/published/products.py`). Answers agree within 1e-4.

Chen et al. (2022), "WavLM: large-scale self-supervised pre-training for full stack speech processing";
Baevski et al. (2020), "wav2vec 2.0: a framework for self-supervised learning of speech representations".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Wav2Vec2Model, WavLMModel

from teacher.published.products import Product, product

#: Frames that a CPU takes through the convolutions at a time, so that what is between two of them stays in the cache
#: and no block of memory is so large that the system is asked for it, page by page, with every clip.
PIECE = 64


def can_compute(encoder: nn.Module) -> bool:
    """Whether `OwnEncoder` computes what this encoder of transformers does: the layout of the large models.

    >>> can_compute(nn.Linear(1, 1))
    False
    """
    if not isinstance(encoder, (WavLMModel, Wav2Vec2Model)):
        return False
    config: Any = encoder.config
    return bool(
        config.do_stable_layer_norm and config.feat_extract_norm == "layer" and not config.add_adapter
        and config.hidden_act == config.feat_extract_activation == "gelu"
        and getattr(config, "adapter_attn_dim", None) is None
    )  # fmt: skip


class OwnEncoder(nn.Module):
    """An encoder for inference, built from one of transformers on the device where it is to compute.

    Holds its weights packed, in no parameters or buffers: it is not to be saved, moved or trained. Layer norms, the
    first convolution and what flows from layer to layer stay in float32 whatever `dtype` the products have.
    """

    def __init__(self, encoder: Any, dtype: torch.dtype = torch.float32) -> None:
        """Take the weights out of `encoder`, which is of no use afterwards: memory holds each of them once."""
        super().__init__()
        self.config, self.dtype = encoder.config, dtype
        self._convolutions = [_Convolution.of(layer, dtype) for layer in encoder.feature_extractor.conv_layers]
        self._receptive, self._hop = _span(self._convolutions)
        self._feature_norm = _Norm.of(encoder.feature_projection.layer_norm)
        self._projection = product(*_tensors(encoder.feature_projection.projection), dtype)
        self._place = _Place.of(encoder.encoder.pos_conv_embed.conv, dtype)
        self._bias = _PositionBias.of(encoder.encoder.layers[0].attention, self.config)
        self._layers = list(_taken(encoder.encoder.layers, dtype))
        self._last_norm = _Norm.of(encoder.encoder.layer_norm)

    def forward(self, signals: Tensor, mask: Tensor, *, layers: bool = False) -> Tensor | tuple[Tensor, ...]:
        """The last hidden state, float32 [batch, time, width]; with `layers` what each layer hears, and it, a tuple.

        signals: float32 [batch, samples], zero behind each clip. mask: boolean [batch, time], the frames within each.
        """
        hidden = self._projection(self._feature_norm(self._features(signals)).to(self.dtype)).float()
        padded = not bool(mask.all())
        if padded:
            hidden = torch.where(mask[..., None], hidden, 0.0)
        hidden = hidden + self._place(hidden)
        bias = None if self._bias is None else self._bias(hidden.shape[1])
        hidden_keys = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf) if padded else None
        heard = []
        for layer in self._layers:
            if layers:
                heard.append(hidden)
            hidden = layer(hidden, bias, None if hidden_keys is None else hidden_keys[:, None, None])
        last = self._last_norm(hidden)
        return (*heard, last) if layers else last

    def _features(self, signals: Tensor) -> Tensor:
        """[batch, samples] -> [batch, time, channels], by pieces on a CPU: no frame hears beyond its own samples."""
        frames = (signals.shape[1] - self._receptive) // self._hop + 1
        piece = PIECE if signals.device.type == "cpu" else frames
        pieces = []
        for start in range(0, frames, piece):
            count = min(piece, frames - start)
            x = signals[:, start * self._hop : (start + count - 1) * self._hop + self._receptive, None]
            for convolution in self._convolutions:
                x = convolution(x)
            pieces.append(x)
        return torch.cat(pieces, dim=1)


@dataclass(frozen=True)
class _Norm:
    """Layer norm over the last dimension, in float32 whatever comes in."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> _Norm:
        return cls(norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.float(), self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class _Convolution:
    """Convolution, layer norm and GELU over [batch, time, channels]: a product with `kernel` steps side by side."""

    product: Product
    norm: _Norm
    kernel: int
    stride: int
    dtype: torch.dtype
    answer: torch.dtype

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype) -> _Convolution:
        weight = layer.conv.weight.detach()  # [out, in, kernel]
        # The samples themselves have a range that bfloat16 would cut: the first product, a hundredth of all, does not.
        own = torch.float32 if weight.shape[1] == 1 else dtype
        flat = weight.permute(0, 2, 1).reshape(len(weight), -1)
        kernel, stride = int(layer.conv.kernel_size[0]), int(layer.conv.stride[0])
        made = product(flat, layer.conv.bias, own)
        return cls(made, _Norm.of(layer.layer_norm), kernel, stride, own, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        return functional.gelu(self.norm(self.product(_windows(x, self.kernel, self.stride))).to(self.answer))


def _windows(x: Tensor, kernel: int, stride: int) -> Tensor:
    """[batch, time, channels] -> [batch, steps, kernel x channels], a view in which neighbours overlap."""
    x = x.contiguous()
    batch, time, channels = x.shape
    steps = (time - kernel) // stride + 1
    return x.as_strided((batch, steps, kernel * channels), (time * channels, stride * channels, 1))


def _span(convolutions: Sequence[_Convolution]) -> tuple[int, int]:
    """Samples that one frame hears, and from one frame to the next.

    >>> from types import SimpleNamespace as Of
    >>> kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    >>> _span([Of(kernel=kernel, stride=stride) for kernel, stride in zip(kernels, strides)])
    (400, 320)
    """
    receptive, hop = 1, 1
    for convolution in convolutions:
        receptive, hop = receptive + (convolution.kernel - 1) * hop, hop * convolution.stride
    return receptive, hop


@dataclass(frozen=True)
class _Place:
    """The convolution by which a frame knows its place: [batch, time, width] -> the same, after GELU."""

    weight: Tensor | None  # [width, width / groups, kernel], where torch convolves
    products: list[Product]  # one a group, where packed weights do
    bias: Tensor
    kernel: int
    dtype: torch.dtype

    @classmethod
    def of(cls, conv: Any, dtype: torch.dtype) -> _Place:
        weight, bias = conv.weight.detach(), conv.bias.detach()  # the weight norm is computed here, once
        kernel = int(conv.kernel_size[0])
        if weight.device.type != "cpu":
            return cls(weight.to(dtype), [], bias.to(dtype), kernel, dtype)
        groups = weight.permute(0, 2, 1).reshape(conv.groups, len(weight) // conv.groups, -1)
        return cls(None, [product(group, None, dtype) for group in groups], bias, kernel, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        before, after = self.kernel // 2, self.kernel - 1 - self.kernel // 2
        x = functional.pad(x.to(self.dtype), (0, 0, before, after))
        if self.weight is not None:
            groups = x.shape[2] // self.weight.shape[1]
            answer = functional.conv1d(x.transpose(1, 2), self.weight, self.bias, groups=groups).transpose(1, 2)
            return functional.gelu(answer.float())
        parts = x.chunk(len(self.products), dim=2)
        answers = [made(_windows(part, self.kernel, 1)) for made, part in zip(self.products, parts, strict=True)]
        return functional.gelu(torch.cat(answers, dim=2).float() + self.bias)


@dataclass(frozen=True)
class _PositionBias:
    """WavLM's bias on the attention by the distance of two frames. weight: float32 [buckets, heads]."""

    weight: Tensor
    longest: int

    @classmethod
    def of(cls, attention: Any, config: Any) -> _PositionBias | None:
        """Of the first layer, which all of them share; None for wav2vec 2.0."""
        embedding = getattr(attention, "rel_attn_embed", None)
        return None if embedding is None else cls(embedding.weight.detach(), int(config.max_bucket_distance))

    def __call__(self, frames: int) -> Tensor:
        """[heads, frames (query), frames (key)]."""
        distances = torch.arange(1 - frames, frames, device=self.weight.device)
        by_distance = self.weight[buckets(distances, len(self.weight), self.longest)].t()
        # Row r of the unfolded table begins at distance r + 1 - frames, which is that of the last query's first key.
        return by_distance.unfold(1, frames, 1).flip(1)


def buckets(distances: Tensor, count: int, longest: int) -> Tensor:
    """The buckets of distances key - query: half of `count` each way; exact up to a half of those, then logarithmic.

    Raffel et al. (2020), "Exploring the limits of transfer learning with a unified text-to-text transformer" (T5).

    >>> buckets(torch.tensor([-900, -80, -1, 0, 1, 79, 80, 900]), 320, 800).tolist()
    [159, 80, 1, 0, 161, 239, 240, 319]
    """
    side = count // 2
    exact = side // 2
    far = distances.abs()
    logarithmic = torch.log(far.clamp(min=1).float() / exact) / math.log(longest / exact) * (side - exact)
    beyond = (exact + logarithmic).long().clamp(max=side - 1)
    return (distances > 0).long() * side + torch.where(far < exact, far, beyond)


@dataclass(frozen=True)
class _Gate:
    """How much of the position bias each frame lets through, per head.

    weight: [2, head width], bias: [2], of which WavLM's file holds four summands each; scale: [heads].
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor

    @classmethod
    def of(cls, attention: Any) -> _Gate | None:
        linear = getattr(attention, "gru_rel_pos_linear", None)
        if linear is None:
            return None
        weight, bias = (tensor.detach().view(2, 4, *tensor.shape[1:]).sum(1) for tensor in (linear.weight, linear.bias))
        return cls(weight, bias, attention.gru_rel_pos_const.detach().flatten())

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> [batch, heads, time, 1]."""
        by_head = x.view(*x.shape[:2], len(self.scale), -1)
        update, reset = torch.sigmoid(functional.linear(by_head, self.weight, self.bias)).unbind(-1)
        return (update * (reset * self.scale - 1.0) + 2.0).transpose(1, 2)[..., None]


@dataclass(frozen=True)
class _Layer:
    """Attention and feed-forward, each after a layer norm and beside a residual: float32 [batch, time, width]."""

    norm: _Norm
    queries_keys_values: Product
    gate: _Gate | None
    out: Product
    final_norm: _Norm
    widen: Product
    narrow: Product
    heads: int
    dtype: torch.dtype

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype) -> _Layer:
        attention, forward = layer.attention, layer.feed_forward
        merged = [torch.cat(three) for three in zip(
            *(_tensors(part) for part in (attention.q_proj, attention.k_proj, attention.v_proj)), strict=True
        )]  # fmt: skip
        return cls(
            _Norm.of(layer.layer_norm), product(merged[0], merged[1], dtype), _Gate.of(attention),
            product(*_tensors(attention.out_proj), dtype), _Norm.of(layer.final_layer_norm),
            product(*_tensors(forward.intermediate_dense), dtype, gelu=True),
            product(*_tensors(forward.output_dense), dtype), int(attention.num_heads), dtype,
        )  # fmt: skip

    def __call__(self, hidden: Tensor, bias: Tensor | None, hidden_keys: Tensor | None) -> Tensor:
        """bias: [heads, time, time]; hidden_keys: [batch, 1, 1, time], -inf where a key is padding; None of neither."""
        heard = self.norm(hidden)
        hidden = hidden + self._attended(heard, self._mask(heard, bias, hidden_keys))
        return hidden + self.narrow(self.widen(self.final_norm(hidden).to(self.dtype)))

    def _mask(self, heard: Tensor, bias: Tensor | None, hidden_keys: Tensor | None) -> Tensor | None:
        if bias is None or self.gate is None:
            return hidden_keys
        gate = self.gate(heard)
        return gate * bias if hidden_keys is None else torch.addcmul(hidden_keys, gate, bias)

    def _attended(self, heard: Tensor, mask: Tensor | None) -> Tensor:
        batch, time, _ = heard.shape
        three = self.queries_keys_values(heard.to(self.dtype)).view(batch, time, 3, self.heads, -1)
        query, key, value = three.permute(2, 0, 3, 1, 4)
        answer = _attention(query, key, value, mask)
        return self.out(answer.transpose(1, 2).reshape(batch, time, -1))


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(width) + mask) v: [batch, heads, time, width]; mask: float32, as wide as it has to be."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # Torch's fused attention multiplies bfloat16 no faster than float32 on a CPU; these products take half of it.
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3)).float()
        weights = torch.softmax(scores if mask is None else scores.add_(mask), dim=-1)
        return torch.matmul(weights.to(value.dtype), value)
    if mask is not None:
        mask = mask.to(query.dtype)  # a GPU's fused attention takes no other
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _tensors(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight.detach(), linear.bias.detach()


def _taken(layers: Any, dtype: torch.dtype) -> Iterator[_Layer]:
    """Each layer, packed; what it was made of is let go before the next is packed."""
    for index in range(len(layers)):
        yield _Layer.of(layers[index], dtype)
        layers[index] = nn.Identity()


def with_own_encoders(network: nn.Module, dtype: torch.dtype = torch.float32) -> int:
    """Put `OwnEncoder`s in the place of a network's encoders of transformers, where they can be; gives how many."""
    found = [name for name, module in network.named_children() if can_compute(module)]
    for name in found:
        setattr(network, name, OwnEncoder(getattr(network, name), dtype))
    return len(found)
