"""The ladder finds planted faults, and names the rung."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distill import runs
from distill.annotation import AXES
from export import ladder
from export.ladder import LIMITS, Ladder, first_broken, session_answer, torch_answer
from export.probes import Probe, probes
from students.loading import load

FLOAT16, INT32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32


def climb(reference, rungs, clips):
    """On clips of which nothing else is known."""
    return ladder.climb(reference, rungs, [Probe(clip, {}) for clip in clips])


def answering(*offsets):
    """An answer that is the clip's first three samples, each with its offset."""
    return lambda pcm: (pcm[:, :3] + np.array(offsets)).astype(np.float32)


@pytest.fixture
def triples():
    return list(np.random.default_rng(0).random((40, 3)).astype(np.float32))


def test_the_limits_are_those_that_were_promised():
    told = {name: (limit.max_abs, limit.ccc) for name, limit in LIMITS.items()}
    exact, rounded = (0.001, 0.9999), (0.15, 0.98)
    assert told == {
        "onnx float": exact, "onnx folded": exact, "onnx int8": rounded, "tflite": exact, "tflite int8": rounded,
        "step": (0.0001, 0.9999), "step int8": rounded, "c": (0.01, 0.999),
    }  # fmt: skip


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


def test_the_reference_is_asked_once_a_clip_and_every_rung_on_all(triples):
    asked = []
    tried = [Probe(clip, {}) for clip in triples]
    climbed = Ladder(lambda pcm: asked.append(pcm.shape) or answering(0, 0, 0)(pcm), tried, recordings=7)
    rungs = [climbed.rung(name, answering(0, 0, 1e-5)) for name in LIMITS]
    assert asked == [(1, 3)] * 40
    assert [(rung.rung, rung.n, rung.recordings, rung.passed) for rung in rungs] == [
        (name, 40, 7, True) for name in LIMITS
    ]
    assert climb(answering(0, 0, 0), {"onnx float": answering(0, 0, 0)}, triples)[0].recordings == 0
    assert set(rungs[0].as_dict()) == {"rung", "max_abs", "ccc", "n", "recordings", "passed", "by", "against"}


def test_another_reference_hears_the_same_clips_made_otherwise(triples):
    heard = []
    first = Ladder(answering(0, 0, 0), [Probe(clip, {"level": "0 dB"}) for clip in triples], recordings=7)
    other = first.anew("onnx int8", lambda pcm: heard.append(pcm) or answering(0, 0, 1)(pcm), lambda clip: clip / 2)
    rung = other.rung("c", answering(0, 0, 1))
    assert (np.concatenate(heard) == np.stack(triples) / 2).all()
    assert (rung.against, rung.recordings, rung.n, list(rung.by)) == ("onnx int8", 7, 40, ["level"])
    assert rung.passed and first.rung("onnx float", answering(0, 0, 0)).against == "torch"


def test_it_is_told_by_what_the_clips_are(triples):
    """Wrong for loud clips alone: that is seen where they are compared among themselves."""
    tried = [Probe(clip, {"level": "20 dB" if clip[0] > 0.5 else "0 dB", "length": "3"}) for clip in triples]
    loud = [tried.traits["level"] == "20 dB" for tried in tried]

    def wrong_if_loud(pcm):
        return pcm + np.array([0.2, 0, 0]) * (pcm[:, :1] > 0.5)

    rung = ladder.climb(lambda pcm: pcm, {"onnx int8": wrong_if_loud}, tried)[0]
    level = rung.by["level"]
    assert {value: slice["n"] for value, slice in level.items()} == {"20 dB": sum(loud), "0 dB": 40 - sum(loud)}
    assert level["20 dB"]["max_abs"] == pytest.approx(0.2) and level["0 dB"]["max_abs"] == 0
    assert level["20 dB"]["ccc"]["arousal"] < 0.8 < level["0 dB"]["ccc"]["arousal"] == pytest.approx(1)
    assert rung.by["length"] == {"3": {"max_abs": rung.max_abs, "ccc": rung.ccc, "n": 40}} and not rung.passed


@pytest.mark.parametrize("rung", LIMITS)
@pytest.mark.parametrize("share, passed", [(0.99, True), (1.01, False), (-1.01, False)])
def test_the_largest_difference_of_any_clip_decides(rung, share, passed):
    """Clips that vary so much that their agreement is not touched."""
    clips = [np.array([x, -x, x], np.float64) for x in np.linspace(-50, 50, 30)]
    off = share * LIMITS[rung].max_abs

    def one_wrong(pcm):
        return pcm + np.array([0, off, 0]) * (pcm[:, :1] == 50)

    found = climb(lambda pcm: pcm, {rung: one_wrong}, clips)[0]
    assert found.max_abs == pytest.approx(abs(off)) and found.passed is passed


@pytest.mark.parametrize("rung, lowest", [("onnx float", 0.9999), ("onnx int8", 0.98)])
@pytest.mark.parametrize("axis", range(3))
def test_the_agreement_of_any_axis_decides(rung, lowest, axis):
    """A shift of d takes 1 - CCC to about d^2 / (2 variance)."""
    values = np.linspace(-1, 1, 50) * LIMITS[rung].max_abs
    for asked, passed in ((0.9 * (1 - lowest), True), (1.1 * (1 - lowest), False)):
        shift = np.zeros(3)
        shift[axis] = np.sqrt(2 * values.var() * asked / (1 - asked))
        found = climb(lambda pcm: pcm, {rung: lambda pcm, by=shift: pcm + by}, [np.full(3, x) for x in values])[0]
        assert found.max_abs < LIMITS[rung].max_abs and found.passed is passed
        assert found.ccc[AXES[axis]] == pytest.approx(1 - asked, abs=1e-6)


def test_answers_that_do_not_vary_have_no_agreement_that_could_break():
    clips = [np.array([0.5 + 1e-8 * n, 0.5 + 1e-3 * n, 0.5], np.float64) for n in range(10)]
    rung = climb(lambda pcm: pcm, {"onnx float": lambda pcm: pcm + 1e-6}, clips)[0]
    assert rung.passed and rung.ccc["arousal"] is None and rung.ccc["valence"] is None
    assert rung.ccc["dominance"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("axis", range(3))
def test_an_axis_that_only_one_side_answers_breaks(triples, axis):
    lost = [np.nan if column == axis else 0 for column in range(3)]
    for one, other in ((answering(0, 0, 0), answering(*lost)), (answering(*lost), answering(0, 0, 0))):
        rung = climb(one, {"onnx int8": other}, triples)[0]
        assert not rung.passed and np.isnan(rung.max_abs)


# Of a student ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(trained):
    return [
        tried.signal for tried in probes([clip.signal for clip in runs.read_clips(trained, "check")], count=24)[:12]
    ]


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
