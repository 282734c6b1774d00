"""Train the bundled teacher from a table of rated clips; every choice is made by leaving one speaker out."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from distill.annotation import AXES, TeacherCard
from distill.audio import SUFFIXES, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.files import sha256_of, write_json
from distill.manifest import select
from distill.metrics import ccc
from distill.progress import Progress
from teacher.prosody.features import FEATURES, SAMPLING_RATE, Array, functionals
from teacher.prosody.regressor import Regressor, gaussian_plus_linear, squash, write_regressor
from teacher.prosody.views import VIEWS, view_weights, views

__all__ = ["train_prosody"]

Rows: TypeAlias = list[dict[str, str]]

COLUMNS = {"arousal": "arousal", "dominance": "dominance_norm", "valence": "valence"}
DERIVED = ("dominance",)  # a norm of the category (Russell and Mehrabian 1977): nobody rated a clip
RATED_AXES = [axis for axis in AXES if axis not in DERIVED]
RATED = [AXES.index(axis) for axis in AXES if axis not in DERIVED]
ENOUGH_RATERS = 20.0
SHORTEST_SECONDS = 0.3
LINEAR = 0.3  # share of the linear kernel
CLEAN_SHARE = 0.8  # of the score by which a model is chosen; the rest is how it does on the harsher views

KERNELS = tuple(itertools.product((0.6, 1.0), (1.0, 3.0, 10.0, 30.0)))  # width, ridge
DISCRIMINANTS = tuple(itertools.product((0.35, 0.5, 0.7), (1.5, 2.0, 3.0)))  # shrinkage, temperature
TOLERANCE = 0.02  # of the score that a smoother model may cost: a student has to learn what the teacher answers


@dataclass(frozen=True)
class Corpus:
    """Rated clips in all their views."""

    speakers: Any  # [n] str
    ratings: Array  # [n, 3], NaN where an axis is lacking
    categories: Any  # [n] str; all "" where the table has none
    weights: Array  # [n], more for more raters
    features: Array  # [n, views, d]

    def part(self, chosen: Any) -> Corpus:
        """The clips under a mask."""
        return Corpus(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


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


# --- the table and the sound ----------------------------------------------------------------------------------------


def read_table(labels: Path, where: Mapping[str, str] | None = None) -> Rows:
    """Rows of the CSV with the values of `where`, sorted by file."""
    with labels.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if missing := sorted({"file", "speaker", "arousal", "valence"} - set(reader.fieldnames or ())):
            raise DistillError(f"{labels}: the column {missing[0]!r} is missing")
        rows = select(list(reader), where or {}, labels)
    if len({row["speaker"] for row in rows}) < 3:
        chosen = "".join(f" with {column}={value}" for column, value in (where or {}).items())
        raise DistillError(f"{labels}: the rows{chosen} must hold at least three speakers: each is left out once")
    return sorted(rows, key=lambda row: row["file"])


def number(row: dict[str, str], column: str, missing: float | None) -> float:
    """A cell as a number; `missing` stands for an empty one, None where there must be one."""
    text = row.get(column) or ""
    if not text and missing is not None:
        return missing
    try:
        return float(text)
    except ValueError:
        raise DistillError(f"{row['file']}: {column} is {text!r}, not a number; mend it or leave the row out") from None


def hear(rows: Rows, audio: Path, seed: int) -> Corpus:
    """Compute the functionals of every view of every clip."""
    paths = [find_audio(audio, row["file"]) for row in rows]
    raters = np.array([number(row, "raters", ENOUGH_RATERS) for row in rows])
    return Corpus(
        speakers=np.array([row["speaker"] for row in rows]),
        ratings=np.array(
            [[number(row, COLUMNS[axis], None if axis in RATED_AXES else np.nan) for axis in AXES] for row in rows]
        ),
        categories=np.array([row.get("category") or "" for row in rows]),
        weights=np.sqrt(np.minimum(raters, ENOUGH_RATERS) / ENOUGH_RATERS),
        features=hear_views(paths, seed),
    )


def hear_views(paths: Sequence[Path], seed: int) -> Array:
    """Functionals of all views of all recordings: [n, views, d]. The views of a clip depend on seed and place alone."""
    features = np.empty((len(paths), len(VIEWS), FEATURES), np.float32)
    with Progress("prosody", total=len(paths), unit="clips") as progress:
        for index, path in enumerate(paths):
            clip = _heard(path)
            random = np.random.default_rng([seed, index])
            features[index] = [functionals(view) for view in views(clip, random)]
            progress.advance(1, audio_seconds=len(clip) / SAMPLING_RATE)
    return features


def _heard(path: Path) -> Array:
    try:
        clip = read(path)
        reject_unusable(clip, SHORTEST_SECONDS)
    except AudioError as error:
        raise DistillError(f"{path}: {error}; leave its row out") from None
    return clip


def find_audio(root: Path, name: str) -> Path:
    """The recording of that name, with or without its ending."""
    candidates = [root / name, *(root / f"{name}{suffix}" for suffix in SUFFIXES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise DistillError(f"{root}: no recording named {name}, with or without an ending")
    return found


# --- the experts: regressors that lack the other's half --------------------------------------------------------------


class Material(NamedTuple):
    """A corpus made ready for fitting."""

    mean: Array  # [d]
    scale: Array  # [d]
    centres: Array  # [n, d]: the clips as they are
    rows: Array  # [n * views, d]: every view a row
    ratings: Array  # [n * views, 3]
    categories: Any  # [n * views]
    weights: Array  # [n * views]


def prepare(corpus: Corpus) -> Material:
    """Standardise by the weighted moments of all views."""
    count = corpus.features.shape[1]
    weights = (corpus.weights[:, None] * view_weights()).ravel()
    flat = corpus.features.reshape(-1, corpus.features.shape[2]).astype(np.float64)
    mean = np.average(flat, axis=0, weights=weights)
    scale = np.sqrt(np.average((flat - mean) ** 2, axis=0, weights=weights)) + 1e-6
    return Material(
        mean=mean,
        scale=scale,
        centres=squash(corpus.features[:, 0], mean, scale),
        rows=squash(flat, mean, scale),
        ratings=np.repeat(np.nan_to_num(corpus.ratings), count, axis=0),
        categories=np.repeat(corpus.categories, count),
        weights=weights,
    )


def expert(material: Material, **learnt: Array) -> Regressor:
    """A regressor of what was learnt; what was not is empty."""
    dimensions, axes = len(material.mean), len(AXES)
    empty: dict[str, Array] = {
        "kernel": np.zeros(2), "centres": np.zeros((0, dimensions)), "coefficients": np.zeros((0, axes)),
        "directions": np.zeros((0, dimensions)), "thresholds": np.zeros(0), "prototypes": np.zeros((0, axes)),
        "offset": np.zeros(axes),
    }  # fmt: skip
    return Regressor(mean=material.mean, scale=material.scale, **(empty | learnt))


def fit_kernel(material: Material, width: float, ridge: float) -> Regressor:
    """Kernel ridge regression on all views, with the clips as they are for its only centres (subset of regressors)."""
    offset = np.average(material.ratings, axis=0, weights=material.weights)
    response = gaussian_plus_linear(material.rows, material.centres, width, LINEAR)
    penalty = ridge * gaussian_plus_linear(material.centres, material.centres, width, LINEAR)
    weighted = (response * material.weights[:, None]).T
    system = weighted @ response + penalty + 1e-6 * np.eye(len(penalty))
    coefficients = np.linalg.solve(system, weighted @ (material.ratings - offset))
    kernel = np.array([width, LINEAR])
    return expert(material, kernel=kernel, centres=material.centres, coefficients=coefficients, offset=offset)


def fit_discriminant(material: Material, shrinkage: float, temperature: float) -> Regressor:
    """Linear discriminants with a shrunk common covariance, and the mean ratings of the categories."""
    names, which = np.unique(material.categories, return_inverse=True)
    own = np.eye(len(names))[which] * material.weights[:, None]
    own_mean, prototypes = (own.T @ of / own.sum(axis=0)[:, None] for of in (material.rows, material.ratings))
    rest = material.rows - own_mean[which]
    covariance = (rest * material.weights[:, None]).T @ rest / material.weights.sum()
    level = np.trace(covariance) / len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance))
    directions = np.linalg.solve(shrunk, own_mean.T).T / temperature
    thresholds = -0.5 * np.sum(directions * own_mean, axis=1)
    return expert(material, directions=directions, thresholds=thresholds, prototypes=prototypes)


# --- two experts, one answer -----------------------------------------------------------------------------------------


class Blending(NamedTuple):
    """How the experts' answers are put together: offset + sum of gain x answer."""

    gains: Array  # [experts, 3]
    offset: Array  # [3]


