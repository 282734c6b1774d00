"""A run in, a bundle out: what the file answers, what it says of itself, and when none is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from distill import runs
from distill.errors import DistillError, Refused
from distill.files import sha256_of, write_text
from distill.student import Student
from export import exporting
from export.exporting import export, tell
from export.int8 import write_int8
from students.loading import load

PRECISIONS = ("float32", "int8")


def noise(batch: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (0.1 * rng.standard_normal((batch, int(16_000 * seconds)))).astype(np.float32)


def written(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("seconds", [0.25, 1.0, 3.0117, 30.0])
def test_float_student_answers_as_torch_does_at_any_length(trained, bundle, seconds):
    model, _ = load(trained)
    pcm = noise(1, seconds)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pcm)).numpy()
    assert np.abs(Student(bundle["float32"])(pcm) - expected).max() < 1e-4


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_batch_is_free_and_its_clips_do_not_meet(bundle, precision, batch):
    student, pcm = Student(bundle[precision]), noise(batch, 0.7)
    together = student(pcm)
    assert together.shape == (batch, 3) and np.isfinite(together).all()
    np.testing.assert_allclose(together, np.concatenate([student(row[None]) for row in pcm]), atol=1e-4)


def test_int8_student_is_near_the_float_one_and_under_half_its_size(trained, bundle):
    clips = [clip.signal[None] for clip in runs.read_clips(trained, "check")]
    small, large = Student(bundle["int8"]), Student(bundle["float32"])
    off = np.abs([small(clip) - large(clip) for clip in clips]).max()
    assert 1e-5 < off < 0.15  # off by nothing at all, it would not be quantised
    assert bundle["int8"].stat().st_size < bundle["float32"].stat().st_size / 2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_file_says_what_it_is(bundle, precision):
    card = Student(bundle[precision]).card
    assert (card.name, card.precision, card.sampling_rate) == ("wav2small", precision, 16_000)
    assert (card.axes, card.derived) == (("arousal", "dominance", "valence"), ("valence",))
    assert (card.range, card.shortest_seconds) == ((0.0, 1.0), 0.25)
    assert (card.parameters, card.trainable, card.tokens_per_second) == (72_477, 67_395, 250)
    assert (card.licence, card.data_licence) == ("CC-BY-NC-SA-4.0", "MIT; CC0-1.0")
    assert [entry["role"] for entry in card.lineage] == ["teacher", "audio", "student"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_json_says_what_the_file_is(bundle, precision):
    path, data = bundle[precision], written(bundle[precision])
    assert data.keys() >= {"bytes", "sha256", "licence", "data_licence", "lineage", "axes", "derived", "sampling_rate",
                           "ladder", "byte_table"}  # fmt: skip
    assert (data["bytes"], data["sha256"]) == (path.stat().st_size, sha256_of(path))
    rungs = ["onnx float", "onnx int8"][: 1 + (precision == "int8")]
    assert [rung["rung"] for rung in data["ladder"]] == rungs
    assert all(rung["passed"] and set(rung["ccc"]) == set(data["axes"]) and rung["n"] for rung in data["ladder"])
    assert len(data["calibrated_on"]) == (12 if precision == "int8" else 0)
    assert "holds" in tell(data) and f"{data['bytes']:,} bytes" in tell(data)


@pytest.mark.parametrize("precision, number", [("float32", 4), ("int8", 1)])
def test_byte_table_adds_up_and_counts_the_network(bundle, precision, number):
    """number: bytes a weight; biases of quantised layers take four, and batch norm folds into them."""
    table = written(bundle[precision])["byte_table"]
    assert sum(table.values()) == bundle[precision].stat().st_size and all(size >= 0 for size in table.values())
    assert table["front_end"] == 4 * 5082
    quantised, head = 9_243 + 2 * 169 * 169, 3 * 169
    biases = 7 * 13 + 2 * 169 + 3
    assert table["weights"] == number * quantised + 4 * (head + biases)
    assert (table["scales_and_zero_points"] > 0) == (precision == "int8")


def test_front_end_stays_in_float(bundle):
    graph = onnx.load(bundle["int8"]).graph
    made_by = {name: node for node in graph.node for name in node.output}
    reached, waiting = set(), [node for node in graph.node if node.op_type == "Log"]
    assert len(waiting) == 1
    while waiting:
        node = waiting.pop()
        reached.add(node.op_type)
        waiting += [made_by[name] for name in node.input if name in made_by]
    assert {"Conv", "MatMul", "Clip"} <= reached and not {"QuantizeLinear", "DequantizeLinear"} & reached
    quantised = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    assert sum("Conv" in name and name.endswith("_quantized") for name in quantised) == 7


def test_lacking_axis_answers_nan(run, tmp_path):
    """As training leaves it in config.yaml where the labels have no dominance."""
    config = runs.read_config(run)
    write_text(run / runs.CONFIG, json.dumps({**config, "axes": ["arousal", "valence"]}))
    export(run, output=tmp_path / "s.onnx", int8=True)
    student = Student(tmp_path / "s.onnx")
    answer = student(noise(2, 1.0))
    assert np.isnan(answer[:, 1]).all() and np.isfinite(answer[:, [0, 2]]).all()
    assert student.card.axes == ("arousal", "valence")
    assert written(tmp_path / "s.onnx")["ladder"][0]["ccc"]["dominance"] is None


def test_exporting_again_gives_the_same_bytes_and_leaves_nothing_else(trained, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.relative_to(trained) for path in trained.rglob("*")}
    export(trained, output=Path("new/s.onnx"), int8=True)
    beside = {"s.json", "s.golden.json", "s.golden.pcm", "README.md"}
    assert {path.name for path in tmp_path.rglob("*")} == {"new", "s.onnx", *beside}
    assert {path.relative_to(trained) for path in trained.rglob("*")} == before
    assert (tmp_path / "new" / "s.onnx").read_bytes() == bundle["int8"].read_bytes()


def test_broken_ladder_writes_only_the_ladder(trained, tmp_path, monkeypatch):
    def swap_axes(float_path, path, *how, **options):
        write_int8(float_path, path, *how, **options)
        model = onnx.load(path)
        (head,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("head.weight"))
        swapped = onnx.numpy_helper.to_array(head)[[2, 1, 0]]
        head.CopyFrom(onnx.numpy_helper.from_array(swapped, head.name))
        onnx.save(model, path)

    monkeypatch.setattr(exporting, "write_int8", swap_axes)
    with pytest.raises(DistillError, match=r"the ladder breaks at onnx int8: .*nothing was exported") as caught:
        export(trained, output=tmp_path / "s.onnx", int8=True)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["s.ladder.json"]
    rungs = json.loads((tmp_path / "s.ladder.json").read_text())
    assert [(rung["rung"], rung["passed"]) for rung in rungs] == [("onnx float", True), ("onnx int8", False)]


@pytest.mark.parametrize("name", ["s.tflite", "s", "s.onnx.json"])
def test_output_that_is_no_onnx_is_refused(trained, tmp_path, name):
    with pytest.raises(DistillError, match=r"must end in \.onnx"):
        export(trained, output=tmp_path / name)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(DistillError, match="is a folder"):
        export(trained, output=tmp_path / "folder.onnx")


def test_unfinished_run_is_refused(run, tmp_path):
    (run / "model.safetensors").unlink()
    with pytest.raises(DistillError, match="unfinished"):
        export(run, output=tmp_path / "s.onnx")
    assert not list(tmp_path.glob("s*"))


def test_no_run_is_refused(tmp_path):
    with pytest.raises(DistillError, match="no run there"):
        export(tmp_path / "nowhere", output=tmp_path / "s.onnx")


def test_run_without_calibration_clips_is_refused_not_made_up(run, tmp_path):
    listed = json.loads((run / "calibration" / "clips.json").read_text())
    (run / "calibration" / "clips.json").write_text(json.dumps([e for e in listed if e["use"] == "check"]))
    with pytest.raises(DistillError, match="no clips to calibrate with"):
        export(run, output=tmp_path / "s.onnx", int8=True)


def test_run_that_lost_its_clips_is_one_line(run, tmp_path):
    shutil.rmtree(run / "calibration")
    with pytest.raises(DistillError, match=r"clips\.json: no such file"):
        export(run, output=tmp_path / "s.onnx")


def test_a_licence_that_is_too_strict_is_refused(trained, tmp_path):
    with pytest.raises(Refused, match=r"the student: CC-BY-NC-SA-4\.0 is non-commercial, and permissive is required"):
        export(trained, output=tmp_path / "s.onnx", require_licence="permissive")
    assert not list(tmp_path.iterdir())
    assert export(trained, output=tmp_path / "s.onnx", require_licence="non-commercial")["licence"] == "CC-BY-NC-SA-4.0"
