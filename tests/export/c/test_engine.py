"""What the engine answers: as the ONNX file does, however a clip is cut, whatever is in it."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import numpy as np
import pytest

from distill.metrics import ccc
from export.c.compiled import UNTAUGHT, as_float, compiled
from export.ladder import LIMITS

ARCHS = ("wav2small", "wav2small-lite", "wav2small-17k", "wav2small-stream")

#: Every undefined behaviour ends the program.
SANITIZED = ("-O1", "-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")

NO_LEVEL, ENDED, FULL = -1, -2, -3

SECOND = 16_000


def heard_by(onnx, clip):
    return onnx(clip[None] / np.float32(32768))[0]


def square(period, seconds=1.0):
    return np.where(np.arange(int(SECOND * seconds)) // period % 2, 32767, -32768).astype(np.int16)


#: What would overflow, or vanish, if anything did.
EXTREMES = {
    "silence": np.zeros(SECOND, np.int16),
    "the lowest": np.full(SECOND, -32768, np.int16),
    "the highest": np.full(SECOND, 32767, np.int16),
    "alternating": square(1),
    "square 16": square(16),
    "square 32": square(32),
    "square 128": square(128),
    "square 1000": square(1000),
    "a step": np.repeat([-32768, 32767], SECOND // 2).astype(np.int16),
    "one sample": np.eye(1, SECOND, 5000, dtype=np.int16)[0] * 32767,
    "one bit": np.tile([0, 1], SECOND // 2).astype(np.int16),
    "noise": np.random.default_rng(0).integers(-32768, 32768, SECOND).astype(np.int16),
    "loud, then nothing": np.concatenate([square(40, 0.5), np.zeros(SECOND // 2, np.int16)]),
}


#: Of these the ONNX file hears what float32 rounds in taking off the mean.
ROUNDED_AWAY = ("the lowest", "the highest", "one bit")


@pytest.mark.parametrize("arch", ARCHS)
def test_it_answers_as_the_onnx_file_does(engine, written, clips, arch):
    found = np.stack([as_float(engine(arch).hear([clip])) for clip in clips])
    expected = np.stack([heard_by(written(arch).onnx, clip) for clip in clips])
    assert np.abs(found - expected).max() < LIMITS["c"].max_abs
    assert min(ccc(found[:, axis], expected[:, axis]) for axis in range(3)) > LIMITS["c"].ccc


@pytest.mark.parametrize("bits", [(8, 8), (2, 2), (8, 4)])
def test_lin_and_sof_of_other_bits(written, clips, cc, bits):
    made = written("wav2small-lite", attention=bits)
    for engine in (compiled(made.folder), compiled(made.folder, flags=("-DSTUDENT_PORTABLE",))):
        found = np.stack([as_float(engine.hear([clip])) for clip in clips[:6]])
        assert np.abs(found - np.stack([heard_by(made.onnx, clip) for clip in clips[:6]])).max() < LIMITS["c"].max_abs


@pytest.mark.parametrize("arch", ARCHS)
def test_how_a_clip_is_cut_changes_nothing(engine, clips, arch):
    clip, rng = np.concatenate(clips[:3]), np.random.default_rng(1)
    whole = engine(arch).hear([clip])
    for each in (1, 31, 32, 33, 160, 255, 257, SECOND):
        pieces = [clip[start : start + each] for start in range(0, len(clip), each)]
        assert (engine(arch).hear(pieces) == whole).all()
    cuts = np.sort(rng.integers(0, len(clip), 200))  # some pieces are empty
    assert (engine(arch).hear(np.split(clip, cuts)) == whole).all()


@pytest.mark.parametrize("arch", ARCHS)
def test_nothing_overflows_on_what_is_extreme(program, engine, written, tmp_path, arch):
    driver = program(arch, "driver.c", *SANITIZED)
    for name, clip in EXTREMES.items():
        (tmp_path / "clip.pcm").write_bytes(clip.astype("<i2").tobytes())
        done = subprocess.run([driver, "clip.pcm", "2", "1", "300"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stderr)
        found = np.array(done.stdout.split()[:3], np.int64)
        assert (found == engine(arch).hear([clip])).all(), name
        if name not in ROUNDED_AWAY:
            assert np.abs(found / 65536 - heard_by(written(arch).onnx, clip)).max() < 0.03, name


@pytest.mark.parametrize("flags", [(), ("-DSTUDENT_PORTABLE",)])
def test_a_stream_is_answered_at_any_time_and_goes_on(engine, written, clips, flags):
    """As the ONNX file answers what was heard until then, after every whole token, in between as after the last."""
    made, clip = engine("wav2small-stream", *flags), np.concatenate(clips)[: 3 * SECOND]
    assert not made.two_passes
    made.start()
    assert np.isnan(made.result_float()).all()
    cuts = [0, 300, 511, 512, 1000, 1024, 3000, 7168, 16_384, 16_500, 31_000, len(clip)]
    for before, end in itertools.pairwise(cuts):
        made.push(clip[before:end])
        (adv, heard), again = made.result(), made.result()[0]
        assert heard == end // 512 and (adv == again).all()
        if heard:
            assert np.abs(as_float(adv) - heard_by(written("wav2small-stream").onnx, clip[:end])).max() < 0.01
    assert (made.result()[0] == made.hear([clip])).all()


def test_a_constant_is_silence(engine):
    silence = engine("wav2small").hear([EXTREMES["silence"]])
    for name in ("the lowest", "the highest"):
        assert (engine("wav2small").hear([EXTREMES[name]]) == silence).all()


def test_a_long_clip_answers_as_its_parts_do(engine, clips):
    """Nothing grows with the clip, and sums of many tokens are as exact as those of few."""
    clip = np.concatenate(clips)[:40_960]
    one = as_float(engine("wav2small-lite").hear([clip] * 4))
    many = as_float(engine("wav2small-lite").hear([clip] * (SECOND * 600 // len(clip))))
    assert np.abs(one - many).max() < 0.002


@pytest.mark.parametrize("samples", [0, 1, 63])
def test_a_clip_without_a_frame_has_no_answer(engine, samples):
    made = engine("wav2small")
    made.start()
    made.level_push(np.ones(samples, np.int16))
    made.push(np.ones(samples, np.int16))
    adv, heard = made.result()
    assert heard == 0 and (adv == UNTAUGHT).all() and np.isnan(made.result_float()).all()


@pytest.mark.parametrize("samples", [64, 96, 128, 159, 160, 200])
def test_the_shortest_clips_answer_as_the_onnx_file_does(engine, written, clips, samples):
    clip = clips[0][2000 : 2000 + samples]
    found = as_float(engine("wav2small").hear([clip]))
    assert np.abs(found - heard_by(written("wav2small").onnx, clip)).max() < LIMITS["c"].max_abs


def test_what_comes_out_of_order_is_refused(engine, clips):
    made = engine("wav2small")
    made.start()
    assert made.push(clips[0][:0]) == 0 and made.push(clips[0]) == NO_LEVEL
    assert made.level_push(clips[0]) == 0 and made.push(clips[0][:99]) == 0
    assert made.level_push(clips[0]) == ENDED
    first, _ = made.result()
    assert made.push(clips[0]) == ENDED
    again, _ = made.result()
    assert (first == again).all()


def test_an_axis_that_nobody_taught_has_no_answer(written, clips, cc):
    folder = written("wav2small-lite", untaught=(1,)).folder
    made = compiled(folder)
    adv = made.hear([clips[0]])
    assert (adv == UNTAUGHT).tolist() == [False, True, False]
    assert np.isnan(made.result_float()).tolist() == [False, True, False]


def test_two_students_do_not_meet_and_memory_may_move(written, clips, cc, tmp_path):
    """State holds no pointers: a copy of it goes on as the first would have."""
    shutil.copytree(written("wav2small-lite").folder, tmp_path / "again", ignore=shutil.ignore_patterns("*.so"))
    one, other = compiled(written("wav2small-lite").folder), compiled(tmp_path / "again")
    clip = np.concatenate(clips[:3])
    alone = one.hear([clip])
    one.start()
    one.level_push(clip)
    one.push(clip[:7001])
    other.start()
    other._memory[:] = one._memory[:]
    one.push(clip[7001:9000])
    other.push(clip[7001:])
    assert (other.result()[0] == alone).all()
    one.push(clip[9000:])
    assert (one.result()[0] == alone).all()


@pytest.mark.parametrize("arch", ["wav2small", "wav2small-lite"])
def test_buffered_a_clip_goes_through_once(engine, written, clips, arch):
    made = engine(arch, "-DSTUDENT_MAX_SECONDS=2")
    assert not made.two_passes and made.memory_bytes > engine(arch).memory_bytes + 5_000
    for clip in clips[:8]:
        found = made.hear([clip[:100], clip[100:]])
        assert np.abs(as_float(found) - heard_by(written(arch).onnx, clip)).max() < LIMITS["c"].max_abs
    made.start()
    clip = np.concatenate([clips[0]] * 9)[: 3 * SECOND]
    assert made.push(clip) == FULL
    _, heard = made.result()
    assert heard == made.result()[1] > 0
