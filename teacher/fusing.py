"""Several teachers fused into one by constrained weights, fitted on half of the speakers and scored on the others.

Diatlova et al. (2024), "Adapting WavLM for speech emotion recognition": the fusion of their variants was best. Weights
are not negative and add up to 1 for each axis, so that the answers stay on the scale of the members'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError, Refused
from distill.evaluation.answering import Recordings
from distill.evaluation.truth import Rated, read_rated
from distill.files import write_json, write_text
from distill.metrics import ccc, interval
from teacher.catalogue import absolute
from teacher.claiming import reject_other_kind
from teacher.comparing import ask_all, open_all
from teacher.ensemble import FUSION, read_fusion

SPEAKER = "speaker"

#: Steps of the fit, and how far each goes.
_STEPS, _RATE = 3000, 0.5


def fuse_teachers(
    teachers: Sequence[str],
    *,
    truth: str | Path,
    output: str | Path,
    audio: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Fit the weights of a fusion and write it into the folder `output`, which `distill label --teacher` takes.

    teachers: two or more, as `distill label` names them. truth: ratings of clips that none of them learned from, with a
    column `speaker`; audio, where: as of `distill.evaluation.evaluate`. seed: draws which half of the speakers the
    weights are fitted on.

    Returns {n: {fitted, scored}, speakers: {fitted, scored}, members: [{teacher, revision, weights: {axis}}], ccc:
    {axis: {fusion, mean, and each teacher: {value, low, high}}}}, the CCC on the other half alone.

    Raises:
        DistillError: fewer than two teachers, fewer than four speakers, or an axis that cannot be fitted or scored.
    """
    if len(teachers) < 2:
        raise DistillError("fuse-teachers: a fusion is of two teachers or more")
    _reject_other(Path(output), teachers)
    rated = read_rated(Path(truth), where)
    recordings = Recordings(rated.path, None if audio is None else Path(audio))
    rivals, rows, _ = ask_all(open_all(teachers, device), rated, recordings)
    answers = np.stack([[rival.adv[row] for row in rows] for rival in rivals.values()])  # [members, clips, 3]
    fitted, names = halves(rated, rows, seed)
    right = rated.adv[rows].astype(np.float64)
    weights = _weights(answers[:, fitted], right[fitted])
    if not weights:
        raise DistillError(f"{rated.path}: has no axis that all of the teachers answer")
    scores = {axis: _scores(list(rivals), answers[:, ~fitted], right[~fitted], axis, own, seed)
              for axis, own in weights.items()}  # fmt: skip
    result = {
        "n": {"fitted": int(fitted.sum()), "scored": int((~fitted).sum())}, "speakers": names,
        "members": [
            {"teacher": absolute(name), "revision": rival.annotator.card.revision,
             "weights": {axis: float(own[place]) for axis, own in weights.items()}}
            for place, (name, rival) in enumerate(rivals.items())
        ],
        "ccc": scores,
    }  # fmt: skip
    write_text(Path(output) / "fusion.md", as_table(result))
    write_json(Path(output) / FUSION, result)
    return result


def _reject_other(output: Path, teachers: Sequence[str]) -> None:
    """Before the work: does the folder hold another teacher?"""
    reject_other_kind(output, FUSION)
    if (output / FUSION).is_file():
        before = [member.name for member in read_fusion(output).members]
        if before != [absolute(name) for name in teachers]:
            told = ", ".join(Path(name).name for name in before)
            raise Refused(f"{output}: holds a fusion of others ({told}); choose another folder")


