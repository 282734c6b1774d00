"""A batch: every segment ends as a row or as a failure with its reason, and the same audio is asked about once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.annotation import Annotation
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.sources.manifest import Segment
from teacher.batches import BATCH, annotate_batch, clips_together, decode


def segment(file: str, start: float = 0.0, end: float = 1.0, **columns: Any) -> Segment:
    return Segment(file, start, end, 1000, 7, columns)


class Answers:
    """Answers what it is given, clip by clip; notes how long the clips were."""

    def __init__(self, quick: Any, adv: Sequence[Sequence[float]], **annotation: Any) -> None:
        self.card, self.adv, self.given = quick.card, np.array(adv, np.float32), annotation
        self.heard: list[int] = []

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        assert sampling_rate == SAMPLING_RATE and len(signals) == len(lengths)
        self.heard += list(lengths)
        return Annotation(self.adv[: len(lengths)], **self.given)


class Reads(Answers):
    """The same of one that reads the manifest."""

    columns: Sequence[Any] = ()

    def annotate_rows(self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Any) -> Annotation:
        self.columns = columns
        return self.annotate(signals, lengths, sampling_rate)


GOOD = (0.5, 0.25, 0.75)


def test_a_row_carries_all_that_is_known_of_its_segment(corpus: Path, quick: Any) -> None:
    spread = np.array([[0.1, np.nan, 0.3]], np.float32)
    given = segment("a/two.flac", 0.25, 1.25, speaker="03")
    outcome = annotate_batch([given], corpus, Answers(quick, [GOOD], spread=spread))
    (row,) = outcome.rows
    assert (row.file, row.start, row.end, row.size, row.changed) == ("a/two.flac", 0.25, 1.25, 1000, 7)
    assert row.adv == GOOD and row.spread == (pytest.approx(0.1), None, pytest.approx(0.3))
    assert row.columns == {"speaker": "03"} and row.embedding is None and not outcome.failures


def test_the_same_audio_is_one_question_and_has_a_row_a_name(corpus: Path, quick: Any) -> None:
    (corpus / "copy.wav").write_bytes((corpus / "a" / "one.wav").read_bytes())
    teacher = Answers(quick, [GOOD, (0.1, 0.2, 0.3)])
    given = [segment("a/one.wav"), segment("b/three.wav"), segment("copy.wav")]
    outcome = annotate_batch(given, corpus, teacher)
    assert len(teacher.heard) == 2 and [row.file for row in outcome.rows] == [one.file for one in given]
    first, second, copy = outcome.rows
    assert first.adv == copy.adv == GOOD != second.adv and first.sha256 == copy.sha256 != second.sha256


def test_whoever_reads_the_manifest_is_asked_about_every_row(corpus: Path, quick: Any) -> None:
    (corpus / "copy.wav").write_bytes((corpus / "a" / "one.wav").read_bytes())
    teacher = Reads(quick, [GOOD, (0.1, 0.2, 0.3)])
    given = [
        segment("a/one.wav", text="yes"),
        replace(segment("copy.wav"), columns={"text": "no", "file": "not this one"}),
    ]
    assert len(annotate_batch(given, corpus, teacher).rows) == 2
    assert teacher.columns == [
        {"text": "yes", "file": "a/one.wav", "start": 0.0, "end": 1.0},
        {"text": "no", "file": "copy.wav", "start": 0.0, "end": 1.0},
    ]


@pytest.mark.parametrize(
    ("adv", "reasons", "said"),
    [((np.nan, 0.2, 0.3), None, "the teacher quick answered NaN"), ((0.1, np.inf, 0.3), None, "answered NaN"),
     ((np.nan,) * 3, ["the server declined it"], "the server declined it"),
     ((np.nan,) * 3, [None], "the teacher quick answered NaN")],
)  # fmt: skip
def test_what_was_not_answered_is_a_failure_with_its_reason(
    corpus: Path, quick: Any, adv: Sequence[float], reasons: Any, said: str
) -> None:
    outcome = annotate_batch([segment("a/two.flac", 0.5, 1.5)], corpus, Answers(quick, [adv], reasons=reasons))
    (failure,) = outcome.failures
    assert said in failure.reason and (failure.file, failure.start, failure.end) == ("a/two.flac", 0.5, 1.5)
    assert not outcome.rows


def test_an_axis_that_a_teacher_never_answers_is_no_failure(corpus: Path, quick: Any) -> None:
    teacher = Answers(quick, [(0.1, np.nan, 0.3)])
    teacher.card = replace(quick.card, axes=("arousal", "valence"))
    (row,) = annotate_batch([segment("a/one.wav")], corpus, teacher).rows
    assert row.adv[1] is None and row.adv[2] == pytest.approx(0.3)


def test_embeddings_are_halved_and_lacking_ones_are_told(corpus: Path, quick: Any) -> None:
    pooled = np.array([[1 / 3, -2.0]], np.float32)
    (row,) = annotate_batch(
        [segment("a/one.wav")], corpus, Answers(quick, [GOOD], embedding=pooled), embeddings=True
    ).rows
    assert row.embedding is not None and row.embedding.dtype == np.float16
    np.testing.assert_allclose(row.embedding, pooled[0], rtol=1e-3)
    large = Answers(quick, [GOOD], embedding=1e6 * pooled)
    (failure,) = annotate_batch([segment("a/one.wav")], corpus, large, embeddings=True).failures
    assert failure.reason == "the embedding of quick does not fit into half precision"
    assert len(annotate_batch([segment("a/one.wav")], corpus, large).rows) == 1, "nobody asked for it"
    with pytest.raises(DistillError, match="quick has no embedding; label without --embeddings"):
        annotate_batch([segment("a/one.wav")], corpus, Answers(quick, [GOOD]), embeddings=True)


def test_what_cannot_be_used_is_named_and_the_teacher_never_asked(corpus: Path, quick: Any) -> None:
    soundfile.write(corpus / "silent.wav", np.zeros(SAMPLING_RATE), SAMPLING_RATE)
    (corpus / "broken.wav").write_bytes(b"RIFF")
    given = [segment("silent.wav"), segment("broken.wav"), segment("gone.wav"), segment("a/one.wav", 0.0, 0.1)]
    teacher = Answers(quick, [GOOD])
    outcome = annotate_batch(given, corpus, teacher)
    assert [failure.file for failure in outcome.failures] == [one.file for one in given]
    assert not outcome.rows and not teacher.heard and all(one.reason.count("\n") == 0 for one in outcome.failures)
    batch = decode(given, corpus, shortest_seconds=0.05)
    assert [one.file for one, _ in batch.digests] == ["a/one.wav"], "another teacher takes shorter clips"


def test_a_slow_teacher_says_how_many_it_takes_at_once() -> None:
    class Slow:
        together = 2

    assert clips_together(Slow()) == 2 and clips_together(object()) == BATCH  # type: ignore[arg-type]
