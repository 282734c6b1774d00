"""What the quantiser reads its ranges off, and what happens when eight bits do not hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from distill import runs
from distill.annotation import AXES
from distill.student import Student
from export import making
from export.exporting import export
from export.int8 import HEADROOM, of_one_length, write_int8
from export.ladder import LIMITS
from export.onnx import Answering, write_float
from students.loading import load
from students.network import Quantisation


def test_pieces_of_one_length_hold_the_clips_in_order():
    clips = [np.full(length, number, np.float32) for number, length in enumerate((5, 8, 3))]
    pieces = of_one_length(clips)
    assert [len(piece) for piece in pieces] == [5, 5, 5]
    assert np.array_equal(np.concatenate(pieces), np.concatenate(clips)[:15])


def test_more_bits_are_taken_where_eight_do_not_hold(trained_as, tmp_path, monkeypatch, capsys):
    def spoiled_in_eight_bits(float_path, path, clips, quantisation, *, activation_bits):
        write_int8(float_path, path, [0.0 * clip for clip in clips] if activation_bits == 8 else clips, quantisation,
                   activation_bits=activation_bits)  # fmt: skip

    run = trained_as("mobilenetv4-small")
    monkeypatch.setattr(making, "write_int8", spoiled_in_eight_bits)
    told = export(run, output=tmp_path / "s.onnx", int8=True)
    said = capsys.readouterr()
    assert "8-bit activations do not hold: off by" in said.err and not said.out
    assert Student(tmp_path / "s.onnx").card.precision == told["precision"] == "int8 weights, 16-bit activations"
    assert [(rung["rung"], rung["passed"]) for rung in told["ladder"]] == [
        (rung, True) for rung in LIMITS if rung.startswith("onnx")
    ]
    assert json.loads((tmp_path / "s.json").read_text())["precision"] == told["precision"]


def test_sixteen_bits_leave_room_beyond_what_was_seen(trained, tmp_path):
    """The range that the input of a convolution has, beside that of eight bits by the same clips."""
    clips = [clip.signal for clip in runs.read_clips(trained, "calibrate")]
    write_float(Answering(load(trained)[0], AXES), tmp_path / "float.onnx")
    for bits in (8, 16):
        write_int8(tmp_path / "float.onnx", tmp_path / f"{bits}.onnx", clips, Quantisation(), activation_bits=bits)
    ranges = {bits: _ranges(tmp_path / f"{bits}.onnx", bits) for bits in (8, 16)}
    assert len(ranges[8]) > 5 and ranges[8].keys() <= ranges[16].keys()
    assert all(ranges[16][name] == pytest.approx(HEADROOM * size, rel=0.01) for name, size in ranges[8].items())


def _ranges(path: Path, bits: int) -> dict[str, float]:
    """Of every activation: how far its quantised values reach, by the name of its scale."""
    graph = onnx.load(path).graph
    names = {node.input[1] for node in graph.node if node.op_type == "QuantizeLinear"}
    steps = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in names}
    return {name: float(step) * (2**bits - 1) for name, step in steps.items()}
