"""Inline SVG: scales, axes, marks. Pictures carry classes, no colours; the page's style sheet paints them."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Width that one character takes at the pictures' 12 px type, a little generous (px).
CHARACTER = 6.7

#: Series that look different from each other; more than these start over.
SERIES = 8

Format = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """Values low..high onto pixels start..stop, linear or logarithmic.

    >>> Scale(0.0, 10.0, 0.0, 100.0)(5.0)
    50.0
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """
        >>> Scale(0, 10, 100, 200)(5), Scale(1, 100, 0, 10, log=True)(10)
        (150.0, 5.0)
        """
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    def ticks(self, gap: float) -> list[float]:
        """Round values to write along the axis; gap: room that one takes (px)."""
        room = int(abs(self.stop - self.start) // gap)
        return log_ticks(self.low, self.high, room) if self.log else linear_ticks(self.low, self.high)


@dataclass(frozen=True)
class Frame:
    """A plotting area: its two scales."""

    x: Scale
    y: Scale


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: its stacked parts, and what is written behind them."""

    label: str
    parts: tuple[float, ...]
    text: str


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within low..high.

    >>> linear_ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float, at_most: int = 7) -> list[float]:
    """Multiples of powers of ten within low..high, as many as are asked for at most.

    >>> log_ticks(10, 1000), log_ticks(15, 60), log_ticks(10, 1000, at_most=3)
    ([10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0], [20.0, 50.0], [10.0, 100.0, 1000.0])
    """
    chosen: list[float] = []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        candidates = (float(f"{factor}e{power}") for power in powers for factor in factors)
        chosen = [value for value in candidates if low * 0.999 <= value <= high * 1.001]
        if len(chosen) <= at_most:
            break
    return chosen


def spread_out(values: Sequence[float], *, by: float = 1.6) -> tuple[float, float]:
    """Ends for a logarithmic scale with air on both sides. values: above zero.

    >>> low, high = spread_out([10.0, 1000.0])
    >>> low < 10 and high > 1000
    True
    """
    return min(values) / by, max(values) * by


def fitting(values: Sequence[float], start: float, stop: float) -> Scale:
    """A scale from zero, or a logarithmic one where the values (>= 0) are too far apart to be read side by side.

    >>> fitting([1.0, 5.0], 0, 100).log, fitting([1.0, 5_000.0], 0, 100).log
    (False, True)
    """
    high = max(values, default=0.0)
    positive = [value for value in values if value > 0]
    if positive and len(positive) == len(values) and high / min(positive) > 20:
        return Scale(*spread_out(positive, by=1.3), start, stop, log=True)
    return Scale(0.0, high * 1.08 or 1.0, start, stop)


def tag(name: str, *content: str, **attributes: str | float | None) -> str:
    """One element. Numbers are rounded to tenths; `class_` is class, `font_size` is font-size; content is markup.

    >>> tag("line", x1=0.123, class_="grid")
    '<line x1="0.1" class="grid"/>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(content)}</{name}>" if content else f"<{name}{written}/>"


def words(text: str, x: float, y: float, *, class_: str | None = None, anchor: str = "start") -> str:
    """Escaped text at a point; anchor: start, middle or end.

    >>> words("a < b", 1, 2)
    '<text x="1" y="2">a &lt; b</text>'
    """
    return tag("text", html.escape(text), x=x, y=y, class_=class_, text_anchor=None if anchor == "start" else anchor)


def picture(key: str, title: str, description: str, width: float, height: float, body: Sequence[str]) -> str:
    """An SVG that a screen reader announces by title and description. key: unique in the page.

    >>> picture("k", "Size", "Bytes of each", 10, 5, []).startswith("<svg")
    True
    """
    return tag(
        "svg",
        tag("title", html.escape(title), id=f"{key}-title"),
        tag("desc", html.escape(description), id=f"{key}-desc"),
        *body,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        style=f"min-width:{min(width, 560):g}px",
    )


def vertical_axis(frame: Frame, shown: Format, title: str, ticks: Sequence[float] | None = None) -> list[str]:
    """Grid lines across the area with a value at each, and the axis title above them. ticks: instead of the scale's
    own."""
    left, right = sorted((frame.x.start, frame.x.stop))
    marks = [words(title, left, min(frame.y.start, frame.y.stop) - 14, class_="axis")] if title else []
    for value in frame.y.ticks(gap=40) if ticks is None else ticks:
        y = frame.y(value)
        marks.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="zero" if value == 0 else "grid"))
        marks.append(words(shown(value), left - 8, y + 4, class_="tick", anchor="end"))
    return marks


