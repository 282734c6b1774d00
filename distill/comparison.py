"""Variants of one training compared: CCC of several seeds with each truth, and what each variant gains or loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from distill.annotation import AXES
from distill.evaluation.answering import Key
from distill.evaluation.truth import read_rated
from distill.metrics import ccc, interval

#: Answer and truth of each clip, [2, 3] each, in the order of `AXES`; NaN where an axis is lacking.
Answered: TypeAlias = dict[Key, np.ndarray]


@dataclass(frozen=True)
class Repetition:
    """What came of one seed. seconds: of training; answers: {truth: of each clip}."""

    seed: int
    seconds: float
    answers: Mapping[str, Answered]


def read_answers(path: Path) -> Answered:
    """The answers per clip that `distill evaluate -o` leaves."""
    said = read_rated(path)
    true = [[float(row[f"true_{axis}"] or "nan") for axis in AXES] for row in said.columns]
    return {key: np.array(both, np.float64) for key, *both in zip(said.keys, said.adv, true, strict=True)}


def compared(variants: Mapping[str, Sequence[Repetition]]) -> dict[str, dict[str, Any]]:
    """Each variant's CCC, and how it differs from the first variant's.

    variants: {name: its seeds}; the difference is taken over the seeds that both have.

    Returns {name: {
        seeds: [...], seconds: mean seconds of training or None,
        truths: {truth: {axis: {n, mean, low, high, values, interval: {low, high}}}}: mean, least and greatest CCC of
            the seeds, that of each, and the 95 % interval of the mean over clips drawn jointly;
        difference: {truth: {axis: {value, low, high}}}: mean CCC less that of the first variant, paired: the same
            clips are drawn for both; empty for the first}}.
    """
    reference = next(iter(variants.values()), [])
    return {
        name: {
            "seeds": [one.seed for one in own],
            "seconds": float(np.mean([one.seconds for one in own])) if own else None,
            "truths": _each(own, _agreement),
            "difference": {} if own is reference else _differences(own, reference),
        }
        for name, own in variants.items()
    }


def mean_ccc(truth: np.ndarray, *answers: np.ndarray) -> np.ndarray:
    """Mean over runs of the CCC along the last axis. All: [..., n].

    >>> truth = np.array([0.1, 0.5, 0.9])
    >>> round(float(mean_ccc(truth, truth, truth + 0.2)), 3)
    0.921
    """
    return np.asarray(np.mean([ccc(answer, truth) for answer in answers], axis=0))


def gain(truth: np.ndarray, *answers: np.ndarray) -> np.ndarray:
    """By how much `mean_ccc` of the first half of the runs is higher than that of the second half. All: [..., n].

    >>> truth = np.array([[0.1, 0.5, 0.9]])
    >>> [round(float(value), 3) for value in gain(truth, truth, truth + 0.2)]
    [0.158]
    """
    half = len(answers) // 2
    return np.asarray(mean_ccc(truth, *answers[:half]) - mean_ccc(truth, *answers[half:]))


def _each(runs: Sequence[Repetition], measured: Any) -> dict[str, Any]:
    """{truth: {axis: what `measured` says of truth and answers of the runs}}, of the axes that all of them have."""
    found: dict[str, Any] = {}
    for name in runs[0].answers if runs else ():
        sides = {axis: _sides([run.answers[name] for run in runs], column) for column, axis in enumerate(AXES)}
        found[name] = {axis: measured(*of) for axis, of in sides.items() if len(of[0])}
    return found


def _sides(runs: Sequence[Answered], column: int) -> list[np.ndarray]:
    """Truth and the answers of each run, [n] each, of the clips that all runs answered on this axis."""
    shared = [key for key in runs[0] if all(key in run and np.isfinite(run[key][:, column]).all() for run in runs)]
    truth = np.array([runs[0][key][1, column] for key in shared])
    return [truth, *(np.array([run[key][0, column] for key in shared]) for run in runs)]


def _agreement(truth: np.ndarray, *answers: np.ndarray) -> dict[str, Any]:
    values = [float(ccc(answer, truth)) for answer in answers]
    found = interval(mean_ccc, truth, *answers)
    return {
        "n": len(truth), "mean": found.pop("value"), "low": min(values), "high": max(values), "values": values,
        "interval": found,
    }  # fmt: skip


def _differences(own: Sequence[Repetition], reference: Sequence[Repetition]) -> dict[str, Any]:
    both = {one.seed for one in own} & {one.seed for one in reference}
    paired = [one for one in [*own, *reference] if one.seed in both]
    return _each(paired, lambda *sides: interval(gain, *sides))


# --- the table -------------------------------------------------------------------------------------------------------


def as_table(result: Mapping[str, Any]) -> str:
    """The result of `distill.ablation.ablate` as a Markdown table: a row a variant, a column a truth and axis."""
    variants = result["variants"]
    columns = [(truth, axis) for truth in _truths(variants) for axis in AXES if _has(variants, truth, axis)]
    head = ["variant", *(f"{truth}: {axis}" for truth, axis in columns), "minutes"]
    rows = [_row(name, of, columns, result["seeds"]) for name, of in variants.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    told = (
        f"CCC, mean of {result['seeds']} seeds (least to greatest); behind it the difference to the first row with its "
        "95 % interval over clips."
    )
    failed = [f"- failed: {one['variant']}, seed {one['seed']}: {one['reason']}" for one in result["failed"]]
    return "\n".join([told, "", *lines, *([""] if failed else []), *failed])


def _truths(variants: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(truth for of in variants.values() for truth in of["truths"]))


def _has(variants: Mapping[str, Any], truth: str, axis: str) -> bool:
    return any(axis in of["truths"].get(truth, {}) for of in variants.values())


def _row(name: str, of: Mapping[str, Any], columns: Sequence[tuple[str, str]], seeds: int) -> list[str]:
    fewer = "" if len(of["seeds"]) == seeds else f" ({len(of['seeds'])} of {seeds} seeds)"
    told = [[of[side].get(truth, {}).get(axis) for side in ("truths", "difference")] for truth, axis in columns]
    cells = [_cell(*both) for both in told]
    return [f"{name}{fewer}", *cells, "-" if of["seconds"] is None else f"{of['seconds'] / 60:.1f}"]


def _cell(found: Mapping[str, Any] | None, difference: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    ccc_of_seeds = f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    if difference is None:
        return ccc_of_seeds
    return f"{ccc_of_seeds}; {difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
