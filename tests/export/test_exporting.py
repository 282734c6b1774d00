"""A run in, a bundle out: what the file answers, what it says of itself, and when none is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

from distill import runs
from distill.annotation import AXES
from distill.errors import DistillError, Refused
from distill.files import sha256_of, write_text
from distill.student import Student
from export import exporting, making, quantising
from export.exporting import export, tell
from export.ladder import LIMITS, Limit
from export.making import FEW_BITS
from export.onnx import Answering, write_float
from export.rows import LEFT_OUT
from students import catalogue
from students.loading import load
from students.network import Quantisation

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
    rungs = ["onnx float", "onnx folded", "onnx int8"][: 2 + (precision == "int8")]
    assert [rung["rung"] for rung in data["ladder"]] == rungs
    assert all(rung["passed"] and set(rung["ccc"]) == set(data["axes"]) and rung["n"] for rung in data["ladder"])
    assert len(data["calibrated_on"]) == (12 if precision == "int8" else 0)
    assert "holds" in tell(data) and f"{data['bytes']:,} bytes" in tell(data)


#: Of wav2small: convolutions, lin and sof, head.
CONVOLUTIONS, ATTENTION, HEAD = 9_243, 2 * 169 * 169, 3 * 169


@pytest.mark.parametrize("precision, weights", [
    ("float32", 4 * (CONVOLUTIONS + 7 * 13 + ATTENTION + 169 + HEAD + 3)),  # the bias of sof cancels
    ("int8", CONVOLUTIONS + ATTENTION // 2 + HEAD + 4 * 3),
])  # fmt: skip
def test_byte_table_adds_up_and_counts_the_network(bundle, precision, weights):
    table = written(bundle[precision])["byte_table"]
    assert sum(table.values()) == bundle[precision].stat().st_size and all(size >= 0 for size in table.values())
    assert table["weights"] == weights
    assert table["front_end"] < 300, "28 edges of triangles and a few numbers"
    assert (table["scales"] > 0) == (precision == "int8")


def test_int8_file_is_small_and_its_trunk_in_integers(bundle):
    assert bundle["int8"].stat().st_size <= 48_000
    nodes = onnx.load(bundle["int8"]).graph.node
    assert sum(node.op_type == "QLinearConv" for node in nodes) == 7
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) == 1, "behind the front-end, and nowhere else"


def test_front_end_stays_in_float(bundle):
    graph = onnx.load(bundle["int8"]).graph
    made_by = {name: node for node in graph.node for name in node.output}
    reached, waiting = set(), [node for node in graph.node if node.op_type == "Log"]
    assert len(waiting) == 1
    while waiting:
        node = waiting.pop()
        reached.add(node.op_type)
        waiting += [made_by[name] for name in node.input if name in made_by]
    assert {"InstanceNormalization", "Conv", "MatMul", "Cos"} <= reached
    assert not {"QuantizeLinear", "DequantizeLinear", "QLinearConv"} & reached


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


def swap_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Arousal answers valence."""
    (head,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [3, 169])
    swapped = onnx.numpy_helper.to_array(head)[[2, 1, 0]]
    head.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(swapped), head.name))
    return model


@pytest.mark.parametrize("maker, rungs", [
    ("write_float", ["onnx float"]),
    ("float_graph", ["onnx float", "onnx folded"]),
    ("integer_graph", ["onnx float", "onnx folded", "onnx int8"]),
])  # fmt: skip
def test_broken_ladder_names_the_rung_and_writes_only_the_ladder(trained, tmp_path, monkeypatch, maker, rungs):
    sound = getattr(making, maker)

    def faulty(*given):
        made = sound(*given)
        if made is None:  # it wrote a file
            onnx.save(swap_axes(onnx.load(given[-1])), given[-1])
        return made and swap_axes(made)

    monkeypatch.setattr(making, maker, faulty)
    with pytest.raises(DistillError, match=rf"the ladder breaks at {rungs[-1]}: .*nothing was exported") as caught:
        export(trained, output=tmp_path / "s.onnx", int8=True)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["s.ladder.json"]
    told = json.loads((tmp_path / "s.ladder.json").read_text())
    assert [(rung["rung"], rung["passed"]) for rung in told] == [(rung, rung != rungs[-1]) for rung in rungs]


