"""Rounding one input after the other loses less of what a layer puts out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.calibration import observe
from export.rounding import compensate, compensated, moments, settle
from students.catalogue import build
from students.quantised import QuantisedVgg, Rounded, layers_of


@pytest.mark.parametrize("bits", [2, 4])
def test_errors_make_each_other_good(bits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(2000, 8, generator=generator) @ torch.randn(8, 40, generator=generator)
    inputs = mixed + 0.1 * torch.randn(2000, 40, generator=generator)
    weight = torch.randn(6, 40, generator=generator)
    layer = Rounded(weight, bits)
    layer.fit()
    found = compensated(weight, layer.step, bits, inputs.T @ inputs / len(inputs))
    plain, better = (float((inputs @ (other - weight).T).square().mean()) for other in (layer().detach(), found))
    assert better < 0.5 * plain
    steps = found / layer.step[:, None]
    assert torch.allclose(steps, steps.round(), atol=1e-3), "it is on the levels"
    outputs = inputs @ weight.T
    with torch.no_grad():
        settle(layer, moments([(inputs, outputs)]))
    settled = float((inputs @ (layer().detach() - weight).T).square().mean())
    assert settled <= better and torch.allclose(layer(), layer.weight, atol=1e-5)


@pytest.mark.parametrize("name", ["wav2small", "wav2small-17k"])
def test_both_layouts_are_rounded_in_place(name: str) -> None:
    torch.manual_seed(0)
    student, clips = build(name).eval(), [np.random.default_rng(0).standard_normal(8000).astype(np.float32)]
    network = QuantisedVgg(student, dict.fromkeys(layers_of(student), 4), observe(student, clips))
    weights = [network.lin, network.sof, *(conv.weight for conv in network.layers.values())]
    before = [layer.weight.detach().clone() for layer in weights]
    compensate(network, student, clips)
    for layer, was in zip(weights, before, strict=True):
        assert layer.weight.shape == was.shape and not torch.equal(layer.weight, was)
        assert torch.allclose(layer(), layer.weight, atol=1e-5)
