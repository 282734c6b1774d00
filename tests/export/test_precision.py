"""Bits as a rule, and bits within a budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.errors import DistillError
from export import precision
from export.precision import bits_within, fewest_bits, usual_bits
from students.catalogue import build
from students.quantised import layers_of


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return build("wav2small").eval()


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(5000).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("name", ["wav2small", "wav2small-17k"])
def test_the_rules_name_every_layer_and_the_smallest_has_fewer(name: str) -> None:
    student = build(name)
    usual, fewest = usual_bits(student), fewest_bits(student)
    assert list(usual) == list(fewest) == list(layers_of(student))
    assert all(fewest[layer] <= bits for layer, bits in usual.items()) and fewest != usual


def test_a_budget_that_holds_everything_takes_no_bit_away(student, clips) -> None:
    assert set(bits_within(student, clips, 100_000).values()) == {8}


def test_what_moves_the_answers_least_is_lowered_first(student, clips, monkeypatch) -> None:
    monkeypatch.setattr(precision, "_moved", lambda *given: 1e-9 if given[-1]["sof"] < 8 else 1.0)
    bits = bits_within(student, clips, 62_000)
    assert bits["sof"] < 8 and all(few == 8 for name, few in bits.items() if name != "sof")


def test_a_budget_too_small_is_one_line(student, clips) -> None:
    with pytest.raises(DistillError, match=r"--budget: -[\d,]+ bytes are left with the fewest bits"):
        bits_within(student, clips, 5_000)
