"""The rounding that training and export share."""

from __future__ import annotations

import pytest
import torch

from export.calibration import observe
from students.catalogue import build
from students.quantised import LARGEST, TOP, Activation, QuantisedVgg, Range, Rounded, layers_of, to_levels

REACH = Range(-24.0, 8.0)


def network(bits: int) -> QuantisedVgg:
    torch.manual_seed(0)
    student = build("wav2small").eval()
    names = layers_of(student)
    return QuantisedVgg(student, dict.fromkeys(names, bits), dict.fromkeys([*names, "mel"], REACH)).eval()


@pytest.mark.parametrize("bits", LARGEST)
def test_weights_are_on_few_levels_and_every_level_is_used(bits: int) -> None:
    torch.manual_seed(0)
    layer = Rounded(torch.randn(4, 5000), bits)
    levels = layer.levels()
    assert torch.equal(levels, levels.round()) and levels.abs().max() <= LARGEST[bits]
    assert len(levels.unique()) <= 2**bits and (bits == 8 or len(levels.unique()) == 2**bits)
    assert torch.equal(layer(), levels * layer.step[:, None])
    assert torch.equal(layer.step, layer.step.half().float()), "the file keeps steps in half precision"


def test_more_bits_lose_less() -> None:
    weight = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    lost = []
    for bits in (2, 4, 8):
        layer = Rounded(weight, bits)
        coarse = float((layer().detach() - weight).square().mean())
        layer.fit()
        lost.append(float((layer().detach() - weight).square().mean()))
        assert lost[-1] <= coarse
    assert lost[0] > 4 * lost[1] > 16 * lost[2]


def test_pairs_of_products_fit_sixteen_bits() -> None:
    """As processors without VNNI add them up: u8 times s8, twice."""
    assert all(2 * largest * TOP < 2**15 for largest in LARGEST.values())


def test_a_row_of_zeros_stays_finite() -> None:
    assert torch.isfinite(Rounded(torch.zeros(2, 3), 4)()).all()


def test_gradient_goes_straight_through_where_nothing_is_cut_off() -> None:
    scaled = torch.tensor([-99.0, 0.3, 99.0], requires_grad=True)
    to_levels(scaled, 8).sum().backward()
    assert scaled.grad is not None and scaled.grad.tolist() == [0.0, 1.0, 0.0]


def test_activations_keep_zero_and_cut_off_what_is_beyond() -> None:
    rounded = Activation(Range(-1.0, 2.0))
    found = rounded(torch.tensor([-5.0, 0.0, 1.0, 9.0]))
    assert found[1] == 0.0
    assert found.tolist() == pytest.approx([-1.0, 0.0, 1.0, 2.0], abs=float(rounded.step))


@pytest.mark.parametrize("name", ["wav2small", "wav2small-17k"])
def test_in_eight_bits_it_answers_about_as_the_student_does(name: str) -> None:
    torch.manual_seed(0)
    student, pcm = build(name).eval(), torch.randn(4, 16_000) * torch.linspace(0.2, 1.0, 16_000)
    names = layers_of(student)
    rounded = QuantisedVgg(student, dict.fromkeys(names, 8), observe(student, list(pcm.numpy()))).eval()
    with torch.inference_mode():
        expected = student.pooled(pcm)
        assert (rounded.pooled(pcm) - expected).square().mean() < 0.01 * expected.square().mean()


def test_everything_that_trains_gets_a_gradient() -> None:
    rounded = network(bits=2).train()
    steps = [step.requires_grad_() for step in rounded.steps()]
    rounded(torch.randn(2, 8_000)).square().sum().backward()
    trained = {name: tensor for name, tensor in rounded.named_parameters() if tensor.requires_grad}
    assert len(trained) > 15 and all(tensor.grad is not None for tensor in [*trained.values(), *steps])


def test_a_step_that_is_learned_is_used_as_it_is_kept() -> None:
    layer = Rounded(torch.randn(4, 50), 4)
    layer.step.mul_(1.0001)
    assert not torch.equal(layer.step, layer.step.half().float())
    assert torch.equal(layer(), layer.levels() * layer.step.half().float()[:, None])
