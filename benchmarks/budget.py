"""Students chosen by what a device has: which members of a sweep fit a budget, and which of these is best."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.tables import confidence
from benchmarks.units import count, size, whole
from distill.errors import DistillError

Record = dict[str, Any]


class Cost(NamedTuple):
    """What a member takes of something. field: in sweep.json; unit: how much of it one of a budget is."""

    field: str
    unit: float
    told: str
    shown: Callable[[float | None], str]


#: What a budget can limit, by its key.
COSTS = {
    "flash": Cost("flash_bytes", 1, "flash", size),
    "ram": Cost("ram_bytes", 1, "memory", size),
    "mmacs": Cost("macs_per_second", 1e6, "MAC/s", count),
    "parameters": Cost("parameters", 1, "parameters", whole),
}

#: k and M are powers of a thousand: what fits 96k, fits 96 KiB as well.
_TIMES = {"": 1.0, "k": 1e3, "M": 1e6}


@dataclass(frozen=True)
class Budget:
    """At most so much of each of `COSTS` that is named."""

    most: Mapping[str, float]

    def __str__(self) -> str:
        """
        >>> str(budget("flash=96k,mmacs=12"))
        'flash 96.0 kB, MAC/s 12.0 M'
        """
        return ", ".join(f"{COSTS[key].told} {COSTS[key].shown(most)}" for key, most in self.most.items())

    def over(self, member: Record) -> dict[str, float]:
        """By which factor a member takes more than there is: {key: factor}, infinite where what it takes is unknown.

        >>> budget("flash=10k,mmacs=12").over({"flash_bytes": 15_000, "macs_per_second": 8e6})
        {'flash': 1.5}
        """
        taken = {key: member[COSTS[key].field] for key in self.most}
        factors = {key: float("inf") if value is None else value / self.most[key] for key, value in taken.items()}
        return {key: factor for key, factor in factors.items() if factor > 1}

    def reason(self, member: Record) -> str:
        """Why it does not fit; nothing where it does.

        >>> budget("flash=10k").reason({"flash_bytes": 15_000}), budget("ram=1k").reason({"ram_bytes": None})
        ('flash 15.0 kB of 10.0 kB', 'memory not known')
        """
        return ", ".join(self._told(key, member[COSTS[key].field]) for key in self.over(member))

    def _told(self, key: str, value: float | None) -> str:
        cost = COSTS[key]
        return f"{cost.told} {'not known' if value is None else f'{cost.shown(value)} of {cost.shown(self.most[key])}'}"


def budget(text: str) -> Budget:
    """What `--fits` says: "flash=96k,ram=24k,mmacs=12".

    flash, ram: bytes, with k or M for a thousand or a million; mmacs: million multiply-accumulates a second of audio;
    parameters: numbers that training sets.

    >>> budget("flash=96k,ram=24k,mmacs=12").most
    {'flash': 96000.0, 'ram': 24000.0, 'mmacs': 12000000.0}

    Raises:
        DistillError: an unknown key, one that stands twice, or no number above zero.
    """
    most: dict[str, float] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in COSTS or key in most or not equals:
            why = "stands twice" if key in most else f"is no key=value, as flash=96k; keys are {', '.join(COSTS)}"
            raise DistillError(f"--fits: {part.strip()!r} {why}")
        number = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(.*)", value)
        if number is None or not float(number[1]):
            raise DistillError(f"--fits: {key} is {value!r}; it must be a number above zero, as 96k or 0.5M")
        if number[2] not in _TIMES:
            units = "k and M are the only units, a thousand and a million"
            raise DistillError(f"--fits: {key} is {value!r}; {units}: {number[1]}k, {number[1]}M or {number[1]}")
        most[key] = float(number[1]) * _TIMES[number[2]] * COSTS[key].unit
    return Budget(most)


def choose(record: Record, within: Budget) -> Record:
    """The best member of a sweep that fits, by the highest sum of its CCC with the first truth, over the axes that are
    measured; of equals the one with fewer multiply-accumulates.

    record: what sweep.json holds. An axis that is derived counts only where all are.

    Returns {budget, truth, axes: that were summed, best, order: {name: sum} of those that fit, best first, others:
    {name: why it is not among them}}.

    Raises:
        DistillError: none fits, or none that fits has been measured.
    """
    members = record["members"]
    reasons = misfits(members, within)
    fitting = [member for member in members if member["name"] not in reasons]
    truth = next((truth for member in fitting for truth in member["ccc"]), None)
    if truth is None:
        raise DistillError(f"{', '.join(member['name'] for member in fitting)}: would fit, but none has been measured")
    measured = [member for member in fitting if member["ccc"].get(truth)]
    axes = _summed(measured, truth)
    sums = {member["name"]: _sum(member, truth, axes) for member in measured}
    cheap = {member["name"]: member["macs_per_second"] for member in measured}
    order = sorted(sums, key=lambda name: (-sums[name], cheap[name]))
    unmeasured = {member["name"]: "not measured" for member in fitting if member not in measured}
    return {"budget": dict(within.most), "truth": truth, "axes": axes, "best": order[0],
            "order": {name: sums[name] for name in order}, "others": {**reasons, **unmeasured}}  # fmt: skip


def misfits(members: Sequence[Record], within: Budget) -> dict[str, str]:
    """Who does not fit, and why: {name: reason}.

    Raises:
        DistillError: nobody fits; who comes nearest.
    """
    found = {member["name"]: reason for member in members if (reason := within.reason(member))}
    if len(found) == len(members):
        nearest = min(members, key=lambda member: max(within.over(member).values()))["name"]
        raise DistillError(f"none of {len(members)} members fits {within}; nearest is {nearest}: {found[nearest]}")
    return found


def _summed(members: Sequence[Record], truth: str) -> list[str]:
    """The axes that all have, without those that are derived, if any is left."""
    shared = [axis for axis in members[0]["ccc"][truth] if all(axis in member["ccc"][truth] for member in members)]
    derived = {axis for member in members for axis in member["derived"]}
    return [axis for axis in shared if axis not in derived] or shared


def _sum(member: Record, truth: str, axes: Sequence[str]) -> float:
    return float(sum(member["ccc"][truth][axis]["mean"] for axis in axes))


def told(record: Record) -> str:
    """A sweep's `choice` for people: the best and its figures, who came next, and why others are not among them."""
    members, choice = {member["name"]: member for member in record["members"]}, record["choice"]
    by = f"CCC with {choice['truth']} over {' and '.join(choice['axes'])}"
    lines = [f"within {Budget(choice['budget'])}: {len(choice['order'])} of {len(members)} members"]
    for place, (name, total) in enumerate(choice["order"].items()):
        role = f"best, by the highest sum of {by}" if place == 0 else "next" if place == 1 else "then"
        lines.append(f"  {name} ({role}: {total:.3f}): {_costs(members[name])}; {_scores(members[name], choice)}")
    return "\n".join([*lines, *(f"  not {name}: {reason}" for name, reason in choice["others"].items())])


def _costs(member: Record) -> str:
    return ", ".join(f"{cost.told} {cost.shown(member[cost.field])}" for cost in COSTS.values())


def _scores(member: Record, choice: Record) -> str:
    found = member["ccc"][choice["truth"]]
    return "  ".join(f"{axis} {confidence({'value': of['mean'], **of['interval']})}" for axis, of in found.items())
