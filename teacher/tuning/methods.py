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

#: Of the attention by which a frame chooses between the adapters of several tasks.
FUSION_WIDTH = 64

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


class Stacked(nn.Module):
    """Adapters of several tasks, each of which hears what those before it made: [..., width] -> what all add.

    Suresh et al. (2024), "An adapter-based unified model for multiple spoken language processing tasks".
    """

    def __init__(self, width: int, tasks: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(Adapter(width) for _ in range(tasks))

    def forward(self, x: Tensor) -> Tensor:
        added = torch.zeros_like(x)
        for adapter in self.each:
            added = added + adapter(x + added)
        return added


class Fused(nn.Module):
    """Adapters of several tasks, to which each frame attends: [..., width] -> the sum by the shares of attention.

    Pfeiffer et al. (2021), "AdapterFusion: non-destructive task composition for transfer learning", as Suresh et al.
    (2024) take it to speech. Queries and keys have `FUSION_WIDTH` dimensions here, and the values are what the adapters
    say: the published fusion has three matrices of width by width in each layer, 21 million numbers in a base model,
    ten times as many as an adapter, and its values begin as they are here.
    """

    def __init__(self, width: int, tasks: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(Adapter(width) for _ in range(tasks))
        self.query, self.key = (nn.Linear(width, FUSION_WIDTH, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        said = torch.stack([adapter(x) for adapter in self.each], dim=-2)
        return (self.shares(x, said)[..., None] * said).sum(-2)

    def shares(self, x: Tensor, said: Tensor) -> Tensor:
        """What each frame takes of each task, [..., tasks], adding up to 1. said: [..., tasks, width]."""
        scores = (self.query(x)[..., None, :] * self.key(said)).sum(-1) / FUSION_WIDTH**0.5
        return torch.softmax(scores, dim=-1)


class Adapted(nn.Module):
    """A feed-forward layer with an adapter, or those of several tasks, beside it or behind it."""

    def __init__(self, feed_forward: nn.Module, adapter: nn.Module, *, behind: bool) -> None:
        super().__init__()
        self.feed_forward, self.adapter, self.behind = feed_forward, adapter, behind

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
        made = _adapter(design, backbone.width)
        block.feed_forward = Adapted(inner, made, behind=design.method == "adapter-sequential")


def _adapter(design: Design, width: int) -> nn.Module:
    if design.composition == "none":
        return Adapter(width)
    return {"stack": Stacked, "fuse": Fused}[design.composition](width, len(design.tasks))


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
