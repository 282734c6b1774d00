"""What a float file keeps of a student is enough to answer as it does."""

from __future__ import annotations

import pytest
import torch

from students.catalogue import build
from students.stored import restore, stored


@pytest.mark.parametrize("name", ["wav2small", "wav2small-lite", "wav2small-17k"])
def test_restored_student_answers_the_same(name):
    torch.manual_seed(0)
    one, other = build(name), build(name).eval()
    pcm = torch.randn(4, 16_000)
    one.train()(pcm)  # so that its batch norms do something
    one.eval()
    restore(other, stored(one))
    with torch.no_grad():
        assert torch.allclose(one(pcm), other(pcm), atol=1e-5) and one(pcm).std() > 1e-3


def test_what_is_stored_of_a_restored_one_is_the_same_to_the_bit_but_for_decibels():
    torch.manual_seed(0)
    one, other = build("wav2small"), build("wav2small").eval()
    one.train()(torch.randn(4, 16_000))
    restore(other, stored(one.eval()))
    first, *others = stored(one)
    assert torch.allclose(stored(other)[first], stored(one)[first], rtol=1e-6, atol=0)
    assert all(torch.equal(stored(other)[name], stored(one)[name]) for name in others)
