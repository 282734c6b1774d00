"""Which rows of lin and of sof a small file goes without, and which of them deserve more bits."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from export.calibration import observe
from export.rounding import compensate
from students.quantised import Bits, QuantisedVgg, attention_of
from students.wav2small import Wav2Small

#: Rows that are left out: what the head hears of them it hears of others as well. Their bytes are better spent.
LEFT_OUT = 16

#: Clips on which rows are compared, at most.
COMPARED = 400

#: What holds the head to its weights while rows are left out, in shares of a row's own variance.
_HOLD = 1e-3


@torch.no_grad()
def rows_by_importance(student: Wav2Small, clips: Sequence[np.ndarray], bits: Mapping[str, Bits]) -> list[int]:
    """The rows that are kept, that first whose rounding to `bits` moves the answers most. clips: as of `compensate`."""
    network = QuantisedVgg(student, bits, observe(student, clips)).eval()
    compensate(network, student, clips)
    pcm = [torch.from_numpy(clip)[None] for clip in clips[:COMPARED]]
    pooled, found = (torch.cat([model.pooled(clip) for clip in pcm]) for model in (student, network))
    weight = student.head.weight
    heard = (weight.square() / (pooled @ weight.T).var(0).clamp(min=1e-12)[:, None]).sum(0)
    moved = (found - pooled).var(0) * heard
    kept = kept_rows(pooled, weight, len(moved) - LEFT_OUT)
    return sorted(kept, key=lambda row: -float(moved[row]))


def kept_rows(pooled: Tensor, weight: Tensor, count: int) -> list[int]:
    """The `count` rows from which a head fitted anew answers most like the one with `weight` [axes, rows]. pooled:
    [clips, rows].

    One row after the other is left out, that which costs least: Hassibi and Stork (1993), "Second order derivatives for
    network pruning: Optimal Brain Surgeon".
    """
    off = (pooled - pooled.mean(0)).double()
    products = off.T @ off / len(off)
    products += torch.diag(_HOLD * products.diag() + 1e-12)
    answers, spread = products @ weight.T.double(), (off @ weight.T.double()).var(0).clamp(min=1e-12)
    kept = list(range(len(products)))
    while len(kept) > count:
        inverse = torch.linalg.inv(products[kept][:, kept])
        cost = ((inverse @ answers[kept]).square() / spread).sum(1) / inverse.diag()
        kept.pop(int(cost.argmin()))
    return kept


def with_rows(student: Wav2Small, rows: Sequence[int]) -> Wav2Small:
    """A copy that has these rows alone, in this order.

    >>> with_rows(Wav2Small(), [2, 0]).eval()(torch.zeros(1, 8_000)).shape
    torch.Size([1, 3])
    """
    student, chosen = copy.deepcopy(student), torch.tensor(rows)
    for layer in (*attention_of(student), student.head):
        head = layer is student.head
        layer.weight = nn.Parameter(layer.weight.detach().index_select(int(head), chosen))
        if layer.bias is not None and not head:
            layer.bias = nn.Parameter(layer.bias.detach()[chosen])
    return student