def halves(rated: Rated, rows: Sequence[int], seed: int) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Which of the rows the weights are fitted on, boolean [rows], by speakers; and the speakers of both halves.

    Raises:
        DistillError: there are fewer than four speakers, or of a clip nobody knows the speaker.
    """
    speakers = np.array([str(rated.columns[row].get(SPEAKER) or "").strip() for row in rows])
    names = np.unique(speakers)
    if len(names) < 4 or not all(names):
        raise DistillError(f"{rated.path}: a fusion needs clips of four speakers or more, told in a column {SPEAKER!r}")
    drawn = np.random.default_rng(seed).permutation(names)
    first = sorted(drawn[: len(names) // 2].tolist())
    return np.isin(speakers, first), {"fitted": first, "scored": sorted(drawn[len(names) // 2 :].tolist())}


def fit_weights(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Weights, not negative and adding up to 1, by which the weighted mean agrees best with the truth (CCC).

    answers: float64 [members, clips]; truth: [clips] -> [members]. By exponentiated gradient (Kivinen and Warmuth
    1997), from equal weights.

    >>> truth = np.array([0.1, 0.5, 0.9, 0.4])
    >>> fit_weights(np.stack([truth, 1 - truth]), truth).round(2).tolist()
    [1.0, 0.0]
    """
    mean, centred = answers.mean(1), answers - answers.mean(1, keepdims=True)
    covariance = centred @ centred.T / answers.shape[1]
    with_truth = centred @ (truth - truth.mean()) / answers.shape[1]
    weights = np.full(len(answers), 1 / len(answers))
    for _ in range(_STEPS):
        above = 2 * weights @ with_truth
        off = weights @ mean - truth.mean()
        below = weights @ covariance @ weights + truth.var() + off**2
        gradient = 2 * with_truth / below - above * (2 * covariance @ weights + 2 * off * mean) / below**2
        weights = weights * np.exp(_RATE * (gradient - gradient.max()))
        weights /= weights.sum()
    return weights


def _weights(answers: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Of each axis that all answer and somebody rated."""
    found = {}
    for column, axis in enumerate(AXES):
        known = np.isfinite(answers[:, :, column]).all(0) & np.isfinite(truth[:, column])
        if known.sum() > 2:
            found[axis] = fit_weights(answers[:, known, column].astype(np.float64), truth[known, column])
    return found


def _scores(
    names: Sequence[str], answers: np.ndarray, truth: np.ndarray, axis: str, weights: np.ndarray, seed: int
) -> dict[str, Any]:
    column = AXES.index(axis)
    known = np.isfinite(answers[:, :, column]).all(0) & np.isfinite(truth[:, column])
    if known.sum() < 3:
        raise DistillError(f"{axis} is rated in {known.sum()} clips of the speakers that the fusion is scored on")
    single, right = answers[:, known, column].astype(np.float64), truth[known, column]
    said = {"fusion": weights @ single, "mean": single.mean(0), **dict(zip(names, single, strict=True))}
    return {name: interval(ccc, own, right, seed=seed) for name, own in said.items()}


def as_table(result: Mapping[str, Any]) -> str:
    """The fusion beside its members, as Markdown."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    axes = list(result["ccc"])
    fitted, scored = ((result["n"][side], len(result["speakers"][side])) for side in ("fitted", "scored"))
    yield (
        f"Weights fitted on {fitted[0]} clips of {fitted[1]} speakers; CCC on {scored[0]} clips of {scored[1]} others, "
        "with 95 % intervals. A member that has learned from these clips looks better here than it is."
    )
    yield ""
    yield "| | " + " | ".join(f"{axis} weight | {axis} CCC" for axis in axes) + " |"
    yield "|---" * (1 + 2 * len(axes)) + "|"
    weights = {name: member["weights"] for name, member in zip(list(result["ccc"][axes[0]])[2:], result["members"],
                                                               strict=True)}  # fmt: skip
    for name in result["ccc"][axes[0]]:
        cells = [f"{weights[name][axis]:.2f}" if name in weights else "" for axis in axes]
        scores = [_score(result["ccc"][axis][name]) for axis in axes]
        pairs = " | ".join(f"{cell} | {score}" for cell, score in zip(cells, scores, strict=True))
        yield f"| {Path(name).name} | {pairs} |"


def _score(score: Mapping[str, float]) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
