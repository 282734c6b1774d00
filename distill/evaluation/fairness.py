"""Correct, fair and robust enough? The tests of Wagner et al. (2023) as a table of passes and failures.

Wagner et al. (2023), "Dawn of the transformer era in speech emotion recognition: closing the valence gap", and its
limits: CCC, its difference between the sexes, the ranking of speakers, what 20 dB of noise costs, and how many answers
stay as they are when a clip is changed as little as a person would hardly hear. How strong the filters and the clipping
are is chosen here; the paper's own strengths are not known. Low and high voices are compared as by Derington et al.
(2023), whose groups are told in `distill.evaluation.pitch`, and whose limit is taken over, too: the CCC of each group
against that of all groups together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.audio import digest
from distill.errors import DistillError
from distill.evaluation.pitch import GROUPS, PitchGroups, pitch_groups, told_pitch
from distill.evaluation.robustness import Condition, Scene
from distill.metrics import answered, ccc, spearman
from distill.perturb import add_noise, band_limit, clip, codecs, through_codec

#: The limits: CCC above, its difference between the sexes below, the rank correlation of speakers above, the loss of
#: CCC in noise below; an answer that moves by less is unchanged, and so many have to be.
CORRECT, BETWEEN_SEXES, RANKING, NOISE_LOSS, UNCHANGED, SHARE = 0.50, 0.075, 0.7, 0.05, 0.05, 0.95

#: By how much the CCC of low, middle or high voices may be off that of all.
OF_A_PITCH = 0.1

#: Columns of the truth that are looked at.
SEX, SPEAKER = "sex", "speaker"

#: Speakers below which their ranking says nothing.
_FEWEST_SPEAKERS = 3

#: The condition that is judged by CCC; the others are judged by the answers that change.
_NOISE = "noise 20 dB"

Row = dict[str, Any]


def conditions() -> list[Condition]:
    """How clips are changed: the noise, and what a person would hardly hear.

    >>> [condition.name for condition in conditions()][:3]
    ['noise 20 dB', 'gain -2 dB', 'gain +2 dB']
    """
    phone = [Condition("phone codec", _telephoned)] if "ulaw" in codecs() else []
    return [
        Condition(_NOISE, lambda signal, scene: add_noise(signal, scene.noise, 20)),
        *(_gain(gain_db) for gain_db in (-2, 2)),
        *(_white(snr_db) for snr_db in (45, 40, 35)),
        Condition("clipped 0.1%", lambda signal, _: clip(signal, 0.001)),
        Condition("high-pass 100 Hz", lambda signal, _: band_limit(signal, 100, 8000)),
        Condition("low-pass 7500 Hz", lambda signal, _: band_limit(signal, 0, 7500)),
        *phone,
    ]  # fmt: skip


def _gain(gain_db: int) -> Condition:
    gain = np.float32(10 ** (gain_db / 20))
    return Condition(f"gain {gain_db:+d} dB", lambda signal, _: signal * gain)


def _telephoned(signal: np.ndarray, scene: Scene) -> np.ndarray:
    return through_codec(band_limit(signal, 300, 3400), "ulaw")


def _white(snr_db: int) -> Condition:
    return Condition(f"white noise {snr_db} dB", lambda signal, _: add_noise(signal, _hiss(signal), snr_db))


def _hiss(signal: np.ndarray) -> np.ndarray:
    """White noise that the clip alone decides: float32, as long as it."""
    return np.random.default_rng(int(digest(signal)[:16], 16)).standard_normal(len(signal)).astype(np.float32)


def reject_untold(columns: Sequence[Mapping[str, Any]]) -> None:
    """Find out before the work whether the truth says who speaks.

    Raises:
        DistillError: neither sex nor speaker are told, or a pitch that is no number.
    """
    if not any(row.get(name) for row in columns for name in (SEX, SPEAKER)):
        raise DistillError(f"--fairness needs a column {SEX!r} (female, male) or {SPEAKER!r} in the truth")
    told_pitch(columns)


def wants_pitch(columns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the recordings have to be listened to: speakers are told, and their pitch is not.

    >>> wants_pitch([{"speaker": "a"}]), wants_pitch([{"speaker": "a", "pitch": 120}]), wants_pitch([{"sex": "male"}])
    (True, False, False)
    """
    return told_pitch(columns) is None and any(row.get(SPEAKER) for row in columns)


