"""Weights rounded one input after the other, each error made good by the inputs that are still to come.

Frantar et al. (2022), "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"; the second
moments of what the layer sees on calibration clips say how inputs stand in for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from students.quantised import QuantisedVgg, Rounded, to_levels

#: Added to the moments' diagonal, in shares of its mean: calibration clips do not show every direction.
DAMPING = 0.01


@torch.no_grad()
def compensate(network: QuantisedVgg, clips: Sequence[np.ndarray]) -> None:
    """Round lin and sof anew. clips: float32 [samples] each.

    The softmax over time does not see what is the same at all times of a clip: sof may err there for nothing.
    """
    plain, centred = _moments(network, clips)
    for layer, moments in ((network.lin, plain), (network.sof, centred)):
        layer.weight.copy_(compensated(layer, moments))


def compensated(layer: Rounded, moments: Tensor) -> Tensor:
    """A layer's weight [rows, inputs] on its levels. moments: of its inputs, [inputs, inputs]."""
    inputs = len(moments)
    order = torch.argsort(moments.diag(), descending=True)
    damped = moments.double() + DAMPING * moments.diag().mean() * torch.eye(inputs)
    spread = torch.linalg.cholesky(torch.linalg.inv(damped[order][:, order]), upper=True)
    left, step = layer.weight.double()[:, order], layer.step.double()
    found = torch.zeros_like(left)
    for column in range(inputs):
        found[:, order[column]] = rounded = to_levels(left[:, column] / step, layer.bits) * step
        error = (left[:, column] - rounded) / spread[column, column]
        left[:, column:] -= error[:, None] * spread[column, column:]
    return found.float()


def _moments(network: QuantisedVgg, clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Of the tokens, as they are and less their mean of each clip; every clip counts as much."""
    plain, centred = [], []
    for clip in clips:
        tokens = network.tokens(torch.from_numpy(clip)[None]).squeeze(0)
        width = tokens.shape[-1]
        plain.append(_second(tokens.reshape(-1, width)))
        centred.append(_second((tokens - tokens.mean(0)).reshape(-1, width)))
    return torch.stack(plain).mean(0), torch.stack(centred).mean(0)


def _second(rows: Tensor) -> Tensor:
    return rows.T @ rows / len(rows)
