"""Ranges are read off real values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.calibration import METHODS, observe, values_of
from students.catalogue import build
from students.quantised import layers_of


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return build("wav2small").eval()


def test_everything_that_is_rounded_is_observed(student) -> None:
    clips = [np.random.default_rng(seed).standard_normal(8000).astype(np.float32) for seed in range(2)]
    found = observe(student, clips)
    assert set(found) == {"mel", *layers_of(student)} - {"lin", "sof"}
    assert all(reach.low < reach.high for reach in found.values())
    assert all(reach.low >= 0 for name, reach in found.items() if name != "mel"), "behind a ReLU"
    values = values_of(student, clips)
    assert all(values[name].max() == pytest.approx(reach.high) for name, reach in found.items())


def test_the_student_is_left_as_it_was(student) -> None:
    observe(student, [np.zeros(8000, np.float32)])
    assert not any(module._forward_hooks for module in student.modules())


@pytest.mark.parametrize("method", METHODS)
def test_no_range_is_wider_than_what_was_seen(method: str) -> None:
    values = np.abs(np.random.default_rng(0).standard_normal(20_000))
    reach = METHODS[method](values)
    assert reach.high <= values.max() and reach.high > 1.0


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_one_far_value_is_left_out(method: str) -> None:
    values = np.append(np.abs(np.random.default_rng(0).standard_normal(1_000_000)), 10.0)
    assert METHODS["minmax"](values).high == 10.0 and METHODS[method](values).high < 9.5
