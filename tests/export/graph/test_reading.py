"""A float file is read back to the bit, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from distill.errors import DistillError
from distill.pretrained import path_of
from distill.student import Student
from export.exporting import export
from export.graph.reading import read_float
from export.graph.vgg import float_graph


def graph(model):
    """Nodes and constants."""
    return [part.SerializeToString() for part in (*model.graph.node, *model.graph.initializer)]


@pytest.mark.parametrize("name", ["wav2small", "wav2small-lite", "wav2small-stream"])
def test_written_again_it_is_the_same_to_the_byte(name):
    student, config = read_float(path_of(name))
    assert graph(float_graph(student)) == graph(onnx.load(path_of(name)))
    assert (config["arch"], config["licence"], config["range"]) == (name, "MIT", [0.0, 1.0])
    assert [entry["role"] for entry in config["lineage"]] == ["teacher", "audio", "audio"]


def test_pooling_of_channels_apart_is_read_as_well(trained_as, tmp_path):
    export(trained_as("wav2small-17k"), output=tmp_path / "s.onnx")
    student, _ = read_float(tmp_path / "s.onnx")
    pcm = np.random.default_rng(0).standard_normal((2, 9_000)).astype(np.float32)
    with torch.no_grad():
        assert np.abs(student(torch.from_numpy(pcm)).numpy() - Student(tmp_path / "s.onnx")(pcm)).max() < 1e-5


def changed(path: Path, to: Path, change) -> Path:
    """A copy with something else in it."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, to)
    return to


def tensor(model, name):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def set_to(model, name, values):
    tensor(model, name).CopyFrom(numpy_helper.from_array(np.asarray(values), name))


def say_that(model, key, value):
    (entry,) = (entry for entry in model.metadata_props if entry.key == key)
    entry.value = json.dumps(value)


def take_unread(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "spare"))


def pool_otherwise(model):
    (node,) = (node for node in model.graph.node if node.op_type == "MaxPool")
    next(part for part in node.attribute if part.name == "kernel_shape").ints[:] = [2, 2]


def add_a_node(model):
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Identity", ["before"], ["adv"]))


def swap_two_layers(model):
    """The weights of a layer are taken by two."""
    second, third = [node for node in model.graph.node if node.op_type == "Pad"][2:6:2]
    third.input[0] = second.input[0]


@pytest.mark.parametrize("change, told", [
    (lambda m: set_to(m, "f2", np.linspace(0, 32, 28, dtype=np.float32)), "the constant f2 has another value"),
    (lambda m: set_to(m, "wE", np.zeros((338, 13, 13))), None),
    (lambda m: set_to(m, "w0", np.full((13, 1, 3, 3), np.nan, np.float32)), "fine_0.weight holds NaN or infinities"),
    (take_unread, "the tensor spare is used nowhere"),
    (pool_otherwise, r"node \d+ \(MaxPool\) is another one"),
    (add_a_node, r"it has \d+ nodes for \d+"),
    (swap_two_layers, "the tensor w4 is used nowhere"),
    (lambda m: say_that(m, "name", "wav2small-17k"), "not the graph that is written of this layout"),
    (lambda m: say_that(m, "name", "mobilenetv3-small"), "of mobilenetv3-small no file is read"),
    (lambda m: say_that(m, "name", "os:path"), "of os:path no file is read"),
    (lambda m: say_that(m, "precision", "int8"), "is int8; weights are read from a float file"),
])  # fmt: skip
def test_other_files_are_refused_in_one_line(tmp_path, change, told):
    path = changed(path_of("wav2small"), tmp_path / "s.onnx", change)
    with pytest.raises(DistillError, match=told or "onnxruntime cannot load it") as caught:
        read_float(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_axis_that_nobody_taught_stays_unanswered(tmp_path):
    def untaught(model):
        say_that(model, "axes", ["arousal", "valence"])
        bias = numpy_helper.to_array(tensor(model, "wH")).copy()
        bias[1] = np.nan
        set_to(model, "wH", bias)

    student, config = read_float(changed(path_of("wav2small"), tmp_path / "s.onnx", untaught))
    assert config["axes"] == ["arousal", "valence"]
    assert student.head.bias[1] == 0 and bool(student.head.bias.isfinite().all())


def test_equal_tensors_are_stored_once_and_read_twice(tmp_path):
    student, _ = read_float(path_of("wav2small"))
    with torch.no_grad():
        for block in (student.fine[1], student.fine[2]):
            block.norm.bias.zero_()
    export_to, model = tmp_path / "s.onnx", float_graph(student)
    model.metadata_props.extend(onnx.load(path_of("wav2small")).metadata_props)
    onnx.save(model, export_to)
    again, _ = read_float(export_to)
    assert bool((again.fine[1].norm.bias == 0).all() and (again.fine[2].norm.bias == 0).all())
