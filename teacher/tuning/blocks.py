"""One layer of a speech transformer, of whichever family, with a place for what a method adds to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and feed-forward of one layer. prompt: vectors in front while the layer hears, [count, width], or None.

    stable: norms stand before attention and feed-forward, not behind them.
    """

    def __init__(
        self, attention: nn.Module, norm: nn.Module, feed_forward: nn.Module, final_norm: nn.Module, *, stable: bool,
        dropout: float, biased: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attention, self.norm = attention, norm
        self.feed_forward, self.final_norm = feed_forward, final_norm
        self.stable, self.dropout, self.biased = stable, dropout, biased
        self.prompt: nn.Parameter | None = None

    @classmethod
    def of_speech(cls, layer: Any, *, stable: bool, biased: bool) -> Block:
        """A layer of wav2vec 2.0, HuBERT or WavLM. biased: WavLM's, whose attention knows distances."""
        return cls(
            layer.attention, layer.layer_norm, layer.feed_forward, layer.final_layer_norm, stable=stable,
            dropout=float(layer.dropout.p), biased=biased,
        )  # fmt: skip

    @classmethod
    def of_whisper(cls, layer: Any) -> Block:
        """A layer of Whisper's encoder."""
        return cls(
            layer.self_attn, layer.self_attn_layer_norm, WhisperFeedForward(layer), layer.final_layer_norm, stable=True,
            dropout=float(layer.dropout),
        )  # fmt: skip

    def forward(self, x: Tensor, mask: Tensor | None, bias: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x: [batch, time, width]; mask: boolean [batch, time], the frames that count, or None where all do.

        bias: of WavLM, what its first layer gave as the second answer; the later ones share it.
        """
        if self.prompt is None:
            return self._heard(x, mask, bias)
        count = len(self.prompt)
        x = torch.cat([self.prompt.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
        x, bias = self._heard(x, None if mask is None else functional.pad(mask, (count, 0), value=True), bias)
        return x[:, count:], bias

    def _heard(self, x: Tensor, mask: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        attended, bias = self._attended(self.norm(x) if self.stable else x, mask, bias)
        x = x + functional.dropout(attended, self.dropout, self.training)
        if self.stable:
            return x + self.feed_forward(self.final_norm(x)), bias
        x = self.norm(x)
        return self.final_norm(x + self.feed_forward(x)), bias

    def _attended(self, x: Tensor, mask: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not self.biased:
            return self.attention(x, attention_mask=None if mask is None else _additive(mask, x.dtype))[0], None
        with warnings.catch_warnings():
            # WavLM's attention hands torch a boolean mask beside its additive position bias.
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
            answer, _, bias = self.attention(x, attention_mask=mask, position_bias=bias)
        return answer, bias


class WhisperFeedForward(nn.Module):
    """The two linear layers that Whisper keeps in the layer itself, under the names of the other families."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.intermediate_dense, self.output_dense = layer.fc1, layer.fc2
        self.activation: Callable[[Tensor], Tensor] = layer.activation_fn
        self.inner_dropout, self.dropout = float(layer.activation_dropout), float(layer.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(self.activation(self.intermediate_dense(x)), self.inner_dropout, self.training)
        return functional.dropout(self.output_dense(x), self.dropout, self.training)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 for keys that count, -inf for the others: boolean [batch, time] -> [batch, 1, 1, time]."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)[:, None, None]
