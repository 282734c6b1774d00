"""Implicit text: what follows the words is found, what does not is not; and somebody reads them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from distill.annotation import AXES, Annotation
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.evaluation import evaluate, evaluating, implicit
from distill.evaluation.answering import Clip, Model
from distill.evaluation.implicit import Reading, as_table, auc, implicit_text
from distill.evaluation.sentences import ADJECTIVES, SENTIMENTS, VERBS, Sentence, sentences
from distill.synthesis.espeak import PROGRAM, VOICES, read_out, reject_no_espeak, version
from teacher.prosody.analysis import mean_pitch


@pytest.fixture
def espeak(lacking: Callable[[str, str], NoReturn]) -> None:
    """Skipped without espeak-ng, unless DISTILL_REQUIRE names "espeak"."""
    if shutil.which(PROGRAM) is None:
        lacking("espeak", f"needs {PROGRAM}")


def levelled(seconds: float = 0.5) -> Iterator[Reading]:
    """Readings in two voices whose first sample says the sentiment and a little of the item, the second the item."""
    for voice in ("low", "high"):
        for one in sentences():
            item = 0.01 * (one.item % 7) + 0.02 * (voice == "high")
            signal = np.full(round(seconds * SAMPLING_RATE), 0.5, np.float32)
            signal[:2] = 0.3 + 0.1 * SENTIMENTS.index(one.sentiment) + item, item
            yield Reading(one, voice, signal)


def toy(answer: Callable[[Clip], list[float]], axes: tuple[str, ...] = AXES) -> Model:
    def annotate(clips: Any) -> Annotation:
        return Annotation(np.array([answer(clip) for clip in clips], np.float32))

    return Model("toy", axes, 0.3, 30.0, annotate)


def test_what_follows_the_words_is_told_from_what_does_not() -> None:
    def answer(clip: Clip) -> list[float]:
        return [1 - float(clip.signal[0]), np.nan, float(clip.signal[1])]  # against the sentiment; with the item alone

    result = implicit_text(toy(answer, ("arousal", "valence")), levelled(), 360)
    assert (result["items"], result["voices"], result["readings"], result["failed"]) == (60, ["low", "high"], 360, 0)
    assert set(result["axes"]) == {"arousal", "valence"}
    arousal, valence = result["axes"]["arousal"], result["axes"]["valence"]
    assert arousal["difference"]["value"] == pytest.approx(-0.2, abs=1e-6) and arousal["difference"]["high"] < -0.19
    assert arousal["auc"] == {"value": 0.0, "low": 0.0, "high": 0.0} and arousal["n"] == 60
    assert arousal["mean"]["neutral"] == pytest.approx((arousal["mean"]["negative"] + arousal["mean"]["positive"]) / 2)
    assert arousal["by_voice"] == {"low": pytest.approx(-0.2, abs=1e-6), "high": pytest.approx(-0.2, abs=1e-6)}
    assert valence["difference"]["value"] == pytest.approx(0, abs=1e-6)
    assert valence["auc"]["value"] == pytest.approx(0.5, abs=0.01)


def test_an_item_that_lacks_an_answer_is_left_out_and_counted() -> None:
    def spoken() -> Iterator[Reading]:
        for number, one in enumerate(levelled()):
            yield Reading(one.sentence, one.voice, one.signal[:100]) if number == 4 else one

    result = implicit_text(toy(lambda clip: 3 * [float(clip.signal[0])]), spoken(), 360)
    assert result["failed"] == 1 and result["axes"]["valence"]["n"] == 59
    assert "1 of 360 readings not answered" in as_table(result)


def test_the_interval_is_over_items_and_paired() -> None:
    """Items differ by far more than sentiments do; drawn together, the difference is still sure."""

    def spoken() -> Iterator[Reading]:
        for one in sentences():
            level = 0.01 * one.item + 0.001 * SENTIMENTS.index(one.sentiment) + 0.01
            yield Reading(one, "voice", np.full(8_000, level, np.float32))

    found = implicit_text(toy(lambda clip: 3 * [float(clip.signal[0])]), spoken(), 180)["axes"]["valence"]
    assert found["difference"]["low"] == pytest.approx(0.002, abs=1e-5)
    assert 0.5 < found["auc"]["value"] < 0.53 and found["auc"]["high"] < 0.6


def test_auc_is_the_share_of_pairs_in_order() -> None:
    draw = np.random.default_rng(0)
    positive, negative = draw.integers(0, 5, (3, 7)), draw.integers(0, 5, (3, 7))
    for one, other, value in zip(positive, negative, auc(positive, negative), strict=True):
        pairs = [1.0 if x > y else 0.5 if x == y else 0.0 for x in one for y in other]
        assert value == pytest.approx(np.mean(pairs))


def test_items_differ_in_one_word_alone() -> None:
    by_item: dict[int, list[Sentence]] = {}
    for one in sentences():
        by_item.setdefault(one.item, []).append(one)
    assert len(by_item) == 60 and all(tuple(s.sentiment for s in of) == SENTIMENTS for of in by_item.values())
    for of in by_item.values():
        words = [sentence.text.split() for sentence in of]
        assert [len(set(place)) for place in zip(*words, strict=True)].count(3) == 1
    assert len({one.text for one in sentences()}) == 180
    for place, _ in enumerate(SENTIMENTS):
        assert len({words[place] for words in (*ADJECTIVES, *VERBS)}) >= 12  # "recorded" is neutral as both


def test_without_the_reader_it_is_told_which_package_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    truth = tmp_path / "t.csv"
    truth.write_text("file,arousal\na.wav,0.5\n")
    with pytest.raises(DistillError, match=r"--implicit-text needs the program espeak-ng.*apt-get install espeak-ng"):
        evaluate(truth=truth, student="wav2small", implicit=True)
    with pytest.raises(DistillError, match="--implicit-text asks anew"):
        evaluate(truth=truth, predictions=truth, implicit=True)


def test_voices_are_there_and_those_of_women_are_higher(espeak: None) -> None:
    reject_no_espeak("a test")
    assert version().startswith("espeak-ng 1.")
    pitch = {}
    for voice in VOICES:
        spoken = read_out("They talked about the local service.", voice)
        assert spoken.dtype == np.float32 and 1 < len(spoken) / SAMPLING_RATE < 4
        np.testing.assert_array_equal(spoken, read_out("They talked about the local service.", voice))
        pitch[voice] = mean_pitch(spoken)
    women, men = ([hertz for voice, hertz in pitch.items() if f"+{sex}" in voice] for sex in "fm")
    assert min(women) > max(men) + 40 and len(set(pitch.values())) == len(VOICES)


def test_the_sentences_of_an_item_are_read_alike(espeak: None) -> None:
    by_sentiment = {sentiment: [one for one in sentences() if one.sentiment == sentiment] for sentiment in SENTIMENTS}
    seconds = {
        sentiment: np.array([len(read_out(one.text, VOICES[0])) / SAMPLING_RATE for one in of])
        for sentiment, of in by_sentiment.items()
    }
    assert abs(seconds["positive"].mean() / seconds["negative"].mean() - 1) < 0.05
    assert np.all(np.abs(seconds["positive"] / seconds["negative"] - 1) < 0.25)


def test_a_voice_that_is_not_there_is_named(espeak: None) -> None:
    with pytest.raises(DistillError, match=r"espeak-ng in the voice nobody: .*does not exist"):
        read_out("one", "nobody")


def test_a_student_is_read_all_of_them(
    espeak: None, make_student: Callable[..., Path], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (evaluating, implicit):
        monkeypatch.setattr(module, "VOICES", VOICES[:1])  # the others take as long each
    truth = corpus / "t.csv"
    truth.write_text("file,arousal\na/one.wav,0.1\na/two.flac,0.4\nb/three.wav,0.5\n")
    student = make_student(corpus / "tiny.onnx")
    result = evaluate(truth=truth, student=student, implicit=True)["implicit_text"]
    assert (result["readings"], result["failed"], result["voices"]) == (180, 0, [VOICES[0]])
    assert set(result["axes"]) == set(AXES) and result["read_by"].startswith("espeak-ng ")
