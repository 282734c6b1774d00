"""Robustness: what noise, rooms, gain, codecs and the like do to the answers of a student or a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE, digest
from distill.files import sha256_of
from distill.metrics import answered, ccc, ccc_drop, interval
from distill.perturb import (
    Surroundings,
    add_noise,
    band_limit,
    change_speed,
    clip,
    codecs,
    excerpt,
    level,
    recordings,
    reverberate,
    surroundings,
    through_codec,
    with_silence,
)
from distill.progress import say

#: Stretches of a recorded noise of which the loudest is taken: some recordings are filled up with digital silence.
_STRETCHES = 5


@dataclass(frozen=True)
class Limit:
    """What the project promises. drop: of CCC on an axis, at most; change: of any answer, at most."""

    drop: float | None = None
    change: float | None = None


@dataclass(frozen=True)
class Scene:
    """Where a clip is heard. noise: float32 [samples], as long as the clip; room: impulse response, float32."""

    noise: np.ndarray
    room: np.ndarray


@dataclass(frozen=True)
class Condition:
    """A way to change a clip: float32 [samples] and where it is heard -> float32 [other samples]."""

    name: str
    change: Callable[[np.ndarray, Scene], np.ndarray]
    limit: Limit = Limit()


#: The promises: CCC at 10 dB SNR, any answer at -20..+20 dB of gain, any answer behind a second of silence.
AT_10_DB, AT_ANY_GAIN, BEHIND_SILENCE = Limit(drop=0.05), Limit(change=0.02), Limit(change=0.05)


def conditions() -> list[Condition]:
    """The conditions, in the order of the report; of the codecs those that libsndfile has here.

    >>> [condition.name for condition in conditions()][:5]
    ['noise 20 dB', 'noise 10 dB', 'noise 5 dB', 'noise 0 dB', 'room']
    """
    return [
        _noisy(20), _noisy(10, AT_10_DB), _noisy(5), _noisy(0),
        Condition("room", lambda signal, scene: reverberate(signal, scene.room)),
        *(_louder(gain_db) for gain_db in (-20, -10, 10, 20)),
        *(_clipped(share) for share in (0.01, 0.1)),
        _band(300, 3400), _band(0, 4000),
        *(_coded(codec) for codec in codecs()),
        *(_faster(factor) for factor in (0.9, 1.1)),
        _silent(1, 0, BEHIND_SILENCE), _silent(0, 1),
        Condition("first half", lambda signal, _: signal[: len(signal) // 2]),
        Condition("first second", lambda signal, _: signal[:SAMPLING_RATE]),
        Condition("repeated", lambda signal, _: np.tile(signal, 2)),
    ]  # fmt: skip


def _noisy(snr_db: int, limit: Limit = Limit()) -> Condition:
    return Condition(f"noise {snr_db} dB", lambda signal, scene: add_noise(signal, scene.noise, snr_db), limit)


def _louder(gain_db: int) -> Condition:
    gain = np.float32(10 ** (gain_db / 20))
    return Condition(f"gain {gain_db:+d} dB", lambda signal, _: signal * gain, AT_ANY_GAIN)


def _clipped(share: float) -> Condition:
    return Condition(f"clipped {share:.0%}", lambda signal, _: clip(signal, share))


def _band(low_hz: int, high_hz: int) -> Condition:
    return Condition(f"{low_hz}-{high_hz} Hz", lambda signal, _: band_limit(signal, low_hz, high_hz))


def _coded(codec: str) -> Condition:
    return Condition(f"codec {codec}", lambda signal, _: through_codec(signal, codec))


def _faster(factor: float) -> Condition:
    return Condition(f"speed {factor:g}", lambda signal, _: change_speed(signal, factor))


def _silent(before: int, after: int, limit: Limit = Limit()) -> Condition:
    name = f"silence {'before' if before else 'after'}"
    return Condition(name, lambda signal, _: with_silence(signal, before, after), limit)


class Trial:
    """The conditions in one place: noises and rooms are chosen for every clip by its samples and the seed alone.

    noise, rir: folders of recordings, or patterns; without them both are synthesised, and never those of training.
    tried: the conditions, if not those of `conditions`.

    Raises:
        DistillError: a folder without readable audio.
    """

    def __init__(
        self, noise: Path | None = None, rir: Path | None = None, *, seed: int = 0,
        tried: Sequence[Condition] | None = None,
    ) -> None:  # fmt: skip
        self.conditions = conditions() if tried is None else list(tried)
        self._around = surroundings(noise, rir, seed=seed, testing=True)
        self._seed = seed
        self.made_of = {"noise": _origin(noise, seed), "rooms": _origin(rir, seed)}

    def versions(self, signal: np.ndarray) -> list[np.ndarray]:
        """The clip as it is, then under every condition."""
        scene = _scene(signal, self._around, self._seed)
        return [signal, *(condition.change(signal, scene) for condition in self.conditions)]

    def report(self, adv: np.ndarray, truth: np.ndarray, first: int | None = None) -> dict[str, Any]:
        """What the conditions, or the `first` of them, did. adv: [clips, 1 + conditions, 3] as `versions` goes; truth:
        [clips, 3]; NaN: lacking.

        {noise, rooms: where they come from, limits, conditions: {name: {n, unanswered, ccc: {axis}, drop: {axis:
        {value, low, high}}, change: {axis: {mean, largest}}, limit, passed}}, passed}. drop: of CCC with the truth,
        against the clean clips, of those n that have an answer both ways; passed: None where nothing is promised.
        """
        found = {
            condition.name: _compared(condition, adv[:, 0], adv[:, number], truth, self._seed)
            for number, condition in enumerate(self.conditions[:first], start=1)
        }
        promised = [row["passed"] for row in found.values() if row["passed"] is not None]
        return {**self.made_of, "conditions": found, "passed": all(promised)}

    def announce(self) -> None:
        """Say what is synthesised."""
        made = [what for what, origin in self.made_of.items() if origin["folder"] is None]
        if made:
            say(
                f"{' and '.join(made)} for testing are synthesised, otherwise than for training "
                "(--noise DIR and --rir DIR take recordings, which training should not have heard)"
            )


def _scene(signal: np.ndarray, around: Surroundings, seed: int) -> Scene:
    rng = np.random.default_rng([seed, int(digest(signal)[:16], 16)])
    noise = around.noises[int(rng.integers(len(around.noises)))]
    stretches = [excerpt(noise, len(signal), rng) for _ in range(_STRETCHES)]
    return Scene(max(stretches, key=level), around.rooms[int(rng.integers(len(around.rooms)))])


def _origin(where: Path | None, seed: int) -> dict[str, Any]:
    """Where noises or rooms come from, so that one can see whether training heard the same."""
    if where is None:
        return {"folder": None, "synthesised": f"seed {seed}, for testing alone"}
    return {"folder": str(where), "sha256": {name: sha256_of(path) for name, path in recordings(where).items()}}


def _compared(
    condition: Condition, clean: np.ndarray, changed: np.ndarray, truth: np.ndarray, seed: int
) -> dict[str, Any]:
    """One condition against the clean clips. clean, changed, truth: [clips, 3]."""
    moved = _changes(clean, changed)
    drops, values = {}, {}
    for axis, (before, after, right) in answered(clean, changed, truth).items():
        values[axis] = float(ccc(after, right))
        drops[axis] = interval(ccc_drop, before, after, right, seed=seed)
    heard = np.isfinite(changed).any(1)
    return {
        "n": int(heard.sum()), "unanswered": int((~heard).sum()), "ccc": values, "drop": drops, "change": moved,
        "limit": asdict(condition.limit), "passed": _passed(condition.limit, drops, moved),
    }  # fmt: skip


def _changes(clean: np.ndarray, changed: np.ndarray) -> dict[str, dict[str, float]]:
    """{axis: {mean, largest}} of the absolute change of the model's own answers; of the axes that it answers."""
    change = np.abs(changed.astype(np.float64) - clean)
    found = {axis: column[np.isfinite(column)] for axis, column in zip(AXES, change.T, strict=True)}
    return {axis: {"mean": float(c.mean()), "largest": float(c.max())} for axis, c in found.items() if len(c)}


