"""A run's weights are loaded strictly: what is missing, too many or misshaped is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill import runs
from distill.errors import DistillError
from students.catalogue import build
from students.loading import load


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As much of a run as loading needs."""
    runs.begin(tmp_path, {"arch": "wav2small"})
    save_file(build("wav2small").state_dict(), tmp_path / runs.WEIGHTS)
    return tmp_path


def change(run: Path, **tensors: torch.Tensor | None) -> None:
    """Replace tensors of the run's weights; None takes one away."""
    weights = {**load_file(run / runs.WEIGHTS), **{name.replace("__", "."): value for name, value in tensors.items()}}
    save_file({name: value for name, value in weights.items() if value is not None}, run / runs.WEIGHTS)


def test_loads_every_tensor(run):
    model, config = load(run)
    saved = load_file(run / runs.WEIGHTS)
    assert config["arch"] == "wav2small" and not model.training
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())


def test_missing_tensor_is_named(run):
    change(run, head__bias=None)
    with pytest.raises(DistillError, match=r"the tensor head\.bias is missing \(1 in all\)"):
        load(run)


def test_surplus_tensor_is_named(run):
    change(run, head__scale=torch.ones(3))
    with pytest.raises(DistillError, match=r"the tensor head\.scale does not belong"):
        load(run)


def test_misshaped_tensor_is_named(run):
    change(run, head__weight=torch.zeros(4, 169))
    with pytest.raises(DistillError, match=r"the tensor head\.weight has shape \[4, 169\], expected \[3, 169\]"):
        load(run)


@pytest.mark.parametrize("kept", [0, 5, 1000, 200_000])
def test_truncated_weights_are_one_line(run, kept):
    path = run / runs.WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DistillError) as caught:
        load(run)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_run_and_unfinished_run_are_told_apart(run, tmp_path):
    with pytest.raises(DistillError, match="no run there"):
        load(tmp_path / "nowhere")
    (run / runs.WEIGHTS).unlink()
    with pytest.raises(DistillError, match="the training is unfinished"):
        load(run)
