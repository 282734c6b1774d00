"""People as the teacher: a manifest's columns become a label table that a student can learn from."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill import table
from distill.errors import DistillError
from teacher.catalogue import card_of, open_teacher
from teacher.labelling import label

RATE = 16_000


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Three clips, of which one was not rated and one has words where numbers belong."""
    rows = [("a.wav", "0.25", "0", "s1"), ("b.wav", "0.5", "", "s1"), ("c.wav", "0.75", "low", "s2")]
    for number, (name, *_) in enumerate(rows):
        noise = np.random.default_rng(number).standard_normal(RATE).astype(np.float32)
        soundfile.write(tmp_path / name, 0.1 * noise, RATE)
    with (tmp_path / "ratings.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file", "arousal", "valence", "speaker"), *rows])
    return tmp_path / "ratings.csv"


def test_ratings_become_a_label_table(rated: Path, tmp_path: Path) -> None:
    done = label(rated, output=tmp_path / "labels", teacher="ratings:arousal", audio_licence="CC0-1.0")
    assert (done["labelled"], done["failed"]) == (3, 0)
    labels = table.read(tmp_path / "labels")
    assert labels.info["axes"] == ["arousal"] and labels.info["audio_licence"] == "CC0-1.0"
    np.testing.assert_array_equal(labels.adv[:, 0], np.float32([0.25, 0.5, 0.75]))
    assert np.isnan(labels.adv[:, 1:]).all()
    assert labels.column("speaker") == ["s1", "s1", "s2"]


def test_a_clip_without_a_rating_is_named(rated: Path, tmp_path: Path) -> None:
    done = label(rated, output=tmp_path / "labels", teacher="ratings:arousal,valence")
    assert (done["labelled"], done["failed"]) == (1, 2)
    np.testing.assert_array_equal(table.read(tmp_path / "labels").adv[0, [0, 2]], np.float32([0.25, 0.0]))
    with (tmp_path / "labels" / table.FAILED).open() as handle:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(handle)}
    assert reasons == {"b.wav": "the column valence holds '', no rating",
                       "c.wav": "the column valence holds 'low', no rating"}  # fmt: skip


def test_a_folder_has_no_ratings(rated: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="nothing was labelled"):
        label(rated.parent, output=tmp_path / "labels", teacher="ratings")


def test_what_is_no_axis_is_refused() -> None:
    with pytest.raises(DistillError, match="'joy' is no axis; there are arousal, dominance, valence"):
        open_teacher("ratings:joy")


def test_only_sound_is_not_enough() -> None:
    with pytest.raises(DistillError, match="answers the rows of a manifest, with the columns arousal, dominance"):
        open_teacher("ratings").annotate(np.zeros((1, RATE), np.float32), [RATE], RATE)


def test_what_the_ratings_are_under_is_not_known() -> None:
    card = card_of("ratings:valence")
    assert card is not None and (card.licence, card.data_licence, card.axes) == ("unknown", "unknown", ("valence",))
