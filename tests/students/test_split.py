"""The two sides of a run's clips: what travels to the exporter, and what `split.json` names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.audio import SAMPLING_RATE, Span, digest, read
from distill.errors import DistillError
from distill.learning.clips import Clips, Example
from students import split
from students.split import TRAVELLING, Split, decode_split, travelling, write_split


def example(file: str, group: str, sha256: str | None = None) -> Example:
    return Example(Path(), file, Span(0.0, 1.0), sha256 or file, np.zeros(3, np.float32), group)


def split_of(examples: list[Example], held: list[bool]) -> Split:
    """Clips of a tenth of a second, clip n at the level n."""
    samples = SAMPLING_RATE // 10
    pcm = np.repeat(np.arange(len(examples)) * 1000, samples).astype("<i2")
    offsets = np.arange(len(examples) + 1) * samples
    clips = Clips(pcm, offsets, np.zeros((len(examples), 3), np.float32), np.ones(len(examples), np.float32))
    return Split(clips, examples, np.array(held))


def test_every_clip_is_on_one_side() -> None:
    sides = split_of([example(name, "file") for name in "abcd"], [False, True, True, False])
    assert sides.train.tolist() == [0, 3] and sides.held_out.tolist() == [1, 2]


def test_held_out_clips_check_and_training_clips_calibrate_in_turn() -> None:
    sides = split_of([example(str(number), "file") for number in range(6)], [True, True, False, False, False, False])
    clips = travelling(sides)
    assert [clip.use for clip in clips] == ["check", "calibrate", "check", "calibrate", "calibrate", "calibrate"]
    assert {clip.file for clip in clips if clip.use == "check"} == {"0", "1"}
    assert all((clip.signal == sides.clips.signal(int(clip.file))).all() for clip in clips)


def test_audio_that_two_tables_name_travels_once(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [example("a", "x", "same"), example("b", "y"), example("a", "x", "same"), example("c", "y")]
    assert sorted(clip.file for clip in travelling(split_of(twice, [True, False, True, False]))) == ["a", "b", "c"]
    monkeypatch.setattr(split, "TRAVELLING", 2)
    assert [clip.use for clip in travelling(split_of(twice, [True, False, True, False]))] == ["check", "calibrate"]


@pytest.mark.parametrize(
    ("groups", "by"),
    [
        (("speaker 1", "speaker 2"), "speaker"),
        (("file a", "file b"), "file"),
        (("speaker 1", "file b"), "speaker where known, else file"),
    ],
)
def test_the_split_names_what_was_held_out_and_by_what(groups: tuple[str, str], by: str, tmp_path: Path) -> None:
    sides = split_of([example("a", groups[0]), example("b", groups[1]), example("c", "speaker 3")], [True, True, False])
    assert write_split(tmp_path, sides) == {"by": by, "groups": 2, "train": 1, "held_out": 2}
    assert json.loads((tmp_path / "split.json").read_text()) == {"by": by, "held_out": sorted(groups)}


def recorded(folder: Path, speakers: str) -> list[Example]:
    """Recordings of half a second, each at its own level, by speakers of one letter each."""
    found = []
    for number, speaker in enumerate(speakers):
        signal = (0.1 + 0.05 * number) * np.sin(np.arange(SAMPLING_RATE // 2) / (3 + number))
        soundfile.write(folder / f"{number}.wav", signal, SAMPLING_RATE)
        sha, adv = digest(read(folder / f"{number}.wav")), np.full(3, number / 10, np.float32)
        found.append(Example(folder, f"{number}.wav", Span(0.0, 0.5), sha, adv, f"speaker {speaker}"))
    return found


def test_whole_speakers_are_held_out_and_every_clip_is_decoded(tmp_path: Path) -> None:
    chosen = recorded(tmp_path, "abcab")
    sides = decode_split(chosen, tmp_path / "run", seed=3)
    speakers = [{chosen[index].group for index in side} for side in (sides.train, sides.held_out)]
    assert speakers[0] | speakers[1] == {"speaker a", "speaker b", "speaker c"} and not speakers[0] & speakers[1]
    assert list(sides.examples) == chosen and len(sides.clips) == 5
    for number, one in enumerate(chosen):
        signal = read(tmp_path / one.file)
        np.testing.assert_allclose(sides.clips.signal(number), signal / np.abs(signal).max(), atol=1e-4)
    assert sides.clips.peaks == pytest.approx([0.1 + 0.05 * number for number in range(5)], rel=1e-3)


def test_another_process_opens_what_the_first_has_decoded(tmp_path: Path) -> None:
    chosen = recorded(tmp_path, "abc")
    with pytest.raises(DistillError, match="no such file; processes that train together share the folder"):
        decode_split(chosen, tmp_path / "run", seed=3, decoded=True)
    first = decode_split(chosen, tmp_path / "run", seed=3)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / split.FOLDER).iterdir()}
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    other = decode_split(chosen, tmp_path / "run", seed=3, decoded=True)
    assert (other.held == first.held).all() and (other.clips.pcm == first.clips.pcm).all()
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize("side", ["training", "held-out"])
def test_a_side_of_which_nothing_can_be_read_is_refused(tmp_path: Path, side: str) -> None:
    chosen = recorded(tmp_path, "abcab")
    sides = decode_split(chosen, tmp_path / "run", seed=3)
    for index in sides.train if side == "training" else sides.held_out:
        (tmp_path / chosen[index].file).unlink()
    with pytest.raises(DistillError, match=rf"^no {side} clip can be read; .*run/left_out\.csv names what is missing"):
        decode_split(chosen, tmp_path / "other-run", seed=3)
    assert (tmp_path / "other-run" / "left_out.csv").is_file()


def test_a_clip_that_cannot_be_read_leaves_its_side_to_the_others(tmp_path: Path) -> None:
    chosen = recorded(tmp_path, "abcab")
    (tmp_path / "1.wav").write_bytes(b"no audio")
    sides = decode_split(chosen, tmp_path / "run", seed=3)
    assert [one.file for one in sides.examples] == ["0.wav", "2.wav", "3.wav", "4.wav"]
    whole = decode_split(recorded(tmp_path, "abcab"), tmp_path / "whole", seed=3)
    assert [sides.held[place] for place in (0, 1, 2, 3)] == [whole.held[place] for place in (0, 2, 3, 4)]


def test_no_more_clips_travel_than_the_exporter_needs() -> None:
    clips = TRAVELLING + 50
    uses = [
        clip.use
        for clip in travelling(split_of([example(str(n), "file") for n in range(clips)], [True, False] * (clips // 2)))
    ]
    assert len(uses) == TRAVELLING == 400 and uses.count("check") == 200


def test_where_one_side_is_short_the_other_fills_up() -> None:
    clips = TRAVELLING + 50
    uses = [clip.use for clip in travelling(split_of([example(str(n), "file") for n in range(clips)], [True] * 30
                                                     + [False] * (clips - 30)))]  # fmt: skip
    assert (uses.count("check"), uses.count("calibrate")) == (30, TRAVELLING - 30)


def test_clips_travel_in_an_order_of_their_own_that_is_always_the_same() -> None:
    sides = split_of([example(str(n), "file") for n in range(40)], [n < 20 for n in range(40)])
    files = [clip.file for clip in travelling(sides)]
    assert files == [clip.file for clip in travelling(sides)] and sorted(files) == sorted(map(str, range(40)))
    assert files[::2] != sorted(files[::2], key=int)  # not those alone that the table begins with
