"""A causal student hears pieces of any length and answers every 32 ms, as it answers the whole clip up to there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distill.audio import read
from distill.errors import DistillError
from distill.pretrained import STEP, path_of, shipped
from distill.streaming import AT_ONCE, Stream, step_file
from distill.student import Student

STUDENTS = ("wav2small-stream", "wav2small-stream-int8")

Tone = Callable[..., np.ndarray]


@pytest.fixture(params=STUDENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def voice(tone: Tone, samples: int) -> np.ndarray:
    """A tone that beats and glides a little, behind a breath of noise."""
    beat = 1 + np.sin(np.arange(samples) / 2000)
    hiss = 0.002 * np.random.default_rng(0).standard_normal(samples)
    return (tone(samples / 16_000, 170.0) * beat + hiss).astype(np.float32)


def heard(stream: Stream, pcm: np.ndarray, piece: int | None) -> list[tuple[float, np.ndarray]]:
    rng, answers, start = np.random.default_rng(5), [], 0
    while start < len(pcm):
        taken = int(rng.integers(1, 3000)) if piece is None else piece
        answers += stream.push(pcm[start : start + taken])
        start += taken
    return answers


def _compare(name: str, pcm: np.ndarray, piece: int | None) -> None:
    stream, whole = Stream(name), Student(name)
    answers = heard(stream, pcm, piece)
    assert len(answers) == len(pcm) // 512 and stream.hop == 0.032
    for number, (seconds, adv) in enumerate(answers, 1):
        assert seconds == pytest.approx(0.032 * number) and adv.shape == (3,)
        assert np.abs(adv - whole(pcm[None, : 512 * number])[0]).max() < 1e-4


@pytest.mark.parametrize("piece", [1, 37, 256, 511, 16_000, None])
def test_any_pieces_give_the_answers_of_the_whole_clip(name: str, piece: int | None, tone: Tone) -> None:
    _compare(name, voice(tone, 20_011), piece)


@pytest.mark.parametrize("piece", [511, 16_000, None])
def test_so_does_real_speech(name: str, piece: int | None, shared: Path) -> None:
    _compare(name, read(sorted((shared / "emodb/two-seconds").glob("1[24]*"))[3]), piece)


def test_a_long_piece_is_heard_in_parts(name: str, tone: Tone) -> None:
    pcm = voice(tone, 3 * AT_ONCE * 512 + 600)
    at_once, whole = Stream(name).push(pcm), Student(name)
    assert len(at_once) == 3 * AT_ONCE + 1
    assert np.abs(at_once[-1][1] - whole(pcm[None])[0]).max() < 1e-4


def test_begun_anew_it_has_heard_nothing(name: str, tone: Tone) -> None:
    stream, pcm = Stream(name), voice(tone, 5_000)
    once = stream.push(pcm)
    stream.reset()
    again = stream.push(pcm)
    assert [seconds for seconds, _ in once] == [seconds for seconds, _ in again]
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(once, again, strict=True))


def test_the_level_it_is_spoken_at_moves_nothing(name: str, tone: Tone) -> None:
    pcm = voice(tone, 20_000)
    quiet, loud = ([adv for _, adv in Stream(name).push(gain * pcm)] for gain in (0.3, 3.0))
    assert np.abs(np.subtract(quiet, loud)).max() < 0.02


def test_what_it_keeps_is_small(name: str) -> None:
    assert Stream(name).state_bytes < 20_000
    assert Stream(name).card.name == "wav2small-stream"


def test_a_step_file_is_no_student_of_its_own() -> None:
    assert set(STUDENTS) < set(shipped()) and not any("step" in name for name in shipped())
    step = step_file("wav2small-stream")
    assert step == path_of("wav2small-stream").with_suffix(STEP) and step_file(step) == step
    with pytest.raises(DistillError, match="not a student: expected pcm"):
        Student(step)


def test_another_student_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="wav2small-lite: answers whole clips; live answers need a causal student"):
        Stream("wav2small-lite")
    whole = tmp_path / f"a{STEP}"
    whole.write_bytes(path_of("wav2small-stream").read_bytes())
    with pytest.raises(DistillError, match=r"is no step file of `distill export`; it takes pcm$"):
        Stream(whole)
    with pytest.raises(DistillError, match="no such student"):
        Stream(tmp_path / f"nowhere{STEP}")


def test_it_needs_no_torch() -> None:
    told = "import sys, distill.streaming as s; s.Stream('wav2small-stream'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", told], check=True)