def test_smallest_fits_and_spends_what_it_may_on_the_rows_that_count(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "onnx int8", Limit(max_abs=10.0, ccc=-1.0))  # twelve clips teach it little
    told = export(trained, output=tmp_path / "s.onnx", smallest=True)
    assert 27_800 < told["bytes"] <= 28_000
    assert told["bits"]["lin"] == told["bits"]["sof"] and sum(told["bits"]["lin"].values()) == 169 - LEFT_OUT
    assert 10 < told["bits"]["lin"]["4"] < told["bits"]["lin"]["2"]
    assert Student(tmp_path / "s.onnx").card.precision == FEW_BITS


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of noise, one of which is too short for a student."""
    (folder := tmp_path / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in (("a", 5.0), ("b", 0.1)):
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(int(16_000 * seconds)), 16_000)
    return folder


def test_more_audio_is_tuned_on_and_its_licence_kept(trained, tmp_path, recordings, monkeypatch):
    monkeypatch.setitem(LIMITS, "onnx int8", Limit(max_abs=10.0, ccc=-1.0))
    heard = []
    monkeypatch.setattr(quantising, "refine", lambda *given: heard.extend(given[-1]))
    told = export(trained, output=tmp_path / "s.onnx", smallest=True, audio=recordings, audio_licence="CC-BY-ND-4.0")
    own = len(told["calibrated_on"])
    assert [len(clip) for clip in heard[:-own]] == [32_000, 32_000, 32_000]  # the last one reaches back
    assert told["lineage"][-2] == {"role": "audio", "name": "recordings", "revision": None, "licence": None,
                                   "data_licence": "CC-BY-ND-4.0"}  # fmt: skip
    assert told["data_licence"] == "CC-BY-ND-4.0"


def test_more_audio_goes_with_rounding_and_must_be_there(trained, tmp_path, recordings):
    with pytest.raises(DistillError, match=r"--audio .* goes with --int8"):
        export(trained, output=tmp_path / "s.onnx", audio=recordings)
    with pytest.raises(DistillError, match="nowhere: no such file or folder"):
        export(trained, output=tmp_path / "s.onnx", int8=True, audio=tmp_path / "nowhere")
    (recordings / "a.wav").unlink()
    with pytest.raises(DistillError, match=r"recordings: none of its 1 pieces can be used"):
        export(trained, output=tmp_path / "s.onnx", int8=True, audio=recordings)


def test_budget_is_kept_with_as_many_bits_as_fit(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "onnx int8", Limit(max_abs=10.0, ccc=-1.0))
    told = export(trained, output=tmp_path / "s.onnx", budget=60_000)
    assert 45_000 < told["bytes"] <= 60_000 and set(told["bits"].values()) <= {2, 4, 8}
    with pytest.raises(DistillError, match=r"--budget: .* with the fewest bits"):
        export(trained, output=tmp_path / "t.onnx", budget=10_000)


def test_only_wav2small_has_few_bits(tmp_path, monkeypatch, trained):
    opened = making.Source(None, None, Quantisation(), {"arch": "other"}, [], [])
    monkeypatch.setattr(exporting, "open_source", lambda *_, **__: opened)
    with pytest.raises(DistillError, match=r"other: only Wav2Small's layouts .* --int8"):
        export(trained, output=tmp_path / "s.onnx", smallest=True)


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
    with pytest.raises(DistillError, match=r"no run there; .* come are wav2small, wav2small-lite, wav2small-stream$"):
        export(tmp_path / "nowhere", output=tmp_path / "s.onnx")


def test_torch_has_nothing_to_say_to_the_user(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    write_float(Answering(catalogue.build("wav2small-stream"), AXES), tmp_path / "a.onnx")
    assert not [str(warning.message) for warning in recwarn]


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


@pytest.mark.parametrize("kinds", [{"int8": True, "smallest": True}, {"int8": True, "budget": 60_000}])
def test_one_kind_of_file_at_a_time(trained: Path, tmp_path: Path, kinds: dict) -> None:
    with pytest.raises(DistillError, match="give one of them"):
        export(trained, output=tmp_path / "s.onnx", **kinds)
    assert not list(tmp_path.iterdir())
