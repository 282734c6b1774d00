"""Train the bundled teacher from a table of rated clips; every choice is made by leaving one speaker out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from distill.annotation import AXES, TeacherCard
from distill.audio import SAMPLING_RATE
from distill.files import sha256_of, write_json
from distill.metrics import ccc
from teacher.prosody.analysis import Array
from teacher.prosody.corpus import DERIVED, SHORTEST_SECONDS, Corpus, hear, read_table
from teacher.prosody.experts import Material, blend, blended, blending, fit_discriminant, fit_kernel, prepare
from teacher.prosody.regressor import Regressor, write_regressor

__all__ = ["train_prosody"]

RATED = [AXES.index(axis) for axis in AXES if axis not in DERIVED]
CLEAN_SHARE = 0.8  # of the score by which a model is chosen; the rest is how it does on the harsher views

KERNELS = tuple(itertools.product((0.6, 1.0), (1.0, 3.0, 10.0, 30.0)))  # width, ridge
DISCRIMINANTS = tuple(itertools.product((0.35, 0.5, 0.7), (1.5, 2.0, 3.0)))  # shrinkage, temperature
TOLERANCE = 0.02  # of the score that a smoother model may cost: a student has to learn what the teacher answers


def train_prosody(
    *,
    labels: Path,
    audio: Path,
    output: Path,
    where: Mapping[str, str] | None = None,
    seed: int = 0,
    licence: str = "unknown",
    data_licence: str = "unknown",
    trained_on: str | None = None,
) -> dict[str, Any]:
    """Train the bundled teacher and write `prosody.npz` and `prosody.json` into a folder.

    Args:
        labels: CSV with file, speaker, arousal, valence (0..1), and perhaps dominance_norm, category, raters.
        audio: folder that the files stand in; a file without an ending is looked for with every known one.
        output: folder for the weights and the card.
        where: {column: value}; rows that have other values are left out.
        seed: of the random views.
        licence, data_licence: of the weights, and of the recordings and ratings; they go with every label made.
        trained_on: a sentence for the card; by default the name of the table and its counts.

    Returns:
        {output} and what `prosody.json` holds: {card, choice, n, loso_ccc: {axis: mean over speakers of the CCC with
        that speaker left out}, leave_one_speaker_out: {axis: {pooled, mean, speakers: {name}}}}.

    Raises:
        DistillError: columns or recordings are missing, or there are fewer than three speakers.
    """
    rows = read_table(labels, where)
    corpus = hear(rows, audio, seed)
    choice, answers = choose(corpus)
    experts = fit_experts(prepare(corpus), choice)
    regressor = blend(experts, blending(answers, corpus.ratings))
    origin = Origin(licence, data_licence, trained_on or described(labels, corpus))
    return write(regressor, corpus, origin, choice, answers, output)


# --- leaving one speaker out -----------------------------------------------------------------------------------------

Setting: TypeAlias = dict[str, float]  # arguments of an expert's fit
Choice: TypeAlias = list[Setting]  # one for each expert
Fit: TypeAlias = Callable[..., Regressor]
FITS: tuple[Fit, ...] = (fit_kernel, fit_discriminant)


def settings(corpus: Corpus) -> list[tuple[Fit, Choice]]:
    """The experts and what is tried for each; without categories there is one expert.

    >>> corpus = Corpus(np.array(["ann", "bob"]), np.zeros((2, 3)), np.array(["", ""]), np.ones(2), np.zeros((2, 1, 4)))
    >>> [fit.__name__ for fit, _ in settings(corpus)]
    ['fit_kernel']
    """
    kernel = [{"width": width, "ridge": ridge} for width, ridge in KERNELS]
    discriminant = [{"shrinkage": shrinkage, "temperature": temperature} for shrinkage, temperature in DISCRIMINANTS]
    tried: list[tuple[Fit, Choice]] = [(fit_kernel, kernel)]
    return [*tried, (fit_discriminant, discriminant)] if np.all(corpus.categories != "") else tried


def fit_experts(material: Material, choice: Choice) -> list[Regressor]:
    """Fit one expert for each entry of the choice."""
    return [FITS[index](material, **chosen) for index, chosen in enumerate(choice)]


def choose(corpus: Corpus) -> tuple[Choice, Array]:
    """The smoothest settings that do about as well as the best on speakers left out, and their answers there.

    answers: [experts, n, views, 3]. A rough function of many functionals scores hardly better, and no student that
    hears 50 ms at a time can follow it.
    """
    folds = list(each_speaker_left_out(corpus))
    tried = [[(one, left_out_answers(folds, corpus, fit, one)) for one in options] for fit, options in settings(corpus)]
    candidates = [tuple(zip(*combined, strict=True)) for combined in itertools.product(*tried)]
    scores = [score(np.stack(answers), corpus.ratings) for _, answers in candidates]
    good = [one for one, reached in zip(candidates, scores, strict=True) if reached >= max(scores) - TOLERANCE]
    chosen, answers = max(good, key=lambda candidate: smoothness(candidate[0]))
    return list(chosen), np.stack(answers)


def smoothness(choice: Sequence[Setting]) -> tuple[float, ...]:
    """What is compared to find the smoothest of several choices: ridge, width; then temperature, shrinkage.

    >>> smoothness([{"width": 0.6, "ridge": 10.0}, {"shrinkage": 0.5, "temperature": 2.0}])
    (10.0, 0.6, 2.0, 0.5)
    """
    kernel, *discriminant = choice
    return (
        kernel["ridge"],
        kernel["width"],
        *(one[key] for one in discriminant for key in ("temperature", "shrinkage")),
    )


def each_speaker_left_out(corpus: Corpus) -> Iterator[tuple[Any, Material]]:
    """Mask of one speaker's clips, and the material of all others."""
    for speaker in np.unique(corpus.speakers):
        own = corpus.speakers == speaker
        yield own, prepare(corpus.part(~own))


