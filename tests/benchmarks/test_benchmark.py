"""The stage as a whole: what it writes, and what it refuses before it spends time."""

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from benchmarks import latency, memory, report
from benchmarks.benchmark import _written, benchmark
from distill.annotation import AXES
from distill.errors import DistillError
from teacher.labelling import label


@pytest.fixture
def no_timing(monkeypatch):
    """Any measurement is a failure."""

    def refuse(*_arguments, **_options):
        pytest.fail("the clock ran before the request was checked")

    monkeypatch.setattr(latency, "measure", refuse)
    monkeypatch.setattr(memory, "in_fresh_process", refuse)


def test_the_file_holds_what_is_returned(measured):
    folder, result = measured
    assert json.loads((folder / "benchmark.json").read_text()) == result
    assert sorted(path.name for path in folder.iterdir()) == ["benchmark.json", "report.html", "report.md"]


def test_keys_of_the_json(measured):
    _, result = measured
    assert list(result) == ["machine", "settings", "models", "devices", "profile"]
    assert result["devices"] == {} and result["profile"] is None
    assert result["settings"]["interleaved"] is True
    assert result["settings"]["rounds"] == 4
    machine = result["machine"]
    assert machine["threads"] == 1
    assert machine["cpu"] and machine["cores"] >= 1 and machine["memory_bytes"] > 1e8
    assert {"avx2", "avx512_vnni", "dotprod"} <= set(machine["instruction_sets"])
    assert set(result["models"][0]) == {
        "path", "name", "bytes", "sha256", "parameters", "trainable", "macs_per_second", "tokens_per_second", "hop_ms",
        "licence", "data_licence", "derived", "precision", "latency_ms", "ratio_to_first", "peak_rss_bytes", "ccc",
        "n_truth",
    }  # fmt: skip


def test_figures_of_each_model(measured):
    small, large = measured[1]["models"]
    assert (small["name"], small["precision"], small["derived"]) == ("tiny", "float32", ["dominance"])
    assert (large["precision"], large["parameters"]) == ("int8", 98_765)
    assert large["bytes"] > small["bytes"]
    assert small["ccc"] is None and small["n_truth"] == 0
    assert small["ratio_to_first"] == {"0.5": 1.0, "1": 1.0, "5": 1.0}
    assert large["ratio_to_first"]["5"] == large["latency_ms"]["5"]["median"] / small["latency_ms"]["5"]["median"]
    for model in (small, large):
        assert list(model["latency_ms"]) == ["0.5", "1", "5"]
        for timed in model["latency_ms"].values():
            assert timed["n"] == 4 and 0 < timed["p10"] <= timed["median"] <= timed["p90"]
        assert set(model["peak_rss_bytes"]) == {"runtime", "model"}


def test_precision_is_null_where_the_file_does_not_say(make_student, tmp_path):
    model = make_student(tmp_path / "old.onnx")
    loaded = onnx.load(str(model))
    kept = [entry for entry in loaded.metadata_props if entry.key != "precision"]
    del loaded.metadata_props[:]
    loaded.metadata_props.extend(kept)
    onnx.save(loaded, str(model))
    result = benchmark([model], output=tmp_path / "report", rounds=1, seconds=(1,))
    assert result["models"][0]["precision"] is None


def test_agreement_comes_from_evaluate(make_student, tmp_path, monkeypatch):
    asked = []

    def evaluate(*, student, truth, audio):
        asked.append((student, truth, audio))
        return {"n": 12, "ccc": {"arousal": {"value": np.float64(0.5), "low": float("nan"), "high": 0.7}}}

    module = ModuleType("distill.evaluation")
    module.evaluate = evaluate
    monkeypatch.setitem(sys.modules, "distill.evaluation", module)
    truth = tmp_path / "truth.csv"
    truth.write_text("file,arousal\n")
    model = make_student(tmp_path / "a.onnx")
    result = benchmark([model], output=tmp_path / "report", truth=truth, audio=tmp_path, rounds=1, seconds=(1,))
    assert asked == [(model, truth, tmp_path)]
    assert result["models"][0]["ccc"] == {"arousal": {"value": 0.5, "low": None, "high": 0.7}}
    assert result["models"][0]["n_truth"] == 12
    assert "0.50" in (tmp_path / "report" / "report.md").read_text()


def test_a_label_table_knows_its_audio(make_student, tmp_path, corpus, quick):
    label(corpus, output=tmp_path / "labels", teacher="taught", jobs=1)
    model = make_student(tmp_path / "a.onnx")
    result = benchmark([model], output=tmp_path / "report", truth=tmp_path / "labels", rounds=1, seconds=(1,))
    assert result["models"][0]["n_truth"] == 4 and set(result["models"][0]["ccc"]) == set(AXES)


