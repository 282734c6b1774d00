"""Weights from files, strictly: every tensor that is missing, too many or misshaped is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from distill.errors import DistillError, first_line


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a `.bin` / `.pt` that holds nothing but tensors.

    Raises:
        DistillError: it cannot be read, or holds more than tensors (which torch would have to execute to load).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise DistillError(f"{path}: cannot be read ({first_line(error)})") from None
    except Exception as error:  # pickle's own UnpicklingError, which no module here may import
        raise DistillError(f"{path}: holds more than tensors, and is not loaded ({first_line(error)})") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise DistillError(f"{path}: is no table of tensors by name")
    return dict(loaded)


def check_tensors(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Whether `found` are exactly the tensors that `expected` names, each of its shape and type, and finite.

    >>> check_tensors(Path("x"), {"weight": torch.zeros(2)}, {"weight": torch.zeros(3)})
    Traceback (most recent call last):
    ...
    distill.errors.DistillError: x: the tensor weight has shape [3], expected [2]

    Raises:
        DistillError: the first tensor that is missing, too many, misshaped, of another type, or not finite.
    """
    missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        raise DistillError(f"{path}: the tensor {missing[0]} is missing ({len(missing)} in all)")
    if surplus:
        raise DistillError(f"{path}: the tensor {surplus[0]} does not belong to this network ({len(surplus)} in all)")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise DistillError(
                f"{path}: the tensor {name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}"
            )
        if found[name].dtype != tensor.dtype:
            raise DistillError(f"{path}: the tensor {name} is {found[name].dtype}, expected {tensor.dtype}")
        if not bool(found[name].isfinite().all()):
            raise DistillError(f"{path}: the tensor {name} holds NaN or infinities")
