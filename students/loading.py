"""A trained run back as a network, strictly: every tensor that is missing, too many or misshaped is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill import runs
from distill.errors import DistillError
from distill.learning.weights import check_tensors, read_tensors
from students import catalogue
from students.network import StudentNetwork


def load(folder: Path) -> tuple[StudentNetwork, dict[str, Any]]:
    """The trained network of a run, in evaluation mode, and its configuration. Loads strictly.

    Raises:
        DistillError: no run, an unfinished one, or tensors that are missing, too many or of another shape, by name.
    """
    config = runs.read_config(folder)
    if not (folder / runs.WEIGHTS).is_file():
        raise DistillError(f"{folder}: the training is unfinished; run the same `distill train-student` again")
    model = catalogue.build(config["arch"])
    weights = read_tensors(folder / runs.WEIGHTS)
    check_tensors(folder / runs.WEIGHTS, model.state_dict(), weights)
    model.load_state_dict(weights)
    return model.eval(), config
