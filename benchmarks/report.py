"""benchmark.json as two pages. They compute nothing: every number is in the JSON."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import charts, tables
from benchmarks.tables import Table
from benchmarks.units import NOTHING, significant, whole
from distill.page import page

Record = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A heading, what is to be known about the figures, the picture (or None) and its table."""

    title: str
    note: str
    picture: str | None
    table: Table


def render(record: Record) -> str:
    """The page report.html: one file, no scripts, no network. record: what benchmark.json holds."""
    return page(
        _title(record),
        "\n".join(map(as_html, sections(record))),
        kicker="distill benchmark",
        lead=where(record),
        footer="Drawn from <code>benchmark.json</code> beside this page, which holds every number in full.",
    )


def markdown(record: Record) -> str:
    """The page report.md: the same tables under the same headings. record: what benchmark.json holds."""
    footer = "Every number is in `benchmark.json`, which lies beside this page."
    return as_markdown(f"distill benchmark: {_title(record)}", where(record), sections(record), footer)


def as_markdown(title: str, lead: str, shown: Sequence[Section], footer: str) -> str:
    """A page of sections, without their pictures.

    >>> as_markdown("a", "b", [], "c")
    '# a\\n\\nb\\n\\nc\\n'
    """
    parts = [f"# {tables.plain_markdown(title)}", tables.plain_markdown(lead)]
    for section in shown:
        parts += [f"## {section.title}", section.note, tables.as_markdown(section.table).rstrip()]
    return "\n\n".join([*parts, footer]) + "\n"


def where(record: Record) -> str:
    """One sentence on what the figures are and are not.

    >>> machine = {"threads": 1, "cpu": "a chip", "onnxruntime": "1.20", "system": "Linux", "date": "today"}
    >>> where({"machine": machine, "settings": {"rounds": 30}})[:42]
    'Host figures, one thread: a chip, onnxrunt'
    """
    machine, settings = record["machine"], record["settings"]
    threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"Host figures, {threads}: {machine['cpu']}, onnxruntime {machine['onnxruntime'] or NOTHING}, "
        f"{machine['system']}, {machine['date']}. "
        f"{whole(settings['rounds'])} rounds, models interleaved. They are not figures of an edge device."
    )


def sections(record: Record) -> list[Section]:
    """What both pages show, in their order."""
    found = [_glance(record)]
    if any(model["ccc"] for model in record["models"]):
        found.append(_agreement(record))
    return [
        *found,
        *_latency(record),
        *_devices(record),
        _memory(record),
        _parameters(record),
        _macs(record),
        _origin(record),
        _conditions(record),
    ]


def _glance(record: Record) -> Section:
    length = tables.headline_length(record)
    note = (
        f"Latency is the median for a clip of {length} s (host, one thread); "
        "the ratio is to the first model, measured in turns with it. Memory is what the model adds to the runtime."
    )
    return Section("At a glance", note, None, tables.glance(record))


def _agreement(record: Record) -> Section:
    note = "Concordance correlation (CCC) with the ratings, 1 at best, and its 95 % bootstrap interval over clips."
    return Section("Agreement", note, charts.agreement_by_size(record), tables.agreement(record))


def _latency(record: Record) -> list[Section]:
    rounds = whole(record["settings"]["rounds"])
    note = f"Host, one thread. Medians of {rounds} interleaved rounds; whiskers span the 10th to the 90th percentile."
    per_length = f"{note} RTF is the median over the clip's length, the ratio that to the first model's median."
    return [
        Section("Latency by file size", note, charts.latency_by_size(record), tables.by_size(record)),
        Section("Latency by clip length", per_length, charts.latency_by_length(record), tables.by_length(record)),
    ]


def _devices(record: Record) -> list[Section]:
    found = []
    if record["profile"]:
        found.append(
            Section("Does it fit?", "The first model as C, and what the hardware has.", None, tables.fit(record))
        )
    if tables.emulated(record):
        found += _emulated(record)
    if "host" in record["devices"]:
        note = (
            "The first model as C, compiled for this host, on one thread, timed in turns with the models above; "
            "the ratio is to the first of them in onnxruntime. Bytes of RAM are those of its state."
        )
        found.append(Section("In C on this host", note, None, tables.native(record)))
    return found


def _emulated(record: Record) -> list[Section]:
    note = (
        "The first model as C, from PCM to answers, on cores that QEMU emulates: instructions executed for each second "
        "of audio. They are exact, and they are not cycles, nor time, nor power. Where Arm publishes what an "
        "instruction takes, cycles are a bracket for memory without wait states. RAM is what does not grow with the "
        "clip, stack included; kept is what a second adds where a clip can be pushed only once."
    )
    parts = "The same instructions by the part of the student that they belong to."
    return [
        Section("Emulated cores", note, None, tables.devices(record)),
        Section("Where the instructions go", parts, None, tables.breakdown(record)),
    ]


def _memory(record: Record) -> Section:
    seconds = significant(record["settings"]["memory_seconds"], 1)
    note = (
        "Host, a fresh process for each model: the peak after importing onnxruntime and numpy (runtime), and what "
        f"loading the model and answering {seconds} s of audio adds to it."
    )
    return Section("Peak resident memory", note, charts.memory_split(record), tables.memory(record))


def _parameters(record: Record) -> Section:
    note = "Numbers that the file carries, as its own metadata counts them."
    return Section("Parameters", note, charts.parameters(record), tables.parameters(record))


def _macs(record: Record) -> Section:
    note = (
        "Multiply-accumulates for each second of audio (MAC/s), taken at a clip of 5 s, from the file's own metadata."
    )
    return Section("Computation", note, charts.macs(record), tables.work(record))


def _origin(record: Record) -> Section:
    note = "The weights and the data they learned from have a licence each. A derived axis was never measured."
    return Section("Licences and files", note, None, tables.origin(record))


def _conditions(record: Record) -> Section:
    return Section("Conditions", "What the host figures were taken on, and how.", None, tables.conditions(record))


def _title(record: Record) -> str:
    names = tables.labels(record["models"])
    return (
        names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more" if len(names) > 3 else ", ".join(names)
    )


def as_html(section: Section) -> str:
    """A section as it stands in a page.

    >>> as_html(Section("Size", "In bytes.", None, Table(("model", "bytes"), [("w2s", "1")])))[:27]
    '<section>\\n<h2>Size</h2>\\n<p>'
    """
    figure = f"<figure>{section.picture}</figure>\n" if section.picture else ""
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n<p>{html.escape(section.note)}</p>\n"
        f"{figure}{_table(section)}\n</section>"
    )


def _table(section: Section) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in section.table.columns)
    rows = "\n".join(_row(row) for row in section.table.rows)
    kind = "numbers" if section.table.numeric else "text"
    return (
        f'<div class="scroll"><table class="{kind}"><caption>{html.escape(section.title)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(row: tuple[str, ...]) -> str:
    cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
    return f'<tr><th scope="row">{html.escape(row[0])}</th>{cells}</tr>'
