"""Which clips become golden vectors: recordings only where their licence lets them be handed on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distill import runs
from distill.golden import check
from export.golden import SAMPLES, golden_clips, pieces, synthesised

RECORDED = [{"role": "teacher", "data_licence": "restricted"}, {"role": "audio", "data_licence": "CC BY 4.0"}]


def held_out(clips: int, seconds: float = 2.0) -> list[runs.Clip]:
    rng = np.random.default_rng(0)
    return [
        runs.Clip(f"{n}.wav", "check", rng.uniform(-1, 1, int(16_000 * seconds)).astype(np.float32))
        for n in range(clips)
    ]


def test_recordings_that_may_be_handed_on_are_cut() -> None:
    clips, licence = golden_clips(held_out(60), RECORDED)
    assert licence == "CC BY 4.0"
    assert len({clip.file for clip in clips}) == 20
    assert [len(clip.pcm) for clip in clips] == [SAMPLES[n % 4] for n in range(20)]


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "MSP-Podcast academic licence (restricted)", None, "ask Bob"])
def test_recordings_that_may_not_stay_where_they_are(licence: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    clips, told = golden_clips(held_out(60), [*RECORDED, {"role": "audio", "data_licence": licence}])
    assert told.startswith("CC0-1.0") and all(clip.file.startswith("synthesised") for clip in clips)
    assert "stay here" in capsys.readouterr().err


def test_recordings_may_be_left_out() -> None:
    assert golden_clips(held_out(60), RECORDED, synthetic=True)[0][0].file == "synthesised 00"
    assert golden_clips([], RECORDED)[0][0].file == "synthesised 00"


def test_a_piece_is_the_recording_to_the_bit() -> None:
    """What travels with a run is 16-bit FLAC, which a piece in 16 bits keeps."""
    (clip,) = held_out(1)
    signal = np.round(clip.signal * 32767) / np.float32(32768)
    chosen = pieces([runs.Clip("one.wav", "check", signal)])
    starts = {int(np.flatnonzero((signal * 32768)[: -len(c.pcm)] == c.pcm[0])[0]) for c in chosen}
    assert len({c.pcm.tobytes() for c in chosen}) == 20 and len(starts) > 10
    joined = (signal * 32768).astype(np.int16).tobytes()
    assert all(c.pcm.tobytes() in joined for c in chosen)


def test_a_recording_that_is_shorter_is_taken_whole() -> None:
    assert {len(clip.pcm) for clip in pieces(held_out(2, seconds=0.5))} == {4_000, 6_411, 8_000}


def test_synthesised_clips_are_the_same_each_time_and_unlike_each_other() -> None:
    once, again = synthesised(), synthesised()
    assert [clip.pcm.tobytes() for clip in once] == [clip.pcm.tobytes() for clip in again]
    assert len({clip.pcm.tobytes() for clip in once}) == len(once) == 20
    assert all(np.abs(clip.pcm).max() > 1000 for clip in once)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_bundle_brings_vectors_that_hold(bundle, precision) -> None:
    """The run's recordings are under CC0-1.0, and so they are what is answered."""
    result = check(bundle[precision])
    assert (result["n"], result["passed"], result["same_file"], result["max_abs"]) == (20, True, True, 0)
    told = json.loads(bundle[precision].with_suffix(".golden.json").read_text())
    assert told["audio_licence"] == "CC0-1.0" and {clip["file"][-4:] for clip in told["clips"]} == {".wav"}


def test_another_precision_has_other_answers(bundle) -> None:
    result = check(bundle["int8"], golden=bundle["float32"].with_suffix(".golden.json"))
    assert not result["same_file"] and result["max_abs"] > 1e-5
