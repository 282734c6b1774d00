"""Several teachers as one: the mean of what each says, its spread, and the strictest of their licences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.annotation import Annotation
from distill.errors import DistillError
from teacher.batches import BATCH
from teacher.catalogue import open_teacher
from teacher.ensemble import Mean, mean_card, members_of


class Says:
    """Answers the same to everything."""

    def __init__(self, quick: Any, adv: Sequence[float], **card: Any) -> None:
        self.card, self.adv = replace(quick.card, **card), adv

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        rows = np.tile(np.array(self.adv, np.float32), (len(lengths), 1))
        return Annotation(rows, embedding=rows[:, :2])


def test_answers_the_mean_unclipped_and_how_far_apart_they_are(quick: Any) -> None:
    given = Mean([Says(quick, (1.4, 0.2, 0.3)), Says(quick, (1.0, 0.4, -0.5))]).annotate(
        np.zeros((2, 9)), [9, 9], 16000
    )
    np.testing.assert_allclose(given.adv, [[1.2, 0.3, -0.1]] * 2, atol=1e-6)
    np.testing.assert_allclose(given.spread, [[0.2, 0.1, 0.4]] * 2, atol=1e-6)
    assert given.embedding.shape == (2, 4)


def test_an_axis_that_one_lacks_is_answered_by_nobody(quick: Any) -> None:
    one = Says(quick, (0.1, np.nan, 0.3), axes=("arousal", "valence"))
    mean = Mean([one, Says(quick, (0.3, 0.5, 0.1))])
    given = mean.annotate(np.zeros((1, 9)), [9], 16000)
    assert mean.card.axes == ("arousal", "valence") and np.isnan(given.adv[0, 1])
    np.testing.assert_allclose(given.adv[0, [0, 2]], [0.2, 0.2], atol=1e-6)


def test_takes_the_clips_that_all_take_and_the_strictest_licences(quick: Any) -> None:
    strict = {"licence": "CC-BY-NC-SA-4.0", "data_licence": "MSP-Podcast academic licence (restricted)"}
    card = mean_card([replace(quick.card, shortest_seconds=3.0, derived=("dominance",)),
                      replace(quick.card, longest_seconds=12.0, gain_invariant=True, **strict)])  # fmt: skip
    assert (card.shortest_seconds, card.longest_seconds, card.derived) == (3.0, 12.0, ("dominance",))
    assert (card.licence, card.data_licence) == tuple(strict.values()) and not card.gain_invariant


def test_refuses_what_has_nothing_in_common(quick: Any) -> None:
    with pytest.raises(DistillError, match="in common"):
        mean_card([replace(quick.card, axes=("arousal",)), replace(quick.card, axes=("valence",))])
    with pytest.raises(DistillError, match="in common"):
        mean_card([replace(quick.card, longest_seconds=2.0), replace(quick.card, shortest_seconds=3.0)])


@pytest.mark.parametrize("name", ["mean:", "mean:odyssey", "mean:odyssey,", "mean:odyssey,odyssey"])
def test_a_mean_of_one_is_refused(name: str) -> None:
    with pytest.raises(DistillError, match="two teachers or more"):
        members_of(name)


def test_checkpoints_and_the_bundled_teacher_go_together(published: Mapping[str, Path]) -> None:
    names = [str(published["odyssey"]), str(published["audeering"]), "prosody"]
    signal = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32)
    heard = [open_teacher(name, "cpu").annotate(signal, [16000], 16000).adv for name in names]
    mean = open_teacher("mean:" + ",".join(names), "cpu")
    np.testing.assert_allclose(mean.annotate(signal, [16000], 16000).adv, np.mean(heard, axis=0), atol=1e-6)
    assert mean.card.licence == "unknown" and mean.card.own_threads and mean.card.derived == ("dominance",)


def test_the_first_reason_of_a_member_is_that_of_the_mean(quick: Any) -> None:
    class Refuses(Says):
        def __init__(self, reasons: Sequence[str | None]) -> None:
            super().__init__(quick, (np.nan,) * 3)
            self.reasons = reasons

        def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
            return replace(super().annotate(signals, lengths, sampling_rate), reasons=self.reasons)

    members = [Says(quick, (0.1, 0.2, 0.3)), Refuses([None, "no words", None]), Refuses([None, "too late", "silent"])]
    given = Mean(members).annotate(np.zeros((3, 9)), [9, 9, 9], 16000)
    assert given.reasons == [None, "no words", "silent"]
    assert Mean(members[:1]).annotate(np.zeros((2, 9)), [9, 9], 16000).reasons is None


def test_embeddings_stand_side_by_side_where_all_have_one(quick: Any) -> None:
    class Bare(Says):
        def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
            return replace(super().annotate(signals, lengths, sampling_rate), embedding=None)

    one, other, bare = Says(quick, (1.0, 2.0, 3.0)), Says(quick, (4.0, 5.0, 6.0)), Bare(quick, (0.0, 0.0, 0.0))
    heard = (np.zeros((1, 9)), [9], 16000)
    np.testing.assert_array_equal(Mean([one, other]).annotate(*heard).embedding, [[1, 2, 4, 5]])
    assert Mean([one, bare]).annotate(*heard).embedding is None


def test_a_mean_says_of_its_members_what_holds_of_all(quick: Any) -> None:
    quick_, slow = quick.card, replace(
        quick.card, name="slow", source="hub", parameters=7, range=(-1.0, 0.5), bundled=True, own_threads=True,
        gain_invariant=True, licence="MIT", trained_on="speech",
    )  # fmt: skip
    card = mean_card([quick_, slow])
    assert card.name == "mean:quick,slow" and card.source == "tests; hub" and card.revision == "1"
    assert (card.parameters, card.range, card.bundled, card.gain_invariant) == (7, (-1.0, 1.0), False, False)
    assert (
        card.own_threads and card.trained_on == "nothing; speech" and card.order == ("arousal", "dominance", "valence")
    )
    with pytest.raises(DistillError, match="in common"):
        mean_card([quick_, replace(slow, sampling_rate=8000)])


def test_the_slowest_member_says_how_many_clips_go_together(quick: Any) -> None:
    slow = Says(quick, (0.0, 0.0, 0.0))
    slow.together = 3  # type: ignore[attr-defined]
    assert Mean([Says(quick, (0.0, 0.0, 0.0)), slow]).together == 3 and Mean([quick, quick]).together == BATCH