@pytest.mark.usefixtures("no_timing")
class TestRefusedBeforeTheClockRuns:
    def test_a_broken_model_among_good_ones(self, make_student, tmp_path):
        (tmp_path / "broken.onnx").write_bytes(b"no model")
        with pytest.raises(DistillError, match=r"broken\.onnx"):
            benchmark([make_student(tmp_path / "good.onnx"), tmp_path / "broken.onnx"], output=tmp_path / "report")

    def test_a_missing_model(self, tmp_path):
        with pytest.raises(DistillError, match=r"gone\.onnx: no such student"):
            benchmark([tmp_path / "gone.onnx"], output=tmp_path / "report")

    def test_a_model_that_cannot_answer(self, make_student, tmp_path):
        model = make_student(tmp_path / "odd.onnx")
        loaded = onnx.load(str(model))
        loaded.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16_000
        onnx.save(loaded, str(model))
        with pytest.raises(DistillError, match=r"odd\.onnx: it does not answer a clip of 3 s"):
            benchmark([model], output=tmp_path / "report", seconds=(1, 3))

    def test_an_output_that_cannot_be_written(self, make_student, tmp_path):
        (tmp_path / "taken").write_text("a file")
        with pytest.raises(DistillError, match=r"taken.*cannot be written"):
            benchmark([make_student(tmp_path / "a.onnx")], output=tmp_path / "taken" / "report")

    @pytest.mark.parametrize("given", ["truth", "audio"])
    def test_half_of_a_truth(self, make_student, tmp_path, given):
        with pytest.raises(DistillError, match=r"--truth.*--audio"):
            benchmark([make_student(tmp_path / "a.onnx")], output=tmp_path / "report", **{given: tmp_path})

    def test_ratings_that_are_not_there(self, make_student, tmp_path):
        model = make_student(tmp_path / "a.onnx")
        with pytest.raises(DistillError, match=r"gone\.csv: no such file"):
            benchmark([model], output=tmp_path / "report", truth=tmp_path / "gone.csv", audio=tmp_path)

    @pytest.mark.parametrize("options", [{"rounds": 0}, {"seconds": ()}, {"seconds": (1, 0)}])
    def test_nothing_to_time(self, make_student, tmp_path, options):
        with pytest.raises(DistillError, match="nothing to time"):
            benchmark([make_student(tmp_path / "a.onnx")], output=tmp_path / "report", **options)

    def test_no_model(self, tmp_path):
        with pytest.raises(DistillError, match="no model"):
            benchmark([], output=tmp_path / "report")


def test_a_model_whose_answer_has_another_shape_is_refused(make_student, tmp_path, no_timing):
    model = make_student(tmp_path / "twice.onnx")
    loaded = onnx.load(str(model))
    loaded.graph.node[-1].output[0] = "once"
    loaded.graph.node.append(onnx.helper.make_node("Concat", ["once", "once"], ["adv"], axis=0))
    onnx.save(loaded, str(model))
    with pytest.raises(DistillError, match=r"twice\.onnx: it answers a clip of 1 s with shape \[2, 3\], not \[1, 3\]"):
        benchmark([model], output=tmp_path / "report")


def test_a_length_that_a_model_does_not_take_is_not_tried(make_student, tmp_path):
    """It is null, and no reason to refuse the model."""
    models = [make_student(tmp_path / "a.onnx", shortest_seconds=2.0), make_student(tmp_path / "b.onnx")]
    first, second = benchmark(models, output=tmp_path / "report", rounds=1, seconds=(1, 2))["models"]
    assert first["latency_ms"]["1"] is None and first["latency_ms"]["2"]["n"] == second["latency_ms"]["1"]["n"] == 1
    assert second["ratio_to_first"]["1"] is None and second["ratio_to_first"]["2"] > 0


def test_a_page_that_fails_does_not_lose_the_measurement(measured, tmp_path, monkeypatch):
    def fail(_record):
        raise RuntimeError("planted")

    monkeypatch.setattr(report, "render", fail)
    with pytest.raises(RuntimeError, match="planted"):
        _written(measured[1], tmp_path)
    assert json.loads((tmp_path / "benchmark.json").read_text()) == measured[1]


def test_settings_say_all_that_decides_a_figure(measured):
    assert measured[1]["settings"] == {
        "rounds": 4, "seconds": [0.5, 1, 5], "warmup": latency.WARMUP, "interleaved": True, "seed": 0,
        "memory_seconds": memory.SECONDS,
    }  # fmt: skip


def test_a_model_is_known_by_its_bytes(measured):
    small, large = measured[1]["models"]
    for model in (small, large):
        data = Path(model["path"]).read_bytes()
        assert model["bytes"] == len(data) and model["sha256"] == hashlib.sha256(data).hexdigest()
    assert (small["licence"], small["data_licence"]) == ("MIT", "CC0-1.0") and small["hop_ms"] == 10.0