def report(
    adv: np.ndarray, truth: np.ndarray, columns: Sequence[Mapping[str, Any]], tried: Sequence[Condition],
    pitch: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The table. adv: [clips, 1 + tried, 3], the clips as they are and under every condition; truth: [clips, 3]; NaN
    where there is none. columns: of each clip, of which sex and speaker are read. pitch: [clips] in Hz, NaN where a
    clip has no voice; None where it is not known.

    Returns {tests: [{test, axis, value, limit, passed, n}], passed, by_sex: {sex: {axis: CCC}}, by_pitch: {groups:
    {group: {speakers: {speaker: Hz}, n, ccc: {axis: CCC}}}, left_out: {reason: clips}} or None, untested: [...]}.
    """
    clean = adv[:, 0]
    sexes = np.array([str(row.get(SEX) or "").strip().lower() for row in columns])
    speakers = np.array([str(row.get(SPEAKER) or "").strip() for row in columns])
    by_sex = {sex: _concordance(clean[sexes == sex], truth[sexes == sex]) for sex in ("female", "male")}
    groups = None if pitch is None else pitch_groups(pitch, speakers)
    tests = [
        *_correct(clean, truth), *_between_sexes(by_sex, sexes), *_among_pitches(groups, clean, truth),
        *_ranking(clean, truth, speakers),
        *(row for number, condition in enumerate(tried, start=1)
          for row in _under(condition.name, clean, adv[:, number], truth)),
    ]  # fmt: skip
    done = {row["test"] for row in tests}
    untested = [
        test for test, rows in (
            ("difference between the sexes", {"difference between the sexes"}), ("pitch", set(map(_of_pitch, GROUPS))),
            ("ranking of speakers", {"ranking of speakers"}),
        ) if not rows & done
    ]  # fmt: skip
    return {
        "tests": tests, "passed": all(row["passed"] for row in tests), "by_sex": by_sex,
        "by_pitch": None if groups is None else _told(groups, clean, truth), "untested": untested,
    }  # fmt: skip


def _concordance(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {axis: float(ccc(x, y)) for axis, (x, y) in answered(predicted, truth).items()}


def _correct(clean: np.ndarray, truth: np.ndarray) -> Iterator[Row]:
    for axis, (x, y) in answered(clean, truth).items():
        yield _above("CCC", axis, float(ccc(x, y)), CORRECT, len(x))


def _between_sexes(by_sex: Mapping[str, Mapping[str, float]], sexes: np.ndarray) -> Iterator[Row]:
    """By how much the CCC of one sex is off from that of the other."""
    count = int(np.isin(sexes, list(by_sex)).sum())
    female, male = by_sex["female"], by_sex["male"]
    for axis in female:
        if axis in male:
            yield _below("difference between the sexes", axis, abs(female[axis] - male[axis]), BETWEEN_SEXES, count)


def _of_pitch(group: str) -> str:
    return f"{group} pitch against all"


def _among_pitches(groups: PitchGroups | None, clean: np.ndarray, truth: np.ndarray) -> Iterator[Row]:
    """By how much the CCC of those who speak low, middle or high is off that of all; nothing where all are of one."""
    if groups is None or len(groups.clips) < 2:
        return
    counted = np.any(list(groups.clips.values()), axis=0)
    of_all = _concordance(clean[counted], truth[counted])
    for group, own in groups.clips.items():
        for axis, (x, y) in answered(clean[own], truth[own]).items():
            yield _below(_of_pitch(group), axis, abs(float(ccc(x, y)) - of_all[axis]), OF_A_PITCH, len(x))


def _told(groups: PitchGroups, clean: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    return {
        "groups": {
            group: {"speakers": groups.speakers[group], "n": int(own.sum()),
                    "ccc": _concordance(clean[own], truth[own])}
            for group, own in groups.clips.items()
        },
        "left_out": groups.left_out,
    }  # fmt: skip


def _ranking(clean: np.ndarray, truth: np.ndarray, speakers: np.ndarray) -> Iterator[Row]:
    """Whether speakers whose ratings are high on average are answered so: Spearman's correlation of the means."""
    known = np.flatnonzero(speakers != "")
    names = np.unique(speakers[known])
    if len(names) < _FEWEST_SPEAKERS:
        return
    means = [np.stack([_means(side[speakers == name]) for name in names]) for side in (clean, truth)]
    for axis, (x, y) in answered(*means).items():
        yield _above("ranking of speakers", axis, float(spearman(x, y)), RANKING, len(x))


def _means(rows: np.ndarray) -> np.ndarray:
    """Means of the known values of each axis, NaN where none is: [clips, 3] -> [3]."""
    known = np.isfinite(rows)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def _under(name: str, clean: np.ndarray, changed: np.ndarray, truth: np.ndarray) -> Iterator[Row]:
    if name == _NOISE:
        for axis, (before, after, right) in answered(clean, changed, truth).items():
            yield _below(f"loss of CCC, {name}", axis, float(ccc(before, right) - ccc(after, right)), NOISE_LOSS,
                         len(right))  # fmt: skip
        return
    for axis, (before,) in answered(clean).items():
        after = changed[np.isfinite(clean[:, AXES.index(axis)]), AXES.index(axis)]
        share = float((np.abs(after - before) < UNCHANGED).mean())  # what is no longer answered has changed
        yield _above(f"unchanged, {name}", axis, share, SHARE, len(before))


def _above(test: str, axis: str, value: float, limit: float, count: int) -> Row:
    return {"test": test, "axis": axis, "value": value, "limit": limit, "passed": bool(value >= limit), "n": count}


def _below(test: str, axis: str, value: float, limit: float, count: int) -> Row:
    return {"test": test, "axis": axis, "value": value, "limit": limit, "passed": bool(value <= limit), "n": count}


def as_table(result: Mapping[str, Any]) -> str:
    """The table for a terminal."""
    lines = [f"{'test':<32}{'axis':<11}{'value':>7}  limit"]
    for row in result["tests"]:
        verdict = "pass" if row["passed"] else "FAIL"
        value = f"{row['value']:.3f}" if np.isfinite(row["value"]) else "-"
        lines.append(f"{row['test']:<32}{row['axis']:<11}{value:>7}  {row['limit']:<5g} {verdict}")
    for group, found in (result["by_pitch"] or {"groups": {}})["groups"].items():
        lines.append(f"{group} pitch: {found['n']} clips of {', '.join(found['speakers'])}")
    if result["by_pitch"] and result["by_pitch"]["left_out"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result["by_pitch"]["left_out"].items())
        lines.append(f"clips in no group of pitch: {reasons}")
    if result["untested"]:
        lines.append(f"not tested, the truth says too little: {', '.join(result['untested'])}")
    return "\n".join(lines)
