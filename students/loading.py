"""A trained run back as a network, strictly: every tensor that is missing, too many or misshaped is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from distill import runs
from distill.errors import DistillError
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
    weights = read_safetensors(folder / runs.WEIGHTS)
    check_tensors(folder / runs.WEIGHTS, model.state_dict(), weights)
    model.load_state_dict(weights)
    return model.eval(), config


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        DistillError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise DistillError(f"{path}: cannot be read ({error})") from None


def check_tensors(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse what was found in a file unless it is what is expected: names, shapes, types; and all of it numbers.

    Raises:
        DistillError: the line names the first tensor that is missing, too many, misshaped or holds no numbers.
    """
    missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        raise DistillError(f"{path}: the tensor {missing[0]} is missing ({len(missing)} in all)")
    if surplus:
        raise DistillError(f"{path}: the tensor {surplus[0]} does not belong to this student ({len(surplus)} in all)")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise DistillError(
                f"{path}: the tensor {name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}"
            )
        if found[name].dtype != tensor.dtype:
            raise DistillError(f"{path}: the tensor {name} is {found[name].dtype}, expected {tensor.dtype}")
        if not bool(found[name].isfinite().all()):
            raise DistillError(f"{path}: the tensor {name} holds NaN or infinities")
