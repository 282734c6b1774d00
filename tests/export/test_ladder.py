"""The ladder finds planted faults, and names the rung."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distill import runs
from export.ladder import LIMITS, SECONDS, climb, clips_at_lengths, first_broken, session_answer, torch_answer
from students.loading import load


@pytest.fixture(scope="module")
def clips(trained):
    return clips_at_lengths([clip.signal for clip in runs.read_clips(trained, "check")], count=24)[:12]


@pytest.fixture(scope="module")
def expected(trained, clips):
    """Torch's answers, computed once: a reference that gives them in order."""
    answer = torch_answer(load(trained)[0])
    return [answer(clip[None]) for clip in clips]


def climbed(expected, clips, path, rung="onnx int8"):
    told = iter(expected)
    return climb(lambda _: next(told), {rung: session_answer(path)}, clips)[0]


def faulty(path, folder, name, change):
    """A copy of an exported file with the one initializer `name` changed."""
    model = onnx.load(path)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values).astype(values.dtype), name))
    onnx.save(model, folder / "faulty.onnx")
    return folder / "faulty.onnx"


def named(path, part, rank, number=0):
    """The name of the number-th initializer of that rank whose name has `part` in it."""
    found = [t.name for t in onnx.load(path).graph.initializer if part in t.name and len(t.dims) == rank]
    return found[number]


@pytest.mark.parametrize("precision, rung", [("float32", "onnx float"), ("int8", "onnx int8")])
def test_sound_files_hold(bundle, expected, clips, precision, rung):
    found = climbed(expected, clips, bundle[precision], rung)
    assert found.passed and found.n == len(clips) and 0 < found.max_abs < LIMITS[rung].max_abs
    assert all(score > LIMITS[rung].ccc for score in found.ccc.values())


def test_swapped_axes_break_int8(bundle, expected, clips, tmp_path):
    path = faulty(bundle["int8"], tmp_path, "student.head.weight", lambda w: w[[2, 1, 0]])
    assert not climbed(expected, clips, path).passed


def test_wrong_scale_breaks_int8(bundle, expected, clips, tmp_path):
    path = bundle["int8"]
    scale = next(
        tensor.name for tensor in onnx.load(path).graph.initializer
        if tensor.name.endswith("_scale") and "Conv" in tensor.name and list(tensor.dims) == [13]
    )  # fmt: skip
    assert not climbed(expected, clips, faulty(path, tmp_path, scale, lambda s: 1.3 * s)).passed


def test_lost_bias_breaks_int8(bundle, expected, clips, tmp_path):
    path = faulty(bundle["int8"], tmp_path, "student.head.bias", np.zeros_like)
    assert not climbed(expected, clips, path).passed


@pytest.mark.parametrize("layer", range(7))
def test_wrong_scale_of_any_convolution_breaks_float(bundle, expected, clips, tmp_path, layer):
    name = named(bundle["float32"], "onnx::Conv", 4, layer)
    path = faulty(bundle["float32"], tmp_path, name, lambda weight: 1.3 * weight)
    assert not climbed(expected[:4], clips[:4], path, "onnx float").passed


@pytest.mark.parametrize("layer", range(7))
def test_lost_bias_of_any_convolution_breaks_float(bundle, expected, clips, tmp_path, layer):
    path = faulty(bundle["float32"], tmp_path, named(bundle["float32"], "onnx::Conv", 1, layer), np.zeros_like)
    assert not climbed(expected[:4], clips[:4], path, "onnx float").passed


def answering(*offsets):
    """An answer that is the clip's first three samples, each with its offset."""
    return lambda pcm: (pcm[:, :3] + np.array(offsets)).astype(np.float32)


@pytest.fixture
def triples():
    return list(np.random.default_rng(0).random((40, 3)).astype(np.float32))


def test_limits_are_per_axis(triples):
    exact, shifted = answering(0, 0, 0), answering(0, 0, 2 * LIMITS["onnx float"].max_abs)
    assert climb(exact, {"onnx float": exact}, triples)[0].passed
    assert not climb(exact, {"onnx float": shifted}, triples)[0].passed


def test_low_agreement_breaks_although_differences_are_small():
    small = [np.array([x, 0.5 + x, 0.5], np.float32) for x in np.linspace(0, 0.02, 20)]
    flipped = {"onnx int8": lambda pcm: pcm * [1, -1, 1] + [0, 1.02, 0]}
    backwards = climb(answering(0, 0, 0), flipped, small)[0]
    assert backwards.max_abs < LIMITS["onnx int8"].max_abs and backwards.ccc["dominance"] < 0
    assert not backwards.passed and backwards.ccc["valence"] is None


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_answers_that_are_no_numbers_break(triples, lost):
    rung = climb(answering(0, 0, 0), {"onnx float": answering(0, lost, 0)}, triples)[0]
    assert not rung.passed


def test_axis_lacking_on_both_sides_holds(triples):
    rung = climb(answering(0, np.nan, 0), {"onnx float": answering(0, np.nan, 0)}, triples)[0]
    assert rung.passed and rung.ccc["dominance"] is None


def test_first_broken_names_the_lowest(triples):
    wrong = answering(0, 0, 1)
    rungs = climb(answering(0, 0, 0), {"onnx float": wrong, "onnx int8": wrong}, triples)
    assert first_broken(rungs).rung == "onnx float"
    assert first_broken(climb(answering(0, 0, 0), {"onnx float": answering(0, 0, 0)}, triples)) is None


def test_clips_have_all_lengths_and_only_real_audio():
    signals = [np.full(20_000, number, np.float32) for number in (1, 2, 3)]
    made = clips_at_lengths(signals)
    assert sorted({len(clip) for clip in made}) == [16_000 * seconds for seconds in SECONDS]
    assert len(made) == 3 * len(SECONDS) and all(set(np.unique(clip)) <= {1, 2, 3} for clip in made)
    assert len(clips_at_lengths(signals, count=8)) == 8
