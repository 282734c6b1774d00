"""What agreement costs: the Pareto fronts of a sweep, and their pictures, drawn from sweep.json alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

from benchmarks.charts import LEFT, WIDTH, size_tick
from benchmarks.tables import confidence
from benchmarks.units import hundredths
from distill import plots
from distill.annotation import AXES
from distill.plots import Frame, Scale

Record = dict[str, Any]


class Against(NamedTuple):
    """A cost that CCC is drawn against. field: of a member; title, tick: as they are written."""

    field: str
    title: str
    tick: Callable[[float], str]


#: A panel's height, and the room above its area and below it (px).
_PANEL, _ABOVE, _BELOW = 240.0, 40.0, 30.0

#: Series of the plots: those on a front, and those that another member outdoes.
_ON, _OFF = 0, 7

#: Half of the room that a mark takes, and the height of a name (px).
_MARK, _LINE = 6.0, 14.0


def count_tick(value: float) -> str:
    """A count on an axis.

    >>> count_tick(20_000.0), count_tick(5e6)
    ('20 k', '5 M')
    """
    step, unit = next((step, unit) for step, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k"), (0, "")) if value >= step)
    return f"{value / (step or 1):g}{unit}"


AGAINST = (
    Against("macs_per_second", "multiply-accumulates a second of audio", count_tick),
    Against("parameters", "parameters", count_tick),
    Against("ram_bytes", "memory of a streaming engine, estimated", size_tick),
)


def fronts(members: Sequence[Record]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Whom nobody outdoes: {cost: {truth: {axis: names, cheapest first}}}.

    A member is outdone where another one's CCC is as high and its cost as low, and one of both is better. Who has not
    been measured, or whose cost is unknown, takes no part.

    >>> ccc = [{"t": {"arousal": {"mean": mean}}} for mean in (0.7, 0.6, 0.9)]
    >>> costs = dict.fromkeys(("parameters", "ram_bytes"))
    >>> members = [{"name": n, "macs_per_second": m, **costs, "ccc": c} for n, m, c in zip("abc", (1, 2, 3), ccc)]
    >>> fronts(members)["macs_per_second"]
    {'t': {'arousal': ['a', 'c']}}
    """
    truths = list(dict.fromkeys(truth for member in members for truth in member["ccc"]))
    return {
        against.field: {
            truth: {axis: names for axis in AXES if (names := _front(_points(members, against.field, truth, axis)))}
            for truth in truths
        }
        for against in AGAINST
    }


#: In px: a place; from one to another; left, top, right and lower edge.
_At = tuple[float, float]
_Line = tuple[_At, _At]
_Box = tuple[float, float, float, float]


class _Point(NamedTuple):
    """A member in a panel: its cost, and its CCC as {n, mean, low, high, values, interval}."""

    name: str
    cost: float
    found: Record

    @property
    def ccc(self) -> float:
        return float(self.found["mean"])


def _points(members: Sequence[Record], field: str, truth: str, axis: str) -> list[_Point]:
    with_all = [member for member in members if member[field] is not None and axis in member["ccc"].get(truth, {})]
    found = [_Point(member["name"], member[field], member["ccc"][truth][axis]) for member in with_all]
    return [point for point in found if point.found["mean"] is not None]  # constant answers have no CCC


def _front(points: Sequence[_Point]) -> list[str]:
    best: list[_Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.ccc)):
        if not best or point.ccc > best[-1].ccc:
            best.append(point)
    return [point.name for point in best]


# --- the picture -----------------------------------------------------------------------------------------------------


def picture(record: Record, truth: str, against: Against) -> str | None:
    """CCC of each axis against a cost, a panel an axis: marks by name, 95 % intervals, and the front as a line."""
    panels = {axis: _points(record["members"], against.field, truth, axis) for axis in axes_of(record, truth)}
    panels = {axis: points for axis, points in panels.items() if points}
    if not panels:
        return None
    cost = plots.fitting([point.cost for points in panels.values() for point in points], LEFT, WIDTH - 20)
    body, top = _keys(), 28.0
    for place, (axis, points) in enumerate(panels.items()):
        above = top + place * (_PANEL + _ABOVE + _BELOW) + _ABOVE
        frame = Frame(cost, _ccc_scale(points, above + _PANEL, above))
        last = place == len(panels) - 1
        body += _panel(frame, points, record["fronts"][against.field][truth].get(axis, []), axis, against, last)
    height = top + len(panels) * (_PANEL + _ABOVE + _BELOW) + 24
    spoken = "; ".join(f"{axis}: {_spoken(points)}" for axis, points in panels.items())
    title = f"CCC with {truth} against {against.title}"
    return plots.picture(f"front-{truth}-{against.field}".replace(" ", "-"), title, spoken, WIDTH, height, body)


def _keys() -> list[str]:
    marks = []
    for x, series, told in ((6, _ON, "on the front"), (136, _OFF, "outdone by another")):
        marks += [plots.mark(series, x, 8), plots.words(told, x + 12, 12, class_="key")]
    return marks


def _ccc_scale(points: Sequence[_Point], start: float, stop: float) -> Scale:
    """From below the lowest whisker to above the highest."""
    ends = [end for point in points for end in (point.ccc, *_ends(point.found))]
    air = 0.08 * max(max(ends) - min(ends), 0.02)
    return Scale(min(ends) - air, min(max(ends) + air, 1.0), start, stop)


def _ends(found: Record) -> list[float]:
    """Of the interval, the lower first; few clips have none."""
    return [end for end in (found["interval"]["low"], found["interval"]["high"]) if end is not None]


