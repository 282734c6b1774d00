"""The two sides of a run's clips: what travels to the exporter, and what `split.json` names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distill.audio import SAMPLING_RATE, Span
from students import split
from students.clips import Clips, Example
from students.split import Split, travelling, write_split


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
