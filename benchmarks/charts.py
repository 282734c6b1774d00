"""The report's pictures, each drawn from benchmark.json alone. Each returns None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.tables import confidence, headline_length, labels, spread
from benchmarks.units import count, hundredths, size
from distill import plots
from distill.annotation import AXES
from distill.plots import Bar, Frame, Scale

#: All pictures are as wide as this and shrink with the page (px).
WIDTH = 880.0

#: Room for the numbers left of a plotting area (px), and names longer than this are cut (characters).
LEFT, NAME = 52.0, 40

Record = dict[str, Any]


def agreement_by_size(record: Record) -> str | None:
    """CCC of each axis against file size, one panel an axis, with 95 % intervals."""
    if not any(model["ccc"] for model in record["models"]):
        return None
    sizes = plots.spread_out([model["bytes"] for model in record["models"]])
    lowest = min([0.0, *_drawn_ccc(record)])
    keys, top = plots.legend(_names(record), WIDTH)
    panels = []
    for place, axis in enumerate(AXES):
        start = LEFT + place * (WIDTH - LEFT + 20) / 3
        frame = Frame(
            Scale(*sizes, start, start + (WIDTH - LEFT - 40) / 3, log=True), Scale(lowest, 1.0, top + 260, top + 40)
        )
        panels += _agreement_panel(record, axis, frame, numbered=place == 0)
    return plots.picture(
        "agreement", "Agreement by file size", _spoken(record, _spoken_ccc), WIDTH, top + 310, [*keys, *panels]
    )


def latency_by_size(record: Record) -> str | None:
    """Median latency at the headline length against file size, whiskers from p10 to p90."""
    length = headline_length(record)
    drawn = [(series, model, model["latency_ms"][length]) for series, model in enumerate(record["models"])]
    drawn = [(series, model, timed) for series, model, timed in drawn if timed]
    if len(drawn) < 2:  # one point is no comparison; the table has it
        return None
    keys, top = plots.legend(_names(record), WIDTH)
    frame = Frame(
        Scale(*plots.spread_out([model["bytes"] for _, model, _ in drawn]), LEFT, WIDTH - 8, log=True),
        plots.fitting([timed[key] for _, _, timed in drawn for key in ("p10", "p90")], top + 270, top + 34),
    )
    marks = [plots.vertical_axis(frame, significant_tick, f"ms for a {length} s clip")]
    marks.append(plots.horizontal_axis(frame, size_tick, "file size"))
    marks += [_timed_mark(series, frame, frame.x(model["bytes"]), timed) for series, model, timed in drawn]
    body = [*keys, *(element for group in marks for element in group)]
    return plots.picture(
        "latency-size", "Latency by file size", _spoken(record, _spoken_latency), WIDTH, top + 320, body
    )


def latency_by_length(record: Record) -> str | None:
    """Median latency against clip length, whiskers from p10 to p90."""
    lengths = record["settings"]["seconds"]
    timed = [each for model in record["models"] for each in model["latency_ms"].values() if each]
    if not timed:
        return None
    keys, top = plots.legend(_names(record), WIDTH)
    frame = Frame(
        Scale(0.0, max(lengths) * 1.06, LEFT, WIDTH - 8),
        plots.fitting([each[key] for each in timed for key in ("p10", "p90")], top + 290, top + 34),
    )
    marks = [*plots.vertical_axis(frame, significant_tick, "ms for one answer"), *_length_axis(frame, lengths)]
    for series, model in enumerate(record["models"]):
        # Models stand beside each other at every length, so that whiskers do not hide one another.
        shift = (series - (len(record["models"]) - 1) / 2) * 9
        marks += _length_series(series, model, frame, shift)
    return plots.picture(
        "latency-length", "Latency by clip length", _spoken(record, _spoken_latency), WIDTH, top + 340, [*keys, *marks]
    )


def memory_split(record: Record) -> str:
    """Peak resident memory as bars: the runtime's part and the model's."""
    rows = [
        Bar(label, (peak["runtime"], peak["model"]), f"{size(peak['runtime'])} + {size(peak['model'])}")
        for label, peak in zip(_names(record), (model["peak_rss_bytes"] for model in record["models"]), strict=True)
    ]
    return _bar_picture(record, "memory", "Peak resident memory", rows, ("runtime", "model adds"))


def parameters(record: Record) -> str:
    """Numbers in the network as bars."""
    return _single_bars(record, "parameters", "Parameters", "parameters", count)


def macs(record: Record) -> str:
    """Multiply-accumulates per second of audio as bars."""
    return _single_bars(record, "macs", "Multiply-accumulates per second of audio", "macs_per_second", count)


def significant_tick(value: float) -> str:
    """A number on an axis.

    >>> significant_tick(0.5), significant_tick(200.0)
    ('0.5', '200')
    """
    return f"{value:,g}"


def size_tick(value: float) -> str:
    """A file size on an axis.

    >>> size_tick(30_000.0), size_tick(2e6)
    ('30 kB', '2 MB')
    """
    step, unit = next(
        (step, unit) for step, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if value >= step or step == 1
    )
    return f"{value / step:g} {unit}"


def _drawn_ccc(record: Record) -> list[float]:
    """Every CCC, and the lower end of its interval where there is one."""
    known = [value for model in record["models"] for value in (model["ccc"] or {}).values()]
    return [value[key] for value in known for key in ("value", "low") if value[key] is not None]


def _agreement_panel(record: Record, axis: str, frame: Frame, *, numbered: bool) -> list[str]:
    shown: Callable[[float], str] = hundredths if numbered else lambda _: ""
    marks = [*plots.vertical_axis(frame, shown, f"CCC, {axis}"), *plots.horizontal_axis(frame, size_tick, "file size")]
    for series, model in enumerate(record["models"]):
        value = (model["ccc"] or {}).get(axis)
        if value is None or value["value"] is None:
            continue
        x = frame.x(model["bytes"])
        if value["low"] is not None and value["high"] is not None:
            marks.append(plots.whisker(series, x, frame.y(value["low"]), frame.y(value["high"])))
        marks.append(
            plots.mark(series, x, frame.y(value["value"]), f"{labels(record['models'])[series]}: {confidence(value)}")
        )
    return marks


def _length_axis(frame: Frame, lengths: list[float]) -> list[str]:
    return plots.horizontal_axis(frame, lambda value: f"{value:g}", "seconds of audio", ticks=lengths)


def _length_series(series: int, model: Record, frame: Frame, shift: float) -> list[str]:
    timed = [(frame.x(float(length)) + shift, each) for length, each in model["latency_ms"].items() if each]
    timed.sort(key=lambda pair: pair[0])
    marks = [plots.curve(series, [(x, frame.y(each["median"])) for x, each in timed])] if timed else []
    return [*marks, *(element for x, each in timed for element in _timed_mark(series, frame, x, each))]


def _timed_mark(series: int, frame: Frame, x: float, timed: dict[str, float]) -> list[str]:
    return [
        plots.whisker(series, x, frame.y(timed["p10"]), frame.y(timed["p90"])),
        plots.mark(series, x, frame.y(timed["median"]), f"{spread(timed)} ms"),
    ]


def _single_bars(record: Record, key: str, title: str, field: str, shown: Callable[[float | None], str]) -> str:
    values = [model[field] for model in record["models"]]
    rows = [Bar(label, (value or 0.0,), shown(value)) for label, value in zip(_names(record), values, strict=True)]
    return _bar_picture(record, key, title, rows, ())


def _bar_picture(record: Record, key: str, title: str, rows: list[Bar], parts: tuple[str, ...]) -> str:
    top, marks = (30.0, _part_keys(parts)) if parts else (0.0, [])
    spoken = "; ".join(f"{label}: {row.text}" for label, row in zip(labels(record["models"]), rows, strict=True))
    marks += plots.bars(rows, width=WIDTH, top=top)
    return plots.picture(key, title, spoken, WIDTH, top + 34 * len(rows), marks)


def _part_keys(parts: tuple[str, ...]) -> list[str]:
    marks, x = [], 0.0
    for place, part in enumerate(parts):
        marks += [
            plots.tag("rect", x=x, y=2, width=12, height=12, class_=f"bar p{place}"),
            plots.words(part, x + 18, 12, class_="key"),
        ]
        x += 40 + len(part) * plots.CHARACTER
    return marks


def _names(record: Record) -> list[str]:
    return [plots.clipped(label, NAME) for label in labels(record["models"])]


def _spoken(record: Record, of: Callable[[Record], str]) -> str:
    return "; ".join(
        f"{label}, {size(model['bytes'])}: {of(model)}"
        for label, model in zip(labels(record["models"]), record["models"], strict=True)
    )


def _spoken_ccc(model: Record) -> str:
    return ", ".join(f"{axis} {confidence(value)}" for axis, value in (model["ccc"] or {}).items()) or "not measured"


def _spoken_latency(model: Record) -> str:
    return ", ".join(f"{spread(timed)} ms for {length} s" for length, timed in model["latency_ms"].items() if timed)