def _panel(
    frame: Frame, points: Sequence[_Point], front: Sequence[str], axis: str, against: Against, last: bool
) -> list[str]:
    at = {point.name: (frame.x(point.cost), frame.y(point.ccc)) for point in points}
    marks = plots.vertical_axis(frame, hundredths, f"CCC, {axis}")
    marks += plots.horizontal_axis(frame, against.tick, against.title if last else "")
    stairs = list(_stairs([at[name] for name in front], frame.x.stop))
    marks.append(plots.curve(_ON, stairs))
    ordered = sorted(points, key=lambda point: point.name in front)  # those on the front are drawn over the others
    for point in ordered:
        marks += _whisker(frame, point, point.name in front)
    for point in ordered:
        tip = f"{point.name}: {against.tick(point.cost)}, CCC {interval(point.found)}"
        marks.append(plots.mark(_ON if point.name in front else _OFF, *at[point.name], tip))
    lines = [*pairwise(stairs), *(_ends_at(frame, point) for point in points if _ends(point.found))]
    return [*marks, *_names(frame, at, front, lines)]


def _stairs(corners: Sequence[_At], end: float) -> Iterator[_At]:
    """Along the front: what is the best that can be had for so much."""
    for place, (x, y) in enumerate(corners):
        if place:
            yield x, corners[place - 1][1]
        yield x, y
    if corners:
        yield end, corners[-1][1]


def _whisker(frame: Frame, point: _Point, on: bool) -> list[str]:
    if not _ends(point.found):
        return []
    (x, low), (_, high) = _ends_at(frame, point)
    drawn = plots.whisker(_ON if on else _OFF, x, low, high)
    return [drawn if on else plots.tag("g", drawn, class_="faint")]


def _ends_at(frame: Frame, point: _Point) -> _Line:
    """Both ends of a whisker, the lower first."""
    low, high = (frame.y(end) for end in _ends(point.found))
    x = frame.x(point.cost)
    return (x, low), (x, high)


#: Where a name may stand: from its mark to the near end of its base line (px), on either side.
_UP = (-8.0, -20.0, 4.0, 16.0, -32.0, 30.0, -44.0, 44.0)
_DOWN = (4.0, 16.0, -8.0, 28.0, -20.0, 40.0, -32.0, 52.0, -44.0)

#: Width of a character of names, and of the room beside a line (px).
_PLAIN, _BOLD, _BESIDE = 7.0, 7.8, 2.0

_SIDES = ((10.0, "start"), (-10.0, "end"))

#: What a step away along `_UP` or `_DOWN` costs, in square pixels that are covered.
_AWAY = 60.0


class _Spot(NamedTuple):
    """Where a name may be written: an end of its base line (px), which end, and how many steps from the mark."""

    x: float
    y: float
    anchor: str
    away: int


def _names(frame: Frame, at: dict[str, _At], front: Sequence[str], lines: Sequence[_Line]) -> list[str]:
    """A name beside every mark, each where it covers least of the marks, of the lines and of the names before it."""
    taken = [_around(place, place, _MARK) for place in at.values()]
    taken += [_around(*line, _BESIDE) for line in lines]
    marks = []
    for name in sorted(at, key=lambda name: name not in front):
        on = name in front
        boxes = {spot: _box(spot, len(name) * (_BOLD if on else _PLAIN)) for spot in _spots(*at[name], on=on)}
        lost = {spot: _covered(box, taken, frame) + _AWAY * spot.away for spot, box in boxes.items()}
        spot = min(lost, key=lambda spot: lost[spot])
        taken.append(boxes[spot])
        marks.append(plots.words(name, spot.x, spot.y, class_="name on" if on else "name", anchor=spot.anchor))
    return marks


def _spots(x: float, y: float, *, on: bool) -> list[_Spot]:
    """Around a mark, best first: nothing is above a front, to the left."""
    ways = product(enumerate(_UP), reversed(_SIDES)) if on else product(enumerate(_DOWN), _SIDES)
    return [_Spot(x + right, y + down, anchor, away) for (away, down), (right, anchor) in ways]


def _around(one: _At, other: _At, room: float) -> _Box:
    (x, y), (right, down) = one, other
    return min(x, right) - room, min(y, down) - room, max(x, right) + room, max(y, down) + room


def _box(spot: _Spot, wide: float) -> _Box:
    left = spot.x - (wide if spot.anchor == "end" else 0.0)
    return left, spot.y - _LINE + 4, left + wide, spot.y + 3


def _covered(box: _Box, taken: Sequence[_Box], frame: Frame) -> float:
    """Square pixels that are taken already, or lie outside the frame."""
    inside = _shared(box, (frame.x.start, frame.y.stop - 8, frame.x.stop, frame.y.start))
    outside = (box[2] - box[0]) * (box[3] - box[1]) - inside
    return outside + sum(_shared(box, other) for other in taken)


def _shared(one: _Box, other: _Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def _spoken(points: Sequence[_Point]) -> str:
    return ", ".join(f"{point.name} {hundredths(point.ccc)}" for point in points)


def axes_of(record: Record, truth: str) -> list[str]:
    """The axes on which any member was compared with a truth."""
    return [axis for axis in AXES if any(axis in member["ccc"].get(truth, {}) for member in record["members"])]


def interval(found: Record) -> str:
    """A member's CCC as `distill.comparison.compared` tells it: "0.71 (0.68 to 0.74)"."""
    return confidence({"value": found["mean"], **found["interval"]})