def _passed(limit: Limit, drops: Mapping[str, Any], moved: Mapping[str, Any]) -> bool | None:
    """Whether every axis keeps the limit; None where there is none. What is not a number has failed."""
    if limit.drop is not None:
        return bool(drops) and all(drop["value"] <= limit.drop for drop in drops.values())
    if limit.change is not None:
        return bool(moved) and all(change["largest"] <= limit.change for change in moved.values())
    return None


def as_table(result: Mapping[str, Any]) -> str:
    """The report for a terminal, 120 columns wide."""
    rows = result["conditions"]
    axes = [axis for axis in AXES if any(axis in {**row["drop"], **row["change"]} for row in rows.values())]
    over = f"{'':<21}{'drop of CCC with the truth [95 % interval]':<{24 * len(axes)}}largest change of"
    names = "".join(f"{axis:<24}" for axis in axes) + "".join(f"{axis[:5]:<6}" for axis in axes)
    lines = [_line(name, row, axes) for name, row in rows.items()]
    return "\n".join([over, f"{'condition':<15}{'clips':>5} {names}limit", *lines])


def _line(name: str, row: Mapping[str, Any], axes: Sequence[str]) -> str:
    drops = "".join(f"{_drop(row['drop'].get(axis)):<24}" for axis in axes)
    changes = "".join(f"{_number(row['change'].get(axis, {}).get('largest')):<6}" for axis in axes)
    return f"{name:<15}{row['n']:>5} {drops}{changes}{_verdict(row)}".rstrip()


def _drop(drop: Mapping[str, float] | None) -> str:
    return "-" if drop is None else f"{_number(drop['value'])} [{_number(drop['low'])}, {_number(drop['high'])}]"


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{round(value, 3) + 0.0:.3f}"  # no "-0.000"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["passed"] is None:
        return ""
    limit = next(value for value in row["limit"].values() if value is not None)
    return f"{limit:g} {'pass' if row['passed'] else 'FAIL'}"
