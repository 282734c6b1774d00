"""The ladder finds planted faults, and names the rung."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distill import runs
from export.ladder import LIMITS, SECONDS, climb, clips_at_lengths, first_broken, session_answer, torch_answer
from students.loading import load

FLOAT16, INT32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32


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


def faulty(path, folder, tensor, change):
    """A copy of an exported file with one stored tensor changed."""
    model = onnx.load(path)
    (stored,) = (other for other in model.graph.initializer if other.name == tensor.name)
    values = numpy_helper.to_array(stored)
    stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(values)).astype(values.dtype), stored.name))
    onnx.save(model, folder / "faulty.onnx")
    return folder / "faulty.onnx"


def stored(path, *shape, number=0, kind=None):
    """The number-th stored tensor of that shape (and of that type)."""
    found = [tensor for tensor in onnx.load(path).graph.initializer if tuple(tensor.dims) == shape]
    return [tensor for tensor in found if kind in (None, tensor.data_type)][number]


def of_layer(layer, change):
    """Changes one row of a tensor that holds something of every convolution."""

    def changed(values):
        values = values.copy()
        values[layer] = change(values[layer])
        return values

    return changed


@pytest.mark.parametrize("precision, rung", [("float32", "onnx folded"), ("int8", "onnx int8")])
def test_sound_files_hold(bundle, expected, clips, precision, rung):
    found = climbed(expected, clips, bundle[precision], rung)
    assert found.passed and found.n == len(clips) and 0 < found.max_abs < LIMITS[rung].max_abs
    assert all(score > LIMITS[rung].ccc for score in found.ccc.values())


def test_swapped_axes_break_int8(bundle, expected, clips, tmp_path):
    path = faulty(bundle["int8"], tmp_path, stored(bundle["int8"], 3, 169), lambda weight: weight[[2, 1, 0]])
    assert not climbed(expected, clips, path).passed


@pytest.mark.parametrize("layer", range(7))
@pytest.mark.parametrize("kind, change", [(FLOAT16, lambda steps: 3 * steps), (INT32, np.zeros_like)])
def test_wrong_scale_and_lost_bias_of_any_convolution_break_int8(
    bundle, expected, clips, tmp_path, layer, kind, change
):
    tensor = stored(bundle["int8"], 7, 13, kind=kind)
    path = faulty(bundle["int8"], tmp_path, tensor, of_layer(layer, change))
    assert not climbed(expected, clips, path).passed


def test_lost_bias_of_the_head_breaks_int8(bundle, expected, clips, tmp_path):
    path = faulty(bundle["int8"], tmp_path, stored(bundle["int8"], 3, kind=onnx.TensorProto.FLOAT), np.zeros_like)
    assert not climbed(expected, clips, path).passed


@pytest.mark.parametrize("layer", range(7))
def test_wrong_scale_of_any_convolution_breaks_float(bundle, expected, clips, tmp_path, layer):
    shape, number = ((13, 1, 3, 3), 0) if layer == 0 else ((13, 13, 3, 3), layer - 1)
    tensor = stored(bundle["float32"], *shape, number=number)
    path = faulty(bundle["float32"], tmp_path, tensor, lambda weight: 1.3 * weight)
    assert not climbed(expected[:4], clips[:4], path, "onnx folded").passed


@pytest.mark.parametrize("layer", range(7))
def test_lost_bias_of_any_convolution_breaks_float(bundle, expected, clips, tmp_path, layer):
    path = faulty(bundle["float32"], tmp_path, stored(bundle["float32"], 13, number=layer), np.zeros_like)
    assert not climbed(expected[:4], clips[:4], path, "onnx folded").passed


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
