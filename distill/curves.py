"""The answers to recordings over time, as a page: a picture each, in inline SVG; no scripts, no network."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, TypeAlias

from distill import plots
from distill.annotation import AXES
from distill.emotionwords import nearest_words
from distill.errors import DistillError
from distill.files import reject_unwritable, write_text
from distill.page import page
from distill.plots import Frame, Scale
from distill.student import StudentCard

#: A `distill.prediction.Prediction` as dict; with "words", if they were asked for.
Row: TypeAlias = Mapping[str, Any]

#: A picture, and the area within it where the curves are (px).
WIDTH, LEFT, RIGHT, TOP, BASE = 900.0, 36.0, 896.0, 46.0, 306.0

#: Below them the times, and the band of words, where they were asked for (px).
FOOT, BAND = 30.0, 26.0

#: Up to so many windows each answer has its sign, and up to so many it can be pointed at: more would be a blur.
MARKED, POINTED = 60, 1500

#: Seconds between two times that are written below a picture, and the room that one takes (px).
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_ROOM = 64.0

#: The room that a word takes (px).
_WORD_ROOM = 100.0


@dataclass(frozen=True)
class Cell:
    """The stretch of a recording (seconds) whose answer a row is: from halfway to the window before to halfway to the
    next; so overlapping windows do not hide one another."""

    start: float
    end: float
    row: Row

    @property
    def middle(self) -> float:
        """Of the row's window."""
        return (float(self.row["start"]) + float(self.row["end"])) / 2

    @property
    def answered(self) -> bool:
        """Whether it has an answer."""
        return self.row["warning"] is None


def reject_no_page(output: Path) -> None:
    """Find out before the work whether the page that is wanted can be written.

    >>> reject_no_page(Path("answers.png"))
    Traceback (most recent call last):
    ...
    distill.errors.DistillError: answers.png: the plot is a page; give a file that ends in .html

    Raises:
        DistillError: it is a folder, or does not end in .html.
        OSError: it cannot be written.
    """
    if output.suffix not in (".html", ".htm") or output.is_dir():
        raise DistillError(f"{output}: the plot is a page; give a file that ends in .html")
    reject_unwritable(output)


def write_curves(output: Path, rows: Sequence[Row], card: StudentCard) -> None:
    """Write the page of `rows`, which `card`'s student answered; those of a recording stand together."""
    write_text(output, curves(rows, card))


def curves(rows: Sequence[Row], card: StudentCard) -> str:
    """The page: a picture a recording, with the three axes over time; a derived axis is dashed, and where nothing was
    answered there is a gap."""
    heard = {file: cells(own) for file, own in groupby(rows, lambda row: str(row["file"]))}
    several = len(heard) > 1
    title = f"{len(heard)} recordings" if several else next(map(_called, heard), "nothing was heard")
    sections = [_section(file, own, card, number, several) for number, (file, own) in enumerate(heard.items())]
    return page(
        title, "\n".join(sections), kicker="distill predict", lead=card.introduction(), footer=_footer(rows, card)
    )


def cells(rows: Iterable[Row]) -> list[Cell]:
    """The stretches that the rows of one recording stand for, in order.

    >>> def row(start, end):
    ...     return {"start": start, "end": end, "warning": None}
    >>> [(cell.start, cell.end) for cell in cells([row(0.0, 3.0), row(1.0, 4.0), row(2.0, 5.0)])]
    [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    >>> [(cell.start, cell.end) for cell in cells([row(0.0, 3.0)])]
    [(0.0, 3.0)]
    """
    rows = list(rows)
    if len(rows) == 1:
        return [Cell(rows[0]["start"], rows[0]["end"], rows[0])]
    middles = [(row["start"] + row["end"]) / 2 for row in rows]
    edges = [(one + next_) / 2 for one, next_ in pairwise(middles)]
    first, last = max(rows[0]["start"], 2 * middles[0] - edges[0]), min(rows[-1]["end"], 2 * middles[-1] - edges[-1])
    return [Cell(start, end, row) for start, end, row in zip([first, *edges], [*edges, last], rows, strict=True)]


