"""Rows moved level by level: the answers come nearer, and every weight stays on a level."""

from __future__ import annotations

import numpy as np
import torch

from export.calibration import observe
from export.precision import fewest_bits
from export.quantising import put_right
from export.refining import refine
from export.rounding import compensate
from export.rows import with_rows
from students.catalogue import build
from students.quantised import QuantisedVgg


def test_refined_rows_answer_nearer_and_are_on_levels() -> None:
    torch.manual_seed(0)
    student, rng = build("wav2small").eval(), np.random.default_rng(0)
    lengths = rng.integers(5_000, 9_000, 24)  # clips need not be of one length
    clips = [np.convolve(rng.standard_normal(n), np.ones(k) / k, "same").astype(np.float32)
             for k, n in enumerate(lengths, 1)]  # fmt: skip
    rows = list(range(150, 4, -1))
    kept = with_rows(student, rows)
    each = (4,) * 10 + (2,) * (len(rows) - 10)
    network = QuantisedVgg(kept, {**fewest_bits(student), "lin": each, "sof": each}, observe(kept, clips)).eval()
    compensate(network, kept, clips)
    put_right(network, student, clips)

    def off() -> float:
        with torch.no_grad():
            pcm = [torch.from_numpy(clip)[None] for clip in clips]
            found = torch.cat([network(clip) - student(clip) for clip in pcm])
        return float((found - found.mean(0)).square().mean())

    before, convolutions = off(), [conv.weight.weight.clone() for conv in network.layers.values()]
    levels = [layer.levels().clone() for layer in (network.lin, network.sof)]
    refine(network, kept, student, clips)
    assert off() < 0.7 * before
    for layer, was in zip((network.lin, network.sof), levels, strict=True):
        now = layer.levels()
        assert not torch.equal(now, was) and torch.allclose(layer(), layer.weight, atol=1e-5)
        assert now[10:].abs().max() <= 3 < now[:10].abs().max() <= 15
        assert torch.equal(layer.step, layer.step.half().float())
    for conv, was in zip(network.layers.values(), convolutions, strict=True):
        assert torch.equal(conv.weight.weight, was)
