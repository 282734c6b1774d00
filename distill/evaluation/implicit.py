"""How far answers follow what is said where how it is said stays the same: implicit text.

Wagner et al. (2023), "Dawn of the transformer era in speech emotion recognition: closing the valence gap" (section on
linguistic information): much of what large models know of valence comes from the words, which they have learned to
recognise unasked. So sentences of known sentiment (`sentences`) are read out without emotion (`espeak`), and what the
answers to the positive ones are above those to the negative ones is what the words alone have done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.evaluation.answering import TOGETHER, Clip, Model
from distill.evaluation.sentences import SENTIMENTS, Sentence, sentences
from distill.metrics import interval
from distill.progress import Progress
from distill.synthesis.espeak import VOICES, read_out

_NEGATIVE, _POSITIVE = SENTIMENTS.index("negative"), SENTIMENTS.index("positive")


@dataclass(frozen=True)
class Reading:
    """A sentence as a voice reads it. signal: float32 [samples], mono 16 kHz."""

    sentence: Sentence
    voice: str
    signal: np.ndarray


def readings() -> Iterator[Reading]:
    """All sentences in all voices.

    Raises:
        DistillError: the synthesiser cannot do it.
    """
    for voice in VOICES:
        for sentence in sentences():
            yield Reading(sentence, voice, read_out(sentence.text, voice))


def implicit_text(model: Model, spoken: Iterable[Reading], count: int, *, seed: int = 0) -> dict[str, Any]:
    """Ask a model about sentences that are read without emotion. spoken, count: the readings, and how many they are.

    Returns {items, voices, readings, failed: readings without an answer, axes: {axis: {mean: {sentiment: answer},
    difference: {value, low, high}: positive less negative, auc: {value, low, high}, by_voice: {voice: difference},
    n: items that every voice has an answer to}}}. The intervals are over the items, whose sentences are drawn together.
    """
    heard, answers = _asked(model, spoken, count)
    voices = list(dict.fromkeys(one.voice for one in heard))
    items = sorted({one.item for one in heard})
    adv = np.full((len(items), len(SENTIMENTS), len(voices), len(AXES)), np.nan)
    for one, answer in zip(heard, answers, strict=True):
        adv[items.index(one.item), SENTIMENTS.index(one.sentiment), voices.index(one.voice)] = answer
    return {
        "items": len(items), "voices": voices, "readings": len(heard),
        "failed": int(np.isnan(answers).all(1).sum()),
        "axes": {axis: _followed(adv[..., column], voices, seed)
                 for column, axis in enumerate(AXES) if np.isfinite(adv[..., column]).all((1, 2)).any()},
    }  # fmt: skip


@dataclass(frozen=True)
class _Heard:
    item: int
    sentiment: str
    voice: str


def _asked(model: Model, spoken: Iterable[Reading], count: int) -> tuple[list[_Heard], np.ndarray]:
    """What was read, and the answers [readings, 3], NaN where there is none. The audio is let go of at once."""
    heard, answers = list[_Heard](), list[np.ndarray]()
    coming = iter(spoken)
    with Progress("implicit text", count, "readings") as progress:
        while together := list(islice(coming, TOGETHER)):
            clips = [Clip(one.signal, {"file": one.sentence.text, "start": None, "end": None}) for one in together]
            for one, (adv, reason) in zip(together, model.answer(clips), strict=True):
                heard.append(_Heard(one.sentence.item, one.sentence.sentiment, one.voice))
                answers.append(adv)
                progress.advance(failed=reason is not None)
    return heard, np.array(answers, np.float64).reshape(-1, len(AXES))


def _followed(answers: np.ndarray, voices: Sequence[str], seed: int) -> dict[str, Any]:
    """One axis. answers: [items, sentiments, voices]; items that lack one of them are left out."""
    known = answers[np.isfinite(answers).all((1, 2))]
    means = known.mean(2)
    negative, positive = means[:, _NEGATIVE], means[:, _POSITIVE]
    by_voice = (known[:, _POSITIVE] - known[:, _NEGATIVE]).mean(0)
    return {
        "n": len(known), "mean": dict(zip(SENTIMENTS, means.mean(0).tolist(), strict=True)),
        "difference": interval(_difference, positive, negative, seed=seed),
        "auc": interval(auc, positive, negative, seed=seed),
        "by_voice": dict(zip(voices, by_voice.tolist(), strict=True)),
    }  # fmt: skip


def _difference(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    return np.asarray((positive - negative).mean(-1))


def auc(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """How often one of the positive is above one of the negative, of all pairs: 0.5 is chance; equal ones count half.
    It is the area under the ROC curve (Hanley and McNeil 1982). positive, negative: [..., n], few: pairs are counted.

    >>> float(auc(np.array([0.5, 0.9]), np.array([0.1, 0.5])))
    0.875
    """
    gap = positive[..., :, None] - negative[..., None, :]
    return np.asarray(((gap > 0) + 0.5 * (gap == 0)).mean((-2, -1)))


def as_table(result: Mapping[str, Any]) -> str:
    """What was found, for a terminal."""
    lines = [
        f"implicit text: {result['items']} items, negative, neutral and positive, read by {len(result['voices'])} "
        f"voices without emotion, {result['failed']} of {result['readings']} readings not answered",
        f"{'':<11}{'negative':>9}{'neutral':>9}{'positive':>9}  positive less negative  AUC",
    ]
    for axis, one in result["axes"].items():
        means = "".join(f"{one['mean'][sentiment]:>9.3f}" for sentiment in SENTIMENTS)
        lines.append(f"{axis:<11}{means}  {_told(one['difference']):<22}  {_told(one['auc'])}")
    return "\n".join(lines)


def _told(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
