"""Rows that others can stand in for are left out; those that count come first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export import rows
from export.precision import fewest_bits
from export.rows import kept_rows, rows_by_importance, with_rows
from students.catalogue import build


def test_what_another_row_says_as_well_is_left_out_first() -> None:
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(500, 6, generator=generator)
    pooled[:, 4] = 2 * pooled[:, 1]
    weight = torch.ones(3, 6)
    weight[:, 2] = 0.5
    five, four = kept_rows(pooled, weight, 5), kept_rows(pooled, weight, 4)
    assert len(five) == 5 and not {1, 4} <= set(five), "one of the two stays"
    assert set(five) - set(four) == {2}, "then the one that is heard least"


def test_all_rows_in_another_order_answer_the_same() -> None:
    torch.manual_seed(0)
    student, pcm = build("wav2small").eval(), torch.randn(2, 16_000)
    turned = with_rows(student, list(reversed(range(169))))
    with torch.no_grad():
        assert torch.allclose(turned(pcm), student(pcm), atol=1e-5)
        assert torch.allclose(turned.pooled(pcm), student.pooled(pcm).flip(1), atol=1e-5)


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [np.convolve(rng.standard_normal(6000), np.ones(n) / n, "same").astype(np.float32) for n in range(1, 13)]


def test_rows_that_the_head_hears_most_come_first(clips, monkeypatch) -> None:
    monkeypatch.setattr(rows, "LEFT_OUT", 9)
    torch.manual_seed(0)
    student = build("wav2small").eval()
    with torch.no_grad():
        student.head.weight.mul_(0.01)
        student.head.weight[:, 50:54].mul_(1000)
    found = rows_by_importance(student, clips, fewest_bits(student))
    assert len(found) == len(set(found)) == 160
    assert set(found[:4]) == {50, 51, 52, 53}
