"""How much an encoder multiplies for a clip, and how fast this machine multiplies: what a time is to be seen beside."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from transformers import WavLMConfig

from distill.audio import SAMPLING_RATE
from teacher.published.products import product

#: Of the square matrices that are multiplied: large enough to fill a GPU.
SIDE = 8192


def flops(sizes: Mapping[str, Any], seconds: float) -> float:
    """Floating point operations of the products of one clip: convolutions, linears and attention.

    sizes: of WavLM's configuration.

    >>> from teacher.published.network import WAVLM_LARGE
    >>> round(flops(WAVLM_LARGE, 1.0) / 1e9)  # GFLOP a second of audio
    36
    """
    config: Any = WavLMConfig(**sizes)
    samples, inward, multiplied = round(seconds * SAMPLING_RATE), 1, 0
    for kernel, stride, outward in zip(config.conv_kernel, config.conv_stride, config.conv_dim, strict=True):
        samples = (samples - kernel) // stride + 1
        multiplied += samples * kernel * inward * outward
        inward = outward
    width, wide = config.hidden_size, config.intermediate_size
    multiplied += samples * inward * width
    multiplied += samples * width * width // config.num_conv_pos_embedding_groups * config.num_conv_pos_embeddings
    a_layer = samples * (4 * width * width + 2 * width * wide) + 2 * samples * samples * width
    return float(2 * (multiplied + config.num_hidden_layers * a_layer))


def product_rate(dtype: torch.dtype, where: torch.device, *, repeats: int = 7, side: int = SIDE) -> float:
    """FLOP/s of large square products, the median of some; weights packed as ours are."""
    x = torch.randn(side, side, device=where).to(dtype)
    multiply = product(x, None, dtype)
    taken = []
    for _ in range(repeats + 2):
        before = time.perf_counter()
        _ = multiply(x)[0, 0].item()  # which waits for a GPU
        taken.append(time.perf_counter() - before)
    return 2 * side**3 / statistics.median(taken[2:])