def picture(cells: Sequence[Cell], card: StudentCard, name: str, key: str = "curves") -> str:
    """The axes of one recording over time, as SVG. key: unique in the page."""
    frame = Frame(Scale(0.0, cells[-1].row["end"] or 1.0, LEFT, RIGHT), _levels(cells))
    fifths = [round(fifth / 5, 1) for fifth in range(math.ceil(frame.y.low * 5), math.floor(frame.y.high * 5) + 1)]
    marks = [*_legend(cells, card), *_gaps(cells, frame)]
    marks += plots.vertical_axis(frame, lambda value: f"{value:g}", "", ticks=fifths)
    marks += plots.horizontal_axis(frame, clock, "", ticks=times(frame.x.high, (RIGHT - LEFT) / _ROOM))
    marks += [mark for axis in reversed(card.axes) for mark in _curve(axis, cells, card, frame)]
    marks += _pointed(cells, frame) if len(cells) <= POINTED else []
    words = _band(cells, frame)
    height = BASE + FOOT + (BAND + 8 if words else 0)
    return plots.picture(key, f"{name} over time", _spoken(cells, card), WIDTH, height, [*marks, *words])


def clock(seconds: float) -> str:
    """A time, to a tenth of a second below a minute.

    >>> clock(2.54), clock(75), clock(3675)
    ('2.5 s', '1:15', '1:01:15')
    """
    if seconds < 60:
        return f"{round(seconds, 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def times(seconds: float, at_most: float) -> list[float]:
    """Round times up to `seconds`, `at_most` of them.

    >>> times(4.2, 8), times(7200, 5)
    ([0, 1, 2, 3, 4], [0, 1800, 3600, 5400, 7200])
    """
    step = next((step for step in _STEPS if seconds / step + 1 <= at_most), _STEPS[-1])
    return [round(index * step, 6) for index in range(int(seconds / step + 1e-9) + 1)]


# --- parts of a picture ----------------------------------------------------------------------------------------------


def _levels(cells: Sequence[Cell]) -> Scale:
    """0 to 1, or as far beyond as the answers go (to the next tenth)."""
    values = [cell.row[axis] for cell in cells for axis in AXES if cell.row[axis] is not None]
    return Scale(math.floor(min([0.0, *values]) * 10) / 10, math.ceil(max([1.0, *values]) * 10) / 10, BASE, TOP)


def _curve(axis: str, cells: Sequence[Cell], card: StudentCard, frame: Frame) -> list[str]:
    """Through the middles of the windows, and flat to the edges where it begins and ends."""
    series, marks = AXES.index(axis), []
    for answered, together in groupby(cells, lambda cell: cell.answered):
        run = list(together)
        if not answered:
            continue
        points = [(cell.middle, cell.row[axis]) for cell in run]
        points = [(run[0].start, points[0][1]), *points, (run[-1].end, points[-1][1])]
        line = plots.curve(series, [(frame.x(at), frame.y(value)) for at, value in points])
        marks.append(line.replace('class="', 'class="derived ') if axis in card.derived else line)
    if len(cells) <= MARKED:
        marks += [plots.mark(series, frame.x(cell.middle), frame.y(cell.row[axis])) for cell in cells if cell.answered]
    return marks


def _gaps(cells: Sequence[Cell], frame: Frame) -> list[str]:
    """Where there is no answer."""
    marks = []
    for answered, together in groupby(cells, lambda cell: cell.answered):
        run = list(together)
        if answered:
            continue
        left, right = frame.x(run[0].start), frame.x(run[-1].end)
        marks.append(plots.tag("rect", x=left, y=TOP, width=right - left, height=BASE - TOP, class_="gap"))
        if right - left > 10.5 * plots.CHARACTER:
            marks.append(plots.words("no answer", (left + right) / 2, TOP + 16, class_="tick", anchor="middle"))
    return marks


def _pointed(cells: Sequence[Cell], frame: Frame) -> list[str]:
    """What is shown of a window that is pointed at."""
    return [
        plots.tag(
            "rect", plots.tag("title", html.escape(told(cell.row))), x=frame.x(cell.start), y=TOP,
            width=frame.x(cell.end) - frame.x(cell.start), height=BASE - TOP, class_="cell",
        )
        for cell in cells
    ]  # fmt: skip


