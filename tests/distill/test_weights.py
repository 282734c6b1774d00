"""Weights are read from files that hold nothing else, and fit exactly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from distill.errors import DistillError
from distill.learning.weights import check_tensors, read_tensors

TENSORS = {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([1, 2])}


def save(path: Path, value: Any) -> Path:
    (save_file if path.suffix == ".safetensors" else torch.save)(value, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin", "w.pt"])
def test_tensors_come_back_by_name(tmp_path: Path, name: str) -> None:
    found = read_tensors(save(tmp_path / name, TENSORS))
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) and found[key].dtype == TENSORS[key].dtype for key in TENSORS)
    check_tensors(tmp_path / name, TENSORS, found)


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, damage: str) -> None:
    path = save(tmp_path / name, TENSORS)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "text": b"no weights\n", "cut": path.read_bytes()[:-200]}[damage])
    with pytest.raises(DistillError) as caught:
        read_tensors(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [torch.zeros(2), [torch.zeros(2)], {"a": torch.zeros(2), "epoch": 3}, {"a": {}}])
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DistillError, match=r"w\.bin: is no table of tensors by name"):
        read_tensors(save(tmp_path / "w.bin", value))


def test_what_would_have_to_be_executed_is_not_loaded(tmp_path: Path) -> None:
    path = save(tmp_path / "w.bin", {"a": torch.zeros(2), "where": Path("somewhere")})
    with pytest.raises(DistillError, match="holds more than tensors, and is not loaded"):
        read_tensors(path)


def changed(**by_name: Tensor | None) -> dict[str, Tensor]:
    values = {**TENSORS, **{name.replace("_", "."): value for name, value in by_name.items()}}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (changed(head_bias=None), r"head\.bias is missing \(1 in all\)"),
        ({}, r"head\.bias is missing \(2 in all\)"),
        (changed(tail=torch.zeros(1), extra=torch.zeros(1)), r"extra does not belong to this network \(2 in all\)"),
        (changed(head_weight=torch.zeros(3, 2)), r"head\.weight has shape \[3, 2\], expected \[2, 3\]"),
        (changed(head_weight=torch.zeros(2, 3).double()), r"head\.weight is torch\.float64, expected torch\.float32"),
        (changed(head_weight=torch.tensor([[0.0, 1, 2], [3, float("nan"), 5]])), r"head\.weight holds NaN"),
        (changed(head_weight=torch.full((2, 3), float("-inf"))), r"head\.weight holds NaN or infinities"),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(found: dict[str, Tensor], fault: str) -> None:
    with pytest.raises(DistillError, match=rf"^w\.pt: the tensor {fault}"):
        check_tensors(Path("w.pt"), TENSORS, found)


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_the_order_of_tensors_does_not_matter(order: Callable[..., list[str]]) -> None:
    check_tensors(Path("w.pt"), TENSORS, {name: TENSORS[name] for name in order(TENSORS)})