def horizontal_axis(frame: Frame, shown: Format, title: str, ticks: Sequence[float] | None = None) -> list[str]:
    """Values along the lower edge, and the axis title below them. ticks: instead of the scale's own."""
    base = max(frame.y.start, frame.y.stop)
    middle = (frame.x.start + frame.x.stop) / 2
    marks = [tag("line", x1=frame.x.start, x2=frame.x.stop, y1=base, y2=base, class_="zero")]
    for value in frame.x.ticks(gap=60) if ticks is None else ticks:
        x = frame.x(value)
        marks.append(tag("line", x1=x, x2=x, y1=base, y2=base + 4, class_="zero"))
        marks.append(words(shown(value), x, base + 18, class_="tick", anchor="middle"))
    return [*marks, words(title, middle, base + 38, class_="axis", anchor="middle")]


def mark(series: int, x: float, y: float, tip: str = "") -> str:
    """A series' own sign at a point: shapes differ as well as colours, for those who do not see the colours.

    >>> mark(1, 2, 3)
    '<path d="M-4.5-4.5h9v9h-9z" transform="translate(2 3)" class="mark s1"/>'
    """
    shapes = ("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M-4.5-4.5h9v9h-9z", "M0-6L5.5 4h-11z", "M0-6L6 0L0 6L-6 0z")
    shape = shapes[series % len(shapes)]
    place = f"translate({_attribute(x)} {_attribute(y)})"
    return tag("path", *_tip(tip), d=shape, transform=place, class_=f"mark s{series % SERIES}")


def whisker(series: int, x: float, low: float, high: float) -> str:
    """A spread from low to high (px) at x, with end strokes.

    >>> whisker(0, 10, 5, 1)
    '<path d="M10.0 5.0V1.0M6.0 5.0h8M6.0 1.0h8" class="line s0"/>'
    """
    path = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
    return tag("path", d=path, class_=f"line s{series % SERIES}")


def curve(series: int, points: Sequence[tuple[float, float]]) -> str:
    """Straight lines through points (px).

    >>> curve(0, [(0, 0), (10, 5)])
    '<path d="M0.0 0.0L10.0 5.0" class="line s0"/>'
    """
    through = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return tag("path", d=f"M{through}", class_=f"line s{series % SERIES}")


def legend(labels: Sequence[str], width: float, *, left: float = 0.0, top: float = 8.0) -> tuple[list[str], float]:
    """A sign and a name for each series, in lines that fit `width`, and the height that they take (px).

    >>> legend(["one", "other"], 200.0)[1]  # px that one line takes
    22.0
    """
    entries, x, y = [], left, top
    for series, label in enumerate(labels):
        wide = 34 + len(label) * CHARACTER
        if x > left and x + wide > width:
            x, y = left, y + 22
        entries += [mark(series, x + 6, y), words(label, x + 18, y + 4, class_="key")]
        x += wide
    return entries, y + 14


def bars(rows: Sequence[Bar], *, width: float, top: float = 0.0, height: float = 34.0) -> list[str]:
    """Horizontal bars from a common zero, one row each, parts stacked; names to the left, values behind.

    >>> len(bars([Bar("one", (1.0, 2.0), "3")], width=300))
    5
    """
    left = min(max((len(row.label) for row in rows), default=0) * CHARACTER + 14, width * 0.4)
    room = max((len(row.text) for row in rows), default=0) * CHARACTER + 12
    scale = Scale(0.0, max((sum(row.parts) for row in rows), default=0.0) or 1.0, left, max(width - room, left + 40))
    marks = []
    for index, row in enumerate(rows):
        marks += _bar(row, scale, top + index * height, height)
    return [*marks, tag("line", x1=left, x2=left, y1=top, y2=top + len(rows) * height, class_="zero")]


def clipped(text: str, characters: int) -> str:
    """Text cut to a width, with an ellipsis where it was cut.

    >>> clipped("wav2small", 20), clipped("wav2small", 5)
    ('wav2small', 'wav2…')
    """
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _bar(row: Bar, scale: Scale, top: float, height: float) -> list[str]:
    marks, done = [], 0.0
    for part, value in enumerate(row.parts):
        start, stop = scale(done), scale(done + value)
        marks.append(
            tag(
                "rect",
                *_tip(f"{row.label}: {row.text}"),
                x=start,
                y=top + 6,
                width=stop - start,
                height=height - 12,
                class_=f"bar p{part}",
            )
        )
        done += value
    middle = top + height / 2 + 4
    return [
        words(row.label, scale.start - 8, middle, class_="key", anchor="end"),
        *marks,
        words(row.text, scale(done) + 8, middle, class_="value"),
    ]


def _tip(text: str) -> tuple[str, ...]:
    return (tag("title", html.escape(text)),) if text else ()


def _attribute(value: str | float | None) -> str:
    return html.escape(value) if isinstance(value, str) else f"{round(value or 0.0, 1):g}"