def _band(cells: Sequence[Cell], frame: Frame) -> list[str]:
    """Below the times, for stretches that have room for it, the word that is nearest to the mean of their answers."""
    marks = []
    worded = [cell for cell in cells if cell.row.get("words")]
    step = times(frame.x.high, (RIGHT - LEFT) / _WORD_ROOM)[:2][-1] or frame.x.high
    for _, together in groupby(worded, lambda cell: cell.middle // step):
        run = list(together)
        word = _nearest_to_mean(run)
        left, right = frame.x(run[0].start) + 1, frame.x(run[-1].end) - 1
        tip = plots.tag("title", html.escape(f"{clock(run[0].start)} to {clock(run[-1].end)}: {word}"))
        place = {"x": left, "y": BASE + FOOT, "width": max(right - left, 1.0), "height": BAND, "rx": 4.0}
        marks.append(plots.tag("rect", tip, **place, class_="band"))
        if right - left > len(word) * plots.CHARACTER:
            marks.append(
                plots.words(word, (left + right) / 2, BASE + FOOT + BAND / 2 + 4, class_="tick", anchor="middle")
            )
    return marks


def _nearest_to_mean(cells: Sequence[Cell]) -> str:
    means: dict[str, Any] = {
        axis: None if cells[0].row[axis] is None else sum(cell.row[axis] for cell in cells) / len(cells)
        for axis in AXES
    }
    return str(nearest_words({**means, "derived": cells[0].row["derived"]}, 1)[0]["word"])


def told(row: Row) -> str:
    """A window in words.

    >>> told({"start": 0.0, "end": 2.0, "warning": "silent", "derived": []})
    '0 s to 2 s: no answer (silent)'
    """
    at = f"{clock(row['start'])} to {clock(row['end'])}: "
    if row["warning"]:
        return f"{at}no answer ({row['warning']})"
    near = ", ".join(word["word"] for word in row.get("words", ()))
    return at + ", ".join(f"{axis} {row[axis]:.3f}" for axis in AXES if row[axis] is not None) + (near and f"; {near}")


def _legend(cells: Sequence[Cell], card: StudentCard) -> list[str]:
    """A line, a name and a mean for each axis."""
    marks, x = [], LEFT
    for axis in card.axes:
        series, text = AXES.index(axis), _named(axis, cells, card)
        line = plots.curve(series, [(x, 14), (x + 26, 14)])
        marks.append(line.replace('class="', 'class="derived ') if axis in card.derived else line)
        marks += [plots.mark(series, x + 13, 14)] if len(cells) <= MARKED else []
        marks.append(plots.words(text, x + 34, 18, class_="key"))
        x += 34 + (len(text) + 4) * plots.CHARACTER
    return marks


def _named(axis: str, cells: Sequence[Cell], card: StudentCard) -> str:
    return f"{axis}{' (derived)' if axis in card.derived else ''}{_mean(axis, cells)}"


def _mean(axis: str, cells: Sequence[Cell]) -> str:
    """Over what was answered, each window for the stretch that it stands for."""
    answered = [(cell.end - cell.start, cell.row[axis]) for cell in cells if cell.answered]
    seconds = sum(length for length, _ in answered)
    return f", mean {sum(length * value for length, value in answered) / seconds:.2f}" if seconds else ""


def _spoken(cells: Sequence[Cell], card: StudentCard) -> str:
    axes = "; ".join(_named(axis, cells, card) for axis in card.axes)
    return f"{axes}. {_counted(cells)}"


def _counted(cells: Sequence[Cell]) -> str:
    lacking = sum(not cell.answered for cell in cells)
    if len(cells) == 1:
        return f"{clock(cells[-1].row['end'])} of audio, {'no' if lacking else 'one'} answer"
    without = f", and {lacking:,} times none" if lacking else ""
    return f"{clock(cells[-1].row['end'])} of audio, {len(cells) - lacking:,} answers{without}"


# --- the page around them --------------------------------------------------------------------------------------------


def _section(file: str, cells: Sequence[Cell], card: StudentCard, number: int, several: bool) -> str:
    name, head = _called(file), ""
    if several:
        head = f"<h2>{html.escape(name)}</h2>\n"
    drawn = picture(cells, card, name, f"curves-{number}")
    return f"<section>\n{head}<p>{html.escape(_windows(cells))}</p>\n<figure>{drawn}</figure>\n</section>"


def _windows(cells: Sequence[Cell]) -> str:
    """How long the recording is, and how it was cut."""
    if len(cells) == 1:
        return f"{_counted(cells)}."
    one, other = cells[0].row, cells[1].row
    cut = f"one every {other['start'] - one['start']:.2g} s"
    if other["start"] < one["end"]:  # else it is the same
        cut += f", for {one['end'] - one['start']:.3g} s each"
    words = " Below them the words nearest to their means." if any(cell.row.get("words") for cell in cells) else ""
    return f"{_counted(cells)}; {cut}. The curves go through the middles.{words}"


def _called(file: str) -> str:
    return "standard input" if file == "-" else file


def _footer(rows: Sequence[Row], card: StudentCard) -> str:
    told = [f"{axis.capitalize()} is derived (dashed): nobody measured it." for axis in card.derived]
    told.append(
        "The curves say how a voice sounds to listeners, as far as the student learned it, not what somebody feels."
    )
    if any(row.get("words") for row in rows):
        told.append("The words are those nearest to the numbers, and classify nothing.")
    return html.escape(" ".join(told))
