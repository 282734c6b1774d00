"""What training does to voices after the teacher's answer, and by which shares."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.learning.clips import Clips
from distill.perturb import Surroundings, level
from students.augmentation import SHARES, Augmentation, VoiceChanger, surrounded

#: Nothing at all.
NOTHING = replace(Augmentation().with_shares(dict.fromkeys(SHARES, 0.0)), gain_db=(0.0, 0.0))
AROUND = Surroundings([np.sin(np.arange(40_000) / 5).astype(np.float32)], [np.float32([1, 0, 0, 0.5])])


def voices(count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    made = [np.convolve(rng.standard_normal(SAMPLING_RATE), np.ones(4) / 4, "same") for _ in range(count)]
    return [(voice / np.abs(voice).max()).astype(np.float32) for voice in made]


def heard(how: Augmentation, seed: int = 0) -> list[np.ndarray]:
    return surrounded(voices(), how, AROUND, np.random.default_rng(seed))


def test_the_shares_are_the_fields_that_are_one_number() -> None:
    assert {field.name for field in fields(Augmentation) if field.type == "float"} - {"shortest_crop"} == set(SHARES)


def test_without_shares_nothing_happens() -> None:
    for voice, after in zip(voices(), heard(NOTHING), strict=True):
        np.testing.assert_array_equal(voice, after)


@pytest.mark.parametrize("name", ["room", "noise", "clipping", "band", "codec"])
def test_each_changes_the_sound_and_not_its_length(name: str) -> None:
    for voice, after in zip(voices(), heard(NOTHING.with_shares({name: 1.0})), strict=True):
        assert len(after) == len(voice) and after.dtype == np.float32
        assert np.abs(after - voice).max() > 1e-3


def test_silence_is_of_one_length_in_a_batch_and_lies_on_both_sides() -> None:
    after = heard(NOTHING.with_shares({"silence": 1.0}))
    assert len({len(signal) for signal in after}) == 1
    more = len(after[0]) - SAMPLING_RATE
    assert 0.1 * SAMPLING_RATE <= more <= 1.2 * SAMPLING_RATE and more % (SAMPLING_RATE // 10) == 0
    fronts = [int(np.flatnonzero(signal)[0]) for signal in after]
    assert len(set(fronts)) > 1
    for voice, signal, front in zip(voices(), after, fronts, strict=True):
        np.testing.assert_array_equal(signal[front : front + SAMPLING_RATE], voice)


def test_batches_are_of_few_lengths() -> None:
    """Each new one would cost memory for good."""
    clips = Clips(np.ones(50_000, "<i2"), np.array([0, 22_345, 50_000]), np.zeros((2, 3)), np.ones(2, np.float32))
    changer = VoiceChanger(clips, replace(Augmentation(), speed=1.0, crop=1.0), longest=32_000)
    drawn = [changer.voices(np.array([0, 1]), np.random.default_rng(seed)) for seed in range(20)]
    lengths = {len(voice.signal) for batch in drawn for voice in batch}
    assert len(lengths) > 2 and all(length % 1_600 == 0 for length in lengths)


def test_the_level_is_drawn_for_each() -> None:
    after = heard(replace(NOTHING, gain_db=(-20.0, 10.0)))
    gains = [20 * np.log10(level(one) / level(voice)) for voice, one in zip(voices(), after, strict=True)]
    assert min(gains) > -20.01 and max(gains) < 10.01 and np.ptp(gains) > 5


def test_the_same_draws_are_the_same_sound() -> None:
    how = NOTHING.with_shares(dict.fromkeys(SHARES, 0.5))
    for one, other in zip(heard(how, 7), heard(how, 7), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("shares", "told"), [({"echo": 0.1}, "--augment echo: there are mixup, "),
                                              ({"noise": 1.5}, "--augment noise=1.5: a share is from 0 to 1"),
                                              ({"snr_db": 0.1}, "--augment snr_db: there are")])  # fmt: skip
def test_what_is_no_share_is_refused(shares: dict[str, float], told: str) -> None:
    with pytest.raises(DistillError, match=told):
        Augmentation().with_shares(shares)