def blending(answers: Array, ratings: Array) -> Blending:
    """Equal parts of the experts, stretched to mean and spread of the ratings.

    A regression answers too close to the mean, which the concordance punishes. The stretch is taken from answers for
    speakers left out. answers: [experts, n, views, 3], of which the first view counts; ratings: [n, 3].
    """
    heard = answers[:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):  # an axis that nobody rated: NaN from here on
        gains = 1 / heard.std(axis=1) / len(heard)
        together = np.einsum("enk,ek->nk", heard, gains)
        gains = gains * ratings.std(axis=0) / together.std(axis=0)
    return Blending(gains, ratings.mean(axis=0) - np.einsum("enk,ek->k", heard, gains) / len(ratings))


def blended(answers: Array, how: Blending) -> Array:
    """Answers of the experts [experts, ..., 3] as one [..., 3]."""
    return np.asarray(np.einsum("e...k,ek->...k", answers, how.gains) + how.offset)


def blend(experts: Sequence[Regressor], how: Blending) -> Regressor:
    """The experts as one regressor."""
    stretched = [_stretched(one, gain) for one, gain in zip(experts, how.gains, strict=True)]
    joined = ("centres", "coefficients", "directions", "thresholds", "prototypes")
    arrays = {name: np.concatenate([getattr(one, name) for one in stretched]) for name in joined}
    offset = how.offset + np.sum([one.offset for one in stretched], axis=0)
    return replace(experts[0], offset=offset, **arrays)


def _stretched(one: Regressor, gain: Array) -> Regressor:
    scaled = {name: getattr(one, name) * gain for name in ("coefficients", "prototypes", "offset")}
    return replace(one, **scaled)


# --- leaving one speaker out -----------------------------------------------------------------------------------------

Setting: TypeAlias = dict[str, float]  # arguments of an expert's fit
Choice: TypeAlias = list[Setting]  # one for each expert
Fit: TypeAlias = Callable[..., Regressor]
FITS: tuple[Fit, ...] = (fit_kernel, fit_discriminant)


def settings(corpus: Corpus) -> list[tuple[Fit, Choice]]:
    """The experts and what is tried for each; without categories there is one expert."""
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
    """What is compared to find the smoothest of several choices: ridge, width; then temperature, shrinkage."""
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
    """A table in a few words."""
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
