"""What each method adds to a frozen backbone, and which of its tensors learn.

The sizes are those of Feng and Narayanan (2023), "PEFT-SER: on the use of parameter efficient transfer learning
approaches for speech emotion recognition using pre-trained speech models".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.errors import DistillError
from teacher.tuning.backbone import Backbone
from teacher.tuning.design import Design

#: Of an adapter: its inner width, and by how much its answer is scaled.
BOTTLENECK, ADAPTER_SCALE = 128, 0.1

#: Vectors in front of each layer.
PROMPTS = 5

#: Of the low-rank updates; their answer is scaled by alpha / rank.
LORA_RANK, LORA_ALPHA = 16, 1

#: The linear layers that are updated. Not those of the attention: WavLM's hands the raw weights on, and no update of
#: them would ever have a gradient.
LORA_TARGETS = ("intermediate_dense", "output_dense")


class Adapter(nn.Module):
    """A bottleneck: [..., width] -> the same. It answers 0 before it has learned.

    Houlsby et al. (2019), "Parameter-efficient transfer learning for NLP".
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, BOTTLENECK), nn.Linear(BOTTLENECK, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = ADAPTER_SCALE * self.up(torch.relu(self.down(x)))
        return answer


class Adapted(nn.Module):
    """A feed-forward layer with an adapter beside it, or behind it."""

    def __init__(self, feed_forward: nn.Module, width: int, *, behind: bool) -> None:
        super().__init__()
        self.feed_forward, self.adapter, self.behind = feed_forward, Adapter(width), behind

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.feed_forward(x)
        added: Tensor = self.adapter(answer if self.behind else x)
        return answer + added


def apply(design: Design, backbone: Backbone) -> None:
    """Prune a frozen backbone, add to it what the method adds, and let learn what learns.

    Raises:
        DistillError: it has fewer layers than are asked for.
    """
    if design.kept is not None:
        backbone.keep_first(design.kept)
    _APPLIED.get(design.method, _nothing)(design, backbone)


def _nothing(design: Design, backbone: Backbone) -> None:
    pass


def _full(design: Design, backbone: Backbone) -> None:
    backbone.requires_grad_(True)
    for module in backbone.convolutions():
        module.requires_grad_(False)


def _partial(design: Design, backbone: Backbone) -> None:
    blocks: Any = backbone.blocks
    if design.top > len(blocks):
        raise DistillError(f"--top-layers {design.top}: the backbone has {len(blocks)} layers")
    norms = [] if backbone.last_norm is None else [backbone.last_norm]
    for module in [*blocks[len(blocks) - design.top :], *norms]:
        module.requires_grad_(True)


def _adapters(design: Design, backbone: Backbone) -> None:
    for block in backbone.blocks:
        inner: Any = block.feed_forward
        block.feed_forward = Adapted(inner, backbone.width, behind=design.method == "adapter-sequential")


def _prompts(design: Design, backbone: Backbone) -> None:
    for block in backbone.blocks:
        where = next(block.parameters()).device
        made = nn.Parameter(torch.empty(PROMPTS, backbone.width, device=where))
        block.prompt = nn.init.xavier_uniform_(made)  # type: ignore[assignment]


def _low_rank(design: Design, backbone: Backbone) -> None:
    """Hu et al. (2022), "LoRA: low-rank adaptation of large language models"."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=list(LORA_TARGETS), lora_dropout=0.0)
    inject_adapter_in_model(config, backbone)


_APPLIED = {
    "full": _full, "partial": _partial, "adapter": _adapters, "adapter-sequential": _adapters, "prompt": _prompts,
    "lora": _low_rank,
}  # fmt: skip


def learning(module: nn.Module) -> dict[str, nn.Parameter]:
    """The tensors that learn, by name.

    >>> sorted(learning(Adapter(4)))
    ['down.bias', 'down.weight', 'up.bias', 'up.weight']
    """
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def count(module: nn.Module) -> int:
    """How many numbers learn.

    >>> count(Adapter(768))  # of each of the 12 layers of a base model: 2.37 million in all
    197504
    """
    return sum(parameter.numel() for parameter in learning(module).values())
