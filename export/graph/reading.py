"""A float file of ours back as a network, strictly: its graph has to be the one that is written of its layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from distill.annotation import AXES
from distill.errors import DistillError
from distill.learning.weights import check_tensors
from distill.student import Student, StudentCard
from export.graph.vgg import graph_of
from export.graph.writer import PARTS
from students import catalogue
from students.stored import restore, stored
from students.wav2small import Vgg7


def read_float(path: Path) -> tuple[Vgg7, dict[str, Any]]:
    """The network of a file that `distill export` wrote in float, in evaluation mode, and what a run's configuration
    would say of it.

    Raises:
        DistillError: no student of ours, none of Wav2Small's layouts, no float one, or one with other nodes or tensors.
    """
    card = Student(path).card
    student = _layout(path, card)
    tensors = _tensors(path, student)
    unanswered = torch.tensor([axis not in card.axes for axis in AXES])
    tensors["head.bias"] = torch.where(unanswered, 0.0, tensors["head.bias"])  # there it is NaN
    check_tensors(path, stored(student), tensors)
    restore(student, tensors)
    return student.eval(), _config(card)


def _layout(path: Path, card: StudentCard) -> Vgg7:
    """The network with other weights. A name from a file is no module to import: only those of the catalogue count."""
    if card.precision != "float32":
        raise DistillError(f"{path}: is {card.precision}; weights are read from a float file (`distill export` alone)")
    student = catalogue.build(card.name) if card.name in catalogue.STUDENTS else None
    if not isinstance(student, Vgg7):
        raise DistillError(f"{path}: of {card.name} no file is read, only of Wav2Small's layouts; give its run folder")
    return student


def _tensors(path: Path, student: Vgg7) -> dict[str, Tensor]:
    """What `stored` names, out of the file. The graph is written with numbers in place of weights; where they come to
    lie in its tensors, there the file has the weights."""
    kept = stored(student)
    sizes = [tensor.numel() for tensor in kept.values()]
    numbers = torch.split(torch.arange(sum(sizes), dtype=torch.float32), sizes)  # exact up to 2 ** 24
    numbered = {name: part.view(kept[name].shape) for name, part in zip(kept, numbers, strict=True)}
    values = np.full(sum(sizes), np.nan, np.float32)
    for places, found in _pairs(path, graph_of(student, numbered), onnx.load(path)):
        values[places.astype(np.int64)] = found
    parts = torch.split(torch.from_numpy(values), sizes)
    return {name: part.view(kept[name].shape) for name, part in zip(kept, parts, strict=True)}


def _pairs(path: Path, ours: onnx.ModelProto, file: onnx.ModelProto) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every tensor of weights of ours, and the one of the file that stands in its place. All others must be equal."""
    expected, found = _constants(ours), _constants(file)
    place = _places(path, ours, file)
    if surplus := sorted(found.keys() - set(place.values())):
        raise _other(path, f"the tensor {surplus[0]} is used nowhere")
    pairs = []
    for name, array in expected.items():
        there = found.get(place[name])
        if there is None or (there.shape, there.dtype) != (array.shape, array.dtype):
            raise _other(path, f"the tensor {place[name]} is not {array.dtype} {list(array.shape)}")
        if name.startswith(PARTS["weights"]):
            pairs.append((array, there))
        elif not np.array_equal(array, there):
            raise _other(path, f"the constant {place[name]} has another value")
    return pairs


def _places(path: Path, ours: onnx.ModelProto, file: onnx.ModelProto) -> dict[str, str]:
    """The file's name for every tensor of ours, node by node. Several of ours may be one there, if they are equal."""
    places: dict[str, str] = {}
    if len(ours.graph.node) != len(file.graph.node):
        raise _other(path, f"it has {len(file.graph.node)} nodes for {len(ours.graph.node)}")
    for number, (one, other) in enumerate(zip(ours.graph.node, file.graph.node, strict=True)):
        names, theirs = [*one.input, *one.output], [*other.input, *other.output]
        same = _kind(one) == _kind(other) and len(names) == len(theirs)
        if not same or any(places.setdefault(*pair) != pair[1] for pair in zip(names, theirs, strict=True)):
            raise _other(path, f"its node {number} ({other.op_type}) is another one")
    return places


def _kind(node: onnx.NodeProto) -> tuple[str, Mapping[str, bytes]]:
    return node.op_type, {attribute.name: attribute.SerializeToString() for attribute in node.attribute}


def _constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _other(path: Path, what: str) -> DistillError:
    return DistillError(f"{path}: not the graph that is written of this layout ({what}); export it again from its run")


def _config(card: StudentCard) -> dict[str, Any]:
    """As far as the export asks; it puts the student itself at the end of the lineage."""
    lineage = [entry for entry in card.lineage if entry.get("role") != "student"]
    return {
        "arch": card.name, "axes": list(card.axes), "derived": list(card.derived), "range": list(card.range),
        "licence": card.licence, "data_licence": card.data_licence, "lineage": lineage,
    }  # fmt: skip