def left_out_answers(folds: Sequence[tuple[Any, Material]], corpus: Corpus, fit: Fit, setting: Setting) -> Array:
    """Answers of an expert for each speaker by a fit to the others: [n, views, 3]."""
    answers = np.empty((*corpus.features.shape[:2], len(AXES)))
    for own, others in folds:
        regressor = fit(others, **setting)
        flat = corpus.features[own].reshape(-1, corpus.features.shape[2])
        answers[own] = regressor(flat).reshape(-1, *answers.shape[1:])
    return answers


def score(answers: Array, ratings: Array) -> float:
    """Mean CCC over the rated axes: CLEAN_SHARE of it on the clips as they are, the rest on their other views."""
    together = blended(answers, blending(answers, ratings))
    by_view = np.array([[ccc(view[:, axis], ratings[:, axis]) for axis in RATED] for view in together.swapaxes(0, 1)])
    return float(CLEAN_SHARE * by_view[0].mean() + (1 - CLEAN_SHARE) * by_view[1:].mean())


# --- what is written -------------------------------------------------------------------------------------------------


class Origin(NamedTuple):
    """What the card says of where the weights come from."""

    licence: str
    data_licence: str
    trained_on: str


def described(labels: Path, corpus: Corpus) -> str:
    """A table in a few words.

    >>> corpus = Corpus(np.array(["ann", "bob"]), np.zeros((2, 3)), np.array(["", ""]), np.ones(2), np.zeros((2, 1, 4)))
    >>> described(Path("ratings.csv"), corpus)
    'ratings.csv: 2 clips of 2 speakers'
    """
    return f"{labels.name}: {len(corpus.speakers)} clips of {len(np.unique(corpus.speakers))} speakers"


def write(
    regressor: Regressor, corpus: Corpus, origin: Origin, choice: Choice, answers: Array, output: Path
) -> dict[str, Any]:
    """Write weights and card, the weights first: the card names their digest."""
    weights = output / "prosody.npz"
    write_regressor(regressor, weights)
    left_out = left_out_report(answers, corpus)
    report = {
        "card": card_of(regressor, corpus, origin, sha256_of(weights)[:12]).as_dict(),
        "choice": {name: value for setting in choice for name, value in setting.items()},
        "n": len(corpus.speakers),
        "loso_ccc": {axis: found["mean"] for axis, found in left_out.items()},
        "leave_one_speaker_out": left_out,
    }
    write_json(output / "prosody.json", report)
    return {**report, "output": str(output)}


def left_out_report(answers: Array, corpus: Corpus) -> dict[str, Any]:
    """CCC with human ratings, each speaker answered (and stretched) by a model of the others; no derived axis."""
    together = np.empty_like(corpus.ratings)
    for speaker in np.unique(corpus.speakers):
        own = corpus.speakers == speaker
        how = blending(answers[:, ~own], corpus.ratings[~own])
        together[own] = blended(answers[:, own, 0], how)
    return {AXES[axis]: _by_speaker(together[:, axis], corpus.ratings[:, axis], corpus.speakers) for axis in RATED}


def _by_speaker(answers: Array, ratings: Array, speakers: Any) -> dict[str, Any]:
    each = {str(name): float(ccc(answers[speakers == name], ratings[speakers == name])) for name in np.unique(speakers)}
    mean = float(np.mean(list(each.values())))
    return {"pooled": round(float(ccc(answers, ratings)), 4), "mean": round(mean, 4)} | {
        "speakers": {name: round(value, 4) for name, value in each.items()}
    }


def card_of(regressor: Regressor, corpus: Corpus, origin: Origin, revision: str) -> TeacherCard:
    """The card of the trained teacher; axes without ratings are absent from it."""
    axes = tuple(axis for axis, ratings in zip(AXES, corpus.ratings.T, strict=True) if np.isfinite(ratings).all())
    return TeacherCard(
        name="prosody",
        source="distill train-teacher --method prosody",
        revision=revision,
        parameters=regressor.parameters,
        axes=axes,
        derived=tuple(axis for axis in axes if axis in DERIVED),
        range=(0.0, 1.0),
        bundled=False,
        normalisation="cut to the active span; levels relative to the clip's own",
        gain_invariant=True,
        sampling_rate=SAMPLING_RATE,
        shortest_seconds=SHORTEST_SECONDS,
        longest_seconds=30.0,
        **origin._asdict(),
    )
