"""A student in integers, on the float one's scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.calibration import observe
from export.quantising import put_right
from students.catalogue import build
from students.quantised import QuantisedVgg, layers_of


@pytest.mark.parametrize("name", ["wav2small", "wav2small-17k"])
def test_answers_get_the_mean_and_the_slope_of_the_float_network(name: str) -> None:
    torch.manual_seed(0)
    student, rng = build(name).eval(), np.random.default_rng(0)
    clips = [np.convolve(rng.standard_normal(8000), np.ones(n) / n, "same").astype(np.float32) for n in range(1, 12)]
    network = QuantisedVgg(student, dict.fromkeys(layers_of(student), 8), observe(student, clips)).eval()
    with torch.no_grad():
        network.head.weight.weight.mul_(0.9)
        network.head.weight.step.mul_(0.9)
        network.head.bias.add_(0.3)
        pcm = torch.from_numpy(np.stack(clips))
        before = (network(pcm) - student(pcm)).square().mean()
        put_right(network, student, clips)
        found, wanted = network(pcm), student(pcm)
    assert (found.mean(0) - wanted.mean(0)).abs().max() < 1e-3
    assert (found - wanted).square().mean() < 0.1 * before
    assert torch.equal(network.head.weight.step, network.head.weight.step.half().float())
